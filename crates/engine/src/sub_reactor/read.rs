//! The read path: kernel to shared buffer to protocol to handler, and what is kept when nobody can use it yet.

use std::{
    io::{self, ErrorKind},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    Core,
    bounds::{BULK, LATE_BULK},
    kept::Left,
    read_buffer::ReadBuffer,
    stage::Stage,
};
use crate::{
    Action, CloseReason, ConnId, Control, Decoded, Handler, Input, Message, ProtocolError,
    connection::{Flags, Inbound, Phase},
    id::Key,
    protocol::Frame,
};

/// What one read brought about.
pub(super) enum Step {
    /// So many bytes, and there may be more.
    More(usize),
    /// The kernel has no more, or the connection wants none.
    Done,
}

/// How far the handler got with a frame.
pub(super) struct Offered {
    pub(super) used: usize,
    /// Where what is left ends: WebSocket frames are moved together.
    pub(super) end: usize,
    /// Bytes that the protocol needs, those left over included.
    pub(super) need: usize,
}

impl Offered {
    /// All of it, or nobody is left who would want the rest.
    pub(super) fn all(len: usize) -> Self {
        Offered { used: len, end: len, need: 0 }
    }

    /// All but so many bytes, which nobody can use without more.
    pub(super) fn but(left: usize, len: usize) -> Self {
        Offered { used: len - left, end: len, need: left + 1 }
    }

    fn is_all(&self) -> bool {
        self.used == self.end
    }

    /// What is left; `is_new` when none of the frame had been kept before.
    fn left<'a>(&self, frame: &'a [u8], is_new: bool) -> Left<'a> {
        Left { rest: &frame[self.used..self.end], need: self.need, begins: is_new || self.used > 0 }
    }
}

impl<H: Handler> Stage<H> {
    /// Reads until the kernel has no more, the connection wants no more, or its budget is spent.
    #[inline]
    pub(super) fn read(&mut self, id: ConnId, buffer: &mut ReadBuffer) {
        let (is_late, before) = (buffer.is_bound(), self.core.stats.bytes_in);
        let mut budget = self.core.options().read_budget;
        if is_late {
            budget = budget.min(buffer.most());
        }
        self.core.inflatable = budget;
        if self.core.finishing > 0 {
            // Nobody is to take a message whose answer comes behind the FIN that was asked for before.
            self.core.catch_up(id.key());
        }
        self.core.cork(id.key());
        while let Step::More(n) = self.read_once(id, buffer) {
            if n < budget {
                budget -= n;
            } else if budget > 0 && self.core.lacks_little(id.key()) {
                // Its storage is in the cache now, and would not be after all others'.
                budget = 0;
            } else {
                if budget == 0 {
                    // All of a large message was there.
                    buffer.widen();
                }
                self.core.put_ready(id.key());
                break;
            }
        }
        self.core.uncork();
        let read = self.core.stats.bytes_in - before;
        if read >= BULK || (is_late && read >= LATE_BULK) {
            self.core.come_last(id.key());
        }
    }

