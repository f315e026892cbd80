//! A flood starves nobody, and nobody is forgotten when the event list is full.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashMap,
    io::Write,
    net::{Shutdown, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use nix::sys::socket::{MsgFlags, recv};
use wheelhouse::{Action, Audience, ConnId, ReactorId};
use wheelhouse_tests::{
    Bench, Event, LIMIT, Pattern, Script, connect, many_descriptors, one_reactor, read_exactly, read_to_end,
    until,
};

/// Counts and sums up what a flooder sends; a quiet one gets its bytes back.
fn flooded() -> Script {
    Script::new().quiet().on_message(|conn, notes, message| {
        if message.bytes()[0] == b'q' && notes.count == 0 {
            conn.send(message);
        } else {
            notes.count += message.bytes().len() as u64;
            let sum = message
                .bytes()
                .iter()
                .fold(notes.serial, |sum, &byte| sum.wrapping_mul(31) + u64::from(byte));
            notes.serial = sum;
        }
        Action::Continue
    })
}

#[test]
fn quiet_connections_are_served_and_no_byte_is_lost_while_others_flood() {
    const FLOODERS: u64 = 3;
    const QUIET: usize = 20;
    let bench = Bench::start(one_reactor().read_budget(4096).read_buffer(2048), |_| flooded());
    let addr = bench.addr();
    let going = Arc::new(AtomicBool::new(true));
    let flooders: Vec<_> = (0..FLOODERS)
        .map(|n| {
            let going = Arc::clone(&going);
            let mut stream = connect(addr);
            let id = bench.opened();
            bench.ask(id, |_, notes| notes.serial = 0);
            let flooder = std::thread::spawn(move || {
                // A flooder's stream does not begin with the quiet ones' letter.
                let piece = [&b"f"[..], &Pattern::new(n).take(65_535)].concat();
                let (mut count, mut sum) = (0_u64, 0_u64);
                while going.load(Ordering::Relaxed) || count == 0 {
                    stream.write_all(&piece).unwrap();
                    count += piece.len() as u64;
                    sum = piece.iter().fold(sum, |sum, &byte| sum.wrapping_mul(31) + u64::from(byte));
                }
                stream.shutdown(Shutdown::Write).unwrap();
                assert_eq!(read_to_end(&mut stream), b"");
                (count, sum)
            });
            (id, flooder)
        })
        .collect();
    let mut quiet: Vec<TcpStream> = (0..QUIET).map(|_| connect(addr)).collect();
    for round in 0..50 {
        for stream in &mut quiet {
            stream.write_all(&[b'q', round]).unwrap();
        }
        for stream in &mut quiet {
            assert_eq!(read_exactly(stream, 2), [b'q', round]);
        }
    }
    going.store(false, Ordering::Relaxed);
    for (id, flooder) in flooders {
        let (count, sum) = flooder.join().unwrap();
        let gone = bench.closed(id);
        assert_eq!((gone.notes.count, gone.notes.serial), (count, sum), "every byte of the flood, in order");
    }
}

#[test]
fn a_flooder_gets_no_more_than_its_budget_while_another_waits() {
    // Both have sent more than many budgets before either is read: they must take turns.
    let bench = Bench::start(one_reactor().read_budget(1024).read_buffer(1024), |_| {
        Script::new().on_open(|conn, _| {
            conn.pause();
            Action::Continue
        })
    });
    let (mut one, first) = bench.connect();
    let (mut two, second) = bench.connect();
    one.write_all(&[1; 30_000]).unwrap();
    two.write_all(&[2; 30_000]).unwrap();
    bench.settle();
    bench.ask(first, move |conn, _| {
        conn.resume();
        conn.other(second).unwrap().resume();
    });
    let mut order: Vec<(ConnId, usize)> = Vec::new();
    let mut came = 0;
    while came < 60_000 {
        let (id, n) = bench.expect("bytes", |event| match event {
            Event::Message(id, bytes) => Some((*id, bytes.len())),
            _ => None,
        });
        came += n;
        match order.last_mut() {
            Some((last, sum)) if *last == id && came < 50_000 => *sum += n,
            _ => order.push((id, n)),
        }
    }
    let longest = order.iter().map(|(_, sum)| *sum).max().unwrap();
    // A turn serves a connection for its event and for its place on the ready list: two budgets.
    assert!(longest <= 4 * 1024, "{longest} bytes in a row: {order:?}");
}

/// Forty have sent much while the reactor was busy, and the first takes its time.
#[test]
fn in_a_turn_that_has_lasted_long_less_is_read_of_each() {
    const CONNECTIONS: usize = 40;
    const MUCH: usize = 40 << 10;
    let bench = Bench::start(one_reactor(), |_| {
        Script::new().on_message(|_, _, _| {
            std::thread::sleep(Duration::from_millis(1));
            Action::Continue
        })
    });
    let mut all: Vec<_> = (0..CONNECTIONS).map(|_| bench.connect()).collect();
    let served: Vec<_> =
        all.iter().map(|(_, id)| bench.ask(*id, |conn, _| conn.duplicate_fd().unwrap())).collect();
    let go = hold(&bench);
    for ((stream, _), served) in all.iter_mut().zip(&served) {
        stream.write_all(&[1; MUCH]).unwrap();
        arrived(served, MUCH);
    }
    drop(go);
    let mut came: HashMap<ConnId, Vec<usize>> = HashMap::new();
    while came.values().flatten().sum::<usize>() < CONNECTIONS * MUCH {
        let (id, n) = bench.expect("bytes", |event| match event {
            Event::Message(id, bytes) => Some((*id, bytes.len())),
            _ => None,
        });
        came.entry(id).or_default().push(n);
    }
    let at_once = came.values().filter(|reads| reads[0] == MUCH).count();
    let in_parts = came.values().filter(|reads| **reads == [24 << 10, MUCH - (24 << 10)]).count();
    assert_eq!(at_once + in_parts, CONNECTIONS, "{came:?}");
    assert!((1..=16).contains(&at_once), "{at_once} were read whole");
}

#[test]
fn everybody_is_served_though_the_event_list_is_always_full() {
    const CONNECTIONS: usize = 500;
    many_descriptors();
    for batch in [1, 2, 3, 4] {
        let bench = Bench::start(one_reactor().event_batch(batch), |_| Script::echo().quiet());
        let addr = bench.addr();
        let mut streams: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(addr)).collect();
        for round in 0..4_u8 {
            for (n, stream) in streams.iter_mut().enumerate() {
                stream.write_all(&[round, n as u8, (n >> 8) as u8]).unwrap();
            }
            for (n, stream) in streams.iter_mut().enumerate() {
                assert_eq!(read_exactly(stream, 3), [round, n as u8, (n >> 8) as u8]);
            }
        }
        wheelhouse_tests::until("the full batches are counted", || {
            bench.poster().stats().total().full_batches > 0
        });
    }
}

