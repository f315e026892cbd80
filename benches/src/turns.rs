//! How long a reactor's turns take, seen from within its callbacks.
//!
//! A reactor reads its clock once a turn, when it has slept, and `Reactor::now()` is the same for the whole turn. So
//! a callback that finds another time than the one before is the first of a new turn, and the difference is what
//! lies between the starts of both: what was done, and the sleep behind it. The engine counts its turns, which
//! tells whether one or several lie between (a turn without callbacks is not seen).
//!
//! ```text
//! turn 7                        turn 8            turn 9
//! | now() | callbacks ...  sleep | now() (no callback) | now() | callbacks ...
//!         ^ look                                        ^ look: two turns since
//! |<------------------ wall --------------------------->|
//! ```
//!
//! Two figures come of it, both for what lies between two looks, and so no turn is longer than the longest of them:
//!
//! - **CPU**: what the thread itself used between the looks (`CLOCK_THREAD_CPUTIME_ID`). Sleep is none, nor is the
//!   time in which other threads had the core: this is the turn's own length. It runs from the first callback of one
//!   turn to the first of the next: what a turn does before its first callback counts with the turn before.
//! - **wall**: from one turn's start to the other's, with the sleep and with whatever else ran on the core. On a
//!   reactor that is looked at every millisecond the sleep is 2 ms at the most.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Looks at a reactor's turns and keeps the longest.
#[derive(Debug, Default)]
pub struct Watch {
    last: Option<Look>,
    /// A turn not to be looked at: in its course the watch began.
    ignored: Option<Instant>,
    /// Callbacks since the last look.
    callbacks: u64,
    cpu: Stretch,
    wall: Stretch,
}

/// What lies between two looks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// How long it took.
    pub length: Duration,
    /// Turns in it: one at least, and none where nothing has been seen.
    pub turns: u64,
    /// Callbacks in it.
    pub callbacks: u64,
}

/// A turn's first callback.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The turn's start on the reactor's clock.
    pub begun: Instant,
    /// CPU time that the reactor's thread has used so far.
    pub cpu: Duration,
    /// Turns the reactor has ended so far.
    pub turns: u64,
}

impl Look {
    /// Taken by the thread that is looked at.
    #[must_use]
    pub fn of_this_thread(begun: Instant, turns: u64) -> Self {
        let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
        Self { begun, cpu, turns }
    }
}

impl Watch {
    /// Forgets what was seen, and begins with the turn after the one that started at `now`: in this one the reactor
    /// does what the measurement asks for.
    pub fn begin(&mut self, now: Instant) {
        *self = Self { ignored: Some(now), ..Self::default() };
    }

    /// Called first in every callback; `look` is made for the first one of a turn alone.
    #[inline]
    pub fn look(&mut self, now: Instant, look: impl FnOnce() -> Look) {
        let is_new = self.last.is_none_or(|last| last.begun != now) && self.ignored != Some(now);
        if is_new {
            self.see(look());
        }
        self.callbacks += 1;
    }

    fn see(&mut self, look: Look) {
        if let Some(last) = self.last.replace(look) {
            let of = |length| Stretch { length, turns: look.turns - last.turns, callbacks: self.callbacks };
            self.cpu.extend_to(of(look.cpu.saturating_sub(last.cpu)));
            self.wall.extend_to(of(look.begun - last.begun));
        }
        self.callbacks = 0;
    }

    /// The line the runner reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "cpu": self.cpu.to_json(), "wall": self.wall.to_json() })
    }
}

impl Stretch {
    fn extend_to(&mut self, other: Self) {
        if other.length > self.length {
            *self = other;
        }
    }

    fn to_json(self) -> Value {
        json!({ "ns": self.length.as_nanos() as u64, "turns": self.turns, "callbacks": self.callbacks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at turns given as (start, CPU, turns ended), in milliseconds.
    fn watch(turns: &[(u64, u64, u64)]) -> Watch {
        let origin = Instant::now();
        let mut watch = Watch::default();
        watch.begin(origin);
        for &(begun, cpu, turns) in turns {
            let begun = origin + Duration::from_millis(begun);
            watch.look(begun, || Look { begun, cpu: Duration::from_millis(cpu), turns });
        }
        watch
    }

    fn ms(length: u64, turns: u64, callbacks: u64) -> Stretch {
        Stretch { length: Duration::from_millis(length), turns, callbacks }
    }

    #[test]
    fn sleep_lengthens_the_wall_and_not_the_cpu() {
        let watch = watch(&[(1, 10, 1), (2, 11, 2), (9, 12, 3), (13, 16, 4)]);
        assert_eq!((watch.cpu, watch.wall), (ms(4, 1, 1), ms(7, 1, 1)));
    }

    #[test]
    fn turns_without_a_callback_are_counted_with_the_one_before() {
        assert_eq!(watch(&[(1, 10, 1), (6, 15, 4)]).cpu, ms(5, 3, 1));
    }

    #[test]
    fn later_callbacks_of_a_turn_are_counted_and_not_looked_at() {
        assert_eq!(watch(&[(1, 10, 1), (1, 50, 1), (2, 11, 2)]).cpu, ms(1, 1, 2));
    }

    #[test]
    fn the_turn_in_which_the_watch_began_is_not_in_it() {
        assert_eq!(watch(&[(0, 10, 1), (5, 80, 2), (6, 81, 3)]).cpu, ms(1, 1, 1));
    }
}
