//! What one says all hear.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/socket.rs"]
mod socket;

use std::{io::Write, thread};

use common::{Server, Talk};
use socket::Socket;
use tungstenite::Message;

/// Each of them is heard by all before anything counts: an accepted connection may not be open yet. These words may still
/// come later: the order is each sender's, and none between senders on different reactors.
fn join(sockets: &mut [Socket]) {
    for n in 0..sockets.len() {
        let word = format!("here is {n}");
        sockets[n].say(&word);
        for socket in &mut sockets[..=n] {
            while socket.hear() != word {}
        }
    }
}

#[test]
fn all_hear_each_message_once_the_sender_too_and_each_senders_in_order() {
    // The smallest mailbox: whether or not six senders fill it and are held, nothing is lost.
    let options = ["--reactors", "2", "--mailbox", "16"];
    let server = Server::start_on("broadcast", &["ws://127.0.0.1:0"], &options);
    let mut sockets: Vec<Socket> = (0..6).map(|_| Socket::open(server.url(), "/")).collect();
    join(&mut sockets);
    thread::scope(|scope| {
        for (me, mut socket) in sockets.into_iter().enumerate() {
            scope.spawn(move || {
                (0..200).for_each(|n| socket.say(&format!("{me} {n}")));
                let mut next = [0; 6];
                while next != [200; 6] {
                    let text = socket.hear();
                    let Some((from, n)) = text.split_once(' ').filter(|_| !text.starts_with("here")) else {
                        continue;
                    };
                    let from: usize = from.parse().unwrap();
                    assert_eq!(n.parse(), Ok(next[from]), "of {from}, to {me}");
                    next[from] += 1;
                }
            });
        }
    });
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn text_and_bytes_stay_what_they_are() {
    let server = Server::start_on("broadcast", &["ws://127.0.0.1:0"], &[]);
    let mut sockets: Vec<Socket> = (0..2).map(|_| Socket::open(server.url(), "/")).collect();
    join(&mut sockets);
    sockets[0].send(b"\x00\xFF\n");
    sockets[0].say("text\n");
    sockets[0].say("");
    for socket in &mut sockets {
        let bytes = loop {
            match socket.next() {
                Message::Text(text) if text.starts_with("here is") => {}
                other => break other,
            }
        };
        assert_eq!(bytes, Message::binary(&b"\x00\xFF\n"[..]));
        assert_eq!((socket.hear(), socket.hear()), ("text\n".into(), String::new()));
    }
}

#[test]
fn lines_over_tcp_are_heard_over_websockets_and_back() {
    let server =
        Server::start_on("broadcast", &["tcp://127.0.0.1:0", "ws://127.0.0.1:0"], &["--reactors", "2"]);
    let [tcp, ws] = server.urls() else { panic!("two addresses") };
    assert!(tcp.starts_with("tcp://") && ws.starts_with("ws://"));
    let (mut talk, mut socket) = (Talk::to(tcp), Socket::open(ws, "/"));
    assert_eq!(talk.ask("first"), "first");
    socket.say("second");
    while socket.hear() != "second" {}
    assert_eq!(talk.hear(), "second");
    talk.stream.get_mut().write_all(b"one\r\ntwo\n").unwrap();
    // It was perhaps there for the first line, perhaps not.
    let mut heard = || Some(socket.hear()).filter(|line| line != "first").unwrap_or_else(|| socket.hear());
    assert_eq!((heard(), heard()), ("one".into(), "two".into()));
}
