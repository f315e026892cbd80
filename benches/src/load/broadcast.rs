//! One message at a time, which comes back to every connection: the next leaves when all have it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::wire::{Over, Wire};
use super::{Limit, Outcome, Spent, histogram, wait, watch};

/// Broadcasts to make, over WebSocket. The first connection sends.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server, which sends on what it gets to every open connection, the sender's among them.
    pub to: SocketAddr,
    /// Its process, to read the CPU time of.
    pub server: Option<u32>,
    /// Connections that receive.
    pub connections: usize,
    /// Bytes in a message.
    pub size: usize,
    /// How long to run before measuring; a count is one of messages.
    pub warm_up: Limit,
    /// How long to measure, likewise.
    pub measure: Limit,
}

/// Runs the plan. A message of the outcome is one delivery, and its latency the time from the send to that delivery.
///
/// # Errors
///
/// What the system refused, a connection that closed, a delivery that is not what was sent, one too many, or one too
/// few.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut room = Room::gather(plan)?;
    room.stretch(plan.warm_up)?;
    let sent = room.sent;
    room.latencies.reset();
    let before = Spent::at_rest(plan.server)?;
    let elapsed = room.stretch(plan.measure)?;
    let spent = Spent::at_rest(plan.server)?.since(&before);
    room.sees_no_more()?;
    Ok(Outcome {
        messages: (room.sent - sent) * plan.connections as u64,
        elapsed,
        server_cpu: spent.server,
        load_cpu: spent.load,
        latencies: room.latencies,
    })
}

struct Room {
    epoll: Epoll,
    wire: Wire,
    peers: Vec<Peer>,
    inbox: Vec<u8>,
    sent: u64,
    latencies: Histogram<u64>,
}

struct Peer {
    socket: TcpStream,
    /// Bytes that have come of the present message.
    returned: usize,
}

/// All messages are stamped as the first connection's.
const SENDER: usize = 0;

impl Room {
    fn gather(plan: &Plan) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let wire = Wire::new(plan.to, Over::Ws, plan.size, 1)?;
        let mut peers = Vec::with_capacity(plan.connections);
        for (index, socket) in Over::Ws.open(plan.to, plan.connections)?.into_iter().enumerate() {
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            watch(&epoll, &socket, EpollEvent::new(interest, index as u64))?;
            peers.push(Peer { socket, returned: 0 });
        }
        let inbox = vec![0; wire.longest_answer() + 1];
        Ok(Self { epoll, wire, peers, inbox, sent: 0, latencies: histogram()? })
    }

    fn stretch(&mut self, limit: Limit) -> io::Result<Duration> {
        let begun = Instant::now();
        let first = self.sent;
        let is_over = |sent: u64| match limit {
            Limit::Time(time) => begun.elapsed() >= time,
            Limit::Count(count) => sent - first >= count,
        };
        while !is_over(self.sent) {
            self.round()?;
        }
        Ok(begun.elapsed())
    }

    /// Sends one message, and sees it delivered to all.
    fn round(&mut self) -> io::Result<()> {
        self.sent += 1;
        for peer in &mut self.peers {
            peer.returned = 0;
        }
        let begun = Instant::now();
        // It is small, and nothing of this connection is under way: it leaves at once.
        (&self.peers[SENDER].socket).write_all(self.wire.question(SENDER, self.sent))?;
        let mut missing = self.peers.len();
        let mut events = vec![EpollEvent::empty(); 1024];
        while missing > 0 {
            let ready = wait(&self.epoll, &mut events)?;
            let now = begun.elapsed().as_nanos() as u64;
            for event in &events[..ready] {
                if self.receive(event.data() as usize)? {
                    missing -= 1;
                    self.latencies.saturating_record(now);
                }
            }
        }
        Ok(())
    }

    /// Takes in what has come: whether the whole message is there now.
    fn receive(&mut self, index: usize) -> io::Result<bool> {
        let peer = &mut self.peers[index];
        let answer = self.wire.answer(SENDER, self.sent);
        let read = match (&peer.socket).read(&mut self.inbox) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed")),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        if answer.get(peer.returned..peer.returned + read) != Some(&self.inbox[..read]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a delivery is not what was sent"));
        }
        peer.returned += read;
        Ok(peer.returned == answer.len())
    }

    /// Sees that nobody gets a message twice.
    fn sees_no_more(&mut self) -> io::Result<()> {
        for peer in &self.peers {
            match (&peer.socket).read(&mut self.inbox) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a delivery too many")),
            }
        }
        Ok(())
    }
}
