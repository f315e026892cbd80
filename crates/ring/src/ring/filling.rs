//! Reading straight into the storage of a ring.

use std::io;

use super::Ring;
use crate::{Pool, PoolExhausted};

impl Ring {
    /// Appends what `read` puts into a span of free storage, and hands its answer on.
    ///
    /// ```
    /// use std::io::Read;
    /// use wheelhouse_ring::{Pool, Ring};
    ///
    /// let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    /// let mut socket = &b"from the socket"[..];
    ///
    /// let read = ring.fill_from(&mut pool, 1024, |span| socket.read(span)).unwrap()?;
    /// assert_eq!(read, 15);
    /// assert_eq!(ring.peek().0, b"from the socket");
    /// # ring.clear(&mut pool);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// The span has at least one byte and at most `want`; it ends where the storage wraps, so a second
    /// call may find more. Only a full or idle ring borrows for it: the class that holds `want` bytes
    /// more, or the largest. If `want` is 0 the span is empty and nothing is borrowed.
    ///
    /// `read` is called at most once. The ring takes as many bytes as it reports, never more than it was
    /// offered. The span is zeroed for it, so that a wrong report shows no one else's bytes; ask for what
    /// may come, not for all that would fit. A `read` that reports nothing, fails or panics leaves the
    /// ring's bytes as they were, and an idle ring idle.
    ///
    /// # Errors
    ///
    /// [`PoolExhausted`] outside, if there is no storage to offer: `read` was not called. What `read`
    /// itself returned is inside.
    pub fn fill_from(
        &mut self,
        pool: &mut Pool,
        want: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Result<io::Result<usize>, PoolExhausted> {
        if self.room() == 0 && want > 0 {
            let most = Ring::MAX_CAPACITY - self.len();
            self.make_room(pool, want.min(most).max(1))?;
        }

        let filling = Filling { ring: self, pool };
        let Some(block) = &mut filling.ring.block else {
            return Ok(read(&mut []).map(|_| 0));
        };
        let span = block.spare_mut(want);
        let offered = span.len();
        span.fill(0);
        let outcome = read(span).map(|reported| reported.min(offered));
        block.commit(*outcome.as_ref().unwrap_or(&0));
        Ok(outcome)
    }
}

/// A ring while it is being filled: however that ends, an empty ring gives its storage back.
struct Filling<'a> {
    ring: &'a mut Ring,
    pool: &'a mut Pool,
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        if self.ring.is_empty() {
            self.ring.clear(self.pool);
        }
    }
}
