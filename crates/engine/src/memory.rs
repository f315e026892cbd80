//! Gives memory that is not needed any more back to the system.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Returns free heap pages to the kernel, where the allocator is glibc's; elsewhere nothing.
///
/// Once glibc has seen a mapped block freed it serves blocks of that size from its heap, and keeps them: after a second
/// storm of connections their storage would stay with the process: 23 to 33 of 33 MB in the test
/// `memory_goes_back_after_each_storm`, which ends at 6 to 8 MB with this call. It takes each heap's lock for a moment, so it is
/// made off the hot path.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "glibc has no safe binding for malloc_trim")]
        // SAFETY: malloc_trim takes a number and has no precondition; it is thread-safe (glibc manual, malloc_trim(3)).
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
}

/// What [`wipe`] may be asked to wipe: plain numbers, which may change while others look at them.
pub(crate) trait Slot {
    fn zero() -> Self;
    fn set_zero(&self);
}

macro_rules! slots {
    ($($slot:ty),*) => {$(
        impl Slot for $slot {
            fn zero() -> Self {
                Self::new(0)
            }

            fn set_zero(&self) {
                self.store(0, Ordering::Relaxed);
            }
        }
    )*};
}

slots!(AtomicU32, AtomicU64);

/// Sets all `slots` to 0. The whole pages among them go back to the system until somebody writes there again, which is the
/// one way to take memory from a table that other threads read.
pub(crate) fn wipe<S: Slot>(slots: &[S]) {
    let (head, pages, tail) = whole_pages(slots);
    for part in [head, tail] {
        part.iter().for_each(S::set_zero);
    }
    if !give_back(pages) {
        pages.iter().for_each(S::set_zero);
    }
}

/// The least that a page is on any machine, and all that it is on this kind.
const PAGE: usize = 4096;

/// What comes before the first page's start, the pages, and what comes after the last one's end.
fn whole_pages<S>(slots: &[S]) -> (&[S], &[S], &[S]) {
    const { assert!(PAGE.is_multiple_of(size_of::<S>()), "a slot lies in one page") };
    let each = PAGE / size_of::<S>();
    let before = slots.as_ptr().addr().next_multiple_of(PAGE) - slots.as_ptr().addr();
    let (head, rest) = slots.split_at(slots.len().min(before / size_of::<S>()));
    let (pages, tail) = rest.split_at(rest.len() / each * each);
    (head, pages, tail)
}

/// Where pages are of 4,096 bytes, whatever the kernel's configuration.
#[cfg(target_arch = "x86_64")]
fn give_back<S: Slot>(pages: &[S]) -> bool {
    let (start, bytes) = (pages.as_ptr().cast_mut(), size_of_val(pages));
    #[expect(unsafe_code, reason = "a safe binding cannot know that nobody minds")]
    // SAFETY: these are whole pages, and nothing but `pages` is in them, in memory from the allocator: private and anonymous,
    // so that it reads as 0 when its pages are gone (madvise(2), MADV_DONTNEED). A `Slot` is an atomic of which every number
    // is a value: to other threads this is a store of 0. Where pages may not go (they are locked) nothing has changed.
    let answer = unsafe { nix::libc::madvise(start.cast(), bytes, nix::libc::MADV_DONTNEED) };
    answer == 0
}

#[cfg(not(target_arch = "x86_64"))]
fn give_back<S: Slot>(_: &[S]) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(4096))]
    struct Pages([AtomicU64; 8 * 512]);

    #[test]
    fn what_was_wiped_is_zero_and_can_be_written_again() {
        let pages = Box::new(Pages(std::array::from_fn(|n| AtomicU64::new(n as u64 + 1))));
        let value = |n: usize| pages.0[n].load(Ordering::Relaxed);
        // With and without whole pages, heads and tails; nothing.
        for range in [1..513, 1..2, 512..1023, 700..700, 1024..1536, 1600..2500, 2560..4095] {
            let around = || [value(range.start - 1), value(range.end)];
            let before = around();
            wipe(&pages.0[range.clone()]);
            assert!(range.clone().all(|n| value(n) == 0), "{range:?}");
            assert_eq!(around(), before, "{range:?}");
        }
        pages.0[1030].store(7, Ordering::Relaxed);
        assert_eq!(value(1030), 7);
    }
}
