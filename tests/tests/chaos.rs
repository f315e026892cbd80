//! Everything at once: random sizes, holds, pauses, ways to send and slow readers; each byte comes back once and in order.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use wheelhouse::{
    Action, Builder, Bytes, Decoded, Framing, Input, Kind, Listener, Message, Output, Payload, Poster,
    Protocol, ProtocolError, Refusal, TimerKind,
};
use wheelhouse_tests::{Bench, Dice, LIMIT, Probe, Script, connect_small, one_listener};

const RESUME: TimerKind = TimerKind(1);
const SEND: TimerKind = TimerKind(2);

/// Mostly small, now and then large.
fn size(dice: &mut Dice, large: usize) -> usize {
    match dice.below(10) {
        0 => dice.below(large) + 1,
        1..=3 => dice.below(2000) + 1,
        _ => dice.below(40) + 1,
    }
}

/// Sends every message back, by any of the ways there are, and now and then holds it or pauses.
fn whimsical(poster: &Poster<Probe>, seed: u64) -> Script {
    let (handle, mut dice) = (poster.clone(), Dice::new(seed));
    Script::new()
        .quiet()
        .on_message(move |conn, notes, message| {
            let later = Duration::from_millis(dice.below(3) as u64);
            let id = conn.id();
            let bytes = message.bytes();
            match dice.below(12) {
                0 | 1 => {
                    conn.set_timer(RESUME, later);
                    return Action::Hold;
                }
                2 => {
                    conn.pause();
                    conn.set_timer(RESUME, later);
                    conn.send(message);
                }
                3 => handle.send(id, message.to_payload()).unwrap(),
                4 => handle.send_many(&[id], message.to_payload()).unwrap(),
                5 => drop(conn.other(id).unwrap().send(message)),
                6 => drop(conn.send(Payload::from(Bytes::copy_from_slice(bytes)))),
                7 => drop(
                    conn.send_vectored(Kind::BINARY, &[&bytes[..bytes.len() / 3], &bytes[bytes.len() / 3..]]),
                ),
                8 => {
                    // Answered in another callback, which must come before the next message's answer.
                    notes.bytes = bytes.to_vec();
                    notes.count += 1;
                    conn.pause();
                    conn.set_timer(SEND, later);
                }
                _ => {
                    assert!(!conn.send(message).is_refused());
                }
            }
            Action::Continue
        })
        .on_timer(|conn, notes, timer| {
            if timer == SEND {
                assert!(!conn.send(&notes.bytes).is_refused());
                notes.bytes = Vec::new();
                notes.count -= 1;
            }
            conn.resume();
            Action::Continue
        })
}

/// Four bytes of length, then the body.
struct Lengths;

impl Protocol for Lengths {
    fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        let Some(length) = input.peek().first_chunk::<4>() else { return Ok(Decoded::Need(4)) };
        let all = 4 + u32::from_be_bytes(*length) as usize;
        if input.len() < all {
            return Ok(Decoded::Need(all));
        }
        input.skip(4);
        Ok(Decoded::Message(Message::binary(input.take_mut(all - 4))))
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        out.put(&(payload.bytes().len() as u32).to_be_bytes());
        out.body(payload);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Cut {
    Raw,
    Lines,
    Lengths,
}

impl Cut {
    fn listener(self, address: &str) -> Listener {
        let framing = match self {
            Cut::Raw => Framing::raw(),
            Cut::Lines => Framing::lines(1 << 20),
            Cut::Lengths => Framing::custom(Lengths),
        };
        Listener::new(address).framing(framing)
    }

