//! The read path: kernel to shared buffer to protocol to handler, and what is kept when nobody can use it yet.

use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{Core, stage::Stage};
use crate::{
    Action, CloseReason, ConnId, Decoded, Handler, Input, Message,
    connection::{Connection, Flags, Inbound, Linear, Phase},
    id::Key,
    protocol::Frame,
};
use wheelhouse_ring::Ring;

/// The reactor's read buffer, with head-room: what a connection kept is moved in front of what it reads next, so that a
/// protocol always sees one slice.
///
/// ```text
/// | head-room ........ [kept] | [read] ............. |
///                      ^------frame------^
/// ```
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    body: usize,
    scratch: Vec<u8>,
}

impl ReadBuffer {
    /// As much head-room as there is room to read.
    pub(crate) fn new(size: usize) -> Self {
        ReadBuffer { bytes: vec![0; 2 * size], body: size, scratch: Vec::new() }
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.body..]
    }

    fn frame(&mut self, kept: usize, read: usize) -> (&mut [u8], &mut Vec<u8>) {
        (&mut self.bytes[self.body - kept..self.body + read], &mut self.scratch)
    }
}

/// What one read brought about.
enum Step {
    /// So many bytes, and there may be more.
    More(usize),
    /// The kernel has no more, or the connection wants none.
    Done,
}

/// How far the handler got with a frame.
struct Offered {
    used: usize,
    /// Bytes that the protocol needs, those left over included.
    need: usize,
}

impl<H: Handler> Stage<H> {
    /// Reads until the kernel has no more, the connection wants no more, or its budget is spent.
    pub(super) fn read(&mut self, key: Key, buffer: &mut ReadBuffer) {
        let mut budget = self.core.options().read_budget;
        self.core.cork(key);
        self.serve_kept(key, buffer);
        while let Step::More(n) = self.read_once(key, buffer) {
            if n >= budget {
                self.core.put_ready(key);
                break;
            }
            budget -= n;
        }
        self.core.uncork();
    }

    #[inline]
    fn read_once(&mut self, key: Key, buffer: &mut ReadBuffer) -> Step {
        let Some(connection) = self.core.connections.get_mut(key) else { return Step::Done };
        if connection.phase == Phase::Lingering {
            return self.discard(key, buffer);
        }
        if !connection.takes_input() || connection.flags.contains(Flags::EOF) {
            return Step::Done;
        }
        if matches!(connection.inbound, Inbound::Linear(_)) {
            return self.read_linear(key, buffer);
        }
        let Some(fd) = connection.fd.as_ref() else { return Step::Done };
        let room = buffer.room();
        let size = room.len();
        let received = self.core.io.receive(std::os::fd::AsFd::as_fd(fd), room);
        match self.received(key, received) {
            None => Step::Done,
            Some(n) => {
                let kept = self.core.move_kept(key, buffer);
                let (frame, scratch) = buffer.frame(kept, n);
                let offered = self.offer(key, frame, scratch);
                let rest = &frame[offered.used..];
                if !rest.is_empty() {
                    self.core.keep(key, rest, offered.need, size);
                }
                self.after(key, n, size)
            }
        }
    }

    /// What the kernel said; none when there is nothing to offer.
    #[inline]
    fn received(&mut self, key: Key, received: std::io::Result<usize>) -> Option<usize> {
        match received {
            Ok(0) => {
                self.end_of_input(key);
                None
            }
            Ok(n) => {
                self.core.stats.bytes_in += n as u64;
                let stamp = self.core.clock.stamp();
                self.core.connections.get_mut(key)?.last_activity = stamp;
                Some(n)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.core.connections.get_mut(key)?.flags.remove(Flags::READABLE | Flags::THOROUGH);
                None
            }
            Err(error) => {
                self.core.doom(key, CloseReason::Io, Some(error), 0);
                None
            }
        }
    }

