//! The client: plain sockets and an epoll loop, and for each connection five bytes. The engine is not in it, so that the two
//! ends do not hide each other's mistakes.

mod connections;

use std::{
    collections::HashMap,
    io::{self, BufRead as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    process,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker, unix::SourceFd};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use rustls_stable::pki_types::ServerName;
use wheelhouse_examples::{AnyError, is_tls, raise_file_limit, say};

use self::connections::PAUSE;
use crate::{
    dial::Dial,
    machine::now,
    options::Hold,
    orders::{Order, Status},
    pattern::{Pattern, split_mix},
    secure::Secure,
    talk::{SIZE, Talk},
    trust::Trust,
    wire::Wire,
};

const WAKE: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// How often it tells how far it is, while that changes.
const REPORT: Duration = Duration::from_millis(250);

/// What is still under way so long after the last message was due does not come back.
const LAST_ANSWER: u64 = 5_000_000_000;

/// Holds connections until the standard input ends.
///
/// A line is a number and an order, as [`Order`] reads it; what it says are lines of JSON, with the number of the last order.
pub(crate) fn hold(options: &Hold) -> Result<(), AnyError> {
    raise_file_limit()?;
    let poll = Poll::new()?;
    let orders = orders(Waker::new(poll.registry(), WAKE)?)?;
    let mut holder = Holder::new(options, poll)?;
    holder.say_status();
    holder.run(&orders)
}

/// What a connection is at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none.
    Vacant,
    /// It has not sent its greeting.
    Connecting,
    /// It waits for the answer.
    Greeting,
    Open,
}

struct Holder {
    poll: Poll,
    timer: TimerFd,
    dial: Dial,
    wire: Wire,
    /// Where there is TLS.
    trust: Option<Trust>,
    pattern: Pattern,
    random: u64,
    first: u32,
    window: usize,
    /// What there is of each connection: four bytes, and one.
    sockets: Vec<Option<OwnedFd>>,
    states: Vec<State>,
    vacant: Vec<u32>,
    /// As many, where there is TLS.
    sessions: Vec<Option<Box<Secure>>>,
    /// Those that are not open yet, and when they began.
    under_way: HashMap<u32, Instant>,
    /// What came of something that is not whole yet.
    pieces: HashMap<u32, Vec<u8>>,
    target: u64,
    /// How many stay, while the others are closed, and where that has come to.
    closing: Option<(u64, usize)>,
    talk: Option<Talk>,
    is_expecting: bool,
    pause_until: Option<Instant>,
    status: Status,
    told: Instant,
    received: Vec<u8>,
    /// What was in it, where it was sealed.
    plain: Vec<u8>,
    out: Vec<u8>,
}

impl Holder {
    fn new(options: &Hold, poll: Poll) -> Result<Holder, AnyError> {
        let (dial, wire) = Dial::new(&options.to, options.source, options.sources)?;
        // Whoever answers is believed: the servers have just made their certificates.
        let anybody = || Trust::new(ServerName::try_from("127.0.0.1")?, None);
        let trust = options.to.first().filter(|url| is_tls(url)).map(|_| anybody()).transpose()?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let fd = timer.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        Ok(Holder {
            poll,
            timer,
            dial,
            wire,
            trust,
            pattern: Pattern::new(),
            random: u64::from(options.first) ^ 0x5EED,
            first: options.first,
            window: options.window.max(1),
            sockets: Vec::with_capacity(options.most as usize),
            states: Vec::with_capacity(options.most as usize),
            vacant: Vec::new(),
            sessions: Vec::new(),
            under_way: HashMap::new(),
            pieces: HashMap::new(),
            target: 0,
            closing: None,
            talk: None,
            is_expecting: false,
            pause_until: None,
            status: Status::default(),
            told: Instant::now(),
            received: vec![0; 16 << 10],
            plain: Vec::new(),
            out: Vec::new(),
        })
    }

