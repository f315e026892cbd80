//! The load: one handler per reactor, with its share of the connections.

mod cursor;
mod say;

use std::{
    hash::{BuildHasher as _, RandomState},
    mem,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use wheelhouse::{Action, CloseReason, Closed, Conn, Handler, Input, Message, Reactor, TimerKind};

use self::cursor::Cursor;
use crate::{
    client::{Client, Fault, Heard, Wire},
    plan::{Event, Plan, Window},
    secure::Secure,
    tally::Tally,
};

/// Dials what is due.
const DIAL: TimerKind = TimerKind(1);
const DIAL_EVERY: Duration = Duration::from_millis(2);

/// The server has not answered in time: the TLS handshake, the request for a WebSocket, or its close.
const ANSWER: TimerKind = TimerKind(2);
const TIME_TO_ANSWER: Duration = Duration::from_secs(10);

/// Connections of the whole load that may be between dialled and open: servers' accept queues are short.
const DIALLING: usize = 1024;

/// Messages sent by schedule before others have their turn.
const BURST: usize = 4096;

pub(crate) struct Load {
    plan: Arc<Plan>,
    reactor: usize,
    events: Sender<Event>,
    clients: Vec<Client>,
    /// Clients dialled so far; they are in the order of `clients`.
    dialled: usize,
    dialling: usize,
    open: usize,
    stage: Stage,
    /// Messages sent and not answered, on open connections.
    under_way: u64,
    /// Messages due and not sent, on open connections: the queue was full.
    owed: u64,
    cursor: Cursor,
    tally: Tally,
    /// Where masks and nonces come from. They need not be secret here, only different.
    random: u64,
    /// A frame under construction.
    frame: Vec<u8>,
    /// Records on their way out, and what was in those that came.
    sealed: Vec<u8>,
    plain: Vec<u8>,
    told_settled: bool,
    told_drained: bool,
    told_gone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ramp,
    Run(Window),
    /// Nothing new is sent but what was due, and what is under way still counts.
    Drain(Window),
    Close,
}

/// A connection's place among its reactor's clients.
#[derive(Default)]
pub(crate) struct Slot(usize);

impl Load {
    pub(crate) fn new(plan: Arc<Plan>, reactor: usize, events: Sender<Event>) -> Load {
        let mine = (reactor as u32..plan.options.connections).step_by(plan.reactors);
        Load {
            reactor,
            events,
            clients: mine.map(Client::new).collect(),
            dialled: 0,
            dialling: 0,
            open: 0,
            stage: Stage::Ramp,
            under_way: 0,
            owed: 0,
            cursor: Cursor::default(),
            tally: plan.tally(),
            random: RandomState::new().hash_one(reactor),
            frame: Vec::new(),
            sealed: Vec::new(),
            plain: Vec::new(),
            told_settled: false,
            told_drained: false,
            told_gone: false,
            plan,
        }
    }

    /// Begins to send.
    pub(crate) fn begin(&mut self, reactor: &mut Reactor<'_>, window: Window) {
        self.stage = Stage::Run(window);
        if self.plan.options.rate.is_some() {
            return; // the pacer calls
        }
        let (now, pipeline) = (self.plan.now(), u64::from(self.plan.options.pipeline));
        for slot in 0..self.clients.len() {
            if let Some(mut conn) = self.clients[slot].id.and_then(|id| reactor.conn(id)) {
                self.send(&mut conn, slot, pipeline, now);
            }
        }
    }

    /// Sends what is due by now (open loop); the pacer calls.
    pub(crate) fn send_due(&mut self, reactor: &mut Reactor<'_>) {
        let Some(window) = self.window() else { return };
        let now = self.plan.now();
        for _ in 0..BURST {
            match self.next_due(window) {
                Some(due) if due <= now => {}
                _ => break,
            }
            let slot = self.cursor.client;
            self.cursor.advance(self.clients.len());
            let client = &mut self.clients[slot];
            if !client.is_open {
                self.tally.unsent += 1;
                continue;
            }
            client.due += 1;
            self.owed += 1;
            if !client.is_full
                && let Some(mut conn) = client.id.and_then(|id| reactor.conn(id))
            {
                self.send_owed(&mut conn, slot, window);
            }
        }
        self.tell();
    }

    /// Sends nothing new.
    pub(crate) fn drain(&mut self) {
        if let Stage::Run(window) = self.stage {
            self.stage = Stage::Drain(window);
        }
        self.tell();
    }

    /// Closes every connection; when nothing is left the conductor is told.
    pub(crate) fn close(&mut self, reactor: &mut Reactor<'_>) {
        if let Some(window) = self.window() {
            while self.next_due(window).is_some() {
                self.cursor.advance(self.clients.len());
                self.tally.unsent += 1;
            }
        }
        self.stage = Stage::Close;
        for slot in 0..self.clients.len() {
            let client = &mut self.clients[slot];
            let Some(mut conn) = client.id.and_then(|id| reactor.conn(id)) else { continue };
            match client.wire {
                Wire::Frames(_) => {
                    // The server answers with its own, and then we finish.
                    self.send_close(&mut conn, slot);
                    conn.set_timer(ANSWER, TIME_TO_ANSWER);
                }
                _ => {
                    client.end(&mut conn, &mut self.sealed);
                    conn.finish();
                }
            }
        }
        self.dialled = self.clients.len();
        self.tell();
    }

    fn window(&self) -> Option<Window> {
        match self.stage {
            Stage::Run(window) | Stage::Drain(window) => Some(window),
            Stage::Ramp | Stage::Close => None,
        }
    }

    /// When the next message by schedule is due; none when that was the last one, or there is no schedule.
    fn next_due(&self, window: Window) -> Option<u64> {
        let rate = self.plan.options.rate?;
        let client = self.clients.get(self.cursor.client)?;
        let due = window.start + self.plan.due(rate, client.index, self.cursor.round);
        (due < window.end).then_some(due)
    }

    fn dial(&mut self, reactor: &mut Reactor<'_>) {
        let options = &self.plan.options;
        let elapsed = self.plan.origin.elapsed().as_secs_f64();
        let by_now = match options.ramp {
            0 => self.clients.len(),
            ramp => (elapsed * f64::from(ramp) / self.plan.reactors as f64) as usize + 1,
        };
        let room = (DIALLING / self.plan.reactors).max(1) - self.dialling;
        let until = by_now.min(self.clients.len()).min(self.dialled + room);
        for slot in self.dialled..until {
            let client = &mut self.clients[slot];
            match reactor.connect(options.connect(&self.plan.target, client.index)) {
                Ok(id) => {
                    client.id = Some(id);
                    self.dialling += 1;
                }
                Err(error) => self.tally.fail(error.to_string()),
            }
        }
        self.dialled = self.dialled.max(until);
    }

    /// Sends what is due and was not yet sent, as far as it goes; latency counts from when it was due.
    fn send_owed(&mut self, conn: &mut Conn<'_>, slot: usize, window: Window) {
        let Some(rate) = self.plan.options.rate else { return };
        let now = self.plan.now();
        loop {
            let client = &self.clients[slot];
            let round = client.asked;
            if round >= client.due || client.is_full {
                return;
            }
            let due = window.start + self.plan.due(rate, client.index, round);
            self.owed -= 1;
            self.tally.lateness.saturating_record(now.saturating_sub(due).max(1));
            self.send(conn, slot, 1, now);
        }
    }

    fn send(&mut self, conn: &mut Conn<'_>, slot: usize, messages: u64, now: u64) {
        match self.clients[slot].wire {
            Wire::Plain => self.send_bytes(conn, slot, messages * u64::from(self.plan.options.size), None),
            _ => (0..messages).for_each(|_| self.send_message(conn, slot)),
        }
        let client = &mut self.clients[slot];
        if self.plan.options.rate.is_none() {
            client.sent_at.push_back((now, messages));
        }
        client.asked += messages;
        self.under_way += messages;
        self.tally.sent += messages;
    }

    /// A connection carries bytes both ways: it is there for messages, or for a WebSocket to be asked for.
    fn connected(&mut self, conn: &mut Conn<'_>, slot: usize) {
        match &self.plan.target.websocket {
            None => self.opened(slot),
            Some(_) => {
                self.say_hello(conn, slot);
                conn.set_timer(ANSWER, TIME_TO_ANSWER);
            }
        }
        self.tell();
    }

    /// A connection is there for messages.
    fn opened(&mut self, slot: usize) {
        self.clients[slot].is_open = true;
        self.dialling -= 1;
        self.open += 1;
        self.tally.opened += 1;
    }

    /// Bytes of the wire came.
    fn hear(&mut self, conn: &mut Conn<'_>, slot: usize, bytes: &[u8]) -> Action {
        let now = self.plan.now();
        let options = &self.plan.options;
        let pattern = (!options.no_verify).then_some(&self.plan.pattern);
        let mut heard = Heard::default();
        let client = &mut self.clients[slot];
        let outcome = client.hear(bytes, options.size.into(), pattern, &mut heard);
        self.tally.bytes_received += heard.bytes;
        if heard.agreed {
            conn.cancel_timer(ANSWER);
            self.opened(slot);
            self.tell();
        }
        if heard.messages > 0 {
            self.record(slot, heard.messages, now);
        }
        if let Err(fault) = outcome {
            let client = &mut self.clients[slot];
            if let Fault::Wrong(wrong) = fault {
                self.tally.mismatch(client.index, wrong);
            }
            client.fault = Some(fault);
            return Action::Reset;
        }
        if self.answer(conn, slot, &heard) {
            return Action::Finish;
        }
        if heard.messages == 0 {
            return Action::Continue;
        }
        match self.stage {
            Stage::Run(Window { end, .. }) if self.plan.options.rate.is_none() && now < end => {
                self.send(conn, slot, heard.messages, now);
            }
            Stage::Drain(_) => self.tell(),
            _ => {}
        }
        Action::Continue
    }

    /// So many more messages of a connection are answered.
    fn record(&mut self, slot: usize, messages: u64, now: u64) {
        self.under_way -= messages;
        if self.stage == Stage::Close {
            return; // too late: time is up
        }
        self.tally.answered += messages;
        self.plan.live[self.reactor].show_answered(self.tally.answered);
        let Some(Window { start, .. }) = self.window() else { return };
        let client = &mut self.clients[slot];
        let latency = &mut self.tally.latency;
        if let Some(rate) = self.plan.options.rate {
            for round in client.answered - messages..client.answered {
                let due = start + self.plan.due(rate, client.index, round);
                latency.saturating_record(now.saturating_sub(due).max(1));
            }
        } else {
            let mut left = messages;
            while left > 0
                && let Some((sent_at, count)) = client.take_sent(left)
            {
                latency.saturating_record_n(now.saturating_sub(sent_at).max(1), count);
                left -= count;
            }
        }
        let span = (now.saturating_sub(start) / self.plan.span.as_nanos() as u64) as usize;
        if let Some(count) = self.tally.series.get_mut(span) {
            *count += messages;
        }
    }

    fn tell(&mut self) {
        self.plan.live[self.reactor].show(self.open as u64, self.tally.failed());
        let settled = self.dialled == self.clients.len() && self.dialling == 0;
        if settled && !self.told_settled {
            self.told_settled = true;
            let _ = self.events.send(Event::Settled);
        }
        if let Stage::Drain(window) = self.stage
            && !self.told_drained
            && self.under_way == 0
            && self.owed == 0
            && self.next_due(window).is_none()
        {
            self.told_drained = true;
            let _ = self.events.send(Event::Drained);
        }
        if settled && self.open == 0 && !self.told_gone {
            self.told_gone = true;
            let _ = self.events.send(Event::Gone);
        }
    }
}

impl Handler for Load {
    type Session = Slot;

    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        self.on_reactor_timer(reactor, DIAL);
    }

    fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
        if self.stage == Stage::Ramp && self.dialled < self.clients.len() {
            self.dial(reactor);
            reactor.set_timer(timer, DIAL_EVERY);
        }
        self.tell();
    }

    fn on_open(&mut self, conn: &mut Conn<'_>, slot: &mut Slot) -> Action {
        *slot = Slot(conn.tag().0 as usize / self.plan.reactors);
        // Both directions are always read, or two full queues would wait for each other.
        conn.set_auto_pause(false);
        let Some(trust) = &self.plan.trust else {
            self.connected(conn, slot.0);
            return Action::Continue;
        };
        let client = &mut self.clients[slot.0];
        match Secure::begin(trust) {
            Ok(mut secure) => {
                secure.flush(conn, &mut self.sealed);
                client.secure = Some(Box::new(secure));
                conn.set_timer(ANSWER, TIME_TO_ANSWER);
                Action::Continue
            }
            Err(what) => {
                client.fault = Some(Fault::Broke(what));
                Action::Reset
            }
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, slot: &mut Slot, input: &mut Input<'_>) -> Action {
        let client = &mut self.clients[slot.0];
        let Some(secure) = &mut client.secure else { return self.hear(conn, slot.0, input.take()) };
        let was_handshaking = secure.is_handshaking();
        self.plain.clear();
        let opened = secure.open(input.take(), &mut self.plain);
        secure.flush(conn, &mut self.sealed);
        if let Err(what) = opened {
            client.fault = Some(Fault::Broke(what));
            return Action::Reset;
        }
        if was_handshaking && !secure.is_handshaking() {
            conn.cancel_timer(ANSWER);
            self.connected(conn, slot.0);
        }
        let plain = mem::take(&mut self.plain);
        let action = self.hear(conn, slot.0, &plain);
        self.plain = plain;
        action
    }

    fn on_timer(&mut self, _: &mut Conn<'_>, slot: &mut Slot, _: TimerKind) -> Action {
        let client = &mut self.clients[slot.0];
        let what = match &client.secure {
            Some(secure) if secure.is_handshaking() => "TLS: no end of the handshake",
            _ if client.is_open => "WebSocket: no answer to the close",
            _ => "WebSocket: no answer to the request",
        };
        client.fault = Some(Fault::Broke(what.to_owned()));
        Action::Reset
    }

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut Slot, _: Message<'_>) -> Action {
        Action::Continue // never called: there is no framing
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>, slot: &mut Slot) -> Action {
        self.clients[slot.0].is_full = false;
        if let Some(window) = self.window() {
            self.send_owed(conn, slot.0, window);
        }
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, _: Slot) {
        let slot = closed.tag().0 as usize / self.plan.reactors;
        let client = &mut self.clients[slot];
        client.id = None;
        if std::mem::take(&mut client.is_open) {
            self.open -= 1;
            let is_owed = client.due.saturating_sub(client.asked);
            self.under_way -= client.asked - client.answered;
            self.owed -= is_owed;
            self.tally.unsent += is_owed;
        } else {
            self.dialling -= 1;
        }
        if let Some(reason) = failure(closed, client, self.stage) {
            self.tally.fail(reason);
        }
        self.tell();
    }

    fn on_stop(&mut self, _: &mut Reactor<'_>) {
        let tally = std::mem::replace(&mut self.tally, Tally::new(0));
        let _ = self.events.send(Event::Stopped(Box::new(tally)));
    }
}

/// Why a connection is gone, unless it is because we wanted it.
fn failure(closed: &Closed<'_>, client: &Client, stage: Stage) -> Option<String> {
    let reason = closed.reason();
    match &client.fault {
        Some(Fault::Wrong(_)) => return Some("sent back something else".to_owned()),
        Some(Fault::Broke(what)) => return Some(what.clone()),
        None => {}
    }
    if stage == Stage::Close && matches!(reason, CloseReason::Local | CloseReason::Peer { .. }) {
        let is_cut_off = matches!(client.wire, Wire::Frames(_));
        return is_cut_off.then(|| "WebSocket: ended without a close frame".to_owned());
    }
    Some(match closed.error() {
        Some(error) => format!("{reason}: {error}"),
        None => reason.to_string(),
    })
}
