//! A point in time, counted in ticks.

use std::fmt;

/// A point in time: ticks since an origin of the caller's choice.
///
/// How long a tick lasts is the caller's business too; the wheel only compares and counts. All
/// 2^64 ticks can be scheduled: nothing wraps and no horizon clamps.
///
/// ```
/// use wheelhouse_wheel::Tick;
///
/// let opened = Tick::new(1_000);
/// let deadline = opened.saturating_add(30_000);
///
/// assert!(opened < deadline);
/// assert_eq!(deadline.as_u64(), 31_000);
/// assert_eq!(deadline.ticks_since(opened), 30_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u64);

impl Tick {
    /// The latest tick there is.
    ///
    /// ```
    /// use wheelhouse_wheel::Tick;
    ///
    /// assert_eq!(Tick::MAX.saturating_add(1), Tick::MAX);
    /// ```
    pub const MAX: Self = Self(u64::MAX);

    /// The tick `ticks` after the origin.
    ///
    /// ```
    /// use wheelhouse_wheel::Tick;
    ///
    /// assert_eq!(Tick::new(0), Tick::default());
    /// ```
    #[inline]
    #[must_use]
    pub const fn new(ticks: u64) -> Self {
        Self(ticks)
    }

    /// Ticks since the origin.
    ///
    /// ```
    /// use wheelhouse_wheel::Tick;
    ///
    /// assert_eq!(Tick::new(7).as_u64(), 7);
    /// ```
    #[inline]
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The point `ticks` later, or [`Tick::MAX`] where that lies beyond it.
    ///
    /// ```
    /// use wheelhouse_wheel::Tick;
    ///
    /// assert_eq!(Tick::new(7).saturating_add(3), Tick::new(10));
    /// assert_eq!(Tick::new(7).saturating_add(u64::MAX), Tick::MAX);
    /// ```
    #[inline]
    #[must_use]
    pub const fn saturating_add(self, ticks: u64) -> Self {
        Self(self.0.saturating_add(ticks))
    }

    /// Ticks from `earlier` to this one; 0 where `earlier` is in truth the later of the two.
    ///
    /// ```
    /// use wheelhouse_wheel::Tick;
    ///
    /// assert_eq!(Tick::new(10).ticks_since(Tick::new(7)), 3);
    /// assert_eq!(Tick::new(7).ticks_since(Tick::new(10)), 0);
    /// ```
    #[inline]
    #[must_use]
    pub const fn ticks_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
