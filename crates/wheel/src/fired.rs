//! What comes out of a wheel.

use crate::key::TimerKey;
use crate::tick::Tick;

/// An entry whose tick has come, as [`Wheel::pop_due`](crate::Wheel::pop_due) hands it out.
///
/// ```
/// use wheelhouse_wheel::{Fired, Tick, Wheel};
///
/// let mut wheel = Wheel::new(Tick::new(0));
/// let key = wheel.schedule(Tick::new(3), 'a');
/// let _ = wheel.advance(Tick::new(10), usize::MAX);
///
/// assert_eq!(wheel.pop_due(), Some(Fired { key, deadline: Tick::new(3), value: 'a' }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired<T> {
    /// The name the entry had: spent now, good only to compare with the one that was kept.
    pub key: TimerKey,
    /// The tick it was scheduled for, which may lie well before the wheel's.
    pub deadline: Tick,
    /// What was scheduled.
    pub value: T,
}
