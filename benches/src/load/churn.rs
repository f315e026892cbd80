//! Churn: connect, one echo, close, a fixed number of connections at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::{Limit, Outcome, PER_SOURCE, SOURCES, Spent, connect, histogram, wait, watch};

/// Connections to make and drop. The client closes first, as most do: TIME_WAIT is on its side.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub to: SocketAddr,
    /// Its process, to read the CPU time of.
    pub server: Option<u32>,
    /// Threads, each with connections of its own.
    pub threads: usize,
    /// Connections at a time, for each thread.
    pub concurrent: usize,
    /// Bytes in the one message.
    pub size: usize,
    /// How long to run before measuring; a count is one of connections of each thread.
    pub warm_up: Limit,
    /// How long to measure, likewise.
    pub measure: Limit,
}

/// Runs the plan; a message of the outcome is a connection.
///
/// # Errors
///
/// What the system refused, an answer that is not the question, or none at all.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut streams = (0..plan.threads).map(|nth| Stream::new(plan, nth)).collect::<io::Result<Vec<_>>>()?;
    side_by_side(&mut streams, plan.warm_up)?;
    let warmed_up = made(&streams);
    streams.iter_mut().for_each(|stream| stream.latencies.reset());
    let before = Spent::at_rest(plan.server)?;
    let begun = Instant::now();
    side_by_side(&mut streams, plan.measure)?;
    let elapsed = begun.elapsed();
    let spent = Spent::at_rest(plan.server)?.since(&before);
    let messages = made(&streams) - warmed_up;
    let mut latencies = histogram()?;
    for stream in &streams {
        latencies.add(&stream.latencies).map_err(io::Error::other)?;
    }
    Ok(Outcome { messages, elapsed, server_cpu: spent.server, load_cpu: spent.load, latencies })
}

/// All streams at once, each on a thread of its own.
fn side_by_side(streams: &mut [Stream], limit: Limit) -> io::Result<()> {
    thread::scope(|scope| {
        let running: Vec<_> =
            streams.iter_mut().map(|stream| scope.spawn(move || stream.stretch(limit))).collect();
        running.into_iter().try_for_each(|one| {
            one.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the load panicked")))
        })
    })
}

fn made(streams: &[Stream]) -> u64 {
    streams.iter().map(|stream| stream.made).sum()
}

struct Stream {
    to: SocketAddr,
    epoll: Epoll,
    slots: Vec<Option<Visit>>,
    payload: Vec<u8>,
    inbox: Vec<u8>,
    /// Index of the first connection's source: threads share none.
    first: usize,
    made: u64,
    latencies: Histogram<u64>,
}

/// One connection, from connect to close.
struct Visit {
    socket: TcpStream,
    begun: Instant,
    asked: bool,
    returned: usize,
}

impl Stream {
    fn new(plan: &Plan, nth: usize) -> io::Result<Self> {
        Ok(Self {
            to: plan.to,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            slots: (0..plan.concurrent).map(|_| None).collect(),
            payload: (0..plan.size).map(|at| (at % 251) as u8).collect(),
            inbox: vec![0; plan.size + 1],
            first: nth * (SOURCES / plan.threads) * PER_SOURCE,
            made: 0,
            latencies: histogram()?,
        })
    }

    /// Makes connections until `limit`, and sees the last of them closed.
    fn stretch(&mut self, limit: Limit) -> io::Result<()> {
        let begun = Instant::now();
        let already = self.made;
        let is_over = |made: u64| match limit {
            Limit::Time(time) => begun.elapsed() >= time,
            Limit::Count(count) => made - already >= count,
        };
        let mut open = 0;
        for slot in 0..self.slots.len() {
            if !is_over(self.made) {
                self.visit(slot)?;
                open += 1;
            }
        }
        let mut events = vec![EpollEvent::empty(); 1024];
        while open > 0 {
            let ready = wait(&self.epoll, &mut events)?;
            for event in &events[..ready] {
                let slot = event.data() as usize;
                if !self.advance(slot)? {
                    continue;
                }
                self.slots[slot] = None;
                if is_over(self.made) {
                    open -= 1;
                } else {
                    self.visit(slot)?;
                }
            }
        }
        Ok(())
    }

    fn visit(&mut self, slot: usize) -> io::Result<()> {
        let begun = Instant::now();
        let socket = connect(self.to, self.first + self.made as usize)?;
        self.made += 1;
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let asked = self.ask(&socket)?;
        watch(&self.epoll, &socket, EpollEvent::new(interest, slot as u64))?;
        self.slots[slot] = Some(Visit { socket, begun, asked, returned: 0 });
        Ok(())
    }

    /// Sends the question; `false` while the socket is still connecting.
    fn ask(&self, mut socket: &TcpStream) -> io::Result<bool> {
        match socket.write(&self.payload) {
            Ok(sent) if sent == self.payload.len() => Ok(true),
            Ok(_) => Err(io::Error::other("a fresh socket did not take one message whole")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `true` once the answer is back whole.
    fn advance(&mut self, slot: usize) -> io::Result<bool> {
        let Some(visit) = &self.slots[slot] else { return Ok(false) };
        let asked = visit.asked || self.ask(&visit.socket)?;
        let Some(visit) = &mut self.slots[slot] else { return Ok(false) };
        visit.asked = asked;
        let read = match visit.socket.read(&mut self.inbox) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed")),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.payload.get(visit.returned..visit.returned + read) != Some(&self.inbox[..read]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not the question"));
        }
        visit.returned += read;
        if visit.returned < self.payload.len() {
            return Ok(false);
        }
        self.latencies.saturating_record(visit.begun.elapsed().as_nanos() as u64);
        Ok(true)
    }
}
