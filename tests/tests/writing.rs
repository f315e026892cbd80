//! What is sent arrives once, whole and in order, whichever way it was sent and however slowly it is read.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    cell::RefCell,
    io::{Read, Write},
    net::TcpStream,
    rc::Rc,
};

use bytes::Bytes;
use wheelhouse::{Action, Audience, Conn, Framing, Kind, Listener, Payload, Sent};
use wheelhouse_tests::{
    Bench, Event, Notes, Pattern, Script, connect, connect_small, many_descriptors, one_listener,
    one_reactor, read_exactly, read_line, read_to_end, until,
};

/// Room for whatever a test queues.
fn roomy() -> Listener {
    Listener::new("tcp://127.0.0.1:0").water_marks(64 << 10, 256 << 10, 64 << 20)
}

/// Reads in sips of uneven sizes.
#[track_caller]
fn sip(stream: &mut TcpStream, pattern: &mut Pattern, total: u64) {
    let mut bytes = vec![0; 50_000];
    let mut size = 1;
    while pattern.position() < total {
        let left = (total - pattern.position()) as usize;
        let room = size.min(left);
        let n = stream.read(&mut bytes[..room]).unwrap();
        assert!(n > 0, "the end after {} of {total} bytes", pattern.position());
        pattern.check(&bytes[..n]);
        size = size * 7 % 49_999 + 1;
    }
}

#[test]
fn bytes_are_in_order_whatever_the_mix_of_sizes_and_kinds() {
    let bench = Bench::start(one_listener(roomy()).send_buffer(16 << 10), |_| {
        let (mut pattern, mut step) = (Pattern::new(7), 0);
        let go_on = |conn: &mut Conn<'_>, _: &mut Notes| {
            // All of it is queued before the first byte is read.
            conn.set_auto_pause(false);
            Action::Continue
        };
        Script::new().on_open(go_on).on_message(move |conn, notes, _| {
            for _ in 0..40 {
                step += 7;
                let sent = match step % 8 {
                    0 => conn.send(&pattern.take(1)[..]),
                    1 => conn.send(&pattern.take(300)[..]),
                    2 => conn.send(&pattern.take(4095)[..]),
                    3 => conn.send(&pattern.take(4096)[..]),
                    4 => conn.send(&pattern.take(70_000)[..]),
                    5 => conn.send(Bytes::from(pattern.take(500))),
                    6 => conn.send(Bytes::from(pattern.take(30_000))),
                    _ => {
                        let (a, b, c) = (pattern.take(10), pattern.take(6000), pattern.take(0));
                        conn.send_vectored(Kind::BINARY, &[&a, &b, &c])
                    }
                };
                assert!(!sent.is_refused());
            }
            notes.count = pattern.position();
            Action::Continue
        })
    });
    let mut stream = connect_small(bench.addr(), 8 << 10);
    let id = bench.opened();
    for _ in 0..8 {
        stream.write_all(b"x").unwrap();
        bench.message(id);
    }
    let total = bench.ask(id, |_, notes| notes.count);
    assert!(total > 1 << 20, "{total}");
    sip(&mut stream, &mut Pattern::new(7), total);
    assert_eq!(bench.ask(id, |conn, _| conn.buffered()), (0, 0));
}

#[test]
fn many_megabytes_arrive_whole_through_partial_writes_and_the_marks() {
    const TOTAL: u64 = 24 << 20;
    /// Sends until the queue is full; goes on when it is told to.
    fn produce(conn: &mut Conn<'_>, pattern: &mut Pattern) -> Action {
        while pattern.position() < TOTAL {
            let size = 1 + pattern.position() * 7 % 60_013;
            let piece = pattern.take(size.min(TOTAL - pattern.position()) as usize);
            let sent = match size % 3 {
                0 => conn.send(Bytes::from(piece)),
                1 => conn.send(&piece),
                _ => {
                    conn.send_vectored(Kind::BINARY, &[&piece[..piece.len() / 2], &piece[piece.len() / 2..]])
                }
            };
            assert!(!sent.is_refused());
            if sent.is_full() {
                return Action::Continue;
            }
        }
        Action::Finish
    }
    let bench = Bench::start(one_reactor().send_buffer(64 << 10), |_| {
        let pattern = Rc::new(RefCell::new(Pattern::new(6)));
        let same = Rc::clone(&pattern);
        Script::new()
            .on_open(move |conn, _| produce(conn, &mut pattern.borrow_mut()))
            .on_writable(move |conn, _| produce(conn, &mut same.borrow_mut()))
    });
    let mut stream = connect_small(bench.addr(), 64 << 10);
    let id = bench.opened();
    until("the queue is full", || bench.ask(id, |conn, _| conn.buffered().1 > 256 << 10));
    sip(&mut stream, &mut Pattern::new(6), TOTAL);
    assert_eq!(read_to_end(&mut stream), b"");
    drop(stream);
    assert_eq!(bench.closed(id).unsent, 0);
    assert!(bench.stop().iter().any(|event| event.name() == "writable"));
}

