//! What the system says about itself and about a process: everything from `/proc`, nothing that needs a privilege.

use std::{
    fs, io,
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use nix::{
    sys::resource::{Resource, getrlimit},
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::{Pid, SysconfVar, sysconf},
};
use wheelhouse_examples::AnyError;

use crate::plan::Machine;

/// Looks at the machine.
pub(crate) fn machine() -> Result<Machine, AnyError> {
    let (_, files) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let in_use = numbers("/proc/sys/fs/file-nr").first().copied().unwrap_or(0);
    let ports = numbers("/proc/sys/net/ipv4/ip_local_port_range");
    let memory = Meminfo::read()?;
    let available = memory.of("MemAvailable");
    Ok(Machine {
        cores: thread::available_parallelism().map_or(1, |n| n.get() as u64),
        files,
        nr_open: number("/proc/sys/fs/nr_open").unwrap_or(1 << 20),
        file_max: number("/proc/sys/fs/file-max").unwrap_or(u64::MAX / 4),
        files_in_use: in_use,
        ports: ports.get(1).zip(ports.first()).map_or(28_232, |(high, low)| high.saturating_sub(*low) + 1),
        somaxconn: number("/proc/sys/net/core/somaxconn").unwrap_or(4096),
        watches: number("/proc/sys/fs/epoll/max_user_watches").unwrap_or(u64::MAX),
        packets: number("/proc/sys/net/core/netdev_max_backlog").unwrap_or(1_000),
        tcp_pages: numbers("/proc/sys/net/ipv4/tcp_mem").get(2).copied().unwrap_or(u64::MAX),
        conntrack: conntrack(),
        memory: memory.of("MemTotal"),
        memory_available: available.min(group_memory().unwrap_or(u64::MAX)),
    })
}

/// Memory that could still be had, in bytes.
pub(crate) fn available() -> u64 {
    let whole = Meminfo::read().map_or(u64::MAX, |memory| memory.of("MemAvailable"));
    whole.min(group_memory().unwrap_or(u64::MAX))
}

/// Processor and kernel, and the settings that matter here.
pub(crate) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

pub(crate) fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown", |(_, model)| model).to_owned()
}

pub(crate) const SETTINGS: [&str; 12] = [
    "fs.nr_open",
    "fs.file-max",
    "fs.epoll.max_user_watches",
    "net.core.somaxconn",
    "net.core.netdev_max_backlog",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.netfilter.nf_conntrack_max",
];

/// A setting's value, with one space between its parts.
pub(crate) fn setting(name: &str) -> Option<String> {
    let value = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What the kernel's memory was at one time, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// What the kernel holds for itself: the slabs, page tables, stacks, what it allocated page by page, buffers of sockets.
    ///
    /// `SReclaimable` counts in full: the inodes and names of open sockets lie there, and cannot be reclaimed. What file systems
    /// keep of files is left out where the slabs may be looked at one by one (as root).
    pub(crate) kernel: u64,
    /// Free, or holding what is also on a disk.
    pub(crate) free: u64,
}

impl Memory {
    pub(crate) fn now() -> Memory {
        let Ok(info) = Meminfo::read() else { return Memory::default() };
        let held = ["Slab", "PageTables", "KernelStack", "VmallocUsed", "Percpu"];
        let free = ["MemFree", "Buffers", "Cached"];
        Memory {
            kernel: (held.iter().map(|name| info.of(name)).sum::<u64>() + socket_buffers())
                .saturating_sub(of_files()),
            free: free.iter().map(|name| info.of(name)).sum::<u64>().saturating_sub(info.of("Shmem")),
        }
    }
}

/// What TCP has counted since the machine started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tcp {
    pub(crate) syn_retransmits: u64,
    pub(crate) listen_overflows: u64,
    pub(crate) listen_drops: u64,
    /// Packets that a core had no place for (`net.core.netdev_max_backlog`).
    pub(crate) backlog_drops: u64,
}

impl Tcp {
    pub(crate) fn now() -> Tcp {
        let text = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let of = |asked| {
            let mut both = names.split_whitespace().zip(values.split_whitespace());
            both.find(|(name, _)| *name == asked).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        };
        Tcp {
            syn_retransmits: of("TCPSynRetrans"),
            listen_overflows: of("ListenOverflows"),
            listen_drops: of("ListenDrops"),
            backlog_drops: backlog_drops(),
        }
    }

    pub(crate) fn since(self, then: Tcp) -> Tcp {
        Tcp {
            syn_retransmits: self.syn_retransmits.saturating_sub(then.syn_retransmits),
            listen_overflows: self.listen_overflows.saturating_sub(then.listen_overflows),
            listen_drops: self.listen_drops.saturating_sub(then.listen_drops),
            backlog_drops: self.backlog_drops.saturating_sub(then.backlog_drops),
        }
    }
}

