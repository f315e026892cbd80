//! Full handshakes of TLS, many at once: what one costs the server, without its connection's accept and close.
//!
//! The connections are there before. Then each step of all of them is one wave: what the clients compute they compute between
//! the waves, while the server sleeps.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls_stable::ClientConnection;
use serde_json::{Value, json};

use super::{PATIENCE_MS, Spent, connect, watch};
use crate::secure;

/// A wave is over when all have heard something and nothing more has come for so long.
const SILENCE: Duration = Duration::from_millis(20);

/// Handshakes to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub to: SocketAddr,
    /// Its process, to read the CPU time of.
    pub server: Option<u32>,
    /// Handshakes before measuring, and measured.
    pub warm_up: usize,
    /// Those measured.
    pub count: usize,
}

/// Runs the plan; the line that the runner reads.
///
/// # Errors
///
/// What the system refused, or a handshake that failed.
pub fn run(plan: &Plan) -> io::Result<Value> {
    let client = secure::Client::new()?;
    drop(Crowd::gather(plan.to, &client, plan.warm_up)?.shake_hands()?);
    let crowd = Crowd::gather(plan.to, &client, plan.count)?;
    let (begun, before) = (Instant::now(), Spent::at_rest(plan.server)?);
    let peers = crowd.shake_hands()?;
    let spent = Spent::at_rest(plan.server)?.since(&before);
    let group = peers.first().and_then(|peer| peer.tls.negotiated_key_exchange_group());
    Ok(json!({
        "messages": plan.count,
        "seconds": begun.elapsed().as_secs_f64(),
        "server_cpu_ns": spent.server.map(|cpu| cpu.as_nanos() as u64),
        "load_cpu_ns": spent.load.as_nanos() as u64,
        "group": group.map(|group| format!("{:?}", group.name())),
    }))
}

struct Crowd {
    epoll: Epoll,
    peers: Vec<Peer>,
}

struct Peer {
    socket: TcpStream,
    tls: ClientConnection,
    to_send: Vec<u8>,
    came: Vec<u8>,
}

impl Crowd {
    /// So many connections that have been accepted, each with its first message at hand.
    fn gather(to: SocketAddr, client: &secure::Client, count: usize) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut peers = Vec::with_capacity(count);
        for index in 0..count {
            let socket = connect(to, index)?;
            watch(&epoll, &socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            let mut peer = Peer { socket, tls: client.begin()?, to_send: Vec::new(), came: Vec::new() };
            peer.think()?;
            peers.push(peer);
        }
        // Accepting is not what is measured: the server has had the time to do it.
        std::thread::sleep(SILENCE * 5);
        Ok(Self { epoll, peers })
    }

    fn shake_hands(mut self) -> io::Result<Vec<Peer>> {
        while self.peers.iter().any(|peer| peer.tls.is_handshaking() || !peer.to_send.is_empty()) {
            for peer in &mut self.peers {
                peer.socket.write_all(&peer.to_send)?;
                peer.to_send.clear();
            }
            self.listen()?;
            for peer in &mut self.peers {
                peer.think()?;
            }
        }
        Ok(self.peers)
    }

    /// Takes in what comes until all have heard something and the server is silent. What follows the last message is a ticket.
    /// This spins: to wake one who sleeps would be at the server's cost.
    fn listen(&mut self) -> io::Result<()> {
        let mut events = vec![EpollEvent::empty(); 1024];
        let mut waiting = self.peers.len();
        let begun = Instant::now();
        let mut last = begun;
        loop {
            let ready = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
            if ready > 0 {
                last = Instant::now();
            } else if waiting == 0 && last.elapsed() > SILENCE {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_millis(PATIENCE_MS.into()) {
                let what = format!("{waiting} handshakes are not answered");
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            for event in &events[..ready] {
                let peer = &mut self.peers[event.data() as usize];
                let heard = peer.came.len();
                peer.came.resize(heard + (16 << 10), 0);
                let read = peer.socket.read(&mut peer.came[heard..])?;
                peer.came.truncate(heard + read);
                if read == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed"));
                }
                waiting -= usize::from(heard == 0);
            }
        }
    }
}

impl Peer {
    /// Makes of what came what is to be sent.
    fn think(&mut self) -> io::Result<()> {
        let mut came = &self.came[..];
        while !came.is_empty() {
            self.tls.read_tls(&mut came)?;
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
        self.came.clear();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.to_send)?;
        }
        Ok(())
    }
}
