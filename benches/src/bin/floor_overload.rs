//! The floor of the overload: a bare epoll loop before the same crowds as `wheelhouse_overload`, with the least state that
//! turning them away takes. What quiet connections notice beside it is the kernel's doing.
//!
//! It keeps no byte of anybody's: of a message that has not come whole it counts the bytes, and of a broadcast those that
//! the kernel did not take, which it never sends. A broadcast comes whole in one read, or is none. It accepts, reads,
//! broadcasts and buries in pieces, and looks for those who are ready between them: who is over a bound is reset in the
//! piece in which that is seen. So no turn is long for what the loop itself does.
//!
//! Who is ready is served in the order in which epoll tells of it: the quiet wait in line behind those of the crowd who were
//! ready before. With `--quiet-first` they do not, since they have an epoll of their own which is looked at between any two
//! pieces. No server can know whom to prefer; but what they still notice then is the kernel's alone.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use serde_json::json;
use socket2::SockRef;
use wheelhouse_benches::crowd::{Bounds, KEPT, Seen};
use wheelhouse_benches::server;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: server::Options,
    #[command(flatten)]
    bounds: Bounds,
    /// Serve the quiet before any of the crowd who is ready too.
    #[arg(long)]
    quiet_first: bool,
}

/// Events, connections accepted, and connections of a mass work, in one turn.
const PIECE: usize = 16;

const BUFFER: usize = 64 * 1024;

/// From one inspection of who is slow to the next.
const INSPECTION: Duration = Duration::from_secs(1);
const UNTIL_INSPECTION: u16 = 1_000;

fn main() -> io::Result<()> {
    let options = Options::parse();
    options.common.prepare()?;
    let quiet = options.common.bind()?;
    let crowd = server::listen((Ipv4Addr::LOCALHOST, 0).into())?;
    let floor = Floor::new(options.bounds, [quiet, crowd], options.quiet_first)?;
    let crowd: SocketAddr = floor.listeners[CROWD].local_addr()?;
    let (seen, shed) = (floor.seen.clone(), Arc::clone(&floor.shed));
    let counters = move || json!({ "shed": shed.load(Ordering::Relaxed) });
    server::attend_input(
        move |question| seen.answer(question, &crowd.to_string(), &counters),
        || process::exit(0),
    );
    floor.serve()
}

/// The second listener.
const CROWD: usize = 1;

struct Floor {
    epoll: Epoll,
    /// Where the quiet come first, theirs; the other one tells when there is something in it.
    preferred: Option<Epoll>,
    bounds: Bounds,
    listeners: [TcpListener; 2],
    /// By descriptor.
    peers: Vec<Option<Peer>>,
    open: usize,
    /// What half messages would be kept in.
    account: usize,
    /// What concerns all of the crowd, and is done in pieces.
    works: VecDeque<Work>,
    /// When who is slow is looked for next.
    inspection: Instant,
    buffer: Vec<u8>,
    turns: u64,
    shed: Arc<AtomicU64>,
    seen: Seen,
}

struct Peer {
    socket: TcpStream,
    is_crowd: bool,
    /// Bytes of a message that has not come whole, and since when.
    held: usize,
    began: Instant,
    /// Bytes that the kernel did not take.
    unsent: usize,
}

/// So far it has come to the descriptor `next`.
struct Work {
    task: Task,
    next: usize,
}

enum Task {
    Broadcast(Vec<u8>),
    Inspection,
}

