//! What a machine allows, worked out before anything is opened: numbers in, numbers out.

use std::fmt;

/// Connections from one source address to one server port. The kernel looks for a free port by trying: beyond about a
/// third of its range that takes longer and longer (19,000 from one address came at a tenth of the rate of 10,000).
const PER_SOURCE: u64 = 10_000;
const PER_SOURCE_PERCENT_OF_PORTS: u64 = 35;

/// Addresses of the loopback network that are used, from 127.0.1.1 on: see [`source`].
const SOURCES: u64 = 250 * 250;

/// Files that a process has open besides its connections, and those for each reactor.
const SPARE_FILES: u64 = 64;
const REACTOR_FILES: u64 = 8;

/// Pipes to a child, in the process that started it.
const CHILD_FILES: u64 = 2;

/// What a pair takes in the kernel (two sockets with their inodes, names, files and places in an epoll) and in both
/// processes, and what a process takes without connections.
const PAIR_BYTES: u64 = 8_000;

/// What TLS takes besides: 3,100 in the server, 8,500 in the client.
const TLS_BYTES: u64 = 12_000;

const PROCESS_BYTES: u64 = 2_500_000;

/// Connects under way from all clients together. A handshake of TLS takes as long as some twenty of a WebSocket.
const UNDER_WAY: u64 = 2_048;
const UNDER_WAY_WITH_TLS: u64 = 256;

/// Packets that wait where a million hear a word at once, on a slow machine: see `docs/million.md`.
const PACKETS: u64 = 10_000;

/// What a reactor can hold.
const MOST: u64 = 1 << 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    Unix,
    Ws,
    Wss,
}

/// What the system says about itself.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cores: u64,
    /// Files that a process may open: its hard limit, to which it raises the soft one.
    pub(crate) files: u64,
    /// What that limit can be raised to (`fs.nr_open`).
    pub(crate) nr_open: u64,
    /// Files that all processes may open (`fs.file-max`), and have open.
    pub(crate) file_max: u64,
    pub(crate) files_in_use: u64,
    /// Ports for one source address (`net.ipv4.ip_local_port_range`).
    pub(crate) ports: u64,
    /// Connections that may wait to be accepted (`net.core.somaxconn`).
    pub(crate) somaxconn: u64,
    /// Places in the epolls of all processes of a user (`fs.epoll.max_user_watches`).
    pub(crate) watches: u64,
    /// Packets that may wait for each core, those of the loopback too (`net.core.netdev_max_backlog`).
    pub(crate) packets: u64,
    /// Pages that the buffers of all TCP sockets may take (the third of `net.ipv4.tcp_mem`).
    pub(crate) tcp_pages: u64,
    /// Connections that conntrack may follow, and follows; nothing where it does not follow those of the loopback.
    pub(crate) conntrack: Option<(u64, u64)>,
    pub(crate) memory: u64,
    pub(crate) memory_available: u64,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) transport: Transport,
    /// Nothing: as many as the machine allows.
    pub(crate) connections: Option<u64>,
    /// The most processes of each kind.
    pub(crate) processes: u64,
    /// Reactors of each server; by default one where there are several servers, otherwise one for each core.
    pub(crate) reactors: Option<u64>,
}

/// A limit that is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) value: u64,
    pub(crate) needed: u64,
    /// How many connections it allows; nothing where it stops none, and only has them come another way.
    pub(crate) allows: Option<u64>,
    /// What it does.
    pub(crate) effect: String,
    /// The command that lifts it.
    pub(crate) lift: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// As many as there will be; 0 where there can be none.
    pub(crate) connections: u64,
    pub(crate) servers: u64,
    pub(crate) clients: u64,
    /// Of each server.
    pub(crate) reactors: u64,
    /// Source addresses of each client; none over Unix sockets.
    pub(crate) sources: u64,
    /// Connects that each client has under way.
    pub(crate) window: u64,
    /// Those that stop it first, the lowest of them first.
    pub(crate) limits: Vec<Limit>,
}

