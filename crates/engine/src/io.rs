//! The seam: the few calls that the hot path makes on a connection's socket.
//!
//! An engine has the kernel behind it; the test kit and the simulator put something else there, which keeps sockets in memory
//! and returns short reads and writes, `EINTR` and resets where it likes.

use std::{
    io::{self, ErrorKind, IoSlice},
    os::fd::{AsRawFd, BorrowedFd},
    time::{Duration, Instant},
};

use mio::{Poll, Token, unix::SourceFd};
use nix::{
    libc,
    sys::socket::{self, MsgFlags, Shutdown, sockopt::GetStruct},
};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use socket2::SockRef;

use crate::{
    ConnId, Connect,
    connection::{Connection, Flags},
    id::Sequence,
};

/// A kernel in memory. Its sockets have no descriptors: a connection's sequence number names its socket.
pub(crate) trait Simulator {
    /// A socket is watched from now on, under that name; with its descriptor if it has one all the same, as an adopted one.
    fn register(&mut self, _: ConnId, _: Option<i32>) {}
    /// It is watched no longer: it is somebody else's from now on.
    fn deregister(&mut self, _: Sequence) {}
    /// A connection is dialled; an event tells later that it has ended, and [`take_error`](Simulator::take_error) how.
    fn dial(&mut self, _: ConnId, _: &Connect) {}
    fn receive(&mut self, socket: Sequence, buffer: &mut [u8]) -> io::Result<usize>;
    fn send(&mut self, socket: Sequence, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
    fn shutdown_write(&mut self, socket: Sequence) -> io::Result<()>;
    /// What the socket reports once, as `SO_ERROR` does.
    fn take_error(&mut self, socket: Sequence) -> Option<io::Error>;
    /// Whether room to write is to be told of from now on; told at once when there is some.
    fn watch_writable(&mut self, socket: Sequence, on: bool);
    fn close(&mut self, socket: Sequence, with_reset: bool);
}

/// Who answers the calls.
pub(crate) enum Io {
    Kernel,
    Simulated(Box<dyn Simulator>),
}

impl Io {
    /// Dials, where whoever stands in for the kernel says how it ends; false where the kernel does.
    pub(crate) fn dial(&mut self, id: ConnId, to: &Connect) -> bool {
        match self {
            Io::Kernel => false,
            Io::Simulated(simulator) => {
                simulator.dial(id, to);
                true
            }
        }
    }

    /// `recv(2)`: 0 is the end of the stream; interrupted calls are made again.
    #[inline(always)]
    pub(crate) fn receive(&mut self, connection: &Connection, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Io::Kernel => {
                let fd = borrow(connection)?;
                uninterrupted(|| recv(fd, &mut *buffer, RecvFlags::empty()).map(|(n, _)| n))
            }
            Io::Simulated(simulator) => again(|| simulator.receive(connection.sequence, buffer)),
        }
    }

