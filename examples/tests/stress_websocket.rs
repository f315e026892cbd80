//! The load over WebSocket, against the engine and against servers that are not ours.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use common::{Ended, PATIENCE, Server, bounded, example, run};
use serde_json::Value;
use tungstenite::{
    Bytes, Message, WebSocket,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

fn stress(to: &str, options: &[&str]) -> Ended {
    run(example("stress").args(["--to", to, "--seconds=0.3", "--json"]).args(options))
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}{}", ended.out, ended.err))
}

/// The one failure there is, and how often.
fn failure(ended: &Ended) -> (String, u64) {
    let results = json(ended);
    assert_eq!((ended.code, &results["ok"]), (Some(1), &Value::Bool(false)), "{}", ended.err);
    let failures = results["connections"]["failures"].as_object().unwrap();
    assert_eq!(failures.len(), 1, "{failures:?}");
    let (what, times) = failures.iter().next().unwrap();
    (what.clone(), times.as_u64().unwrap())
}

/// A server whose connections are each served on a thread; its URL.
fn raw_server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (bounded(stream.unwrap()), serve.clone());
            thread::spawn(move || serve(stream));
        }
    });
    url
}

fn server(serve: impl Fn(&mut WebSocket<TcpStream>) + Clone + Send + 'static) -> String {
    raw_server(move |stream| serve(&mut tungstenite::accept(stream).unwrap()))
}

/// Sends back each message as `change` makes it, with its number; until the other end closes.
fn echo(socket: &mut WebSocket<TcpStream>, mut change: impl FnMut(usize, &mut Vec<u8>)) {
    let mut nth = 0;
    while let Ok(message) = socket.read() {
        if let Message::Binary(bytes) = message {
            let mut bytes = bytes.to_vec();
            change(nth, &mut bytes);
            nth += 1;
            let _ = socket.send(Message::binary(bytes));
        }
    }
}

#[test]
fn messages_of_every_size_come_through_the_engine_whole() {
    let server = Server::start_on("echo", &["ws://127.0.0.1:0"], &["--max-message=3000000", "--deflate"]);
    for (size, more) in [
        (0, "--pipeline=8"),
        (1, "--pipeline=100"),
        (125, "--pipeline=3"),
        (126, "--rate=500"),
        (65_535, "--pipeline=2"),
        (65_536, "--ramp=0"),
        (1 << 20, "--reactors=2"),
        (3_000_000, "--pipeline=2"),
    ] {
        let ended = stress(server.url(), &["--connections=4", &format!("--size={size}"), more]);
        let results = json(&ended);
        assert_eq!((ended.code, &results["ok"]), (Some(0), &Value::Bool(true)), "{size}: {}", ended.err);
        let answered = results["messages"]["answered"].as_u64().unwrap();
        assert!(answered >= 4, "{size}: {answered}");
        assert_eq!(results["bytes"]["received"], answered * size, "{size}");
        assert_eq!(results["latency_us"]["count"], answered, "{size}");
    }
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn one_flipped_byte_is_found_and_named() {
    let to = server(|socket| {
        echo(socket, |nth, bytes| {
            if nth == 10 {
                bytes[7] ^= 1;
            }
        });
    });
    let ended = stress(&to, &["--connections=3"]);
    assert_eq!(failure(&ended), ("sent back something else".to_owned(), 3));
    let results = json(&ended);
    assert_eq!(results["verification"]["corrupt_connections"], 3);
    assert_eq!(results["verification"]["first"][0]["position"], 10 * 64 + 7);
    assert_eq!(stress(&to, &["--connections=3", "--no-verify"]).code, Some(0));
}

#[test]
fn a_message_of_another_length_or_too_many_are_found() {
    let shorter = server(|socket| echo(socket, |_, bytes| _ = bytes.pop()));
    let ended = stress(&shorter, &["--connections=1"]);
    assert_eq!(failure(&ended).0, "WebSocket: a message shorter than it was sent");
    let twice = server(|socket| {
        let message = socket.read().unwrap();
        let _ = socket.send(message.clone());
        let _ = socket.send(message);
        let _ = socket.read();
    });
    let ended = stress(&twice, &["--connections=1", "--rate=1", "--size=0"]);
    assert_eq!(failure(&ended).0, "WebSocket: a message that was never sent");
}

#[test]
fn pings_are_answered_fragments_joined_and_the_end_is_agreed() {
    let (told, tells) = mpsc::channel();
    let to = server(move |socket| {
        loop {
            match socket.read().unwrap() {
                Message::Binary(bytes) => {
                    let (one, two) = (bytes.slice(..1), bytes.slice(1..));
                    let first = Frame::message(one, OpCode::Data(Data::Binary), false);
                    let last = Frame::message(two, OpCode::Data(Data::Continue), true);
                    socket.send(Message::Frame(first)).unwrap();
                    socket.send(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
                    // In this order, and nothing else: one message is under way.
                    assert_eq!(socket.read().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
                    socket.send(Message::Frame(last)).unwrap();
                }
                Message::Close(frame) => return told.send(frame.map(|frame| u16::from(frame.code))).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    });
    let ended = stress(&to, &["--connections=2", "--size=100"]);
    // Our server leaves without writing its part of the close.
    assert_eq!(failure(&ended), ("WebSocket: ended without a close frame".to_owned(), 2));
    let results = json(&ended);
    assert_eq!(results["messages"]["sent"], results["messages"]["answered"]);
    for _ in 0..2 {
        assert_eq!(tells.recv_timeout(PATIENCE).unwrap(), Some(1000));
    }
}

#[test]
fn a_server_that_ends_it_is_told_with_its_code() {
    let server = Server::start_on("echo", &["ws://127.0.0.1:0"], &["--max-message=1000"]);
    let ended = stress(server.url(), &["--connections=5", "--size=1001"]);
    assert_eq!(failure(&ended), ("WebSocket: closed by the server, code 1009".to_owned(), 5));
}

#[test]
fn who_speaks_no_websocket_is_told_apart() {
    let forbidding = raw_server(|mut stream| {
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read(&mut [0; 1000]);
    });
    let ended = stress(&forbidding, &["--connections=2"]);
    assert_eq!(failure(&ended), ("no WebSocket: HTTP/1.1 403 Forbidden".to_owned(), 2));
    assert_eq!(json(&ended)["connections"]["opened"], 0);
}

#[test]
fn what_it_cannot_do_is_told_before_it_begins() {
    for (options, part) in [
        (&["--to=wss://127.0.0.1:1"][..], "nobody is trusted yet"),
        (&["--to=ws://127.0.0.1:x"], "bad port `x`"),
        (&["--to=tcp://127.0.0.1:1", "--size=0"], "--size: "),
    ] {
        let ended = run(example("stress").args(options));
        assert_eq!(ended.code, Some(2), "{options:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{options:?}: {}", ended.err);
    }
}
