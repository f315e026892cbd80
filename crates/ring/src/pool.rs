//! The pool that rings borrow from.

use std::fmt;

use crate::PoolExhausted;
use crate::block::Block;
use crate::class::Class;

/// Lends storage to rings in size classes, never more than a limit at once.
///
/// ```
/// use wheelhouse_ring::{Pool, Ring};
///
/// let mut pool = Pool::new(64 * 1024);
/// let (mut one, mut other) = (Ring::new(), Ring::new());
///
/// one.write(&mut pool, b"a few bytes")?;
/// other.write(&mut pool, &[0; 1000])?;
/// assert_eq!(pool.lent(), 256 + 1024);
///
/// one.clear(&mut pool);
/// assert_eq!((pool.lent(), pool.kept()), (1024, 256));
/// # other.clear(&mut pool);
/// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
/// ```
///
/// # What counts
///
/// Sizes are in bytes. A loan counts with the whole of its size class, however few bytes wait in it:
/// powers of two from 256 bytes to 64 MiB. What comes back is kept for the next ring, up to a bound of
/// its own; beyond that it goes back to the allocator at once, until [`trim`](Pool::trim) makes room.
/// About 40 bytes of bookkeeping per block are not counted.
///
/// A ring that grows or shrinks exchanges its storage for another class, and only the difference counts:
/// one ring may come to hold all that the pool can lend. Both blocks live until the bytes are copied, so
/// at its peak the pool's memory is the limit, what is kept, and the smaller of the two (at most half the
/// limit).
///
/// # Whose storage it is
///
/// A pool serves the rings of one thread, and a ring stays with one pool for as long as it holds bytes:
/// storage given back to another would leave both accounts wrong, which debug builds refuse by a panic
/// where they can see it. A ring that is dropped with bytes in it frees their storage, but the pool,
/// which hears nothing of it, counts it as lent forever. Clear a ring before dropping it.
pub struct Pool {
    limit: usize,
    /// Bytes on loan: the sum of the capacities of all rings. At most `limit` between two calls.
    lent: usize,
    keep_at_most: usize,
    /// Bytes in the free lists. At most `keep_at_most`.
    kept: usize,
    /// One list per class, the block that came back last in front. Linked through the blocks, so that
    /// taking storage back never allocates.
    free: [Option<Box<Block>>; Class::COUNT],
}

impl Pool {
    /// A pool that lends at most `limit` bytes at once, and keeps up to 1 MiB of free storage for reuse
    /// (or `limit`, if that is less).
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let mut pool = Pool::new(255); // less than the smallest class
    /// assert!(Ring::new().write(&mut pool, b"x").is_err());
    /// ```
    ///
    /// Nothing is allocated until a ring asks.
    pub const fn new(limit: usize) -> Pool {
        Pool::with_kept(limit, if limit < KEPT_BY_DEFAULT { limit } else { KEPT_BY_DEFAULT })
    }

    /// A pool that lends at most `limit` bytes at once, and keeps up to `kept` bytes of free storage for
    /// reuse.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let mut pool = Pool::with_kept(64 * 1024, 512);
    /// let mut rings = [Ring::new(), Ring::new(), Ring::new()];
    /// for ring in &mut rings {
    ///     ring.write(&mut pool, b"busy")?;
    /// }
    /// for ring in &mut rings {
    ///     ring.clear(&mut pool);
    /// }
    /// assert_eq!((pool.lent(), pool.kept()), (0, 512));
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    ///
    /// Choose `kept` so that the usual load finds its storage there, and an unusual one does not leave
    /// its own behind. With 0 every loan is an allocation.
    pub const fn with_kept(limit: usize, kept: usize) -> Pool {
        Pool { limit, lent: 0, keep_at_most: kept, kept: 0, free: [const { None }; Class::COUNT] }
    }

    /// Changes the most bytes that may be lent at once. What is lent already stays lent, even above a lower limit.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let mut pool = Pool::new(4096);
    /// let (mut first, mut second) = (Ring::new(), Ring::new());
    /// first.write(&mut pool, &[1; 1024])?;
    ///
    /// pool.set_limit(512);
    /// assert!(second.write(&mut pool, &[2]).is_err());
    /// first.clear(&mut pool);
    /// second.write(&mut pool, &[2])?;
    /// # second.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The most bytes that may be lent at once.
    ///
    /// ```
    /// assert_eq!(wheelhouse_ring::Pool::new(4096).limit(), 4096);
    /// ```
    #[inline]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes on loan now: the sum of the [capacities](crate::Ring::capacity) of the rings it serves.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write(&mut pool, &[0; 257])?;
    /// assert_eq!(pool.lent(), 512);
    /// # ring.clear(&mut pool);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    #[inline]
    pub const fn lent(&self) -> usize {
        self.lent
    }

    /// Bytes of free storage kept for reuse now.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// ring.write(&mut pool, b"x")?;
    /// assert_eq!(pool.kept(), 0);
    /// ring.clear(&mut pool);
    /// assert_eq!(pool.kept(), 256);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    #[inline]
    pub const fn kept(&self) -> usize {
        self.kept
    }

    /// Gives free storage back to the allocator, the largest first, until at most `keep` bytes are kept.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(1024 * 1024), Ring::new());
    /// ring.write(&mut pool, &[0; 100_000])?;
    /// ring.clear(&mut pool);
    /// assert_eq!(pool.kept(), 128 * 1024);
    ///
    /// pool.trim(0);
    /// assert_eq!(pool.kept(), 0);
    /// # Ok::<(), wheelhouse_ring::PoolExhausted>(())
    /// ```
    ///
    /// For a quiet moment after a storm. The bound given to [`with_kept`](Pool::with_kept) stays as it is.
    pub fn trim(&mut self, keep: usize) {
        for list in self.free.iter_mut().rev() {
            while self.kept > keep {
                let Some(mut block) = list.take() else { break };
                self.kept -= block.capacity();
                *list = block.next.take();
            }
        }
    }

    /// Lends an empty block for `need` bytes to a ring that will give `in_exchange` bytes of storage back
    /// before its call ends.
    pub(crate) fn lend(&mut self, need: usize, in_exchange: usize) -> Result<Box<Block>, PoolExhausted> {
        debug_assert!(in_exchange <= self.lent, "the ring's storage is another pool's");
        let within = self.limit.saturating_sub(self.lent).saturating_add(in_exchange);
        let class = Class::holding(need);
        let Some(class) = class.filter(|class| class.size() <= within) else {
            let wanted = class.map_or(need, Class::size);
            return Err(PoolExhausted { wanted, lent: self.lent, limit: self.limit });
        };

        self.lent += class.size();
        let list = &mut self.free[class.index()];
        let Some(mut block) = list.take() else { return Ok(Block::new(class.size())) };
        *list = block.next.take();
        self.kept -= class.size();
        Ok(block)
    }

    /// Takes a block back from its ring, whatever waits in it.
    pub(crate) fn take_back(&mut self, mut block: Box<Block>) {
        let size = block.capacity();
        debug_assert!(size <= self.lent, "the ring's storage is another pool's");
        self.lent = self.lent.saturating_sub(size);
        if size > self.keep_at_most - self.kept {
            return;
        }

        block.reset();
        let list = &mut self.free[Class::of_size(size).index()];
        block.next = list.take();
        *list = Some(block);
        self.kept += size;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // One by one: a long list dropped through its head would recurse as deep as it is long.
        self.trim(0);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limit", &self.limit)
            .field("lent", &self.lent)
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

const KEPT_BY_DEFAULT: usize = 1024 * 1024;
