//! A connection's id, descriptor, slot and buffers are its own: nothing of one that is gone reaches its successor.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use wheelhouse::{Action, CloseReason, ConnId, Framing, Listener, Tag, TimerKind};
use wheelhouse_tests::{
    Bench, Event, LIMIT, Notes, Script, connect, linger_zero, one_listener, read_exactly, read_line,
    read_to_end, until,
};

const TICK: TimerKind = TimerKind(9);

fn fd_of(bench: &Bench, id: ConnId) -> i32 {
    bench.ask(id, |conn, _| conn.fd().unwrap().as_raw_fd())
}

/// Closes the connection from the inside and waits until its slot and its descriptor are free.
fn bury(bench: &Bench, stream: TcpStream, id: ConnId) {
    bench.poster().close(id);
    bench.closed(id);
    drop(stream);
    until("it is gone", || !bench.poster().is_open(id) && bench.poster().count() == 0);
}

#[test]
fn a_successor_with_the_same_descriptor_shows_nothing_of_its_predecessor() {
    let listener = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(1 << 20));
    let bench = Bench::start(one_listener(listener), |_| Script::echo());
    let mut reused = 0;
    let (mut ids, mut successors) = (HashSet::new(), HashSet::new());
    for round in 0..50 {
        // The predecessor leaves everything it can: half a line inline, in a ring or in a block of its own, timers, a
        // session, a pause, an idle timeout, a half-closed side, unsent bytes.
        let (mut stream, old) = bench.connect();
        let old_fd = fd_of(&bench, old);
        let half = vec![b'x'; [5, 5_000, 100_000][round % 3]];
        stream.write_all(b"whole\n").unwrap();
        assert_eq!(bench.message(old), b"whole");
        stream.write_all(&half).unwrap();
        bench.ask(old, |conn, notes: &mut Notes| {
            notes.count = 77;
            notes.bytes = vec![1; 10];
            conn.set_timer(TICK, Duration::from_millis(20));
            conn.set_idle_timeout(Some(Duration::from_millis(200)));
            conn.send(vec![b'y'; 2 << 20]);
            conn.shutdown_write();
            conn.pause();
        });
        bury(&bench, stream, old);

        let (mut stream, new) = bench.connect();
        assert!(ids.insert(old) && ids.insert(new), "an id is never used twice");
        successors.insert(new);
        if fd_of(&bench, new) == old_fd {
            reused += 1;
        }
        let (count, len, buffered, tag, open) = bench.ask(new, |conn, notes| {
            (notes.count, notes.bytes.len(), conn.buffered(), conn.tag(), conn.is_open())
        });
        assert_eq!((count, len, buffered, tag, open), (0, 0, (0, 0), Tag(0), true));
        stream.write_all(b"mine\n").unwrap();
        assert_eq!(bench.message(new), b"mine", "old bytes in front");
        assert_eq!(read_line(&mut stream), "mine");
        if round == 49 {
            // Longer than its predecessor's timer and idle timeout.
            bench.ask(new, |conn, _| conn.set_timer(TimerKind(10), Duration::from_millis(400)));
            bench.expect("its own timer", |event| match event {
                Event::Timer(id, TimerKind(10)) if *id == new => Some(()),
                _ => None,
            });
            stream.write_all(b"alive\n").unwrap();
            assert_eq!(read_line(&mut stream), "alive");
        }
        bury(&bench, stream, new);
    }
    assert!(reused > 0, "no descriptor was ever reused");
    let late = bench.stop();
    let strange = |event: &&Event| matches!(event, Event::Timer(id, TICK) if successors.contains(id));
    assert_eq!(late.iter().filter(strange).count(), 0, "a timer outlived its connection");
}

