//! The outbound queue: what the kernel would not take yet.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};
use wheelhouse_ring::{Pool, PoolExhausted, Ring};

use crate::clock::Stamp;

/// Bytes in order: copied ones in a ring, shared ones by reference.
///
/// ```text
/// segments:  copied 300 | shared 64 KiB | copied 20
/// ring:      [ 300 bytes .............................. 20 bytes ]
/// ```
pub(crate) struct Outbound {
    ring: Ring,
    segments: VecDeque<Segment>,
    len: usize,
    /// What the shared segments add to the account.
    owned: usize,
    /// Bytes of shared segments.
    shared: usize,
    /// When the kernel last took some of it.
    pub(crate) progress: Stamp,
    /// Bytes the kernel took since the queue was last empty.
    taken: usize,
    /// How fast that goes, where a minimum rate is set.
    pub(crate) pace: Option<Pace>,
}

enum Segment {
    /// The next so many bytes of the ring.
    Copied(usize),
    /// By reference; with what it adds to the account, which is free when its last byte is gone.
    Shared(Bytes, usize),
}

/// Where a message or queue stood when the present window of the minimum rate began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) since: Stamp,
    pub(crate) bytes: usize,
}

impl Outbound {
    /// What a reference costs beside its bytes: its place in a list that doubles when it grows.
    pub(crate) const PIECE: usize = 2 * size_of::<Segment>();
    /// The most pieces one system call is given; the kernel's own bound is 1024.
    pub(crate) const PIECES: usize = 64;

    pub(crate) fn new(now: Stamp) -> Self {
        Outbound {
            ring: Ring::new(),
            segments: VecDeque::new(),
            len: 0,
            owned: 0,
            shared: 0,
            progress: now,
            taken: 0,
            pace: None,
        }
    }

    /// Bytes queued.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// As [`capacity`](Outbound::capacity), with all shared bytes: it may be the last to hold them.
    pub(crate) fn weight(&self) -> usize {
        self.ring.capacity() + self.owned.max(self.shared)
    }

    /// Bytes the kernel took of it so far.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Storage borrowed from the pool, and what the shared segments add to the account.
    pub(crate) fn capacity(&self) -> usize {
        self.ring.capacity() + self.owned
    }

    /// What the shared segments add to the account.
    pub(crate) fn owned(&self) -> usize {
        self.owned
    }

    /// Copies bytes in; all or none.
    pub(crate) fn push_copied(&mut self, pool: &mut Pool, bytes: &[u8]) -> Result<(), PoolExhausted> {
        self.ring.write(pool, bytes)?;
        self.len += bytes.len();
        match self.segments.back_mut() {
            Some(Segment::Copied(n)) => *n += bytes.len(),
            _ if bytes.is_empty() => {}
            _ => self.segments.push_back(Segment::Copied(bytes.len())),
        }
        Ok(())
    }

    /// Takes a reference to bytes; `size` is what it adds to the account until the last of them is gone.
    pub(crate) fn push_shared(&mut self, bytes: Bytes, size: usize) {
        self.len += bytes.len();
        self.owned += size;
        self.shared += bytes.len();
        self.segments.push_back(Segment::Shared(bytes, size));
    }

    /// The first pieces, for one `sendmsg`; how many of `pieces` were filled.
    pub(crate) fn pieces<'a>(&'a self, pieces: &mut [IoSlice<'a>; Outbound::PIECES]) -> usize {
        let (mut first, mut second) = self.ring.peek();
        let mut filled = 0;
        let mut add = |bytes: &'a [u8]| {
            if !bytes.is_empty() && filled < pieces.len() {
                pieces[filled] = IoSlice::new(bytes);
                filled += 1;
            }
        };
        for segment in self.segments.iter().take(Outbound::PIECES) {
            match segment {
                Segment::Shared(bytes, _) => add(bytes),
                Segment::Copied(n) => {
                    let (now, later) = first.split_at((*n).min(first.len()));
                    add(now);
                    first = later;
                    let rest = n - now.len();
                    if rest > 0 {
                        let (now, later) = second.split_at(rest);
                        add(now);
                        second = later;
                    }
                }
            }
        }
        filled
    }

    /// A copy of all there is.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        let mut copied = vec![0; self.ring.len()];
        self.ring.copy_to(&mut copied);
        let mut copied = &copied[..];
        for segment in &self.segments {
            match segment {
                Segment::Shared(shared, _) => bytes.extend_from_slice(shared),
                Segment::Copied(n) => {
                    let (now, later) = copied.split_at(*n);
                    bytes.extend_from_slice(now);
                    copied = later;
                }
            }
        }
        bytes
    }

    /// Drops the first `n` bytes: the kernel took them. How much of the account is free by that.
    pub(crate) fn advance(&mut self, pool: &mut Pool, mut n: usize) -> usize {
        debug_assert!(n <= self.len, "{n} of {} bytes", self.len);
        self.len -= n;
        self.taken += n;
        let owned = self.owned;
        while n > 0 {
            let Some(segment) = self.segments.front_mut() else { break };
            let (taken, left) = match segment {
                Segment::Copied(len) => {
                    let taken = n.min(*len);
                    *len -= taken;
                    self.ring.discard(pool, taken);
                    (taken, *len)
                }
                Segment::Shared(bytes, _) => {
                    let taken = n.min(bytes.len());
                    self.shared -= taken;
                    bytes.advance(taken);
                    (taken, bytes.len())
                }
            };
            n -= taken;
            if left == 0
                && let Some(Segment::Shared(_, size)) = self.segments.pop_front()
            {
                self.owned -= size;
            }
        }
        owned - self.owned
    }

    /// Drops everything and gives the storage back.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        self.ring.clear(pool);
        self.segments.clear();
        self.segments.shrink_to(16);
        self.len = 0;
        self.owned = 0;
        self.shared = 0;
        self.taken = 0;
        self.pace = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use proptest::prelude::*;

    fn contents(queue: &Outbound) -> Vec<u8> {
        let mut pieces = [IoSlice::new(&[]); Outbound::PIECES];
        let filled = queue.pieces(&mut pieces);
        pieces[..filled].iter().flat_map(|piece| piece.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_they_came_whatever_the_mix(
            steps in proptest::collection::vec((any::<bool>(), 0..700_usize, 0..900_usize), 1..60)
        ) {
            let now = Clock::new(std::time::Instant::now()).stamp();
            let mut pool = Pool::new(1 << 20);
            let (mut queue, mut model, mut next) = (Outbound::new(now), VecDeque::new(), 0_u8);
            for (shared, push, take) in steps {
                let bytes: Vec<u8> = (0..push).map(|_| { next = next.wrapping_add(1); next }).collect();
                model.extend(&bytes);
                if shared {
                    queue.push_shared(bytes.into(), 1);
                } else {
                    queue.push_copied(&mut pool, &bytes).unwrap();
                }
                prop_assert_eq!(queue.len(), model.len());
                let seen = contents(&queue);
                prop_assert_eq!(&seen[..], &model.iter().copied().collect::<Vec<_>>()[..seen.len()]);
                prop_assert_eq!(queue.to_vec(), model.iter().copied().collect::<Vec<_>>());
                prop_assert!(seen.len() == model.len() || queue.segments.len() > Outbound::PIECES / 2);
                let take = take.min(model.len());
                model.drain(..take);
                queue.advance(&mut pool, take);
            }
            queue.clear(&mut pool);
            prop_assert_eq!(pool.lent(), 0);
            prop_assert!(queue.is_empty());
        }
    }
}
