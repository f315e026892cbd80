//! From a payload to bytes in their place: framing, the limit, the marks.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use wheelhouse_websocket::{Header, Opcode, append_frame};

use super::{
    Core,
    bounds::{CONTROL_ROOM, DIRECT},
    cork::CORK,
    frames::opcode_of,
};
use crate::{
    CloseReason, Control, Kind, Payload, Policy, Refusal, Sent,
    connection::{Connection, Flags, Phase},
    id::Key,
    payload::Body,
    protocol::{Frame, Output, SharedBody},
    sent::GONE,
};

impl Core {
    #[inline]
    pub(crate) fn send(&mut self, key: Key, payload: Payload<'_>) -> Sent {
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        self.send_now(key, payload)
    }

    /// The same, whatever mass work is in store.
    #[inline]
    pub(super) fn send_now(&mut self, key: Key, payload: Payload<'_>) -> Sent {
        if self.gather(key, &payload) {
            self.stats.messages_out += 1;
            return Sent::Accepted;
        }
        self.send_otherwise(key, payload)
    }

    /// The short way of what is sent most, a small answer to whom is being served: behind what is in the cork already. False
    /// where it has to go another way.
    #[inline]
    fn gather(&mut self, key: Key, payload: &Payload<'_>) -> bool {
        let bytes = payload.bytes();
        let Some(flags) = self.corked_flags(key, bytes.len()) else { return false };
        if flags.contains(Flags::FRAMES) {
            if flags.intersects(Flags::CLIENT.union(Flags::DEFLATES)) {
                return false;
            }
            let Some(opcode) = opcode_of(payload) else { return false };
            append_frame(opcode, bytes, &mut self.cork.bytes);
            return true;
        }
        if flags.contains(Flags::RAW) {
            self.cork.bytes.extend_from_slice(bytes);
            return true;
        }
        false
    }

    /// The flags of a connection that is being served, where a payload of that size and what frames it may join what is
    /// gathered for it.
    #[inline]
    fn corked_flags(&self, key: Key, len: usize) -> Option<Flags> {
        let connection = self.connections.get(key)?;
        let may_join = self.cork.is_of(key)
            && connection.may_gather()
            && len < DIRECT
            && self.cork.has_room(len + Header::MAX);
        may_join.then_some(connection.flags)
    }

    /// What is not simply gathered.
    #[inline(never)]
    fn send_otherwise(&mut self, key: Key, payload: Payload<'_>) -> Sent {
        let Some(connection) = self.connections.get(key).filter(|c| c.takes_output()) else { return GONE };
        let (flags, profile) = (connection.flags, connection.profile);
        let sent = if flags.contains(Flags::RAW) {
            self.queue(key, payload.into_body())
        } else if flags.contains(Flags::FRAMES) {
            self.send_message(key, flags, payload)
        } else if self.corked_flags(key, payload.bytes().len()).is_some() {
            self.encode_into_cork(key, profile, &payload)
        } else {
            self.encode_and_queue(key, profile, &payload)
        };
        self.stats.messages_out += u64::from(!sent.is_refused());
        sent
    }

    /// Frames a small message where it will leave from.
    fn encode_into_cork(&mut self, key: Key, profile: u16, payload: &Payload<'_>) -> Sent {
        let Some(Frame::Protocol(protocol)) = self.profiles.get(profile).map(|p| p.frame()) else {
            return GONE;
        };
        let before = self.cork.bytes.len();
        let mut out = Output::sharing(&mut self.cork.bytes);
        let encoded = guarded(&mut self.panicked, || protocol.encode(payload, &mut out));
        match (encoded, out.into_shared()) {
            (Some(Ok(())), None) => return Sent::Accepted,
            (Some(Ok(())), Some(_)) => self.cork.bytes.truncate(before),
            (failed, _) => {
                self.cork.bytes.truncate(before);
                return self.not_encoded(key, failed);
            }
        }
        self.encode_and_queue(key, profile, payload)
    }

