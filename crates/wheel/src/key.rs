//! The name of a scheduled entry.

use std::fmt;
use std::num::NonZeroU32;

/// Names one entry of one [`Wheel`](crate::Wheel), from `schedule` until it is spent.
///
/// A key is spent once its entry is cancelled or handed out; moving the entry does not spend it. What a
/// spent key does is checked as far as it costs nothing: while its place is vacant it names nothing, and
/// every method says so. But places are used again, and then the same key names the entry that moved
/// in. Forget a key when it is spent: that is the caller's duty.
///
/// Four bytes, and four as an `Option`. Keys are numbers given out lowest storage first, and order as such;
/// a larger key is not a later one.
///
/// ```
/// use wheelhouse_wheel::{Tick, TimerKey, Wheel};
///
/// struct Connection {
///     deadline: Option<TimerKey>,
/// }
///
/// let mut wheel = Wheel::new(Tick::new(0));
/// let mut connection = Connection { deadline: Some(wheel.schedule(Tick::new(5), 1_u64)) };
/// assert_eq!(size_of::<Connection>(), 4);
///
/// // Taking the key out as it is spent leaves none behind to be used by mistake.
/// assert_eq!(connection.deadline.take().and_then(|key| wheel.cancel(key)), Some(1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey(NonZeroU32);

const _: () = assert!(size_of::<TimerKey>() == 4 && size_of::<Option<TimerKey>>() == 4);

impl TimerKey {
    #[inline]
    pub(crate) fn from_index(index: u32) -> Option<Self> {
        NonZeroU32::new(index).map(Self)
    }

    /// Where the entry lies in its storage. Index 0 is never given out.
    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Debug for TimerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerKey({})", self.0)
    }
}