impl Floor {
    fn new(bounds: Bounds, listeners: [TcpListener; 2], quiet_first: bool) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let preferred = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&preferred.0, EpollEvent::new(EpollFlags::EPOLLIN, preferred.0.as_raw_fd() as u64))?;
        for listener in &listeners {
            epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, listener.as_raw_fd() as u64))?;
        }
        // Who is accepted inherits it. What a late load sends at once to be echoed must fit, since nothing of it is kept.
        let narrow = |bytes| SockRef::from(&listeners[CROWD]).set_send_buffer_size(bytes);
        bounds.send_buffer.map_or(Ok(()), narrow)?;
        Ok(Self {
            epoll,
            preferred: quiet_first.then_some(preferred),
            bounds,
            listeners,
            peers: Vec::new(),
            open: 0,
            account: 0,
            works: VecDeque::new(),
            inspection: Instant::now(),
            buffer: vec![0; BUFFER],
            turns: 0,
            shed: Arc::default(),
            seen: Seen::default(),
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); PIECE];
        loop {
            let timeout = match self.works.is_empty() {
                true => EpollTimeout::from(UNTIL_INSPECTION),
                false => EpollTimeout::ZERO,
            };
            let ready = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => 0,
                waited => waited?,
            };
            let now = Instant::now();
            self.seen.look(now, || self.turns);
            self.serve_those(&events[..ready])?;
            if let Some(preferred) = &self.preferred {
                let ready = preferred.wait(&mut events, EpollTimeout::ZERO)?;
                self.serve_those(&events[..ready])?;
            }
            self.work();
            if self.bounds.minimum_rate.is_some() && now >= self.inspection {
                self.inspection = now + INSPECTION;
                self.works.push_back(Work { task: Task::Inspection, next: 0 });
            }
            self.turns += 1;
        }
    }

    fn serve_those(&mut self, ready: &[EpollEvent]) -> io::Result<()> {
        for event in ready {
            let fd = event.data() as RawFd;
            match self.listeners.iter().position(|listener| listener.as_raw_fd() == fd) {
                Some(which) => self.accept(which)?,
                None => self.receive(fd),
            }
        }
        Ok(())
    }

    /// Who is one too many is closed at once.
    fn accept(&mut self, which: usize) -> io::Result<()> {
        for _ in 0..PIECE {
            let socket = match self.listeners[which].accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            if self.bounds.most.is_some_and(|most| self.open >= most) {
                self.shed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let fd = socket.as_raw_fd();
            let is_crowd = which == CROWD;
            let epoll = self.preferred.as_ref().filter(|_| !is_crowd).unwrap_or(&self.epoll);
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, fd as u64))?;
            if self.peers.len() <= fd as usize {
                self.peers.resize_with(fd as usize + 1, || None);
            }
            let peer = Peer { socket, is_crowd, held: 0, began: Instant::now(), unsent: 0 };
            self.peers[fd as usize] = Some(peer);
            self.open += 1;
        }
        Ok(())
    }

    /// One read: what it leaves is told of again.
    fn receive(&mut self, fd: RawFd) {
        let Some(Some(peer)) = self.peers.get_mut(fd as usize) else { return };
        let came = match recv(fd, &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => return,
            Ok(0) | Err(_) => return self.close(fd as usize, "Ended"),
            Ok(came) => &self.buffer[..came],
        };
        if !peer.is_crowd {
            // Messages are short, and who does not read its answers is none of the quiet.
            if send(fd, came, UNWAITED) != Ok(came.len()) {
                self.close(fd as usize, "Unread");
            }
        } else if peer.held == 0 && is_whole(came) {
            self.works.push_back(Work { task: Task::Broadcast(came.to_vec()), next: 0 });
        } else {
            if peer.held == 0 {
                peer.began = Instant::now();
            }
            let before = kept(peer.held);
            peer.held += came.len();
            self.account += kept(peer.held) - before;
            if self.bounds.buffer_memory.is_some_and(|most| self.account > most) {
                self.close(fd as usize, "MemoryPressure");
            }
        }
    }

    /// A piece of what concerns all of the crowd.
    fn work(&mut self) {
        let Some(mut work) = self.works.pop_front() else { return };
        let end = (work.next + PIECE).min(self.peers.len());
        for index in work.next..end {
            let Some(peer) = self.peers[index].as_mut().filter(|peer| peer.is_crowd) else { continue };
            match &work.task {
                Task::Broadcast(payload) => {
                    peer.unsent += payload.len() - peer.send(payload);
                    if self.bounds.limit.is_some_and(|limit| peer.unsent > limit) {
                        self.close(index, "BackPressure");
                    }
                }
                Task::Inspection => {
                    if self.bounds.minimum_rate.is_some_and(|bytes| peer.is_slower_than(bytes)) {
                        self.close(index, "SlowPeer");
                    }
                }
            }
        }
        work.next = end;
        if end < self.peers.len() {
            self.works.push_front(work);
        }
    }

    /// With a reset, whatever the reason.
    fn close(&mut self, index: usize, reason: &str) {
        let Some(peer) = self.peers[index].take() else { return };
        self.open -= 1;
        self.account -= kept(peer.held);
        if peer.is_crowd {
            self.seen.closed(reason);
        }
        let _ = SockRef::from(&peer.socket).set_linger(Some(Duration::ZERO));
    }
}

/// Sockets are left as they were accepted: the flag takes no call of its own.
const UNWAITED: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

impl Peer {
    /// What the kernel takes of it; none once it did not take all.
    fn send(&self, payload: &[u8]) -> usize {
        if self.unsent > 0 {
            return 0;
        }
        send(self.socket.as_raw_fd(), payload, UNWAITED).unwrap_or(0)
    }

    /// Whether its message moves at less than so many bytes in a second.
    fn is_slower_than(&self, bytes: usize) -> bool {
        let time = self.began.elapsed();
        self.held > 0 && time >= INSPECTION && (self.held as f64) < bytes as f64 * time.as_secs_f64()
    }
}

/// What so much of a message would be kept in: the bound is met by as many as in the engine.
fn kept(held: usize) -> usize {
    held.next_multiple_of(KEPT)
}

/// Whether it is one message with its length in front.
fn is_whole(came: &[u8]) -> bool {
    came.split_first_chunk().is_some_and(|(length, rest)| u32::from_be_bytes(*length) as usize == rest.len())
}