#[test]
fn a_late_command_never_reaches_a_reused_slot() {
    let bench = Bench::raw(|_| Script::new());
    let before = bench.poster().stats().total().late_commands;
    let mut dead = Vec::new();
    for _ in 0..20 {
        let (stream, id) = bench.connect();
        bury(&bench, stream, id);
        dead.push(id);
    }
    let (mut stream, alive) = bench.connect();
    let slot = |id: ConnId| id.to_string().rsplit_once('.').unwrap().0.to_owned();
    assert!(dead.iter().any(|&id| slot(id) == slot(alive)), "{alive} has a slot of its own: {dead:?}");
    bench.ask(alive, |conn, _| conn.pause());
    for &id in &dead {
        bench.poster().send(id, "for the dead").unwrap();
        bench.poster().resume(id);
        bench.poster().finish(id);
        bench.poster().close(id);
        bench.poster().reset(id);
        assert!(bench.poster().post_to(id, |_, _, _| panic!("beside the dead")).is_ok());
    }
    bench.poster().send_many(&dead, "for all the dead").unwrap();
    bench.poster().send(alive, "for the living").unwrap();
    let late = 20 * 7;
    until("they are counted", || bench.poster().stats().total().late_commands == before + late);
    stream.write_all(b"unread").unwrap();
    assert!(bench.ask(alive, |conn, _| conn.is_open()));
    bench.poster().finish(alive);
    assert_eq!(read_to_end(&mut stream), b"for the living");
    drop(stream);
    let gone = bench.closed(alive);
    assert_eq!(gone.reason, CloseReason::Local);
    let events = bench.stop();
    assert!(
        !events.iter().any(|event| event.name() == "message"),
        "its pause was ended by a stranger's resume"
    );
    assert!(!events.iter().any(|event| event.name() == "panic"));
}

#[test]
fn commands_that_cross_with_the_close_find_their_connection_or_nobody() {
    // Each connection is told its own id, by another thread, while it closes and its slot is taken again.
    let bench = Bench::raw(|_| Script::new());
    let addr = bench.addr();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..300 {
                        let mut stream = connect(addr);
                        let mut text = read_exactly(&mut stream, 1);
                        stream.shutdown(Shutdown::Write).unwrap();
                        // The last commands cross with the close: some are heard, some are late.
                        text.extend(read_to_end(&mut stream));
                        let text = String::from_utf8(text).unwrap();
                        let said: HashSet<_> = text.split_terminator(' ').collect();
                        assert_eq!(said.len(), 1, "one connection heard of two: {said:?}");
                    }
                })
            })
            .collect();
        while clients.iter().any(|client| !client.is_finished()) {
            for id in bench.poster().connections().collect::<Vec<_>>() {
                let _ = bench.poster().send(id, format!("{id} "));
            }
            std::thread::yield_now();
        }
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    until("all are closed", || bench.poster().stats().total().closed == 900);
    assert_eq!(bench.poster().stats().total().panics, 0);
}

#[test]
fn an_event_of_a_connection_that_closed_in_the_same_turn_reaches_nobody() {
    // Whoever is served first closes the other, whose event is in the same batch.
    let bench = Bench::raw(|_| {
        Script::new().on_message(|conn, _, _| {
            let own = conn.id();
            for id in conn.reactor().connections() {
                if id != own {
                    conn.other(id).unwrap().close();
                    assert!(conn.other(id).is_none(), "it is going");
                }
            }
            Action::Continue
        })
    });
    for _ in 0..50 {
        let (mut one, first) = bench.connect();
        let (mut two, second) = bench.connect();
        // The reactor waits in a callback until both have sent.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let posted = bench.poster().post(first.reactor(), move |_, _| {
            let _ = wait.recv_timeout(wheelhouse_tests::LIMIT);
        });
        assert!(posted.is_ok());
        one.write_all(b"x").unwrap();
        two.write_all(b"x").unwrap();
        drop(go);
        let (server, gone) = bench.expect("a message", |event| match event {
            Event::Message(id, _) if *id == first => Some((first, second)),
            Event::Message(id, _) if *id == second => Some((second, first)),
            _ => None,
        });
        assert_eq!(bench.closed(gone).reason, CloseReason::Local);
        bench.poster().close(server);
        bench.closed(server);
        until("both are gone", || bench.poster().count() == 0);
    }
    let late = bench.stop();
    assert!(!late.iter().any(|event| event.name() == "message"), "{late:?}");
}

