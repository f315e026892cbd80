//! What the engine's `sync` names, from loom; and a way to show that a model would notice if something were missing.

use std::cell::Cell;

use loom::sync::atomic;

pub(crate) use loom::thread::yield_now;
pub(crate) use std::sync::atomic::Ordering;

pub(crate) use crate::once_lock::OnceLock;

/// What a thread of a model does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Its fences do nothing.
    NoFences,
    /// Its atomics are relaxed, whatever they ask for.
    NoOrder,
}

loom::thread_local! {
    static FLAW: Cell<Option<Flaw>> = Cell::new(None);
}

/// From now on the calling thread does without.
pub fn leave_out(flaw: Flaw) {
    FLAW.with(|mine| mine.set(Some(flaw)));
}

fn has(flaw: Flaw) -> bool {
    FLAW.with(|mine| mine.get() == Some(flaw))
}

#[track_caller]
pub(crate) fn fence(order: Ordering) {
    if !has(Flaw::NoFences) {
        atomic::fence(order);
    }
}

fn kept(order: Ordering) -> Ordering {
    if has(Flaw::NoOrder) { Ordering::Relaxed } else { order }
}

/// std's atomics from loom 0.7, in two things not as loom has them:
///
/// - A load first writes to `looked_at`, which nobody reads and which orders nothing. Of the accesses to an atomic loom
///   remembers the last alone; where a thread loads and then stores, it forgets that another thread's earlier load might come
///   after that store, and does not try it. Writes it never forgets so: each is in conflict with the one before.
/// - A store is a swap whose result nobody looks at, so that all changes have one order, the one they are run in (and loom
///   runs all of them). Otherwise loom lets a swap drift behind stores that came after what it replaced, which no machine
///   does: a reactor would sleep through the wake-up that it had already had. A swap goes on with the release sequence that
///   a store would end. Only `asleep` has stores of several threads, and nothing is acquired there but by senders from
///   senders.
macro_rules! atomics {
    ($($name:ident: $value:ty,)*) => {$(
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            value: atomic::$name,
            looked_at: atomic::AtomicBool,
        }

        #[allow(dead_code, reason = "not every atomic is used in every way")]
        impl $name {
            #[track_caller]
            pub(crate) fn new(value: $value) -> Self {
                $name { value: atomic::$name::new(value), looked_at: atomic::AtomicBool::new(false) }
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.looked_at.store(true, Ordering::Relaxed);
                self.value.load(kept(order))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.value.swap(value, kept(order));
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                self.value.swap(value, kept(order))
            }
        }
    )*};
}

atomics! {
    AtomicBool: bool,
    AtomicU32: u32,
    AtomicU64: u64,
    AtomicUsize: usize,
}

macro_rules! counters {
    ($($name:ident: $value:ty,)*) => {$(
        #[allow(dead_code, reason = "not every atomic is used in every way")]
        impl $name {
            #[track_caller]
            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.value.fetch_add(value, kept(order))
            }

            #[track_caller]
            pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.value.fetch_sub(value, kept(order))
            }

            #[track_caller]
            pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.value.fetch_or(value, kept(order))
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.value.compare_exchange(current, new, kept(success), kept(failure))
            }
        }
    )*};
}

counters! {
    AtomicU32: u32,
    AtomicUsize: usize,
}

/// Stands for the engine's `memory::Slot`.
pub(crate) trait Slot {
    fn zero() -> Self;
    fn set_zero(&self);
}

macro_rules! slots {
    ($($name:ident),*) => {$(
        impl Slot for $name {
            fn zero() -> Self {
                Self::new(0)
            }

            #[track_caller]
            fn set_zero(&self) {
                self.store(0, Ordering::Relaxed);
            }
        }
    )*};
}

slots!(AtomicU32, AtomicU64);

/// Stands for the engine's `memory::wipe`: the system takes the pages away, which orders nothing.
#[track_caller]
pub(crate) fn wipe<S: Slot>(slots: &[S]) {
    slots.iter().for_each(S::set_zero);
}
