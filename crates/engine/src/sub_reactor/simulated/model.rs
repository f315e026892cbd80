//! What ought to be so: kept beside the engine by those who ask it for something and by those whom it calls.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    os::fd::RawFd,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    bells::Bells,
    draining::Drain,
    ear::Ear,
    estate::{Estate, Fate},
    intake::Intake,
    ledger::{Certainty, Ledger},
    opening::Decision,
    plan::{Kind, Plan},
    preface::Says,
    script::Script,
    trace::Trace,
    turning::{Securing, Turn},
    wire::{Encoded, Wire},
};
use crate::{Audience, CloseReason, ConnId, ListenerId, TimerKind, connection::Phase};

#[derive(Default)]
pub(super) struct Model {
    pub(super) records: Vec<Record>,
    names: BTreeMap<ConnId, usize>,
    /// The first promise that was broken.
    pub(super) failure: Option<String>,
    /// The callback that runs.
    running: Option<String>,
    /// Callbacks so far.
    pub(super) callbacks: u64,
    pub(super) trace: Trace,
    /// Nobody does anything unexpected any more.
    pub(super) is_calm: bool,
    pub(super) is_stopping: bool,
    /// Sends beyond the limit that the sender was told of.
    pub(super) refusals: u64,
    pub(super) told_of_panics: u64,
    pub(super) reactor_timers: Vec<(TimerKind, Instant)>,
    /// The mailbox was full: `on_room` is to come.
    pub(super) awaits_room: bool,
    /// How often it came, and how often it was full.
    pub(super) rooms: u64,
    pub(super) fulls: u64,
    pub(super) unsent: u64,
    /// Messages that should have left and did not.
    pub(super) missed: usize,
    /// Messages whose fate nobody is told, each with its number in it.
    pub(super) numbered: u64,
    /// Taken out, and not put in again.
    pub(super) estates: Vec<Estate>,
    pub(super) drain: Option<Drain>,
    pub(super) bells: Bells,
    /// Sessions that could not be made, at most.
    pub(super) sessions_failed: usize,
    /// Accepted from a proxy, and shed when the client was known.
    pub(super) shed_late: u64,
}

/// Where a connection stands, seen from the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Dialling,
    /// Accepted, and not told yet.
    Admitted,
    Open,
    Closed,
}

/// What `on_close` was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) reason: CloseReason,
    pub(super) unsent: u64,
    pub(super) opened: bool,
}

pub(super) struct Record {
    pub(super) id: Option<ConnId>,
    pub(super) listener: Option<ListenerId>,
    pub(super) kind: Kind,
    pub(super) life: Life,
    pub(super) ledger: Ledger,
    /// What the peer makes of the bytes that it gets.
    pub(super) ear: Ear,
    pub(super) intake: Intake,
    /// What became of its request.
    pub(super) decision: Decision,
    /// Where TLS stands that begins in mid-life.
    pub(super) securing: Securing,
    pub(super) script: Rc<Script>,
    pub(super) timers: Vec<(TimerKind, Instant)>,
    pub(super) is_paused: bool,
    /// It was resumed from afar in this callback: what comes of it shows later.
    pub(super) resumed_in: Option<u64>,
    pub(super) is_in_doubt: bool,
    /// No callback but `on_close` may come.
    pub(super) is_over: bool,
    /// What was asked of it.
    pub(super) was_finished: bool,
    pub(super) was_closed: bool,
    pub(super) was_reset: bool,
    pub(super) is_shut: bool,
    /// A FIN is to go out behind what is queued.
    pub(super) fin_asked: bool,
    /// It is to be taken out.
    pub(super) heir: Option<Rc<Cell<Fate>>>,
    /// The descriptor that it was adopted with.
    pub(super) carrier: Option<RawFd>,
    /// A send went beyond the limit.
    pub(super) was_refused: bool,
    pub(super) threw: bool,
    /// It was told `Full`.
    pub(super) is_owed: bool,
    /// It was sent something that nobody was told the fate of.
    pub(super) is_blind: bool,
    pub(super) is_authenticated: bool,
    pub(super) idle: Option<Option<Duration>>,
    pub(super) began: Instant,
    pub(super) opened: Instant,
    pub(super) timeout: Option<Duration>,
    /// When bytes last went either way, when the kernel last took some, and when our FIN was said.
    pub(super) active: Instant,
    pub(super) taken_at: Instant,
    pub(super) fin_at: Option<Instant>,
    pub(super) phase: Phase,
    /// How it ended, as `on_close` was told.
    pub(super) end: Option<End>,
    /// Its accounts are closed, too.
    pub(super) is_settled: bool,
    /// It was asked for, and the engine said no.
    pub(super) never_was: bool,
}

