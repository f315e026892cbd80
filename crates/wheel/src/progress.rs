//! How far an advance got.

/// Whether [`Wheel::advance`](crate::Wheel::advance) got to where it was sent.
///
/// ```
/// use wheelhouse_wheel::{Progress, Tick, Wheel};
///
/// let mut wheel = Wheel::new(Tick::new(0));
/// wheel.schedule(Tick::new(1), 'a');
/// wheel.schedule(Tick::new(2), 'b');
///
/// assert_eq!(wheel.advance(Tick::new(2), 1), Progress::More);
/// assert_eq!(wheel.now(), Tick::new(1));
/// assert_eq!(wheel.advance(Tick::new(2), 1), Progress::Done);
/// assert_eq!(wheel.now(), Tick::new(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a wheel that did not get there must be advanced again"]
pub enum Progress {
    /// The wheel stands at the tick asked for: all that is due can be popped.
    Done,
    /// The budget ran out first. Call again, with the same tick or a later one.
    More,
}