impl Plan {
    pub(crate) fn new(machine: &Machine, wanted: &Wanted) -> Plan {
        let asked = wanted.connections.unwrap_or(MOST).min(MOST);
        let mut limits = limits(machine, wanted, asked);
        let connections = limits.iter().filter_map(|limit| limit.allows).fold(asked, u64::min);
        if wanted.connections.is_none() {
            // Everything stops an unbounded number somewhere: what counts is who is first.
            limits.retain(|limit| limit.allows.is_none_or(|allows| allows == connections));
        }
        let reserved = SPARE_FILES + REACTOR_FILES * wanted.reactors.unwrap_or(machine.cores);
        let servers = servers(machine.files, reserved, wanted.transport, connections);
        let clients = connections.div_ceil(machine.files.saturating_sub(SPARE_FILES).max(1));
        let clients = clients.max((machine.cores / 2).min(connections / 1_000)).clamp(1, wanted.processes);
        let reactors = wanted.reactors.unwrap_or(if servers > 1 { 1 } else { machine.cores });
        let share = connections.div_ceil(clients);
        let sources =
            if wanted.transport == Transport::Unix { 0 } else { share.div_ceil(per_source(machine.ports)) };
        let window = wanted.transport.under_way().min(machine.somaxconn.max(8) * servers / 2) / clients;
        limits.extend(detours(machine, wanted, connections, servers));
        limits.sort_by_key(|limit| limit.allows.unwrap_or(u64::MAX));
        Plan { connections, servers, clients, reactors, sources, window: window.max(4), limits }
    }

    /// How many of `connections` the client with this number holds: they differ by one at most.
    pub(crate) fn share(&self, client: u64, connections: u64) -> u64 {
        connections / self.clients + u64::from(client < connections % self.clients)
    }
}

/// The source address with this number.
pub(crate) fn source(number: u64) -> [u8; 4] {
    [127, 0, 1 + (number / 250 % 250) as u8, 1 + (number % 250) as u8]
}

/// Connections from one source address.
pub(crate) fn per_source(ports: u64) -> u64 {
    PER_SOURCE.min(ports * PER_SOURCE_PERCENT_OF_PORTS / 100).max(1)
}

