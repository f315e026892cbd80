//! The echo servers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/socket.rs"]
mod socket;

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use common::{PATIENCE, Server, example, run};
use socket::{Socket, ask, http};

fn assert_echoes(mut stream: impl Read + Write, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
}

#[test]
fn what_is_sent_over_tcp_and_unix_comes_back_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    let unix = format!("unix:{}", path.display());
    let server = Server::start_on("echo", &["tcp://127.0.0.1:0", &unix], &["--reactors", "2"]);
    assert_echoes(server.connect(), b"over tcp");
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_echoes(stream, b"over a unix socket");
    let (code, summary) = server.stop();
    assert_eq!(code, Some(0));
    for part in ["2 accepted, 0 shed", "26 in, 26 out", "messages     2 ", "time"] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
    assert!(!path.exists(), "the socket's file is left behind");
}

#[test]
fn a_websocket_is_echoed_beside_tcp_and_told_as_it_was_asked_for() {
    let server =
        Server::start_on("echo", &["ws://127.0.0.1:0", "tcp://127.0.0.1:0"], &["--max-message", "70000"]);
    let [ws, tcp] = server.urls() else { panic!("two addresses") };
    assert!(ws.starts_with("ws://127.0.0.1:") && tcp.starts_with("tcp://127.0.0.1:"), "{ws} {tcp}");
    let mut socket = Socket::open(ws, "/");
    socket.say("text");
    socket.send(&[7; 70_000]);
    assert_eq!((socket.hear(), socket.hear_bytes()), ("text".into(), vec![7; 70_000]));
    socket.send(&[7; 70_001]);
    assert_eq!(socket.hear_close(), Some(1009));
    assert!(http(ws, "GET / HTTP/1.1").starts_with("HTTP/1.1 426 "));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn compression_is_agreed_to_where_it_is_asked_for() {
    let offer = [("sec-websocket-extensions", "permessage-deflate")];
    for (options, agreed) in [(&[][..], false), (&["--deflate"], true)] {
        let server = Server::start_on("echo", &["ws://127.0.0.1:0"], options);
        let (_, yes) = ask(server.url(), "/", &offer).unwrap_or_else(|no| panic!("{}", no.status()));
        assert_eq!(yes.headers().contains_key("sec-websocket-extensions"), agreed, "{options:?}");
    }
}

#[test]
fn one_who_never_asks_for_a_websocket_is_closed_in_time() {
    let server = Server::start_on("echo", &["ws://127.0.0.1:0"], &["--handshake-timeout", "0.05"]);
    server.talk().assert_over();
}

#[test]
fn lines_come_back_as_lines() {
    let server = Server::start("echo", &["--lines", "16"]);
    let mut talk = server.talk();
    assert_eq!(talk.ask("one"), "one");
    talk.say("0123456789abcdefg"); // one too long
    talk.assert_over();
}

#[test]
fn the_silent_are_closed_when_asked_for() {
    let server = Server::start("echo", &["--idle", "0.05"]);
    server.talk().assert_over();
}

#[test]
fn bad_usage_is_told_by_the_engine_in_its_own_words() {
    for (options, message) in [
        (&["--reactors", "0"][..], "error: option `reactors`: 0 is not allowed; allowed: 1 to 256 threads\n"),
        (
            &["--deflate"],
            "error: --deflate, --max-message, --max-frame and --max-fragments: only with a --listen ws:// or wss://\n",
        ),
        (
            &["--listen", "tcp://127.0.0.1"],
            "error: address `tcp://127.0.0.1`: no port; expected `tcp://host:port`\n",
        ),
    ] {
        let ended = run(example("echo").args(options));
        assert_eq!((ended.code, &*ended.err, &*ended.out), (Some(2), message, ""));
    }
    let ended = run(example("echo").arg("--no-such-option"));
    assert_eq!(ended.code, Some(2));
}

#[test]
fn a_port_that_is_taken_is_told_and_is_no_bad_usage() {
    let server = Server::start("echo", &[]);
    let ended = run(example("echo").args(["--listen", server.url()]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.starts_with(&format!("error: cannot listen on `{}`", server.url())), "{}", ended.err);
}

#[test]
fn the_raw_echo_changes_bytes_in_place() {
    let server = Server::start("echo_raw", &[]);
    let mut talk = server.talk();
    assert_eq!(talk.ask("hello, 123 \u{e4}"), "HELLO, 123 \u{e4}");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn hello_is_what_the_engine_shows_first() {
    let readme = include_str!("../../crates/engine/README.md");
    let shown = readme.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(include_str!("../hello.rs").ends_with(shown));
}
