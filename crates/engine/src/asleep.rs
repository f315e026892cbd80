//! Who sleeps, and who has to wake them.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicBool, Ordering, fence};

/// Whether a reactor sleeps, or is about to: no wake-up is lost, and one is enough for all that comes before it is awake.
///
/// ```text
///        the reactor                        whoever brings something
///   1. says that it sleeps               1. puts it in
///      ======= fence =======                ======= fence =======
///   2. looks: is there nothing?          2. looks: does it sleep?
/// ```
///
/// All such fences have one order. Whichever comes first, the look behind the other sees what was done before it: either
/// the reactor finds what was put in, or it is found asleep.
#[derive(Default)]
pub(crate) struct Asleep(CachePadded<AtomicBool>);

impl Asleep {
    /// The reactor is about to sleep. False when it must not: there is something, by `is_empty`, which is asked after the
    /// announcement and never before.
    #[inline]
    pub(crate) fn fall_asleep(&self, is_empty: impl FnOnce() -> bool) -> bool {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_empty() {
            return true;
        }
        self.stay_awake();
        false
    }

    #[inline]
    pub(crate) fn stay_awake(&self) {
        if self.0.load(Ordering::Relaxed) {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    /// Whether the reactor sleeps and the caller is the one to wake it. Asked after something was put in; what the caller
    /// looks at next, it looks at behind the same fence.
    #[inline]
    pub(crate) fn rouse(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}
