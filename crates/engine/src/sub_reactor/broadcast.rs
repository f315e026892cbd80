//! Work on very many connections: slices of it, between which events are served.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use wheelhouse_websocket::CloseCode;

use super::{
    Core,
    bounds::{PIECE, SLICE, TURN},
    frames::opcode_of,
    mass::{Broadcast, Mass, Work},
    send::guarded,
    workshop::Kindred,
};
use crate::{
    Audience, CloseReason, ConnId, Payload, Sent,
    connection::{Flags, Phase},
    id::Key,
    payload::Body,
    protocol::{Frame, Output},
};

/// Mass work pauses when so many queues wait for the turn's end.
const FLUSHED: usize = 8 * PIECE;

impl Core {
    /// Has a place in the mailbox, as every broadcast: that bounds how many wait.
    pub(crate) fn broadcast(&mut self, to: Audience, payload: Payload<'static>) {
        let broadcast = Broadcast { to, payload, encoded: Vec::new() };
        self.begin_mass(Work::Broadcast(broadcast));
    }

    /// As every broadcast, behind those that were asked for before.
    pub(crate) fn finish_all(&mut self) {
        let before = self.connections.next_sequence();
        let is_asked_already =
            |mass: &Mass| matches!(mass.work, Work::Finish) && mass.before == before && mass.cursor == Key(0);
        if !self.masses.iter().any(is_asked_already) {
            self.finishing += 1;
            self.masses.push_back(Mass::finish(before));
        }
    }

    pub(super) fn send_many(&mut self, to: Arc<[ConnId]>, payload: Payload<'static>) {
        debug_assert!(to.is_sorted());
        let broadcast = Broadcast { to: Audience::Open, payload, encoded: Vec::new() };
        self.begin_mass(Work::Many { to, next: 0, broadcast });
    }

    fn begin_mass(&mut self, work: Work) {
        let mass = Mass::new(work, self.connections.next_sequence());
        match self.stopping {
            // All that waited for many was dropped at the stop; this comes after it.
            true => self.finish_mass(&mass),
            false => self.masses.push_back(mass),
        }
    }

    /// One slice of mass work, the oldest first.
    pub(super) fn advance_mass(&mut self) {
        let mut done = 0;
        while done < SLICE
            && let Some(mut mass) = self.masses.pop_front()
        {
            let is_alone = self.masses.is_empty();
            let (met, is_done) = self.advance_one(&mut mass, is_alone);
            match is_done {
                true => self.finish_mass(&mass),
                false => self.masses.push_front(mass),
            }
            // Work that meets nobody takes time too.
            done += met.max(1);
            // What is queued has to leave within the turn: very many small queues would take more memory than one broadcast.
            if self.clock.is_past(TURN) || self.dirty.len() >= FLUSHED {
                return;
            }
        }
    }

    /// One piece of one mass: how many it met, and whether it is done. Where it `is_alone` nothing more is in store for them,
    /// and what they get leaves at once.
    fn advance_one(&mut self, mass: &mut Mass, is_alone: bool) -> (usize, bool) {
        if let Work::Many { to, next, broadcast } = &mut mass.work {
            let range = *next..to.len().min(*next + PIECE);
            let met = range.len();
            *next = range.end;
            for &id in &to[range] {
                if !self.is_here(id) {
                    self.stats.late_commands += 1;
                } else if mass.ahead.is_empty() || !mass.ahead.contains(&id.key()) {
                    self.deliver(id.key(), broadcast, is_alone);
                }
            }
            return (met, *next == to.len());
        }
        let mut keys = [Key(0); PIECE];
        let (count, next) = self.connections.some_keys_from(mass.cursor, &mut keys);
        let keys = &keys[..count];
        mass.cursor = next.or(keys.last().map(|last| Key(last.0 + 1))).unwrap_or(mass.cursor);
        // Where the search was cut short, the turn's share is spent on looking.
        let met = if next.is_some() && count < PIECE { SLICE } else { count };
        for &key in keys {
            if !self.came_later(key, mass) && (mass.ahead.is_empty() || !mass.ahead.contains(&key)) {
                self.do_one(key, &mut mass.work, is_alone);
            }
        }
        (met, next.is_none())
    }

    fn came_later(&self, key: Key, mass: &Mass) -> bool {
        let next = self.connections.next_sequence();
        self.connections.get(key).is_none_or(|connection| connection.sequence.is_since(mass.before, next))
    }

    /// The work is done, and its place in the mailbox free.
    fn finish_mass(&mut self, mass: &Mass) {
        match mass.work {
            Work::Broadcast(_) | Work::Many { .. } => self.mailbox().release(),
            Work::Finish => self.finishing -= 1,
            Work::Shutdown => {}
        }
    }

    pub(super) fn drop_masses(&mut self) {
        for mass in std::mem::take(&mut self.masses) {
            self.finish_mass(&mass);
        }
    }