    /// `send(2)`, without a signal when the peer is gone.
    #[inline(always)]
    pub(crate) fn send(&mut self, connection: &Connection, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Io::Kernel => {
                let fd = borrow(connection)?;
                uninterrupted(|| send(fd, bytes, SendFlags::NOSIGNAL))
            }
            Io::Simulated(simulator) => again(|| simulator.send(connection.sequence, &[IoSlice::new(bytes)])),
        }
    }

    /// `sendmsg(2)`: several pieces with one call.
    pub(crate) fn send_vectored(
        &mut self,
        connection: &Connection,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let flags = MsgFlags::MSG_NOSIGNAL.bits();
        again(|| match self {
            Io::Kernel => SockRef::from(&borrow(connection)?).send_vectored_with_flags(pieces, flags),
            Io::Simulated(simulator) => simulator.send(connection.sequence, pieces),
        })
    }

    /// Says FIN.
    pub(crate) fn shutdown_write(&mut self, connection: &Connection) -> io::Result<()> {
        match self {
            Io::Kernel => Ok(socket::shutdown(raw(connection)?, Shutdown::Write)?),
            Io::Simulated(simulator) => simulator.shutdown_write(connection.sequence),
        }
    }

    /// The error that the socket has to tell of, if any; it tells once.
    pub(crate) fn take_error(&mut self, connection: &Connection) -> Option<io::Error> {
        match self {
            Io::Kernel => SockRef::from(&borrow(connection).ok()?).take_error().unwrap_or_else(Some),
            Io::Simulated(simulator) => simulator.take_error(connection.sequence),
        }
    }

    /// Bytes that the peer's side has taken since the connection began; none where the kernel does not count them.
    pub(crate) fn acknowledged(&self, connection: &Connection) -> Option<u64> {
        match self {
            Io::Kernel => {
                let progress = socket::getsockopt(&borrow(connection).ok()?, Acknowledged);
                progress.ok().map(|progress| progress.bytes_acked)
            }
            Io::Simulated(_) => None,
        }
    }

    /// How a connect ended; none while it is under way.
    pub(crate) fn connect_outcome(&mut self, connection: &Connection) -> Option<io::Result<()>> {
        if let Some(error) = self.take_error(connection) {
            return Some(Err(error));
        }
        let Ok(fd) = borrow(connection) else { return Some(Ok(())) };
        match SockRef::from(&fd).peer_addr() {
            // Not connected yet: an event from before.
            Err(error) if error.kind() == ErrorKind::NotConnected => None,
            outcome => Some(outcome.map(drop)),
        }
    }

    /// How long a step of a handshake took that began then; in memory all take the same, for time is not real there.
    pub(crate) fn time_since(&self, began: Instant) -> Duration {
        match self {
            Io::Kernel => began.elapsed(),
            Io::Simulated(_) => Duration::from_micros(700),
        }
    }

    /// Watches a socket from now on, edge-triggered.
    pub(crate) fn register(&mut self, poll: &Poll, connection: &Connection, token: Token) -> io::Result<()> {
        match self {
            Io::Kernel => {
                let fd = raw(connection)?;
                poll.registry().register(&mut SourceFd(&fd), token, connection.interest())
            }
            Io::Simulated(simulator) => {
                if let Some(id) = ConnId::from_u64(token.0 as u64) {
                    simulator.register(id, raw(connection).ok());
                }
                Ok(())
            }
        }
    }

    /// Watches it for what it is interested in now.
    pub(crate) fn reregister(
        &mut self,
        poll: &Poll,
        connection: &Connection,
        token: Token,
    ) -> io::Result<()> {
        match self {
            Io::Kernel => {
                let fd = raw(connection)?;
                poll.registry().reregister(&mut SourceFd(&fd), token, connection.interest())
            }
            Io::Simulated(simulator) => {
                let on = connection.flags.contains(Flags::WRITE_INTEREST);
                simulator.watch_writable(connection.sequence, on);
                Ok(())
            }
        }
    }

    /// Watches it no longer, though it lives on.
    pub(crate) fn deregister(&mut self, poll: &Poll, connection: &Connection) {
        match (self, raw(connection)) {
            (Io::Kernel, Ok(fd)) => _ = poll.registry().deregister(&mut SourceFd(&fd)),
            (Io::Simulated(simulator), _) => simulator.deregister(connection.sequence),
            _ => {}
        }
    }

    /// Closes the socket, with a reset where one was asked for.
    pub(crate) fn close(&mut self, poll: &Poll, connection: Connection) {
        let with_reset = connection.flags.contains(Flags::RESET);
        if connection.flags.contains(Flags::DUPLICATED) {
            self.deregister(poll, &connection);
        }
        match self {
            Io::Kernel => {
                if let Ok(fd) = borrow(&connection)
                    && with_reset
                {
                    let _ = SockRef::from(&fd).set_linger(Some(Duration::ZERO));
                }
            }
            Io::Simulated(simulator) => simulator.close(connection.sequence, with_reset),
        }
    }
}

/// The beginning of the kernel's `tcp_info`, as it is since Linux 4.1; the kernel fills what there is room for.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Progress {
    _state: [u32; 26],
    _pacing: [u64; 2],
    bytes_acked: u64,
}

const _: () = assert!(std::mem::offset_of!(Progress, bytes_acked) == 120 && size_of::<Progress>() == 128);

#[derive(Clone, Copy)]
struct Acknowledged;

nix::getsockopt_impl!(Acknowledged, libc::IPPROTO_TCP, libc::TCP_INFO, Progress, GetStruct<Progress>);

#[inline]
fn borrow(connection: &Connection) -> io::Result<BorrowedFd<'_>> {
    connection.borrow_fd().ok_or_else(|| ErrorKind::NotConnected.into())
}

#[inline]
fn raw(connection: &Connection) -> io::Result<i32> {
    borrow(connection).map(|fd| fd.as_raw_fd())
}

/// Makes a system call until no signal interrupts it. It is made without the C library, whose `recv` and `send` are where a
/// thread may be cancelled: that takes two locked instructions before each call and behind it.
#[inline(always)]
fn uninterrupted(mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Ok(n) => return Ok(n),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same of a call that is not on everybody's way.
#[cold]
fn again(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}
