//! The client: plain sockets and an epoll loop, and for each connection five bytes. The engine is not in it, so that the two
//! ends do not hide each other's mistakes.

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
use nix::{
    errno::Errno,
    sys::{
        socket::{MsgFlags, recv, send},
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};
use wheelhouse_examples::{AnyError, raise_file_limit, say};

use crate::{
    dial::{Dial, Refused},
    machine::now,
    options::Hold,
    orders::{Order, Status},
    pattern::{Pattern, split_mix},
    talk::{SIZE, Talk},
    wire::{ANNOUNCEMENT, Event, Wire},
};

const WAKE: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// A connection that is not open after so long begins anew, from another port.
const PATIENCE: Duration = Duration::from_secs(5);

/// After a failure nothing is tried for so long, or a server that refuses would be asked in a busy loop.
const PAUSE: Duration = Duration::from_millis(5);

/// How often it tells how far it is, while that changes.
const REPORT: Duration = Duration::from_millis(250);

/// What is still under way so long after the last message was due does not come back.
const LAST_ANSWER: u64 = 5_000_000_000;

/// Connections closed before something else is looked at.
const SLICE: usize = 256;

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
    pattern: Pattern,
    random: u64,
    first: u32,
    window: usize,
    /// What there is of each connection: four bytes, and one.
    sockets: Vec<Option<OwnedFd>>,
    states: Vec<State>,
    vacant: Vec<u32>,
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
    out: Vec<u8>,
}

impl Holder {
    fn new(options: &Hold, poll: Poll) -> Result<Holder, AnyError> {
        let (dial, wire) = Dial::new(&options.to, options.source, options.sources)?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let fd = timer.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        Ok(Holder {
            poll,
            timer,
            dial,
            wire,
            pattern: Pattern::new(),
            random: u64::from(options.first) ^ 0x5EED,
            first: options.first,
            window: options.window.max(1),
            sockets: Vec::with_capacity(options.most as usize),
            states: Vec::with_capacity(options.most as usize),
            vacant: Vec::new(),
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
                self.pause_until = None;
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
            }
        }
        self.say_status();
        Ok(())
    }

    // ---- connections come

    fn open_more(&mut self) {
        if self.pause_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.pause_until = None;
        while self.under_way.len() < self.window
            && self.status.open + (self.under_way.len() as u64) < self.target
        {
            let fd = match self.dial.begin() {
                Ok(fd) => fd,
                Err(Refused::Ever(errno)) => {
                    self.status.stuck = Some(format!("{errno} after {} connections", self.sockets.len()));
                    self.target = 0;
                    return self.say_status();
                }
                Err(refused) => return self.retry(&refused.errno().to_string()),
            };
            let slot = self.vacant.pop().unwrap_or_else(|| {
                self.sockets.push(None);
                self.states.push(State::Vacant);
                self.sockets.len() as u32 - 1
            });
            self.under_way.insert(slot, Instant::now());
            self.states[slot as usize] = State::Connecting;
            let fd = self.sockets[slot as usize].insert(fd).as_raw_fd();
            // Before it is watched: what is done by then needs no event.
            self.greet(slot);
            let interest = match self.states[slot as usize] {
                State::Vacant => continue,
                State::Connecting => Interest::READABLE | Interest::WRITABLE,
                State::Greeting | State::Open => Interest::READABLE,
            };
            if let Err(error) =
                self.poll.registry().register(&mut SourceFd(&fd), Token(slot as usize), interest)
            {
                self.failed(slot, &error.to_string());
            }
        }
    }

