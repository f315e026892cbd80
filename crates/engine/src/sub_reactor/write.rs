//! The write path: cork, direct writes, the outbound queue, and what follows when it is empty.

use std::io::{self, ErrorKind, IoSlice};

use bytes::Bytes;

use super::{Core, bounds::SLICE};
use crate::{
    CloseReason, Sent,
    connection::{Flags, Phase},
    id::Key,
    outbound::Outbound,
    payload::Body,
    protocol::SHARE_FROM,
    sent::GONE,
};

impl Core {
    /// The connection about to be served: what it is sent meanwhile leaves with [`Core::uncork`].
    #[inline]
    pub(super) fn cork(&mut self, key: Key) {
        debug_assert!(self.cork.bytes.is_empty(), "the last one was not uncorked");
        self.cork.owner = Some(key);
    }

    /// The batch is over: one write for what it was answered with.
    #[inline]
    pub(super) fn uncork(&mut self) {
        if !self.cork.bytes.is_empty() {
            self.flush_cork();
        }
        self.cork.owner = None;
    }

    /// Bytes of this connection that are gathered and not written yet.
    pub(crate) fn corked(&self, key: Key) -> usize {
        if self.cork.owner == Some(key) { self.cork.bytes.len() } else { 0 }
    }

    /// Drops what was gathered for a connection that is broken; how much it was.
    pub(super) fn drop_cork(&mut self, key: Key) -> usize {
        let corked = self.corked(key);
        if corked > 0 {
            self.cork.bytes.clear();
        }
        corked
    }

    /// Writes a payload now, behind what is corked and its own header; what the kernel does not take is queued.
    pub(super) fn write_through(&mut self, key: Key, header: &[u8], body: Body<'_>) -> Sent {
        let owns_cork = self.cork.owner == Some(key);
        if self.connections.get(key).is_some_and(|c| c.flags.contains(Flags::TLS)) {
            let mut corked = if owns_cork { std::mem::take(&mut self.cork.bytes) } else { Vec::new() };
            let in_hand = corked.len();
            let sent = self.seal_and_write(key, &[&corked, header, body.bytes()], in_hand);
            if owns_cork {
                corked.clear();
                self.cork.bytes = corked;
            }
            return sent;
        }
        let place = if owns_cork { &mut self.cork.bytes } else { &mut self.joined };
        let mut corked = std::mem::take(place);
        if !owns_cork {
            corked.clear();
        }
        let before = corked.len();
        corked.extend_from_slice(header);
        let bytes = body.bytes();
        let Some(connection) = self.connections.get(key) else { return GONE };
        let written = match corked.is_empty() {
            true => self.io.send(connection, bytes),
            false => self.io.send_vectored(connection, &[IoSlice::new(&corked), IoSlice::new(bytes)]),
        };
        let all = corked.len() + bytes.len();
        let sent = match self.wrote(key, written, before) {
            None => GONE,
            Some(n) if n == all => Sent::Accepted,
            Some(n) => {
                let left = &corked[n.min(corked.len())..];
                let queued = self.enqueue_accepted(key, left);
                let rest = skip(body, n.saturating_sub(corked.len()));
                let queued = if queued.is_refused() { queued } else { self.enqueue_sealed(key, rest) };
                self.blocked(key);
                queued
            }
        };
        corked.clear();
        let place = if owns_cork { &mut self.cork.bytes } else { &mut self.joined };
        *place = corked;
        sent
    }

    /// Writes a message of many receivers, before which nothing waits here; what the kernel does not take is queued.
    pub(super) fn write_alone(&mut self, key: Key, bytes: &Bytes) -> Sent {
        let Some(connection) = self.connections.get(key) else { return GONE };
        let limit = self.profiles.get(connection.profile).map_or(0, |profile| profile.rules.marks.limit);
        if connection.flags.contains(Flags::TLS) || bytes.len() > limit {
            return self.queue(key, Body::Counted(bytes.clone()));
        }
        let written = self.io.send(connection, bytes);
        match self.wrote(key, written, 0) {
            None => GONE,
            Some(n) if n == bytes.len() => Sent::Accepted,
            Some(n) => {
                let queued = self.enqueue_sealed(key, Body::Counted(bytes.slice(n..)));
                self.blocked(key);
                if queued.is_refused() { queued } else { self.level(key) }
            }
        }
    }

    /// Writes bytes that are sealed; what the kernel does not take is queued. When the connection breaks, `in_hand` accepted
    /// bytes are lost with it.
    pub(super) fn write_sealed(&mut self, key: Key, bytes: &[u8], in_hand: usize) -> Sent {
        let Some(connection) = self.connections.get(key) else { return GONE };
        let is_able = matches!(connection.phase, Phase::Handshaking | Phase::Open | Phase::Finishing);
        if connection.outbound.is_some() || !is_able {
            let queued = self.enqueue_sealed(key, Body::Borrowed(bytes));
            if queued.is_refused() {
                self.count_lost(key, in_hand);
            }
            return queued;
        }
        let written = self.io.send(connection, bytes);
        match self.wrote(key, written, in_hand) {
            None => GONE,
            Some(n) if n == bytes.len() => Sent::Accepted,
            Some(n) => {
                let queued = self.enqueue_accepted(key, &bytes[n..]);
                self.blocked(key);
                queued
            }
        }
    }