#[test]
fn conn_and_handle_mixed_on_the_reactors_own_thread_keep_their_order() {
    let listener = roomy().framing(Framing::lines(80));
    let bench = Bench::start(one_listener(listener), |poster| {
        let handle = poster.clone();
        Script::new().on_message(move |conn, _, _| {
            for n in 0..1000 {
                match n % 3 {
                    0 => handle.send(conn.id(), n.to_string()).unwrap(),
                    1 => drop(conn.send(n.to_string())),
                    _ => handle.send_many(&[conn.id()], n.to_string()).unwrap(),
                }
            }
            Action::Continue
        })
    });
    let (mut stream, _) = bench.connect();
    for _ in 0..3 {
        stream.write_all(b"go\n").unwrap();
        for n in 0..1000 {
            assert_eq!(read_line(&mut stream), n.to_string());
        }
    }
}

#[test]
fn the_order_holds_over_the_messages_of_one_batch() {
    let listener = roomy().framing(Framing::lines(80));
    let bench = Bench::start(one_listener(listener), |poster| {
        let handle = poster.clone();
        Script::new().on_message(move |conn, _, message| {
            // Even messages are answered through the handle, odd ones directly.
            let number: u32 = message.text().unwrap().parse().unwrap();
            if number.is_multiple_of(2) {
                handle.send(conn.id(), message.to_payload()).unwrap();
            } else {
                conn.send(message);
            }
            Action::Continue
        })
    });
    let (mut stream, _) = bench.connect();
    let all: String = (0..1000).map(|n| format!("{n}\n")).collect();
    stream.write_all(all.as_bytes()).unwrap();
    for n in 0..1000 {
        assert_eq!(read_line(&mut stream), n.to_string());
    }
}

#[test]
fn broadcasts_and_sends_keep_their_order() {
    const LISTENERS: usize = 30;
    let listener = roomy().framing(Framing::lines(80));
    let bench = Bench::start(one_listener(listener), |poster| {
        let handle = poster.clone();
        Script::new().on_message(move |conn, _, _| {
            for n in 0..300 {
                match n % 4 {
                    0 => handle.broadcast(Audience::Open, n.to_string()).unwrap(),
                    1 => conn.reactor().broadcast(Audience::Open, n.to_string()).unwrap(),
                    way => {
                        for id in conn.reactor().connections() {
                            match way {
                                2 => drop(conn.other(id).unwrap().send(n.to_string())),
                                _ => handle.send(id, n.to_string()).unwrap(),
                            }
                        }
                    }
                }
            }
            Action::Continue
        })
    });
    let mut streams: Vec<TcpStream> = (0..LISTENERS).map(|_| bench.connect().0).collect();
    for round in 0..2 {
        streams[round * 7].write_all(b"go\n").unwrap();
        for stream in &mut streams {
            for n in 0..300 {
                assert_eq!(read_line(stream), n.to_string());
            }
        }
    }
}

