//! The ring itself.

mod filling;

use std::fmt;
use std::io::IoSlice;
use std::thread;

use crate::block::Block;
use crate::class::Class;
use crate::{Pool, PoolExhausted};

/// A queue of bytes, first in, first out, that owns storage only while bytes wait in it.
///
/// ```
/// use wheelhouse_ring::{Pool, Ring};
///
/// let mut pool = Pool::new(64 * 1024);
/// let mut ring = Ring::new();
/// assert_eq!(ring.capacity(), 0);
///
/// ring.write(&mut pool, b"hello, ")?;
/// ring.write(&mut pool, b"world")?;
/// assert_eq!(ring.peek().0, b"hello, world");
/// assert_eq!(ring.capacity(), 256);
///
/// ring.discard(&mut pool, 12);
/// assert_eq!(ring.capacity(), 0);
/// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
/// ```
///
/// Its storage comes from a [`Pool`], always the same one while bytes wait, in size classes of 256 bytes
/// to 64 MiB. The ring moves to a larger class when it must, copying what waits once; it returns to none
/// as soon as it is empty, and to a smaller one only if [told to](Ring::shrink).
///
/// An idle ring is 8 bytes: one null pointer.
///
/// # Dropping
///
/// Dropping a ring that still holds bytes frees its storage, but the pool, which hears nothing of it,
/// goes on counting it as lent. [Clear](Ring::clear) it first. Debug builds panic on such a drop, unless
/// the thread is panicking already.
#[derive(Default)]
pub struct Ring {
    /// On loan from the pool. Never an empty block between two calls.
    block: Option<Box<Block>>,
}

const _: () = assert!(size_of::<Ring>() == 8, "an idle ring is one null pointer");

impl Ring {
    /// The storage that a ring of few bytes borrows: 256 bytes, the smallest size class.
    pub const MIN_CAPACITY: usize = Class::MIN_SIZE;

    /// The most bytes a ring can hold, whatever its pool may lend: 64 MiB, the largest size class.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(usize::MAX), Ring::new());
    /// let too_much = vec![0; Ring::MAX_CAPACITY + 1];
    /// assert!(ring.write(&mut pool, &too_much).unwrap_err().never_fits());
    /// ```
    pub const MAX_CAPACITY: usize = Class::MAX_SIZE;

    /// An idle ring.
    ///
    /// ```
    /// use wheelhouse_ring::Ring;
    ///
    /// const RINGS: [Ring; 4] = [const { Ring::new() }; 4];
    /// assert!(RINGS.iter().all(Ring::is_empty));
    /// ```
    #[inline]
    pub const fn new() -> Ring {
        Ring { block: None }
    }

