//! What the kernel tells about this machine and about a process on it.

use std::time::Duration;
use std::{fs, io};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Pins the calling thread, and those it will start, to one core.
///
/// # Errors
///
/// `EINVAL` where there is no such core.
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Lets this process open as many files as its hard limit allows.
///
/// # Errors
///
/// What the system refused.
pub fn raise_file_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// One line: processor, cores, kernel.
#[must_use]
pub fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

/// CPU time a process has used, all its threads together, to the nanosecond.
///
/// A thread that runs at the moment is up to a tick (4 ms) behind: ask when the process sleeps.
///
/// # Errors
///
/// `ESRCH` where the process is gone.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?;
    Ok(clock_gettime(clock)?.into())
}

/// Resident memory of a process, in bytes, to the page: `smaps_rollup` counts the pages, where
/// `statm` is behind by up to a batch per thread.
///
/// # Errors
///
/// What reading `/proc` came to.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kilobytes: Option<u64> = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    kilobytes.map(|kb| kb * 1024).ok_or_else(|| io::Error::other("no Rss in smaps_rollup"))
}

/// Files that a process has open.
///
/// # Errors
///
/// What reading `/proc` came to.
pub fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// How often the threads of a process have left the processor. While it stays the same none of them has
/// slept or woken, so an idle one has made no system call.
///
/// # Errors
///
/// What reading `/proc` came to.
pub fn context_switches(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        total += status
            .lines()
            .filter(|line| line.contains("ctxt_switches:"))
            .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(total)
}

/// How busy the machine is before anything starts: what else runs on it shows in every figure.
#[must_use]
pub fn busyness() -> String {
    let average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average at the start {}", average.split(' ').next().unwrap_or("unknown"))
}
