//! Input that nobody could use yet: a few bytes inside the connection, a ring, or storage of a large message's size.

use super::{Core, read::ReadBuffer};
use crate::{
    CloseReason, Kind,
    connection::{Connection, Flags, Inbound, Linear, Phase},
    id::Key,
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

impl Core {
    /// Moves what the connection kept to the end of the head-room; how much it was.
    pub(super) fn move_kept(&mut self, key: Key, buffer: &mut ReadBuffer) -> usize {
        let Some(connection) = self.connections.get_mut(key) else { return 0 };
        let kept = connection.inbound.len();
        if kept == 0 {
            return 0;
        }
        let place = buffer.head_room(kept);
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
        let limit = self.options().inbound_limit;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !matches!(connection.phase, Phase::Open | Phase::Detaching) {
            return;
        }
        if !connection.takes_input() {
            connection.flags |= Flags::UNSERVED;
        } else if left.rest.len() > limit || left.need > limit + 1 {
            return self.reset(key, CloseReason::InboundOverflow);
        }
        self.store(key, left, body);
    }

    /// The same without a look at the limit.
    pub(super) fn store(&mut self, key: Key, left: Left<'_>, body: usize) {
        let Left { rest, need, begins } = left;
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_paused = !connection.takes_input();
        if rest.len() <= Inbound::INLINE && need <= body {
            connection.inbound = Inbound::inline(rest);
        } else if rest.len() <= body && (need <= body || is_paused) {
            self.keep_in_ring(key, rest);
        } else if self.make_room(key, rest.len()) {
            let linear = Linear { bytes: rest.to_vec(), filled: rest.len(), need };
            self.put_linear(key, Box::new(linear));
        }
        self.pace_input(key, begins);
    }

    /// Keeps a message that the handler cannot take now.
    pub(super) fn hold(&mut self, key: Key, kind: Kind, body: &[u8]) {
        if !self.make_room(key, body.len()) {
            return;
        }
        let Some(connection) = self.connections.get_mut(key) else { return self.remove_linear(body.len()) };
        connection.extras().held = Some((kind, body.to_vec()));
        connection.flags |= Flags::UNSERVED;
        self.note_holder(key);
    }

    /// The message on hold, to be offered again.
    pub(super) fn take_held(&mut self, key: Key) -> Option<(Kind, Vec<u8>)> {
        let held = self.connections.get_mut(key)?.extras.as_mut()?.held.take()?;
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
        let limit = self.options().inbound_limit;
        let is_of_use = |c: &&mut Connection| matches!(c.phase, Phase::Open | Phase::Detaching);
        let Some(connection) = self.connections.get_mut(key).filter(is_of_use) else {
            return self.remove_linear(linear.bytes.len());
        };
        if connection.takes_input() && linear.need > limit + 1 {
            self.remove_linear(linear.bytes.len());
            return self.reset(key, CloseReason::InboundOverflow);
        }
        if !connection.takes_input() {
            connection.flags |= Flags::UNSERVED;
        }
        connection.inbound = Inbound::Linear(linear);
        self.note_holder(key);
    }

    /// Makes room for what the message needs, within the bounds of the connection and of the reactor.
    pub(super) fn grow_linear(&mut self, key: Key, step: usize) -> bool {
        let limit = self.options().inbound_limit;
        loop {
            let Some(connection) = self.connections.get(key) else { return false };
            let Inbound::Linear(linear) = &connection.inbound else { return false };
            let is_known = linear.need > linear.filled + 1;
            let (have, filled) = (linear.bytes.len(), linear.filled);
            let want = if is_known { linear.need } else { (2 * filled).max(filled + step).min(limit + 1) };
            let want = want.max(filled + 1);
            if have > filled && (have >= want || !is_known) {
                return true;
            }
            if self.add_linear(want - have) {
                if let Some(Inbound::Linear(linear)) = self.connections.get_mut(key).map(|c| &mut c.inbound) {
                    linear.bytes.resize(want, 0);
                }
                return true;
            }
            if !self.relieve(key, want) {
                return false;
            }
        }
    }

    /// The connection's input is of no use any more.
    pub(super) fn free_inbound(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.flags.remove(Flags::UNSERVED);
        self.take_held(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        match std::mem::replace(&mut connection.inbound, Inbound::EMPTY) {
            Inbound::Inline { .. } => {}
            Inbound::Ring(mut ring) => ring.clear(&mut self.pool),
            Inbound::Linear(linear) => self.remove_linear(linear.bytes.len()),
        }
    }
}
