//! The wheel: what to schedule on, and what turns.

use std::fmt;

use crate::entries::Entries;
use crate::fired::Fired;
use crate::key::TimerKey;
use crate::level::{level_of, slot_of, slot_start};
use crate::lists::{ListId, Lists};
use crate::progress::Progress;
use crate::tick::Tick;

/// A hierarchical timing wheel, holding values of type `T` until the tick they were scheduled for.
///
/// Eleven levels of 64 slots; one slot is as long as the whole level below:
///
/// ```text
/// level  one slot lasts            with ticks of 1 ms   the level reaches
///   0    1 tick                    1 ms                 64 ms
///   1    64 ticks                  64 ms                4 s
///   2    4096 ticks                4.1 s                4 min 22 s
///   3    2^18 ticks                4 min 22 s           4 h 40 min
///   4    2^24 ticks                4 h 40 min           12 days
///   5    2^30 ticks                12 days              2 years
///   ..
///  10    2^60 ticks                36 million years     the last tick of a u64
///
/// level 0  .....v..#..#......#...    v  where `now` is: nothing lies behind it
/// level 1  ..v......#...#........    #  a slot with entries, a list: on level 0 they come due as `now`
/// level 2  .......v.....#........       reaches the slot, elsewhere they move to lower levels
///
/// advance -> due: o - o - o - o -> pop_due, one at a time
/// ```
///
/// Scheduling, cancelling and moving an entry take constant time, and allocate only where more entries
/// are held than ever before (or since [`shrink`](Self::shrink)). An entry of a `u64` takes 24 bytes, and
/// moves through at most one list per level on its way down.
///
/// # Order
///
/// Entries are handed out in the order of their ticks; those of one tick in the order in which they were
/// scheduled or last moved. An entry scheduled for a tick that had already passed counts as one for the
/// tick at which the wheel stood ([`now`](Self::now)). None is handed out early.
///
/// # Threads
///
/// A wheel belongs to one thread at a time: no locks, no interior mutability.
///
/// ```
/// use wheelhouse_wheel::{Progress, Tick, Wheel};
///
/// let mut wheel = Wheel::new(Tick::new(0));
/// wheel.schedule(Tick::new(250), "ping");
/// let close = wheel.schedule(Tick::new(300), "close");
///
/// while wheel.advance(Tick::new(250), 1_000) == Progress::More {}
/// while let Some(fired) = wheel.pop_due() {
///     assert_eq!(fired.value, "ping");
///     // Between two entries the wheel is free to be changed.
///     wheel.reschedule(close, Tick::new(900));
///     wheel.schedule(Tick::new(500), "ping");
/// }
/// assert_eq!(wheel.len(), 2);
/// ```
pub struct Wheel<T> {
    now: u64,
    /// While a slot is being taken apart: its level. A new entry for a lower level would overtake those of
    /// the same tick that still wait in [`ListId::CASCADE`], so it queues behind them. Otherwise 0.
    cascading: usize,
    lists: Lists,
    entries: Entries<T>,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel that stands at `origin`. It takes 6 KB, and nothing on the heap before the first
    /// entry.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let wheel: Wheel<u64> = Wheel::new(Tick::new(0));
    /// assert!(wheel.memory() < 6 * 1024);
    /// ```
    #[must_use]
    pub fn new(origin: Tick) -> Self {
        Self { now: origin.as_u64(), cascading: 0, lists: Lists::new(), entries: Entries::new() }
    }

