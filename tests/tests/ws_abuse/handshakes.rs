//! Requests that are too slow, too large, or no requests: each is told so in HTTP, and reads it whole.

use std::{io::Write, thread, time::Duration};

use wheelhouse::{CloseReason, Engine, WebSocket};

use crate::{
    MS,
    fixture::{Ending, connect, next, read_to_end},
    listener, plain, refused, silent, telling,
    wire::{Answer, Client, Quiet, ask, request, text, wait_until_empty},
};

#[test]
fn a_request_that_trickles_in_is_answered_408_when_its_time_is_up_and_the_others_are_served() {
    let (server, _events) = telling(plain().handshake_timeout(500 * MS));
    let quiet = Quiet::talk(server.at());
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let to = server.at();
            thread::spawn(move || {
                let mut stream = connect(to);
                for byte in request("/", "").bytes().take(150) {
                    // Until it is told off, or its request would have been whole in ten times its time.
                    if stream.write_all(&[byte]).is_err() || was_answered(&mut stream) {
                        break;
                    }
                }
                Answer::parse(&read_to_end(&mut stream).0)
            })
        })
        .collect();
    for slow in slow {
        let answer = slow.join().unwrap();
        assert_eq!(answer.status, 408);
        answer.assert_is_last();
    }
    quiet.was_served();
}

/// Waits a little for an answer.
fn was_answered(stream: &mut std::net::TcpStream) -> bool {
    stream.set_read_timeout(Some(30 * MS)).unwrap();
    let answered = stream.peek(&mut [0]).is_ok();
    stream.set_read_timeout(Some(crate::fixture::PATIENCE)).unwrap();
    answered
}

#[test]
fn one_who_says_nothing_at_all_goes_unanswered_when_its_time_is_up() {
    let server = silent(plain().handshake_timeout(100 * MS));
    let (heard, ending) = read_to_end(&mut server.connect());
    assert_eq!((&*heard, ending), (&b""[..], Ending::Eof));
    wait_until_empty(&server.handle);
}

#[test]
fn a_mebibyte_of_headers_is_refused_with_431_which_reaches_a_peer_that_is_still_writing() {
    let server = silent(plain());
    let quiet = Quiet::talk(server.at());
    let one_long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let endless = format!("GET /{}", "x".repeat(1 << 20));
    for bytes in [one_long, many, endless] {
        assert_eq!(ask(server.at(), bytes.as_bytes()).status, 431);
    }
    quiet.was_served();
    wait_until_empty(&server.handle);
}

#[test]
fn as_many_headers_as_are_allowed_pass_and_one_more_does_not() {
    let server = silent(plain());
    // Five of its own.
    drop(Client::open_with(server.at(), &"X: y\r\n".repeat(95)));
    assert_eq!(ask(server.at(), request("/", &"X: y\r\n".repeat(96)).as_bytes()).status, 431);
}

#[test]
fn a_request_of_the_largest_size_passes_and_one_more_byte_does_not() {
    let server = silent(plain());
    let around = request("/", "X: \r\n").len();
    let fill = |bytes: usize| format!("X: {}\r\n", "x".repeat((16 << 10) - around + bytes));
    drop(Client::open_with(server.at(), &fill(0)));
    assert_eq!(ask(server.at(), request("/", &fill(1)).as_bytes()).status, 431);
}

#[test]
fn a_request_may_be_as_large_as_is_asked_for_and_no_larger() {
    for most in [1 << 10, 3_000, 300_000] {
        let builder = Engine::builder().listen(listener(WebSocket::new().max_head(most)));
        let server = silent(builder.read_buffer(most.max(1 << 10)));
        let around = request("/", "X: \r\n").len();
        let fill = |bytes: usize| format!("X: {}\r\n", "x".repeat(most - around + bytes));
        drop(Client::open_with(server.at(), &fill(0)));
        assert_eq!(ask(server.at(), request("/", &fill(1)).as_bytes()).status, 431, "{most}");
    }
}

#[test]
fn what_is_no_http_is_refused_with_400() {
    let server = silent(plain());
    for bytes in [
        &b"\0\x01\x02\x03"[..],
        b"\xff\xfe\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    ] {
        assert_eq!(ask(server.at(), bytes).status, 400, "{}", bytes.escape_ascii());
    }
    wait_until_empty(&server.handle);
}

#[test]
fn the_beginning_of_tls_is_refused_with_400() {
    let server = silent(plain());
    let mut hello = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    hello.resize(517, 0x5a);
    assert_eq!(ask(server.at(), &hello).status, 400);
}

#[test]
fn the_preface_of_http_2_is_refused_with_505() {
    let server = silent(plain());
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert_eq!(ask(server.at(), preface).status, 505);
}

#[test]
fn a_request_in_segments_of_one_byte_is_served_and_so_are_frames() {
    let (server, _events) = telling(plain());
    let mut stream = server.connect();
    for byte in request("/", "").bytes() {
        stream.write_all(&[byte]).unwrap();
        thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(crate::wire::read_head(&mut stream).status, 101);
    let mut client = Client { stream };
    for byte in text("bit by bit") {
        client.write(&[byte]);
        thread::sleep(Duration::from_micros(200));
    }
    client.expect_text("bit by bit");
}

#[test]
fn frames_in_the_segment_of_the_request_are_served_after_the_upgrade() {
    let server = silent(plain());
    let mut stream = server.connect();
    let bytes =
        [request("/", "").into_bytes(), text("one"), text("two"), text("three")[..5].to_vec()].concat();
    stream.write_all(&bytes).unwrap();
    assert_eq!(crate::wire::read_head(&mut stream).status, 101);
    let mut client = Client { stream };
    client.expect_text("one");
    client.expect_text("two");
    client.write(&text("three")[5..]);
    client.expect_text("three");
}

#[test]
fn one_that_connects_and_leaves_without_a_request_is_no_error_and_told_as_never_opened() {
    let (server, events) = telling(plain());
    for _ in 0..20 {
        drop(server.connect());
        assert_eq!(next(&events), refused(CloseReason::Peer { code: None }));
        let mut stream = server.connect();
        stream.write_all(b"GET / HT").unwrap();
        drop(stream);
        assert_eq!(next(&events), refused(CloseReason::Peer { code: None }));
    }
    Client::open(server.at()).echo("still there");
    assert_eq!(server.handle.stats().total().panics, 0);
}

#[test]
fn one_that_resets_in_mid_request_harms_nobody() {
    let server = silent(plain());
    let quiet = Quiet::talk(server.at());
    for cut in [1, 20, 100] {
        let mut stream = server.connect();
        stream.write_all(&request("/", "").as_bytes()[..cut]).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    quiet.was_served();
    wait_until_empty(&server.handle);
}

#[test]
fn a_refusal_is_told_to_on_close_as_never_opened() {
    let (server, events) = telling(plain());
    assert_eq!(ask(server.at(), request("/no", "").as_bytes()).status, 403);
    assert_eq!(next(&events), crate::Told::Request("/no".into()));
    assert_eq!(next(&events), refused(CloseReason::Local));
}
