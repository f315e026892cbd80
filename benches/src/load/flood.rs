//! Quiet connections that speak now and then: twice alone, and beside one that floods.
//!
//! The quiet ones are an open loop: each message has a moment at which it is due, and its latency counts from that
//! moment, whether the load was late to send it or an earlier one still waits. A server that stalls is told by all
//! the messages due meanwhile, and not by one (no coordinated omission).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde_json::{Value, json};

use super::{PATIENCE_MS, connect, histogram, watch};
use crate::machine;

/// Bytes of a quiet message.
const SIZE: usize = 64;

/// Bytes of the flood handled between two looks at the quiet ones: small, so that the load itself hardly
/// delays them.
const GULP: usize = 16 * 1024;

/// Which of the three stretches is flooded.
const FLOODED: usize = 2;

/// Traffic to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub to: SocketAddr,
    /// Quiet connections.
    pub quiet: usize,
    /// From one message of a quiet connection to its next.
    pub every: Duration,
    /// Length of each stretch: alone, alone again, flooded.
    pub stretch: Duration,
    /// Which of the three comes first: they take turns, so that none profits from its place.
    pub first: usize,
}

/// What the three stretches came to.
#[derive(Debug)]
pub struct Outcome {
    /// Alone, alone again, flooded.
    stretches: Vec<Stretch>,
    flood_bytes: u64,
}

/// The quiet connections over a while.
#[derive(Debug)]
struct Stretch {
    latencies: Histogram<u64>,
    elapsed: Duration,
    /// CPU time the load spent on it: it spins, so what is missing was taken by others.
    load_cpu: Duration,
}

impl Outcome {
    /// The line the runner reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "stretches": self.stretches.iter().map(Stretch::to_json).collect::<Vec<_>>(),
            "flood_bytes": self.flood_bytes,
        })
    }
}

impl Stretch {
    fn to_json(&self) -> Value {
        json!({
            "messages": self.latencies.len(),
            "p99_ns": self.latencies.value_at_quantile(0.99),
            "p999_ns": self.latencies.value_at_quantile(0.999),
            "max_ns": self.latencies.max(),
            "seconds": self.elapsed.as_secs_f64(),
            "load_cpu_ns": self.load_cpu.as_nanos() as u64,
        })
    }
}

/// Runs the plan.
///
/// # Errors
///
/// What the system refused, an answer that is not the question, or one that does not come.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut quiet = Quiet::gather(plan)?;
    let mut flood = Flood { socket: connect(plan.to, 0)?, chunk: vec![b'!'; GULP], sent: 0, returned: 0 };
    let mut stretches = Vec::new();
    for place in 0..3 {
        let is_flooded = (plan.first + place) % 3 == FLOODED;
        stretches.push(quiet.stretch(plan, is_flooded.then_some(&mut flood))?);
        if is_flooded {
            flood.drain()?;
        }
    }
    // Back from the order in which they came.
    stretches.rotate_right(plan.first % 3);
    Ok(Outcome { stretches, flood_bytes: flood.returned })
}

struct Quiet {
    epoll: Epoll,
    peers: Vec<Peer>,
}

struct Peer {
    socket: TcpStream,
    /// When the messages that are not answered yet were due, the oldest first.
    asked: VecDeque<Instant>,
    /// Bytes of the oldest one's answer.
    returned: usize,
}

impl Quiet {
    fn gather(plan: &Plan) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut peers = Vec::with_capacity(plan.quiet);
        for index in 0..plan.quiet {
            let socket = connect(plan.to, index)?;
            watch(&epoll, &socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            peers.push(Peer { socket, asked: VecDeque::new(), returned: 0 });
        }
        Ok(Self { epoll, peers })
    }

