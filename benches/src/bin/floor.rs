//! The floor: a bare epoll echo loop, which everything else is measured against.
//!
//! One thread, edge-triggered, one shared buffer, read and written straight back. It keeps no state per
//! connection and counts nothing. A short read is taken as drained, so a message costs three system calls
//! with one in flight, of which `epoll_wait` is shared by all that are ready. `recv` and `send` are 2 to 4 %
//! cheaper a message than `read` and `write`.

#![expect(unsafe_code, reason = "a descriptor is borrowed once, to register it: an owner would be state")]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, SockFlag, accept4, recv, send};
use nix::unistd::close;
use wheelhouse_benches::server::{self, Options};

const EVENTS: usize = 1024;
const BUFFER: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let listener = Options::from_command_line()?.bind()?;
    server::stop_when_input_closes();
    Ok(serve(&listener)?)
}

fn serve(listener: &TcpListener) -> nix::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let accepting = listener.as_raw_fd();
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, accepting as u64))?;
    let mut events = vec![EpollEvent::empty(); EVENTS];
    let mut buffer = vec![0; BUFFER];
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            waited => waited?,
        };
        for event in &events[..ready] {
            let fd = event.data() as RawFd;
            if fd == accepting {
                accept_all(&epoll, accepting)?;
            } else if !echo(fd, event.events(), &mut buffer) {
                close(fd)?;
            }
        }
    }
}

fn accept_all(epoll: &Epoll, listener: RawFd) -> nix::Result<()> {
    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    loop {
        match accept4(listener, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC) {
            Ok(fd) => {
                // SAFETY: the kernel has just opened `fd` for us, and nothing closes it before `add` returns.
                let socket = unsafe { BorrowedFd::borrow_raw(fd) };
                epoll.add(socket, EpollEvent::new(interest, fd as u64))?;
            }
            Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::ECONNABORTED | Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends back what has come; `false` when the connection is over.
fn echo(fd: RawFd, events: EpollFlags, buffer: &mut [u8]) -> bool {
    // Data and FIN raise one edge: a short read is only the end of it when no FIN is behind.
    let ending = events.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
    loop {
        let read = match recv(fd, buffer, MsgFlags::empty()) {
            Ok(0) => return false,
            Ok(read) => read,
            Err(Errno::EAGAIN) => return true,
            Err(_) => return false,
        };
        if !send_all(fd, &buffer[..read]) {
            return false;
        }
        if read < buffer.len() && !ending {
            return true;
        }
    }
}

/// Waits where the kernel would not take everything: a queue would be state.
fn send_all(fd: RawFd, mut bytes: &[u8]) -> bool {
    loop {
        match send(fd, bytes, MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) if sent == bytes.len() => return true,
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::EAGAIN) => {
                // SAFETY: `fd` is open: the loop closes a connection only after this returned.
                let socket = unsafe { BorrowedFd::borrow_raw(fd) };
                if poll(&mut [PollFd::new(socket, PollFlags::POLLOUT)], PollTimeout::NONE).is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}
