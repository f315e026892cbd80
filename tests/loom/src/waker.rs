use loom::sync::{Condvar, Mutex};

use crate::sync::{AtomicUsize, Ordering};

/// Stands for a `mio::Waker` and for the `epoll_wait` it ends.
///
/// The kernel guards an eventfd by locks of its own, so that more is ordered by it than here: only who has waited sees what
/// was done before the wake-up.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    /// The eventfd's number.
    rings: AtomicUsize,
    sleeper: Mutex<()>,
    woken: Condvar,
}

impl Waker {
    pub(crate) fn wake(&self) {
        self.rings.fetch_add(1, Ordering::Relaxed);
        drop(self.sleeper.lock().unwrap());
        self.woken.notify_one();
    }

    /// `epoll_wait` without a timeout. When nobody will ring, loom says that the model is in a deadlock.
    pub(crate) fn wait(&self) {
        let mut sleeper = self.sleeper.lock().unwrap();
        while self.rings.swap(0, Ordering::Relaxed) == 0 {
            sleeper = self.woken.wait(sleeper).unwrap();
        }
    }

    /// `epoll_wait` with a timeout of zero.
    pub(crate) fn poll(&self) {
        self.rings.swap(0, Ordering::Relaxed);
    }
}
