use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wheelhouse_wheel::Tick;

/// A reactor's clock: read once a turn, and the same for the whole turn. One tick is one millisecond, counted from the
/// engine's start on every reactor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    now: Instant,
    tick: Tick,
    by_hand: bool,
}

/// The low 32 bits of a tick in milliseconds, as a connection keeps it: 4 bytes, comparable over 49 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

impl Clock {
    pub(crate) fn new(origin: Instant) -> Self {
        Clock { origin, now: origin, tick: Tick::new(0), by_hand: false }
    }

    /// A clock that stands still unless somebody advances it, for tests. It knows whole milliseconds alone, and so its
    /// deadlines are exact.
    pub(crate) fn by_hand(origin: Instant) -> Self {
        Clock { by_hand: true, ..Clock::new(origin) }
    }

    /// Looks at the system's clock, once a turn.
    pub(crate) fn read(&mut self) {
        if !self.by_hand {
            self.advance(Instant::now());
        }
    }

    /// Turns the clock; it never goes back.
    pub(crate) fn advance(&mut self, now: Instant) {
        if now > self.now {
            self.now = now;
            self.tick = Tick::new(u64::try_from((now - self.origin).as_millis()).unwrap_or(u64::MAX));
            if self.by_hand {
                self.now = self.origin + Duration::from_millis(self.tick.as_u64());
            }
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Whether so much time has passed since the turn began; by hand none passes within a turn.
    pub(crate) fn is_past(&self, length: Duration) -> bool {
        !self.by_hand && self.now.elapsed() >= length
    }

    /// What the calendar says. By hand it is 1970 at first, so that an answer is the same in each run of a test.
    pub(crate) fn calendar(&self) -> SystemTime {
        match self.by_hand {
            true => UNIX_EPOCH + Duration::from_millis(self.tick.as_u64()),
            false => SystemTime::now(),
        }
    }

    pub(crate) fn tick(&self) -> Tick {
        self.tick
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.tick.as_u64() as u32)
    }

    /// Whole seconds since the engine's start.
    pub(crate) fn seconds(&self) -> u64 {
        self.tick.as_u64() / 1000
    }

    /// Milliseconds since then, at most 49 days.
    pub(crate) fn since(&self, then: Stamp) -> u32 {
        self.stamp().0.wrapping_sub(then.0)
    }

    /// The tick at which `after` has passed since `since`: never early, so a started millisecond counts as a whole one.
    pub(crate) fn tick_after(&self, since: Stamp, after: Duration) -> Tick {
        let passed = self.stamp().0.wrapping_sub(since.0);
        Tick::new((self.tick.as_u64() - u64::from(passed)).saturating_add(self.ticks(after)))
    }

    /// The tick at which `after` has passed since this very moment, which may be long after the turn began.
    pub(crate) fn tick_from_now(&self, after: Duration) -> Tick {
        let now = if self.by_hand { self.now } else { Instant::now().max(self.now) };
        let passed = now - self.origin;
        Tick::new(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX / 2).saturating_add(self.ticks(after)))
    }

    /// How long to sleep until `tick`, counted from the turn's beginning.
    pub(crate) fn until(&self, tick: Tick) -> Duration {
        let at = self.origin + Duration::from_millis(tick.as_u64());
        at.saturating_duration_since(self.now)
    }

    /// A duration in ticks, a started one counted as a whole; and one more, for the tick we are in has partly passed. By hand
    /// it has not, unless it was turned by a part of one.
    fn ticks(&self, after: Duration) -> u64 {
        let whole = u64::try_from(after.as_nanos().div_ceil(TICK_NS)).unwrap_or(u64::MAX / 2);
        let is_exact = self.by_hand && (self.now - self.origin).as_nanos().is_multiple_of(TICK_NS);
        whole + u64::from(!is_exact || whole == 0)
    }
}

const TICK_NS: u128 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_at_most_two_ticks_late() {
        let origin = Instant::now();
        let mut clock = Clock::new(origin);
        clock.advance(origin + Duration::from_micros(10_900));
        let due = clock.tick_after(clock.stamp(), Duration::from_millis(5));
        assert_eq!(due, Tick::new(16));
        assert!(clock.until(due) >= Duration::from_millis(5));
        assert!(clock.until(due) <= Duration::from_millis(7));
    }

    #[test]
    fn by_hand_a_deadline_is_met_at_its_very_millisecond() {
        let origin = Instant::now();
        let mut clock = Clock::by_hand(origin);
        clock.advance(origin + Duration::from_micros(10_900));
        assert_eq!(clock.now(), origin + Duration::from_millis(10));
        let from_now = |clock: &Clock, us| clock.tick_from_now(Duration::from_micros(us)).as_u64();
        assert_eq!(from_now(&clock, 5_000), 15);
        assert_eq!(from_now(&clock, 5_001), 16, "never early");
        assert_eq!(from_now(&clock, 0), 11, "not within the same moment");
        assert_eq!(clock.tick_after(clock.stamp(), Duration::from_millis(5)), Tick::new(15));
    }

    #[test]
    fn stamps_stay_right_over_the_wrap_of_their_32_bits() {
        let origin = Instant::now();
        let mut clock = Clock::new(origin);
        clock.advance(origin + Duration::from_millis(u64::from(u32::MAX) - 5));
        let before = clock.stamp();
        clock.advance(origin + Duration::from_millis(u64::from(u32::MAX) + 10));
        let due = clock.tick_after(before, Duration::from_millis(100));
        assert_eq!(due, Tick::new(u64::from(u32::MAX) - 5 + 101));
    }

    #[test]
    fn the_clock_never_goes_back() {
        let origin = Instant::now();
        let mut clock = Clock::new(origin);
        clock.advance(origin + Duration::from_millis(10));
        clock.advance(origin + Duration::from_millis(5));
        assert_eq!(clock.tick(), Tick::new(10));
    }
}
