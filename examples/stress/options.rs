//! What is asked for, and whether this process can do it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    thread,
    time::Duration,
};

use clap::Parser;
use wheelhouse::{Address, Connect, Tag};
use wheelhouse_examples::{AnyError, BadUsage, grouped, raise_file_limit, seconds};

use crate::{frames::LONGEST_HEADER, secure::Secure, target::Target, trust::Trust};

/// Puts an echo server under load, verifies every byte that comes back, and measures how long each message took.
///
/// With --rate each connection sends by a schedule (open loop), and a message's latency counts from the time it was meant
/// to be sent: a server that holds everything up is charged for all that waited. Without it each connection sends when it
/// was answered (closed loop), and latency is plain response time.
///
/// Exit code: 0 when every connection and every byte was as it should be, 1 when something was not, 2 for bad usage, 130
/// when interrupted. Of an option that is given twice the last one counts.
#[derive(Clone, Debug, Parser)]
#[command(name = "stress", args_override_self = true)]
pub(crate) struct Options {
    /// The server: tcp or tls://HOST:PORT, ws or wss://HOST:PORT/PATH, unix:/PATH or unix:@NAME
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9000")]
    pub(crate) to: String,
    /// Over TLS, trust a server with a certificate from this file, or with one that is signed by one from there
    #[arg(long, value_name = "PEM")]
    pub(crate) ca: Option<PathBuf>,
    /// Over TLS, trust anybody
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure: bool,
    /// Connections to open
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) connections: u32,
    /// Bytes in a message; over a WebSocket it may have none
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=16 << 20))]
    pub(crate) size: u32,
    /// Messages that a connection has under way at once (closed loop)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) pipeline: u32,
    /// Messages per second in total (open loop)
    #[arg(long, value_name = "R", conflicts_with = "pipeline", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Connections to open per second; 0 for as many as there can be
    #[arg(long, value_name = "CONNECTIONS_PER_SECOND", default_value_t = 5000)]
    pub(crate) ramp: u32,
    /// Time under load, once all connections are open
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Time that what is under way at the end has to come back
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) drain: Duration,
    /// Reactors of the load itself; by default one for every two cores, for the server needs some too
    #[arg(long, value_name = "N")]
    pub(crate) reactors: Option<usize>,
    /// Source addresses, from 127.0.0.1 upwards: one has ports for about 28,000 connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=254))]
    pub(crate) sources: u8,
    /// Do not look at the bytes that come back, only count them
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Write the results as JSON to a file, or in one line to standard output (the table then goes to standard error)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page with plots, complete in itself
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("expected messages per second, from 0.001 to 1000000000".to_owned()),
    }
}

/// The engine's marks for what a connection has queued; the limit leaves room for all that one callback sends.
const LOW: usize = 64 << 10;
const HIGH: usize = 256 << 10;
const LEAST_LIMIT: usize = 4 << 20;
const MOST_LIMIT: usize = 64 << 20;

impl Options {
    pub(crate) fn reactors(&self) -> usize {
        self.reactors.unwrap_or_else(|| (thread::available_parallelism().map_or(1, |n| n.get()) / 2).max(1))
    }

    /// How connection `index` is dialled.
    pub(crate) fn connect(&self, target: &Target, index: u32) -> Connect {
        let connect =
            Connect::to(target.dial()).tag(Tag(u64::from(index))).water_marks(LOW, HIGH, self.limit(target));
        if self.sources == 1 {
            return connect;
        }
        let last = 1 + (index % u32::from(self.sources)) as u8;
        connect.from_addr(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))
    }

    fn limit(&self, target: &Target) -> usize {
        let size = self.size as usize + LONGEST_HEADER;
        let message = if target.is_tls() { size + Secure::overhead(size) } else { size };
        (HIGH + message * (self.pipeline as usize + 1)).max(LEAST_LIMIT)
    }

    /// Whom to believe where TLS is spoken, and nothing elsewhere.
    pub(crate) fn trust(&self, target: &Target) -> Result<Option<Trust>, AnyError> {
        let Some(name) = &target.name else {
            return match self.ca.is_some() || self.insecure {
                true => bad("--ca and --insecure: only with --to tls:// or wss://".to_owned()),
                false => Ok(None),
            };
        };
        if self.ca.is_none() && !self.insecure {
            return bad(format!(
                "address `{}`: nobody is trusted yet; --ca PEM trusts the certificates in that file and whoever \
                 they sign, --insecure trusts anybody",
                self.to
            ));
        }
        Trust::new(name.clone(), self.ca.as_deref()).map(Some)
    }

    /// Looks at everything that can be known before a connection is dialled, and makes room for the descriptors.
    pub(crate) fn check(&self) -> Result<(), AnyError> {
        let target = Target::parse(&self.to)?;
        let address = &target.address;
        if self.size == 0 && !target.is_websocket() {
            return bad(
                "--size: a message of 0 B can be told from none over ws:// and wss:// alone".to_owned()
            );
        }
        if self.limit(&target) > MOST_LIMIT {
            let most = grouped((MOST_LIMIT - HIGH) as u64);
            return bad(format!("size times pipeline is too much: at most {most} B for each connection"));
        }
        if self.seconds < Duration::from_millis(100) || self.seconds > Duration::from_secs(24 * 60 * 60) {
            return bad("--seconds: expected 0.1 to 86400".to_owned());
        }
        let loopback = matches!(address, Address::Tcp(to) if to.is_ipv4() && to.ip().is_loopback());
        if self.sources > 1 && !loopback {
            return bad("--sources: only with a server on tcp://127.x.y.z".to_owned());
        }
        if matches!(address, Address::Tcp(_) | Address::Name { .. }) {
            self.check_ports()?;
        }
        self.check_descriptors()
    }

    fn check_ports(&self) -> Result<(), AnyError> {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let mut bounds = range.split_whitespace().filter_map(|n| n.parse::<u32>().ok());
        let (Some(low), Some(high)) = (bounds.next(), bounds.next()) else { return Ok(()) };
        let each = high.saturating_sub(low) + 1;
        if u64::from(self.connections) <= u64::from(each) * u64::from(self.sources) {
            return Ok(());
        }
        bad(format!(
            "{} connections asked for: {} source address(es) can have {} to one server ({} ports each); \
             at least --sources {} would do",
            grouped(self.connections.into()),
            self.sources,
            grouped(u64::from(each) * u64::from(self.sources)),
            grouped(each.into()),
            self.connections.div_ceil(each.max(1)),
        ))
    }

    fn check_descriptors(&self) -> Result<(), AnyError> {
        let hard = raise_file_limit()?;
        let in_use = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
        let for_the_rest = in_use + 16 + 4 * self.reactors() as u64;
        let most = hard.saturating_sub(for_the_rest);
        if u64::from(self.connections) <= most {
            return Ok(());
        }
        bad(format!(
            "{} connections asked for: this process can have {}, for it may open {} files (the hard limit: \
             `ulimit -Hn`) and needs {} for other things",
            grouped(self.connections.into()),
            grouped(most),
            grouped(hard),
            for_the_rest,
        ))
    }
}

fn bad<T>(why: String) -> Result<T, AnyError> {
    Err(BadUsage(why).into())
}
