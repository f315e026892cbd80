//! The WebSocket floor: a bare epoll loop that sends frames back, without a check of anything.
//!
//! As the TCP floor it is one thread, edge-triggered, with one shared buffer, and takes a short read as drained. Frames
//! that arrive whole are unmasked where they lie and leave with one `send`. What it keeps of a connection is whether it
//! has been upgraded, and the beginning of a frame that has not arrived whole: the rest of that is read straight behind
//! it. With `--broadcast` every frame goes to every connection, with one `send` for each.

#![expect(
    unsafe_code,
    reason = "a descriptor is borrowed to register it and to wait for it: an owner would be state"
)]

use std::io::{self, IoSliceMut};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use clap::Parser;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, SockFlag, accept4, recv, send};
use nix::sys::uio::readv;
use nix::unistd::close;
use wheelhouse_benches::server::{self, Options};
use wheelhouse_benches::websocket::{FrameHead, end_of_head, upgrade};

const EVENTS: usize = 1024;
const BUFFER: usize = 64 * 1024;
/// Larger frames end their connection.
const LARGEST: usize = 64 << 20;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Options,
    /// Send every message to every connection.
    #[arg(long)]
    broadcast: bool,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    arguments.common.prepare()?;
    let listener = arguments.common.bind()?;
    server::stop_when_input_closes();
    Floor::new(arguments.broadcast)?.serve(&listener)
}

struct Floor {
    epoll: Epoll,
    buffer: Vec<u8>,
    /// By descriptor.
    connections: Vec<Connection>,
    /// Storage of frames that have been whole: zeroing a new one costs more than the frame.
    spare: Vec<Vec<u8>>,
    broadcast: bool,
}

#[derive(Default)]
struct Connection {
    is_upgraded: bool,
    rest: Rest,
}

/// What has come, but could not be served yet.
#[derive(Default)]
enum Rest {
    #[default]
    Nothing,
    /// Part of a head.
    Head(Vec<u8>),
    Frame(Frame),
}

struct Frame {
    /// At least as long as the frame.
    storage: Vec<u8>,
    arrived: usize,
    whole: usize,
}

/// The connection is over.
struct Over;

impl From<Errno> for Over {
    fn from(_: Errno) -> Self {
        Over
    }
}

