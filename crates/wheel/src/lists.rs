//! Doubly linked lists through the entries, and which of them hold any.

use crate::entries::Entries;
use crate::key::TimerKey;
use crate::level::{LEVELS, SLOTS};
use crate::link::{Link, Neighbour};

/// Names one list: a slot of a level, or one of the two lists beside the levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ListId(u16);

impl ListId {
    /// Entries that came due and were not handed out yet.
    pub(crate) const DUE: Self = Self::of_slot(LEVELS, 0);
    /// Entries of the one slot that is being taken apart.
    pub(crate) const CASCADE: Self = Self::of_slot(LEVELS, 1);

    const COUNT: usize = LEVELS * SLOTS + 2;

    #[inline]
    pub(crate) const fn of_slot(level: usize, slot: usize) -> Self {
        Self((level * SLOTS + slot) as u16)
    }

    #[inline]
    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The ends of every list, and a bit for each that is not empty.
///
/// An empty list's first and last link are its own end, so that linking and unlinking treat the ends as
/// neighbours like any other and need no case for "only" or "none".
pub(crate) struct Lists {
    /// One word per level, one bit per slot; the word after the levels is for the lists beside them.
    occupied: [u64; LEVELS + 1],
    ends: [Ends; ListId::COUNT],
}

#[derive(Clone, Copy)]
struct Ends {
    first: Link,
    last: Link,
}

impl Lists {
    pub(crate) fn new() -> Self {
        let empty = |list| Ends { first: Link::end_of(list), last: Link::end_of(list) };
        Self { occupied: [0; LEVELS + 1], ends: std::array::from_fn(empty) }
    }

    #[inline]
    pub(crate) fn first(&self, list: ListId) -> Option<TimerKey> {
        self.ends[list.index()].first.entry()
    }

    #[inline]
    pub(crate) fn is_empty(&self, list: ListId) -> bool {
        self.first(list).is_none()
    }

    /// The lowest occupied slot of the lowest occupied level, as (level, slot).
    #[inline]
    pub(crate) fn nearest_slot(&self) -> Option<(usize, usize)> {
        let level = self.occupied[..LEVELS].iter().position(|&slots| slots != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// Links an entry that is on no list as the last of `list`.
    #[inline]
    pub(crate) fn push<T: Copy>(&mut self, entries: &mut Entries<T>, list: ListId, key: TimerKey) {
        let ends = &mut self.ends[list.index()];
        let last = std::mem::replace(&mut ends.last, Link::to(key));
        let entry = entries.at(key);
        entry.prev = last;
        entry.next = Link::end_of(list.index());
        match last.neighbour() {
            Neighbour::Entry(last) => entries.at(last).next = Link::to(key),
            Neighbour::End(end) => {
                debug_assert_eq!(end, list.index(), "an empty list that ends in another");
                ends.first = Link::to(key);
                self.occupied[end / SLOTS] |= 1 << (end % SLOTS);
            }
        }
    }

    /// Takes the entry between `prev` and `next` off the list it is on, whichever that is. Its own links stay
    /// as they are, for the caller to overwrite.
    #[inline]
    pub(crate) fn unlink<T: Copy>(&mut self, entries: &mut Entries<T>, prev: Link, next: Link) {
        match prev.neighbour() {
            Neighbour::Entry(prev) => entries.at(prev).next = next,
            Neighbour::End(list) => {
                self.ends[list].first = next;
                if next == prev {
                    self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
                }
            }
        }
        match next.neighbour() {
            Neighbour::Entry(next) => entries.at(next).prev = prev,
            Neighbour::End(list) => self.ends[list].last = prev,
        }
    }

    /// Appends all of `from` to `to`, in order, however many they are.
    pub(crate) fn append<T: Copy>(&mut self, entries: &mut Entries<T>, from: ListId, to: ListId) {
        let moved = self.ends[from.index()];
        let (Some(first), Some(last)) = (moved.first.entry(), moved.last.entry()) else { return };
        let end = Link::end_of(from.index());
        self.ends[from.index()] = Ends { first: end, last: end };
        self.occupied[from.index() / SLOTS] &= !(1 << (from.index() % SLOTS));

        let ends = &mut self.ends[to.index()];
        let before = std::mem::replace(&mut ends.last, moved.last);
        entries.at(first).prev = before;
        entries.at(last).next = Link::end_of(to.index());
        match before.neighbour() {
            Neighbour::Entry(before) => entries.at(before).next = moved.first,
            Neighbour::End(_) => ends.first = moved.first,
        }
        self.occupied[to.index() / SLOTS] |= 1 << (to.index() % SLOTS);
    }
}
