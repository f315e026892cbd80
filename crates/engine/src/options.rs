//! Every knob, its default, its unit, and what a bad value gets.

use std::time::Duration;

use crate::{Balance, Error, Result};

/// One row of [`OPTIONS`].
///
/// ```
/// use wheelhouse::OPTIONS;
///
/// let backlog = OPTIONS.iter().find(|option| option.name == "backlog").expect("it is one of them");
/// assert_eq!((backlog.default, backlog.min, backlog.max), (Some(4096), 1, 65_535));
/// assert_eq!(backlog.unit, "connections");
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OptionInfo {
    /// The builder's method of the same name; where it takes several numbers, followed by which of them.
    pub name: &'static str,
    /// What its numbers count: bytes, ms, connections.
    pub unit: &'static str,
    /// Its value when it is not set; `None` where that means off, or is found out at start.
    pub default: Option<u64>,
    /// The least value allowed.
    pub min: u64,
    /// The greatest value allowed.
    pub max: u64,
}

impl OptionInfo {
    const fn new(name: &'static str, unit: &'static str, default: Option<u64>, min: u64, max: u64) -> Self {
        OptionInfo { name, unit, default, min, max }
    }

    pub(crate) fn check(&self, value: u64) -> Result<()> {
        if (self.min..=self.max).contains(&value) {
            return Ok(());
        }
        Err(Error::BadOption {
            option: self.name,
            value: value.to_string(),
            allowed: format!("{} to {} {}", self.min, self.max, self.unit),
        })
    }

    pub(crate) const fn default_value(&self) -> u64 {
        match self.default {
            Some(value) => value,
            None => 0,
        }
    }

    pub(crate) const fn default_size(&self) -> usize {
        self.default_value() as usize
    }

    pub(crate) const fn default_time(&self) -> Duration {
        Duration::from_millis(self.default_value())
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The longest time that an option takes: 24 days, in ms. Ticks kept in 32 bits stay comparable.
const DAYS_24: u64 = 24 * 24 * 60 * 60 * 1000;

macro_rules! options {
    ($($constant:ident = $name:literal, $unit:literal, $default:expr, $min:expr, $max:expr;)*) => {
        $(pub(crate) const $constant: OptionInfo = OptionInfo::new($name, $unit, $default, $min, $max);)*

        /// Every option that is a number: its name, unit, default and bounds.
        ///
        /// ```
        /// for option in wheelhouse::OPTIONS {
        ///     println!("{}: {} to {} {}", option.name, option.min, option.max, option.unit);
        /// }
        /// ```
        pub const OPTIONS: &[OptionInfo] = &[$($constant),*];
    };
}

options! {
    REACTORS = "reactors", "threads", None, 1, 256;
    BACKLOG = "backlog", "connections", Some(4096), 1, 65_535;
    ACCEPT_BUDGET = "accept_budget", "connections per turn", Some(256), 1, 65_536;
    MAX_CONNECTIONS = "max_connections", "connections", None, 1, u32::MAX as u64;
    MAX_PER_ADDRESS = "max_connections_per_address", "connections", None, 1, u32::MAX as u64;
    KEEP_ALIVE_IDLE = "keep_alive idle", "ms", None, 1000, 32_767_000;
    KEEP_ALIVE_INTERVAL = "keep_alive interval", "ms", None, 1000, 32_767_000;
    KEEP_ALIVE_COUNT = "keep_alive count", "probes", None, 1, 127;
    TCP_USER_TIMEOUT = "tcp_user_timeout", "ms", None, 1, DAYS_24;
    RECEIVE_BUFFER = "receive_buffer", "bytes in the kernel", None, 256, GIB;
    SEND_BUFFER = "send_buffer", "bytes in the kernel", None, 256, GIB;
    READ_BUFFER = "read_buffer", "bytes per reactor", Some(64 * KIB), KIB, 16 * MIB;
    READ_BUDGET = "read_budget", "bytes per connection and turn", Some(64 * KIB), KIB, GIB;
    INBOUND_LIMIT = "inbound_limit", "bytes per connection", Some(MIB), 64, 64 * MIB;
    BUFFER_MEMORY = "buffer_memory", "bytes per engine", Some(256 * MIB), 64 * KIB, 1 << 40;
    WATER_MARK_LOW = "water_marks low", "bytes per connection", Some(64 * KIB), 0, 64 * MIB;
    WATER_MARK_HIGH = "water_marks high", "bytes per connection", Some(256 * KIB), 1, 64 * MIB;
    WATER_MARK_LIMIT = "water_marks limit", "bytes per connection", Some(4 * MIB), 1, 64 * MIB;
    MAILBOX = "mailbox", "commands per reactor", Some(16_384), 16, MIB;
    EVENT_BATCH = "event_batch", "events", Some(1024), 1, 65_536;
    IDLE_TIMEOUT = "idle_timeout", "ms", None, 1, DAYS_24;
    LIFETIME = "lifetime", "ms", None, 1, DAYS_24;
    HANDSHAKE_TIMEOUT = "handshake_timeout", "ms", Some(10_000), 1, DAYS_24;
    AUTHENTICATION = "authentication", "ms", None, 1, DAYS_24;
    WRITE_STALL = "write_stall_timeout", "ms", Some(60_000), 1, DAYS_24;
    CLOSE_TIMEOUT = "close_timeout", "ms", Some(5_000), 1, DAYS_24;
    MINIMUM_RATE = "minimum_rate bytes", "bytes in each window", None, 1, GIB;
    MINIMUM_RATE_WINDOW = "minimum_rate window", "ms", None, 100, DAYS_24;
    HEARTBEAT_EVERY = "heartbeat every", "ms", None, 1, DAYS_24;
    HEARTBEAT_TIMEOUT = "heartbeat timeout", "ms", None, 2, DAYS_24;
    MAX_MESSAGE = "max_message", "bytes per message", Some(MIB), 125, 64 * MIB;
    MAX_FRAME = "max_frame", "bytes per frame", None, 125, 64 * MIB;
    MAX_FRAGMENTS = "max_fragments", "frames per message", Some(1024), 1, MIB;
    MAX_CONTROLS = "max_controls", "control frames per second", Some(100), 1, 65_535;
    MAX_HEAD = "max_head", "bytes per request", Some(16 * KIB), 256, 16 * MIB;
    MAX_HEADERS = "max_headers", "headers per request", Some(100), 8, 1000;
    DEFLATE_LEVEL = "deflate level", "zlib level", Some(1), 0, 9;
    DEFLATE_THRESHOLD = "deflate threshold", "bytes per message", Some(512), 0, 64 * MIB;
    DEFLATE_CONTEXTS = "deflate own_contexts", "connections per reactor", Some(0), 0, 65_536;
    DEFLATE_WINDOW = "deflate window_bits", "bits", Some(15), 9, 15;
    BUSY_POLL = "busy_poll", "us", None, 1, 1_000_000;
    CONNECT_TIMEOUT = "timeout", "ms", Some(10_000), 1, DAYS_24;
}

/// TCP keep-alive: when the first probe goes out, how far apart the next ones are, how many may go unanswered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    pub(crate) count: u32,
}

/// What counts as activity for [`Builder::idle_timeout`](crate::Builder::idle_timeout).
///
/// ```
/// use std::time::Duration;
/// use wheelhouse::{Activity, Engine};
///
/// let builder = Engine::builder().idle_timeout(Duration::from_secs(60)).idle_counts(Activity::Received);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Bytes that came, and bytes that the kernel took from us.
    #[default]
    Either,
    /// Bytes that came from the peer. While reading is paused, by the handler or at the high mark, and after the peer's
    /// FIN, none can come, and the time does not run.
    Received,
}

