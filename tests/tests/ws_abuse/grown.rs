//! Messages that compression makes larger: a limit is for what was said, and not for how it came.

use std::{
    net::SocketAddr,
    sync::mpsc::{Receiver, channel},
};

use flate2::{Decompress, FlushDecompress};
use wheelhouse::{Action, CloseReason, Connect, Deflate, Engine, Framing, On, WebSocket};
use wheelhouse_tests::Dice;

use crate::{
    Script, Told, closed,
    fixture::{next, serve, tell},
    listener, plain, silent, telling,
    wire::{BINARY, Client, TEXT, frame, header},
};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// What no compressor makes smaller, and what takes nine bits of each byte where its codes are fixed.
fn stubborn(len: usize) -> Vec<u8> {
    Dice::new(len as u64).bytes(len).into_iter().map(|byte| 144 + byte % 112).collect()
}

/// In stored blocks of so many bytes each, without the end of the last: the least that a peer can do (RFC 1951, 3.2.4).
fn stored(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for block in bytes.chunks(size) {
        let len = block.len() as u16;
        out.push(0);
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend(block);
    }
    out.push(0);
    out
}

/// A client that may compress, and of whose opening the engine has told.
fn opened(at: SocketAddr, events: &Receiver<Told>) -> Client {
    let client = Client::open_with(at, OFFER);
    assert_eq!(next(events), Told::Request("/".into()));
    assert_eq!(next(events), Told::Open(None));
    client
}

/// The most bytes on the wire in one frame, worked out once more.
fn most(max_message: usize) -> usize {
    max_message + max_message / 8 + max_message / 64 + 74
}

#[test]
fn a_message_of_the_limit_is_taken_however_its_peer_compressed_it() {
    const LIMIT: usize = 1 << 20;
    let (server, events) =
        telling(Engine::builder().listen(listener(WebSocket::new().deflate(Deflate::new()))));
    let mut client = opened(server.at(), &events);
    let said = stubborn(LIMIT);
    // The last ones take almost as much as is allowed.
    for size in [65_535, 16_384, 127, 36] {
        client.write(&frame(0xc0 | BINARY, &stored(&said, size)));
        assert_eq!(next(&events), Told::Binary(LIMIT), "in blocks of {size}");
        // It does not get smaller here either, and so goes as it is.
        let (first, echo) = client.read();
        assert!(first == 0x80 | BINARY && echo == said, "{first:x}");
    }
    // A byte more is a byte more.
    client.write(&frame(0xc0 | BINARY, &stored(&stubborn(LIMIT + 1), 65_535)));
    client.expect_close(1009);
    assert_eq!(next(&events), closed(CloseReason::Protocol));
}

#[test]
fn a_message_of_the_limit_is_taken_in_fragments_that_are_each_flushed() {
    let socket = WebSocket::new().max_message(1000).deflate(Deflate::new());
    let (server, events) = telling(Engine::builder().listen(listener(socket)));
    let mut client = opened(server.at(), &events);
    let said = stubborn(1000);
    let mut frames = Vec::new();
    for (nth, byte) in said.chunks(1).enumerate() {
        let first = if nth == 0 { 0x40 | BINARY } else { 0 };
        frames.extend(frame(first, &[&stored(byte, 1)[..], &[0, 0, 0xff, 0xff]].concat()));
    }
    frames.extend(frame(0x80, &[0]));
    client.write(&frames);
    assert_eq!(next(&events), Told::Binary(1000));
    assert_eq!(client.read(), (0x80 | BINARY, said));
}