/// Waits until so many bytes are in the engine's socket, whose duplicate this is.
fn arrived(duplicate: &OwnedFd, n: usize) {
    let (mut peeked, peek) = (vec![0; n], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
    until("they have arrived", || recv(duplicate.as_raw_fd(), &mut peeked, peek) == Ok(n));
}

/// Has the reactor do nothing until this is dropped.
fn hold(bench: &Bench) -> Sender<()> {
    let (go, wait) = channel::<()>();
    let (held, is_held) = channel();
    let posted = bench.poster().post(ReactorId(0), move |_, _| {
        held.send(()).unwrap();
        let _ = wait.recv_timeout(LIMIT);
    });
    assert!(posted.is_ok());
    is_held.recv_timeout(LIMIT).unwrap();
    go
}

#[test]
fn who_sends_much_is_read_after_all_who_send_little() {
    const MUCH: usize = 40 << 10;
    let bench = Bench::start(one_reactor(), |_| Script::new());
    let [mut bulky, mut little] = [(); 2].map(|()| {
        let (stream, id) = bench.connect();
        (stream, bench.ask(id, |conn, _| conn.duplicate_fd().unwrap()), id)
    });
    for round in 0..3 {
        let go = hold(&bench);
        bulky.0.write_all(&[1; MUCH]).unwrap();
        arrived(&bulky.1, MUCH);
        little.0.write_all(&[2]).unwrap();
        arrived(&little.1, 1);
        drop(go);
        let order = [(); 2].map(|()| {
            bench.expect("bytes", |event| match event {
                Event::Message(id, _) => Some(*id),
                _ => None,
            })
        });
        // Who came first goes first, until it is known for much.
        let expected = if round == 0 { [bulky.2, little.2] } else { [little.2, bulky.2] };
        assert_eq!(order, expected, "round {round}");
    }
}

/// One floods at full speed; a hundred others have each sent something. None of them waits for more of the flood than what
/// a turn may read of one connection.
#[test]
fn a_hundred_quiet_ones_wait_for_no_more_than_a_turn_of_a_flood() {
    const BUDGET: usize = 8 << 10;
    let flooded = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&flooded);
    let bench = Bench::start(one_reactor().read_budget(BUDGET).read_buffer(2048), move |_| {
        let counted = Arc::clone(&counted);
        Script::new().quiet().on_message(move |conn, _, message| {
            if message.bytes()[0] == b'q' {
                conn.send(&counted.load(Ordering::Relaxed).to_be_bytes());
            } else {
                counted.fetch_add(message.bytes().len(), Ordering::Relaxed);
            }
            Action::Continue
        })
    });
    let mut flooder = connect(bench.addr());
    bench.opened();
    let going = Arc::new(AtomicBool::new(true));
    let flood = std::thread::spawn({
        let going = Arc::clone(&going);
        move || {
            while going.load(Ordering::Relaxed) {
                flooder.write_all(&[b'f'; 65_536]).unwrap();
            }
        }
    });
    let mut quiet: Vec<(TcpStream, OwnedFd)> = (0..100)
        .map(|_| {
            let (stream, id) = bench.connect();
            (stream, bench.ask(id, |conn, _| conn.duplicate_fd().unwrap()))
        })
        .collect();
    for _ in 0..20 {
        let before = flooded.load(Ordering::Relaxed);
        until("the flood goes on", || flooded.load(Ordering::Relaxed) > before + 10 * BUDGET);
        let go = hold(&bench);
        for (stream, served) in &mut quiet {
            stream.write_all(b"q").unwrap();
            arrived(served, 1);
        }
        let before = flooded.load(Ordering::Relaxed);
        drop(go);
        for (stream, _) in &mut quiet {
            let seen = usize::from_be_bytes(read_exactly(stream, 8).try_into().unwrap());
            // A turn serves a connection for its event and for its place on the ready list: two budgets.
            assert!(seen - before <= 2 * BUDGET, "after {} bytes of the flood", seen - before);
        }
    }
    going.store(false, Ordering::Relaxed);
    flood.join().unwrap();
}

