//! Quiet connections that speak now and then, first alone and then beside one that floods.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde_json::{Value, json};

use super::{connect, histogram, watch};

/// Bytes of a quiet message.
const SIZE: usize = 64;

/// Bytes of the flood handled between two looks at the quiet ones: small, so that the load itself hardly
/// delays them.
const GULP: usize = 16 * 1024;

/// Traffic to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub to: SocketAddr,
    /// Quiet connections.
    pub quiet: usize,
    /// From one message of a quiet connection to its next.
    pub every: Duration,
    /// Length of each half: undisturbed, flooded.
    pub half: Duration,
}

/// What the two halves came to.
#[derive(Debug)]
pub struct Outcome {
    calm: Histogram<u64>,
    flooded: Histogram<u64>,
    flood_bytes: u64,
}

impl Outcome {
    /// The line the runner reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "messages": self.flooded.len(),
            "calm_p99_ns": self.calm.value_at_quantile(0.99),
            "flooded_p99_ns": self.flooded.value_at_quantile(0.99),
            "calm_p999_ns": self.calm.value_at_quantile(0.999),
            "flooded_p999_ns": self.flooded.value_at_quantile(0.999),
            "flood_bytes": self.flood_bytes,
        })
    }
}

/// Runs the plan.
///
/// # Errors
///
/// What the system refused, or a server that leaves the quiet ones without any answer.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut quiet = Quiet::gather(plan)?;
    let calm = quiet.half(plan, None)?;
    let mut flood = Flood { socket: connect(plan.to, 0)?, chunk: vec![0; GULP], bytes: 0 };
    let flooded = quiet.half(plan, Some(&mut flood))?;
    Ok(Outcome { calm, flooded, flood_bytes: flood.bytes })
}

struct Quiet {
    epoll: Epoll,
    peers: Vec<Peer>,
}

struct Peer {
    socket: TcpStream,
    /// When the message that is not answered yet was sent.
    asked: Option<Instant>,
    returned: usize,
}

impl Quiet {
    fn gather(plan: &Plan) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut peers = Vec::with_capacity(plan.quiet);
        for index in 0..plan.quiet {
            let socket = connect(plan.to, index)?;
            watch(&epoll, &socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            peers.push(Peer { socket, asked: None, returned: 0 });
        }
        Ok(Self { epoll, peers })
    }

    /// The quiet ones take turns, evenly spread over time. This spins: a sleep would cost more than an
    /// answer takes. One whose last message is not answered is passed over, and what that message has
    /// waited until the end counts.
    fn half(&mut self, plan: &Plan, mut flood: Option<&mut Flood>) -> io::Result<Histogram<u64>> {
        let mut latencies = histogram()?;
        let mut events = vec![EpollEvent::empty(); self.peers.len()];
        let step = plan.every / u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        let begun = Instant::now();
        let (mut due, mut next) = (begun, 0);
        while begun.elapsed() < plan.half {
            let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
            for event in &events[..ready] {
                self.peers[event.data() as usize].receive(&mut latencies)?;
            }
            if Instant::now() >= due {
                self.peers[next].ask()?;
                next = (next + 1) % self.peers.len();
                due += step;
            }
            if let Some(flood) = &mut flood {
                flood.pour()?;
            }
        }
        for peer in &self.peers {
            if let Some(asked) = peer.asked {
                latencies.saturating_record(asked.elapsed().as_nanos() as u64);
            }
        }
        match latencies.len() {
            0 => Err(io::Error::new(io::ErrorKind::TimedOut, "no quiet connection got an answer")),
            _ => Ok(latencies),
        }
    }
}

impl Peer {
    fn ask(&mut self) -> io::Result<()> {
        if self.asked.is_some() {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        self.returned = 0;
        (&self.socket).write_all(&[b'?'; SIZE])
    }

    fn receive(&mut self, latencies: &mut Histogram<u64>) -> io::Result<()> {
        let mut answer = [0; SIZE];
        let read = (&self.socket).read(&mut answer)?;
        if read == 0 || answer[..read].iter().any(|byte| *byte != b'?') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not the question"));
        }
        self.returned += read;
        if self.returned == SIZE
            && let Some(asked) = self.asked.take()
        {
            latencies.saturating_record(asked.elapsed().as_nanos() as u64);
        }
        Ok(())
    }
}

/// Sends as fast as the server takes it, and reads back what comes.
struct Flood {
    socket: TcpStream,
    chunk: Vec<u8>,
    bytes: u64,
}

impl Flood {
    fn pour(&mut self) -> io::Result<()> {
        let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        match self.socket.write(&self.chunk) {
            Err(error) if !would_block(&error) => return Err(error),
            _ => {}
        }
        match self.socket.read(&mut self.chunk) {
            Ok(read) => self.bytes += read as u64,
            Err(error) if !would_block(&error) => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }
}
