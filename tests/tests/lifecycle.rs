//! `on_open` before data and exactly one `on_close` for every connection, and no callback inside another.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{HashMap, HashSet},
    io::Write,
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use wheelhouse::{Action, CloseReason, Conn, ConnId, Listener, TimerKind};
use wheelhouse_tests::{
    Bench, Event, Notes, Script, connect, linger_zero, one_listener, one_reactor, read_exactly, read_to_end,
    until, wait_for_end,
};

/// Fails unless these are the events of one whole life; how many bytes came in it.
#[track_caller]
fn check_life(id: ConnId, events: &[&Event]) -> usize {
    let names: Vec<_> = events.iter().map(|event| event.name()).collect();
    assert_eq!(names.first(), Some(&"open"), "{id}: {names:?}");
    assert_eq!(names.last(), Some(&"close"), "{id}: {names:?}");
    assert_eq!(names.iter().filter(|name| **name == "open").count(), 1, "{id}: {names:?}");
    assert_eq!(names.iter().filter(|name| **name == "close").count(), 1, "{id}: {names:?}");
    if let Some(eof) = names.iter().position(|name| *name == "eof") {
        assert_eq!(eof, names.len() - 2, "{id}: nothing but the close after eof: {names:?}");
    }
    let bytes = events.iter().map(|event| match event {
        Event::Message(_, bytes) => bytes.len(),
        _ => 0,
    });
    bytes.sum()
}

fn by_connection(events: &[Event]) -> HashMap<ConnId, Vec<&Event>> {
    let mut lives: HashMap<ConnId, Vec<&Event>> = HashMap::new();
    for event in events {
        if let Some(id) = event.conn() {
            lives.entry(id).or_default().push(event);
        }
    }
    lives
}

#[test]
fn every_connection_of_a_storm_opens_before_its_data_and_closes_once() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let bench = Bench::start(one_reactor().reactors(2), |_| Script::echo());
    let addr = bench.addr();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for n in 0..EACH {
                    let mut stream = connect(addr);
                    stream.write_all(b"hello").unwrap();
                    match (thread + n) % 4 {
                        0 => assert_eq!(read_exactly(&mut stream, 5), b"hello"),
                        1 => {
                            stream.shutdown(Shutdown::Write).unwrap();
                            assert_eq!(read_to_end(&mut stream), b"hello");
                        }
                        2 => linger_zero(&stream),
                        _ => {}
                    }
                }
            });
        }
    });
    until("all are closed", || {
        let total = bench.poster().stats().total();
        total.opened == (THREADS * EACH) as u64 && total.connections == 0
    });
    assert_eq!(bench.poster().count(), 0);
    let events = bench.stop();
    let lives = by_connection(&events);
    assert_eq!(lives.len(), THREADS * EACH, "an id is never used twice");
    for (id, events) in &lives {
        assert!(check_life(*id, events) <= 5);
    }
    let serials: HashSet<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Close(gone) => Some(gone.notes.serial),
            _ => None,
        })
        .collect();
    assert_eq!(serials.len(), THREADS * EACH, "each had a session of its own");
}

#[test]
fn start_comes_first_and_stop_after_the_last_close() {
    let bench = Bench::start(one_reactor().reactors(2), |_| Script::new());
    let streams: Vec<TcpStream> = (0..20).map(|_| bench.connect().0).collect();
    let events = bench.stop();
    for mut stream in streams {
        let _ = wait_for_end(&mut stream);
    }
    let names: Vec<_> = events.iter().map(Event::name).collect();
    assert_eq!(names.iter().filter(|name| **name == "start").count(), 2);
    assert_eq!(names.iter().filter(|name| **name == "stop").count(), 2);
    for reactor in 0..2 {
        let of_it: Vec<_> = events
            .iter()
            .filter(|event| match event {
                Event::Start(id) | Event::Stop(id) => id.0 == reactor,
                event => event.conn().is_some_and(|id| id.reactor().0 == reactor),
            })
            .collect();
        assert_eq!(of_it.first().map(|event| event.name()), Some("start"));
        assert_eq!(of_it.last().map(|event| event.name()), Some("stop"));
        assert_eq!(of_it.len(), 12, "ten closes in between");
        for event in &of_it[1..11] {
            assert!(matches!(event, Event::Close(gone) if gone.reason == CloseReason::Shutdown), "{event:?}");
        }
    }
}

#[test]
fn the_session_is_made_by_default_and_handed_over_with_what_the_callbacks_put_in() {
    let bench = Bench::raw(|_| {
        Script::new()
            .on_open(|_, notes| {
                assert_eq!((notes.count, notes.bytes.len()), (0, 0), "fresh");
                notes.count += 1;
                Action::Continue
            })
            .on_message(|_, notes, message| {
                notes.bytes.extend_from_slice(message.bytes());
                Action::Continue
            })
            .on_eof(|_, notes| {
                notes.count += 10;
                Action::Finish
            })
    });
    let (mut stream, id) = bench.connect();
    let serial = bench.ask(id, |_, notes| {
        notes.count += 100;
        notes.serial
    });
    stream.write_all(b"kept").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let gone = bench.closed(id);
    assert_eq!((gone.notes.serial, gone.notes.count, &gone.notes.bytes[..]), (serial, 111, &b"kept"[..]));
    assert_eq!((gone.reason, gone.opened), (CloseReason::Peer { code: None }, true));
}

