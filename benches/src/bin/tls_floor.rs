//! The floor of TLS: the bare epoll loop of `floor` with the engine's version of rustls between its `recv` and its `send`.
//!
//! It does for each message what `floor` does and what `rustls_memory` does, and nothing else: what separates it from their
//! sum is what the two cost each other, in a processor's caches and predictors, and nobody's code.

#![expect(unsafe_code, reason = "a descriptor is borrowed once, to register it: an owner would be state")]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, SockFlag, accept4, recv, send};
use nix::unistd::close;
use rustls::crypto::cipher::{OutboundPlain, Payload};
use rustls::{Connection, ServerConfig, ServerSide, SliceInput, Tcp};
use wheelhouse_benches::secure;
use wheelhouse_benches::server::{self, Options};

const EVENTS: usize = 1024;
const BUFFER: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let listener = Options::from_command_line()?.bind()?;
    server::stop_when_input_closes();
    serve(&listener, &secure::engine_config()?)
}

fn serve(listener: &TcpListener, config: &Arc<ServerConfig>) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let accepting = listener.as_raw_fd();
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, accepting as u64))?;
    let mut events = vec![EpollEvent::empty(); EVENTS];
    let mut place = Place { buffer: vec![0; BUFFER], out: Vec::new() };
    // By descriptor.
    let mut peers: Vec<Option<Box<Peer>>> = Vec::new();
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            waited => waited?,
        };
        for event in &events[..ready] {
            let fd = event.data() as RawFd;
            if fd == accepting {
                accept_all(&epoll, accepting, config, &mut peers)?;
            } else if let Some(peer) = &mut peers[fd as usize]
                && !echo(fd, peer, event.events(), &mut place)
            {
                peers[fd as usize] = None;
                close(fd)?;
            }
        }
    }
}

struct Peer {
    tls: Connection<ServerSide, Tcp>,
    /// A record that is not whole.
    left: Vec<u8>,
}

/// What is read, and what is sealed: for one peer at a time.
struct Place {
    buffer: Vec<u8>,
    out: Vec<u8>,
}

fn accept_all(
    epoll: &Epoll,
    listener: RawFd,
    config: &Arc<ServerConfig>,
    peers: &mut Vec<Option<Box<Peer>>>,
) -> io::Result<()> {
    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    loop {
        match accept4(listener, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC) {
            Ok(fd) => {
                // SAFETY: the kernel has just opened `fd` for us, and nothing closes it before `add` returns.
                let socket = unsafe { BorrowedFd::borrow_raw(fd) };
                epoll.add(socket, EpollEvent::new(interest, fd as u64))?;
                let tls = Connection::new(Arc::clone(config)).map_err(io::Error::other)?;
                if peers.len() <= fd as usize {
                    peers.resize_with(fd as usize + 1, || None);
                }
                peers[fd as usize] = Some(Box::new(Peer { tls, left: Vec::new() }));
            }
            Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::ECONNABORTED | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends back what has come; `false` when the connection is over, or its peer does not read what it is sent.
fn echo(fd: RawFd, peer: &mut Peer, events: EpollFlags, place: &mut Place) -> bool {
    // Data and FIN raise one edge: a short read is only the end of it when no FIN is behind.
    let ending = events.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
    let Place { buffer, out } = place;
    loop {
        let kept = peer.left.len();
        buffer[..kept].copy_from_slice(&peer.left);
        peer.left.clear();
        let room = &mut buffer[kept..];
        let size = room.len();
        let read = match recv(fd, room, MsgFlags::empty()) {
            Ok(0) => return false,
            Ok(read) => read,
            Err(Errno::EAGAIN) => return true,
            Err(_) => return false,
        };
        out.clear();
        let bytes = &mut buffer[..kept + read];
        let Some(used) = answer(&mut peer.tls, bytes, out) else { return false };
        peer.left.extend_from_slice(&bytes[used..]);
        if !out.is_empty() && send(fd, out, MsgFlags::MSG_NOSIGNAL) != Ok(out.len()) {
            return false;
        }
        if read < size && !ending {
            return true;
        }
    }
}

/// Opens each record that is whole, and seals its plaintext anew: how many bytes are done with. None when the peer is done, or
/// breaks the protocol.
fn answer(tls: &mut Connection<ServerSide, Tcp>, bytes: &mut [u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut used = 0;
    while used < bytes.len() {
        let rest = &mut bytes[used..];
        let start = rest.as_ptr().addr();
        let mut input = SliceInput::new(rest);
        let mut records = tls.read_tls(&mut input, out);
        let plain = match records.next_payload() {
            Some(Ok(Payload::Borrowed(plain))) => {
                let at = plain.as_ptr().addr() - start;
                at..at + plain.len()
            }
            Some(_) => return None,
            None => {
                let is_over = records.state().peer_has_closed();
                return (!is_over).then(|| used + input.into_used());
            }
        };
        drop(records);
        let taken = input.into_used();
        tls.write(OutboundPlain::new(&[&bytes[used..][plain]]), out).ok()?;
        used += taken;
    }
    Some(used)
}
