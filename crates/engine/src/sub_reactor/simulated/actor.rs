//! The handler under test's conditions: it does what the plan allows, at random, and notes what follows from it.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    os::fd::BorrowedFd,
    rc::Rc,
    time::Instant,
};

use bytes::Bytes;

use super::{
    deed::Deed,
    kernel::{Calls, Kernel},
    model::{Life, Model, Running},
    plan::Plan,
    random::Random,
    wire::{Wanted, throw},
};
use crate::{
    Action, Closed, Conn, ConnId, Control, Handler, Input, Message, Poster, Reactor, ReactorId, Reply,
    Request, Tag, TimerKind, connection::Flags, panics::panic_message,
};

pub(super) struct Actor {
    pub(super) model: Rc<RefCell<Model>>,
    pub(super) kernel: Rc<RefCell<Kernel>>,
    pub(super) plan: Rc<Plan>,
    pub(super) poster: Poster<Actor>,
    pub(super) random: Random,
    /// Payloads that somebody else holds too.
    pub(super) kept: Vec<Bytes>,
    /// Set while a callback has input to answer with.
    pub(super) echo: Option<Vec<u8>>,
}

/// Whose it is: handed over in `on_close`.
pub(super) struct Session(Option<ConnId>);

impl Default for Session {
    fn default() -> Session {
        if SESSION_FAILS.take() {
            throw();
        }
        Session(None)
    }
}

thread_local! {
    static SESSION_FAILS: Cell<bool> = const { Cell::new(false) };
}

/// The next session of this thread cannot be made.
pub(super) fn fail_next_session(fails: bool) {
    SESSION_FAILS.set(fails);
}

impl Actor {
    pub(super) fn new(
        plan: &Rc<Plan>,
        model: &Rc<RefCell<Model>>,
        calls: &Calls,
        poster: Poster<Actor>,
        seed: u64,
    ) -> Actor {
        Actor {
            model: Rc::clone(model),
            kernel: Rc::clone(&calls.0),
            plan: Rc::clone(plan),
            poster,
            random: Random::new(seed),
            kept: Vec::new(),
            echo: None,
        }
    }

    /// Some deeds, and how the callback ends.
    pub(super) fn act(&mut self, conn: &mut Conn<'_>) -> Action {
        if self.model.borrow().is_calm {
            return Action::Continue;
        }
        for _ in 0..self.random.below(self.plan.activity + 1) {
            let Some(deed) = self.choose() else { break };
            self.do_to_one(conn, deed);
        }
        self.echo = None;
        let action = self.ending(conn.id());
        self.note_action(conn.id(), action);
        self.note_pause(conn);
        action
    }

    /// What is left now, while the connection is paused, comes again without anything new.
    fn note_pause(&mut self, conn: &mut Conn<'_>) {
        let id = conn.id();
        let core = &conn.reactor().core;
        let is_paused = core.connections.get(id.key()).is_some_and(|c| c.flags.intersects(Flags::PAUSES));
        let may_repeat = is_paused || !core.local.is_empty();
        let mut model = self.model.borrow_mut();
        if let Some(record) = model.record(id).filter(|record| record.is_raw()) {
            record.intake.may_repeat |= may_repeat || record.is_paused;
        }
    }

    /// A deed of those that the plan allows.
    pub(super) fn choose(&mut self) -> Option<Deed> {
        let plan = Rc::clone(&self.plan);
        let deed = *plan.deeds.get(self.random.below(plan.deeds.len()))?;
        self.random.one_in(deed.rarity()).then_some(deed)
    }

    fn ending(&mut self, id: ConnId) -> Action {
        let endings = [
            (Deed::Hold, 8, Action::Hold),
            (Deed::Finish, 50, Action::Finish),
            (Deed::Close, 50, Action::Close),
            (Deed::Reset, 50, Action::Reset),
        ];
        for (deed, times, action) in endings {
            if self.plan.deeds.contains(&deed) && self.random.one_in(times) {
                return action;
            }
        }
        if self.plan.deeds.contains(&Deed::Panic) && self.random.one_in(60) {
            self.throw(id);
        }
        Action::Continue
    }

    /// Panics in a connection's callback, which is its end.
    pub(super) fn throw(&mut self, id: ConnId) -> ! {
        if let Some(record) = self.model.borrow_mut().record(id) {
            record.threw = true;
            record.is_over = true;
        }
        throw()
    }

