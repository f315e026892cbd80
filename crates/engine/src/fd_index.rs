use crate::{
    ConnId,
    sync::{AtomicU64, OnceLock, Ordering},
};

/// Which connection has file descriptor 1024? Answered from any thread, without a lock.
///
/// ```text
/// fd: | chunk (fd >> 12) | slot (fd & 4095) |        chunk 0        chunk 1
///                                            chunks [ * ]---------> [ id 0 id id 0 .. ]
///                                                   [ * ]---------------------------> [ 0 id .. ]
///                                                   [ - ]  not published yet
/// ```
///
/// Chunks are published once and never moved or taken back: a reader follows two pointers and owns nothing. A slot is
/// written by the reactor that owns the connection, and by nobody else while the fd is open.
#[derive(Debug)]
pub struct FdIndex<const CHUNK: usize = 4096> {
    chunks: Box<[Published<CHUNK>]>,
}

type Published<const CHUNK: usize> = OnceLock<Box<[AtomicU64; CHUNK]>>;

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
        const { assert!(CHUNK.is_power_of_two(), "a look-up shifts and masks") };
        FdIndex { chunks: (0..descriptors / CHUNK).map(|_| OnceLock::new()).collect() }
    }

    /// The connection whose descriptor this is, if it is one of the engine's.
    #[inline]
    pub fn find(&self, fd: i32) -> Option<ConnId> {
        let (chunk, slot) = self.place(fd)?;
        ConnId::from_u64(chunk.get()?[slot].load(Ordering::Acquire))
    }

    /// Every connection there is, in the order of their descriptors. Those that come or go meanwhile may or may not be
    /// among them; nobody is told twice.
    pub fn iter(&self) -> impl Iterator<Item = ConnId> + '_ {
        let chunks = self.chunks.iter().filter_map(OnceLock::get);
        chunks
            .flat_map(|chunk| chunk.iter())
            .filter_map(|slot| ConnId::from_u64(slot.load(Ordering::Acquire)))
    }

    /// Before the connection's first callback.
    pub fn insert(&self, fd: i32, id: ConnId) {
        let Some((chunk, slot)) = self.place(fd) else { return };
        let chunk = chunk.get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        chunk[slot].store(id.as_u64(), Ordering::Release);
    }

    /// Before the descriptor is closed, for the next one to open may get the same number.
    pub fn remove(&self, fd: i32) {
        let Some((chunk, slot)) = self.place(fd) else { return };
        if let Some(chunk) = chunk.get() {
            chunk[slot].store(0, Ordering::Release);
        }
    }

    /// A descriptor beyond the index has no place: it is served as any other, and not found by its number.
    #[inline]
    fn place(&self, fd: i32) -> Option<(&Published<CHUNK>, usize)> {
        let fd = usize::try_from(fd).ok()?;
        Some((self.chunks.get(fd / CHUNK)?, fd % CHUNK))
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
