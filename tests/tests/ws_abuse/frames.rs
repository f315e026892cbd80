//! Frames against the rules: each closes with the code that RFC 6455 names, and with nothing behind it.

use std::{
    io::Write,
    sync::{Mutex, mpsc::channel},
};

use flate2::{Compress, Compression, FlushCompress};
use wheelhouse::{Action, CloseReason, Deflate, Engine, WebSocket};

use crate::{
    Told, closed,
    fixture::{Script, next, serve, tell},
    listener, plain, silent, telling,
    wire::{
        BINARY, CLOSE, Client, PING, PONG, Quiet, TEXT, close, frame, header, peak_memory, text,
        wait_until_empty,
    },
};

/// Compression, as RFC 7692 has it offered.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

#[test]
fn what_breaks_the_rules_of_frames_is_told_1002() {
    let server = silent(plain());
    let quiet = Quiet::talk(server.at());
    let unmasked = [&[0x80 | TEXT, 2][..], b"hi"].concat();
    for (bytes, what) in [
        (unmasked, "unmasked"),
        (frame(0xc0 | TEXT, b"hi"), "a reserved bit that was not agreed on"),
        (frame(0x80 | 3, b"hi"), "a reserved opcode"),
        (frame(0x80, b"hi"), "a continuation of nothing"),
        ([frame(TEXT, b"hi"), text("hi")].concat(), "a message within a message"),
        (frame(PING, b"hi"), "a ping in fragments"),
        (frame(0x80 | PING, &[0; 126]), "a ping of 126 bytes"),
        (frame(0x80 | CLOSE, b"\x03"), "half a close code"),
        (close(1005, ""), "a close code that is never sent"),
        (close(1006, ""), "another one"),
        (close(999, ""), "a close code out of range"),
        (vec![0x80 | TEXT, 0x80 | 126, 0, 5, 0, 0, 0, 0], "a length in more bytes than it needs"),
    ] {
        let mut client = Client::open(server.at());
        client.write(&bytes);
        assert_eq!(client.read_close(), (1002, 0), "{what}");
    }
    quiet.was_served();
    wait_until_empty(&server.handle);
}

#[test]
fn a_length_of_2_to_the_63_is_told_1002_and_all_below_1009() {
    let server = silent(plain());
    let before = peak_memory();
    for (len, code) in [(1 << 63, 1002), (u64::MAX, 1002), ((1 << 63) - 1, 1009), (1 << 40, 1009)] {
        let mut client = Client::open(server.at());
        client.write(&header(0x80 | BINARY, len));
        client.expect_close(code);
    }
    assert!(peak_memory().saturating_sub(before) < 64 << 20);
}

#[test]
fn a_message_that_is_too_large_is_told_1009_before_any_of_it_has_come() {
    let (server, events) = telling(Engine::builder().listen(listener(WebSocket::new().max_message(1000))));
    let mut client = Client::open(server.at());
    client.write(&frame(0x80 | BINARY, &[7; 1000]));
    assert_eq!(client.read(), (0x80 | BINARY, vec![7; 1000]));
    client.write(&header(0x80 | BINARY, 1001));
    client.expect_close(1009);
    drop(client);
    let told: Vec<_> = (0..4).map(|_| next(&events)).collect();
    assert_eq!(told[2..], [Told::Binary(1000), closed(CloseReason::Protocol)]);
    // In fragments, at the one that is too much.
    let mut client = Client::open(server.at());
    client.write(&frame(BINARY, &[7; 600]));
    client.write(&header(0, 401));
    client.expect_close(1009);
}

#[test]
fn a_frame_that_is_too_large_is_told_1009_at_its_header_whole_or_a_fragment() {
    let socket = WebSocket::new().max_message(4 << 20).max_frame(1000);
    let (server, events) = telling(Engine::builder().listen(listener(socket)));
    let mut client = Client::open(server.at());
    for first in [BINARY, 0, 0x80] {
        client.write(&frame(first, &[7; 1000]));
    }
    assert_eq!(client.read(), (0x80 | BINARY, vec![7; 3000]));
    client.write(&header(0x80 | BINARY, 1001));
    client.expect_close(1009);
    drop(client);
    let told: Vec<_> = (0..4).map(|_| next(&events)).collect();
    assert_eq!(told[2..], [Told::Binary(3000), closed(CloseReason::Protocol)]);

    let mut client = Client::open(server.at());
    client.write(&[frame(BINARY, &[7; 1000]), frame(0x80 | PING, b"?"), header(0, 1001)].concat());
    assert_eq!(client.read(), (0x80 | PONG, b"?".to_vec()));
    client.expect_close(1009);
}

#[test]
fn a_1009_reaches_a_peer_that_goes_on_writing() {
    let server = silent(plain());
    let mut client = Client::open(server.at());
    let mut stream = client.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let _ = stream.write_all(&header(0x80 | BINARY, 64 << 20));
        let _ = stream.write_all(&vec![7; 8 << 20]);
    });
    client.expect_close(1009);
    drop(client);
    writer.join().unwrap();
}