impl Record {
    pub(super) fn new(kind: Kind, listener: Option<ListenerId>, script: Rc<Script>, now: Instant) -> Record {
        Record {
            id: None,
            listener,
            kind,
            life: if listener.is_some() { Life::Admitted } else { Life::Dialling },
            ledger: Ledger::default(),
            ear: Ear::new(Rc::clone(&script)),
            intake: Intake::new(Rc::clone(&script)),
            decision: Decision::default(),
            securing: Securing::No,
            script,
            timers: Vec::new(),
            is_paused: false,
            resumed_in: None,
            is_in_doubt: false,
            is_over: false,
            was_finished: false,
            was_closed: false,
            was_reset: false,
            is_shut: false,
            fin_asked: false,
            heir: None,
            carrier: None,
            was_refused: false,
            threw: false,
            is_owed: false,
            is_blind: false,
            is_authenticated: false,
            idle: None,
            began: now,
            opened: now,
            timeout: None,
            active: now,
            taken_at: now,
            fin_at: None,
            phase: Phase::Connecting,
            end: None,
            is_settled: false,
            never_was: false,
        }
    }

    pub(super) fn encode(&self, kind: crate::Kind, body: &[u8]) -> Encoded {
        self.kind.wire.encode(kind, body)
    }

    /// It will be sent this, unless it is refused; nobody is told.
    pub(super) fn expect(&mut self, payload: &crate::Payload<'_>, takes_output: bool) {
        self.is_blind = true;
        if let Encoded::Bytes(bytes) = self.encode(payload.kind(), payload.bytes()) {
            let is_due = takes_output && self.life == Life::Open;
            self.ledger.add(bytes, if is_due { Certainty::Due } else { Certainty::Possible });
        }
    }

    pub(super) fn is_heard_by(&self, to: Audience) -> bool {
        match to {
            Audience::Open => true,
            Audience::Listener(listener) => self.listener == Some(listener),
        }
    }

    /// Somebody has asked for its end, and may be heard later than asked.
    pub(super) fn ends_soon(&self) -> bool {
        self.is_over || self.is_shut || self.was_finished || self.was_closed || self.was_reset
    }

    pub(super) fn resume(&mut self) {
        (self.is_paused, self.is_in_doubt) = (false, false);
        self.intake.may_repeat = true;
    }

    /// It is not served: a limit was met.
    pub(super) fn is_shed(&mut self) {
        (self.life, self.never_was) = (Life::Closed, true);
    }

    /// Whether it may be turned away when its proxy has said whose it is.
    pub(super) fn may_be_shed(&self, plan: &Plan) -> bool {
        let is_known = matches!(self.script.says, Some(Says::Client(_)));
        is_known && self.life == Life::Admitted && plan.options.max_per_address.is_some()
    }

    pub(super) fn is_proxied(&self) -> bool {
        self.listener.is_some() && self.script.says.is_some()
    }

    pub(super) fn shown(&self) -> String {
        format!("{:?}: {:?}, {:?}, paused {}", self.id, self.life, self.phase, self.is_paused)
    }

    pub(super) fn is_web(&self) -> bool {
        matches!(self.kind.wire, Wire::Web(_))
    }

    /// It speaks TLS, or would if its proxy let it.
    pub(super) fn is_secure(&self) -> bool {
        self.kind.keys.is_some()
    }

    /// What it holds cannot go with its socket.
    pub(super) fn is_bound(&self) -> bool {
        self.is_web() || self.is_secure() && self.kind.turns != Some(Turn::Tls)
    }

