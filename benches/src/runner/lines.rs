//! Cache lines that threads touch, by valgrind's trace of every access (`lackey --trace-mem`) and of every change of
//! the thread that runs (`--trace-sched`): under valgrind one runs at a time, and the log has their order.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// Bytes in a cache line.
const LINE: u64 = 64;

/// How often each thread touched each line.
#[derive(Debug, Default)]
pub(crate) struct Lines(HashMap<u64, HashMap<u32, Touches>>);

#[derive(Debug, Default, Clone, Copy)]
struct Touches {
    reads: u64,
    writes: u64,
}

/// Lines that count, and those of them that threads share.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// By whichever thread.
    pub(crate) touched: usize,
    /// By two threads at least.
    pub(crate) written_by_both: usize,
    /// Written by one alone.
    pub(crate) written_and_read: usize,
}

impl Lines {
    /// Takes the part of the log between two offsets, beginning with whichever thread runs there.
    pub(crate) fn parse(log: &str, part: Range<u64>) -> Self {
        let mut lines = Self::default();
        let (mut thread, mut offset) = (0, 0);
        for line in log.lines() {
            let is_in = part.contains(&offset);
            offset += line.len() as u64 + 1;
            if let Some(next) = running(line) {
                thread = next;
            } else if is_in && let Some(access) = Access::parse(line) {
                lines.touch(thread, &access);
            }
        }
        lines
    }

    fn touch(&mut self, thread: u32, access: &Access) {
        let last = access.address + access.size.max(1) - 1;
        for line in access.address / LINE..=last / LINE {
            let touches = self.0.entry(line).or_default().entry(thread).or_default();
            touches.reads += u64::from(access.reads);
            touches.writes += u64::from(access.writes);
        }
    }

    /// Threads that wrote some line so often.
    pub(crate) fn busy_threads(&self, least: u64) -> usize {
        let writers = |threads: &HashMap<u32, Touches>| {
            threads.iter().filter(|(_, touches)| touches.writes >= least).map(|(thread, _)| *thread).collect()
        };
        self.0.values().flat_map::<Vec<u32>, _>(writers).collect::<BTreeSet<_>>().len()
    }

    /// Counts the lines; a thread that touched one less often than `least` did not touch it.
    pub(crate) fn shared(&self, least: u64) -> Shared {
        let mut shared = Shared { touched: 0, written_by_both: 0, written_and_read: 0 };
        for threads in self.0.values() {
            let writers = threads.values().filter(|touches| touches.writes >= least).count();
            let touchers = threads.values().filter(|touches| touches.reads + touches.writes >= least).count();
            shared.touched += usize::from(touchers > 0);
            shared.written_by_both += usize::from(writers > 1);
            shared.written_and_read += usize::from(writers == 1 && touchers > 1);
        }
        shared
    }
}

/// The thread that goes on from here, where a line tells so: `--42--   SCHED[3]:  acquired lock (...)`.
fn running(line: &str) -> Option<u32> {
    let (thread, what) = line.strip_prefix("--")?.split_once("SCHED[")?.1.split_once("]:")?;
    what.trim_start().starts_with("acquired lock").then(|| thread.parse().ok())?
}

struct Access {
    address: u64,
    size: u64,
    reads: bool,
    writes: bool,
}

impl Access {
    /// ` L address,size` (load), ` S` (store), ` M` (both), with the address in hexadecimal; instructions are none.
    fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.strip_prefix(' ')?.split_once(' ')?;
        let (address, size) = rest.split_once(',')?;
        let (reads, writes) = match kind {
            "L" => (true, false),
            "S" => (false, true),
            "M" => (true, true),
            _ => return None,
        };
        let address = u64::from_str_radix(address, 16).ok()?;
        Some(Self { address, size: size.trim_end().parse().ok()?, reads, writes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "--42--   SCHED[1]:  acquired lock (thread_wrapper(starting new thread))\n \
                       S 1000,8\n\
                       --42--   SCHED[2]:  acquired lock (VG_(client_syscall)[async])\n\
                       I  04001000,3\n \
                       S 1038,8\n \
                       L 2000,4\n\
                       --42--   SCHED[2]: releasing lock (VG_(client_syscall)[async]) -> VgTs_WaitSys\n\
                       --42--   SCHED[1]:  acquired lock (VG_(client_syscall)[async])\n \
                       M 2004,4\n \
                       S 307c,8\n";

    fn shared(part: Range<u64>) -> Shared {
        Lines::parse(LOG, part).shared(1)
    }

    #[test]
    fn a_line_that_two_threads_write_at_different_places_is_shared() {
        let all = 0..LOG.len() as u64;
        assert_eq!(shared(all), Shared { touched: 4, written_by_both: 1, written_and_read: 1 });
    }

    #[test]
    fn what_is_outside_the_part_is_not_counted_but_the_thread_is_known() {
        let second = LOG.find("I  ").unwrap() as u64..LOG.len() as u64;
        assert_eq!(shared(second.clone()), Shared { touched: 4, written_by_both: 0, written_and_read: 1 });
        assert_eq!(Lines::parse(LOG, second).busy_threads(1), 2);
    }

    #[test]
    fn what_is_rare_is_not_the_hot_path() {
        let lines = Lines::parse(LOG, 0..LOG.len() as u64);
        assert_eq!(lines.shared(2), Shared { touched: 1, written_by_both: 0, written_and_read: 0 });
    }
}
