//! Numbers in chunks, for any thread to read without a lock.

use crate::sync::{OnceLock, Slot, wipe};

/// A number for each index, 0 where nobody wrote one.
///
/// ```text
/// index: | chunk (index / CHUNK) | slot (index % CHUNK) |      chunk 0        chunk 1
///                                                   chunks [ * ]--------> [ n 0 n n 0 .. ]
///                                                          [ * ]------------------------> [ 0 n .. ]
///                                                          [ - ]  not published yet
/// ```
///
/// Chunks are published once, and never moved or taken back: a reader follows two pointers and owns nothing. What can be
/// taken back are the pages under a chunk, with all that stands in it.
#[derive(Debug)]
pub(crate) struct Table<S, const CHUNK: usize> {
    chunks: Box<[Chunk<S, CHUNK>]>,
}

type Chunk<S, const CHUNK: usize> = OnceLock<Box<[S; CHUNK]>>;

impl<S: Slot, const CHUNK: usize> Table<S, CHUNK> {
    /// For the indices below `slots`.
    pub(crate) fn with_room_for(slots: usize) -> Self {
        const { assert!(CHUNK.is_power_of_two(), "a look-up shifts and masks") };
        Table { chunks: (0..slots / CHUNK).map(|_| OnceLock::new()).collect() }
    }

    /// The slot of an index; none beyond the table, and where no chunk has been published.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&S> {
        Some(&self.chunks.get(index / CHUNK)?.get()?[index % CHUNK])
    }

    /// The slot of an index, published with its chunk if need be; none beyond the table.
    pub(crate) fn publish(&self, index: usize) -> Option<&S> {
        let chunk = self.chunks.get(index / CHUNK)?;
        let chunk = chunk.get_or_init(|| Box::new(std::array::from_fn(|_| S::zero())));
        Some(&chunk[index % CHUNK])
    }

    /// Every slot there is.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &S> {
        self.chunks.iter().filter_map(OnceLock::get).flat_map(|chunk| chunk.iter())
    }

    /// All slots of a chunk are 0 from now on, and take no memory until they are written again. What is written meanwhile
    /// may be lost.
    pub(crate) fn wipe(&self, chunk: usize) {
        if let Some(chunk) = self.chunks.get(chunk).and_then(OnceLock::get) {
            wipe(chunk.as_slice());
        }
    }
}
