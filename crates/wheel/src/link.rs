//! What stands beside an entry in its list.

use crate::key::TimerKey;

/// What stands next to an entry in its list: another entry, or the end of the list with that list's name.
///
/// An end knows its list, so no entry in between has to: unlinking needs no field for it, and a whole list
/// changes hands by rewriting its two ends.
///
/// ```text
/// 0iii iiii .. iiii   the entry at index i
/// 1ppp pppp .. pppp   the end of list p
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link(u32);

/// A [`Link`], read.
pub(crate) enum Neighbour {
    Entry(TimerKey),
    End(usize),
}

impl Link {
    const END: u32 = 1 << 31;

    /// No list has this name: it marks an entry that is on none.
    pub(crate) const VACANT: Self = Self(u32::MAX);

    #[inline]
    pub(crate) const fn end_of(list: usize) -> Self {
        Self(Self::END | list as u32)
    }

    #[inline]
    pub(crate) fn to(key: TimerKey) -> Self {
        debug_assert!(key.index() & Self::END == 0, "{key:?} is too large for a link");
        Self(key.index())
    }

    #[inline]
    pub(crate) fn entry(self) -> Option<TimerKey> {
        if self.0 & Self::END == 0 { TimerKey::from_index(self.0) } else { None }
    }

    #[inline]
    pub(crate) fn neighbour(self) -> Neighbour {
        match self.entry() {
            Some(key) => Neighbour::Entry(key),
            None => Neighbour::End((self.0 & !Self::END) as usize),
        }
    }
}