    /// Puts a payload behind what waits already, and sees to it that it leaves.
    pub(super) fn enqueue(&mut self, key: Key, body: Body<'_>) -> Sent {
        match self.connections.get(key).is_some_and(|c| c.flags.contains(Flags::TLS)) {
            true => self.seal_and_enqueue(key, &body),
            false => self.enqueue_sealed(key, body),
        }
    }

    /// The same of bytes that are sealed, or need not be.
    pub(super) fn enqueue_sealed(&mut self, key: Key, body: Body<'_>) -> Sent {
        let stamp = self.clock.stamp();
        let len = body.len();
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return GONE };
            if connection.phase == Phase::Closed {
                return GONE;
            }
            let spare = &mut self.spare_queues;
            let queue = connection
                .outbound
                .get_or_insert_with(|| spare.pop().unwrap_or_else(|| Box::new(Outbound::new(stamp))));
            if queue.is_empty() {
                queue.progress = stamp;
            }
            if !connection.flags.contains(Flags::HOLDS) {
                self.note_holder(key);
                continue;
            }
            match &body {
                Body::Shared(bytes) | Body::Counted(bytes) if bytes.len() >= SHARE_FROM => {
                    return self.enqueue_shared(key, body);
                }
                body if queue.push_copied(&mut self.pool, body.bytes()).is_ok() => {}
                _ => {
                    let wanted = queue.len() + len;
                    if !self.relieve(key, wanted) {
                        return GONE;
                    }
                    continue;
                }
            }
            break;
        }
        self.put_dirty(key);
        Sent::Accepted
    }

    /// Writes what was gathered; the rest is queued.
    pub(super) fn flush_cork(&mut self) {
        let Some(key) = self.cork.owner else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.flags.contains(Flags::TLS) {
            return self.flush_sealed_cork(key);
        }
        let written = self.io.send(connection, &self.cork.bytes);
        match written {
            Ok(n) if n == self.cork.bytes.len() => {
                connection.output_taken(self.clock.stamp());
                self.stats.bytes_out += n as u64;
                self.cork.bytes.clear();
            }
            written => self.queue_cork(key, written),
        }
    }

    fn flush_sealed_cork(&mut self, key: Key) {
        let mut corked = std::mem::take(&mut self.cork.bytes);
        let sent = self.seal_and_write(key, &[&corked], corked.len());
        if !sent.is_refused() && self.connections.get(key).is_some_and(|c| c.outbound.is_some()) {
            self.pause_above_high(key);
        }
        corked.clear();
        self.cork.bytes = corked;
    }

    /// The kernel did not take all that was gathered.
    #[cold]
    fn queue_cork(&mut self, key: Key, written: io::Result<usize>) {
        let mut bytes = std::mem::take(&mut self.cork.bytes);
        if let Some(n) = self.wrote(key, written, bytes.len())
            && !self.enqueue_accepted(key, &bytes[n..]).is_refused()
        {
            self.blocked(key);
            self.pause_above_high(key);
        }
        bytes.clear();
        self.cork.bytes = bytes;
    }

    /// Queues bytes that were accepted before: when the connection has to give way they count as unsent.
    fn enqueue_accepted(&mut self, key: Key, bytes: &[u8]) -> Sent {
        let queued = self.enqueue_sealed(key, Body::Borrowed(bytes));
        if queued.is_refused() {
            self.count_lost(key, bytes.len());
        }
        queued
    }

    /// So many bytes that were accepted are lost with a connection that is over: they count as unsent.
    fn count_lost(&mut self, key: Key, bytes: usize) {
        if let Some(doomed) = self.doomed.iter_mut().rev().find(|doomed| doomed.key == key) {
            doomed.unsent += bytes as u64;
        }
    }

    /// Puts a reference into the queue. The bytes count as the connection's storage, for it may be the last to hold them; a
    /// broadcast's are in the account already.
    fn enqueue_shared(&mut self, key: Key, body: Body<'_>) -> Sent {
        let (bytes, size) = match body {
            Body::Shared(bytes) => (bytes, None),
            Body::Counted(bytes) => (bytes, Some(0)),
            Body::Borrowed(_) => return GONE,
        };
        let size = size.unwrap_or(bytes.len()) + Outbound::PIECE;
        if !self.make_room(key, size) {
            return GONE;
        }
        let Some(queue) = self.connections.get_mut(key).and_then(|connection| connection.outbound.as_mut())
        else {
            self.remove_linear(size);
            return GONE;
        };
        queue.push_shared(bytes, size);
        self.put_dirty(key);
        Sent::Accepted
    }

    /// Counts what the kernel took; none when the connection is broken, and `in_hand` accepted bytes are lost with it.
    fn wrote(&mut self, key: Key, written: io::Result<usize>, in_hand: usize) -> Option<usize> {
        match written {
            Ok(n) => {
                self.stats.bytes_out += n as u64;
                let stamp = self.clock.stamp();
                self.connections.get_mut(key)?.output_taken(stamp);
                Some(n)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(error) => {
                self.doom(key, CloseReason::Io, Some(error), in_hand as u64);
                None
            }
        }
    }

    /// Writes what is queued, until it is gone or the kernel is full.
    pub(super) fn flush(&mut self, key: Key) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            if matches!(connection.phase, Phase::Connecting | Phase::Closed) {
                return;
            }
            if let Some(empty) = connection.outbound.take_if(|queue| queue.is_empty()) {
                self.recycle(empty);
            }
            let Some((offered, written)) = self.write_queued(key) else {
                if self.send_unsealed(key) {
                    self.drained(key);
                }
                return;
            };
            let Some(n) = self.wrote(key, written, 0) else { return };
            self.advance_queue(key, n);
            if n < offered {
                return self.blocked(key);
            }
        }
    }

    /// One system call's worth of the queue; none when there is no queue.
    fn write_queued(&mut self, key: Key) -> Option<(usize, io::Result<usize>)> {
        let connection = self.connections.get(key)?;
        let queue = connection.outbound.as_ref()?;
        let mut pieces = [IoSlice::new(&[]); Outbound::PIECES];
        let filled = queue.pieces(&mut pieces);
        let offered = pieces[..filled].iter().map(|piece| piece.len()).sum();
        let written = match &pieces[..filled] {
            [piece] => self.io.send(connection, piece),
            pieces => self.io.send_vectored(connection, pieces),
        };
        Some((offered, written))
    }

    fn advance_queue(&mut self, key: Key, n: usize) {
        let stamp = self.clock.stamp();
        let Some(queue) = self.connections.get_mut(key).and_then(|c| c.outbound.as_mut()) else { return };
        if n > 0 {
            queue.progress = stamp;
            let freed = queue.advance(&mut self.pool, n);
            if freed > 0 {
                self.remove_linear(freed);
            }
        }
        self.tell_if_low(key);
    }

    /// The kernel is full: it will say when it is not, and a peer that never reads has a deadline.
    fn blocked(&mut self, key: Key) {
        self.set_write_interest(key, true);
        self.pace_output(key);
        self.arm(key);
    }

    /// Nothing is queued any more.
    fn drained(&mut self, key: Key) {
        self.set_write_interest(key, false);
        self.tell_if_low(key);
        let Some(connection) = self.connections.get(key) else { return };
        if connection.phase == Phase::Finishing {
            self.half_close(key);
        } else if connection.flags.contains(Flags::SHUT_WANTED) {
            self.send_fin(key);
        }
    }

    pub(super) fn set_write_interest(&mut self, key: Key, on: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.flags.contains(Flags::WRITE_INTEREST) == on || connection.phase == Phase::Closed {
            return;
        }
        connection.flags.set(Flags::WRITE_INTEREST, on);
        if let Err(error) = self.reregister(key) {
            self.doom(key, CloseReason::Io, Some(error), 0);
        }
    }

    /// At the low mark: reading goes on, and whoever was told `Full` hears of it.
    fn tell_if_low(&mut self, key: Key) {
        let Some(low) = self.profile_of(key).map(|profile| profile.rules.marks.low) else { return };
        let Some(id) = self.connections.id(key) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.queued() > low {
            return;
        }
        if connection.flags.contains(Flags::OWES_WRITABLE) {
            connection.flags.remove(Flags::OWES_WRITABLE);
            self.writable.push_back(id);
        }
        self.unpause(key, Flags::AUTO_PAUSED);
    }

    /// Has the connection's queue flushed at the end of the turn, unless the kernel is known to be full.
    pub(super) fn put_dirty(&mut self, key: Key) {
        let Some(id) = self.connections.id(key) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.flags.intersects(Flags::IN_DIRTY | Flags::WRITE_INTEREST) {
            connection.flags |= Flags::IN_DIRTY;
            self.dirty.push_back(id);
        }
    }

    /// The end of the turn: what was queued during it goes out, but where the kernel has been found full since.
    pub(super) fn flush_dirty(&mut self) {
        // An eviction may put somebody back: he waits for the next turn.
        for _ in 0..self.dirty.len().min(SLICE) {
            let Some(id) = self.dirty.pop_front() else { return };
            let Some(connection) = self.connections.find(id) else { continue };
            connection.flags.remove(Flags::IN_DIRTY);
            if !connection.flags.contains(Flags::WRITE_INTEREST) {
                self.flush(id.key());
            }
        }
    }
}

fn skip(body: Body<'_>, n: usize) -> Body<'_> {
    match body {
        Body::Borrowed(bytes) => Body::Borrowed(&bytes[n..]),
        Body::Shared(bytes) => Body::Shared(bytes.slice(n..)),
        Body::Counted(bytes) => Body::Counted(bytes.slice(n..)),
    }
}