    /// Sends the greeting, if the connection is there.
    fn greet(&mut self, slot: u32) {
        let Some(socket) = &self.sockets[slot as usize] else { return };
        match send(socket.as_raw_fd(), self.wire.greeting(), MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) if sent == self.wire.greeting().len() => self.states[slot as usize] = State::Greeting,
            Ok(_) => self.failed(slot, "no room for a greeting"),
            Err(Errno::EAGAIN | Errno::ENOTCONN | Errno::EINTR) => {}
            Err(errno) => self.failed(slot, &errno.to_string()),
        }
    }

    fn give_up_late(&mut self) {
        if self.under_way.is_empty() || self.told.elapsed() < REPORT {
            return;
        }
        let late: Vec<u32> = self
            .under_way
            .iter()
            .filter(|(_, began)| began.elapsed() > PATIENCE)
            .map(|(slot, _)| *slot)
            .collect();
        for slot in late {
            self.failed(slot, "no answer in time");
        }
    }

    /// The attempt came to nothing: another one follows.
    fn failed(&mut self, slot: u32, why: &str) {
        self.drop_slot(slot);
        self.retry(why);
    }

    fn retry(&mut self, why: &str) {
        *self.status.retries.entry(why.to_owned()).or_default() += 1;
        self.pause_until = Some(Instant::now() + PAUSE);
    }

    fn opened(&mut self, slot: u32) {
        self.under_way.remove(&slot);
        self.states[slot as usize] = State::Open;
        self.status.open += 1;
        if self.status.open == self.target {
            self.say_status();
        }
    }

    /// Nothing more is opened, and what is under way is dropped.
    fn stop(&mut self) {
        self.target = 0;
        for slot in self.under_way.keys().copied().collect::<Vec<_>>() {
            self.drop_slot(slot);
        }
    }

    // ---- what comes

    fn ready(&mut self, slot: u32, is_writable: bool) {
        if is_writable && self.states.get(slot as usize) == Some(&State::Connecting) {
            self.greet(slot);
        }
        let mut received = std::mem::take(&mut self.received);
        while let Some(Some(socket)) = self.sockets.get(slot as usize) {
            match recv(socket.as_raw_fd(), &mut received, MsgFlags::empty()) {
                Ok(0) => self.gone(slot, "closed by the server"),
                Ok(n) => {
                    self.take(slot, &received[..n]);
                    if n < received.len() {
                        break;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOTCONN) => break,
                Err(errno) => self.gone(slot, &errno.to_string()),
            }
        }
        self.received = received;
    }

    fn take(&mut self, slot: u32, new: &[u8]) {
        let whole;
        let mut bytes = match self.pieces.remove(&slot) {
            Some(mut piece) => {
                piece.extend_from_slice(new);
                whole = piece;
                &whole[..]
            }
            None => new,
        };
        if self.states[slot as usize] == State::Greeting {
            match self.wire.answer(bytes) {
                Ok(Some(length)) => {
                    bytes = &bytes[length..];
                    self.opened(slot);
                }
                Ok(None) => return self.keep(slot, bytes),
                Err(why) => return self.wrong(slot, &why),
            }
        }
        while !bytes.is_empty() {
            let (event, length) = match self.wire.next(bytes) {
                Ok(Some(next)) => next,
                Ok(None) => return self.keep(slot, bytes),
                Err(why) => return self.wrong(slot, &why),
            };
            match event {
                Event::Data(data) if self.is_expecting => {
                    if data.len() < ANNOUNCEMENT.len() {
                        return self.keep(slot, bytes);
                    }
                    if data != ANNOUNCEMENT {
                        return self.wrong(slot, "something else than the announcement");
                    }
                    self.status.delivered += 1;
                    self.status.last_delivery_ns = now();
                    if self.status.delivered == self.status.open {
                        self.say_status();
                    }
                }
                Event::Data(data) => {
                    let (connection, pattern) = (self.first + slot, &self.pattern);
                    let Some(talk) = &mut self.talk else {
                        return self.wrong(slot, &format!("{} bytes that nobody asked for", data.len()));
                    };
                    if let Err(why) = talk.take(slot, connection, data, pattern, now()) {
                        return self.wrong(slot, &why);
                    }
                }
                Event::Ping(data) => {
                    self.out.clear();
                    self.wire.put_pong(&mut self.out, data);
                    self.status.pings += u64::from(self.send_out(slot));
                }
                Event::Close => return self.gone(slot, "closed by the server, with a close frame"),
            }
            bytes = &bytes[length..];
        }
    }

    fn keep(&mut self, slot: u32, bytes: &[u8]) {
        self.pieces.insert(slot, bytes.to_vec());
    }

    /// What is in `out`, in one piece: these connections have nothing else queued.
    fn send_out(&mut self, slot: u32) -> bool {
        let Some(Some(socket)) = self.sockets.get(slot as usize) else { return false };
        send(socket.as_raw_fd(), &self.out, MsgFlags::MSG_NOSIGNAL) == Ok(self.out.len())
    }

    /// What came is not what was to come; the connection counts as lost.
    fn wrong(&mut self, slot: u32, why: &str) {
        self.status.wrong += 1;
        self.status.first_wrong.get_or_insert_with(|| format!("connection {}: {why}", self.first + slot));
        self.gone(slot, "wrong bytes");
    }

    // ---- connections go

    fn gone(&mut self, slot: u32, why: &str) {
        match self.states[slot as usize] {
            State::Vacant => {}
            State::Connecting | State::Greeting => self.failed(slot, why),
            State::Open => {
                *self.status.lost.entry(why.to_owned()).or_default() += 1;
                self.status.open -= 1;
                self.drop_slot(slot);
            }
        }
    }

    fn drop_slot(&mut self, slot: u32) {
        self.under_way.remove(&slot);
        self.pieces.remove(&slot);
        self.states[slot as usize] = State::Vacant;
        // Closing it ends its being watched.
        self.sockets[slot as usize] = None;
        self.vacant.push(slot);
    }

    /// A slice of those that are to go, from the first on: the last ones stay.
    fn close_some(&mut self) {
        let Some((keep, from)) = self.closing else { return };
        let mut at = from;
        let mut closed = 0;
        while at < self.states.len() && self.status.open > keep && closed < SLICE {
            if self.states[at] == State::Open {
                self.status.open -= 1;
                self.drop_slot(at as u32);
                closed += 1;
            }
            at += 1;
        }
        self.closing = (self.status.open > keep && at < self.states.len()).then_some((keep, at));
        if self.closing.is_none() {
            self.say_status();
        }
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