#[test]
fn it_is_open_until_on_close_has_returned() {
    let bench = Bench::raw(|poster| {
        let handle = poster.clone();
        Script::new().on_close(move |closed, notes| {
            let id = closed.id();
            notes.bytes = format!(
                "{} {} {} {}",
                handle.is_open(id),
                handle.connections().any(|other| other == id),
                handle.count(),
                handle.find(notes.count as i32) == Some(id),
            )
            .into_bytes();
            assert!(closed.reactor().conn(id).is_none(), "there is nothing to be done to it any more");
        })
    });
    let (stream, id) = bench.connect();
    let fd = fd_of(&bench, id);
    bench.ask(id, move |_, notes| notes.count = fd as u64);
    assert_eq!(bench.poster().find(fd), Some(id));
    assert!(bench.poster().is_open(id));
    assert_eq!(bench.poster().connections().collect::<Vec<_>>(), [id]);
    assert_eq!(bench.poster().count(), 1);
    drop(stream);
    let gone = bench.closed(id);
    assert_eq!(String::from_utf8(gone.notes.bytes).unwrap(), "true true 1 true");
    until("it is not open", || !bench.poster().is_open(id));
    until("it is not found", || bench.poster().find(fd).is_none());
    until("it is not counted", || bench.poster().count() == 0);
    assert_eq!(bench.poster().connections().count(), 0);
}

#[test]
fn the_descriptor_is_closed_only_after_on_close() {
    let bench = Bench::raw(|_| {
        Script::new().on_close(|_, notes| {
            // While it is told, nobody else can have been given its descriptor.
            let link = std::fs::read_link(format!("/proc/self/fd/{}", notes.count)).unwrap();
            notes.bytes = link.to_string_lossy().into_owned().into_bytes();
        })
    });
    let (stream, id) = bench.connect();
    let socket = bench.ask(id, |conn, notes| {
        notes.count = conn.fd().unwrap().as_raw_fd() as u64;
        std::fs::read_link(format!("/proc/self/fd/{}", notes.count)).unwrap()
    });
    linger_zero(&stream);
    drop(stream);
    let gone = bench.closed(id);
    assert_eq!(String::from_utf8(gone.notes.bytes).unwrap(), socket.to_string_lossy());
}

#[test]
fn ids_print_as_reactor_key_and_sequence() {
    let bench = Bench::raw(|_| Script::new());
    let (first, one) = bench.connect();
    let (_second, two) = bench.connect();
    assert_eq!((one.to_string(), two.to_string()), ("0.0.1".to_owned(), "0.1.2".to_owned()));
    bench.poster().close(one);
    bench.closed(one);
    drop(first);
    until("the slot is free", || bench.poster().count() == 1);
    let (_third, three) = bench.connect();
    assert_eq!(three.to_string(), "0.0.3");
    assert_eq!(format!("{three:?}"), "ConnId(0.0.3)");
    assert_eq!(three.reactor().0, 0);
}

#[test]
fn the_index_follows_connections_as_they_come_and_go() {
    let bench = Bench::start(wheelhouse_tests::one_reactor().reactors(2), |_| Script::new());
    let mut streams: Vec<_> = (0..100).map(|_| bench.connect()).collect();
    for (n, (stream, id)) in streams.drain(..50).enumerate() {
        drop(stream);
        bench.closed(id);
        until("it is gone", || bench.poster().count() == 99 - n);
    }
    let there: HashSet<ConnId> = bench.poster().connections().collect();
    assert_eq!(there, streams.iter().map(|(_, id)| *id).collect());
    for &(_, id) in &streams {
        let fd = fd_of(&bench, id);
        assert_eq!(bench.poster().find(fd), Some(id));
    }
    assert_eq!(bench.poster().find(-1), None);
    assert_eq!(bench.poster().find(i32::MAX), None);
}

