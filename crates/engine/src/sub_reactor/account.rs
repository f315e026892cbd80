//! What broadcasts take.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

use crate::protocol::SHARE_FROM;

/// Payloads that many queues share, each counted once, from its making until the last queue has done with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account(Arc<AtomicUsize>);

/// A payload in the account.
struct Counted {
    bytes: Bytes,
    account: Account,
}

impl Account {
    pub(super) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The same bytes, in the account for as long as anybody holds them. What is so small that queues copy it is not.
    pub(super) fn hold(&self, bytes: Bytes) -> Bytes {
        if bytes.len() < SHARE_FROM {
            return bytes;
        }
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted { bytes, account: self.clone() })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.account.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}