    /// What sealing may add beyond the limit: it counts what is sealed, and a new message as it is.
    pub(super) fn added(&self, queued: usize) -> usize {
        if self.is_secure() { 256 + queued / 64 } else { 0 }
    }

    /// The peer has these bytes.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.ledger.take(&self.ear.hear(bytes)?)
    }

    /// Whether a message's bytes can be counted before they leave: the ledger's are those that leave.
    fn is_countable(&self) -> bool {
        match self.kind.wire {
            _ if self.is_secure() => false,
            Wire::Web(web) => web.deflate.is_none() && self.listener.is_some(),
            _ => true,
        }
    }

    /// Bytes that were accepted and wait; none where that cannot be known.
    pub(super) fn waiting(&self) -> Option<usize> {
        let begun = if self.is_web() { self.ear.begun()?.len() } else { 0 };
        let is_known = self.is_countable() && self.kind.heartbeat().is_none() && self.ledger.is_certain();
        is_known.then(|| self.ledger.waiting().saturating_sub(begun))
    }

    /// It is gone, and so many bytes were never sent, it is said.
    pub(super) fn close_accounts(&mut self, unsent: u64) -> Result<(), String> {
        if !self.is_web() && !self.is_secure() {
            return self.ledger.close(unsent, 0);
        }
        let begun = self.ear.begun().filter(|_| self.is_countable()).map(<[u8]>::to_vec);
        let Some(begun) = begun else { return self.ledger.close_loosely(unsent) };
        self.ledger.take(&begun)?;
        let beats = if self.kind.heartbeat().is_some() { BEATS } else { 0 };
        self.ledger.close(unsent, LAST_WORDS + beats)
    }

    pub(super) fn is_raw(&self) -> bool {
        self.kind.wire == Wire::Raw
    }
}

/// The largest close frame, in bytes, and as many pings as may wait.
const LAST_WORDS: usize = 4 + 125;
const BEATS: usize = 4 << 10;

impl Model {
    pub(super) fn name(&mut self, index: usize, id: ConnId) {
        let known = self.records[index].id.replace(id);
        if known.is_some_and(|known| known != id) {
            self.fail(id, format!("has two names, {known:?} is the other"));
        }
        self.names.insert(id, index);
    }

    pub(super) fn index(&self, id: ConnId) -> Option<usize> {
        self.names.get(&id).copied()
    }

    pub(super) fn record(&mut self, id: ConnId) -> Option<&mut Record> {
        let index = self.index(id)?;
        self.records.get_mut(index)
    }

    pub(super) fn fail(&mut self, id: ConnId, what: impl Into<String>) {
        let what = what.into();
        let during = self.running.as_deref().unwrap_or("no callback");
        self.failure.get_or_insert_with(|| format!("connection {id}: {what} (during {during})"));
    }

    pub(super) fn fail_at_large(&mut self, what: impl Into<String>) {
        let what = what.into();
        let during = self.running.as_deref().unwrap_or("no callback");
        self.failure.get_or_insert_with(|| format!("{what} (during {during})"));
    }

    pub(super) fn check(&mut self, id: ConnId, outcome: Result<(), String>) {
        if let Err(what) = outcome {
            self.fail(id, what);
        }
    }

    /// Notes that something was refused by a full mailbox.
    pub(super) fn note_full(&mut self) {
        self.awaits_room = true;
        self.fulls += 1;
    }

    /// Those that are there, seen from the handler.
    pub(super) fn alive(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.records.iter().filter(|record| record.life != Life::Closed).filter_map(|record| record.id)
    }
}

/// A callback in progress; none runs inside another.
pub(super) struct Running(Rc<RefCell<Model>>);

impl Running {
    pub(super) fn enter(model: &Rc<RefCell<Model>>, what: String) -> Running {
        let mut state = model.borrow_mut();
        state.callbacks += 1;
        if let Some(other) = state.running.clone() {
            state.fail_at_large(format!("{what} inside {other}"));
        }
        state.trace.note(format_args!("{what}"));
        state.running = Some(what);
        drop(state);
        Running(Rc::clone(model))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.borrow_mut().running = None;
    }
}
