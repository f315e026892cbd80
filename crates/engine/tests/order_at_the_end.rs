//! A WebSocket that ends: what was asked for before comes before, and nothing comes behind the close frame.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use wheelhouse::{
    Action, Audience, CloseReason, Conn, ConnId, Engine, Handle, Handler, ListenerId, Message, Reply,
    Request, testing::Bench,
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// A text of one letter, without a mask to speak of.
const TEXT: &[u8] = b"\x81\x81\0\0\0\0a";

/// Tells everybody of each message, and its sender by way of a handle; puts off the answer to each request.
struct Crier(Handle);

impl Handler for Crier {
    type Session = ();

    fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), _: &Request<'_>) -> Reply {
        Reply::later().within(Duration::from_secs(600))
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
        self.0.send(conn.id(), "to you").expect("room");
        self.0.broadcast(Audience::Open, "to all").expect("room");
        Action::Continue
    }
}

fn bench() -> Bench<Crier> {
    let builder = Engine::builder().listen("ws://127.0.0.1:0").idle_timeout(Duration::from_secs(30));
    Bench::with_options(builder, |spot| Crier(spot.handle()))
}

fn open(bench: &mut Bench<Crier>) -> ConnId {
    let id = bench.open_on(ListenerId(0));
    bench.input(id, REQUEST);
    bench.handle().answer(id, Reply::accept());
    assert!(bench.output(id).starts_with(b"HTTP/1.1 101 "));
    id
}

#[test]
fn what_was_broadcast_before_the_close_frame_leaves_before_it() {
    let close = b"\x88\x82\0\0\0\0\x03\xe8";
    let unmasked = b"\x81\x01a";
    for (end, code) in [(&close[..], 1000), (unmasked, 1002)] {
        let mut bench = bench();
        let client = open(&mut bench);
        bench.input(client, &[TEXT, end].concat());
        let heard = bench.output(client);
        let rest = heard.strip_prefix(b"\x81\x06to you\x81\x06to all").expect("both, in their order");
        let [0x88, len, high, low, reason @ ..] = rest else { panic!("no close frame: {rest:?}") };
        assert_eq!(u16::from_be_bytes([*high, *low]), code);
        assert_eq!(usize::from(*len), 2 + reason.len(), "nothing behind it");
        assert!(bench.output_ended(client));
    }
}

/// The message and the FIN are read together.
#[test]
fn what_was_asked_for_before_the_peers_fin_is_read_leaves() {
    let mut bench = bench();
    let client = open(&mut bench);
    bench.poster().post_to(client, |_, conn, _| conn.pause()).expect("room");
    bench.input(client, TEXT);
    bench.eof(client);
    assert_eq!(bench.output(client), b"");
    bench.handle().resume(client);
    assert_eq!(bench.output(client), b"\x81\x06to you\x81\x06to all");
    assert_eq!(bench.closed(client), Some(&CloseReason::Peer { code: None }));
}

#[test]
fn who_waited_for_the_answer_to_a_request_was_not_idle() {
    let mut bench = bench();
    let client = bench.open_on(ListenerId(0));
    bench.input(client, REQUEST);
    bench.turn(Duration::from_secs(300));
    bench.handle().answer(client, Reply::accept());
    assert!(bench.output(client).starts_with(b"HTTP/1.1 101 "));
    bench.turn(Duration::from_millis(29_999));
    assert_eq!(bench.closed(client), None);
    bench.turn(Duration::from_millis(1));
    assert_eq!(bench.closed(client), Some(&CloseReason::Idle));
}
