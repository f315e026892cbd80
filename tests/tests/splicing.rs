//! A connection reached from the callback of another: a forwarder between clients and an upstream, both plain.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{io::Write, net::Shutdown, thread};

use fixture::*;
use wheelhouse::{Action, ConnId, Connect};

/// Bytes of a pattern that repeats late.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8 ^ (n >> 12) as u8).collect()
}

/// Forwards between each accepted connection and one dialled for it, paced by the other's queue.
fn forwarder(upstream: &str) -> Script<Option<ConnId>> {
    let upstream = upstream.to_owned();
    Script::new()
        .open(move |conn, other| {
            *other = conn.tag().conn_id();
            if other.is_none() {
                let to = Connect::to(&*upstream).tag(conn.id());
                *other = Some(conn.reactor().connect(to).unwrap());
            }
            Action::Continue
        })
        .message(|conn, other, message| {
            let sent = conn.other(other.unwrap()).map(|mut other| other.send(message));
            if sent.is_some_and(|sent| sent.is_full()) {
                conn.pause();
            }
            Action::Continue
        })
        .writable(|conn, other| {
            if let Some(mut other) = conn.other(other.unwrap()) {
                other.resume();
            }
            Action::Continue
        })
        .eof(|conn, other| {
            if let Some(mut other) = conn.other(other.unwrap()) {
                other.shutdown_write();
            }
            Action::Continue
        })
        .close(|closed, other| {
            if let Some(mut other) = other.and_then(|other| closed.reactor().conn(other)) {
                other.finish();
            }
        })
}

#[test]
fn two_connections_of_a_reactor_are_spliced_byte_for_byte_with_their_ends() {
    let (upstream, url) = listener();
    let echoing = thread::spawn(move || {
        for _ in 0..4 {
            let mut stream = accept(&upstream);
            thread::spawn(move || {
                let mut reads = stream.try_clone().unwrap();
                std::io::copy(&mut reads, &mut stream).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
        }
    });
    let server = serve(local().reactors(2), move |_| forwarder(&url));
    let at = server.at();
    let clients: Vec<_> = (0..4)
        .map(|n| {
            thread::spawn(move || {
                let bytes = pattern((1 << 20) + n);
                let mut reads = connect(at);
                let mut writes = reads.try_clone().unwrap();
                let sent = bytes.clone();
                let writing = thread::spawn(move || {
                    writes.write_all(&sent).unwrap();
                    writes.shutdown(Shutdown::Write).unwrap();
                });
                let (got, ending) = read_to_end(&mut reads);
                writing.join().unwrap();
                assert!(got == bytes, "{} of {} bytes", got.len(), bytes.len());
                assert_eq!(ending, Ending::Eof);
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    echoing.join().unwrap();
    eventually("all are closed", || server.handle.count() == 0);
    server.stop();
}