    /// The quiet ones take turns, evenly spread over time, until the time is over; then the flood ends too, and what
    /// is under way is awaited. This spins: a sleep would cost more than an answer takes.
    fn stretch(&mut self, plan: &Plan, mut flood: Option<&mut Flood>) -> io::Result<Stretch> {
        let mut latencies = histogram()?;
        let cpu = machine::cpu_time(process::id())?;
        let mut events = vec![EpollEvent::empty(); self.peers.len()];
        let step = plan.every / u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        let begun = Instant::now();
        let end = begun + plan.stretch;
        let (mut due, mut next) = (begun, 0);
        let mut waiting = 0_usize;
        loop {
            let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
            for event in &events[..ready] {
                waiting -= self.peers[event.data() as usize].receive(&mut latencies)?;
            }
            let now = Instant::now();
            while due <= now && due < end {
                self.peers[next].ask(due)?;
                waiting += 1;
                next = (next + 1) % self.peers.len();
                due += step;
            }
            if due >= end && waiting == 0 {
                let load_cpu = machine::cpu_time(process::id())? - cpu;
                return Ok(Stretch { latencies, elapsed: begun.elapsed(), load_cpu });
            }
            if now > end + Duration::from_millis(PATIENCE_MS.into()) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a quiet connection got no answer"));
            }
            if let Some(flood) = &mut flood {
                flood.go_on(due < end)?;
            }
        }
    }
}

impl Peer {
    fn ask(&mut self, due: Instant) -> io::Result<()> {
        self.asked.push_back(due);
        (&self.socket).write_all(&[b'?'; SIZE])
    }

    /// Takes in what has come; how many answers it completed.
    fn receive(&mut self, latencies: &mut Histogram<u64>) -> io::Result<usize> {
        let mut inbox = [0; 64 * SIZE];
        let read = (&self.socket).read(&mut inbox)?;
        if read == 0 || inbox[..read].iter().any(|byte| *byte != b'?') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not the question"));
        }
        self.returned += read;
        let mut answered = 0;
        while self.returned >= SIZE {
            self.returned -= SIZE;
            answered += 1;
            let Some(due) = self.asked.pop_front() else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that nobody asked for"));
            };
            latencies.saturating_record(due.elapsed().as_nanos() as u64);
        }
        Ok(answered)
    }
}

/// Sends as fast as the server takes it, never waiting for an answer, and reads back what comes.
struct Flood {
    socket: TcpStream,
    chunk: Vec<u8>,
    sent: u64,
    returned: u64,
}

impl Flood {
    /// Takes back what has come, and sends more where it `pours` yet.
    fn go_on(&mut self, pours: bool) -> io::Result<()> {
        match if pours { self.socket.write(&self.chunk) } else { Ok(0) } {
            Ok(sent) => self.sent += sent as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        match self.socket.read(&mut self.chunk) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the flood")),
            Ok(read) => self.returned += read as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads back what is left of it: what follows is to be undisturbed.
    fn drain(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        while self.returned < self.sent {
            self.go_on(false)?;
            if begun.elapsed() > Duration::from_millis(PATIENCE_MS.into()) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the flood does not come back"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A peer and the other end of its connection.
    fn pair() -> (Peer, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (Peer { socket, asked: VecDeque::new(), returned: 0 }, server)
    }

    #[test]
    fn every_message_counts_from_when_it_was_due_though_an_earlier_one_waits() {
        let (mut peer, mut server) = pair();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(50)).unwrap();
        peer.ask(long_ago).unwrap();
        peer.ask(long_ago + Duration::from_secs(40)).unwrap();
        let mut latencies = histogram().unwrap();
        let mut answered = 0;
        server.write_all(&[b'?'; SIZE + 1]).unwrap();
        while peer.returned + answered * SIZE < SIZE + 1 {
            answered += peer.receive(&mut latencies).unwrap();
        }
        assert_eq!((answered, latencies.len()), (1, 1));
        assert!(latencies.max() >= 49_900_000_000, "{}", latencies.max());
        server.write_all(&[b'?'; SIZE - 1]).unwrap();
        while answered < 2 {
            answered += peer.receive(&mut latencies).unwrap();
        }
        assert!((9_900_000_000..49_900_000_000).contains(&latencies.min()), "{}", latencies.min());
    }

    #[test]
    fn an_answer_to_nothing_is_an_error() {
        let (mut peer, mut server) = pair();
        server.write_all(&[b'?'; SIZE]).unwrap();
        assert!(peer.receive(&mut histogram().unwrap()).is_err());
    }
}
