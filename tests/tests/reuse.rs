//! Reuse: a connection in the very slot and with the very descriptor of one that is gone has nothing of it, neither what it
//! was allowed nor what was counted or remembered about it. Each in a process of its own: descriptors are the whole process's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write as _,
    net::TcpStream,
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use fixture::{accept, alone, listener};
use wheelhouse::{
    Action, CloseReason, ConnId, Connect, Decoded, Framing, Input, Listener, ListenerId, Message, On, Output,
    Payload, Protocol, ProtocolError, Refusal, Tag, TimerKind,
};
use wheelhouse_tests::{
    Bench, Event, Script, connect, connect_small, one_listener, one_reactor, read_exactly, until,
    wait_for_end,
};

/// A connection's slot and descriptor.
type Place = (String, i32);

fn place(bench: &Bench, id: ConnId) -> Place {
    let slot = id.to_string().rsplit_once('.').unwrap().0.to_owned();
    (slot, bench.ask(id, |conn, _| conn.fd().unwrap().as_raw_fd()))
}

/// Closes it from the inside, and waits until its slot and its descriptor are free.
fn bury(bench: &Bench, stream: TcpStream, id: ConnId) {
    bench.poster().reset(id);
    assert_eq!(bench.closed(id).reason, CloseReason::Local);
    drop(stream);
    until("it is gone", || bench.poster().count() == 0);
}

/// Whoever was here had no deadlines; whoever comes now has.
#[test]
fn a_successor_must_meet_the_deadlines_that_its_predecessor_was_spared() {
    alone("a_successor_must_meet_the_deadlines_that_its_predecessor_was_spared", || {
        let limit = Duration::from_millis(150);
        let guarded = Listener::new("tcp://127.0.0.1:0").authentication(limit);
        for (listener, own, reason) in [
            (guarded, Some(Duration::from_secs(3600)), CloseReason::Auth),
            (Listener::new("tcp://127.0.0.1:0"), None, CloseReason::Idle),
        ] {
            let bench = Bench::start(one_listener(listener).idle_timeout(limit), |_| Script::new());
            let (stream, old) = bench.connect();
            let old_place = place(&bench, old);
            bench.ask(old, |conn, _| {
                conn.authenticated();
                conn.set_idle_timeout(None);
                conn.set_timer(TimerKind(1), Duration::from_secs(3600));
            });
            bury(&bench, stream, old);
            let begun = Instant::now();
            let (mut stream, new) = bench.connect();
            assert_eq!(place(&bench, new), old_place);
            if own.is_some() {
                bench.ask(new, move |conn, _| conn.set_idle_timeout(own));
            }
            assert_eq!(bench.closed(new).reason, reason);
            assert!(begun.elapsed() >= limit);
            let _ = wait_for_end(&mut stream);
        }
    });
}

/// Whoever was here read on whatever was queued, or read nothing at all; whoever comes now is paused by the marks alone.
#[test]
fn a_successor_is_paused_and_resumed_as_if_nobody_had_been_there() {
    alone("a_successor_is_paused_and_resumed_as_if_nobody_had_been_there", || {
        let listener = Listener::new("tcp://127.0.0.1:0").water_marks(1000, 20_000, 1 << 20);
        let bench = Bench::start(one_listener(listener).send_buffer(8 << 10), |_| {
            Script::new().on_message(|_, notes, _| {
                notes.count += 1;
                Action::Continue
            })
        });
        for pauses in [false, true] {
            let (mut stream, old) = bench.connect();
            let old_place = place(&bench, old);
            stream.write_all(b"x").unwrap();
            assert_eq!(bench.message(old), b"x");
            bench.ask(old, move |conn, _| {
                conn.set_auto_pause(false);
                conn.send(vec![0; 900_000]);
                if pauses {
                    conn.pause();
                }
            });
            bury(&bench, stream, old);

            let mut stream = connect_small(bench.addr(), 8 << 10);
            let new = bench.opened();
            assert_eq!(place(&bench, new), old_place);
            stream.write_all(b"read at once").unwrap();
            assert_eq!(bench.message(new), b"read at once");
            assert_eq!(bench.ask(new, |conn, _| conn.buffered()), (0, 0));
            assert!(bench.ask(new, |conn, _| conn.send(vec![1; 900_000])).is_full());
            stream.write_all(b"read later").unwrap();
            let (mut other, others) = bench.connect();
            other.write_all(b"settled").unwrap();
            assert_eq!(bench.message(others), b"settled");
            assert_eq!(bench.ask(new, |_, notes| notes.count), 1, "it is paused by the high mark");
            assert_eq!(read_exactly(&mut stream, 900_000), vec![1; 900_000]);
            assert_eq!(bench.message(new), b"read later");
            drop(other);
            bench.closed(others);
            bury(&bench, stream, new);
        }
    });
}