const TICK: TimerKind = TimerKind(1);

#[test]
fn a_close_in_the_middle_of_a_batch_drops_the_messages_behind_it() {
    let lines = one_listener(Listener::new("tcp://127.0.0.1:0").framing(wheelhouse::Framing::lines(80)));
    let bench = Bench::start(lines, |_| {
        Script::new().on_message(|conn, notes, message| {
            notes.count += 1;
            conn.send(message);
            if message.bytes() == b"3" { Action::Finish } else { Action::Continue }
        })
    });
    let (mut stream, id) = bench.connect();
    stream.write_all(b"1\n2\n3\n4\n5\n").unwrap();
    assert_eq!(read_to_end(&mut stream), b"1\n2\n3\n");
    drop(stream);
    assert_eq!(bench.closed(id).notes.count, 3);
}

// ---- no callback inside another

#[test]
fn what_a_callback_does_to_another_connection_never_calls_back_inside_it() {
    thread_local! { static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) }; }
    fn enter() {
        assert!(!INSIDE.replace(true), "a callback inside another");
    }
    fn leave() {
        INSIDE.set(false);
    }
    /// Sends, resumes, pauses and at last closes every other connection.
    fn meddle(conn: &mut Conn<'_>, end: bool) {
        enter();
        let own = conn.id();
        for id in conn.reactor().connections() {
            if id == own {
                continue;
            }
            let Some(mut other) = conn.other(id) else { continue };
            other.send(vec![7; 100_000]);
            other.resume();
            other.pause();
            other.resume();
            other.set_timer(TICK, Duration::ZERO);
            other.send("small");
            if end {
                other.close();
            }
        }
        leave();
    }
    let closes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&closes);
    let builder = one_listener(Listener::new("tcp://127.0.0.1:0").water_marks(1, 1000, 64 << 20));
    let bench = Bench::start(builder, move |_| {
        let counted = Arc::clone(&counted);
        Script::new()
            .quiet()
            .on_open(|conn, _| {
                meddle(conn, false);
                Action::Continue
            })
            .on_message(|conn, _, message| {
                meddle(conn, message.bytes() == b"end");
                if message.bytes() == b"end" { Action::Close } else { Action::Continue }
            })
            .on_writable(|conn, _| {
                enter();
                conn.send("more");
                leave();
                Action::Continue
            })
            .on_timer(|conn, _, _| {
                enter();
                conn.send("tick");
                leave();
                Action::Continue
            })
            .on_close(move |closed, _| {
                enter();
                for id in closed.reactor().connections() {
                    if let Some(mut other) = closed.reactor().conn(id) {
                        other.close();
                    }
                }
                leave();
                counted.fetch_add(1, Ordering::Relaxed);
            })
    });
    let mut streams: Vec<TcpStream> = (0..8).map(|_| bench.connect().0).collect();
    let readers: Vec<_> = streams
        .iter()
        .map(|stream| {
            let mut stream = stream.try_clone().unwrap();
            std::thread::spawn(move || {
                let _ = wait_for_end(&mut stream);
            })
        })
        .collect();
    for round in 0..20 {
        for stream in &mut streams {
            let _ = stream.write_all(&[round]);
        }
    }
    let _ = streams[3].write_all(b"!");
    bench.settle();
    until("it is alone in its segment", || {
        // Whatever is read together is one message; only a lone `end` ends.
        let _ = streams[3].write_all(b"end");
        closes.load(Ordering::Relaxed) == 8
    });
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let panics = bench.poster().stats().total().panics;
    assert_eq!(panics, 0, "a callback ran inside another");
}

#[test]
fn nothing_is_told_after_close_though_timers_and_data_were_pending() {
    let bench = Bench::raw(|_| {
        Script::new()
            .on_message(|conn, _: &mut Notes, _| {
                for kind in 0..10 {
                    conn.set_timer(TimerKind(kind), Duration::from_millis(u64::from(kind)));
                }
                Action::Close
            })
            .on_timer(|_, _, _| Action::Continue)
    });
    for _ in 0..50 {
        let (mut stream, id) = bench.connect();
        for _ in 0..10 {
            if stream.write_all(&[0; 1000]).is_err() {
                break;
            }
        }
        assert_eq!(bench.closed(id).reason, CloseReason::Local);
    }
    let bystander = bench.connect();
    bench.ask(bystander.1, |conn, _| conn.set_timer(TICK, Duration::from_millis(30)));
    bench.expect("a later timer", |event| {
        matches!(event, Event::Timer(id, _) if *id == bystander.1).then_some(())
    });
    for event in bench.stop() {
        assert!(matches!(event.name(), "start" | "stop" | "message" | "close"), "{event:?}");
    }
}
