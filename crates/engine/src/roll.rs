//! Who is there, for other threads to see.

use crate::{
    ConnId,
    id::Key,
    sync::{AtomicU32, OnceLock, Ordering},
};

/// Which of a reactor's connections are open, readable from any thread without a lock: each slot's sequence number, 0 when
/// it is empty. Chunks are published once and never moved.
pub(crate) struct Roll<const CHUNK: usize = 4096>(Box<[Published<CHUNK>]>);

type Published<const CHUNK: usize> = OnceLock<Box<[AtomicU32; CHUNK]>>;

impl Roll {
    pub(crate) fn new() -> Self {
        Self::with_room_for(ConnId::MAX_KEYS as usize)
    }
}

impl<const CHUNK: usize> Roll<CHUNK> {
    /// For the keys below `keys`.
    pub(crate) fn with_room_for(keys: usize) -> Self {
        Roll((0..keys / CHUNK).map(|_| OnceLock::new()).collect())
    }

    pub(crate) fn enter(&self, id: ConnId) {
        let (chunk, slot) = place::<CHUNK>(id.key());
        let chunk = self.0[chunk].get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU32::new(0))));
        chunk[slot].store(id.sequence().0, Ordering::Release);
    }

    pub(crate) fn leave(&self, id: ConnId) {
        let (chunk, slot) = place::<CHUNK>(id.key());
        if let Some(chunk) = self.0[chunk].get() {
            chunk[slot].store(0, Ordering::Release);
        }
    }

    pub(crate) fn holds(&self, id: ConnId) -> bool {
        let (chunk, slot) = place::<CHUNK>(id.key());
        self.0[chunk].get().is_some_and(|chunk| chunk[slot].load(Ordering::Acquire) == id.sequence().0)
    }
}

fn place<const CHUNK: usize>(key: Key) -> (usize, usize) {
    (key.0 as usize / CHUNK, key.0 as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReactorId, id::Sequence};

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
}
