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

/// What the kernel keeps for sockets: the objects of [`SOCKET_CACHES`] on the whole machine, in bytes. None where
/// `/proc/slabinfo` is not readable, as it is for root alone.
#[must_use]
pub fn socket_objects() -> Option<u64> {
    let slabs = fs::read_to_string("/proc/slabinfo").ok()?;
    let bytes = slabs.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        SOCKET_CACHES.contains(&fields.next()?).then_some(())?;
        let (active, _) = (fields.next()?.parse::<u64>().ok()?, fields.next()?);
        Some(active * fields.next()?.parse::<u64>().ok()?)
    });
    Some(bytes.sum())
}

/// What the kernel has counted for all listeners of this machine: SYNs sent again, connections that found a listener's
/// queue full, and connections dropped on their way in, those among them.
///
/// # Errors
///
/// What reading `/proc` came to, or a kernel that does not count so.
pub fn listen_trouble() -> io::Result<[u64; 3]> {
    let netstat = fs::read_to_string("/proc/net/netstat")?;
    let lines: Vec<Vec<&str>> = netstat.lines().map(|line| line.split_whitespace().collect()).collect();
    let find = |name: &str| {
        let pair = lines.chunks_exact(2).find(|pair| pair[0].contains(&name))?;
        pair[1].get(pair[0].iter().position(|column| *column == name)?)?.parse().ok()
    };
    let missing = |name| io::Error::other(format!("no {name} in /proc/net/netstat"));
    let count = |name| find(name).ok_or_else(|| missing(name));
    Ok([count("TCPSynRetrans")?, count("ListenOverflows")?, count("ListenDrops")?])
}

/// The kernel's caches of what every TCP connection has: the socket, its inode, its name, its file, its place in an epoll.
pub const SOCKET_CACHES: [&str; 5] = ["TCP", "sock_inode_cache", "dentry", "filp", "eventpoll_epi"];

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
