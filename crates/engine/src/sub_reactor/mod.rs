//! The event loop of a sub-reactor.

use std::{
    io::ErrorKind,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use mio::{Events, Token};
use wheelhouse_wheel::{Progress, Wheel};

mod account;
mod answer;
mod begin;
mod bounds;
mod broadcast;
mod by_hand;
mod change;
mod close;
mod compress;
mod core;
mod cork;
mod deadlines;
mod dial;
mod due;
mod frames;
mod handshake;
mod kept;
mod mass;
mod pace;
mod read;
mod read_buffer;
mod sealed;
mod sealing;
mod send;
mod serve;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod sizes;
mod stage;
mod stop;
mod storage;
mod upgrade;
mod workshop;
mod write;

use self::{
    bounds::{
        EVENTS, LATE_ROOM, MOST_EVENTS, MUCH, PIECE, TIDY_AFTER, TIMERS, TURN, WHEEL_STEPS, WORTH_TRIMMING,
    },
    due::Due,
    read_buffer::ReadBuffer,
    stage::Stage,
};
pub(crate) use self::{core::Core, serve::Readiness, stage::Job, workshop::Contexts};
use crate::{
    ConnId, Handler,
    accept::{Acceptor, RETRY, Round},
    clock::Clock,
    mailbox::Command,
    main_reactor::{WAKER, listener_token},
    watched::Watched,
};

/// One thread's connections and its handler.
pub(crate) struct SubReactor<H: Handler> {
    stage: Stage<H>,
    buffer: ReadBuffer,
    events: Events,
    /// How many of them have been served, and whether there may be more.
    served: usize,
    has_more_events: bool,
    /// How often everything was served that the kernel told of at a time.
    looks: u64,
    /// With `reuse_port` it accepts for itself.
    acceptor: Option<Acceptor>,
    accept_put_off: bool,
    has_more_commands: bool,
    has_more_timers: bool,
    /// When it last had something to do, for who polls on for a while.
    last_busy: Instant,
}

impl<H: Handler> SubReactor<H> {
    pub(crate) fn new(handler: H, core: Core, acceptor: Option<Acceptor>) -> Self {
        let options = core.options();
        SubReactor {
            buffer: ReadBuffer::new(options.read_buffer),
            events: Events::with_capacity(options.event_batch),
            served: 0,
            has_more_events: false,
            looks: 0,
            stage: Stage::new(handler, core),
            acceptor,
            accept_put_off: false,
            has_more_commands: false,
            has_more_timers: false,
            last_busy: Instant::now(),
        }
    }

    /// Runs until the engine is told to stop and the last connection is gone.
    pub(crate) fn run(mut self) {
        if let Some(acceptor) = &self.acceptor
            && let Err(error) = acceptor.register(self.stage.core.poll.registry(), listener_token)
        {
            tracing::error!(%error, "cannot watch the listeners; stopping the engine");
            self.stage.core.shared.stop();
        }
        self.begin();
        while self.turn() {}
        self.end();
    }

    fn begin(&mut self) {
        self.stage.core.clock.read();
        self.stage.call_reactor(|handler, reactor| handler.on_start(reactor));
    }

    fn end(&mut self) {
        self.stage.call_reactor(|handler, reactor| handler.on_stop(reactor));
        let core = &self.stage.core;
        core.shared.reactors[core.id.index()].close();
        // What was still to come due never does.
        self.stage.core.wheel = Wheel::new(self.stage.core.clock.tick());
        self.stage.core.publish();
    }

    /// One turn: sleep until something happens, serve it, and leave nothing half done. False when it was the last.
    fn turn(&mut self) -> bool {
        if !self.has_more_events {
            self.sleep();
        }
        self.stage.core.clock.read();
        if !self.events.is_empty() {
            self.last_busy = self.stage.core.clock.now();
        }
        self.serve_events();
        self.work()
    }

    /// What a turn does when its events are served.
    fn work(&mut self) -> bool {
        self.stage.serve_ready(&mut self.buffer);
        if !self.stage.core.put_off.is_empty() {
            self.stage.serve_put_off(&mut self.buffer);
        }
        self.accept();
        self.serve_commands();
        self.fire_timers();
        if !self.stage.core.adopted.is_empty() {
            self.stage.open_adopted();
        }
        if self.stage.core.draining.is_some() {
            self.advance_drain();
        }
        if !self.stage.core.masses.is_empty() {
            self.stage.core.advance_mass();
        }
        self.stage.end_turn();
        self.announce_room();
        if self.stage.core.draining.is_some() {
            self.stage.core.stop_if_drained();
        }
        !self.stage.core.is_stopped()
    }

    /// Waits for an event, the next deadline or a command; not at all while there is work.
    fn sleep(&mut self) {
        let core = &mut self.stage.core;
        let has_work = self.has_more_commands || self.has_more_timers || core.has_work();
        let accepts = !self.accept_put_off && self.acceptor.as_ref().is_some_and(Acceptor::is_ready);
        let now = core.clock.now();
        let spins = core.options().busy_poll.is_some_and(|time| now - self.last_busy < time);
        let timeout = match has_work || accepts || spins || !core.mailbox().fall_asleep() {
            true => Some(Duration::ZERO),
            false => core.until_next_deadline(),
        };
        let polled = core.poll.poll(&mut self.events, timeout);
        core.mailbox().stay_awake();
        if let Err(error) = polled
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!(%error, "a reactor cannot poll; stopping the engine");
            core.shared.stop();
        }
    }

    fn serve_events(&mut self) {
        let (mut events, mut served) = (self.events.iter(), 0);
        if self.served > 0 {
            events.nth(self.served - 1);
        }
        for event in events {
            served += 1;
            match event.token() {
                WAKER => {}
                token => match id_of(token) {
                    Some(id) => self.stage.serve(id, Readiness::from(event), &mut self.buffer),
                    None if Watched::has(token) => self.stage.serve_watched(token),
                    None => {
                        if let Some(acceptor) = &mut self.acceptor {
                            acceptor.set_ready(token.0 - 1);
                        }
                    }
                },
            }
            if served == EVENTS {
                break;
            }
            if !self.stage.core.goes_on(served) {
                self.buffer.bind(LATE_ROOM);
            }
        }
        self.buffer.unbind();
        self.served += served;
        let capacity = self.events.capacity();
        self.has_more_events = served == EVENTS && self.served < capacity;
        if self.has_more_events {
            return;
        }
        if self.served < capacity {
            self.looks += 1;
        } else if capacity < MOST_EVENTS {
            // A full list leaves the quiet ones waiting, and the kernel shrinks their windows.
            self.stage.core.stats.full_batches += 1;
            self.events = Events::with_capacity((2 * capacity).min(MOST_EVENTS));
        }
        self.served = 0;
    }

    fn accept(&mut self) {
        let Some(acceptor) = self.acceptor.as_mut().filter(|acceptor| acceptor.is_ready()) else { return };
        if self.accept_put_off || self.stage.core.stopping {
            return;
        }
        let shared = Arc::clone(&self.stage.core.shared);
        let here = &shared.reactors[self.stage.core.id.index()];
        let (clock, stage) = (self.stage.core.clock, &mut self.stage);
        let round = acceptor.accept(
            |accepted| goes_on(&clock, accepted),
            |accepted| shared.admits(accepted),
            |accepted| {
                here.load.fetch_add(1, Ordering::Relaxed);
                stage.admit(accepted);
            },
        );
        acceptor.trouble.move_to(&mut self.stage.core.stats);
        if round == Round::Failed {
            self.accept_put_off = true;
            self.stage.core.schedule_chore(Due::Accept, RETRY);
        }
    }

    /// What callbacks asked for through a `Handle`, then what other threads did.
    #[inline]
    fn serve_commands(&mut self) {
        self.has_more_commands = false;
        if !(self.stage.core.local.is_empty() && self.stage.core.mailbox().is_empty()) {
            self.has_more_commands = self.stage.serve_commands();
            self.last_busy = self.stage.core.clock.now();
        }
    }

    /// Tells those whom the mailbox has refused, when all that gives places back in a turn is done.
    #[inline]
    fn announce_room(&mut self) {
        self.stage.core.mailbox().announce_room(|reactor| {
            let shared = &self.stage.core.shared;
            shared.reactors[reactor.index()].put(Command::Room(self.stage.core.id));
        });
    }

    fn fire_timers(&mut self) {
        let core = &mut self.stage.core;
        let now = core.clock.tick();
        self.has_more_timers = false;
        if core.wheel.is_empty() || core.wheel.next().is_none_or(|next| next > now) {
            return;
        }
        let progress = core.wheel.advance(now, WHEEL_STEPS);
        let mut fired = 0;
        let mut goes_on = true;
        while goes_on && let Some(due) = self.stage.core.wheel.pop_due() {
            fired += 1;
            match due.value {
                Due::Accept => self.accept_put_off = false,
                due => self.stage.fire(due),
            }
            goes_on = fired < TIMERS && self.stage.core.goes_on(fired);
        }
        self.has_more_timers = !goes_on || progress == Progress::More;
    }

    /// Brings a drain further: what waits to be accepted first, and what it has sent by then; then the handler is told, then
    /// it is a matter of waiting. What the handler asks for leaves at the end of the turn.
    pub(super) fn advance_drain(&mut self) {
        let Some(mut draining) = self.stage.core.draining else { return };
        if let Some(acceptor) = &mut self.acceptor {
            if !acceptor.is_closing() {
                acceptor.close_the_doors();
            }
            if acceptor.is_ready() {
                return;
            }
            self.acceptor = None;
        }
        if draining.is_told {
            return;
        }
        // What the kernel is still to tell of after this turn, behind the rest of what it has told.
        let now = self.looks + u64::from(self.has_more_events);
        let looked = *draining.looked.get_or_insert(now);
        draining.is_told = self.looks > looked || self.stage.core.stopping;
        self.stage.core.draining = Some(draining);
        if draining.is_told {
            self.stage.call_reactor(|handler, reactor| handler.on_stopping(reactor, draining.until));
            self.stage.core.shared.accepting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Core {
    /// Whether there is time in this turn for more than the `done` pieces of a kind of work.
    #[inline]
    fn goes_on(&self, done: usize) -> bool {
        goes_on(&self.clock, done)
    }

    fn has_work(&self) -> bool {
        !(self.ready.is_empty()
            && self.put_off.is_empty()
            && self.dirty.is_empty()
            && self.writable.is_empty()
            && self.doomed.is_empty()
            && self.masses.is_empty()
            && self.local.is_empty()
            && self.adopted.is_empty()
            && self.detaching.is_empty()
            && !self.draining.is_some_and(|draining| draining.looked.is_some() && !draining.is_told))
    }

    fn until_next_deadline(&self) -> Option<Duration> {
        let next = if self.wheel.is_empty() { None } else { self.wheel.next() };
        next.map(|tick| self.clock.until(tick))
    }

    /// Shows the turn's counters to other threads, and looks ahead to tidying up.
    fn publish(&mut self) {
        self.stats.turns += 1;
        self.stats.connections = self.connections.len() as u64;
        let in_use = self.in_use();
        self.stats.buffered = in_use as u64;
        self.most = self.most.max(in_use);
        self.most_connections = self.most_connections.max(self.connections.len());
        if self.has_much_to_give_back() {
            self.plan_tidying();
        }
        self.stats.timers = self.wheel.len() as u64;
        self.shared.reactors[self.id.index()].stats.store(&self.stats);
    }

    /// Has the reactor look later at what a storm has left behind.
    fn plan_tidying(&mut self) {
        let is_worth_it =
            self.connections.has_spare_room() || self.pool.kept() > 0 || self.has_much_to_give_back();
        let is_worth_it = is_worth_it || !self.spare_linear.is_empty() || self.has_freed_heap();
        if !self.housekeeping && is_worth_it {
            self.housekeeping = true;
            self.schedule_chore(Due::Housekeeping, TIDY_AFTER);
        }
    }

    /// Whether much of the buffer memory that was once in use is free by now.
    fn has_much_to_give_back(&self) -> bool {
        self.most >= MUCH && self.in_use() < self.most / 2
    }

    /// Whether connections that had more than most took much along, and most of all connections have gone. Where as many come,
    /// the allocator has use for what it got.
    fn has_freed_heap(&self) -> bool {
        self.heap_freed >= WORTH_TRIMMING && self.connections.len() < self.most_connections / 2
    }

    fn shrink_lists(&mut self) {
        for list in [&mut self.ready, &mut self.put_off, &mut self.dirty, &mut self.writable] {
            list.shrink_to(1024);
        }
        self.doomed.shrink();
        self.holding.shrink_to(1024);
    }
}

#[inline]
fn goes_on(clock: &Clock, done: usize) -> bool {
    !done.is_multiple_of(PIECE) || !clock.is_past(TURN)
}

/// A connection's token is its id; the waker's and the listeners' are below all ids.
fn id_of(token: Token) -> Option<ConnId> {
    ConnId::from_u64(token.0 as u64)
}
