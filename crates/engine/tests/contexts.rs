//! Compression that remembers: whatever became of a message, the peer's window and ours stay the same.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use wheelhouse::{
    Action, Conn, Deflate, Engine, Framing, Handler, Listener, ListenerId, Message, Sent, WebSocket,
    testing::Bench,
};
use wheelhouse_websocket::{Event, Pass, Role, Rules, State, deflate::Inflator};

/// Sends what it is told; remembers what was taken.
struct Sender {
    taken: Vec<Vec<u8>>,
    refused: usize,
}

impl Handler for Sender {
    type Session = ();

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
        Action::Continue
    }
}

/// A KiB and a half that compresses little, and is like no other.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..1500).map(next).collect()
}

fn send(bench: &mut Bench<Sender>, to: wheelhouse::ConnId, payload: Vec<u8>) {
    let send = move |sender: &mut Sender, conn: &mut Conn<'_>, _: &mut ()| match conn.send(&payload) {
        Sent::Refused(_) => sender.refused += 1,
        _ => sender.taken.push(payload),
    };
    assert!(bench.poster().post_to(to, send).is_ok());
    bench.run();
}

#[test]
fn a_message_that_was_refused_is_in_nobodys_window() {
    let socket = WebSocket::new().deflate(Deflate::new().own_contexts(1));
    let listener = Listener::new("ws://127.0.0.1:0")
        .framing(Framing::websocket(socket))
        .water_marks(0, 8 << 10, 8 << 10)
        .no_heartbeat();
    let mut bench =
        Bench::with_options(Engine::builder().listen(listener), |_| Sender { taken: Vec::new(), refused: 0 });
    let peer = bench.open_on(ListenerId(0));
    bench.input(
        peer,
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    );
    let answer = String::from_utf8(bench.output(peer)).unwrap();
    assert!(answer.contains("Sec-WebSocket-Extensions: permessage-deflate\r\n"), "{answer}");

    // The peer reads nothing, until one is refused; then everything, and the refused one is sent again.
    bench.take_window(peer, 0);
    let mut last = 0;
    while bench.handler().refused == 0 {
        last += 1;
        assert!(last < 100, "the queue has a limit");
        send(&mut bench, peer, noise(last));
    }
    bench.take_window(peer, usize::MAX);
    let mut wire = bench.output(peer);
    send(&mut bench, peer, noise(last));
    wire.extend(bench.output(peer));

    let rules = Rules { role: Role::Client, max_message: 1 << 20, max_frame: 1 << 20, max_fragments: 1 };
    let mut pass = Pass::new(&rules, State::new(true), &mut wire);
    let mut inflator = Inflator::new(15);
    let mut came = Vec::new();
    while let Some(event) = pass.next().unwrap() {
        let Event::Message { is_compressed: true, payload, .. } = event else { panic!("{event:?}") };
        let mut message = Vec::new();
        inflator.inflate(payload, true, 1 << 20, &mut message).unwrap();
        came.push(message);
    }
    assert!(came.len() > 2);
    assert!(came == bench.handler().taken, "what came is not what was taken");
}