#[test]
fn a_broadcast_to_more_than_a_slice_reaches_each_once_and_in_order() {
    const AUDIENCE: usize = 1300;
    many_descriptors();
    let listener = roomy().framing(Framing::lines(80));
    let bench = Bench::start(one_listener(listener), |_| {
        Script::new().on_message(|conn, _, _| {
            for n in 0..5 {
                conn.reactor().broadcast(Audience::Open, format!("all {n}")).unwrap();
                // Overtaken by the slices: whoever is sent something gets the broadcast first.
                let ids = conn.reactor().connections();
                for id in ids.into_iter().step_by(100 + n) {
                    conn.other(id).unwrap().send(format!("one {n}"));
                }
            }
            Action::Continue
        })
    });
    let mut streams: Vec<TcpStream> = (0..AUDIENCE).map(|_| bench.connect().0).collect();
    streams[0].write_all(b"go\n").unwrap();
    for (at, stream) in streams.iter_mut().enumerate() {
        for n in 0..5 {
            assert_eq!(read_line(stream), format!("all {n}"));
            if at % (100 + n) == 0 {
                assert_eq!(read_line(stream), format!("one {n}"));
            }
        }
    }
}

#[test]
fn what_other_connections_are_sent_leaves_at_the_end_of_the_turn() {
    let bench = Bench::raw(|_| {
        let mut others = Vec::new();
        Script::new().on_message(move |conn, _, message| {
            if message.bytes() == b"join" {
                others.push(conn.id());
                conn.send("joined");
                return Action::Continue;
            }
            for &id in &others {
                let mut other = conn.other(id).unwrap();
                other.send(message);
                other.send(Bytes::from(vec![b'.'; 5000]));
            }
            Action::Continue
        })
    });
    let mut listeners: Vec<TcpStream> = (0..10)
        .map(|_| {
            let (mut stream, _) = bench.connect();
            stream.write_all(b"join").unwrap();
            assert_eq!(read_exactly(&mut stream, 6), b"joined");
            stream
        })
        .collect();
    let (mut speaker, _) = bench.connect();
    for word in [&b"hello"[..], b"again"] {
        speaker.write_all(word).unwrap();
        for stream in &mut listeners {
            assert_eq!(read_exactly(stream, 5), word);
            assert!(read_exactly(stream, 5000).iter().all(|&byte| byte == b'.'));
        }
    }
}

#[test]
fn a_connection_of_another_reactor_is_no_other() {
    let bench = Bench::start(one_reactor().reactors(2), |_| Script::new());
    let (_one, first) = bench.connect();
    let (_two, second) = bench.connect();
    assert_ne!(first.reactor(), second.reactor(), "round robin");
    assert!(bench.ask(first, move |conn, _| conn.other(second).is_none()));
    assert!(bench.ask(first, move |conn, _| conn.other(first).is_some()));
}

#[test]
fn bytes_accepted_but_not_taken_by_the_kernel_are_buffered_and_drain() {
    let bench = Bench::start(one_listener(roomy()).send_buffer(8 << 10), |_| Script::new());
    let mut stream = connect_small(bench.addr(), 4 << 10);
    let id = bench.opened();
    let (sent, corked, buffered) = bench.ask(id, |conn, _| {
        conn.send("corked");
        let (_, corked) = conn.buffered();
        let sent = conn.send(Pattern::new(9).take(4 << 20));
        (sent, corked, conn.buffered().1)
    });
    assert_eq!((sent, corked), (Sent::Full, 6));
    assert!(buffered > 1 << 20, "{buffered}");
    assert_eq!(read_exactly(&mut stream, 6), b"corked");
    sip(&mut stream, &mut Pattern::new(9), 4 << 20);
    bench.expect("on_writable", |event| matches!(event, Event::Writable(of) if *of == id).then_some(()));
    assert_eq!(bench.ask(id, |conn, _| conn.buffered().1), 0);
    let stats = || bench.poster().stats().total();
    until("the memory is back", || stats().buffered == 0);
    assert_eq!(stats().bytes_out, 6 + (4 << 20));
}

#[test]
fn an_empty_payload_sends_nothing_and_harms_nothing() {
    let bench = Bench::raw(|_| Script::new());
    let (mut stream, id) = bench.connect();
    bench.ask(id, |conn, _| {
        assert!(!conn.send("").is_refused());
        assert!(!conn.send(Bytes::new()).is_refused());
        assert!(!conn.send_vectored(Kind::TEXT, &[]).is_refused());
        assert!(!conn.send("end").is_refused());
    });
    bench.poster().send(id, Payload::from("")).unwrap();
    bench.poster().send(id, "!").unwrap();
    assert_eq!(read_exactly(&mut stream, 4), b"end!");
    let mut other = connect(bench.addr());
    other.write_all(b"x").unwrap();
}