    /// Does what mass work still has in store for a connection before it is sent something else: one order.
    pub(super) fn catch_up(&mut self, key: Key) {
        let mut masses = std::mem::take(&mut self.masses);
        for mass in &mut masses {
            let Some(connection) = self.connections.get(key) else { break };
            let next = self.connections.next_sequence();
            let is_due = !connection.sequence.is_since(mass.before, next) && !mass.ahead.contains(&key);
            let id = ConnId::new(self.id, key, connection.sequence);
            match &mut mass.work {
                Work::Many { to, next, broadcast } if is_due => {
                    let first = *next + to[*next..].partition_point(|&named| named < id);
                    for _ in to[first..].iter().take_while(|&&named| named == id) {
                        mass.ahead.insert(key);
                        self.deliver(key, broadcast, false);
                    }
                }
                work @ (Work::Broadcast(_) | Work::Finish) if is_due && key >= mass.cursor => {
                    mass.ahead.insert(key);
                    self.do_one(key, work, false);
                }
                _ => {}
            }
        }
        debug_assert!(self.masses.is_empty(), "delivering began mass work");
        self.masses = masses;
    }

    fn do_one(&mut self, key: Key, work: &mut Work, is_alone: bool) {
        match work {
            Work::Finish => {
                self.put_close(key, Some(CloseCode::GOING_AWAY), "");
                self.finish_now(key);
            }
            Work::Shutdown => self.close(key, CloseReason::Shutdown),
            Work::Broadcast(broadcast) | Work::Many { broadcast, .. } => {
                self.deliver(key, broadcast, is_alone);
            }
        }
    }

    fn deliver(&mut self, key: Key, broadcast: &mut Broadcast, is_alone: bool) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.phase != Phase::Open || !connection.takes_output() {
            return;
        }
        let (profile, kind) = (connection.profile, connection.kindred());
        let leaves_now = is_alone && connection.outbound.is_none();
        let is_meant = match broadcast.to {
            Audience::Open => true,
            Audience::Listener(listener) => {
                self.profiles.get(profile).is_some_and(|profile| profile.listener == Some(listener))
            }
        };
        if !is_meant {
            return;
        }
        let is_masked = kind.is_client && connection.flags.contains(Flags::FRAMES);
        if kind.has_contexts || is_masked {
            // What it is sent is in its window, and in nobody else's; and each frame has a mask of its own (RFC 6455, 5.3).
            self.send_now(key, broadcast.payload.clone());
            return;
        }
        let Some(bytes) = self.encoded_for(key, profile, kind, broadcast) else {
            self.stats.sends_refused += 1;
            return;
        };
        let sent = match leaves_now {
            true => self.write_alone(key, bytes),
            false => self.queue(key, Body::Counted(bytes.clone())),
        };
        self.stats.messages_out += u64::from(!matches!(sent, Sent::Refused(_)));
    }

    /// The broadcast as that kind of connection gets it; none when its protocol cannot carry it.
    fn encoded_for<'b>(
        &mut self,
        key: Key,
        profile: u16,
        kind: Kindred,
        broadcast: &'b mut Broadcast,
    ) -> Option<&'b Bytes> {
        let is_alike = |known: &(u16, Kindred, Option<Bytes>)| known.0 == profile && known.1 == kind;
        let known = broadcast.encoded.iter().position(is_alike);
        if known.is_none() {
            let encoded = self.encode_for(key, profile, kind, broadcast);
            broadcast.encoded.push((profile, kind, encoded));
        }
        let (_, _, encoded) = known.map_or(broadcast.encoded.last(), |at| broadcast.encoded.get(at))?;
        encoded.as_ref()
    }

    #[cold]
    fn encode_for(&mut self, key: Key, profile: u16, kind: Kindred, broadcast: &Broadcast) -> Option<Bytes> {
        let encoded = match self.profiles.get(profile)?.frame() {
            Frame::Raw => match broadcast.payload.body() {
                Body::Shared(bytes) | Body::Counted(bytes) => Some(self.account.hold(bytes.clone())),
                Body::Borrowed(bytes) => Some(Bytes::from_static(bytes)),
            },
            Frame::Frames(_) => opcode_of(&broadcast.payload).map(|opcode| {
                let mut bytes = Vec::with_capacity(broadcast.payload.bytes().len() + 16);
                self.write_frame(key, kind, opcode, &broadcast.payload, &mut bytes);
                self.account.hold(BytesMut::from(&bytes[..]).freeze())
            }),
            Frame::Protocol(protocol) => {
                let mut bytes = Vec::with_capacity(broadcast.payload.bytes().len() + 16);
                let mut out = Output::new(&mut bytes);
                let encoded = guarded(&mut self.panicked, || protocol.encode(&broadcast.payload, &mut out));
                encoded.and_then(Result::ok).map(|()| self.account.hold(BytesMut::from(&bytes[..]).freeze()))
            }
        };
        // What it takes the pool may not lend.
        self.limit_pool();
        encoded
    }
}
