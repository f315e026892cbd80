//! A message that is too large for the read buffer, or trickles: read straight into storage of its size.

use std::ops::{Deref, DerefMut};

use crate::place::{SLACK, lead};

/// Input of a large message that nobody could use yet.
pub(crate) struct Linear {
    pub(crate) bytes: Storage,
    pub(crate) filled: usize,
    /// How many bytes make it worth while to ask the protocol again.
    pub(crate) need: usize,
}

/// Its bytes. Many of them begin at the [place](crate::place) in a page where the kernel copies fast; they stay there while
/// they grow.
pub(crate) struct Storage(Vec<u8>);

/// Bytes that are worth the slack.
const MANY: usize = 32 << 10;

impl Storage {
    /// Room for `len` bytes, which begin with these.
    pub(crate) fn beginning_with(bytes: &[u8], len: usize) -> Self {
        let mut storage = Storage(vec![0; Self::size_of(len)]);
        storage[..bytes.len()].copy_from_slice(bytes);
        storage
    }

    /// Makes room for `len` bytes, more than there are. The first `filled` of them stay.
    pub(crate) fn grow(&mut self, len: usize, filled: usize) {
        let from = self.lead();
        self.0.resize(Self::size_of(len), 0);
        let to = self.lead();
        if from != to {
            // The allocator has moved it to another place in a page.
            self.0.copy_within(from..from + filled, to);
        }
    }

    /// Memory that room for `len` bytes takes.
    pub(crate) fn size_of(len: usize) -> usize {
        if len < MANY { len } else { len + SLACK }
    }

    /// Memory that this takes.
    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }

    /// The first `filled` bytes.
    pub(crate) fn into_vec(mut self, filled: usize) -> Vec<u8> {
        let lead = self.lead();
        self.0.truncate(lead + filled);
        self.0.drain(..lead);
        self.0
    }

    fn slack(&self) -> usize {
        if self.size() < MANY { 0 } else { SLACK }
    }

    #[inline]
    fn lead(&self) -> usize {
        if self.slack() == 0 { 0 } else { lead(&self.0) }
    }
}

impl Deref for Storage {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let (lead, len) = (self.lead(), self.size() - self.slack());
        &self.0[lead..lead + len]
    }
}

impl DerefMut for Storage {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let (lead, len) = (self.lead(), self.size() - self.slack());
        &mut self.0[lead..lead + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_stays_in_front_while_storage_grows_and_moves() {
        let mut others = Vec::new();
        let mut storage = Storage::beginning_with(b"begin", 8);
        for len in [9, 4096, MANY - 1, MANY, 40_000, 200_000, 1 << 20] {
            // Something behind it, so that it has to move.
            others.push(vec![1u8; len]);
            storage.grow(len, 5);
            assert_eq!((storage.len(), &storage[..5]), (len, &b"begin"[..]));
            assert_eq!(storage.size(), Storage::size_of(len));
            if len >= MANY {
                assert_eq!(lead(&storage), 0, "{len} bytes begin elsewhere in their page");
            }
        }
        storage[5..9].copy_from_slice(b" end");
        assert_eq!(storage.into_vec(9), b"begin end");
    }
}