    fn note_action(&mut self, id: ConnId, action: Action) {
        let mut model = self.model.borrow_mut();
        let Some(record) = model.record(id) else { return };
        match action {
            Action::Continue => return,
            Action::Hold => {
                record.is_paused = true;
                record.resumed_in = None;
                return;
            }
            Action::Finish => record.was_finished = true,
            Action::Close => record.was_closed = true,
            Action::Reset => record.was_reset = true,
        }
        record.is_over = true;
    }

    /// A callback begins: one that may come.
    pub(super) fn enter(&mut self, what: &str, id: ConnId) -> Running {
        let running = Running::enter(&self.model, format!("{what} of {id}"));
        let mut model = self.model.borrow_mut();
        let problem = match model.record(id) {
            None => Some("of a connection that nobody knows".to_owned()),
            Some(record) if record.life != Life::Open => Some(format!("while {:?}", record.life)),
            Some(record) if record.is_over => Some("though it was over".to_owned()),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            model.fail(id, format!("{what} {problem}"));
        }
        drop(model);
        running
    }

    fn check(&mut self, id: ConnId, outcome: impl FnOnce(&mut Model, usize) -> Result<(), String>) {
        let mut model = self.model.borrow_mut();
        let Some(index) = model.index(id) else { return };
        let outcome = outcome(&mut model, index);
        model.check(id, outcome);
    }
}

impl Handler for Actor {
    type Session = Session;

    fn on_open(&mut self, conn: &mut Conn<'_>, session: &mut Session) -> Action {
        let id = conn.id();
        session.0 = Some(id);
        self.learn(conn);
        self.check(id, |model, index| {
            let record = &mut model.records[index];
            let life = std::mem::replace(&mut record.life, Life::Open);
            record.opened = conn.now();
            let is_begun = record.is_proxied() || record.is_web() || record.is_secure();
            if !is_begun && record.carrier.is_none() {
                record.began = conn.now();
            }
            // Its pings may be too much for the high mark.
            record.is_blind |= record.kind.heartbeat().is_some();
            if record.carrier.is_none() {
                record.active = conn.now();
            }
            match life {
                Life::Dialling | Life::Admitted => Ok(()),
                other => Err(format!("on_open while {other:?}")),
            }
        });
        let _running = self.enter("on_open", id);
        self.act(conn)
    }

    fn on_request(&mut self, conn: &mut Conn<'_>, session: &mut Session, request: &Request<'_>) -> Reply {
        session.0 = Some(conn.id());
        self.decide(conn, request)
    }

    fn on_control(&mut self, conn: &mut Conn<'_>, session: &mut Session, control: Control<'_>) -> Action {
        let id = conn.id();
        let _running = self.enter("on_control", id);
        assert_eq!(session.0, Some(id), "another's session");
        self.meet_control(id, control);
        self.act(conn)
    }

    fn on_secured(&mut self, conn: &mut Conn<'_>, _: &mut Session) -> Action {
        let id = conn.id();
        let _running = self.enter("on_secured", id);
        self.meet_secured(conn);
        self.act(conn)
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, session: &mut Session, input: &mut Input<'_>) -> Action {
        let id = conn.id();
        let _running = self.enter("on_data", id);
        assert_eq!(session.0, Some(id), "another's session");
        self.check(id, |model, index| match model.records[index].is_raw() {
            true => model.records[index].intake.offer(input.peek()),
            false => Err("raw data on a connection with messages".into()),
        });
        let leaves = self.plan.deeds.contains(&Deed::Leave) && self.random.one_in(4);
        let all = input.len();
        let take = if leaves && !self.model.borrow().is_calm { self.random.below(all + 1) } else { all };
        self.echo = Some(input.take_mut(take).to_vec());
        if let Some(record) = self.model.borrow_mut().record(id) {
            record.intake.consume(take);
        }
        self.act(conn)
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, session: &mut Session, message: Message<'_>) -> Action {
        let id = conn.id();
        let _running = self.enter("on_message", id);
        assert_eq!(session.0, Some(id), "another's session");
        self.check(id, |model, index| model.records[index].intake.receive(message));
        self.turn(conn);
        self.echo = Some(message.bytes().to_vec());
        let action = self.act(conn);
        if action == Action::Hold
            && let Some(record) = self.model.borrow_mut().record(id)
        {
            record.intake.hold();
        }
        action
    }