    /// Whether to read again: a short read from a TCP socket means drained, unless the event told of more than data.
    #[inline]
    fn after(&mut self, key: Key, n: usize, size: usize) -> Step {
        let Some(connection) = self.core.connections.get_mut(key) else { return Step::Done };
        if n < size && !connection.flags.intersects(Flags::THOROUGH | Flags::UNIX) {
            connection.flags.remove(Flags::READABLE);
            return Step::Done;
        }
        Step::More(n)
    }

    /// The peer's FIN, after the last data.
    fn end_of_input(&mut self, key: Key) {
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.flags.remove(Flags::READABLE | Flags::THOROUGH);
        connection.flags |= Flags::EOF;
        self.call(key, |handler, conn, session| handler.on_eof(conn, session));
        self.core.close_if_both_done(key);
    }

    /// Offers the handler a frame, as the connection's protocol cuts it.
    #[inline]
    fn offer(&mut self, key: Key, frame: &mut [u8], scratch: &mut Vec<u8>) -> Offered {
        match self.core.profile_of(key).map(|profile| &profile.frame) {
            Some(Frame::Raw) => self.offer_raw(key, frame),
            Some(Frame::Protocol(_)) => self.offer_messages(key, frame, scratch),
            None => Offered { used: frame.len(), need: 0 },
        }
    }

    fn offer_raw(&mut self, key: Key, frame: &mut [u8]) -> Offered {
        let len = frame.len();
        self.core.stats.messages_in += 1;
        let mut input = Input::new(frame);
        self.call(key, |handler, conn, session| handler.on_data(conn, session, &mut input));
        let left = input.len();
        Offered { used: len - left, need: left + 1 }
    }

    fn offer_messages(&mut self, key: Key, frame: &mut [u8], scratch: &mut Vec<u8>) -> Offered {
        let mut used = 0;
        loop {
            let left = frame.len() - used;
            let Some(connection) = self.core.connections.get_mut(key) else {
                return Offered { used, need: 0 };
            };
            if left == 0 || !connection.takes_input() {
                return Offered { used, need: left + 1 };
            }
            let Some(profile) = self.core.profiles.get(connection.profile) else {
                return Offered { used, need: 0 };
            };
            let Frame::Protocol(protocol) = &profile.frame else { return Offered { used, need: left + 1 } };
            scratch.clear();
            let mut input = Input::with_scratch(&mut frame[used..], scratch);
            let state = &mut connection.protocol_state;
            let decoded = catch_unwind(AssertUnwindSafe(|| protocol.decode(state, &mut input)));
            used += left - input.len();
            match decoded {
                Ok(Ok(Decoded::Message(message))) => self.offer_message(key, message),
                Ok(Ok(Decoded::Need(need))) => return Offered { used, need },
                Ok(Err(error)) => {
                    let error = std::io::Error::new(ErrorKind::InvalidData, error);
                    self.core.violated(key, error);
                    return Offered { used, need: 0 };
                }
                Err(panic) => {
                    self.call(key, |_, _, _| std::panic::resume_unwind(panic));
                    return Offered { used, need: 0 };
                }
            }
        }
    }

    fn offer_message(&mut self, key: Key, message: Message<'_>) {
        self.core.stats.messages_in += 1;
        let action = self.call(key, |handler, conn, session| handler.on_message(conn, session, message));
        if action == Some(Action::Hold)
            && let Some(connection) = self.core.connections.get_mut(key)
        {
            connection.extras().held = Some((message.kind(), message.bytes().to_vec()));
            connection.flags |= Flags::UNSERVED;
        }
    }