    /// How many bytes wait.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write(&mut pool, b"four")?;
    /// assert_eq!(ring.len(), 4);
    /// # ring.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    #[inline]
    pub fn len(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.len())
    }

    /// Whether no byte waits, and so no storage is held.
    ///
    /// ```
    /// assert!(wheelhouse_ring::Ring::new().is_empty());
    /// ```
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.block.as_ref().is_none_or(|block| block.is_empty())
    }

    /// How many bytes of storage the ring has on loan: a size class, or 0 when it is empty.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write(&mut pool, &[0; 256])?;
    /// assert_eq!(ring.capacity(), 256);
    /// ring.write(&mut pool, &[0])?;
    /// assert_eq!(ring.capacity(), 512);
    /// # ring.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    #[inline]
    pub fn capacity(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.capacity())
    }

    /// The bytes that wait, oldest first, in two parts; the second is empty unless they wrap around the
    /// end of the storage.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(256), Ring::new());
    /// ring.write(&mut pool, &[b'-'; 255])?;
    /// ring.discard(&mut pool, 254);
    /// ring.write(&mut pool, b"wrap")?;
    /// assert_eq!(ring.peek(), (&b"-w"[..], &b"rap"[..]));
    /// # ring.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    ///
    /// While any byte waits, the first part is not empty.
    #[inline]
    pub fn peek(&self) -> (&[u8], &[u8]) {
        self.block.as_ref().map_or((&[], &[]), |block| block.as_slices())
    }

    /// The bytes that wait, as a vectored write takes them. [`discard`](Ring::discard) what was written.
    ///
    /// ```
    /// use std::io::Write;
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write(&mut pool, b"to the socket").unwrap();
    ///
    /// let mut socket = Vec::new();
    /// let written = socket.write_vectored(&ring.as_io_slices())?;
    /// ring.discard(&mut pool, written);
    /// assert_eq!(socket, b"to the socket");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn as_io_slices(&self) -> [IoSlice<'_>; 2] {
        let (first, second) = self.peek();
        [IoSlice::new(first), IoSlice::new(second)]
    }

    /// Appends `bytes`, all or none of them.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(512), Ring::new());
    /// ring.write(&mut pool, b"taken")?;
    /// assert!(ring.write(&mut pool, &[0; 512]).is_err());
    /// assert_eq!(ring.peek().0, b"taken");
    /// # ring.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    ///
    /// Moves to the smallest size class that holds everything if there is no room. No bytes, no storage:
    /// writing nothing to an idle ring leaves it idle.
    ///
    /// # Errors
    ///
    /// [`PoolExhausted`] if that class is more than the pool may lend, or the ring would hold more than
    /// [`MAX_CAPACITY`](Ring::MAX_CAPACITY). Nothing was taken then.
    #[inline]
    pub fn write(&mut self, pool: &mut Pool, bytes: &[u8]) -> Result<(), PoolExhausted> {
        self.make_room(pool, bytes.len())?;
        if let Some(block) = &mut self.block {
            block.append(bytes);
        }
        Ok(())
    }

    /// Appends all `parts` in their order, or none of them.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write_vectored(&mut pool, &[b"header", b": ", b"value"])?;
    /// assert_eq!(ring.peek().0, b"header: value");
    /// # ring.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    ///
    /// Room is made once, for all of them.
    ///
    /// # Errors
    ///
    /// As for [`write`](Ring::write).
    #[inline]
    pub fn write_vectored(&mut self, pool: &mut Pool, parts: &[&[u8]]) -> Result<(), PoolExhausted> {
        // The parts may overlap, so their sum is bounded by nothing.
        let total = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        self.make_room(pool, total)?;
        if let Some(block) = &mut self.block {
            for part in parts {
                block.append(part);
            }
        }
        Ok(())
    }

    /// Copies out the oldest bytes, as many as `out` takes, and drops them. Returns how many.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write(&mut pool, b"first, second")?;
    ///
    /// let mut out = [0; 7];
    /// assert_eq!(ring.read_into(&mut pool, &mut out), 7);
    /// assert_eq!(&out, b"first, ");
    /// assert_eq!(ring.peek().0, b"second");
    /// # ring.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    ///
    /// Gives the storage back if none is left.
    #[inline]
    pub fn read_into(&mut self, pool: &mut Pool, out: &mut [u8]) -> usize {
        let copied = self.copy_to(out);
        self.discard(pool, copied)
    }

    /// Copies out the oldest bytes, as many as `out` takes, and leaves them waiting. Returns how many.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write(&mut pool, b"look")?;
    ///
    /// let mut out = [0; 8];
    /// assert_eq!(ring.copy_to(&mut out), 4);
    /// assert_eq!(&out[..4], b"look");
    /// assert_eq!(ring.len(), 4);
    /// # ring.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    #[inline]
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let (first, second) = self.peek();
        let from_first = first.len().min(out.len());
        let (out_first, out_rest) = out.split_at_mut(from_first);
        out_first.copy_from_slice(&first[..from_first]);

        let from_second = second.len().min(out_rest.len());
        if from_second > 0 {
            out_rest[..from_second].copy_from_slice(&second[..from_second]);
        }
        from_first + from_second
    }

    /// Drops the `n` oldest bytes, or all if there are fewer. Returns how many.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write(&mut pool, b"used, not yet")?;
    /// assert_eq!(ring.discard(&mut pool, 6), 6);
    /// assert_eq!(ring.peek().0, b"not yet");
    /// assert_eq!(ring.discard(&mut pool, 100), 7);
    /// assert_eq!(pool.lent(), 0);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    ///
    /// Gives the storage back if none is left.
    #[inline]
    pub fn discard(&mut self, pool: &mut Pool, n: usize) -> usize {
        let Some(block) = &mut self.block else { return 0 };
        let dropped = n.min(block.len());
        block.advance(dropped);
        if block.is_empty() {
            self.clear(pool);
        }
        dropped
    }

    /// Drops every byte and gives the storage back. Does nothing to an idle ring.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write(&mut pool, b"never mind")?;
    /// ring.clear(&mut pool);
    /// assert!(ring.is_empty());
    /// assert_eq!(pool.lent(), 0);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    #[inline]
    pub fn clear(&mut self, pool: &mut Pool) {
        if let Some(block) = self.block.take() {
            pool.take_back(block);
        }
    }

    /// Moves what waits to the smallest size class that holds it.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(1024 * 1024), Ring::new());
    /// ring.write(&mut pool, &[0; 100_000])?;
    /// ring.discard(&mut pool, 99_000);
    /// assert_eq!(pool.lent(), 128 * 1024);
    ///
    /// ring.shrink(&mut pool);
    /// assert_eq!((ring.len(), pool.lent()), (1_000, 1024));
    /// # ring.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    ///
    /// For a backlog that once was long and now lingers short. Copies every byte that waits, so not for
    /// every turn; does nothing if the class is the smallest already.
    pub fn shrink(&mut self, pool: &mut Pool) {
        let len = self.len();
        if Class::holding(len).is_some_and(|class| class.size() < self.capacity()) {
            // Less in exchange for more cannot exhaust the pool.
            let moved = self.move_to(pool, len);
            debug_assert!(moved.is_ok(), "{moved:?}");
        }
    }

    /// Sees to it that `more` bytes fit behind what waits.
    #[inline]
    fn make_room(&mut self, pool: &mut Pool, more: usize) -> Result<(), PoolExhausted> {
        if more <= self.room() {
            return Ok(());
        }
        self.move_to(pool, self.len().saturating_add(more))
    }

    /// How many bytes fit into the storage on loan.
    #[inline]
    fn room(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.room())
    }

    /// Exchanges the storage for the class that holds `need` bytes, which must be no less than wait.
    #[inline(never)]
    fn move_to(&mut self, pool: &mut Pool, need: usize) -> Result<(), PoolExhausted> {
        let mut block = pool.lend(need, self.capacity())?;
        let (first, second) = self.peek();
        block.append(first);
        block.append(second);
        self.clear(pool);
        self.block = Some(block);
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        debug_assert!(
            self.block.is_none() || thread::panicking(),
            "a ring was dropped with {} bytes on loan: clear it first, or its pool counts them forever",
            self.capacity()
        );
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}