impl Floor {
    fn new(broadcast: bool) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (connections, spare) = (Vec::new(), Vec::new());
        Ok(Self { epoll, buffer: vec![0; BUFFER], connections, spare, broadcast })
    }

    fn serve(&mut self, listener: &TcpListener) -> io::Result<()> {
        let accepting = listener.as_raw_fd();
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        self.epoll.add(listener, EpollEvent::new(interest, accepting as u64))?;
        let mut events = vec![EpollEvent::empty(); EVENTS];
        loop {
            let ready = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => 0,
                waited => waited?,
            };
            for event in &events[..ready] {
                let fd = event.data() as RawFd;
                if fd == accepting {
                    self.accept_all(accepting)?;
                } else if self.echo(fd, event.events()).is_err() {
                    self.connections[fd as usize] = Connection::default();
                    close(fd)?;
                }
            }
        }
    }

    fn accept_all(&mut self, listener: RawFd) -> nix::Result<()> {
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        loop {
            match accept4(listener, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC) {
                Ok(fd) => {
                    // SAFETY: the kernel has just opened `fd` for us, and nothing closes it before `add` returns.
                    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
                    self.epoll.add(socket, EpollEvent::new(interest, fd as u64))?;
                    if self.connections.len() <= fd as usize {
                        self.connections.resize_with(fd as usize + 1, Connection::default);
                    }
                }
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::ECONNABORTED | Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Serves what has come.
    fn echo(&mut self, fd: RawFd, events: EpollFlags) -> Result<(), Over> {
        // Where the peer has ended, a short read may have the end behind it: read on to see it.
        let ending = events.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        loop {
            let rest = std::mem::take(&mut self.connections[fd as usize].rest);
            let (drained, read) = match rest {
                Rest::Nothing => self.read(fd, 0),
                Rest::Head(head) => {
                    self.buffer[..head.len()].copy_from_slice(&head);
                    let read = self.read(fd, head.len());
                    if read.is_err() {
                        self.connections[fd as usize].rest = Rest::Head(head);
                    }
                    read
                }
                Rest::Frame(frame) => self.read_rest(fd, frame),
            }
            .or_else(|error| if error == Errno::EAGAIN { Ok((true, 0)) } else { Err(error) })?;
            self.serve_buffer(fd, read)?;
            if drained && !ending {
                return Ok(());
            }
            if drained && read == 0 {
                return Err(Over);
            }
        }
    }

    /// Reads behind what is in the buffer: whether that was all there is, and how much is in it now.
    fn read(&mut self, fd: RawFd, at: usize) -> nix::Result<(bool, usize)> {
        match recv(fd, &mut self.buffer[at..], MsgFlags::empty())? {
            0 => Err(Errno::ECONNRESET),
            read => Ok((read < BUFFER - at, at + read)),
        }
    }

    /// Reads the rest of a frame behind its beginning, and what follows it into the buffer.
    fn read_rest(&mut self, fd: RawFd, mut frame: Frame) -> nix::Result<(bool, usize)> {
        let missing = frame.whole - frame.arrived;
        // SAFETY: `fd` is open: the loop closes a connection only after this returned.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        let behind = IoSliceMut::new(&mut frame.storage[frame.arrived..frame.whole]);
        let read = readv(socket, &mut [behind, IoSliceMut::new(&mut self.buffer)]);
        let read = match read {
            Err(error) => {
                self.connections[fd as usize].rest = Rest::Frame(frame);
                return Err(error);
            }
            Ok(0) => return Err(Errno::ECONNRESET),
            Ok(read) => read,
        };
        frame.arrived += read.min(missing);
        if read < missing {
            self.connections[fd as usize].rest = Rest::Frame(frame);
            return Ok((true, 0));
        }
        let head = FrameHead::parse(&frame.storage).ok_or(Errno::EBADMSG)?;
        head.turn_around(&mut frame.storage[..frame.whole]);
        self.reply(fd, &frame.storage[4..frame.whole]).map_err(|Over| Errno::ECONNRESET)?;
        self.spare.push(frame.storage);
        Ok((read < missing + BUFFER, read - missing))
    }

    /// Serves the first `filled` bytes of the buffer, and keeps what cannot be served yet.
    fn serve_buffer(&mut self, fd: RawFd, filled: usize) -> Result<(), Over> {
        let mut begin = 0;
        if !self.connections[fd as usize].is_upgraded {
            let Some(end) = end_of_head(&self.buffer[..filled]) else {
                return self.keep_head(fd, 0, filled);
            };
            let answer = upgrade(&self.buffer[..end]).ok_or(Over)?;
            send_all(fd, answer.as_bytes())?;
            self.connections[fd as usize].is_upgraded = true;
            begin = end;
        }
        // All whole frames leave at once: behind the first, which lies where it shall, each moves down.
        let (mut out, mut out_end) = (begin, begin);
        let mut at = begin;
        while let Some(head) = FrameHead::parse(&self.buffer[at..filled]) {
            let end = at + head.whole();
            if end > filled {
                break;
            }
            head.turn_around(&mut self.buffer[at..end]);
            if out == out_end {
                (out, out_end) = (at + 4, end);
            } else {
                self.buffer.copy_within(at + 4..end, out_end);
                out_end += end - (at + 4);
            }
            at = end;
        }
        if out < out_end {
            let buffer = std::mem::take(&mut self.buffer);
            let sent = self.reply(fd, &buffer[out..out_end]);
            self.buffer = buffer;
            sent?;
        }
        if at < filled { self.keep(fd, at, filled) } else { Ok(()) }
    }

    /// Keeps the beginning of a frame until the rest is there.
    fn keep(&mut self, fd: RawFd, at: usize, filled: usize) -> Result<(), Over> {
        let Some(head) = FrameHead::parse(&self.buffer[at..filled]) else {
            return self.keep_head(fd, at, filled);
        };
        let whole = head.whole();
        if whole > LARGEST {
            return Err(Over);
        }
        let mut storage = self.spare.pop().unwrap_or_default();
        if storage.len() < whole {
            storage = vec![0; whole];
        }
        let arrived = filled - at;
        storage[..arrived].copy_from_slice(&self.buffer[at..filled]);
        self.connections[fd as usize].rest = Rest::Frame(Frame { storage, arrived, whole });
        Ok(())
    }

    fn keep_head(&mut self, fd: RawFd, at: usize, filled: usize) -> Result<(), Over> {
        if filled - at == BUFFER {
            return Err(Over);
        }
        if at < filled {
            self.connections[fd as usize].rest = Rest::Head(self.buffer[at..filled].to_vec());
        }
        Ok(())
    }

    fn reply(&self, fd: RawFd, frames: &[u8]) -> Result<(), Over> {
        if !self.broadcast {
            return send_all(fd, frames);
        }
        let open = self.connections.iter().enumerate().filter(|(_, connection)| connection.is_upgraded);
        for (to, _) in open {
            // One that cannot be reached ends by its own event.
            let _ = send_all(to as RawFd, frames);
        }
        Ok(())
    }
}

/// Waits where the kernel would not take everything: a queue would be state.
fn send_all(fd: RawFd, mut bytes: &[u8]) -> Result<(), Over> {
    loop {
        match send(fd, bytes, MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) if sent == bytes.len() => return Ok(()),
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::EAGAIN) => {
                // SAFETY: `fd` is open: the loop closes a connection only after this returned.
                let socket = unsafe { BorrowedFd::borrow_raw(fd) };
                poll(&mut [PollFd::new(socket, PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