    fn run(&mut self, orders: &Receiver<String>) -> Result<(), AnyError> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    WAKE => {
                        for line in orders.try_iter() {
                            self.obey(&line)?;
                        }
                    }
                    TIMER => {
                        let _ = self.timer.wait();
                    }
                    Token(slot) => self.ready(slot as u32, event.is_writable()),
                }
            }
            self.give_up_late();
            self.open_more();
            self.close_some();
            self.talk_on();
            if self.is_changing() && self.told.elapsed() >= REPORT {
                self.say_status();
            }
        }
    }

    fn obey(&mut self, line: &str) -> Result<(), AnyError> {
        let (seen, order) = Order::parse(line)?;
        self.status.seen = seen;
        match order {
            Order::Status => {}
            Order::Open(target) => {
                (self.target, self.closing, self.status.stuck) = (target, None, None);
                // Who waits for nothing sleeps.
                (self.is_expecting, self.pause_until) = (false, None);
            }
            Order::Stop => self.stop(),
            Order::Expect => {
                self.is_expecting = true;
                (self.status.delivered, self.status.last_delivery_ns) = (0, 0);
            }
            Order::Talk { every, seconds, share } => self.begin_talk(every, seconds, share)?,
            Order::Close(keep) => {
                self.is_expecting = false;
                self.stop();
                self.closing = Some((keep, 0));
                self.dial.move_on();
            }
        }
        self.say_status();
        Ok(())
    }

    // ---- some talk

    fn begin_talk(&mut self, every: Duration, seconds: Duration, share: f64) -> Result<(), AnyError> {
        self.is_expecting = false;
        let mut random = self.random;
        let is_chosen = |_: &u32| (split_mix(&mut random) as f64) < share * u64::MAX as f64;
        let open = self.states.iter().enumerate().filter(|(_, state)| **state == State::Open);
        let chosen: Vec<u32> = open.map(|(slot, _)| slot as u32).filter(is_chosen).collect();
        let start = now();
        let (end, every) = (start + seconds.as_nanos() as u64, every.as_nanos() as u64);
        self.talk = Some(Talk::new(chosen, start, end, every.max(1), || split_mix(&mut random)));
        self.random = random;
        self.set_timer()
    }

    fn talk_on(&mut self) {
        let Some(mut talk) = self.talk.take() else { return };
        talk.send_due(now, |slot, at| {
            self.out.clear();
            let message = self.pattern.piece(self.first + slot, at, SIZE as u64);
            self.wire.put(&mut self.out, message);
            let is_open = self.states[slot as usize] == State::Open;
            is_open && self.send_out(slot)
        });
        let is_late = now() > talk.end() + LAST_ANSWER;
        if talk.is_over() || is_late {
            say(serde_json::json!({ "seen": self.status.seen, "talk": talk.tally().json() }));
            return;
        }
        self.talk = Some(talk);
        let _ = self.set_timer();
    }

    /// Wakes it when the next message is due, to the nanosecond: the wait of epoll counts in milliseconds.
    fn set_timer(&self) -> Result<(), AnyError> {
        if let Some(due) = self.talk.as_ref().and_then(Talk::next_due) {
            let at = TimeSpec::from(Duration::from_nanos(due.max(1)));
            self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        }
        Ok(())
    }

    // ---- how it is

    fn is_changing(&self) -> bool {
        self.status.open < self.target
            || self.closing.is_some()
            || (self.is_expecting && self.status.delivered < self.status.open)
    }

    /// Nothing is waited for with a bound while nothing changes: who only holds sleeps.
    fn timeout(&self) -> Option<Duration> {
        if self.closing.is_some() {
            return Some(Duration::ZERO);
        }
        if self.pause_until.is_some() {
            return Some(PAUSE);
        }
        (self.is_changing() || self.talk.is_some()).then_some(REPORT)
    }

    fn say_status(&mut self) {
        self.told = Instant::now();
        say(self.status.json());
    }
}

/// Reads the orders on a thread of its own; with the last one the process ends.
fn orders(waker: Waker) -> io::Result<Receiver<String>> {
    let (orders, given) = channel();
    let waker = Arc::new(waker);
    thread::Builder::new().name("orders".into()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = orders.send(line);
            let _ = waker.wake();
        }
        process::exit(0)
    })?;
    Ok(given)
}
