//! Where answers are gathered, to leave in one write.

use crate::id::Key;

/// What the connection being served was sent in this batch of input: one write for all of it. While there is something in
/// it, its owner's queue is empty.
#[derive(Default)]
pub(crate) struct Cork {
    pub(super) owner: Option<Key>,
    pub(super) bytes: Vec<u8>,
}

/// What is gathered before it is written, at most.
pub(super) const CORK: usize = 64 << 10;

impl Cork {
    #[inline]
    pub(super) fn is_of(&self, key: Key) -> bool {
        self.owner == Some(key)
    }

    #[inline]
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.bytes.len() + len <= CORK
    }
}