    fn on_eof(&mut self, conn: &mut Conn<'_>, _: &mut Session) -> Action {
        let id = conn.id();
        let _running = self.enter("on_eof", id);
        let kernel = Rc::clone(&self.kernel);
        self.check(id, |model, index| {
            let socket = &kernel.borrow().sockets[index];
            if socket.seal.is_none() && socket.script.gate == Some(socket.read) {
                // It has left before TLS began.
                model.records[index].intake.is_at_end = true;
                return Ok(());
            }
            let is_whole = socket.seal.is_none() || socket.is_read_through();
            let all = socket.script.bytes.len();
            let read = if socket.seal.is_none() { socket.read } else { all * usize::from(is_whole) };
            model.records[index].intake.end(read)
        });
        let lingers = self.plan.deeds.contains(&Deed::Linger) && !self.model.borrow().is_calm;
        match self.act(conn) {
            Action::Continue if !lingers || self.random.one_in(2) => {
                self.note_action(id, Action::Finish);
                Action::Finish
            }
            action => action,
        }
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>, _: &mut Session) -> Action {
        let id = conn.id();
        let _running = self.enter("on_writable", id);
        self.check(id, |model, index| {
            let record = &mut model.records[index];
            let was_owed = std::mem::replace(&mut record.is_owed, false);
            let why = if was_owed || record.is_blind { Ok(()) } else { Err("writable without being full") };
            why.map_err(str::to_owned)
        });
        self.act(conn)
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, _: &mut Session, timer: TimerKind) -> Action {
        let id = conn.id();
        let _running = self.enter("on_timer", id);
        let now = conn.now();
        self.check(id, |model, index| {
            let timers = &mut model.records[index].timers;
            let Some(at) = timers.iter().position(|(kind, _)| *kind == timer) else {
                return Err(format!("{timer:?} fired and was not set"));
            };
            let (_, due) = timers.swap_remove(at);
            if now < due { Err(format!("{timer:?} is {:?} early", due - now)) } else { Ok(()) }
        });
        self.act(conn)
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, session: Session) {
        let id = closed.id();
        self.meet_end(closed, session.0);
        let _running = Running::enter(&self.model, format!("on_close of {id}"));
        self.act_at_large(closed.reactor());
    }

    fn on_stopping(&mut self, reactor: &mut Reactor<'_>, until: Instant) {
        let _running = Running::enter(&self.model, "on_stopping".to_owned());
        self.meet_drain(reactor, until);
        self.act_at_large(reactor);
        if self.random.one_in(2) {
            self.finish_all(reactor);
        }
    }

    fn on_panic(&mut self, _: &mut Reactor<'_>, panic: &(dyn Any + Send)) {
        let mut model = self.model.borrow_mut();
        model.told_of_panics += 1;
        if !panic.is::<Wanted>() {
            model.fail_at_large(format!("a panic that nobody wanted: {}", panic_message(panic)));
        }
    }

    fn on_ready(&mut self, reactor: &mut Reactor<'_>, watched: Tag, _: BorrowedFd<'_>) {
        self.meet_bell(reactor, watched);
    }

    fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
        let _running = Running::enter(&self.model, "on_reactor_timer".to_owned());
        let mut model = self.model.borrow_mut();
        match model.reactor_timers.iter().position(|(kind, _)| *kind == timer) {
            Some(at) => {
                let (_, due) = model.reactor_timers.swap_remove(at);
                if reactor.now() < due {
                    model.fail_at_large(format!("reactor's {timer:?} is {:?} early", due - reactor.now()));
                }
            }
            None => model.fail_at_large(format!("reactor's {timer:?} fired and was not set")),
        }
        drop(model);
        self.act_at_large(reactor);
    }

    fn on_room(&mut self, reactor: &mut Reactor<'_>, of: ReactorId) {
        let _running = Running::enter(&self.model, "on_room".to_owned());
        let mut model = self.model.borrow_mut();
        if of != reactor.id() {
            model.fail_at_large(format!("room of reactor {of}"));
        }
        model.rooms += 1;
        model.awaits_room = false;
        drop(model);
        self.act_at_large(reactor);
    }
}
