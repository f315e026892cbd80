use crate::{
    ConnId,
    sync::{AtomicU32, AtomicU64, Ordering, yield_now},
    table::Table,
};

/// Which connection has file descriptor 1024? Answered from any thread, without a lock.
///
/// A slot is written by the reactor that owns the connection, and by nobody else while the fd is open. Descriptors of all
/// reactors share a chunk: it counts them, so that its memory can go back when there are none.
#[derive(Debug)]
pub struct FdIndex<const CHUNK: usize = 4096> {
    ids: Table<AtomicU64, CHUNK>,
    /// Of each chunk.
    uses: Box<[Use]>,
}

/// How a chunk is used: [`WRITTEN`] since memory was last given back, [`WIPING`] while it is, and how many descriptors are in
/// it, counted in [`ONE`]s.
type Use = AtomicU32;

const WRITTEN: u32 = 1;
const WIPING: u32 = 2;
const ONE: u32 = 4;

/// Sixteen times what `fs.nr_open` allows unless it has been raised.
const DESCRIPTORS: usize = 1 << 24;

impl FdIndex {
    /// An empty index; its chunks come with the first descriptor in each.
    pub fn new() -> Self {
        Self::with_room_for(DESCRIPTORS)
    }
}

impl<const CHUNK: usize> FdIndex<CHUNK> {
    /// For the descriptors below `descriptors`.
    pub(crate) fn with_room_for(descriptors: usize) -> Self {
        FdIndex {
            ids: Table::with_room_for(descriptors),
            uses: (0..descriptors / CHUNK).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// The connection whose descriptor this is, if it is one of the engine's.
    #[inline]
    pub fn find(&self, fd: i32) -> Option<ConnId> {
        ConnId::from_u64(self.ids.get(usize::try_from(fd).ok()?)?.load(Ordering::Acquire))
    }

    /// Every connection there is, in the order of their descriptors. Those that come or go meanwhile may or may not be
    /// among them; nobody is told twice.
    pub fn iter(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.ids.slots().filter_map(|slot| ConnId::from_u64(slot.load(Ordering::Acquire)))
    }

    /// Before the connection's first callback. A descriptor beyond the index has no place: it is served as any other, and not
    /// found by its number.
    pub fn insert(&self, fd: i32, id: ConnId) {
        let Ok(fd) = usize::try_from(fd) else { return };
        let Some(slot) = self.ids.publish(fd) else { return };
        self.enter(fd / CHUNK);
        if slot.swap(id.as_u64(), Ordering::Release) != 0 {
            self.leave(fd / CHUNK);
        }
    }

    /// Before the descriptor is closed, for the next one to open may get the same number.
    pub fn remove(&self, fd: i32) {
        let Ok(fd) = usize::try_from(fd) else { return };
        if self.ids.get(fd).is_some_and(|slot| slot.swap(0, Ordering::Release) != 0) {
            self.leave(fd / CHUNK);
        }
    }

    /// After a storm: chunks in which there is no descriptor any more take no memory until the next one comes.
    pub fn shrink(&self) {
        for (chunk, uses) in self.uses.iter().enumerate() {
            // Who has left did so with Release: nobody writes there now, and who comes waits.
            if uses.compare_exchange(WRITTEN, WIPING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                self.ids.wipe(chunk);
                uses.fetch_sub(WIPING, Ordering::Release);
            }
        }
    }

    /// One more in the chunk, which is not wiped until it has left.
    fn enter(&self, chunk: usize) {
        let uses = &self.uses[chunk];
        let mut now = uses.fetch_add(ONE, Ordering::Acquire);
        // A call of the system's, at most once for a chunk that stood empty.
        while now & WIPING != 0 {
            yield_now();
            now = uses.load(Ordering::Acquire);
        }
        if now & WRITTEN == 0 {
            uses.fetch_or(WRITTEN, Ordering::Relaxed);
        }
    }

    fn leave(&self, chunk: usize) {
        self.uses[chunk].fetch_sub(ONE, Ordering::Release);
    }
}

impl Default for FdIndex {
    fn default() -> Self {
        FdIndex::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ReactorId,
        id::{Key, Sequence},
    };

    fn id(n: u32) -> ConnId {
        ConnId::new(ReactorId(0), Key(n), Sequence(n + 1))
    }

    #[test]
    fn a_connection_is_found_by_its_descriptor_until_it_is_removed() {
        let index = FdIndex::new();
        for fd in [0, 1, 4095, 4096, 1 << 20, (1 << 24) - 1] {
            assert_eq!(index.find(fd), None);
            index.insert(fd, id(7));
            assert_eq!(index.find(fd), Some(id(7)));
            index.remove(fd);
            assert_eq!(index.find(fd), None);
        }
        for fd in [-1, i32::MIN, 1 << 24, i32::MAX] {
            index.insert(fd, id(7));
            index.remove(fd);
            assert_eq!(index.find(fd), None);
        }
    }

    #[test]
    fn a_chunk_is_wiped_when_it_is_empty_and_no_sooner() {
        let index = FdIndex::new();
        let found = || index.iter().collect::<Vec<_>>();
        for fd in [5, 4096, 4100, 8191] {
            index.insert(fd, id(fd as u32));
        }
        index.insert(5, id(6));
        index.remove(4096);
        index.remove(4096);
        index.remove(8191);
        index.shrink();
        assert_eq!(found(), [id(6), id(4100)]);
        index.remove(5);
        index.remove(4100);
        index.shrink();
        index.shrink();
        assert!(found().is_empty());
        index.insert(4100, id(7));
        index.shrink();
        assert_eq!(found(), [id(7)]);
    }

    #[test]
    fn readers_see_a_whole_id_or_none_while_slots_change() {
        let index = FdIndex::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..200u32 {
                    for fd in 0..1000 {
                        index.insert(fd, id(round << 12 | fd as u32));
                    }
                    for fd in 0..1000 {
                        index.remove(fd);
                    }
                    index.shrink();
                }
            });
            loop {
                let is_last = writer.is_finished();
                for fd in 0..1000 {
                    if let Some(found) = index.find(fd) {
                        assert_eq!(found.key().0 & 0xfff, fd as u32);
                        assert_eq!(found.sequence().0, found.key().0 + 1);
                    }
                }
                assert!(index.iter().count() <= 1000);
                if is_last {
                    break;
                }
            }
            assert_eq!(index.iter().count(), 0);
        });
    }
}
