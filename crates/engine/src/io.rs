//! The seam: the few socket calls of the hot path.
//!
//! A release build has the kernel behind it and nothing between; in tests a simulator can stand in, which returns short
//! reads and writes, `EINTR` and resets where it likes.

use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::sys::socket::{self, MsgFlags, Shutdown};
use socket2::SockRef;

/// The calls a simulator has to answer.
#[cfg(test)]
pub(crate) trait Simulator {
    fn receive(&mut self, fd: i32, buffer: &mut [u8]) -> io::Result<usize>;
    fn send(&mut self, fd: i32, bytes: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// Who answers the hot path's socket calls.
pub(crate) enum Io {
    Kernel,
    #[cfg(test)]
    Simulated(Box<dyn Simulator>),
}

impl Io {
    /// `recv(2)`: 0 is the end of the stream; interrupted calls are made again.
    #[inline]
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Io::Kernel => Ok(socket::recv(fd.as_raw_fd(), buffer, MsgFlags::empty())?),
            #[cfg(test)]
            Io::Simulated(simulator) => simulator.receive(fd.as_raw_fd(), buffer),
        })
    }

    /// `send(2)`, without a signal when the peer is gone.
    #[inline]
    pub(crate) fn send(&mut self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Io::Kernel => Ok(socket::send(fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?),
            #[cfg(test)]
            Io::Simulated(simulator) => simulator.send(fd.as_raw_fd(), &[IoSlice::new(bytes)]),
        })
    }

    /// `sendmsg(2)`: several pieces with one call.
    #[inline]
    pub(crate) fn send_vectored(&mut self, fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Io::Kernel => SockRef::from(&fd).send_vectored_with_flags(pieces, MsgFlags::MSG_NOSIGNAL.bits()),
            #[cfg(test)]
            Io::Simulated(simulator) => simulator.send(fd.as_raw_fd(), pieces),
        })
    }

    /// Says FIN.
    pub(crate) fn shutdown_write(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(socket::shutdown(fd.as_raw_fd(), Shutdown::Write)?)
    }
}

#[inline]
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}