    /// Frames a message aside, and queues it as a whole.
    fn encode_and_queue(&mut self, key: Key, profile: u16, payload: &Payload<'_>) -> Sent {
        let Some(Frame::Protocol(protocol)) = self.profiles.get(profile).map(|p| p.frame()) else {
            return GONE;
        };
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        let mut out = Output::sharing(&mut encoded);
        let sent = match guarded(&mut self.panicked, || protocol.encode(payload, &mut out)) {
            Some(Ok(())) => {
                let shared = out.into_shared();
                self.queue_encoded(key, &encoded, shared)
            }
            failed => self.not_encoded(key, failed),
        };
        self.encoded = encoded;
        sent
    }

    /// The protocol refused, or panicked: then the connection is over, as with any panic on its behalf.
    #[cold]
    fn not_encoded(&mut self, key: Key, failed: Option<Result<(), Refusal>>) -> Sent {
        match failed {
            Some(Err(refusal)) => Sent::Refused(refusal),
            _ => {
                self.doom(key, CloseReason::Panic, None, 0);
                GONE
            }
        }
    }

    /// Frames a ping or pong. It leaves though the queue is at its limit: who reads slowly is not yet gone.
    pub(crate) fn send_control(&mut self, key: Key, control: &Control<'_>) -> Sent {
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        let Some(connection) = self.connections.get(key) else { return GONE };
        if connection.phase != Phase::Open || !connection.takes_output() {
            return GONE;
        }
        let profile = connection.profile;
        let protocol = match self.profiles.get(profile).map(|p| p.frame()) {
            Some(Frame::Protocol(protocol)) => protocol,
            Some(Frame::Frames(_)) => {
                return match control {
                    Control::Ping(data) => self.put_control(key, Opcode::Ping, data),
                    Control::Pong(data) => self.put_control(key, Opcode::Pong, data),
                };
            }
            _ => return Sent::Refused(Refusal::NotEncodable),
        };
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        let mut out = Output::new(&mut encoded);
        let sent = match guarded(&mut self.panicked, || protocol.encode_control(control, &mut out)) {
            Some(Ok(())) => self.queue_control(key, &encoded, CONTROL_ROOM),
            failed => self.not_encoded(key, failed),
        };
        self.encoded = encoded;
        sent
    }

    /// Queues what keeps a connection alive or ends it: it may go a little `beyond` the limit.
    pub(super) fn queue_control(&mut self, key: Key, encoded: &[u8], beyond: usize) -> Sent {
        if !self.is_within_limit(key, encoded.len(), beyond) {
            self.stats.sends_refused += 1;
            return Sent::Refused(Refusal::OverLimit);
        }
        match self.take(key, Body::Borrowed(encoded)) {
            Sent::Accepted => self.level(key),
            refused => refused,
        }
    }

    pub(crate) fn send_vectored(&mut self, key: Key, kind: Kind, parts: &[&[u8]]) -> Sent {
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        parts.iter().for_each(|part| joined.extend_from_slice(part));
        let sent = self.send(key, Payload::from(&joined).with_kind(kind));
        self.joined = joined;
        sent
    }

    /// Queues framing and body as one message: all of it or nothing.
    fn queue_encoded(&mut self, key: Key, bytes: &[u8], shared: Option<SharedBody>) -> Sent {
        let Some(SharedBody { at, body }) = shared else { return self.queue(key, Body::Borrowed(bytes)) };
        if !self.is_within_limit(key, bytes.len() + body.len(), 0) {
            return self.refuse(key);
        }
        let (before, behind) = bytes.split_at(at);
        for part in [Body::Borrowed(before), Body::Shared(body), Body::Borrowed(behind)] {
            if let Sent::Refused(refusal) = self.take(key, part) {
                return Sent::Refused(refusal);
            }
        }
        self.level(key)
    }

    /// Queues a header and a body as one message; a large body is written from where it lies.
    pub(super) fn queue_framed(&mut self, key: Key, header: &[u8], body: Body<'_>) -> Sent {
        if !self.is_within_limit(key, header.len() + body.len(), 0) {
            return self.refuse(key);
        }
        let is_direct = body.len() >= DIRECT
            && self.connections.get(key).is_some_and(|c| c.outbound.is_none() && c.takes_output());
        let sent = match is_direct {
            true => self.write_through(key, header, body),
            false => match self.take(key, Body::Borrowed(header)) {
                Sent::Accepted => self.take(key, body),
                refused => refused,
            },
        };
        if sent == Sent::Accepted { self.level(key) } else { sent }
    }

