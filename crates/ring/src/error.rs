//! What goes wrong when storage runs short.

use crate::Ring;

/// The pool could not lend what a ring needed.
///
/// ```
/// use wheelhouse_ring::{Pool, PoolExhausted, Ring};
///
/// let mut pool = Pool::new(512);
/// let mut ring = Ring::new();
///
/// let refused = ring.write(&mut pool, &[0; 600]).unwrap_err();
/// assert_eq!(refused, PoolExhausted { wanted: 1024, lent: 0, limit: 512 });
/// assert_eq!(refused.to_string(), "the pool cannot lend 1024 bytes: 0 of its 512 are lent");
/// ```
///
/// Nothing changed: the ring holds what it held, and the pool has lent what it had lent. All three
/// numbers are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pool cannot lend {wanted} bytes: {lent} of its {limit} are lent")]
pub struct PoolExhausted {
    /// The storage the ring would have needed in all: a whole size class, or the bare count of bytes
    /// where that is beyond [`Ring::MAX_CAPACITY`].
    pub wanted: usize,
    /// What was on loan at that moment, with what the asking ring itself held.
    pub lent: usize,
    /// The most the pool may lend at once.
    pub limit: usize,
}

impl PoolExhausted {
    /// Whether the same request would fail even with nothing lent, so that waiting for other rings to
    /// give storage back is in vain.
    ///
    /// ```
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let mut pool = Pool::new(1024);
    /// let (mut first, mut second) = (Ring::new(), Ring::new());
    /// first.write(&mut pool, &[1; 512]).unwrap();
    ///
    /// assert!(!second.write(&mut pool, &[2; 1024]).unwrap_err().never_fits());
    /// assert!(second.write(&mut pool, &[2; 1025]).unwrap_err().never_fits());
    /// # first.clear(&mut pool);
    /// ```
    pub fn never_fits(&self) -> bool {
        self.wanted > self.limit.min(Ring::MAX_CAPACITY)
    }
}
