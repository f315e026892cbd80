//! Back-pressure over TLS: the queue's marks and its limit hold for what is sealed, and a pause in the middle of a record's
//! plaintext loses nothing.

use std::{io::Write as _, sync::mpsc::channel};

use wheelhouse::{Action, Builder, CloseReason, Conn, Engine, Framing, Policy, Refusal, Sent};
use wheelhouse_tests::Pattern;

use crate::{
    fixture::{connect_with_window, echo, eventually, expect, next, serve, tell},
    peer::{config, over, sealed, secure},
    site::{Event, ended, engine, listener, opened, start, start_with},
};

const LOW: usize = 32 << 10;
const HIGH: usize = 128 << 10;
const LIMIT: usize = 512 << 10;
const PIECE: usize = 10_000;
/// What sealing adds to a piece, at most.
const SEAL: usize = 64;

fn marked(policy: Policy) -> Builder {
    let listener = listener().water_marks(LOW, HIGH, LIMIT).policy(policy);
    Engine::builder().listen(listener).reactors(1).send_buffer(4096)
}

/// Sends pieces of a pattern until the queue is full.
fn send_more(conn: &mut Conn<'_>, left: &mut usize, pattern: &mut Pattern) -> Action {
    while *left > 0 {
        *left -= 1;
        match conn.send(pattern.take(PIECE)) {
            Sent::Accepted => assert!(conn.buffered().1 < HIGH),
            Sent::Full => {
                let queued = conn.buffered().1;
                assert!((HIGH..HIGH + PIECE + SEAL).contains(&queued), "full with {queued} bytes");
                return Action::Continue;
            }
            refused => panic!("{refused:?}"),
        }
    }
    Action::Finish
}

#[test]
fn a_slow_reader_gets_all_of_it_at_the_marks_own_pace() {
    let (told, fills) = channel();
    let server = serve(marked(Policy::default()), move |_| {
        let (mut left, mut pattern) = (300, Pattern::new(5));
        let state = std::rc::Rc::new(std::cell::RefCell::new(move |conn: &mut Conn<'_>| {
            send_more(conn, &mut left, &mut pattern)
        }));
        let (told, again) = (told.clone(), state.clone());
        crate::fixture::Script::<()>::new().message(move |conn, _, _| (state.borrow_mut())(conn)).writable(
            move |conn, _| {
                tell(&told, conn.buffered().1);
                (again.borrow_mut())(conn)
            },
        )
    });
    let mut client = over(connect_with_window(server.at(), 4096), config());
    client.write_all(b"go").unwrap();
    let mut pattern = Pattern::new(5);
    for _ in 0..300 {
        expect(&mut client, &pattern.take(PIECE));
    }
    let fills: Vec<usize> = fills.try_iter().collect();
    assert!(fills.len() > 10 && fills.iter().all(|&queued| queued <= LOW), "{fills:?}");
}

#[test]
fn beyond_the_limit_a_send_is_refused_and_what_was_taken_arrives() {
    let (server, events) = start(marked(Policy::Refuse));
    let mut client = over(connect_with_window(server.at(), 4096), config());
    let id = opened(&events);
    let taken = server.ask_conn(id, |conn, _| {
        let mut pattern = Pattern::new(6);
        let mut taken = 0;
        while !conn.send(pattern.take(PIECE)).is_refused() {
            taken += 1;
        }
        assert_eq!(conn.send(vec![0; PIECE]), Sent::Refused(Refusal::OverLimit));
        let queued = conn.buffered().1;
        assert!((LIMIT - PIECE - SEAL..=LIMIT).contains(&queued), "{queued} bytes are queued");
        taken
    });
    // A refused send leaves no hole in the stream of records.
    let mut pattern = Pattern::new(6);
    for _ in 0..taken {
        expect(&mut client, &pattern.take(PIECE));
    }
    assert!(matches!(next(&events), Event::Writable));
    echo(&mut client, b"and on it goes");
}

#[test]
fn beyond_the_limit_a_connection_may_be_closed() {
    let (server, events) = start(marked(Policy::Close));
    let client = over(connect_with_window(server.at(), 4096), config());
    let id = opened(&events);
    server.ask_conn(id, |conn, _| while !conn.send(vec![0; PIECE]).is_refused() {});
    assert_eq!(ended(&events).reason, CloseReason::BackPressure);
    drop(client);
    eventually("its queue is given back", || server.handle.stats().total().buffered == 0);
}

