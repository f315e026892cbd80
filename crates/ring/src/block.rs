//! The storage of one ring, with its cursors.

/// A circular run of bytes in storage of one size class.
///
/// ```text
///            head         tail                      tail    head
///              v            v                         v       v
///   +----------+------------+------+       +----------+-------+------------+
///   |          | o l d  new |      |       | e r  new |       | o l d      |
///   +----------+------------+------+       +----------+-------+------------+
///              |--- len ----|               len: both ends, the oldest at `head`
/// ```
///
/// The cursors live here and not in the ring, so that an idle ring is one null pointer.
pub(crate) struct Block {
    /// As long as its size class: a power of two, at most 64 MiB, so every position fits a `u32`.
    bytes: Box<[u8]>,
    /// Where the oldest byte is. Always below the capacity.
    head: u32,
    /// How many bytes wait. Never above the capacity.
    len: u32,
    /// The next free block of the same class, while the pool keeps this one. A block on loan has none.
    pub(crate) next: Option<Box<Block>>,
}

impl Block {
    /// A block of `capacity` zeroed bytes, none of which waits.
    pub(crate) fn new(capacity: usize) -> Box<Block> {
        debug_assert!(capacity.is_power_of_two() && u32::try_from(capacity).is_ok());
        Box::new(Block { bytes: vec![0; capacity].into_boxed_slice(), head: 0, len: 0, next: None })
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more bytes fit.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.capacity() - self.len()
    }

    /// What waits, oldest first. The second part is what wrapped.
    #[inline]
    pub(crate) fn as_slices(&self) -> (&[u8], &[u8]) {
        let (before_head, from_head) = self.bytes.split_at(self.head as usize);
        let first = self.len().min(from_head.len());
        (&from_head[..first], &before_head[..self.len() - first])
    }

    /// Copies `bytes` in behind what waits. They must fit.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.room(), "{} bytes into room for {}", bytes.len(), self.room());
        let tail = self.tail();
        let (first, wrapped) = bytes.split_at(bytes.len().min(self.capacity() - tail));
        self.bytes[tail..tail + first.len()].copy_from_slice(first);
        if !wrapped.is_empty() {
            self.bytes[..wrapped.len()].copy_from_slice(wrapped);
        }
        self.len += bytes.len() as u32;
    }

    /// The free span that begins where the next byte goes, cut to `want` bytes. It may show what once
    /// was there. Empty only if the block is full or `want` is 0.
    #[inline]
    pub(crate) fn spare_mut(&mut self, want: usize) -> &mut [u8] {
        let tail = self.tail();
        let contiguous = self.room().min(self.capacity() - tail);
        &mut self.bytes[tail..tail + contiguous.min(want)]
    }

    /// Counts the first `n` bytes of the spare span as waiting.
    #[inline]
    pub(crate) fn commit(&mut self, n: usize) {
        debug_assert!(n <= self.room(), "{n} bytes into room for {}", self.room());
        self.len += n as u32;
    }

    /// Drops the `n` oldest bytes. There must be as many.
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.len(), "{n} bytes dropped of {}", self.len());
        self.head = self.wrap(self.head as usize + n) as u32;
        self.len -= n as u32;
    }

    /// Forgets every byte and starts at the front again.
    #[inline]
    pub(crate) fn reset(&mut self) {
        self.head = 0;
        self.len = 0;
    }

    /// Where the next byte goes.
    #[inline]
    fn tail(&self) -> usize {
        self.wrap(self.head as usize + self.len())
    }

    #[inline]
    fn wrap(&self, position: usize) -> usize {
        position & (self.capacity() - 1)
    }
}