    /// Queues one message's bytes, framed or raw.
    pub(super) fn queue(&mut self, key: Key, body: Body<'_>) -> Sent {
        let len = body.len();
        if !self.is_within_limit(key, len, 0) {
            return self.refuse(key);
        }
        match self.take(key, body) {
            Sent::Accepted => self.level(key),
            refused => refused,
        }
    }

    /// What may be gathered for a connection: no more than its high mark.
    fn cork_limit(&self, connection: &Connection) -> usize {
        self.profiles.get(connection.profile).map_or(0, |profile| profile.rules.marks.high.min(CORK))
    }

    /// Whether the owner's queue is empty, so that the cork is what comes next, and has room.
    fn fits_cork(&self, key: Key, len: usize) -> bool {
        let Some(connection) = self.connections.get(key) else { return false };
        connection.outbound.is_none()
            && connection.phase == Phase::Open
            && self.cork.bytes.len() + len <= self.cork_limit(connection)
    }

    /// What does not simply go into the cork: written now if nothing is before it, else queued.
    fn take(&mut self, key: Key, body: Body<'_>) -> Sent {
        let bytes = body.bytes();
        let is_large = bytes.len() >= DIRECT;
        if !is_large && self.cork.is_of(key) {
            if !self.fits_cork(key, bytes.len()) && self.corked(key) > 0 {
                self.flush_cork();
            }
            if self.fits_cork(key, bytes.len()) {
                self.cork.bytes.extend_from_slice(bytes);
                return Sent::Accepted;
            }
        }
        let Some(connection) = self.connections.get(key).filter(|c| c.takes_output()) else { return GONE };
        if is_large && connection.outbound.is_none() && connection.phase == Phase::Open {
            return self.write_through(key, &[], body);
        }
        self.enqueue(key, body)
    }

    /// Whether so many more bytes may wait, the limit exceeded by at most `beyond`; what is gathered is offered to the kernel before the answer is no.
    pub(super) fn is_within_limit(&mut self, key: Key, len: usize, beyond: usize) -> bool {
        let limit = self.profile_of(key).map_or(usize::MAX, |profile| profile.rules.marks.limit + beyond);
        let waiting =
            |core: &Core| core.connections.get(key).map_or(0, Connection::queued) + core.corked(key);
        if waiting(self) + len > limit && self.corked(key) > 0 {
            self.flush_cork();
        }
        waiting(self) + len <= limit
    }

    /// Meets a send beyond the limit as the policy says.
    pub(super) fn refuse(&mut self, key: Key) -> Sent {
        if self.connections.get(key).is_none_or(|connection| connection.phase == Phase::Closed) {
            // What was gathered was offered to the kernel, and the connection turned out to be broken.
            return GONE;
        }
        self.stats.sends_refused += 1;
        match self.profile_of(key).map(|profile| profile.rules.policy) {
            Some(Policy::DropMessage) => self.stats.messages_dropped += 1,
            Some(Policy::Close) => self.reset(key, CloseReason::BackPressure),
            _ => {}
        }
        Sent::Refused(Refusal::OverLimit)
    }

    /// How full the queue is after a send; pauses reading when it is above the high mark.
    pub(super) fn level(&mut self, key: Key) -> Sent {
        if !self.pause_above_high(key) {
            return Sent::Accepted;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.flags |= Flags::OWES_WRITABLE;
        }
        Sent::Full
    }

    pub(super) fn pause_above_high(&mut self, key: Key) -> bool {
        let Some(high) = self.profile_of(key).map(|profile| profile.rules.marks.high) else { return false };
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let above = connection.queued() > high;
        if above && !connection.flags.contains(Flags::NO_AUTO_PAUSE) {
            connection.flags |= Flags::AUTO_PAUSED;
        }
        above
    }
}

/// Calls a user's protocol; a panic is put aside for `on_panic`, and goes no further.
pub(super) fn guarded<T>(panicked: &mut Vec<Box<dyn Any + Send>>, call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panicked.push(panic)).ok()
}
