//! A pause and a hold keep what came until they are ended, and then it comes in order, without a new edge.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{io::Write, net::Shutdown};

use wheelhouse::{Action, CloseReason, Conn, ConnId, Framing, Listener, Message};
use wheelhouse_tests::{
    Bench, Notes, Script, one_listener, one_reactor, read_exactly, read_line, read_to_end, until,
};

fn lines() -> Listener {
    Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(1 << 20))
}

// ---- pauses

/// The messages that have come by now: the reactor has dealt with everything that was there.
fn so_far(bench: &Bench, id: ConnId) -> Vec<String> {
    bench.ask(id, |_, notes| {
        String::from_utf8(notes.bytes.clone()).unwrap().split_terminator(' ').map(str::to_owned).collect()
    })
}

fn gather_words() -> impl FnMut(&mut Conn<'_>, &mut Notes, Message<'_>) + 'static {
    |_, notes, message| {
        notes.bytes.extend_from_slice(message.bytes());
        notes.bytes.push(b' ');
    }
}

#[test]
fn a_pause_in_the_middle_of_a_batch_holds_the_rest_until_resumed() {
    let bench = Bench::start(one_listener(lines()), |_| {
        let mut gather = gather_words();
        Script::new().on_message(move |conn, notes, message| {
            gather(conn, notes, message);
            if message.bytes() == b"3" {
                conn.pause();
            }
            Action::Continue
        })
    });
    let (mut stream, id) = bench.connect();
    stream.write_all(b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n").unwrap();
    for _ in 0..3 {
        bench.message(id);
    }
    stream.write_all(b"11\n12\n").unwrap();
    bench.settle();
    assert_eq!(so_far(&bench, id), ["1", "2", "3"]);
    bench.poster().resume(id);
    let rest: Vec<_> = (4..=12).map(|_| String::from_utf8(bench.message(id)).unwrap()).collect();
    assert_eq!(rest, ["4", "5", "6", "7", "8", "9", "10", "11", "12"]);
}

#[test]
fn a_pause_at_every_message_still_brings_all_of_them_in_order() {
    let bench = Bench::start(one_listener(lines()), |_| {
        Script::new().on_message(|conn, _, _| {
            conn.pause();
            Action::Continue
        })
    });
    let (mut stream, id) = bench.connect();
    let all: String = (0..1000).map(|n| format!("{n}\n")).collect();
    stream.write_all(all.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    for n in 0..1000 {
        assert_eq!(bench.message(id), n.to_string().as_bytes());
        bench.poster().resume(id);
    }
    assert_eq!(bench.closed(id).reason, CloseReason::Peer { code: None });
}

#[test]
fn bytes_that_came_while_paused_need_no_new_edge() {
    let bench = Bench::raw(|_| {
        Script::echo().on_open(|conn, _| {
            conn.pause();
            Action::Continue
        })
    });
    for n in 0..50 {
        let (mut stream, id) = bench.connect();
        stream.write_all(b"waiting").unwrap();
        bench.settle();
        if n % 2 == 0 {
            bench.poster().resume(id);
        } else {
            bench.ask(id, |conn, _| {
                conn.pause();
                conn.resume();
            });
        }
        assert_eq!(read_exactly(&mut stream, 7), b"waiting");
    }
}

#[test]
fn a_paused_connection_reads_no_more_than_one_buffer() {
    let bench =
        Bench::start(one_reactor().read_buffer(4096), |_| Script::new().on_message(|_, _, _| Action::Hold));
    let (mut stream, id) = bench.connect();
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    until("the kernel is full", || match stream.write(&[0; 65_536]) {
        Ok(n) => {
            sent += n;
            false
        }
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock && sent > 65_536,
    });
    let (kept, _) = bench.ask(id, |conn, _| conn.buffered());
    assert!(kept > 0 && kept <= 8192, "{kept} bytes kept while paused");
}

// ---- hold

#[test]
fn a_held_line_is_offered_again_once_resumed_and_the_rest_behind_it() {
    let bench = Bench::start(one_listener(lines()), |_| {
        Script::new().on_message(|_, notes, message| {
            // Every message is held once, `3` twice.
            notes.count += 1;
            let tries = if message.bytes() == b"3" { 3 } else { 2 };
            if notes.count < tries {
                return Action::Hold;
            }
            notes.count = 0;
            Action::Continue
        })
    });
    let (mut stream, id) = bench.connect();
    stream.write_all(b"1\n2\n3\n4\nunfinished").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    for expected in ["1", "1", "2", "2", "3", "3", "3", "4", "4"] {
        assert_eq!(String::from_utf8(bench.message(id)).unwrap(), expected);
        bench.poster().resume(id);
    }
    let gone = bench.closed(id);
    assert_eq!(gone.reason, CloseReason::Peer { code: None }, "the end comes after the last message");
}

#[test]
fn held_bytes_are_offered_again_in_front_of_what_came_meanwhile() {
    // Over raw bytes, through the default `on_data`.
    let bench = Bench::raw(|_| {
        Script::new().on_message(|_, notes, message| {
            notes.count += 1;
            if notes.count < 3 {
                return Action::Hold;
            }
            notes.bytes.extend_from_slice(message.bytes());
            Action::Continue
        })
    });
    for with_fin in [false, true] {
        let (mut stream, id) = bench.connect();
        stream.write_all(b"first ").unwrap();
        assert_eq!(bench.message(id), b"first ");
        stream.write_all(b"second ").unwrap();
        if with_fin {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        bench.settle();
        bench.poster().resume(id);
        let again = bench.message(id);
        assert!(again.starts_with(b"first "), "{again:?}");
        assert!(!bench.ask(id, |_, notes| notes.count == 3), "held again, and not offered until resumed");
        bench.poster().resume(id);
        if !with_fin {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(read_to_end(&mut stream), b"");
        assert_eq!(bench.closed(id).notes.bytes, b"first second ");
    }
}

#[test]
fn a_held_message_survives_a_resume_from_another_connections_callback() {
    let bench = Bench::start(one_listener(lines()), |_| {
        let held = std::cell::Cell::new(None::<ConnId>);
        Script::new().on_message(move |conn, notes, message| match message.bytes() {
            b"hold" if notes.count == 0 => {
                notes.count += 1;
                held.set(Some(conn.id()));
                Action::Hold
            }
            b"resume" => {
                let id = held.get().unwrap();
                conn.other(id).unwrap().resume();
                Action::Continue
            }
            _ => {
                conn.send(message);
                Action::Continue
            }
        })
    });
    let (mut one, first) = bench.connect();
    let (mut two, _) = bench.connect();
    one.write_all(b"hold\nnext\n").unwrap();
    bench.message(first);
    two.write_all(b"resume\n").unwrap();
    assert_eq!((read_line(&mut one), read_line(&mut one)), ("hold".into(), "next".into()));
}

#[test]
fn a_large_line_is_held_and_offered_again_whole() {
    let bench = Bench::start(one_listener(lines()), |_| {
        Script::new().on_message(|_, notes, _| {
            notes.count += 1;
            if notes.count % 2 == 1 { Action::Hold } else { Action::Continue }
        })
    });
    let (mut stream, id) = bench.connect();
    let bodies: Vec<Vec<u8>> =
        [(b'a', 100_000), (b'b', 5), (b'c', 300_000), (b'd', 70_000)].map(|(byte, n)| vec![byte; n]).into();
    for body in &bodies {
        stream.write_all(&[&body[..], b"\n"].concat()).unwrap();
    }
    for body in &bodies {
        assert!(bench.message(id) == *body);
        bench.poster().resume(id);
        assert!(bench.message(id) == *body, "the same again");
    }
}
