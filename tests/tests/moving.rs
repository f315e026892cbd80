//! Connections that are handed from engine to engine, from framing to framing, paused and held, again and again: the client
//! sees an echo, byte by byte the same, and nothing of all that.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use fixture::*;
use wheelhouse::{
    Action, Adopt, Bytes, CloseReason, Closed, Conn, Detached, Engine, Framing, Handle, Handler, Input,
    Message, On, ReactorId, Tag, TimerKind,
};
use wheelhouse_tests::Dice;

const LONGEST: usize = 20_000;
const RESUME: TimerKind = TimerKind(1);
const MOVE: TimerKind = TimerKind(2);

/// What the handlers of both engines share.
#[derive(Default)]
struct World {
    engines: OnceLock<[Handle; 2]>,
    /// What the next owner sends first.
    unsent: Mutex<HashMap<Tag, Bytes>>,
    moves: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    wrong: Mutex<Vec<CloseReason>>,
}

/// Echoes lines, and does something else to the connection at every other one.
struct Mover {
    world: Arc<World>,
    lines: Framing,
    dice: Dice,
}

impl Mover {
    fn new(world: &Arc<World>, seed: u64) -> Self {
        Mover { world: Arc::clone(world), lines: Framing::lines(LONGEST), dice: Dice::new(seed) }
    }

    /// Gives the connection to whichever engine and reactor.
    fn send_away(&mut self, conn: &mut Conn<'_>) {
        let (world, to, reactor) = (Arc::clone(&self.world), self.dice.below(2), self.dice.below(2));
        let taken = conn.detach(move |Detached { socket, unread, held, unsent, .. }| {
            let tag = Tag(world.moves.fetch_add(1, Ordering::Relaxed) + 1);
            world.unsent.lock().unwrap().insert(tag, unsent.into());
            // What was on hold is a line without its end.
            let held = held.map(|held| [held.bytes(), b"\n"].concat()).unwrap_or_default();
            let adopt = Adopt::new(socket).tag(tag).unread([held, unread].concat());
            let engine = &world.engines.get().unwrap()[to];
            engine.adopt(On::Reactor(ReactorId(reactor as u16)), adopt).unwrap();
        });
        assert!(taken);
    }

    /// What comes after an echo.
    fn change(&mut self, conn: &mut Conn<'_>, is_raw: &mut bool) -> Action {
        match self.dice.below(40) {
            0 => self.send_away(conn),
            1 | 2 => {
                *is_raw = !*is_raw;
                let framing = if *is_raw { Framing::raw() } else { self.lines.clone() };
                conn.set_framing(&framing).unwrap();
            }
            3 => {
                conn.pause();
                conn.set_timer(RESUME, Duration::from_millis(1));
            }
            4 => conn.set_timer(MOVE, Duration::from_millis(1)),
            _ => {}
        }
        Action::Continue
    }
}

impl Handler for Mover {
    /// Whether it is raw.
    type Session = bool;

    fn on_open(&mut self, conn: &mut Conn<'_>, is_raw: &mut bool) -> Action {
        self.world.opened.fetch_add(1, Ordering::Relaxed);
        *is_raw = true;
        if let Some(unsent) = self.world.unsent.lock().unwrap().remove(&conn.tag()) {
            assert!(!conn.send(unsent).is_refused());
        }
        self.change(conn, is_raw)
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, is_raw: &mut bool, input: &mut Input<'_>) -> Action {
        while *is_raw && let Some(end) = input.peek().iter().position(|&byte| byte == b'\n') {
            let line = &*input.take_mut(end + 1);
            if conn.is_open() {
                assert!(!conn.send(line).is_refused());
            }
            if self.change(conn, is_raw) != Action::Continue || !conn.is_open() || self.dice.below(4) == 0 {
                break;
            }
        }
        if *is_raw && conn.is_open() && input.peek().contains(&b'\n') {
            // Some are left for later; somebody has to come back to them.
            conn.pause();
            conn.set_timer(RESUME, Duration::ZERO);
        }
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, is_raw: &mut bool, message: Message<'_>) -> Action {
        if self.dice.below(30) == 0 {
            conn.set_timer(if self.dice.below(2) == 0 { RESUME } else { MOVE }, Duration::from_millis(1));
            return Action::Hold;
        }
        assert!(!conn.send(message).is_refused());
        self.change(conn, is_raw)
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, _: &mut bool, timer: TimerKind) -> Action {
        match timer {
            MOVE => self.send_away(conn),
            _ => conn.resume(),
        }
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, _: bool) {
        self.world.closed.fetch_add(1, Ordering::Relaxed);
        if !matches!(closed.reason(), CloseReason::Detached | CloseReason::Peer { .. }) {
            self.world.wrong.lock().unwrap().push(*closed.reason());
        }
    }
}

/// Writes so many lines of all sizes, and reads them back; how many bytes they were.
fn talk(at: SocketAddr, seed: u64, lines: usize) -> usize {
    let mut client = connect_with_window(at, 8 << 10);
    let mut dice = Dice::new(seed);
    let mut text = Vec::new();
    for _ in 0..lines {
        let len = [0, 5, 13, 14, 15, 100, 1000, 5000, LONGEST][dice.below(9)];
        text.extend((0..dice.below(len + 1)).map(|_| b'a' + dice.below(26) as u8));
        text.push(b'\n');
    }
    let mut writing = client.try_clone().unwrap();
    let sent = text.clone();
    let writer = thread::spawn(move || {
        for piece in sent.chunks(7001) {
            writing.write_all(piece).unwrap();
        }
    });
    let (mut at, mut buffer) = (0, vec![0; 16 << 10]);
    while at < text.len() {
        let n = client.read(&mut buffer).unwrap();
        assert!(n > 0, "it ends after {at} of {} bytes", text.len());
        assert!(buffer[..n] == text[at..at + n], "other bytes behind {at} of {}", text.len());
        at += n;
        if seed.is_multiple_of(4) && at < 100_000 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    writer.join().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
    text.len()
}

#[test]
fn connections_that_move_and_change_all_the_time_lose_no_byte() {
    let world = Arc::new(World::default());
    let engine = |seed: u64| {
        let world = Arc::clone(&world);
        let builder = Engine::builder().listen("tcp://127.0.0.1:0").reactors(2).send_buffer(16 << 10);
        serve(builder, move |spot| Mover::new(&world, seed + spot.reactor().0 as u64 * 0x9e37_79b9))
    };
    let engines = [engine(0x1234_5678_9abc_def1), engine(0xfeed_beef_dead_1235)];
    world.engines.set([engines[0].handle.clone(), engines[1].handle.clone()]).ok().unwrap();
    let talkers: Vec<_> = (0..24)
        .map(|seed| {
            let at = engines[seed % 2].at();
            thread::spawn(move || talk(at, seed as u64, 300))
        })
        .collect();
    let bytes: usize = talkers.into_iter().map(|talker| talker.join().unwrap()).sum();
    eventually("all are gone", || engines.iter().all(|engine| engine.handle.count() == 0));
    eventually("their storage is free", || {
        engines.iter().all(|engine| engine.handle.stats().total().buffered == 0)
    });
    for engine in engines {
        engine.stop();
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(count(&world.opened), count(&world.closed));
    assert_eq!(count(&world.opened), 24 + count(&world.moves));
    assert!(count(&world.moves) > 200 && bytes > 1 << 20, "{} moves", count(&world.moves));
    assert!(world.unsent.lock().unwrap().is_empty());
    assert_eq!(*world.wrong.lock().unwrap(), []);
}