/// Pairs of bytes; of the second one it makes how often it has been asked on this connection.
struct Pairs;

impl Protocol for Pairs {
    fn decode<'a>(&self, asked: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        *asked += 1;
        if input.len() < 2 {
            return Ok(Decoded::Need(2));
        }
        let pair = input.take_mut(2);
        pair[1] = *asked as u8;
        Ok(Decoded::Message(Message::binary(pair)))
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        out.body(payload);
        Ok(())
    }
}

/// Accepted after dialled and dialled after accepted: each has its own tag, listener, protocol state and unsent bytes.
#[test]
fn a_successor_has_neither_the_tag_nor_the_protocols_state_nor_the_unsent_bytes() {
    alone("a_successor_has_neither_the_tag_nor_the_protocols_state_nor_the_unsent_bytes", || {
        let pairs = Framing::custom(Pairs);
        let listens = Listener::new("tcp://127.0.0.1:0").framing(pairs.clone());
        let bench = Bench::start(one_listener(listens).send_buffer(8 << 10), |_| Script::new());
        let (peers, url) = listener();
        let mut slots = Vec::new();
        for round in 0..6 {
            let dials = round % 2 == 0;
            let mut stream = if dials {
                let to = Connect::to(url.as_str()).framing(pairs.clone()).tag(Tag(7 + round));
                bench.poster().connect(On::Any, to).unwrap();
                accept(&peers)
            } else {
                connect(bench.addr())
            };
            let id = bench.opened();
            slots.push(place(&bench, id).0);
            let (tag, from) = if dials { (Tag(7 + round), None) } else { (Tag(0), Some(ListenerId(0))) };
            assert_eq!(bench.ask(id, |conn, _| (conn.tag(), conn.listener())), (tag, from));
            stream.write_all(b"a?b?").unwrap();
            assert_eq!((bench.message(id), bench.message(id)), (b"a\x01".to_vec(), b"b\x02".to_vec()));
            // Half a pair is left behind, and at every second time bytes that never leave.
            stream.write_all(b"c").unwrap();
            until("it is read", || bench.poster().stats().total().bytes_in == 5 * (round + 1));
            let unsent = bench.ask(id, move |conn, _| {
                if round % 3 == 0 {
                    conn.send(vec![0; 3_000_000]);
                }
                let queued = conn.buffered().1 as u64;
                conn.reset();
                queued
            });
            let gone = bench.closed(id);
            assert_eq!((gone.tag, gone.listener, gone.unsent), (tag, from, unsent));
            assert_eq!(unsent > 0, round % 3 == 0);
            assert_eq!((gone.notes.count, gone.notes.bytes.len()), (0, 0));
            drop(stream);
            until("it is gone", || bench.poster().count() == 0);
        }
        assert_eq!(slots, [slots[0].as_str(); 6], "all in one slot");
    });
}

/// The timers of one that goes in the very turn in which they are due.
#[test]
fn timers_due_in_the_turn_of_the_close_reach_nobody() {
    alone("timers_due_in_the_turn_of_the_close_reach_nobody", || {
        let bench = Bench::start(one_reactor(), |_| Script::echo());
        for _ in 0..20 {
            let (stream, old) = bench.connect();
            bench.ask(old, |conn, _| {
                (0..50).for_each(|kind| conn.set_timer(TimerKind(kind), Duration::ZERO));
                conn.close();
                // They are all due by now; the close is done at the end of this turn.
                std::thread::sleep(Duration::from_millis(3));
            });
            bench.closed(old);
            drop(stream);
            until("it is gone", || bench.poster().count() == 0);
            let (mut stream, new) = bench.connect();
            stream.write_all(b"served").unwrap();
            assert_eq!(read_exactly(&mut stream, 6), b"served");
            bury(&bench, stream, new);
        }
        let timers = bench.stop().into_iter().filter(|event| matches!(event, Event::Timer(..))).count();
        assert_eq!(timers, 0);
    });
}