    /// Holds `value` until the tick `at`. Any tick will do: there is no horizon.
    ///
    /// Where `at` is [`now`](Self::now) or earlier, the entry comes due with the next
    /// [`advance`](Self::advance), not before: what reschedules itself for "now" does not fire
    /// twice between two calls of it.
    ///
    /// # Panics
    ///
    /// With 2^31 - 1 entries in the wheel (51 GB of them).
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(100));
    /// let key = wheel.schedule(Tick::new(40), 'a');
    ///
    /// assert_eq!(wheel.pop_due(), None);
    /// assert_eq!(wheel.next(), Some(Tick::new(100)));
    /// let _ = wheel.advance(Tick::new(100), usize::MAX);
    /// assert_eq!(wheel.pop_due().map(|fired| fired.key), Some(key));
    /// ```
    #[inline]
    pub fn schedule(&mut self, at: Tick, value: T) -> TimerKey {
        let key = self.entries.insert(at.as_u64(), value);
        let list = self.list_for(at.as_u64());
        self.lists.push(&mut self.entries, list, key);
        key
    }

    /// Takes an entry out before it is handed out, due already or not. The key is spent.
    ///
    /// `None` where the key names nothing; see [`TimerKey`] for what a spent key may do instead.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// let key = wheel.schedule(Tick::new(9), 'a');
    ///
    /// let _ = wheel.advance(Tick::new(9), usize::MAX);
    /// assert_eq!(wheel.cancel(key), Some('a'));
    /// assert_eq!(wheel.cancel(key), None);
    /// assert_eq!(wheel.pop_due(), None);
    /// ```
    #[inline]
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let entry = *self.entries.lookup(key)?;
        self.lists.unlink(&mut self.entries, entry.prev, entry.next);
        self.entries.remove(key);
        Some(entry.value)
    }

    /// Moves an entry to another tick, due already or not. The key stays good, and the entry takes its
    /// place in the [order](Self#order) as if scheduled now.
    ///
    /// `false`, and nothing is done, where the key names nothing.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// let idle = wheel.schedule(Tick::new(30_000), 'a');
    ///
    /// assert!(wheel.reschedule(idle, Tick::new(60_000)));
    /// assert_eq!(wheel.deadline(idle), Some(Tick::new(60_000)));
    /// ```
    #[inline]
    pub fn reschedule(&mut self, key: TimerKey, at: Tick) -> bool {
        let Some(&entry) = self.entries.lookup(key) else { return false };
        self.lists.unlink(&mut self.entries, entry.prev, entry.next);
        self.entries.at(key).deadline = at.as_u64();
        let list = self.list_for(at.as_u64());
        self.lists.push(&mut self.entries, list, key);
        true
    }

    /// The tick an entry was scheduled for, exactly as given; `None` where the key names nothing.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(100));
    /// let key = wheel.schedule(Tick::new(40), 'a');
    /// assert_eq!(wheel.deadline(key), Some(Tick::new(40)));
    /// ```
    #[inline]
    #[must_use]
    pub fn deadline(&self, key: TimerKey) -> Option<Tick> {
        self.entries.lookup(key).map(|entry| Tick::new(entry.deadline))
    }

    /// What an entry holds; `None` where the key names nothing.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// let key = wheel.schedule(Tick::new(1), 'a');
    /// assert_eq!(wheel.value(key), Some('a'));
    /// ```
    #[inline]
    #[must_use]
    pub fn value(&self, key: TimerKey) -> Option<T> {
        self.entries.lookup(key).map(|entry| entry.value)
    }

    /// The earliest tick at which there is something to do, which is when to wake up; `None` for an empty
    /// wheel, which never has to.
    ///
    /// [`now`](Self::now) itself means that work is waiting: entries to pop, or an `advance` to call again.
    /// In the block of 64 ticks in which the wheel stands the answer is the tick of the next entry. For an
    /// entry beyond that it may be earlier, the tick at which the entry moves down a level: whoever sleeps
    /// until `next` wakes for that at most once a level. It is never later.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// assert_eq!(wheel.next(), None);
    /// wheel.schedule(Tick::new(100), 'a');
    /// assert_eq!(wheel.next(), Some(Tick::new(64)));
    ///
    /// let _ = wheel.advance(Tick::new(64), usize::MAX);
    /// assert_eq!(wheel.next(), Some(Tick::new(100)));
    /// ```
    #[inline]
    #[must_use]
    pub fn next(&self) -> Option<Tick> {
        if !self.lists.is_empty(ListId::DUE) || !self.lists.is_empty(ListId::CASCADE) {
            return Some(self.now());
        }
        let (level, slot) = self.lists.nearest_slot()?;
        Some(Tick::new(slot_start(self.now, level, slot)))
    }

    /// Turns the wheel to `now`: what is due by then can be popped afterwards. A `now` before the wheel's
    /// own counts as the wheel's own.
    ///
    /// `budget` bounds the work of this call: the entries moved from level to level plus the slots come
    /// due, a slot counting one however many entries it holds. 0 counts as 1. When it runs out the wheel
    /// stands at `now` or short of it, all that was due before that tick can be popped, and
    /// [`next`](Self::next) is not later than `now`. A clock that jumps, however far, costs no more than
    /// the entries and slots that lie between.
    ///
    /// ```
    /// use wheelhouse_wheel::{Progress, Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// wheel.schedule(Tick::new(1 << 40), 'a');
    ///
    /// assert_eq!(wheel.advance(Tick::MAX, 64), Progress::Done);
    /// assert_eq!(wheel.pop_due().map(|fired| fired.value), Some('a'));
    /// ```
    pub fn advance(&mut self, now: Tick, budget: usize) -> Progress {
        let until = now.as_u64().max(self.now);
        let mut budget = budget.max(1);
        loop {
            budget -= self.cascade(budget);
            if !self.lists.is_empty(ListId::CASCADE) {
                return Progress::More;
            }
            self.cascading = 0;

            let nearest = self.lists.nearest_slot();
            let nearest = nearest.map(|(level, slot)| (level, slot, slot_start(self.now, level, slot)));
            let Some((level, slot, start)) = nearest.filter(|&(.., start)| start <= until) else {
                self.now = until;
                return Progress::Done;
            };
            if budget == 0 {
                return Progress::More;
            }
            self.turn_to(level, slot, start);
            budget -= usize::from(level == 0);
        }
    }

    /// Hands out the next entry that is due, or `None` when no more are. Its key is spent.
    ///
    /// Only [`advance`](Self::advance) makes entries due, so a loop over this ends; to serve many in
    /// slices, stop anywhere and come back. What is due and not handed out yet can still be cancelled and
    /// moved.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// for connection in 0..1_000_u64 {
    ///     wheel.schedule(Tick::new(50), connection);
    /// }
    /// let _ = wheel.advance(Tick::new(50), 1_000);
    ///
    /// for _ in 0..100 {
    ///     wheel.pop_due();
    /// }
    /// assert_eq!(wheel.len(), 900);
    /// assert_eq!(wheel.next(), Some(Tick::new(50)), "work is waiting");
    /// ```
    #[inline]
    pub fn pop_due(&mut self) -> Option<Fired<T>> {
        let key = self.lists.first(ListId::DUE)?;
        let entry = *self.entries.at(key);
        debug_assert!(entry.deadline <= self.now, "{} is due before its tick {}", self.now, entry.deadline);
        self.lists.unlink(&mut self.entries, entry.prev, entry.next);
        self.entries.remove(key);
        Some(Fired { key, deadline: Tick::new(entry.deadline), value: entry.value })
    }

    /// Where the wheel stands: the tick of its last [`advance`](Self::advance), or an earlier one if
    /// that was cut short.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel: Wheel<u64> = Wheel::new(Tick::new(7));
    /// let _ = wheel.advance(Tick::new(5), 1);
    /// assert_eq!(wheel.now(), Tick::new(7));
    /// ```
    #[inline]
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick::new(self.now)
    }

    /// Entries held, those due and not handed out yet among them.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// wheel.schedule(Tick::new(1), 'a');
    /// let _ = wheel.advance(Tick::new(1), 1);
    /// assert_eq!(wheel.len(), 1);
    /// ```
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no entry is held.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// assert!(Wheel::<u64>::new(Tick::new(0)).is_empty());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held, the wheel itself and its storage. Looks at each chunk of storage: for a gauge, not for
    /// every turn.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// for connection in 0..100_000_u64 {
    ///     wheel.schedule(Tick::new(connection), connection);
    /// }
    /// assert!(wheel.memory() < 25 * 100_000);
    /// ```
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.entries.memory()
    }

    /// Gives back the storage that stands empty, in chunks of 1,024 entries.
    ///
    /// The wheel never does so by itself, for the next burst would pay for it. New entries go where the
    /// storage is lowest, so some time after a burst its upper part stands empty; that is the time to
    /// call this. Takes one look at each chunk. Keys stay good.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// let empty = wheel.memory();
    /// let key = wheel.schedule(Tick::new(1), 1_u64);
    /// wheel.cancel(key);
    ///
    /// assert!(wheel.memory() > empty);
    /// wheel.shrink();
    /// assert_eq!(wheel.memory(), empty);
    /// ```
    pub fn shrink(&mut self) {
        self.shrink_some(usize::MAX);
    }

    /// The same of `most` chunks at most, the highest first; how many it gave back. For whoever has others to serve in
    /// between: each chunk is 24 KiB (of `u64`s), for which the allocator may ask the system.
    ///
    /// ```
    /// use wheelhouse_wheel::{Tick, Wheel};
    ///
    /// let mut wheel = Wheel::new(Tick::new(0));
    /// let keys: Vec<_> = (0..5_000_u64).map(|n| wheel.schedule(Tick::new(1), n)).collect();
    /// for key in keys {
    ///     wheel.cancel(key);
    /// }
    ///
    /// assert_eq!((wheel.shrink_some(2), wheel.shrink_some(2), wheel.shrink_some(2)), (2, 2, 1));
    /// ```
    pub fn shrink_some(&mut self, most: usize) -> usize {
        self.entries.shrink(most)
    }

    /// Moves up to `budget` entries of the slot being taken apart to where they belong from here, and
    /// says how many.
    fn cascade(&mut self, budget: usize) -> usize {
        for moved in 0..budget {
            let Some(key) = self.lists.first(ListId::CASCADE) else { return moved };
            let entry = *self.entries.at(key);
            let (level, slot) = self.slot_for(entry.deadline);
            debug_assert!(level < self.cascading, "{key:?} does not move down");
            self.lists.unlink(&mut self.entries, entry.prev, entry.next);
            self.lists.push(&mut self.entries, ListId::of_slot(level, slot), key);
        }
        budget
    }

    /// Moves the wheel to the first tick of its nearest slot, and empties the slot.
    fn turn_to(&mut self, level: usize, slot: usize, start: u64) {
        debug_assert!(self.now <= start, "the wheel stands at {}, past {start}", self.now);
        self.now = start;
        let to = if level == 0 { ListId::DUE } else { ListId::CASCADE };
        self.cascading = level;
        self.lists.append(&mut self.entries, ListId::of_slot(level, slot), to);
    }

    /// The list that a new entry for `at` goes on.
    #[inline]
    fn list_for(&self, at: u64) -> ListId {
        let (level, slot) = self.slot_for(at);
        if level < self.cascading { ListId::CASCADE } else { ListId::of_slot(level, slot) }
    }

    /// The level and slot of an entry for `at`, from where the wheel stands.
    #[inline]
    fn slot_for(&self, at: u64) -> (usize, usize) {
        let at = at.max(self.now);
        let level = level_of(self.now, at);
        (level, slot_of(at, level))
    }
}

impl<T: Copy> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Wheel");
        fields.field("now", &self.now).field("len", &self.len()).field("next", &self.next());
        fields.finish_non_exhaustive()
    }
}
