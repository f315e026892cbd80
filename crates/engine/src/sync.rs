//! What the lock-free files (`asleep`, `fd_index`, `roll`, `table`) are built of. They name nothing but this, so that `tests/loom` can
//! compile the same files with a model checker's types in its place.

pub(crate) use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    },
    thread::yield_now,
};

pub(crate) use crate::memory::{Slot, wipe};