/// Two threads look while two others come and go: what is found under a descriptor is always a connection that had it, and
/// those who stay are always found.
#[test]
fn other_threads_find_who_has_a_descriptor_while_thousands_come_and_go() {
    let opened: Arc<Mutex<HashMap<ConnId, i32>>> = Arc::default();
    let record = Arc::clone(&opened);
    let bench = Bench::start(wheelhouse_tests::one_reactor().reactors(2), move |_| {
        let record = Arc::clone(&record);
        Script::new().on_open(move |conn, _| {
            record.lock().unwrap().insert(conn.id(), conn.fd().unwrap().as_raw_fd());
            Action::Continue
        })
    });
    let fixed: Vec<(TcpStream, ConnId)> = (0..30).map(|_| bench.connect()).collect();
    let stay: HashSet<ConnId> = fixed.iter().map(|(_, id)| *id).collect();
    let (going, seen) = (AtomicBool::new(true), AtomicUsize::new(0));
    let (poster, addr) = (bench.poster(), bench.addr());
    // Nobody goes on for ever when somebody has failed.
    let end = Instant::now() + 2 * LIMIT;
    let goes_on = || going.load(Ordering::Relaxed) && Instant::now() < end;
    let look = || {
        let mut found: HashSet<(ConnId, i32)> = HashSet::new();
        while goes_on() {
            for fd in 0..500 {
                found.extend(poster.find(fd).map(|id| (id, fd)));
            }
            seen.fetch_max(found.len(), Ordering::Relaxed);
            let all: Vec<ConnId> = poster.connections().collect();
            let each: HashSet<ConnId> = all.iter().copied().collect();
            assert_eq!(all.len(), each.len(), "somebody was told twice");
            assert!(each.is_superset(&stay), "one that stays was not told");
        }
        found
    };
    let found = std::thread::scope(|scope| {
        let come_and_go = || {
            while goes_on() {
                let streams: Vec<_> = (0..10).map(|_| connect(addr)).collect();
                streams.iter().for_each(linger_zero);
            }
        };
        let coming = [scope.spawn(come_and_go), scope.spawn(come_and_go)];
        let looking = [scope.spawn(look), scope.spawn(look)];
        until("thousands were seen", || seen.load(Ordering::Relaxed) >= 2_000);
        going.store(false, Ordering::Relaxed);
        coming.into_iter().for_each(|thread| thread.join().unwrap());
        looking.map(|thread| thread.join().unwrap())
    });
    until("all others are gone", || bench.poster().count() == stay.len());
    assert_eq!(bench.poster().connections().collect::<HashSet<_>>(), stay);
    let opened = opened.lock().unwrap();
    for (id, fd) in found.iter().flatten() {
        assert_eq!(opened.get(id), Some(fd), "{id} was found under {fd}");
    }
}

#[test]
fn a_duplicate_outlives_the_connection_and_brings_no_event() {
    let bench = Bench::raw(|_| {
        Script::new().on_message(|conn, _, message| {
            conn.send(message);
            Action::Continue
        })
    });
    let (mut stream, id) = bench.connect();
    let duplicate = bench.ask(id, |conn, _| {
        conn.send("from the engine ");
        conn.duplicate_fd().unwrap()
    });
    bench.poster().close(id);
    bench.closed(id);
    until("it is gone", || bench.poster().count() == 0);
    // The socket lives, and is the duplicate's alone: what the peer sends is no event of the engine's.
    stream.write_all(b"for the duplicate").unwrap();
    let mut file = File::from(duplicate);
    until("it has come", || {
        let mut bytes = [0; 17];
        match file.read(&mut bytes) {
            Ok(n) => n == 17 && &bytes == b"for the duplicate",
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                false
            }
        }
    });
    file.write_all(b"from the duplicate").unwrap();
    assert_eq!(read_exactly(&mut stream, 34), b"from the engine from the duplicate");
    // Successors in the slot and beside the descriptor are not disturbed by it.
    let (mut next, successor) = bench.connect();
    stream.write_all(b"more").unwrap();
    next.write_all(b"hello").unwrap();
    assert_eq!(read_exactly(&mut next, 5), b"hello");
    assert_eq!(bench.message(successor), b"hello");
    drop(file);
    // The engine never read "more": the kernel ends the connection one way or the other.
    let _ = wheelhouse_tests::wait_for_end(&mut stream);
    assert!(bench.ask(successor, |conn, _| conn.is_open()));
    let events = bench.stop();
    assert!(!events.iter().any(|event| event.conn() == Some(id)), "{events:?}");
}

#[test]
fn finishing_says_fin_though_a_duplicate_lives() {
    let bench = Bench::raw(|_| Script::new());
    let (mut stream, id) = bench.connect();
    let duplicate = bench.ask(id, |conn, _| {
        let duplicate = conn.duplicate_fd().unwrap();
        conn.send("last words");
        conn.finish();
        duplicate
    });
    assert_eq!(read_to_end(&mut stream), b"last words");
    drop(stream);
    assert_eq!(bench.closed(id).reason, CloseReason::Local);
    drop(duplicate);
}
