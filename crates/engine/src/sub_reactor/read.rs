//! The read path: kernel to shared buffer to protocol to handler, and what is kept when nobody can use it yet.

use std::{
    io::{self, ErrorKind},
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{Core, kept::Left, stage::Stage};
use crate::{
    Action, CloseReason, ConnId, Control, Decoded, Handler, Input, Message, ProtocolError,
    connection::{Flags, Inbound, Phase},
    id::Key,
    protocol::Frame,
};

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

    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.body..]
    }

    /// The last so many bytes in front of what is read.
    pub(super) fn head_room(&mut self, kept: usize) -> &mut [u8] {
        &mut self.bytes[self.body - kept..self.body]
    }

    pub(super) fn frame(&mut self, kept: usize, read: usize) -> (&mut [u8], &mut Vec<u8>) {
        (&mut self.bytes[self.body - kept..self.body + read], &mut self.scratch)
    }
}

/// What one read brought about.
pub(super) enum Step {
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

impl Offered {
    /// What is left; `is_new` when none of the frame had been kept before.
    fn left<'a>(&self, frame: &'a [u8], is_new: bool) -> Left<'a> {
        Left { rest: &frame[self.used..], need: self.need, begins: is_new || self.used > 0 }
    }
}

impl<H: Handler> Stage<H> {
    /// Reads until the kernel has no more, the connection wants no more, or its budget is spent.
    #[inline]
    pub(super) fn read(&mut self, id: ConnId, buffer: &mut ReadBuffer) {
        let mut budget = self.core.options().read_budget;
        if self.core.finishing > 0 {
            // Nobody is to take a message whose answer comes behind the FIN that was asked for before.
            self.core.catch_up(id.key());
        }
        self.core.cork(id.key());
        self.serve_kept(id, buffer);
        while let Step::More(n) = self.read_once(id, buffer) {
            if n >= budget {
                self.core.put_ready(id.key());
                break;
            }
            budget -= n;
        }
        self.core.uncork();
    }