    /// Messages, so many bytes or a little more.
    fn input(self, dice: &mut Dice, total: usize) -> Vec<u8> {
        let mut input = Vec::new();
        while input.len() < total {
            let large = if dice.below(8) == 0 { 200_000 } else { 9000 };
            let body: Vec<u8> =
                (0..size(dice, large)).map(|n| b'a' + ((n + input.len()) % 23) as u8).collect();
            match self {
                Cut::Raw => input.extend(body),
                Cut::Lines => {
                    input.extend(body);
                    input.push(b'\n');
                }
                Cut::Lengths => {
                    input.extend((body.len() as u32).to_be_bytes());
                    input.extend(body);
                }
            }
        }
        input
    }
}

/// Writes the input in pieces, and reads it back in sips, at the same time.
fn converse<S: Read + Write + Send>(
    mut reader: S,
    mut writer: S,
    half_close: impl FnOnce(&S) + Send,
    cut: Cut,
    seed: u64,
) {
    let input = cut.input(&mut Dice::new(seed), 400_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut dice, mut left) = (Dice::new(seed + 1), &input[..]);
            while !left.is_empty() {
                let (now, later) = left.split_at(size(&mut dice, 60_000).min(left.len()));
                writer.write_all(now).unwrap();
                left = later;
            }
            half_close(&writer);
        });
        let (mut dice, mut at, mut bytes) = (Dice::new(seed + 2), 0, vec![0; 60_000]);
        loop {
            let room = size(&mut dice, bytes.len() - 1);
            let n = reader.read(&mut bytes[..room]).unwrap();
            if n == 0 {
                break;
            }
            assert!(at + n <= input.len(), "more came back than was sent");
            assert!(bytes[..n] == input[at..at + n], "between bytes {at} and {}", at + n);
            at += n;
        }
        assert_eq!(at, input.len(), "everything came back before the end");
    });
}

#[track_caller]
fn over_tcp(cut: Cut, builder: impl Fn(Listener) -> Builder, buffers: usize) {
    // Marks so low that the engine's own pause comes and goes all the time.
    let listener = cut.listener("tcp://127.0.0.1:0").water_marks(1000, 5000, 64 << 20);
    let bench = Bench::start(builder(listener), |poster| whimsical(poster, 1));
    let addr = bench.addr();
    std::thread::scope(|scope| {
        for seed in 0..6 {
            scope.spawn(move || {
                let stream = connect_small(addr, buffers);
                let half_close = |stream: &TcpStream| stream.shutdown(Shutdown::Write).unwrap();
                converse(stream.try_clone().unwrap(), stream, half_close, cut, 100 * seed);
            });
        }
    });
    let stats = || bench.poster().stats().total();
    wheelhouse_tests::until("all is given back", || {
        let stats = stats();
        (stats.connections, stats.buffered) == (0, 0)
    });
    assert_eq!((stats().panics, stats().sends_refused, stats().bytes_unsent), (0, 0, 0));
}

#[test]
fn raw_bytes() {
    over_tcp(Cut::Raw, one_listener, 64 << 10);
}

#[test]
fn lines() {
    over_tcp(Cut::Lines, one_listener, 64 << 10);
}

#[test]
fn length_delimited_messages() {
    over_tcp(Cut::Lengths, one_listener, 64 << 10);
}

#[test]
fn with_small_buffers_everywhere() {
    for cut in [Cut::Raw, Cut::Lines, Cut::Lengths] {
        let small = |listener| {
            one_listener(listener).read_buffer(1024).read_budget(1024).send_buffer(16 << 10).event_batch(1)
        };
        over_tcp(cut, small, 64 << 10);
    }
}

#[test]
fn with_two_reactors() {
    over_tcp(Cut::Lengths, |listener| one_listener(listener).reactors(2), 64 << 10);
}

#[test]
fn over_a_unix_socket() {
    for cut in [Cut::Raw, Cut::Lines, Cut::Lengths] {
        let dir = tempfile::tempdir().unwrap();
        let listener = cut.listener(&format!("unix:{}/s", dir.path().display()));
        let listener = listener.water_marks(1000, 5000, 64 << 20);
        let bench = Bench::start(one_listener(listener), |poster| whimsical(poster, 2));
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let path = bench.path();
                scope.spawn(move || {
                    let stream = UnixStream::connect(path).unwrap();
                    stream.set_read_timeout(Some(2 * LIMIT)).unwrap();
                    stream.set_write_timeout(Some(2 * LIMIT)).unwrap();
                    let half_close = |stream: &UnixStream| stream.shutdown(Shutdown::Write).unwrap();
                    converse(stream.try_clone().unwrap(), stream, half_close, cut, 100 * seed);
                });
            }
        });
    }
}