    #[inline]
    fn read_once(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Step {
        let core = &mut self.core;
        let Some(connection) = core.connections.get_mut(id.key()) else { return Step::Done };
        if !connection.reads_plainly() {
            let flags = connection.flags;
            if flags.contains(Flags::UNSERVED) && connection.takes_input() {
                // What waited while the connection was paused, or for its turn, comes before what is read next.
                if self.core.inflatable == 0 {
                    self.core.put_ready(id.key());
                    return Step::Done;
                }
                self.offer_kept(id, buffer);
                return Step::More(0);
            }
            return match flags.contains(Flags::TLS) {
                true => self.read_sealed(id, buffer),
                false => self.read_specially(id, buffer),
            };
        }
        let cut = connection.flags & Flags::CUT;
        let room = buffer.room_for(cut.contains(Flags::FRAMES));
        let most = room.len();
        let n = match core.io.receive(connection, room) {
            Ok(n) if n > 0 => n,
            other => return self.end_of_input(id, other),
        };
        connection.last_activity = core.clock.stamp();
        core.stats.bytes_in += n as u64;
        let kept =
            if connection.inbound.is_empty() { 0 } else { core.move_kept(id.key(), buffer.body(), buffer) };
        let (frame, scratch) = buffer.frame(kept, n);
        let offered = if cut.contains(Flags::RAW) {
            match self.offer_data(id, frame) {
                0 => return self.after(id, n, most),
                left => self.offer_rest(id, cut, Offered::but(left, frame.len()), frame, scratch),
            }
        } else {
            self.offer(id, cut, frame, scratch)
        };
        if !offered.is_all() {
            let ordinary = self.core.options().read_buffer;
            self.core.keep(id.key(), offered.left(frame, kept == 0), ordinary);
            buffer.narrow();
        }
        self.after(id, n, most)
    }

    /// What is not the common case: a large message, the discarding after our FIN, or nothing to read for.
    #[cold]
    pub(super) fn read_specially(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Step {
        let Some(connection) = self.core.connections.get(id.key()) else { return Step::Done };
        match connection.phase {
            Phase::Lingering => return self.discard(id.key(), buffer),
            Phase::Proxied => return self.read_header(id, buffer),
            Phase::Handshaking => return self.read_head(id, buffer),
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
            // Only TLS tells of it here: without, it is told where what comes early is read.
            Ok(_) if connection.phase == Phase::Handshaking => self.core.part_early(key),
            Ok(_) => {
                connection.flags.remove(Flags::READABLE | Flags::THOROUGH);
                connection.flags |= Flags::EOF;
                if connection.flags.contains(Flags::FRAMES) {
                    // Without the closing handshake: what was sent before still goes out, and nobody is asked.
                    self.core.settle_all_of(key);
                    self.core.finish_now(key);
                    return Step::Done;
                }
                self.call(id, |handler, conn, session| handler.on_eof(conn, session));
                self.core.close_if_both_done(key);
            }
        }
        Step::Done
    }

    /// Offers the handler a frame, as the connection's protocol cuts it.
    #[inline]
    fn offer(&mut self, id: ConnId, cut: Flags, frame: &mut [u8], scratch: &mut Vec<u8>) -> Offered {
        let offered = self.offer_as(id, cut, frame, scratch);
        if offered.is_all() { offered } else { self.offer_rest(id, cut, offered, frame, scratch) }
    }

    fn offer_as(&mut self, id: ConnId, cut: Flags, frame: &mut [u8], scratch: &mut Vec<u8>) -> Offered {
        if cut.contains(Flags::RAW) {
            Offered::but(self.offer_data(id, frame), frame.len())
        } else if cut.contains(Flags::FRAMES) {
            self.offer_frames(id, frame, scratch)
        } else {
            self.offer_messages(id, frame, scratch)
        }
    }

    /// Offers raw bytes; how many of them were left.
    #[inline(always)]
    fn offer_data(&mut self, id: ConnId, frame: &mut [u8]) -> usize {
        self.core.stats.messages_in += 1;
        let len = frame.len();
        let mut input = Input::new(frame);
        self.call(id, |handler, conn, session| handler.on_data(conn, session, &mut input));
        // It may have put another one in its place.
        input.len().min(len)
    }

    /// A handler that has changed how the bytes are cut is offered what is left in the new way.
    #[cold]
    fn offer_rest(
        &mut self,
        id: ConnId,
        mut cut: Flags,
        mut offered: Offered,
        frame: &mut [u8],
        scratch: &mut Vec<u8>,
    ) -> Offered {
        while let Some(connection) = self.core.connections.get(id.key())
            && connection.flags & Flags::CUT != cut
            && connection.takes_input()
            && !offered.is_all()
        {
            cut = connection.flags & Flags::CUT;
            let rest = &mut frame[offered.used..offered.end];
            let more = self.offer_as(id, cut, rest, scratch);
            offered =
                Offered { used: offered.used + more.used, end: offered.used + more.end, need: more.need };
        }
        offered
    }

    fn offer_messages(&mut self, id: ConnId, frame: &mut [u8], scratch: &mut Vec<u8>) -> Offered {
        let key = id.key();
        let (mut used, end) = (0, frame.len());
        loop {
            let left = frame.len() - used;
            let Some(connection) = self.core.connections.get_mut(key) else {
                return Offered { used, end, need: 0 };
            };
            if left == 0 || !connection.takes_input() {
                return Offered { used, end, need: left + 1 };
            }
            let Some(profile) = self.core.profiles.get(connection.profile) else {
                return Offered { used, end, need: 0 };
            };
            let Frame::Protocol(protocol) = profile.frame() else {
                return Offered { used, end, need: left + 1 };
            };
            scratch.clear();
            let mut input = Input::with_scratch(&mut frame[used..], scratch);
            let state = &mut connection.protocol_state[0];
            let decoded = catch_unwind(AssertUnwindSafe(|| protocol.decode(state, &mut input)));
            let before = used;
            // It may have put another one in its place.
            used += left.saturating_sub(input.len());
            match decoded {
                Ok(Ok(Decoded::Message(_) | Decoded::Control(_))) if used == before => {
                    let error =
                        ProtocolError("the protocol made a message of no bytes: it would for ever".into());
                    self.core.violated(key, io::Error::new(ErrorKind::InvalidData, error));
                    return Offered { used, end, need: 0 };
                }
                Ok(Ok(Decoded::Message(message))) => self.offer_message(id, message),
                Ok(Ok(Decoded::Control(control))) => self.offer_control(id, control),
                // What it needs is more than it has, whatever it says.
                Ok(Ok(Decoded::Need(need))) => return Offered { used, end, need: need.max(left + 1) },
                Ok(Err(error)) => {
                    let error = io::Error::new(ErrorKind::InvalidData, error);
                    self.core.violated(key, error);
                    return Offered { used, end, need: 0 };
                }
                Err(panic) => {
                    self.call(id, |_, _, _| std::panic::resume_unwind(panic));
                    return Offered { used, end, need: 0 };
                }
            }
        }
    }

    /// To a connection that was seen to take input just now.
    #[inline(always)]
    pub(super) fn offer_message(&mut self, id: ConnId, message: Message<'_>) {
        self.core.stats.messages_in += 1;
        let action = self.call_open(id, |handler, conn, session| handler.on_message(conn, session, message));
        if action == Some(Action::Hold) {
            self.core.hold(id.key(), message.kind(), message.bytes());
        }
    }

    /// A ping is answered whatever the handler thinks of it.
    pub(super) fn offer_control(&mut self, id: ConnId, control: Control<'_>) {
        self.core.settle();
        if let Control::Ping(data) = control {
            self.core.send_control(id.key(), &Control::Pong(data));
        }
        self.call(id, |handler, conn, session| handler.on_control(conn, session, control));
    }

    /// Offers the message on hold once more, if there is one; what else was kept is next.
    pub(super) fn offer_held(&mut self, id: ConnId) {
        let key = id.key();
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        connection.flags.remove(Flags::UNSERVED);
        if let Some((kind, body)) = self.core.take_held(key) {
            self.core.stats.messages_in -= 1;
            self.offer_message(id, Message::new(kind, &body));
        }
    }

    /// Offers what was kept for a connection that takes input again.
    #[cold]
    fn offer_kept(&mut self, id: ConnId, buffer: &mut ReadBuffer) {
        let key = id.key();
        self.offer_held(id);
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
        let cut = connection.flags & Flags::CUT;
        let size = buffer.size();
        let kept = self.core.move_kept(key, buffer.body(), buffer);
        let (frame, scratch) = buffer.frame(kept, 0);
        let offered = self.offer(id, cut, frame, scratch);
        if !offered.is_all() {
            self.core.keep(key, offered.left(frame, false), size);
        }
    }

    /// Offers the handler a part of the buffer, and keeps what it leaves; `is_new` when nothing of it had been kept before.
    pub(super) fn offer_part(
        &mut self,
        id: ConnId,
        span: Range<usize>,
        is_new: bool,
        buffer: &mut ReadBuffer,
    ) {
        let Some(connection) = self.core.connections.get(id.key()) else { return };
        let (cut, size) = (connection.flags & Flags::CUT, buffer.size());
        let (frame, scratch) = buffer.part(span);
        let offered = match connection.takes_input() && !frame.is_empty() {
            true => self.offer(id, cut, frame, scratch),
            false => Offered { used: 0, end: frame.len(), need: 0 },
        };
        if !offered.is_all() {
            self.core.keep(id.key(), offered.left(frame, is_new), size);
        }
    }

    /// Reads straight into the storage of a large message.
    fn read_linear(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Step {
        let key = id.key();
        if !self.core.grow_linear(key, buffer.size()) {
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
        // Frames are unmasked and looked at as they come, while they are in the cache.
        let is_whole = linear.filled >= linear.need || connection.flags.contains(Flags::FRAMES);
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

    pub(super) fn offer_linear(&mut self, id: ConnId, buffer: &mut ReadBuffer) {
        let key = id.key();
        let Some(cut) = self.core.connections.get(key).map(|c| c.flags & Flags::CUT) else { return };
        let Some(mut linear) = self.core.take_linear(key) else { return };
        let offered = self.offer(id, cut, &mut linear.bytes[..linear.filled], buffer.scratch());
        if offered.used == 0 {
            // Nothing was of use: it stays where it is.
            linear.need = offered.need;
            linear.filled = offered.end;
            return self.core.put_linear(key, linear);
        }
        self.core.remove_linear(linear.bytes.size());
        let frame = &linear.bytes[..linear.filled];
        if !offered.is_all() {
            self.core.keep(key, offered.left(frame, true), buffer.size());
        }
        self.core.recycle_linear(linear.bytes);
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
    /// Much was read of it: the next time those who have little go first.
    #[cold]
    fn come_last(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.flags |= Flags::BULKY;
        }
    }

    /// The peer broke the protocol: what it was answered so far still goes out.
    #[cold]
    pub(super) fn violated(&mut self, key: Key, error: io::Error) {
        let id = self.connections.id(key).map(tracing::field::display);
        tracing::debug!(id, %error, "protocol error");
        // What the callbacks before it have asked for through a handle comes first.
        self.settle();
        self.finish_because(key, CloseReason::Protocol, Some(error));
    }
}
