//! Who is there, for other threads to see.

use crate::{
    ConnId,
    sync::{AtomicU32, Ordering},
    table::Table,
};

/// Which of a reactor's connections are open, readable from any thread without a lock: the sequence number of each key's
/// connection, 0 where there is none. Only the reactor writes.
pub(crate) struct Roll<const CHUNK: usize = 4096>(Table<AtomicU32, CHUNK>);

impl Roll {
    pub(crate) fn new() -> Self {
        Self::with_room_for(ConnId::MAX_KEYS as usize)
    }
}

impl<const CHUNK: usize> Roll<CHUNK> {
    /// For the keys below `keys`.
    pub(crate) fn with_room_for(keys: usize) -> Self {
        Roll(Table::with_room_for(keys))
    }

    pub(crate) fn enter(&self, id: ConnId) {
        if let Some(slot) = self.0.publish(id.key().0 as usize) {
            slot.store(id.sequence().0, Ordering::Release);
        }
    }

    pub(crate) fn leave(&self, id: ConnId) {
        if let Some(slot) = self.0.get(id.key().0 as usize) {
            slot.store(0, Ordering::Release);
        }
    }

    pub(crate) fn holds(&self, id: ConnId) -> bool {
        let slot = self.0.get(id.key().0 as usize);
        slot.is_some_and(|slot| slot.load(Ordering::Acquire) == id.sequence().0)
    }

    /// The reactor has nobody in that chunk of its keys, so that it needs no memory.
    pub(crate) fn free_chunk(&self, chunk: usize) {
        self.0.wipe(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ReactorId,
        id::{Key, Sequence},
    };

    #[test]
    fn the_roll_tells_tenants_apart() {
        let roll = Roll::new();
        let id = |sequence| ConnId::new(ReactorId(0), Key(5000), Sequence(sequence));
        assert!(!roll.holds(id(1)));
        roll.enter(id(1));
        assert!(roll.holds(id(1)) && !roll.holds(id(2)));
        roll.leave(id(1));
        assert!(!roll.holds(id(1)));
    }

    #[test]
    fn a_chunk_that_was_freed_is_written_anew() {
        let roll = Roll::new();
        let id = |key| ConnId::new(ReactorId(0), Key(key), Sequence(1));
        [4095, 4096, 8191, 8192].iter().for_each(|&key| roll.enter(id(key)));
        roll.free_chunk(1);
        roll.free_chunk(7);
        assert_eq!([4095, 4096, 8191, 8192].map(|key| roll.holds(id(key))), [true, false, false, true]);
        roll.enter(id(4096));
        assert!(roll.holds(id(4096)) && !roll.holds(id(4097)));
    }
}