/// Which connection gives way when a reactor's share of [`Builder::buffer_memory`](crate::Builder::buffer_memory) is used
/// up. It closes with [`CloseReason::MemoryPressure`](crate::CloseReason::MemoryPressure) and a reset.
///
/// ```
/// use wheelhouse::{Engine, MemoryPolicy};
///
/// let builder = Engine::builder().buffer_memory(64 << 20).memory_policy(MemoryPolicy::CloseAsking);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryPolicy {
    /// The one that holds most: who came last with little does not pay for it.
    #[default]
    CloseGreatest,
    /// The one that needs more: whoever holds memory keeps it.
    CloseAsking,
}

/// How much a peer must move while it owes or is owed something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MinimumRate {
    pub(crate) bytes: usize,
    pub(crate) window: Duration,
}

/// What all listeners and reactors of an engine share.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) reactors: usize,
    pub(crate) pin: bool,
    pub(crate) reuse_port: bool,
    pub(crate) balance: Option<Balance>,
    pub(crate) backlog: usize,
    pub(crate) accept_budget: usize,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_per_address: Option<usize>,
    pub(crate) nodelay: bool,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) tcp_user_timeout: Option<Duration>,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) read_buffer: usize,
    pub(crate) read_budget: usize,
    pub(crate) inbound_limit: usize,
    pub(crate) buffer_memory: usize,
    pub(crate) memory_policy: MemoryPolicy,
    pub(crate) mailbox: usize,
    pub(crate) event_batch: usize,
    pub(crate) busy_poll: Option<Duration>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) idle_counts: Activity,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) write_stall_timeout: Option<Duration>,
    pub(crate) minimum_rate: Option<MinimumRate>,
    pub(crate) close_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Options {
            reactors: cores.min(REACTORS.max as usize),
            pin: false,
            reuse_port: false,
            balance: None,
            backlog: BACKLOG.default_size(),
            accept_budget: ACCEPT_BUDGET.default_size(),
            max_connections: None,
            max_per_address: None,
            nodelay: true,
            keep_alive: None,
            tcp_user_timeout: None,
            receive_buffer: None,
            send_buffer: None,
            read_buffer: READ_BUFFER.default_size(),
            read_budget: READ_BUDGET.default_size(),
            inbound_limit: INBOUND_LIMIT.default_size(),
            buffer_memory: BUFFER_MEMORY.default_size(),
            memory_policy: MemoryPolicy::default(),
            mailbox: MAILBOX.default_size(),
            event_batch: EVENT_BATCH.default_size(),
            busy_poll: None,
            handshake_timeout: HANDSHAKE_TIMEOUT.default_time(),
            idle_timeout: None,
            idle_counts: Activity::default(),
            lifetime: None,
            write_stall_timeout: Some(WRITE_STALL.default_time()),
            minimum_rate: None,
            close_timeout: CLOSE_TIMEOUT.default_time(),
        }
    }
}