    #[inline]
    fn read_once(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Step {
        let core = &mut self.core;
        let Some(connection) = core.connections.get_mut(id.key()) else { return Step::Done };
        if !connection.reads_plainly() {
            return self.read_specially(id, buffer);
        }
        let room = buffer.room();
        let size = room.len();
        let n = match core.io.receive(connection, room) {
            Ok(n) if n > 0 => n,
            other => return self.end_of_input(id, other),
        };
        connection.last_activity = core.clock.stamp();
        core.stats.bytes_in += n as u64;
        let is_raw = connection.flags.contains(Flags::RAW);
        let kept = if connection.inbound.is_empty() { 0 } else { core.move_kept(id.key(), buffer) };
        let (frame, scratch) = buffer.frame(kept, n);
        let offered = self.offer(id, is_raw, frame, scratch);
        if offered.used < frame.len() {
            self.core.keep(id.key(), offered.left(frame, kept == 0), size);
        }
        self.after(id, n, size)
    }

    /// What is not the common case: a large message, the discarding after our FIN, or nothing to read for.
    #[cold]
    fn read_specially(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Step {
        let Some(connection) = self.core.connections.get(id.key()) else { return Step::Done };
        match connection.phase {
            Phase::Lingering => return self.discard(id.key(), buffer),
            Phase::Handshaking => return self.read_header(id, buffer),
            _ => {}
        }
        if !connection.takes_input() || connection.flags.contains(Flags::EOF) {
            return Step::Done;
        }
        self.read_linear(id, buffer)
    }

    /// Whether to read again: a short read from a TCP socket means drained, unless the event told of more than data.
    #[inline]
    pub(super) fn after(&mut self, id: ConnId, n: usize, size: usize) -> Step {
        let Some(connection) = self.core.connections.get_mut(id.key()) else { return Step::Done };
        if n < size && !connection.flags.intersects(Flags::THOROUGH | Flags::UNIX) {
            connection.flags.remove(Flags::READABLE);
            return Step::Done;
        }
        Step::More(n)
    }

    /// The kernel gave nothing: for now, because of an error, or because of the peer's FIN after the last data.
    #[cold]
    pub(super) fn end_of_input(&mut self, id: ConnId, received: io::Result<usize>) -> Step {
        let key = id.key();
        let Some(connection) = self.core.connections.get_mut(key) else { return Step::Done };
        match received {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.flags.remove(Flags::READABLE | Flags::THOROUGH);
            }
            Err(error) => self.core.doom(key, CloseReason::Io, Some(error), 0),
            Ok(_) => {
                connection.flags.remove(Flags::READABLE | Flags::THOROUGH);
                connection.flags |= Flags::EOF;
                self.call(id, |handler, conn, session| handler.on_eof(conn, session));
                self.core.close_if_both_done(key);
            }
        }
        Step::Done
    }

    /// Offers the handler a frame, as the connection's protocol cuts it.
    #[inline]
    fn offer(&mut self, id: ConnId, is_raw: bool, frame: &mut [u8], scratch: &mut Vec<u8>) -> Offered {
        let offered = match is_raw {
            true => self.offer_data(id, frame),
            false => self.offer_messages(id, frame, scratch),
        };
        if offered.used < frame.len() {
            self.offer_rest(id, is_raw, offered, frame, scratch)
        } else {
            offered
        }
    }

    #[inline(always)]
    fn offer_data(&mut self, id: ConnId, frame: &mut [u8]) -> Offered {
        let len = frame.len();
        self.core.stats.messages_in += 1;
        let mut input = Input::new(frame);
        self.call(id, |handler, conn, session| handler.on_data(conn, session, &mut input));
        let left = input.len();
        Offered { used: len - left, need: left + 1 }
    }

    /// A handler that has changed from raw bytes to messages, or back, is offered what is left in the new way.
    #[cold]
    fn offer_rest(
        &mut self,
        id: ConnId,
        mut was_raw: bool,
        mut offered: Offered,
        frame: &mut [u8],
        scratch: &mut Vec<u8>,
    ) -> Offered {
        while let Some(connection) = self.core.connections.get(id.key())
            && connection.flags.contains(Flags::RAW) != was_raw
            && connection.takes_input()
            && offered.used < frame.len()
        {
            was_raw = !was_raw;
            let rest = &mut frame[offered.used..];
            let more = match was_raw {
                true => self.offer_data(id, rest),
                false => self.offer_messages(id, rest, scratch),
            };
            offered = Offered { used: offered.used + more.used, need: more.need };
        }
        offered
    }

    fn offer_messages(&mut self, id: ConnId, frame: &mut [u8], scratch: &mut Vec<u8>) -> Offered {
        let key = id.key();
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
            let Frame::Protocol(protocol) = profile.frame() else { return Offered { used, need: left + 1 } };
            scratch.clear();
            let mut input = Input::with_scratch(&mut frame[used..], scratch);
            let state = &mut connection.protocol_state;
            let decoded = catch_unwind(AssertUnwindSafe(|| protocol.decode(state, &mut input)));
            let before = used;
            used += left - input.len();
            match decoded {
                Ok(Ok(Decoded::Message(_) | Decoded::Control(_))) if used == before => {
                    let error =
                        ProtocolError("the protocol made a message of no bytes: it would for ever".into());
                    self.core.violated(key, io::Error::new(ErrorKind::InvalidData, error));
                    return Offered { used, need: 0 };
                }
                Ok(Ok(Decoded::Message(message))) => self.offer_message(id, message),
                Ok(Ok(Decoded::Control(control))) => self.offer_control(id, control),
                // What it needs is more than it has, whatever it says.
                Ok(Ok(Decoded::Need(need))) => return Offered { used, need: need.max(left + 1) },
                Ok(Err(error)) => {
                    let error = io::Error::new(ErrorKind::InvalidData, error);
                    self.core.violated(key, error);
                    return Offered { used, need: 0 };
                }
                Err(panic) => {
                    self.call(id, |_, _, _| std::panic::resume_unwind(panic));
                    return Offered { used, need: 0 };
                }
            }
        }
    }

    fn offer_message(&mut self, id: ConnId, message: Message<'_>) {
        self.core.stats.messages_in += 1;
        let action = self.call(id, |handler, conn, session| handler.on_message(conn, session, message));
        if action == Some(Action::Hold) {
            self.core.hold(id.key(), message.kind(), message.bytes());
        }
    }

    /// A ping is answered whatever the handler thinks of it.
    fn offer_control(&mut self, id: ConnId, control: Control<'_>) {
        self.core.settle();
        if let Control::Ping(data) = control {
            self.core.send_control(id.key(), &Control::Pong(data));
        }
        self.call(id, |handler, conn, session| handler.on_control(conn, session, control));
    }

    /// What waited while the connection was paused comes before what is read next.
    #[inline]
    fn serve_kept(&mut self, id: ConnId, buffer: &mut ReadBuffer) {
        let Some(connection) = self.core.connections.get(id.key()) else { return };
        if connection.flags.contains(Flags::UNSERVED) && connection.takes_input() {
            self.offer_kept(id, buffer);
        }
    }

