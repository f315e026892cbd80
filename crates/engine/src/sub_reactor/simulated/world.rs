//! One world: a reactor, its handler, a kernel and peers, all drawn from one seed and turned by one clock.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::atomic::Ordering, time::Duration};

use super::{
    actor::{Actor, fail_next_session},
    arrivals::{Newcomer, address, introduce, name_the_new},
    ends::settle_accounts,
    estate::Fate,
    kernel::{Calls, Kernel},
    model::{Life, Model},
    plan::Plan,
    random::Random,
    socket::{Ready, Socket},
    wire,
};
use crate::{
    CloseReason, ConnId, Handle, ListenerId, Poster,
    accept::Accepted,
    id::Sequence,
    io::Io,
    mailbox::Command,
    parts::Parts,
    shared::Stay,
    sub_reactor::{Core, SubReactor, workshop::Masks},
};

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) plan: Rc<Plan>,
    pub(super) random: Random,
    pub(super) model: Rc<RefCell<Model>>,
    pub(super) kernel: Rc<RefCell<Kernel>>,
    pub(super) reactor: SubReactor<Actor>,
    pub(super) turn: u64,
    /// Connections that are still to come.
    pub(super) to_come: usize,
    /// Turns in a row in which nothing at all happened.
    pub(super) idle_turns: usize,
    pub(super) idle_wakes: usize,
    /// When the last turn was, in ms.
    last_turn: u64,
    /// The events that the kernel told of and that were not served yet.
    events: VecDeque<(ConnId, Ready)>,
    /// Those that met nobody.
    pub(super) stale: u64,
    /// How often this thread's worlds had panicked before this one began.
    pub(super) thrown_before: u64,
    pub(super) has_stopped: bool,
    /// Connections handed over by the main reactor.
    pub(super) offered: u64,
    /// This thread is the reactor's until the world ends.
    _stay: Stay,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        fail_next_session(false);
        let mut random = Random::new(seed);
        let plan = Rc::new(Plan::draw(&mut random));
        let listeners = plan.kinds.iter().map(|kind| kind.listener()).collect();
        let (mut core, stay) =
            Parts::new(listeners, plan.options.clone(), Vec::new()).expect("parts").into_core();
        // Turned by the world alone, and so far ahead that the system's clock never catches up.
        core.clock.advance(core.shared.origin + Duration::from_millis(plan.age));
        core.connections.begin_at(Sequence(plan.first_sequence));
        let model = Rc::new(RefCell::new(Model::default()));
        let kernel = Rc::new(RefCell::new(Kernel::new(random.next(), plan.habits)));
        let calls = Calls(Rc::clone(&kernel));
        core.io = Io::Simulated(Box::new(calls.clone()));
        core.workshop.masks = Masks::seeded(seed);
        let poster = Poster::new(Handle::new(std::sync::Arc::clone(&core.shared)));
        let actor = Actor::new(&plan, &model, &calls, poster, random.next());
        let reactor = SubReactor::new(actor, core, None);
        let to_come = plan.connections;
        World {
            seed,
            plan,
            random,
            model,
            kernel,
            reactor,
            turn: 0,
            to_come,
            idle_turns: 0,
            idle_wakes: 0,
            last_turn: 0,
            events: VecDeque::new(),
            stale: 0,
            thrown_before: wire::thrown(),
            has_stopped: false,
            offered: 0,
            _stay: stay,
        }
    }

    /// From the first connection to the last; a number that tells what happened.
    pub(super) fn run(mut self) -> u64 {
        for step in 0..self.plan.steps {
            if self.plan.stops_at == Some(step) {
                self.stop();
            }
            if self.plan.drains_at == Some(step) {
                self.drain();
            }
            self.step();
            if self.has_stopped {
                break;
            }
        }
        if self.model.borrow().is_stopping {
            self.run_until(40, |world| world.has_stopped, World::step);
        } else {
            self.wind_up();
        }
        self.check_the_end();
        let (kernel, model) = (self.kernel.borrow().trace, self.model.borrow().trace);
        kernel.number() ^ model.number().rotate_left(1)
    }

    /// Everybody behaves from now on, and everything comes to its end.
    fn wind_up(&mut self) {
        self.model.borrow_mut().is_calm = true;
        self.kernel.borrow_mut().calm_down();
        self.to_come = 0;
        let is_empty = |world: &World| {
            let core = world.core();
            world.has_stopped
                || core.connections.len() == 0
                    && core.mailbox().is_empty()
                    && core.local.is_empty()
                    && world.model.borrow().estates.is_empty()
        };
        // A queue of 200,000 B leaves by 300 B at a time where the kernel's buffer is that small.
        self.run_until(20_000, is_empty, |world| {
            if world.random.one_in(4) {
                world.settle_estates();
                world.let_all_go();
            }
            world.step();
        });
        // What the reactor has put off until nobody is there.
        self.run_until(1_000, |world| world.has_stopped || world.core().wheel.is_empty(), World::step);
        self.stop();
        self.run_until(10, |world| world.has_stopped, World::step);
    }

    fn run_until(
        &mut self,
        most: usize,
        is_done: impl Fn(&World) -> bool,
        mut go_on: impl FnMut(&mut World),
    ) {
        for _ in 0..most {
            if is_done(self) {
                return;
            }
            go_on(self);
        }
        if !is_done(self) {
            let left: Vec<String> = self.model.borrow().records.iter().map(|record| record.shown()).collect();
            self.fail(format!("does not come to an end: {left:#?}"));
        }
    }

    fn stop(&mut self) {
        self.model.borrow_mut().is_stopping = true;
        self.core().shared.stop();
    }

    /// A moment passes: in the network, in other threads, in the reactor if there is cause to wake it.
    fn step(&mut self) {
        if self.to_come > 0 && self.random.one_in(3) {
            self.accept();
        }
        self.kernel.borrow_mut().step();
        if !self.model.borrow().is_calm {
            self.ask_from_afar();
        }
        let micros = self.random.pick(&[0, 0, 0, 150, 1_000, 3_300, 20_000]);
        self.pass(Duration::from_micros(micros));
        if self.is_due() || self.random.one_in(self.plan.wakes_for_nothing) {
            return self.turn();
        }
        self.check_asleep();
        // It sleeps until the next deadline, unless something happens before.
        if self.random.one_in(3)
            && let Some(wait) = self.core().until_next_deadline()
        {
            let over = Duration::from_micros(self.random.pick(&[0, 0, 400, 60_000]));
            let most = if self.plan.is_gentle { Duration::from_secs(5) } else { Duration::MAX };
            self.pass(wait.saturating_add(over).min(most));
        }
    }

    /// As the main reactor does: within the bounds on the number of connections, and with a look at who comes.
    fn accept(&mut self) {
        self.to_come -= 1;
        let listener = ListenerId(self.random.below(self.plan.kinds.len()) as u16);
        let kind = self.plan.kinds[usize::from(listener.0)].clone();
        let is_proxied = kind.proxies && !self.random.one_in(4);
        let now = self.core().clock.now();
        let newcomer = Newcomer { kind, listener: Some(listener), is_proxied, now };
        let index = introduce(&self.model, &self.kernel, &mut self.random, &self.plan, newcomer);
        let is_unix = self.kernel.borrow().sockets[index].is_unix;
        let peer = Some(address(index, is_proxied));
        let mut accepted =
            Accepted { fd: None, peer, listener, is_unix, is_counted: false, is_proxied: false };
        if !self.core().shared.admits(&mut accepted) {
            self.kernel.borrow_mut().sockets[index].close(false);
            return self.model.borrow_mut().records[index].is_shed();
        }
        if accepted.is_proxied != is_proxied {
            self.fail(format!("from a proxy: {}, not {is_proxied}", accepted.is_proxied));
        }
        self.offered += 1;
        self.kernel.borrow_mut().handed_over.push_back(index);
        let here = &self.core().shared.reactors[0];
        here.load.fetch_add(1, Ordering::Relaxed);
        here.put(Command::Accepted(accepted));
        // Where a limit may be met, too, one could not tell who is closed without a word, and why.
        let may_fail = self.plan.panics && self.plan.options.max_per_address.is_none();
        if may_fail && self.random.one_in(10) {
            self.model.borrow_mut().sessions_failed += 1;
            fail_next_session(true);
        }
    }

    fn pass(&mut self, time: Duration) {
        let core = &mut self.reactor.stage.core;
        core.clock.advance(core.clock.now() + time);
    }

    /// Whether the reactor does not sleep, or is woken.
    fn is_due(&self) -> bool {
        let (reactor, core) = (&self.reactor, self.core());
        let has_work = reactor.has_more_commands || reactor.has_more_timers || core.has_work();
        has_work
            || !core.mailbox().is_empty()
            || !self.events.is_empty()
            || self.kernel.borrow().has_events()
            || core.until_next_deadline() == Some(Duration::ZERO)
    }

    /// One turn of the reactor, in its own order.
    fn turn(&mut self) {
        self.turn += 1;
        let (turn, now) = (self.turn, self.core().clock.tick().as_u64());
        self.kernel.borrow_mut().trace.note(format_args!("turn {turn} at {now} ms"));
        let (before, was_due) = (self.progress(), self.is_due());
        if self.events.is_empty() {
            self.events = self.kernel.borrow_mut().wait(self.plan.batch).into();
        }
        let slice = self.plan.slice.min(self.events.len());
        let had_events = slice > 0;
        if self.random.one_in(4) {
            // As in a turn that has lasted long.
            self.reactor.buffer.bind(1 + self.random.below(6000));
        }
        for (id, ready) in self.events.drain(..slice) {
            let core = &self.reactor.stage.core;
            self.stale += u64::from(core.connections.id(id.key()) != Some(id));
            self.reactor.stage.serve(id, ready.told(), &mut self.reactor.buffer);
        }
        self.reactor.buffer.unbind();
        self.ring();
        self.reactor.has_more_events = !self.events.is_empty();
        self.reactor.looks += u64::from(self.events.is_empty() && !self.kernel.borrow().has_events());
        let goes_on = self.reactor.work();
        self.has_stopped = !goes_on;
        let is_idle = !had_events && was_due && before == self.progress();
        self.idle_wakes = if is_idle { self.idle_wakes + 1 } else { 0 };
        self.idle_turns = if is_idle && now == self.last_turn { self.idle_turns + 1 } else { 0 };
        self.last_turn = now;
        self.look();
        self.check_turn();
    }

    /// Whatever shows that something happened.
    fn progress(&self) -> (u64, u64, u64) {
        let core = self.core();
        let done = core.stats.commands + core.stats.closed + core.stats.late_commands;
        (self.kernel.borrow().calls, self.model.borrow().callbacks, done)
    }

    /// Looks at what became of everything in this turn.
    fn look(&mut self) {
        name_the_new(self.core(), &self.model, &self.kernel);
        let now = self.core().clock.now();
        let model = &mut *self.model.borrow_mut();
        let kernel = &mut *self.kernel.borrow_mut();
        for index in kernel.read_from.drain(..) {
            model.records[index].active = now;
        }
        for index in kernel.taken_from.drain(..) {
            model.records[index].taken_at = now;
            if model.records[index].kind.heartbeat().is_none() {
                model.records[index].active = now;
            }
        }
        for (index, socket) in kernel.sockets.iter_mut().enumerate() {
            let record = &mut model.records[index];
            record.resumed_in = None;
            if let (Some(fault), Some(id)) =
                (socket.seal.as_mut().and_then(|seal| seal.fault.take()), record.id)
            {
                model.fail(id, format!("the peer's TLS says: {fault}"));
                continue;
            }
            if socket.fin_said {
                record.fin_at.get_or_insert(now);
            }
            if let (Some(end), Some(heir)) = (record.end, &record.heir) {
                let is_fit = match heir.get() {
                    Fate::Waits => false,
                    Fate::Inherited => end.reason == CloseReason::Detached,
                    Fate::Passed => end.reason != CloseReason::Detached,
                };
                if let (Some(id), false) = (record.id, is_fit) {
                    let what = format!("closed: {}, and its heir: {:?}", end.reason, heir.get());
                    model.fail(id, what);
                    continue;
                }
            }
            if socket.closed.is_some() && record.end.is_none() && record.may_be_shed(&self.plan) {
                record.is_shed();
                model.shed_late += 1;
                continue;
            }
            if record.end.is_some() && !std::mem::replace(&mut record.is_settled, true) {
                settle_accounts(model, index, socket, &self.plan);
            } else if let Some(id) = record.id {
                let outcome = record.hear(&socket.taken);
                socket.taken.clear();
                model.check(id, outcome);
            }
        }
    }

    /// Whether an event for it waits to be served.
    pub(super) fn is_to_be_told(&self, socket: &Socket) -> bool {
        self.events.iter().any(|(id, _)| Some(*id) == socket.id)
    }

    pub(super) fn core(&self) -> &Core {
        &self.reactor.stage.core
    }

    pub(super) fn fail(&self, what: impl AsRef<str>) -> ! {
        panic!("seed {}, turn {}: {}", self.seed, self.turn, what.as_ref())
    }

    /// Those that are not closed yet, by the record's number.
    pub(super) fn living(&self) -> Vec<(usize, ConnId)> {
        let model = self.model.borrow();
        let records = model.records.iter().enumerate();
        let living = records.filter(|(_, record)| record.life != Life::Closed);
        living.filter_map(|(index, record)| Some((index, record.id?))).collect()
    }
}