impl Options {
    /// Looks at every value before any socket is opened.
    pub(crate) fn validate(&self) -> Result<()> {
        let sizes = [
            (&REACTORS, Some(self.reactors)),
            (&BACKLOG, Some(self.backlog)),
            (&ACCEPT_BUDGET, Some(self.accept_budget)),
            (&MAX_CONNECTIONS, self.max_connections),
            (&MAX_PER_ADDRESS, self.max_per_address),
            (&MINIMUM_RATE, self.minimum_rate.map(|rate| rate.bytes)),
            (&RECEIVE_BUFFER, self.receive_buffer),
            (&SEND_BUFFER, self.send_buffer),
            (&READ_BUFFER, Some(self.read_buffer)),
            (&READ_BUDGET, Some(self.read_budget)),
            (&INBOUND_LIMIT, Some(self.inbound_limit)),
            (&BUFFER_MEMORY, Some(self.buffer_memory)),
            (&MAILBOX, Some(self.mailbox)),
            (&EVENT_BATCH, Some(self.event_batch)),
            (&KEEP_ALIVE_COUNT, self.keep_alive.map(|k| k.count as usize)),
        ];
        for (option, value) in sizes {
            value.map_or(Ok(()), |value| option.check(value as u64))?;
        }
        let times = [
            (&KEEP_ALIVE_IDLE, self.keep_alive.map(|k| k.idle)),
            (&KEEP_ALIVE_INTERVAL, self.keep_alive.map(|k| k.interval)),
            (&TCP_USER_TIMEOUT, self.tcp_user_timeout),
            (&HANDSHAKE_TIMEOUT, Some(self.handshake_timeout)),
            (&IDLE_TIMEOUT, self.idle_timeout),
            (&MINIMUM_RATE_WINDOW, self.minimum_rate.map(|rate| rate.window)),
            (&LIFETIME, self.lifetime),
            (&WRITE_STALL, self.write_stall_timeout),
            (&CLOSE_TIMEOUT, Some(self.close_timeout)),
        ];
        for (option, time) in times {
            time.map_or(Ok(()), |time| check_time(option, time))?;
        }
        if let Some(time) = self.busy_poll {
            BUSY_POLL
                .check(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
                .map_err(|error| seen(error, time))?;
        }
        if self.reuse_port && self.balance.is_some() {
            return Err(Error::BadOption {
                option: "balance",
                value: format!("{:?} together with reuse_port", self.balance.unwrap_or_default()),
                allowed:
                    "no balance with reuse_port: there the kernel spreads connections by their addresses"
                        .into(),
            });
        }
        Ok(())
    }
}

pub(crate) fn check_time(option: &OptionInfo, time: Duration) -> Result<()> {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    option.check(ms).map_err(|error| seen(error, time))
}

/// The same error, with the time as it was given.
fn seen(error: Error, time: Duration) -> Error {
    match error {
        Error::BadOption { option, allowed, .. } => {
            Error::BadOption { option, value: format!("{time:?}"), allowed }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        Options::default().validate().unwrap();
        for option in OPTIONS {
            assert!(option.min <= option.max);
            if let Some(default) = option.default {
                option.check(default).unwrap();
            }
        }
    }

    /// The README's table is this one: a row that differs is printed as it should be.
    #[test]
    fn the_readme_lists_every_option_as_it_is() {
        let readme = include_str!("../../../README.md");
        let off_or_number =
            |number: Option<u64>| number.map_or("off".to_owned(), |number| number.to_string());
        let mut missing = Vec::new();
        for option in OPTIONS {
            let default = match option.name {
                "reactors" => "cores".to_owned(),
                "receive_buffer" | "send_buffer" => "kernel's".to_owned(),
                _ => off_or_number(option.default),
            };
            let OptionInfo { name, unit, min, max, .. } = option;
            let row = format!("| `{name}` | {default} | {min} | {max} | {unit} |");
            if !readme.contains(&row) {
                missing.push(row);
            }
        }
        assert!(missing.is_empty(), "not in the README:\n{}", missing.join("\n"));
    }

    #[test]
    fn a_bad_value_is_told_with_its_name_and_what_is_allowed() {
        for option in OPTIONS {
            option.check(option.min).unwrap();
            option.check(option.max).unwrap();
            let over = option.check(option.max + 1).unwrap_err().to_string();
            assert!(over.contains(option.name) && over.contains(&(option.max + 1).to_string()), "{over}");
            assert!(over.contains(&option.max.to_string()), "{over}");
            if let Some(under) = option.min.checked_sub(1) {
                assert!(option.check(under).is_err());
            }
        }
        let error = check_time(&IDLE_TIMEOUT, Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "option `idle_timeout`: 0ns is not allowed; allowed: 1 to 2073600000 ms");
    }
}