#[test]
fn a_broadcast_to_more_than_a_slice_serves_events_between_its_slices() {
    const AUDIENCE: usize = 1200;
    many_descriptors();
    let bench = Bench::start(one_reactor(), |poster| {
        let handle = poster.clone();
        Script::new().quiet().on_message(move |conn, notes, message| {
            let now = handle.stats().total();
            // What was counted when the broadcast was asked for, and now, at the end of the last turn.
            let (turns, sent) = (now.turns - notes.count, now.messages_out);
            conn.send(message);
            notes.bytes = format!("{turns} turns, {}", sent < AUDIENCE as u64).into_bytes();
            Action::Continue
        })
    });
    let mut streams: Vec<(TcpStream, ConnId)> = (0..AUDIENCE).map(|_| bench.connect()).collect();
    let (last, id) = streams.last().map(|(stream, id)| (stream.try_clone().unwrap(), *id)).unwrap();
    let handle = bench.poster().clone();
    bench.ask(id, move |conn, notes| {
        let duplicate = conn.duplicate_fd().unwrap();
        (&last).write_all(b"ping").unwrap();
        arrived(&duplicate, 4);
        notes.count = handle.stats().total().turns;
        conn.reactor().broadcast(Audience::Open, "everyone").unwrap();
    });
    let (stream, _) = streams.last_mut().unwrap();
    // Whoever is sent something is sent the broadcast first.
    assert_eq!(read_exactly(stream, 12), b"everyoneping");
    let notes = bench.ask(id, |_, notes| String::from_utf8(notes.bytes.clone()).unwrap());
    assert!(["1 turns, true", "2 turns, true"].contains(&notes.as_str()), "{notes}");
    streams.pop();
    for (stream, _) in &mut streams {
        assert_eq!(read_exactly(stream, 8), b"everyone");
    }
}
