//! Closed-loop echo: every connection keeps one burst of messages in flight.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::wire::{Over, Wire};
use super::{Limit, Outcome, Spent, await_word, histogram, wait, watch};

/// Traffic to make. A burst is `depth` messages in one write; the next leaves when all of it is back.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub to: SocketAddr,
    /// Its process, to read the CPU time of.
    pub server: Option<u32>,
    /// What the connections speak.
    pub over: Over,
    /// Connections, all busy all the time.
    pub connections: usize,
    /// Bytes in a message.
    pub size: usize,
    /// Messages in flight on each connection.
    pub depth: usize,
    /// How long to run before measuring; a count is one of bursts on each connection.
    pub warm_up: Limit,
    /// How long to measure, likewise.
    pub measure: Limit,
    /// Wait for a line on standard input before measuring, and after.
    pub waits: bool,
}

/// Runs the plan.
///
/// # Errors
///
/// What the system refused, a connection that closed, an answer that is not the question, or none at all.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut crowd = Crowd::gather(plan)?;
    crowd.stretch(plan.warm_up)?;
    if plan.waits {
        await_word()?;
    }
    let bursts = crowd.bursts;
    crowd.latencies.reset();
    let before = Spent::at_rest(plan.server)?;
    let elapsed = crowd.stretch(plan.measure)?;
    let spent = Spent::at_rest(plan.server)?.since(&before);
    if plan.waits {
        await_word()?;
    }
    Ok(Outcome {
        messages: (crowd.bursts - bursts) * plan.depth as u64,
        elapsed,
        server_cpu: spent.server,
        load_cpu: spent.load,
        latencies: crowd.latencies,
    })
}

/// Opens connections all at once, none waiting for another, with one echo of 64 bytes on each, and hands them
/// over to be held.
///
/// # Errors
///
/// As [`run`].
pub fn open_at_once(to: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let once = Limit::Count(1);
    let (server, over, size, depth) = (None, Over::Tcp, 64, 1);
    let (warm_up, measure, waits) = (once, once, false);
    let plan = Plan { to, server, over, connections: count, size, depth, warm_up, measure, waits };
    let mut crowd = Crowd::gather(&plan)?;
    crowd.stretch(plan.warm_up)?;
    Ok(crowd.peers.into_iter().map(|peer| peer.socket).collect())
}

struct Crowd {
    epoll: Epoll,
    peers: Vec<Peer>,
    wire: Wire,
    inbox: Vec<u8>,
    born: Instant,
    bursts: u64,
    latencies: Histogram<u64>,
}

struct Peer {
    socket: TcpStream,
    burst: u64,
    /// Bursts begun in this stretch.
    begun: u64,
    sent_at: u64,
    is_sent: bool,
    sent: usize,
    returned: usize,
}

impl Crowd {
    fn gather(plan: &Plan) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // Writable is watched from the start: it raises an edge only after a write fell short.
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let mut peers = Vec::with_capacity(plan.connections);
        for (index, socket) in plan.over.open(plan.to, plan.connections)?.into_iter().enumerate() {
            watch(&epoll, &socket, EpollEvent::new(interest, index as u64))?;
            peers.push(Peer { socket, burst: 0, begun: 0, sent_at: 0, is_sent: true, sent: 0, returned: 0 });
        }
        let wire = Wire::new(plan.to, plan.over, plan.size, plan.depth)?;
        // One more than a burst, so that a read that got all of it falls short and is the last.
        let inbox = vec![0; wire.longest_answer() + 1];
        Ok(Self { epoll, peers, wire, inbox, born: Instant::now(), bursts: 0, latencies: histogram()? })
    }

    /// Keeps every connection busy until `limit`, then awaits what is in flight.
    fn stretch(&mut self, limit: Limit) -> io::Result<Duration> {
        let begun = self.now();
        let (end, quota) = match limit {
            Limit::Time(time) => (begun + time.as_nanos() as u64, u64::MAX),
            Limit::Count(bursts) => (u64::MAX, bursts),
        };
        if quota == 0 || end == begun {
            return Ok(Duration::ZERO);
        }
        for index in 0..self.peers.len() {
            self.peers[index].begun = 0;
            self.begin_burst(index, begun)?;
        }
        let mut busy = self.peers.len();
        let mut events = vec![EpollEvent::empty(); 1024];
        while busy > 0 {
            let ready = wait(&self.epoll, &mut events)?;
            for event in &events[..ready] {
                let index = event.data() as usize;
                if !self.peers[index].is_sent {
                    self.send(index)?;
                }
                let Some(now) = self.receive(index)? else { continue };
                if now < end && self.peers[index].begun < quota {
                    self.begin_burst(index, now)?;
                } else {
                    busy -= 1;
                }
            }
        }
        Ok(Duration::from_nanos(self.now() - begun))
    }

    fn begin_burst(&mut self, index: usize, now: u64) -> io::Result<()> {
        let peer = &mut self.peers[index];
        peer.burst += 1;
        peer.begun += 1;
        peer.sent_at = now;
        peer.is_sent = false;
        peer.sent = 0;
        peer.returned = 0;
        self.send(index)
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let peer = &mut self.peers[index];
        let question = self.wire.question(index, peer.burst);
        while !peer.is_sent {
            match (&peer.socket).write(&question[peer.sent..]) {
                Ok(sent) => {
                    peer.sent += sent;
                    peer.is_sent = peer.sent == question.len();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A socket that is still connecting says so by this name.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has come. The time, once the whole burst is back: one look at the clock serves the
    /// latency of this burst and the start of the next.
    fn receive(&mut self, index: usize) -> io::Result<Option<u64>> {
        loop {
            let read = match (&self.peers[index].socket).read(&mut self.inbox) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed")),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            let peer = &mut self.peers[index];
            let answer = self.wire.answer(index, peer.burst);
            let expected = answer.get(peer.returned..peer.returned + read);
            if expected != Some(&self.inbox[..read]) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not the question"));
            }
            peer.returned += read;
            if peer.returned == answer.len() {
                let now = self.born.elapsed().as_nanos() as u64;
                self.latencies.saturating_record(now - peer.sent_at);
                self.bursts += 1;
                return Ok(Some(now));
            }
            if read < self.inbox.len() {
                return Ok(None);
            }
        }
    }

    fn now(&self) -> u64 {
        self.born.elapsed().as_nanos() as u64
    }
}
