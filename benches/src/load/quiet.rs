//! Quiet connections that speak now and then, and how long they wait for their answers.
//!
//! They are an open loop: each message has a moment at which it is due, and its latency counts from that moment,
//! whether the load was late to send it or an earlier one still waits. A server that stalls is told by all the messages
//! due meanwhile, and not by one (no coordinated omission).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde_json::{Value, json};

use super::wire::{client_frame, server_frame};
use super::{Over, PATIENCE_MS, histogram, watch};
use crate::machine;

/// Bytes of a quiet message.
const SIZE: usize = 64;

/// Longest that whatever goes on beside the quiet ones may go on beyond its time.
const LONGEST: Duration = Duration::from_secs(30);

/// Quiet connections, and how long they are measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where they connect.
    pub to: SocketAddr,
    /// How many they are.
    pub count: usize,
    /// From one message of a connection to its next.
    pub every: Duration,
    /// Length of each stretch; one that is disturbed may be longer.
    pub stretch: Duration,
}

/// What goes on beside the quiet ones, in steps so small that the load itself hardly delays them.
pub(super) trait Beside {
    /// One step; of an end, where it is not to pour any more.
    fn go_on(&mut self, pours: bool) -> io::Result<()>;

    /// Whether the stretch may end, when its time is over.
    fn is_over(&self) -> bool {
        true
    }
}

/// The quiet connections over a while.
#[derive(Debug)]
pub(super) struct Stretch {
    latencies: Histogram<u64>,
    elapsed: Duration,
    /// CPU time the load spent on it: it spins, so what is missing was taken by others.
    load_cpu: Duration,
    /// Longest that the load itself took from one look at its sockets to the next: it delays what it measures by that.
    longest_step: Duration,
}

impl Stretch {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "messages": self.latencies.len(),
            "p99_ns": self.latencies.value_at_quantile(0.99),
            "p999_ns": self.latencies.value_at_quantile(0.999),
            "max_ns": self.latencies.max(),
            "seconds": self.elapsed.as_secs_f64(),
            "load_cpu_ns": self.load_cpu.as_nanos() as u64,
            "longest_step_ns": self.longest_step.as_nanos() as u64,
        })
    }
}

/// The quiet connections.
pub(super) struct Quiet {
    epoll: Epoll,
    peers: Vec<Peer>,
    /// From one message of a connection to its next.
    every: Duration,
    /// The message, and what comes back.
    question: Vec<u8>,
    answer: Vec<u8>,
}

impl Quiet {
    /// All of them, connected.
    pub(super) fn gather(plan: &Plan, over: Over) -> io::Result<Self> {
        let &Plan { to, count, every, .. } = plan;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut peers = Vec::with_capacity(count);
        for (index, socket) in over.open(to, count)?.into_iter().enumerate() {
            watch(&epoll, &socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            peers.push(Peer { socket, asked: VecDeque::new(), returned: 0 });
        }
        let (question, answer) = match over {
            Over::Ws => (client_frame(0x82, &[b'?'; SIZE]), server_frame(0x82, &[b'?'; SIZE])),
            _ => (vec![b'?'; SIZE], vec![b'?'; SIZE]),
        };
        Ok(Self { epoll, peers, every, question, answer })
    }

    /// They take turns, evenly spread over time, until the time is over, and what goes on beside them too; then what is
    /// under way is awaited. This spins: a sleep would cost more than an answer takes.
    pub(super) fn stretch(
        &mut self,
        length: Duration,
        mut beside: Option<&mut dyn Beside>,
    ) -> io::Result<Stretch> {
        let mut latencies = histogram()?;
        let cpu = machine::cpu_time(process::id())?;
        let mut events = vec![EpollEvent::empty(); self.peers.len()];
        let step = self.every / u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        let begun = Instant::now();
        let (mut end, latest) = (begun + length, begun + length + LONGEST);
        let (mut due, mut next) = (begun, 0);
        let mut waiting = 0_usize;
        let (mut longest_step, mut looked) = (Duration::ZERO, begun);
        loop {
            let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
            for event in &events[..ready] {
                waiting -= self.peers[event.data() as usize].receive(&self.answer, &mut latencies)?;
            }
            let now = Instant::now();
            longest_step = longest_step.max(now - looked);
            looked = now;
            if now > end && beside.as_ref().is_some_and(|beside| !beside.is_over()) {
                end = now;
            }
            while due <= now && due < end {
                self.peers[next].ask(&self.question, due)?;
                waiting += 1;
                next = (next + 1) % self.peers.len();
                due += step;
            }
            let is_over = due >= end && beside.as_ref().is_none_or(|beside| beside.is_over());
            if is_over && waiting == 0 {
                let load_cpu = machine::cpu_time(process::id())? - cpu;
                return Ok(Stretch { latencies, elapsed: begun.elapsed(), load_cpu, longest_step });
            }
            if now > end + Duration::from_millis(PATIENCE_MS.into()) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a quiet connection got no answer"));
            }
            if now > latest {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "what goes on beside does not end"));
            }
            if let Some(beside) = &mut beside {
                beside.go_on(!is_over)?;
            }
        }
    }
}

struct Peer {
    socket: TcpStream,
    /// When the messages that are not answered yet were due, the oldest first.
    asked: VecDeque<Instant>,
    /// Bytes of the oldest one's answer.
    returned: usize,
}

impl Peer {
    fn ask(&mut self, question: &[u8], due: Instant) -> io::Result<()> {
        self.asked.push_back(due);
        (&self.socket).write_all(question)
    }

    /// Takes in what has come; how many answers it completed.
    fn receive(&mut self, answer: &[u8], latencies: &mut Histogram<u64>) -> io::Result<usize> {
        let mut inbox = [0; 64 * SIZE];
        let read = (&self.socket).read(&mut inbox)?;
        let expected = answer.iter().cycle().skip(self.returned);
        if read == 0 || inbox[..read].iter().zip(expected).any(|(byte, expected)| byte != expected) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not the question"));
        }
        self.returned += read;
        let mut answered = 0;
        while self.returned >= answer.len() {
            self.returned -= answer.len();
            answered += 1;
            let Some(due) = self.asked.pop_front() else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that nobody asked for"));
            };
            latencies.saturating_record(due.elapsed().as_nanos() as u64);
        }
        Ok(answered)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const MESSAGE: [u8; SIZE] = [b'?'; SIZE];

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
        peer.ask(&MESSAGE, long_ago).unwrap();
        peer.ask(&MESSAGE, long_ago + Duration::from_secs(40)).unwrap();
        let mut latencies = histogram().unwrap();
        let mut answered = 0;
        server.write_all(&[b'?'; SIZE + 1]).unwrap();
        while peer.returned + answered * SIZE < SIZE + 1 {
            answered += peer.receive(&MESSAGE, &mut latencies).unwrap();
        }
        assert_eq!((answered, latencies.len()), (1, 1));
        assert!(latencies.max() >= 49_900_000_000, "{}", latencies.max());
        server.write_all(&[b'?'; SIZE - 1]).unwrap();
        while answered < 2 {
            answered += peer.receive(&MESSAGE, &mut latencies).unwrap();
        }
        assert!((9_900_000_000..49_900_000_000).contains(&latencies.min()), "{}", latencies.min());
    }

    #[test]
    fn an_answer_to_nothing_is_an_error() {
        let (mut peer, mut server) = pair();
        server.write_all(&[b'?'; SIZE]).unwrap();
        assert!(peer.receive(&MESSAGE, &mut histogram().unwrap()).is_err());
    }
}
