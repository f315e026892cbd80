//! Room for descriptors, made ahead of need.
//!
//! The kernel doubles a process's table of descriptors when it is full. Where the process has threads, whoever opens the one
//! too many waits until every core has let go of the old table: 10 to 30 ms, in which a reactor that accepts for itself
//! serves nobody. So the main reactor has the table doubled while three quarters of it are still free: in 30 ms a reactor
//! accepts a thousand and more.

use std::{
    os::fd::{AsFd, RawFd},
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::resource::{Resource, getrlimit},
    unistd::close,
};

/// How many descriptors have a place in the kernel's table, as far as we saw to it.
pub(crate) struct Descriptors {
    room: AtomicUsize,
}

/// What an engine begins with: 32 KiB of the kernel's memory.
const FIRST: usize = 4096;

/// When one of so many places is taken there are to be more.
const SPARE: usize = 4;

impl Descriptors {
    /// Makes the first room, with a descriptor of whatever kind.
    pub(crate) fn new(any: impl AsFd) -> Descriptors {
        let descriptors = Descriptors { room: AtomicUsize::new(0) };
        descriptors.make_room(any);
        descriptors
    }

    /// Whether one so high leaves less than three quarters of the table free.
    #[inline]
    pub(crate) fn are_scarce(&self, fd: RawFd) -> bool {
        usize::try_from(fd).is_ok_and(|fd| fd >= self.room.load(Ordering::Relaxed) / SPARE)
    }

    /// Doubles the room, up to the process's limit; with a descriptor of whatever kind.
    pub(crate) fn make_room(&self, any: impl AsFd) {
        let room = self.room.load(Ordering::Relaxed);
        let Some(doubled) = room.checked_mul(2) else {
            // Whoever asked did not know yet that this is all.
            return;
        };
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft.min(1 << 30) as usize);
        let wanted = doubled.max(FIRST).min(limit);
        let made = wanted > room && reserve(any, wanted);
        self.room.store(if made { wanted } else { usize::MAX }, Ordering::Relaxed);
    }
}

/// A duplicate at the last place has the table grow so far, and it stays so when the duplicate is closed.
fn reserve(any: impl AsFd, places: usize) -> bool {
    let last = i32::try_from(places).map_or(i32::MAX, |places| places - 1);
    fcntl(any, FcntlArg::F_DUPFD_CLOEXEC(last)).and_then(close).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Places in the kernel's table.
    fn size() -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        line.trim().parse().unwrap()
    }

    #[test]
    fn the_table_grows_ahead_of_need_and_up_to_the_limit() {
        let any = std::io::stderr();
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let descriptors = Descriptors::new(&any);
        assert!(size() >= FIRST.min(limit as usize));
        let mut fd = (FIRST / SPARE) as RawFd;
        assert!(!descriptors.are_scarce(fd - 1));
        while descriptors.are_scarce(fd) {
            descriptors.make_room(&any);
            assert!(size() >= (limit as usize).min(SPARE * fd as usize), "{} at {fd}", size());
            fd *= 2;
        }
        // Asked for once more, there is as much as before.
        descriptors.make_room(&any);
        assert!(fd as u64 >= limit / SPARE as u64 && size() as u64 >= limit, "{} at {fd} of {limit}", size());
    }
}
