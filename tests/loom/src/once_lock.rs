use loom::sync::Mutex;

use crate::sync::{AtomicBool, Ordering};

/// Stands for [`std::sync::OnceLock`], which loom does not have.
///
/// | here | std |
/// |---|---|
/// | `is_set`, loaded with Acquire and stored with Release | the state of its `Once`: `is_completed` loads with Acquire; who has initialised sets COMPLETE with a swap of order Release |
/// | `initialising` | that `Once` too: one thread runs the closure, the others wait, and then see all that it did |
/// | `value` | its cell |
///
/// The value is in a lock of std's only to need no unsafe code. All threads of a model run on one thread of the system, so
/// that lock is never waited for, and loom does not see it: what a reader may rely on comes from `is_set` and
/// `initialising`. A reader that got the value and not the order is found out by loom at the first atomic in it, for an
/// atomic must have been made before it is used.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    is_set: AtomicBool,
    initialising: Mutex<()>,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        OnceLock {
            is_set: AtomicBool::new(false),
            initialising: Mutex::new(()),
            value: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _initialising = self.initialising.lock().unwrap();
        if !self.is_set.load(Ordering::Acquire) {
            assert!(self.value.set(make()).is_ok(), "initialised twice");
            self.is_set.store(true, Ordering::Release);
        }
        self.value.get().expect("it was set before `is_set`")
    }
}