#[test]
fn what_is_compressed_is_told_1009_at_the_header_that_announces_more_than_it_can_be() {
    let socket = || WebSocket::new().max_message(1000).deflate(Deflate::new());
    for (socket, first, announced) in [
        (socket(), 0xc0, most(1000) + 1),
        (socket(), 0x80, 1001),
        // A frame's limit is for its bytes on the wire.
        (socket().max_frame(500), 0xc0, 501),
        (socket().max_frame(1000), 0xc0, 1001),
    ] {
        let server = silent(Engine::builder().listen(listener(socket)));
        let mut client = Client::open_with(server.at(), OFFER);
        client.write(&header(first | BINARY, announced as u64));
        client.expect_close(1009);
    }
}

#[test]
fn with_a_context_of_its_own_what_grew_goes_as_it_is_when_it_fills_the_window_and_later_messages_still_inflate()
 {
    let deflate = Deflate::new().own_contexts(1).threshold(0);
    let server = silent(Engine::builder().listen(listener(WebSocket::new().deflate(deflate))));
    let mut client = Client::open_with(server.at(), OFFER);
    let mut theirs = Decompress::new(false);
    let mut echo = |said: &[u8], kind: u8| {
        client.write(&frame(0x80 | kind, said));
        let (first, payload) = client.read();
        if first & 0x40 == 0 {
            assert_eq!((first, &*payload), (0x80 | kind, said));
            return (false, payload.len());
        }
        let (len, mut out) = (payload.len(), Vec::with_capacity(said.len() + 100));
        let whole = [&payload[..], &[0, 0, 0xff, 0xff]].concat();
        theirs.decompress_vec(&whole, &mut out, FlushDecompress::Sync).unwrap();
        assert!(out == said, "{} bytes became {}", said.len(), out.len());
        (true, len)
    };
    let news = b"have you heard the news? the quick brown fox jumps over the lazy dog";
    let (_, first) = echo(news, TEXT);
    let (is_compressed, again) = echo(news, TEXT);
    assert!(is_compressed && again < first, "{again} after {first}");
    // Shorter than the window: the peer has to follow, and what was said before is still there.
    let (is_compressed, len) = echo(&stubborn(20_000), BINARY);
    assert!(is_compressed && len > 20_000 && len <= most(20_000), "{len}");
    assert!(echo(news, TEXT).1 < first);
    // Not shorter: what was said before has gone anyway.
    for len in [32 << 10, 100_000] {
        assert_eq!(echo(&stubborn(len), BINARY), (false, len));
        // The peer's window has none of it to refer to.
        echo(&stubborn(len)[len - 1000..], BINARY);
        assert_eq!(echo(news, TEXT), (true, first));
        assert_eq!(echo(news, TEXT), (true, again));
    }
}

#[test]
fn two_engines_with_contexts_and_the_same_limits_agree_on_every_message_up_to_them() {
    for (limit, level) in [(125, 1), (20_000, 1), (20_000, 0), (20_000, 6), (32 << 10, 1), (200_000, 1)] {
        let socket = || {
            let deflate = Deflate::new().own_contexts(1).threshold(0).level(level);
            WebSocket::new().max_message(limit).deflate(deflate)
        };
        let server = silent(Engine::builder().listen(listener(socket())));
        let (told, events) = channel();
        let sizes = [limit, limit - 1, limit * 95 / 100, limit / 2, 1];
        let dialler = serve(plain().reactors(1), move |_| {
            let (heard, left) = (told.clone(), told.clone());
            Script::<()>::new()
                .open(move |conn, ()| {
                    for size in sizes {
                        conn.send(stubborn(size));
                    }
                    Action::Continue
                })
                .message(move |_, (), message| {
                    let len = message.bytes().len();
                    assert!(message.bytes() == stubborn(len), "another message came back");
                    tell(&heard, Ok(len));
                    Action::Continue
                })
                .close(move |closed, ()| tell(&left, Err(*closed.reason())))
        });
        let to = Connect::to(format!("ws://{}", server.at())).framing(Framing::websocket(socket()));
        dialler.handle.connect(On::Any, to).unwrap();
        for size in sizes {
            assert_eq!(next(&events), Ok(size), "of {limit} at level {level}");
        }
    }
}
