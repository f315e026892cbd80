//! One socket in memory: what its client has sent, and what it has received.

use std::{
    io::{self, ErrorKind, IoSlice},
    net::SocketAddr,
};

use bytes::{Buf, BytesMut};

use crate::{ConnId, sub_reactor::Readiness};

/// Where a socket stands for the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Dialled, and the test has not said yet how that ends.
    Dialled,
    /// It has, and the engine has not asked yet.
    Answered,
    Connected,
    /// Closed by the engine, or taken out of it.
    Closed,
}

/// Whether an edge is due by what was done; an error says why a client cannot do that.
pub(super) type Deed = Result<bool, &'static str>;

/// One socket, both ends of it.
///
/// ```text
/// client ── input, fin, error ──> engine      arrived, not read yet
/// client <── window ── output, fin ── engine  taken by the kernel, and so received
/// ```
pub(super) struct Socket {
    pub(super) id: ConnId,
    pub(super) state: State,
    /// Whom the engine has dialled, where that is an address.
    pub(super) dialled: Option<SocketAddr>,
    /// The number it has in the engine's index, as if it were a descriptor.
    pub(super) descriptor: Option<i32>,
    /// On the kernel's list of edges.
    pub(super) has_edge: bool,
    /// What the client has sent and the engine has not read.
    input: BytesMut,
    /// The client has said FIN, behind its input.
    fin: bool,
    /// The client has reset the connection.
    is_broken: bool,
    /// What is told once: by a call, or by `SO_ERROR`.
    error: Option<io::Error>,
    pub(super) output: Vec<u8>,
    /// So many more bytes the client takes.
    window: usize,
    pub(super) fin_received: bool,
    pub(super) reset_received: bool,
    /// Whether the client says FIN when it is told FIN.
    answers_fin: bool,
    watches_writing: bool,
    /// The engine has met a full socket: room is worth an edge.
    was_full: bool,
}

impl Socket {
    pub(super) fn new(id: ConnId, state: State, descriptor: Option<i32>) -> Self {
        Socket {
            id,
            state,
            dialled: None,
            descriptor,
            has_edge: false,
            input: BytesMut::new(),
            fin: false,
            is_broken: false,
            error: None,
            output: Vec::new(),
            window: usize::MAX,
            fin_received: false,
            reset_received: false,
            answers_fin: true,
            watches_writing: false,
            was_full: false,
        }
    }

    /// What `epoll_wait` would say of it now.
    pub(super) fn readiness(&self) -> Readiness {
        let ended = self.fin || self.is_broken;
        let has_room = self.window > 0 || self.is_broken;
        let readable = !self.input.is_empty() || ended;
        let ready = match self.state {
            State::Connected => Readiness::simulated(readable, self.watches_writing && has_room, ended),
            // The end of a connect is told as room to write.
            State::Answered => Readiness::simulated(false, true, false),
            State::Dialled | State::Closed => return Readiness::simulated(false, false, false),
        };
        if self.error.is_some() { ready.with_error() } else { ready }
    }
}

/// # For the client
impl Socket {
    pub(super) fn arrive(&mut self, bytes: &[u8]) -> Deed {
        if self.fin {
            return Err("its client has said FIN, and can send no more");
        }
        let arrives = self.is_alive()?;
        if arrives {
            self.input.extend_from_slice(bytes);
        }
        Ok(arrives && !bytes.is_empty())
    }

    pub(super) fn end(&mut self) -> Deed {
        Ok(self.is_alive()? && !std::mem::replace(&mut self.fin, true))
    }

    /// As TCP has it: what has arrived can still be read, what is sent from now on is lost.
    pub(super) fn break_off(&mut self) -> Deed {
        let breaks = self.is_alive()?;
        if breaks {
            let kind = if self.fin { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset };
            self.error = Some(kind.into());
            self.is_broken = true;
        }
        Ok(breaks)
    }

    pub(super) fn set_window(&mut self, bytes: usize) -> Deed {
        self.window = bytes;
        let has_room_again = self.was_full && bytes > 0;
        self.was_full &= bytes == 0;
        Ok(has_room_again && self.watches_writing)
    }

    pub(super) fn set_answer(&mut self, answers_fin: bool) -> Deed {
        self.answers_fin = answers_fin;
        Ok(false)
    }

