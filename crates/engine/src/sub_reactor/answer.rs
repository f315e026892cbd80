//! The last that a connection hears: an HTTP answer, and its body, however large.

use std::io::{self, ErrorKind};

use bytes::Bytes;
use wheelhouse_websocket::http::{Answer, Refused};

use super::Core;
use crate::{
    CloseReason,
    connection::{Connection, Flags, Phase},
    id::Key,
    outbound::Outbound,
    payload::Body,
    protocol::SHARE_FROM,
    reply::dated,
};

/// Of a body that waits to be sealed, so much is at once: three records of TLS.
const PART: usize = 48 << 10;
/// And so many times in one turn, at most: 1 MiB.
const PARTS: usize = 21;
/// What sealing adds to a part, at most.
const SEALS: usize = 256;

impl Core {
    /// Sends it and ends the connection gracefully: it reaches the peer though the rest of what that sent is never read. A
    /// body is sent from where it lies; over TLS it is sealed as it leaves.
    pub(super) fn finish_with_answer(&mut self, key: Key, mut head: Vec<u8>, mut body: Bytes) {
        if !self.has_room_for(key, head.len(), body.len()) {
            head = self.without_body(key, body.len());
            body = Bytes::new();
        }
        if self.is_copied(key, body.len()) {
            head.extend_from_slice(&body);
            body.clear();
        }
        let _ = self.enqueue(key, Body::Borrowed(&head));
        match self.is_sealed(key) {
            false if body.is_empty() => {}
            false => _ = self.enqueue(key, Body::Shared(body)),
            true if body.is_empty() => self.put_close_notify(key),
            true => self.keep_unsealed(key, body),
        }
        self.finish_early(key);
    }

    /// What the engine itself has to say.
    pub(super) fn dated(&mut self, refused: Refused) -> Answer {
        dated(refused.answer(), self.date.at(self.clock.calendar()))
    }

    /// Seals and writes what is left of a body, as far as the kernel takes it; whether nothing is left.
    pub(super) fn send_unsealed(&mut self, key: Key) -> bool {
        for _ in 0..PARTS {
            let Some((part, is_last)) = self.next_part(key) else { return true };
            let mut out = std::mem::take(&mut self.sealed);
            if !self.seal(key, &[&part], &mut out) {
                // The session has ended with an alert: nothing follows that.
                self.put_back(out);
                self.free_unsealed(key);
                return true;
            }
            if is_last && let Some(secure) = self.connections.get_mut(key).and_then(Connection::secure_mut) {
                secure.session.close_notify(&mut out);
            }
            let _ = self.write_sealed(key, &out, part.len());
            self.put_back(out);
            let goes_on = |c: &Connection| c.phase == Phase::Finishing && c.outbound.is_none();
            if !self.connections.get(key).is_some_and(goes_on) {
                return false;
            }
        }
        // The others have their turn; no edge will come for this one.
        self.set_write_interest(key, false);
        self.put_dirty(key);
        false
    }

    /// A body is of no use any more.
    pub(super) fn free_unsealed(&mut self, key: Key) {
        let way = self.connections.get_mut(key).and_then(Connection::under_way_mut);
        if let Some(body) = way.and_then(|way| way.unsealed.take()) {
            self.remove_linear(body.len());
        }
    }

    /// The next part of a body that is to be sealed, and whether it is the last. Its bytes leave the account.
    fn next_part(&mut self, key: Key) -> Option<(Bytes, bool)> {
        let way = self.connections.get_mut(key)?.under_way_mut()?;
        let body = way.unsealed.as_mut()?;
        let part = body.split_to(body.len().min(PART));
        let is_last = body.is_empty();
        if is_last {
            way.unsealed = None;
        }
        self.remove_linear(part.len());
        Some((part, is_last))
    }

    fn keep_unsealed(&mut self, key: Key, body: Bytes) {
        let is_over = |c: &Connection| c.phase == Phase::Closed;
        if self.connections.get(key).is_none_or(is_over) || !self.make_room(key, body.len()) {
            return;
        }
        match self.connections.get_mut(key) {
            Some(connection) => connection.extras().under_way().unsealed = Some(body),
            None => return self.remove_linear(body.len()),
        }
        self.note_holder(key);
    }

    /// Whether the buffer memory has room for an answer with a body. Others may have to give way for it, this one does not.
    fn has_room_for(&mut self, key: Key, head: usize, body: usize) -> bool {
        let ring = |bytes: usize| bytes.next_power_of_two().max(SEALS);
        let wanted = match (self.is_copied(key, body), self.is_sealed(key)) {
            _ if body == 0 => return true,
            (true, _) => ring(head + body + SEALS),
            (false, true) => body + ring(head + SEALS).max(ring(PART + SEALS)),
            (false, false) => body + Outbound::PIECE + ring(head),
        };
        self.has_room_beside(key, wanted)
    }

    /// What the peer is told in place of a body that there is no memory for.
    #[cold]
    fn without_body(&mut self, key: Key, body: usize) -> Vec<u8> {
        let id = self.connections.id(key).map(tracing::field::display);
        let memory = self.memory;
        tracing::warn!(
            id,
            body,
            memory,
            "a reply's body does not fit into the buffer memory: 500 in its place"
        );
        if let Some(connection) = self.connections.get_mut(key) {
            let what = format!("a body of {body} bytes does not fit into the buffer memory");
            let error = io::Error::new(ErrorKind::OutOfMemory, what);
            connection.extras().under_way().closing = Some((CloseReason::MemoryPressure, Some(error)));
        }
        let mut out = Vec::new();
        self.dated(Refused { status: 500, what: "no memory for the answer" }).write(&mut out, false);
        out
    }

    /// Whether a body is so short that it goes with its head.
    fn is_copied(&self, key: Key, body: usize) -> bool {
        body < if self.is_sealed(key) { PART } else { SHARE_FROM }
    }

    fn is_sealed(&self, key: Key) -> bool {
        self.connections.get(key).is_some_and(|c| c.flags.contains(Flags::TLS))
    }
}