/// Ports that wait to be used again.
pub(crate) fn time_wait() -> u64 {
    sockstat("tw")
}

/// Memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    /// All of it, in bytes: the program's own pages are in it, which the kernel takes and gives as it likes.
    pub(crate) all: u64,
    /// What the process has made itself.
    pub(crate) own: u64,
}

impl Resident {
    /// To the page: `statm` is behind by a batch for each thread.
    pub(crate) fn of(pid: u32) -> Resident {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let of = |name| rollup.lines().find_map(|line| line.strip_prefix(name)).and_then(kilobytes);
        match of("Rss:").zip(of("Anonymous:")) {
            Some((all, own)) => Resident { all, own },
            None => Resident::about(pid),
        }
    }

    /// The same, at less cost.
    pub(crate) fn about(pid: u32) -> Resident {
        let pages = numbers(&format!("/proc/{pid}/statm"));
        let of = |nth: usize| pages.get(nth).copied().unwrap_or(0) * page();
        Resident { all: of(1), own: of(1).saturating_sub(of(2)) }
    }
}

impl std::iter::Sum for Resident {
    fn sum<I: Iterator<Item = Resident>>(each: I) -> Resident {
        each.fold(Resident::default(), |sum, one| Resident { all: sum.all + one.all, own: sum.own + one.own })
    }
}

/// Processor time that a process has used.
pub(crate) fn cpu(pid: u32) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()));
    clock.and_then(clock_gettime).map_or(Duration::ZERO, Duration::from)
}

/// Whether a process has been stopped by a signal, and does nothing until it is told to go on.
pub(crate) fn is_stopped(pid: u32) -> bool {
    // The name stands in parentheses, and may have some itself; the state follows it.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Nanoseconds of the clock that all processes of a machine share.
pub(crate) fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| Duration::from(now).as_nanos() as u64)
}

struct Meminfo(String);

impl Meminfo {
    fn read() -> io::Result<Meminfo> {
        fs::read_to_string("/proc/meminfo").map(Meminfo)
    }

    /// In bytes; 0 where the kernel does not tell.
    fn of(&self, name: &str) -> u64 {
        let value = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(kilobytes).unwrap_or(0)
    }
}

fn kilobytes(text: &str) -> Option<u64> {
    text.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Slabs that other programs fill by reading files, and no socket is in.
fn of_files() -> u64 {
    let text = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    let is_of_files = |name: &str| {
        name.ends_with("inode_cache") && name != "sock_inode_cache"
            || ["radix_tree_node", "buffer_head", "vm_area_struct", "anon_vma", "anon_vma_chain"]
                .contains(&name)
    };
    text.lines()
        .filter_map(|line| {
            // The name, objects in use, objects, and the size of one.
            let mut words = line.split_whitespace();
            words.next().filter(|name| is_of_files(name))?;
            let numbers: Vec<u64> = words.take(3).map_while(|word| word.parse().ok()).collect();
            Some(numbers.get(1)? * numbers.get(2)?)
        })
        .sum()
}

/// Of all cores: a line each, of hexadecimal numbers of 32 bits.
fn backlog_drops() -> u64 {
    let text = fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    let dropped = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    text.lines().filter_map(dropped).sum()
}

fn socket_buffers() -> u64 {
    sockstat("mem") * page()
}

/// A value of the line about TCP.
fn sockstat(asked: &str) -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
    let mut words = line.split_whitespace();
    words.find(|word| *word == asked);
    words.next().and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn page() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |bytes| bytes as u64)
}

/// What the control group may still take, in bytes; none where it is not limited. Version 2, or else version 1.
fn group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (kinds, path) = rest.split_once(':')?;
            let (directory, most, now) = match kinds {
                "" => (format!("/sys/fs/cgroup{path}"), "memory.max", "memory.current"),
                "memory" => {
                    (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes", "memory.usage_in_bytes")
                }
                _ => return None,
            };
            let (most, now) =
                (number(&format!("{directory}/{most}"))?, number(&format!("{directory}/{now}"))?);
            let stat = fs::read_to_string(format!("{directory}/memory.stat")).unwrap_or_default();
            let cached =
                stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok());
            Some(most.saturating_sub(now).saturating_add(cached.unwrap_or(0)))
        })
        .min()
}

/// Whether conntrack follows connections of the loopback is found out by making some.
fn conntrack() -> Option<(u64, u64)> {
    const TRIED: usize = 8;
    let count = || number("/proc/sys/net/netfilter/nf_conntrack_count");
    let most = number("/proc/sys/net/netfilter/nf_conntrack_max")?;
    let before = count()?;
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    let address = listener.local_addr().ok()?;
    let tried: Vec<_> = (0..TRIED).filter_map(|_| TcpStream::connect(address).ok()).collect();
    let after = count()?;
    (after >= before + tried.len() as u64).then_some((most, before))
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn numbers(path: &str) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}
