//! A drain: nobody is turned away who has come before it, everybody who is there may end of himself, and then it is over.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    actor::Actor,
    arrivals::name_the_new,
    model::{Life, Record},
    world::World,
};
use crate::{Reactor, mailbox::Command};

/// A drain that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    within: Duration,
    asked: Instant,
    /// What the handler was told.
    pub(super) until: Option<Instant>,
}

/// Later than this a drain that is over, or out of time, does not end.
const LATE: Duration = Duration::from_millis(2);

impl World {
    /// As the main reactor does when it has closed the listeners: behind those that it has handed over.
    pub(super) fn drain(&mut self) {
        self.to_come = 0;
        let (within, asked) = (self.plan.drains_within, self.core().clock.now());
        self.model.borrow_mut().drain = Some(Drain { within, asked, until: None });
        self.core().shared.reactors[0].put(Command::Drain(within));
    }

    /// After each turn: the engine stops by itself when there is cause for it, and then it does.
    pub(super) fn check_drain(&self) -> Result<(), String> {
        let (core, mut model) = (self.core(), self.model.borrow_mut());
        let stops = core.shared.stopping.load(Ordering::Acquire);
        let is_new = stops && !std::mem::replace(&mut model.is_stopping, stops);
        let Some(Drain { within, asked, until }) = model.drain else {
            return if is_new { Err("it stops, and nobody asked for it".into()) } else { Ok(()) };
        };
        let now = core.clock.now();
        let count = core.shared.count();
        let is_empty = count == 0 && core.mailbox().is_empty() && !core.has_work();
        let is_time_up = now >= until.unwrap_or(asked + within);
        if is_new && !is_time_up && !(until.is_some() && count == 0) {
            return Err(format!("it stops with {count} connections, {:?} after {asked:?}", now - asked));
        }
        let Some(until) = until.filter(|_| !stops) else { return Ok(()) };
        if is_empty {
            return Err("all have left, and it does not stop".into());
        }
        match now.saturating_duration_since(until) > LATE && !self.reactor.has_more_timers {
            true => Err(format!("it should have stopped at {until:?}, and has {count} connections")),
            false => Ok(()),
        }
    }
}

impl Actor {
    /// `on_stopping`.
    pub(super) fn meet_drain(&mut self, reactor: &mut Reactor<'_>, until: Instant) {
        let mut model = self.model.borrow_mut();
        let may_lack = model.sessions_failed;
        let is_left = |record: &&Record| record.life == Life::Admitted && record.id.is_none();
        let left = model.records.iter().filter(is_left).count();
        match &mut model.drain {
            Some(drain) if drain.until.is_none() => {
                let least = drain.asked + drain.within;
                drain.until = Some(until);
                if until < least || until > reactor.now() + drain.within {
                    model.fail_at_large(format!("told to stop at {until:?}, and not {least:?} at least"));
                }
            }
            _ => model.fail_at_large("told of a drain twice, or of one that nobody asked for"),
        }
        if left > may_lack && !model.is_stopping {
            model.fail_at_large(format!("{left} had come before, and are not served"));
        }
    }

    pub(super) fn finish_all(&mut self, reactor: &mut Reactor<'_>) {
        reactor.finish_all();
        name_the_new(reactor.core, &self.model, &self.kernel);
        for record in &mut self.model.borrow_mut().records {
            // What is adopted by a handle in this callback comes before, and has no name yet.
            let is_there = record.id.is_some() || record.carrier.is_some();
            record.was_finished |= is_there && record.life != Life::Closed;
        }
    }
}