#[test]
fn text_that_is_not_utf_8_is_told_1007() {
    let server = silent(plain());
    for bytes in [&b"\xff"[..], b"\xed\xa0\x80", b"abc\xc3"] {
        let mut client = Client::open(server.at());
        client.write(&frame(0x80 | TEXT, bytes));
        client.expect_close(1007);
    }
    // At the byte that breaks it, though the message is far from whole.
    let mut client = Client::open(server.at());
    client.write(&frame(TEXT, b"abc\xe2\x82"));
    client.write(&frame(0, b"x"));
    client.expect_close(1007);
}

#[test]
fn what_came_before_the_fault_is_answered_first() {
    let server = silent(plain());
    let mut client = Client::open(server.at());
    client.write(&[text("one"), text("two"), frame(0x80 | 3, b"")].concat());
    client.expect_text("one");
    client.expect_text("two");
    client.expect_close(1002);
}

/// What inflates to so many mebibytes of zeros, a thousandth of that long.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut deflated = Vec::with_capacity(8192);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&zeros, &mut deflated, FlushCompress::Full).unwrap();
    assert!(deflated.len() < 2000 && deflated.ends_with(&[0, 0, 0xff, 0xff]));
    let mut bomb = deflated.repeat(mebibytes);
    bomb.truncate(bomb.len() - 4);
    bomb
}

#[test]
fn a_bomb_of_900_mebibytes_is_told_1009_and_costs_no_more_than_the_limit() {
    let socket = WebSocket::new().deflate(Deflate::new());
    let server = silent(Engine::builder().listen(listener(socket)));
    let quiet = Quiet::talk(server.at());
    let bomb = bomb(900);
    let before = peak_memory();
    for _ in 0..20 {
        let mut client = Client::open_with(server.at(), OFFER);
        client.write(&frame(0xc0 | BINARY, &bomb));
        client.expect_close(1009);
    }
    // All that runs in this process beside it is small.
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    quiet.was_served();
}

#[test]
fn a_message_that_inflates_to_the_limit_passes_and_one_more_byte_does_not() {
    let socket = WebSocket::new().deflate(Deflate::new()).max_message(1 << 20);
    let (server, events) = telling(Engine::builder().listen(listener(socket)));
    let mut client = Client::open_with(server.at(), OFFER);
    client.write(&frame(0xc0 | BINARY, &bomb(1)));
    let told: Vec<_> = (0..3).map(|_| next(&events)).collect();
    assert_eq!(told[2], Told::Binary(1 << 20));
    assert_eq!(client.read().0, 0xc0 | BINARY);
    // One stored byte behind it.
    let more = [&bomb(1)[..], &[0, 0, 0xff, 0xff], &[0, 1, 0, 0xfe, 0xff, 7], &[0]].concat();
    client.write(&frame(0xc0 | BINARY, &more));
    client.expect_close(1009);
}

#[test]
fn a_few_bytes_that_become_many_keep_nobody_else_waiting_and_all_of_them_are_served() {
    const MANY: usize = 50;
    let socket = WebSocket::new().deflate(Deflate::new());
    let (told, events) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Mutex::new(Some(may_go_on));
    let server = serve(Engine::builder().listen(listener(socket)).reactors(1), move |_| {
        let (told, mut may_go_on) = (told.clone(), may_go_on.lock().unwrap().take());
        Script::new().message(move |_, (), message| {
            let len = message.bytes().len();
            tell(&told, len);
            if len > 1
                && let Some(may_go_on) = may_go_on.take()
            {
                may_go_on.recv().unwrap();
            }
            Action::Continue
        })
    });
    let mut quiet = Client::open(server.at());
    let mut greedy = Client::open_with(server.at(), OFFER);
    greedy.write(&frame(0xc0 | BINARY, &bomb(1)).repeat(MANY));
    assert_eq!(next(&events), 1 << 20);
    // While the first one is served the rest of them have come, and this.
    quiet.write(&text("?"));
    go_on.send(()).unwrap();
    let order: Vec<usize> = (0..MANY).map(|_| next(&events)).collect();
    let place = order.iter().position(|&len| len == 1).unwrap();
    assert!(place < 5, "behind {place} messages of 1 MiB");
    assert!(order.iter().all(|len| [1, 1 << 20].contains(len)), "{order:?}");
}

#[test]
fn what_does_not_inflate_is_told_1007_or_1002_and_the_next_one_is_served() {
    let socket = WebSocket::new().deflate(Deflate::new());
    let server = silent(Engine::builder().listen(listener(socket)));
    for _ in 0..3 {
        let mut client = Client::open_with(server.at(), OFFER);
        client.write(&frame(0xc0 | BINARY, &[0xff; 100]));
        let (code, before) = client.read_close();
        assert!(before == 0 && [1002, 1007].contains(&code), "{code}");
        Client::open_with(server.at(), OFFER).echo("well");
    }
}
