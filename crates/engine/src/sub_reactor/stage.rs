//! Where the handler is called: every callback goes through here, and a panic no further.

use std::{
    any::Any,
    collections::HashMap,
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use mio::Token;

use super::{Core, bounds, change::Inheritance, core::Doomed, due::Due};
use crate::{
    Action, CloseReason, Closed, Conn, ConnId, Handler, Reactor, TimerKind,
    connection::{Connection, Flags, Phase},
    connections::Sessions,
    id::Key,
    mailbox::Command,
    panics::{bury, panic_message},
};

/// A sub-reactor's handler with what it acts upon.
pub(crate) struct Stage<H: Handler> {
    pub(super) handler: H,
    pub(super) sessions: Sessions<H::Session>,
    pub(super) core: Core,
    /// What is kept for the test kit, where that is the one who asks.
    pub(super) kept: Option<Kept>,
}

/// What a test may ask for afterwards.
#[derive(Default)]
pub(super) struct Kept {
    /// Why each connection closed.
    pub(super) reasons: HashMap<ConnId, CloseReason>,
    /// The first panic since somebody last looked.
    pub(super) panic: Option<Box<dyn Any + Send>>,
    /// Whether nobody looks.
    pub(super) bears_panics: bool,
}

/// A closure posted to the handler.
pub(crate) enum Job<H: Handler> {
    Reactor(ReactorJob<H>),
    Conn(ConnId, ConnJob<H>),
}

pub(crate) type ReactorJob<H> = Box<dyn FnOnce(&mut H, &mut Reactor<'_>) + Send>;
pub(crate) type ConnJob<H> = Box<dyn FnOnce(&mut H, &mut Conn<'_>, &mut <H as Handler>::Session) + Send>;

impl<H: Handler> Stage<H> {
    pub(super) fn new(handler: H, core: Core) -> Self {
        Stage { handler, sessions: Sessions::new(), core, kept: None }
    }

    /// A callback of an open connection, and what it wants next. None when there was none, or it panicked.
    #[inline]
    pub(super) fn call(
        &mut self,
        id: ConnId,
        callback: impl FnOnce(&mut H, &mut Conn<'_>, &mut H::Session) -> Action,
    ) -> Option<Action> {
        self.core.connections.get(id.key()).filter(|c| c.phase == Phase::Open)?;
        self.call_open(id, callback)
    }

    /// The same of a connection that was seen to be open just now.
    #[inline(always)]
    pub(super) fn call_open(
        &mut self,
        id: ConnId,
        callback: impl FnOnce(&mut H, &mut Conn<'_>, &mut H::Session) -> Action,
    ) -> Option<Action> {
        let key = id.key();
        debug_assert!(self.core.connections.get(key).is_some_and(|c| c.phase == Phase::Open));
        let session = self.sessions.get_mut(key)?;
        let (handler, mut conn) = (&mut self.handler, Conn::new(&mut self.core, key, id));
        match catch_unwind(AssertUnwindSafe(|| callback(handler, &mut conn, session))) {
            Ok(action) => {
                if action != Action::Continue {
                    self.act(key, action);
                }
                Some(action)
            }
            Err(panic) => {
                self.core.break_off(key);
                self.tell_of_panic(Some(id), panic);
                None
            }
        }
    }

    /// A watched descriptor is ready.
    pub(super) fn serve_watched(&mut self, token: Token) {
        let Some((tag, fd)) = self.core.watched.find(token) else {
            self.core.stats.stale_events += 1;
            return;
        };
        self.call_reactor(|handler, reactor| handler.on_ready(reactor, tag, fd.as_fd()));
    }

    /// A callback of the reactor's own.
    pub(super) fn call_reactor(&mut self, callback: impl FnOnce(&mut H, &mut Reactor<'_>)) {
        let (handler, mut reactor) = (&mut self.handler, Reactor::new(&mut self.core));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(handler, &mut reactor))) {
            self.tell_of_panic(None, panic);
        }
    }

    #[cold]
    pub(super) fn tell_of_panic(&mut self, id: Option<ConnId>, panic: Box<dyn Any + Send>) {
        self.core.stats.panics += 1;
        let (id, message) = (id.map(tracing::field::display), panic_message(&*panic));
        tracing::error!(reactor = self.core.id.0, id, message, "a callback panicked");
        let (handler, mut reactor) = (&mut self.handler, Reactor::new(&mut self.core));
        // A panic about a panic has been told already.
        let told = catch_unwind(AssertUnwindSafe(|| handler.on_panic(&mut reactor, &*panic)));
        let panic = match &mut self.kept {
            Some(kept) if !kept.bears_panics && kept.panic.is_none() => {
                kept.panic = Some(panic);
                None
            }
            _ => Some(panic),
        };
        bury((told, panic));
    }

    /// Tells of the panics of protocols during the turn.
    pub(super) fn tell_of_panics(&mut self) {
        while let Some(panic) = self.core.panicked.pop() {
            self.tell_of_panic(None, panic);
        }
    }

    fn act(&mut self, key: Key, action: Action) {
        let core = &mut self.core;
        core.settle();
        match action {
            Action::Continue => {}
            Action::Hold => core.pause(key),
            Action::Finish => core.finish(key),
            Action::Close => core.close(key, CloseReason::Local),
            Action::Reset => core.reset(key, CloseReason::Local),
        }
    }

    // ---- how it ends

    /// The end of the turn: `on_close` for every connection that is to be closed, then their sockets; keys are free for the
    /// next turn.
    pub(super) fn bury_doomed(&mut self) {
        // A callback may doom others, or dial in vain: they are appended, and wait for the next turn, as those do that are
        // more than a turn's share.
        let (most, mut buried) = (self.core.doomed.len().min(bounds::BURIALS), 0);
        while buried < most && (buried == 0 || self.core.goes_on(buried)) {
            let count = (most - buried).min(bounds::PIECE);
            self.bury(count);
            buried += count;
        }
    }

    /// The first so many.
    fn bury(&mut self, count: usize) {
        for index in 0..count {
            let Some(doomed) = self.core.doomed.get_mut(index) else { break };
            let key = doomed.key;
            let (reason, error, unsent) = (doomed.reason, doomed.error.take(), doomed.unsent);
            self.core.disarm(key);
            if reason != CloseReason::Detached {
                self.drop_heir(key);
            }
            self.tell_closed(Doomed { key, reason, error, unsent });
        }
        let mut taken_out = Vec::new();
        for _ in 0..count {
            let Some(Doomed { key, reason, .. }) = self.core.doomed.pop_front() else { break };
            match reason {
                CloseReason::Detached => taken_out.extend(self.core.hand_over(key)),
                _ => self.core.dispose(key),
            }
        }
        for Inheritance { heir, detached } in taken_out {
            self.call_reactor(|_, _| heir(detached));
        }
    }

    /// Nobody will inherit: what the closure had captured is dropped, and that is somebody else's code.
    fn drop_heir(&mut self, key: Key) {
        let way = self.core.connections.get_mut(key).and_then(Connection::under_way_mut);
        if let Some(heir) = way.and_then(|way| way.heir.take()) {
            self.call_reactor(|_, _| drop(heir));
        }
    }

    fn tell_closed(&mut self, doomed: Doomed) {
        let Doomed { key, reason, error, unsent } = doomed;
        self.core.stats.bytes_unsent += unsent;
        let Some(connection) = self.core.connections.get(key) else { return };
        let id = ConnId::new(self.core.id, key, connection.sequence);
        if let Some(kept) = &mut self.kept {
            kept.reasons.insert(id, reason);
        }
        if connection.flags.contains(Flags::UNTOLD) {
            return;
        }
        let opened = connection.flags.contains(Flags::OPENED);
        let peer = connection.peer_addr();
        let tag = connection.extras.as_ref().map(|extras| extras.tag).unwrap_or_default();
        let listener = self.core.profiles.get(connection.profile).and_then(|profile| profile.listener);
        tracing::debug!(%id, %reason, ?error, unsent, "closed");
        let session = match self.sessions.remove(key) {
            Some(session) => session,
            // Dialled or accepted in vain: there was no callback, and now there is one.
            None => match catch_unwind(H::Session::default) {
                Ok(session) => session,
                Err(panic) => return self.tell_of_panic(Some(id), panic),
            },
        };
        let reactor = Reactor::new(&mut self.core);
        let mut closed = Closed { reactor, id, tag, listener, peer, opened, reason, error, unsent };
        let handler = &mut self.handler;
        let outcome = catch_unwind(AssertUnwindSafe(|| handler.on_close(&mut closed, session)));
        if let Err(panic) = outcome {
            self.tell_of_panic(Some(id), panic);
        }
    }

    // ---- what is not about input

    /// Calls `on_writable` of those whose queue is low again.
    pub(super) fn tell_writable(&mut self) {
        for told in 1..=self.core.writable.len().min(bounds::SLICE) {
            let Some(id) = self.core.writable.pop_front() else { return };
            // Sent more meanwhile than the high mark allows, it is told when that has gone.
            let is_low = |c: &Connection| !c.flags.contains(Flags::OWES_WRITABLE);
            if self.core.is_here(id) && self.core.connections.get(id.key()).is_some_and(is_low) {
                self.core.cork(id.key());
                self.call(id, |handler, conn, session| handler.on_writable(conn, session));
                self.core.uncork();
            }
            if !self.core.goes_on(told) {
                return;
            }
        }
    }

    /// Carries out a turn's share, at most [`COMMANDS`](bounds::COMMANDS); whether there may be more.
    pub(super) fn serve_commands(&mut self) -> bool {
        let local = Rc::clone(&self.core.local);
        let (mut served, mut goes_on) = (0, true);
        while goes_on && let Some(command) = self.core.next_command(&local) {
            served += 1;
            self.carry_out(command);
            goes_on = served < bounds::COMMANDS && self.core.goes_on(served);
        }
        self.core.stats.commands += served as u64;
        !goes_on
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Accepted(accepted) => self.admit(accepted),
            Command::Post(job) => match job.downcast::<Job<H>>() {
                Ok(job) => self.run(*job),
                Err(_) => debug_assert!(false, "a closure for another handler"),
            },
            Command::Connect(to) => {
                if let Err(error) = self.core.connect(*to) {
                    tracing::warn!(%error, "a connection was asked for that cannot be dialled");
                }
            }
            Command::Resolved { id, addresses } => self.core.resolved(id, addresses),
            Command::Answer(id, reply) => {
                if self.core.is_here(id) {
                    self.answer_late(id, *reply);
                } else {
                    self.core.stats.late_commands += 1;
                }
            }
            Command::Room(of) => self.call_reactor(|handler, reactor| handler.on_room(reactor, of)),
            command => self.core.carry_out(command),
        }
    }

    fn run(&mut self, job: Job<H>) {
        match job {
            Job::Reactor(job) => self.call_reactor(job),
            Job::Conn(id, job) => {
                let is_open = self.core.is_here(id)
                    && self.core.connections.get(id.key()).is_some_and(|c| c.phase == Phase::Open);
                if !is_open {
                    self.core.stats.late_commands += 1;
                    // What it had captured is dropped: somebody else's code, as the closure itself.
                    return self.call_reactor(|_, _| drop(job));
                }
                self.core.cork(id.key());
                self.call(id, |handler, conn, session| {
                    job(handler, conn, session);
                    Action::Continue
                });
                self.core.uncork();
            }
        }
    }

    /// An entry of the wheel has come due; accepting is the loop's affair.
    pub(super) fn fire(&mut self, due: Due) {
        match due {
            Due::Deadline(key) => self.core.meet_deadline(key),
            Due::Timer(timer) => {
                let (key, kind) = (timer.key(), timer.kind());
                self.core.forget_timer(key, kind);
                let Some(id) = self.core.connections.id(key) else { return };
                if self.core.connections.get(key).is_some_and(|c| c.phase < Phase::Open) {
                    // No callback comes before `on_open`.
                    return self.core.set_timer(key, kind, UNTIL_OPEN);
                }
                self.core.cork(key);
                self.call(id, |handler, conn, session| handler.on_timer(conn, session, kind));
                self.core.uncork();
            }
            Due::ReactorTimer(kind) => self.fire_reactor_timer(kind),
            Due::Housekeeping => self.tidy(),
            Due::Stop => self.core.shared.stop(),
            Due::Accept => {}
        }
    }

    fn fire_reactor_timer(&mut self, kind: TimerKind) {
        self.core.forget_reactor_timer(kind);
        self.call_reactor(|handler, reactor| handler.on_reactor_timer(reactor, kind));
    }

    /// After a storm: what it left empty goes back to the system, the chunks over several turns.
    fn tidy(&mut self) {
        let (sessions, core) = (&mut self.sessions, &mut self.core);
        let roll = &core.shared.reactors[core.id.index()].roll;
        let freed = core.connections.shrink(bounds::CHUNKS_FREED, |chunk| {
            sessions.free_chunk(chunk);
            roll.free_chunk(chunk);
        });
        let timers_freed = core.wheel.shrink_some(bounds::TIMER_CHUNKS_FREED);
        core.chunks_freed += freed;
        core.sweep_holding(bounds::HOLDERS_SWEPT);
        let has_more = freed == bounds::CHUNKS_FREED || timers_freed == bounds::TIMER_CHUNKS_FREED;
        if has_more || core.holding.len() > core.connections.len() {
            return core.schedule_chore(Due::Housekeeping, Duration::ZERO);
        }
        core.housekeeping = false;
        let freed = std::mem::take(&mut core.chunks_freed);
        let (kept, much) = (core.pool.kept(), core.has_much_to_give_back());
        core.most = core.in_use();
        core.pool.trim(0);
        core.spare_queues.clear();
        core.spare_linear.clear();
        core.workshop.tidy();
        core.shrink_lists();
        if freed > 0 || much || core.has_freed_heap() || kept >= bounds::WORTH_TRIMMING {
            (core.heap_freed, core.most_connections) = (0, core.connections.len());
            core.shared.ask_to_trim();
        }
    }
}

/// How long a timer waits for a connect that is under way.
const UNTIL_OPEN: Duration = Duration::from_millis(10);
