//! Input that nobody could use yet: a few bytes inside the connection, a ring, or storage of a large message's size.

use super::{
    Core,
    bounds::{LARGE, LITTLE, MUCH},
    read_buffer::ReadBuffer,
};
use crate::{
    CloseReason, Kind,
    connection::{Connection, Flags, Inbound, Phase},
    id::Key,
    linear::{Linear, Storage},
};
use wheelhouse_ring::Ring;

/// What the handler and its protocol left of a frame.
pub(super) struct Left<'a> {
    pub(super) rest: &'a [u8],
    /// Bytes that the protocol needs, these included.
    pub(super) need: usize,
    /// A message begins with them, and not with what was kept before.
    pub(super) begins: bool,
}

/// A frame of which so much came in more than one read gets storage that it is read straight into: moving it in front of what
/// comes next would take longer with each read.
const TRICKLE: usize = 4 << 10;

impl Core {
    /// Moves what the connection kept in front of a place in the buffer; how much it was.
    pub(super) fn move_kept(&mut self, key: Key, place: usize, buffer: &mut ReadBuffer) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return 0 };
        let kept = connection.inbound.len();
        if kept == 0 {
            return 0;
        }
        let place = buffer.before(place, kept);
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
    pub(super) fn keep(&mut self, key: Key, left: Left<'_>, body: usize) {
        let limit = self.most_kept(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        // Plaintext in front of a handshake that has just begun is nobody's: whoever sits between could have put it there.
        if !matches!(connection.phase, Phase::Open | Phase::Detaching) || connection.is_securing() {
            return;
        }
        if connection.keeps_unserved() {
            connection.flags |= Flags::UNSERVED;
        } else if left.rest.len() > limit || left.need > limit + 1 {
            return self.reset(key, CloseReason::InboundOverflow);
        }
        self.store(key, left, body);
    }

    /// Bytes of input that may wait for the rest of their message.
    fn most_kept(&self, key: Key) -> usize {
        let limit = self.options().inbound_limit;
        // A message of the largest size, and the beginning of a frame behind it.
        self.frames_of(key).map_or(limit, |frames| limit.max(frames.most_on_the_wire() + 256))
    }

    /// The same without a look at the limit.
    pub(super) fn store(&mut self, key: Key, left: Left<'_>, body: usize) {
        let Left { rest, need, begins } = left;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_whole = connection.keeps_unserved();
        // What of a frame comes in many reads is not copied out and back for each.
        let trickles = !begins && rest.len() > TRICKLE && connection.flags.contains(Flags::FRAMES);
        if rest.len() <= Inbound::INLINE && need <= body {
            connection.inbound = Inbound::inline(rest);
        } else if rest.len() <= body && (need <= body && !trickles || is_whole) {
            self.keep_in_ring(key, rest);
        } else {
            let bytes = self.linear_with(rest, need);
            if self.make_room(key, bytes.size()) {
                self.put_linear(key, Box::new(Linear { bytes, filled: rest.len(), need }));
            }
        }
        self.pace_input(key, begins);
    }

    /// Keeps a message that the handler cannot take now.
    pub(super) fn hold(&mut self, key: Key, kind: Kind, body: &[u8]) {
        if !self.make_room(key, body.len()) {
            return;
        }
        let Some(connection) = self.connections.get_mut(key) else { return self.remove_linear(body.len()) };
        connection.extras().under_way().held = Some((kind, body.to_vec()));
        connection.flags |= Flags::UNSERVED;
        self.note_holder(key);
    }

    /// The message on hold, to be offered again.
    pub(super) fn take_held(&mut self, key: Key) -> Option<(Kind, Vec<u8>)> {
        let connection = self.connections.get_mut(key)?;
        let held = connection.under_way_mut()?.held.take()?;
        connection.drop_idle_extras();
        self.remove_linear(held.1.len());
        Some(held)
    }

    /// Takes so many bytes into account; false when `key` itself had to give way.
    pub(super) fn make_room(&mut self, key: Key, bytes: usize) -> bool {
        while !self.add_linear(bytes) {
            if !self.relieve(key, bytes) {
                return false;
            }
        }
        true
    }

    pub(super) fn keep_in_ring(&mut self, key: Key, rest: &[u8]) {
        let mut ring = Ring::new();
        while ring.write(&mut self.pool, rest).is_err() {
            if !self.relieve(key, rest.len()) {
                return;
            }
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.inbound = Inbound::Ring(ring);
        }
        self.note_holder(key);
    }

    /// Takes a large message's storage out of the connection, to offer it; it stays in the account.
    pub(super) fn take_linear(&mut self, key: Key) -> Option<Box<Linear>> {
        let connection = self.connections.get_mut(key)?;
        match std::mem::replace(&mut connection.inbound, Inbound::EMPTY) {
            Inbound::Linear(linear) => Some(linear),
            other => {
                connection.inbound = other;
                None
            }
        }
    }

    /// Puts storage that is in the account into the connection, or drops it when it is of no use any more.
    pub(super) fn put_linear(&mut self, key: Key, linear: Box<Linear>) {
        let limit = self.most_kept(key);
        let is_of_use =
            |c: &&mut Connection| matches!(c.phase, Phase::Open | Phase::Detaching) && !c.is_securing();
        let Some(connection) = self.connections.get_mut(key).filter(is_of_use) else {
            return self.remove_linear(linear.bytes.size());
        };
        if connection.keeps_unserved() {
            connection.flags |= Flags::UNSERVED;
        } else if linear.need > limit + 1 {
            self.remove_linear(linear.bytes.size());
            return self.reset(key, CloseReason::InboundOverflow);
        }
        connection.inbound = Inbound::Linear(linear);
        self.note_holder(key);
    }

    /// Makes room for what the message needs, within the bounds of the connection and of the reactor.
    pub(super) fn grow_linear(&mut self, key: Key, step: usize) -> bool {
        let limit = self.most_kept(key);
        loop {
            let Some(connection) = self.connections.get(key) else { return false };
            let Inbound::Linear(linear) = &connection.inbound else { return false };
            let is_known = linear.need > linear.filled + 1;
            let is_announced = connection.flags.contains(Flags::FRAMES);
            let (have, filled) = (linear.bytes.len(), linear.filled);
            let grown = (2 * filled).max(filled + step);
            let want = match is_known {
                // By what has come, and not by what a peer says.
                true if is_announced => linear.need.min(grown),
                true => linear.need,
                false => grown.min(limit + 1),
            };
            let want = want.max(filled + 1);
            if have > filled && (have >= want || !is_known) {
                return true;
            }
            match self.resize_linear(key, want) {
                true => return true,
                false if !self.relieve(key, want) => return false,
                false => {}
            }
        }
    }

    /// Appends to a large message what did not come straight into its storage; whether it is to be offered now.
    pub(super) fn extend_linear(&mut self, key: Key, bytes: &[u8]) -> bool {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return false };
            let is_frames = connection.flags.contains(Flags::FRAMES);
            let Inbound::Linear(linear) = &mut connection.inbound else { return false };
            let (have, filled) = (linear.bytes.len(), linear.filled);
            let end = filled + bytes.len();
            if end <= have {
                linear.bytes[filled..end].copy_from_slice(bytes);
                linear.filled = end;
                return end >= linear.need || is_frames;
            }
            let want = end.max(linear.need.min(2 * end));
            if !self.resize_linear(key, want) && !self.relieve(key, want) {
                return false;
            }
        }
    }

    /// Makes room for so many bytes, if the account has so much.
    fn resize_linear(&mut self, key: Key, want: usize) -> bool {
        let Some(Inbound::Linear(linear)) = self.connections.get(key).map(|c| &c.inbound) else {
            return true;
        };
        let fits = self.add_linear(Storage::size_of(want) - linear.bytes.size());
        if fits && let Some(Inbound::Linear(linear)) = self.connections.get_mut(key).map(|c| &mut c.inbound) {
            linear.bytes.grow(want, linear.filled);
        }
        fits
    }

    /// Whether a large message lacks so little that one more read may make it whole.
    pub(super) fn lacks_little(&self, key: Key) -> bool {
        match self.connections.get(key).map(|connection| &connection.inbound) {
            Some(Inbound::Linear(linear)) => {
                (2..=LITTLE).contains(&linear.need.saturating_sub(linear.filled))
            }
            _ => false,
        }
    }

    /// Storage that begins with these bytes: of an earlier message that was no larger than this one will be, where there is
    /// some, for fresh memory costs more than all that is done with it.
    fn linear_with(&mut self, rest: &[u8], need: usize) -> Storage {
        let fits = |bytes: &Storage| (rest.len()..=need).contains(&bytes.len());
        match self.spare_linear.iter().rposition(fits) {
            Some(at) => {
                // The last one used is still in the cache.
                let mut bytes = self.spare_linear.remove(at);
                bytes[..rest.len()].copy_from_slice(rest);
                bytes
            }
            None => Storage::beginning_with(rest, rest.len()),
        }
    }

    /// Takes a large message's storage out of the account, and keeps it for the next one.
    pub(super) fn recycle_linear(&mut self, bytes: Storage) {
        let spare: usize = self.spare_linear.iter().map(Storage::size).sum();
        if bytes.len() > LARGE && spare + bytes.size() <= MUCH {
            self.spare_linear.push(bytes);
        }
    }

    /// The connection's input is of no use any more.
    pub(super) fn free_inbound(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.flags.remove(Flags::UNSERVED);
        self.take_held(key);
        self.free_sealed(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        match std::mem::replace(&mut connection.inbound, Inbound::EMPTY) {
            Inbound::Inline { .. } => {}
            Inbound::Ring(mut ring) => ring.clear(&mut self.pool),
            Inbound::Linear(linear) => self.remove_linear(linear.bytes.size()),
        }
    }
}