    /// What waited while the connection was paused comes before what is read next.
    fn serve_kept(&mut self, key: Key, buffer: &mut ReadBuffer) {
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        if !connection.flags.contains(Flags::UNSERVED) || !connection.takes_input() {
            return;
        }
        connection.flags.remove(Flags::UNSERVED);
        if let Some((kind, body)) = connection.extras.as_mut().and_then(|extras| extras.held.take()) {
            self.core.stats.messages_in -= 1;
            self.offer_message(key, Message::new(kind, &body));
        }
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        let still_paused = !connection.takes_input();
        if connection.inbound.len() == 0 {
            return;
        }
        if still_paused {
            connection.flags |= Flags::UNSERVED;
            return;
        }
        if matches!(connection.inbound, Inbound::Linear(_)) {
            return self.offer_linear(key, buffer);
        }
        let size = buffer.room().len();
        let kept = self.core.move_kept(key, buffer);
        let (frame, scratch) = buffer.frame(kept, 0);
        let offered = self.offer(key, frame, scratch);
        let rest = &frame[offered.used..];
        if !rest.is_empty() {
            self.core.keep(key, rest, offered.need, size);
        }
    }

    /// Reads straight into the storage of a large message.
    fn read_linear(&mut self, key: Key, buffer: &mut ReadBuffer) -> Step {
        if !self.core.grow_linear(key, buffer.body) {
            return Step::Done;
        }
        let Some(connection) = self.core.connections.get_mut(key) else { return Step::Done };
        let (Inbound::Linear(linear), Some(fd)) = (&mut connection.inbound, &connection.fd) else {
            return Step::Done;
        };
        // No more than the message needs: what is behind it belongs into the shared buffer.
        let end = linear.need.clamp(linear.filled + 1, linear.bytes.len());
        let end = if linear.need <= linear.filled + 1 { linear.bytes.len() } else { end };
        let size = end - linear.filled;
        let room = &mut linear.bytes[linear.filled..end];
        let received = self.core.io.receive(std::os::fd::AsFd::as_fd(fd), room);
        let Some(n) = self.received(key, received) else { return Step::Done };
        let Some(connection) = self.core.connections.get_mut(key) else { return Step::Done };
        let Inbound::Linear(linear) = &mut connection.inbound else { return Step::Done };
        linear.filled += n;
        if linear.filled >= linear.need {
            self.offer_linear(key, buffer);
        }
        self.after(key, n, size)
    }

    fn offer_linear(&mut self, key: Key, buffer: &mut ReadBuffer) {
        let Some(mut linear) = self.core.take_linear(key) else { return };
        let offered = self.offer(key, &mut linear.bytes[..linear.filled], &mut buffer.scratch);
        if offered.used == 0 {
            // Nothing was of use: it stays where it is.
            linear.need = offered.need;
            return self.core.put_linear_back(key, linear);
        }
        let rest = &linear.bytes[offered.used..linear.filled];
        if !rest.is_empty() {
            self.core.keep(key, rest, offered.need, buffer.body);
        }
    }

