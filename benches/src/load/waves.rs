//! Echo in waves: all connections send at once, and all have their answer before the next wave.
//!
//! What the load does with its messages (seals them, opens and compares the answers) it does between the waves, while the
//! server sleeps: a load that is slow would have the server sleep and wake between the messages, and the figure would be
//! that of the load. In a wave the load spins: one that sleeps is woken by whoever sends, and the server would pay for it,
//! the more often the slower it is.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::echo::Plan;
use super::sealed::{Client, Records};
use super::wire::Wire;
use super::{Limit, Outcome, PATIENCE_MS, Spent, await_word, histogram, watch};

/// Runs the plan: a burst of each connection's is a wave.
///
/// # Errors
///
/// What the system refused, a connection that closed, an answer that is not the question, or none at all.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut sea = Sea::gather(plan)?;
    sea.stretch(plan.warm_up)?;
    if plan.waits {
        await_word()?;
    }
    sea.latencies.reset();
    let waves = sea.waves;
    let before = Spent::at_rest(plan.server)?;
    let elapsed = sea.stretch(plan.measure)?;
    let spent = Spent::at_rest(plan.server)?.since(&before);
    if plan.waits {
        await_word()?;
    }
    Ok(Outcome {
        messages: (sea.waves - waves) * (plan.connections * plan.depth) as u64,
        elapsed,
        server_cpu: spent.server,
        load_cpu: spent.load,
        latencies: sea.latencies,
    })
}

struct Sea {
    epoll: Epoll,
    peers: Vec<Peer>,
    wire: Wire,
    depth: usize,
    inbox: Vec<u8>,
    waves: u64,
    latencies: Histogram<u64>,
}

struct Peer {
    end: End,
    /// As it goes over the wire, and how much of it has gone.
    question: Vec<u8>,
    sent: usize,
    /// As it came.
    came: Vec<u8>,
    records: Records,
    /// Bytes of plaintext that make the answer whole.
    awaited: usize,
}

enum End {
    Plain(TcpStream),
    Sealed(Box<Client>),
}

impl End {
    fn socket(&self) -> &TcpStream {
        match self {
            End::Plain(socket) => socket,
            End::Sealed(client) => &client.socket,
        }
    }
}

impl Sea {
    fn gather(plan: &Plan) -> io::Result<Self> {
        let mut wire = Wire::new(plan.to, plan.over, plan.size, plan.depth)?;
        let ends = match plan.over.is_sealed() {
            true => {
                let mut clients = Client::open(plan.to, plan.over, plan.connections)?;
                for (index, client) in clients.iter_mut().enumerate() {
                    // Tickets come before the first answer: from here on a record is a message's.
                    let question = wire.question(index, 0).to_vec();
                    client.ask(&question, wire.answer(index, 0))?;
                    client.socket.set_nonblocking(true)?;
                }
                clients.into_iter().map(|client| End::Sealed(Box::new(client))).collect()
            }
            false => {
                plan.over.open(plan.to, plan.connections)?.into_iter().map(End::Plain).collect::<Vec<_>>()
            }
        };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let mut peers = Vec::with_capacity(ends.len());
        for (index, end) in ends.into_iter().enumerate() {
            watch(&epoll, end.socket(), EpollEvent::new(interest, index as u64))?;
            let (question, came, records) = (Vec::new(), Vec::new(), Records::default());
            peers.push(Peer { end, question, sent: 0, came, records, awaited: 0 });
        }
        let inbox = vec![0; 64 << 10];
        Ok(Self { epoll, peers, wire, depth: plan.depth, inbox, waves: 0, latencies: histogram()? })
    }

    fn stretch(&mut self, limit: Limit) -> io::Result<Duration> {
        let begun = Instant::now();
        let first = self.waves;
        loop {
            let is_over = match limit {
                Limit::Time(time) => begun.elapsed() >= time,
                Limit::Count(waves) => self.waves - first >= waves,
            };
            if is_over {
                return Ok(begun.elapsed());
            }
            self.waves += 1;
            for index in 0..self.peers.len() {
                self.prepare(index)?;
            }
            self.wave()?;
            for index in 0..self.peers.len() {
                self.compare(index)?;
            }
        }
    }

    fn prepare(&mut self, index: usize) -> io::Result<()> {
        let peer = &mut self.peers[index];
        let question = self.wire.question(index, self.waves);
        peer.question.clear();
        match &mut peer.end {
            End::Plain(_) => peer.question.extend_from_slice(question),
            End::Sealed(client) => client.seal(question, self.depth, &mut peer.question)?,
        }
        peer.sent = 0;
        peer.came.clear();
        peer.records = Records::default();
        peer.awaited = self.wire.answer(index, self.waves).len();
        Ok(())
    }

    fn wave(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        for peer in &mut self.peers {
            peer.send()?;
        }
        let mut waiting = self.peers.len();
        let mut events = vec![EpollEvent::empty(); 1024];
        while waiting > 0 {
            let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
            if ready == 0 && begun.elapsed() > Duration::from_millis(PATIENCE_MS.into()) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server stopped answering"));
            }
            for event in &events[..ready] {
                let peer = &mut self.peers[event.data() as usize];
                peer.send()?;
                if !peer.is_answered() && peer.receive(&mut self.inbox)? {
                    self.latencies.saturating_record(begun.elapsed().as_nanos() as u64);
                    waiting -= 1;
                }
            }
        }
        Ok(())
    }

    fn compare(&mut self, index: usize) -> io::Result<()> {
        let peer = &mut self.peers[index];
        let mut opened = Vec::new();
        let came = match &mut peer.end {
            End::Plain(_) => &peer.came,
            End::Sealed(client) => {
                client.open_records(&peer.came, &mut opened)?;
                &opened
            }
        };
        match came == self.wire.answer(index, self.waves) {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not the question")),
        }
    }
}

impl Peer {
    fn send(&mut self) -> io::Result<()> {
        while self.sent < self.question.len() {
            match self.end.socket().write(&self.question[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes in what has come; whether the answer is whole.
    fn receive(&mut self, inbox: &mut [u8]) -> io::Result<bool> {
        loop {
            match self.end.socket().read(inbox) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed")),
                Ok(read) => {
                    self.came.extend_from_slice(&inbox[..read]);
                    if matches!(self.end, End::Sealed(_)) {
                        self.records.count(&self.came);
                    }
                    if self.is_answered() || read < inbox.len() {
                        return Ok(self.is_answered());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn is_answered(&self) -> bool {
        let came = match self.end {
            End::Plain(_) => self.came.len(),
            End::Sealed(_) => self.records.plain,
        };
        came >= self.awaited
    }
}