    #[cold]
    fn offer_kept(&mut self, id: ConnId, buffer: &mut ReadBuffer) {
        let key = id.key();
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.flags.remove(Flags::UNSERVED);
        if let Some((kind, body)) = self.core.take_held(key) {
            self.core.stats.messages_in -= 1;
            self.offer_message(id, Message::new(kind, &body));
        }
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        let still_paused = !connection.takes_input();
        if connection.inbound.is_empty() {
            return;
        }
        if still_paused {
            connection.flags |= Flags::UNSERVED;
            return;
        }
        if matches!(connection.inbound, Inbound::Linear(_)) {
            return self.offer_linear(id, buffer);
        }
        let is_raw = connection.flags.contains(Flags::RAW);
        let size = buffer.room().len();
        let kept = self.core.move_kept(key, buffer);
        let (frame, scratch) = buffer.frame(kept, 0);
        let offered = self.offer(id, is_raw, frame, scratch);
        if offered.used < frame.len() {
            self.core.keep(key, offered.left(frame, false), size);
        }
    }

    /// The first input of a connection whose handshake is over: what the last `frame` bytes in the buffer hold behind the
    /// first `header`.
    pub(super) fn offer_first(
        &mut self,
        id: ConnId,
        kept: usize,
        n: usize,
        header: usize,
        buffer: &mut ReadBuffer,
    ) {
        let Some(connection) = self.core.connections.get(id.key()) else { return };
        let is_raw = connection.flags.contains(Flags::RAW);
        let size = buffer.room().len();
        let (frame, scratch) = buffer.frame(kept, n);
        let frame = &mut frame[header..];
        let offered = match connection.takes_input() && !frame.is_empty() {
            true => self.offer(id, is_raw, frame, scratch),
            false => Offered { used: 0, need: 0 },
        };
        if offered.used < frame.len() {
            self.core.keep(id.key(), offered.left(frame, true), size);
        }
    }

    /// Reads straight into the storage of a large message.
    fn read_linear(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Step {
        let key = id.key();
        if !self.core.grow_linear(key, buffer.body) {
            return Step::Done;
        }
        let Some(connection) = self.core.connections.get_mut(key) else { return Step::Done };
        let Inbound::Linear(mut linear) = std::mem::replace(&mut connection.inbound, Inbound::EMPTY) else {
            return Step::Done;
        };
        // No more than the message needs: what is behind it belongs into the shared buffer.
        let is_known = linear.need > linear.filled + 1;
        let end = if is_known { linear.need.min(linear.bytes.len()) } else { linear.bytes.len() };
        let size = end - linear.filled;
        let room = &mut linear.bytes[linear.filled..end];
        let received = self.core.io.receive(connection, room);
        if let Ok(n) = received {
            linear.filled += n;
        }
        let is_whole = linear.filled >= linear.need;
        connection.inbound = Inbound::Linear(linear);
        let n = match received {
            Ok(n) if n > 0 => n,
            other => return self.end_of_input(id, other),
        };
        connection.last_activity = self.core.clock.stamp();
        self.core.stats.bytes_in += n as u64;
        if is_whole {
            self.offer_linear(id, buffer);
        }
        self.after(id, n, size)
    }

    fn offer_linear(&mut self, id: ConnId, buffer: &mut ReadBuffer) {
        let key = id.key();
        let is_raw = self.core.connections.get(key).is_some_and(|c| c.flags.contains(Flags::RAW));
        let Some(mut linear) = self.core.take_linear(key) else { return };
        let offered = self.offer(id, is_raw, &mut linear.bytes[..linear.filled], &mut buffer.scratch);
        if offered.used == 0 {
            // Nothing was of use: it stays where it is.
            linear.need = offered.need;
            return self.core.put_linear(key, linear);
        }
        self.core.remove_linear(linear.bytes.len());
        let frame = &linear.bytes[..linear.filled];
        if offered.used < frame.len() {
            self.core.keep(key, offered.left(frame, true), buffer.body);
        }
    }

    /// After our FIN: nobody wants it, but unread it would turn our last bytes into a reset.
    fn discard(&mut self, key: Key, buffer: &mut ReadBuffer) -> Step {
        let Some(connection) = self.core.connections.get(key) else { return Step::Done };
        match self.core.io.receive(connection, buffer.room()) {
            Ok(0) => self.core.doom(key, CloseReason::Local, None, 0),
            Ok(n) => return Step::More(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.core.doom(key, CloseReason::Io, Some(error), 0),
        }
        Step::Done
    }
}

impl Core {
    /// The peer broke the protocol: what it was answered so far still goes out.
    #[cold]
    fn violated(&mut self, key: Key, error: io::Error) {
        let id = self.connections.id(key).map(tracing::field::display);
        tracing::debug!(id, %error, "protocol error");
        // What the callbacks before it have asked for through a handle comes first.
        self.settle();
        self.finish_because(key, CloseReason::Protocol, error);
    }
}
