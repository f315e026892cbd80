//! TLS on a connection, on its way out: what is sent is sealed where it leaves, and what waits is sealed already.

use super::Core;
use crate::{
    Sent,
    connection::{Connection, Flags, Phase},
    id::Key,
    payload::Body,
    sent::GONE,
};

/// What the place for sealing keeps for the next time.
const MOST_KEPT: usize = 256 << 10;

impl Core {
    /// Seals a payload, and puts it behind what waits.
    pub(super) fn seal_and_enqueue(&mut self, key: Key, body: &Body<'_>) -> Sent {
        let mut out = std::mem::take(&mut self.sealed);
        let sent = match self.seal(key, &[body.bytes()], &mut out) {
            true => self.enqueue_sealed(key, Body::Borrowed(&out)),
            false => GONE,
        };
        self.put_back(out);
        sent
    }

    /// Seals what was gathered, with what follows it, and writes it; what the kernel does not take is queued. Of the pieces
    /// `in_hand` bytes were accepted before.
    pub(super) fn seal_and_write(&mut self, key: Key, pieces: &[&[u8]], in_hand: usize) -> Sent {
        let mut out = std::mem::take(&mut self.sealed);
        let sent = match self.seal(key, pieces, &mut out) {
            true => self.write_sealed(key, &out, in_hand),
            false => GONE,
        };
        self.put_back(out);
        sent
    }

    /// Sends what the peer must hear. Nothing follows a message of a handshake that goes on: it leaves at once. A ticket, or an
    /// alert, is queued, and leaves with what is sent in this turn.
    #[cold]
    pub(super) fn answer_sealed(&mut self, key: Key, goes_on: bool) {
        let has_parted = |c: &Connection| c.flags.intersects(Flags::SHUT_WANTED | Flags::SHUT);
        if self.connections.get(key).is_some_and(has_parted) {
            // Behind our goodbye nothing is said, and behind our FIN nothing can be.
            return;
        }
        let out = std::mem::take(&mut self.sealed);
        let _ = match goes_on {
            true => self.write_sealed(key, &out, 0),
            false => self.enqueue_sealed(key, Body::Borrowed(&out)),
        };
        self.sealed = out;
    }

    /// Says that no more will be sent, behind all that is. A body that is not sealed yet says so itself, with its last part.
    pub(super) fn put_close_notify(&mut self, key: Key) {
        let is_sealed =
            |c: &&Connection| c.flags.contains(Flags::TLS) && c.phase != Phase::Closed && c.unsealed() == 0;
        if self.connections.get(key).filter(is_sealed).is_none() {
            return;
        }
        if self.corked(key) > 0 {
            self.flush_cork();
        }
        let mut out = Vec::new();
        if let Some(secure) = self.connections.get_mut(key).and_then(Connection::secure_mut)
            && !secure.is_broken
        {
            secure.session.close_notify(&mut out);
        }
        if !out.is_empty() {
            let _ = self.enqueue_sealed(key, Body::Borrowed(&out));
        }
    }

    /// Seals plaintext into the reactor's place for it; false when that cannot be.
    pub(super) fn seal(&mut self, key: Key, pieces: &[&[u8]], out: &mut Vec<u8>) -> bool {
        out.clear();
        let secure = self.connections.get_mut(key).and_then(Connection::secure_mut);
        secure.is_some_and(|secure| secure.session.send(pieces, out).is_ok())
    }

    pub(super) fn put_back(&mut self, mut out: Vec<u8>) {
        out.clear();
        out.shrink_to(MOST_KEPT);
        self.sealed = out;
    }
}