/// Connections that are planned for one of several servers on one address. The kernel spreads them by a hash: some get a
/// tenth more than the mean, and small shares vary more.
pub(crate) fn shared_capacity(files: u64, reserved: u64) -> u64 {
    let most = |planned: u64| planned + planned / 10 + 5 * planned.isqrt() + reserved;
    let (mut low, mut high) = (0, files);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if most(middle) <= files {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

fn servers(files: u64, reserved: u64, transport: Transport, connections: u64) -> u64 {
    let alone = files.saturating_sub(reserved);
    match connections <= alone {
        true => 1,
        false => connections.div_ceil(capacity(files, reserved, transport).max(1)),
    }
}

/// Of one of several servers.
fn capacity(files: u64, reserved: u64, transport: Transport) -> u64 {
    match transport {
        // Each has a path of its own, and gets exactly its share.
        Transport::Unix => files.saturating_sub(reserved),
        _ => shared_capacity(files, reserved),
    }
}

/// What `processes` servers and as many clients can have.
fn by_files(files: u64, reserved: u64, transport: Transport, processes: u64) -> u64 {
    let alone = files.saturating_sub(reserved);
    let servers = match processes {
        0 => 0,
        1 => alone,
        _ => alone.max(capacity(files, reserved, transport) * processes),
    };
    servers.min(files.saturating_sub(SPARE_FILES) * processes)
}

/// What stops it before `asked` connections are there.
fn limits(machine: &Machine, wanted: &Wanted, asked: u64) -> Vec<Limit> {
    let mut found = Vec::new();
    let mut meet = |allows: u64, limit: Limit| {
        if allows < asked {
            found.push(Limit { allows: Some(allows), effect: String::new(), ..limit });
        }
    };
    let limit =
        |name, value, needed, lift| Limit { name, value, needed, allows: None, effect: String::new(), lift };

    let files = machine.files;
    let reserved = SPARE_FILES + REACTOR_FILES * wanted.reactors.unwrap_or(machine.cores);
    let children = files.saturating_sub(SPARE_FILES) / CHILD_FILES / 2;
    let processes = wanted.processes.min(children);
    let by_files = by_files(files, reserved, wanted.transport, processes);
    let needed = files_needed(files, reserved, wanted, asked);
    meet(
        by_files,
        limit("files per process (RLIMIT_NOFILE)", files, needed, more_files(needed, machine.nr_open)),
    );

    let other_files = machine.files_in_use + 40 * wanted.processes.min(64);
    let needed = 2 * asked + other_files;
    let lift = format!("sudo sysctl -w fs.file-max={needed}");
    meet(
        machine.file_max.saturating_sub(other_files) / 2,
        limit("fs.file-max", machine.file_max, needed, lift),
    );

    // Each end has one, and each process some for itself.
    let other_watches = 2 * REACTOR_FILES * wanted.processes;
    let needed = 2 * asked + other_watches;
    let lift = format!("sudo sysctl -w fs.epoll.max_user_watches={needed}");
    meet(
        machine.watches.saturating_sub(other_watches) / 2,
        limit("fs.epoll.max_user_watches", machine.watches, needed, lift),
    );

    if wanted.transport != Transport::Unix {
        let each = per_source(machine.ports);
        let needed = (asked.div_ceil(SOURCES) * 100).div_ceil(PER_SOURCE_PERCENT_OF_PORTS);
        let lift = "sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"".to_owned();
        meet(each * SOURCES, limit("net.ipv4.ip_local_port_range (ports)", machine.ports, needed, lift));
        if let Some((most, now)) = machine.conntrack {
            let lift = format!("sudo sysctl -w net.netfilter.nf_conntrack_max={}", asked + now);
            meet(most.saturating_sub(now), limit("net.netfilter.nf_conntrack_max", most, asked + now, lift));
        }
    }

    let usable = machine.memory_available.saturating_sub(machine.memory / 10);
    let processes = 2 * asked.div_ceil(files.max(1)).min(wanted.processes);
    let needed = asked * wanted.transport.pair_bytes() + processes * PROCESS_BYTES + machine.memory / 10;
    let lift = "a machine with more memory, or less on this one; a tenth is kept free".to_owned();
    let allows = usable.saturating_sub(processes * PROCESS_BYTES) / wanted.transport.pair_bytes();
    meet(allows, limit("memory available (bytes)", machine.memory_available, needed, lift));
    found
}

/// What stops nothing, but has the connections come another way.
fn detours(machine: &Machine, wanted: &Wanted, connections: u64, servers: u64) -> Vec<Limit> {
    let mut found = Vec::new();
    let mut meet = |name, value: u64, needed: u64, effect: &str, lift| {
        if value < needed {
            found.push(Limit { name, value, needed, allows: None, effect: effect.to_owned(), lift });
        }
    };
    let alone = connections + SPARE_FILES + REACTOR_FILES * wanted.reactors.unwrap_or(machine.cores);
    if servers > 1 {
        let effect = "several servers and clients instead of one";
        let lift = more_files(alone, machine.nr_open);
        meet("files per process (RLIMIT_NOFILE)", machine.files, alone, effect, lift);
    }
    if wanted.transport != Transport::Unix {
        // A quarter of them with a page unread, at the height of a broadcast.
        let pages = connections / 4;
        let effect = "the broadcast to all is slower, or sheds";
        let lift = format!("sudo sysctl -w net.ipv4.tcp_mem=\"{} {} {}\"", pages / 2, pages / 4 * 3, pages);
        meet("net.ipv4.tcp_mem (pages)", machine.tcp_pages, pages, effect, lift);
        let packets = PACKETS.min(connections / 10);
        let effect = "packets may be dropped: they are sent again, each time later";
        let lift = format!("sudo sysctl -w net.core.netdev_max_backlog={packets}");
        meet("net.core.netdev_max_backlog (packets)", machine.packets, packets, effect, lift);
    }
    // Half of the places are used.
    let backlog = (2 * wanted.transport.under_way().min(connections)).div_ceil(servers.max(1));
    let effect = "fewer connects under way at once";
    let lift = format!("sudo sysctl -w net.core.somaxconn={backlog}");
    meet("net.core.somaxconn", machine.somaxconn, backlog, effect, lift);
    found
}

/// The least limit of files with which the processes asked for have `asked` connections.
fn files_needed(files: u64, reserved: u64, wanted: &Wanted, asked: u64) -> u64 {
    let (mut low, mut high) = (files, asked + reserved);
    while low < high {
        let middle = low.midpoint(high);
        let children = middle.saturating_sub(SPARE_FILES) / CHILD_FILES / 2;
        if by_files(middle, reserved, wanted.transport, wanted.processes.min(children)) >= asked {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn more_files(needed: u64, nr_open: u64) -> String {
    let first =
        if needed > nr_open { format!("sudo sysctl -w fs.nr_open={needed}; ") } else { String::new() };
    format!("{first}ulimit -n {needed} (as root, or LimitNOFILE={needed} in the systemd unit)")
}

impl Transport {
    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    fn is_tls(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    fn pair_bytes(self) -> u64 {
        if self.is_tls() { PAIR_BYTES + TLS_BYTES } else { PAIR_BYTES }
    }

    /// Connects under way from all clients together.
    fn under_way(self) -> u64 {
        if self.is_tls() { UNDER_WAY_WITH_TLS } else { UNDER_WAY }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Unix => "unix",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