    /// After our FIN: nobody wants it, but unread it would turn our last bytes into a reset.
    fn discard(&mut self, key: Key, buffer: &mut ReadBuffer) -> Step {
        let Some(fd) = self.core.connections.get(key).and_then(Connection::borrow_fd) else {
            return Step::Done;
        };
        match self.core.io.receive(fd, buffer.room()) {
            Ok(0) => self.core.doom(key, CloseReason::Local, None, 0),
            Ok(n) => return Step::More(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.core.doom(key, CloseReason::Io, Some(error), 0),
        }
        Step::Done
    }
}

impl Core {
    /// Moves what the connection kept to the end of the head-room; how much it was.
    #[inline]
    fn move_kept(&mut self, key: Key, buffer: &mut ReadBuffer) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return 0 };
        let kept = connection.inbound.len();
        if kept == 0 {
            return 0;
        }
        let place = &mut buffer.bytes[buffer.body - kept..buffer.body];
        match &mut connection.inbound {
            Inbound::Inline { len, bytes } => {
                place.copy_from_slice(&bytes[..kept]);
                *len = 0;
            }
            Inbound::Ring(ring) => {
                ring.read_into(&mut self.pool, place);
                connection.inbound = Inbound::EMPTY;
            }
            Inbound::Linear(_) => return 0,
        }
        kept
    }

    /// Keeps what nobody could use yet: a few bytes inside the connection, more in a ring, a large message in storage of
    /// its size.
    fn keep(&mut self, key: Key, rest: &[u8], need: usize, body: usize) {
        let limit = self.options().inbound_limit;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !matches!(connection.phase, Phase::Open) {
            return;
        }
        let is_paused = !connection.takes_input();
        if is_paused {
            connection.flags |= Flags::UNSERVED;
        } else if rest.len() > limit || need > limit + 1 {
            return self.reset(key, CloseReason::InboundOverflow);
        }
        if rest.len() <= Inbound::INLINE && need <= body {
            let mut bytes = [0; Inbound::INLINE];
            bytes[..rest.len()].copy_from_slice(rest);
            connection.inbound = Inbound::Inline { len: rest.len() as u8, bytes };
        } else if rest.len() <= body && (need <= body || is_paused) {
            self.keep_in_ring(key, rest);
        } else {
            let linear = Linear { bytes: rest.to_vec(), filled: rest.len(), need };
            self.put_linear_back(key, Box::new(linear));
        }
    }

    fn keep_in_ring(&mut self, key: Key, rest: &[u8]) {
        let mut ring = Ring::new();
        while ring.write(&mut self.pool, rest).is_err() {
            if !self.relieve(key) {
                return;
            }
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.inbound = Inbound::Ring(ring);
        }
    }

    fn take_linear(&mut self, key: Key) -> Option<Box<Linear>> {
        let connection = self.connections.get_mut(key)?;
        match std::mem::replace(&mut connection.inbound, Inbound::EMPTY) {
            Inbound::Linear(linear) => {
                self.linear -= linear.bytes.len();
                Some(linear)
            }
            other => {
                connection.inbound = other;
                None
            }
        }
    }

    fn put_linear_back(&mut self, key: Key, linear: Box<Linear>) {
        let limit = self.options().inbound_limit;
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.phase == Phase::Open) else {
            return;
        };
        if connection.takes_input() && linear.need > limit + 1 {
            return self.reset(key, CloseReason::InboundOverflow);
        }
        if !connection.takes_input() {
            connection.flags |= Flags::UNSERVED;
        }
        self.linear += linear.bytes.len();
        connection.inbound = Inbound::Linear(linear);
    }

    /// Makes room for what the message needs, within the bounds of the connection and of the reactor.
    fn grow_linear(&mut self, key: Key, step: usize) -> bool {
        let limit = self.options().inbound_limit;
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return false };
            let Inbound::Linear(linear) = &mut connection.inbound else { return false };
            let is_known = linear.need > linear.filled + 1;
            let (have, filled) = (linear.bytes.len(), linear.filled);
            let want = if is_known { linear.need } else { (2 * filled).max(filled + step).min(limit + 1) };
            let want = want.max(filled + 1);
            if have > filled && (have >= want || !is_known) {
                return true;
            }
            if self.pool.lent() + self.linear + (want - have) <= self.pool.limit() {
                linear.bytes.resize(want, 0);
                self.linear += want - have;
                return true;
            }
            if !self.relieve(key) {
                return false;
            }
        }
    }

    /// The connection's input is of no use any more.
    pub(super) fn free_inbound(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.flags.remove(Flags::UNSERVED);
        if let Some(extras) = &mut connection.extras {
            extras.held = None;
        }
        match std::mem::replace(&mut connection.inbound, Inbound::EMPTY) {
            Inbound::Inline { .. } => {}
            Inbound::Ring(mut ring) => ring.clear(&mut self.pool),
            Inbound::Linear(linear) => self.linear -= linear.bytes.len(),
        }
    }

    /// The peer broke the protocol: what it was answered so far still goes out.
    #[cold]
    fn violated(&mut self, key: Key, error: std::io::Error) {
        let id = self.connections.id(key).map(ConnId::as_u64);
        tracing::debug!(?id, %error, "protocol error");
        self.finish_because(key, CloseReason::Protocol, error);
    }
}