    /// Ends a connect; with no error it was made.
    pub(super) fn decide(&mut self, error: Option<io::Error>) -> Deed {
        if self.state != State::Dialled {
            return Err("it is not being dialled, or no longer");
        }
        self.state = State::Answered;
        self.error = error;
        Ok(true)
    }

    /// Whether what the client does reaches the engine: what it does when the engine has closed is lost.
    fn is_alive(&self) -> Result<bool, &'static str> {
        match self.state {
            State::Dialled | State::Answered => Err("it is not connected"),
            State::Connected => Ok(!self.is_broken),
            State::Closed => Ok(false),
        }
    }
}

/// # For the engine
impl Socket {
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.len().min(buffer.len());
        if n > 0 {
            self.input.copy_to_slice(&mut buffer[..n]);
            return Ok(n);
        }
        match self.error.take() {
            Some(error) => Err(error),
            None if self.fin || self.is_broken => Ok(0),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn send(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_broken || self.fin_received {
            return Err(self.error.take().unwrap_or_else(|| ErrorKind::BrokenPipe.into()));
        }
        let all: usize = pieces.iter().map(|piece| piece.len()).sum();
        let taken = all.min(self.window);
        self.was_full |= taken < all;
        if taken < all && taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut left = taken;
        for piece in pieces {
            let n = piece.len().min(left);
            self.output.extend_from_slice(&piece[..n]);
            left -= n;
        }
        self.window -= taken;
        Ok(taken)
    }

    /// The engine says FIN; whether the client's answer is an edge.
    pub(super) fn shutdown_write(&mut self) -> bool {
        self.fin_received |= !self.is_broken;
        self.answers_fin && self.end().unwrap_or(false)
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        if self.state == State::Answered && self.error.is_none() {
            self.state = State::Connected;
        }
        self.error.take()
    }

    /// Registered anew: what is there already is an edge then.
    pub(super) fn watch_writable(&mut self, on: bool) -> bool {
        self.watches_writing = on;
        self.readiness().is_any()
    }

    /// With input unread the kernel resets, whatever was asked for.
    pub(super) fn close(&mut self, with_reset: bool) {
        if self.state == State::Connected && !self.is_broken {
            let is_reset = with_reset || !self.input.is_empty();
            self.reset_received |= is_reset;
            self.fin_received |= !is_reset;
        }
        self.state = State::Closed;
        self.input = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> Socket {
        Socket::new(ConnId::from_u64(1 << 32).unwrap(), State::Connected, None)
    }

    #[test]
    fn an_edge_comes_with_something_new_and_not_with_what_still_waits() {
        let mut socket = socket();
        assert_eq!(socket.arrive(b"abcd"), Ok(true));
        assert_eq!(socket.receive(&mut [0; 3]).unwrap(), 3);
        assert_eq!((socket.arrive(b""), socket.set_window(usize::MAX)), (Ok(false), Ok(false)));
        assert_eq!((socket.end(), socket.end()), (Ok(true), Ok(false)));
        assert_eq!(socket.receive(&mut [0; 3]).unwrap(), 1, "FIN comes behind the bytes");
        assert_eq!(socket.receive(&mut [0; 3]).unwrap(), 0);

        let mut full = self::socket();
        let bytes = [IoSlice::new(b"abcd")];
        assert_eq!(full.set_window(6), Ok(false));
        assert_eq!((full.send(&bytes).unwrap(), full.send(&bytes).unwrap()), (4, 2));
        assert_eq!(full.send(&bytes).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(full.set_window(1), Ok(false), "nobody watches");
        assert!(full.watch_writable(true), "there is room already");
        assert_eq!(full.set_window(9), Ok(false), "there was room before");
        assert_eq!(
            (full.send(&bytes).unwrap(), full.send(&bytes).unwrap(), full.send(&bytes).unwrap()),
            (4, 4, 1)
        );
        assert_eq!(full.set_window(0), Ok(false));
        assert_eq!(full.set_window(1), Ok(true));
    }

    #[test]
    fn a_broken_connection_gives_what_had_arrived_then_its_error_then_nothing() {
        let mut socket = socket();
        assert_eq!(socket.arrive(b"abc"), Ok(true));
        assert_eq!((socket.break_off(), socket.break_off()), (Ok(true), Ok(false)));
        assert_eq!(socket.receive(&mut [0; 9]).unwrap(), 3);
        assert_eq!(socket.receive(&mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(socket.receive(&mut [0; 9]).unwrap(), 0);
        let sent = socket.send(&[IoSlice::new(b"abcd")]);
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