#[test]
fn what_is_echoed_to_a_peer_that_never_reads_stays_bounded() {
    let (server, events) = start(marked(Policy::default()));
    let mut client = over(connect_with_window(server.at(), 4096), config());
    opened(&events);
    client.sock.set_nonblocking(true).unwrap();
    let mut record = vec![];
    let mut written = 0;
    // Until the engine has paused for a while.
    let mut refused = 0;
    while refused < 200 {
        assert!(written < 64 << 20, "nobody stops it");
        if record.is_empty() {
            record = sealed(&mut client, &[b'x'; PIECE]);
        }
        match client.sock.write(&record) {
            Ok(n) => {
                written += n;
                record.drain(..n);
                refused = 0;
            }
            Err(_) => {
                refused += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
    let buffered = server.handle.stats().total().buffered as usize;
    // One read's worth of answers may come on top of the mark, and wait in blocks of the pool.
    assert!(buffered < HIGH + (256 << 10), "{buffered} bytes are held");
}

#[test]
fn what_is_held_is_offered_again_with_nothing_lost_behind_it() {
    let (told, held) = channel();
    let listener = listener().framing(Framing::lines(100));
    let (server, events) = start_with(Engine::builder().listen(listener).reactors(1), move |script| {
        let told = told.clone();
        let mut refused = String::new();
        script.message(move |conn, _, message| {
            let line = message.text().unwrap();
            if line.starts_with("hold") && line != refused {
                refused = line.to_owned();
                tell(&told, refused.clone());
                return Action::Hold;
            }
            conn.send(message);
            Action::Continue
        })
    });
    let mut client = secure(server.at());
    let id = opened(&events);
    // All in one segment: three lines in a record, a line in two records, and more behind a second hold.
    let mut bytes = sealed(&mut client, b"one\nhold 1\ntwo\nthr");
    bytes.extend(sealed(&mut client, b"ee\nfour\nhold 2\n"));
    bytes.extend(sealed(&mut client, b"five\n"));
    let last = sealed(&mut client, b"six\n");
    // And half a record at the end.
    bytes.extend_from_slice(&last[..last.len() / 2]);
    client.sock.write_all(&bytes).unwrap();
    expect(&mut client, b"one\n");
    assert_eq!(next(&held), "hold 1");
    client.sock.write_all(&last[last.len() / 2..]).unwrap();
    server.handle.resume(id);
    expect(&mut client, b"hold 1\ntwo\nthree\nfour\n");
    assert_eq!(next(&held), "hold 2");
    server.handle.resume(id);
    expect(&mut client, b"hold 2\nfive\nsix\n");
}

#[test]
fn a_pause_in_the_middle_of_a_records_plaintext_keeps_the_rest_of_it() {
    let (told, seen) = channel();
    let listener = listener().framing(Framing::lines(100));
    let (server, events) = start_with(Engine::builder().listen(listener).reactors(1), move |script| {
        let told = told.clone();
        script.message(move |conn, _, message| {
            tell(&told, message.text().unwrap().to_owned());
            conn.send(message);
            if message.bytes().ends_with(b"5") {
                conn.pause();
            }
            Action::Continue
        })
    });
    let mut client = secure(server.at());
    let id = opened(&events);
    let all: String = (1..=30).map(|n| format!("line {n}\n")).collect();
    for piece in all.as_bytes().chunks(50) {
        let record = sealed(&mut client, piece);
        client.sock.write_all(&record).unwrap();
    }
    for pause in ["line 5", "line 15", "line 25"] {
        while next(&seen) != pause {}
        assert!(seen.try_recv().is_err(), "something came during a pause");
        server.handle.resume(id);
    }
    expect(&mut client, all.as_bytes());
}

#[test]
fn raw_bytes_taken_a_few_at_a_time_arrive_in_order() {
    let (server, _events) = start_with(engine(), |script| {
        script.data(|conn, _, input| {
            // Whole hundreds only.
            while input.len() >= 100 {
                let hundred = input.take_mut(100).to_vec();
                conn.send(hundred);
            }
            Action::Continue
        })
    });
    let mut client = secure(server.at());
    let bytes = Pattern::new(9).take(20_000);
    for piece in bytes.chunks(777) {
        client.write_all(piece).unwrap();
    }
    expect(&mut client, &bytes);
}

#[test]
fn a_connection_with_tls_cannot_be_taken_out() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    let id = opened(&events);
    assert!(!server.ask_conn(id, |conn, _| conn.detach(|_| ())));
    echo(&mut client, b"still here");
}
