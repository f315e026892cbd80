//! The other end of the wire: plain non-blocking sockets on one thread, nothing of the engine.
//!
//! Each pattern of traffic is a plan that runs to its end and returns what it saw.

pub mod abuse;
pub mod broadcast;
pub mod churn;
pub mod disturbed;
pub mod echo;
pub mod flood;
pub mod handshakes;
pub mod idle;
pub mod knock;
pub mod overload;
pub mod quiet;
pub mod sealed;
pub mod storm;
pub mod waves;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;
use std::{process, thread};

use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

pub use self::wire::Over;
use crate::machine;

/// A server silent for so long has lost a message.
const PATIENCE_MS: u16 = 5_000;

/// Connections from one source address: the kernel has 28,000 ports for each, and looks longer for a free
/// one as they run out.
const PER_SOURCE: usize = 10_000;

/// Source addresses there are; then it is the first one's turn again.
const SOURCES: usize = 250;

/// When a stretch ends. What is in flight then is still awaited and counted, so that the server is at rest
/// when its CPU time is read.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// After so long.
    Time(Duration),
    /// After so many of what the pattern counts.
    Count(u64),
}

/// What a measured stretch came to.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that went out and came back whole.
    pub messages: u64,
    /// From the first byte sent to the last one back.
    pub elapsed: Duration,
    /// CPU time the server spent on it, where its process was named.
    pub server_cpu: Option<Duration>,
    /// CPU time the load spent on it: with the server's it tells whether others took the cores.
    pub load_cpu: Duration,
    /// Time from send to the whole answer, in nanoseconds.
    pub latencies: Histogram<u64>,
}

impl Outcome {
    /// The line the runner reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "messages": self.messages,
            "seconds": self.elapsed.as_secs_f64(),
            "server_cpu_ns": self.server_cpu.map(|cpu| cpu.as_nanos() as u64),
            "load_cpu_ns": self.load_cpu.as_nanos() as u64,
            "p50_ns": self.latencies.value_at_quantile(0.5),
            "p99_ns": self.latencies.value_at_quantile(0.99),
            "p999_ns": self.latencies.value_at_quantile(0.999),
            "max_ns": self.latencies.max(),
        })
    }
}

/// Tells the runner that the measured stretch is next, or over, and waits for its word: it looks at the server meanwhile,
/// which is at rest and has all its connections.
fn await_word() -> io::Result<()> {
    println!("{}", json!({ "waits": true }));
    io::stdin().read_line(&mut String::new()).map(drop)
}

/// CPU time of both ends at one moment.
struct Spent {
    server: Option<Duration>,
    load: Duration,
}

impl Spent {
    /// Read when the server has had time to fall asleep: then its figure is exact.
    fn at_rest(server: Option<u32>) -> io::Result<Self> {
        thread::sleep(Duration::from_millis(5));
        let server = server.map(machine::cpu_time).transpose()?;
        Ok(Self { server, load: machine::cpu_time(process::id())? })
    }

    fn since(&self, before: &Self) -> Self {
        let server = self.server.zip(before.server).map(|(after, before)| after - before);
        Self { server, load: self.load - before.load }
    }
}

/// From one nanosecond to a minute, three digits.
fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)
}

/// The `index`th socket to a server on the loopback: non-blocking, and perhaps still connecting.
fn connect(to: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = socket(to, index)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// The same before it connects.
///
/// Sources are spread over 127.0.0.0/8, so that ports in TIME_WAIT never run out.
fn socket(to: SocketAddr, index: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if to.is_ipv4() {
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        let last = 2 + (index / PER_SOURCE) % SOURCES;
        let source = Ipv4Addr::new(127, 0, 1, last as u8);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    Ok(socket)
}

/// Waits for events, but not for ever.
fn wait(epoll: &Epoll, events: &mut [EpollEvent]) -> io::Result<usize> {
    match epoll.wait(events, EpollTimeout::from(PATIENCE_MS)) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server stopped answering")),
        Err(Errno::EINTR) => Ok(0),
        waited => Ok(waited?),
    }
}

fn watch(epoll: &Epoll, socket: impl AsFd, event: EpollEvent) -> io::Result<()> {
    Ok(epoll.add(socket, event)?)
}
