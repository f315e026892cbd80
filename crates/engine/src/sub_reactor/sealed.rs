//! TLS on a connection: what came is opened before anybody sees it; what goes, in [`sealing`](super::sealing).
//!
//! ```text
//! kernel -> [record not whole][read] -> opened in place -> [kept][plaintext] -> protocol -> handler
//! handler -> cork -> sealed -> kernel, or the outbound queue: what waits there is sealed already
//! ```

use std::{
    io::{self, ErrorKind},
    ops::Range,
    time::{Duration, Instant},
};

use super::{Core, read::Step, read_buffer::ReadBuffer, stage::Stage};
use crate::{
    CloseReason, ConnId, Handler, TlsClient, TlsError,
    connection::{Connection, Flags, Inbound, Phase, PutOff, Secure},
    id::Key,
    payload::Body,
    transport::{Phase as TlsPhase, Session},
};

/// The time that handshakes may take of one turn: an RSA signature takes most of a millisecond, and others wait meanwhile.
const HANDSHAKE_BUDGET: Duration = Duration::from_millis(2);

impl<H: Handler> Stage<H> {
    /// Reads ciphertext, and offers what it holds.
    pub(super) fn read_sealed(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Step {
        let Some(connection) = self.core.connections.get(id.key()) else { return Step::Done };
        if !connection.reads_sealed()
            && let Some(step) = self.prepare_sealed(id, buffer)
        {
            return step;
        }
        let core = &mut self.core;
        let Some(connection) = core.connections.get_mut(id.key()) else { return Step::Done };
        let most = buffer.most();
        let n = match core.io.receive(connection, buffer.room()) {
            Ok(0) => return self.end_of_sealed(id),
            Ok(n) => n,
            refused => return self.end_of_input(id, refused),
        };
        connection.last_activity = core.clock.stamp();
        core.stats.bytes_in += n as u64;
        self.open_records(id, n, buffer);
        self.after(id, n, most)
    }

    /// What there is to do before a read where there is more to it than a message; the step it comes to where nothing is to be
    /// read.
    #[cold]
    fn prepare_sealed(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Option<Step> {
        let key = id.key();
        let connection = self.core.connections.get(key)?;
        if !matches!(connection.phase, Phase::Open | Phase::Handshaking) {
            return Some(self.read_specially(id, buffer));
        }
        if connection.is_paused() || connection.flags.contains(Flags::EOF) || connection.awaits_answer() {
            return Some(Step::Done);
        }
        if connection.secure().is_none() && !self.core.begin_tls(key) {
            return Some(Step::Done);
        }
        let secure = self.core.connections.get(key)?.secure()?;
        if secure.is_closed {
            // It came while the handler would hear nothing.
            return Some(self.end_of_input(id, Ok(0)));
        }
        if !self.core.may_shake_hands(key) {
            self.core.put_off(key, PutOff::Unread);
            return Some(Step::Done);
        }
        let secure = self.core.connections.get_mut(key)?.secure_mut()?;
        match std::mem::take(&mut secure.put_off) {
            PutOff::Unopened => {
                self.open_records(id, 0, buffer);
                // The socket has not been looked at: that is next.
                Some(Step::More(buffer.size()))
            }
            PutOff::No | PutOff::Unread => None,
        }
    }

    /// Goes on with the handshakes that were put off, as far as the turn's time for them reaches.
    #[cold]
    pub(super) fn serve_put_off(&mut self, buffer: &mut ReadBuffer) {
        // One that is put off again is for the next turn.
        for _ in 0..self.core.put_off.len() {
            if !self.core.has_time_for_handshakes() {
                return;
            }
            let Some(id) = self.core.put_off.pop_front() else { return };
            let waits = |c: &mut Connection| c.secure().is_some_and(|secure| secure.put_off != PutOff::No);
            if self.core.connections.find(id).is_some_and(waits) {
                self.read(id, buffer);
            }
        }
    }

    /// Opens what was left and the `n` bytes that were read.
    fn open_records(&mut self, id: ConnId, n: usize, buffer: &mut ReadBuffer) {
        let key = id.key();
        if self.core.corked(key) > 0 {
            // Should what came break the session, nothing can be sealed any more: what was answered before leaves first.
            self.core.flush_cork();
        }
        let left = self.core.take_sealed(key);
        let start = buffer.body() - left.len();
        buffer.before(buffer.body(), left.len()).copy_from_slice(&left);
        let (bytes, _) = buffer.part(start..buffer.body() + n);
        let core = &mut self.core;
        let Some(secure) = core.connections.get_mut(key).and_then(Connection::secure_mut) else { return };
        let began = secure.session.is_handshaking().then(Instant::now);
        core.sealed.clear();
        let received = secure.session.receive(bytes, &mut core.sealed);
        secure.is_closed |= matches!(received.phase, TlsPhase::Closed);
        if let Some(began) = began {
            core.handshaking.1 += core.io.time_since(began);
        }
        let rest = &bytes[received.left.clone()];
        if !rest.is_empty() && matches!(received.phase, TlsPhase::Handshaking | TlsPhase::Open) {
            core.keep_sealed(key, rest, left);
        }
        if !core.sealed.is_empty() {
            core.answer_sealed(key, matches!(received.phase, TlsPhase::Handshaking));
        }
        if began.is_some() && !matches!(received.phase, TlsPhase::Handshaking) {
            // What came behind the handshake's end is told, whatever comes behind that.
            let is_done = !self.core.is_shaking_hands(key);
            match received.phase {
                TlsPhase::Failed(error) if !is_done => return self.core.broke_tls(key, error),
                TlsPhase::Closed if !is_done => return self.core.part_early(key),
                _ => self.secured(id),
            }
        }
        let hears_later =
            |c: &Connection| c.is_paused() || c.awaits_answer() || c.flags.contains(Flags::UNSERVED);
        self.offer_opened(id, start + received.plain.start..start + received.plain.end, buffer);
        match received.phase {
            TlsPhase::Handshaking | TlsPhase::Open => {}
            TlsPhase::Failed(error) => self.core.broke_tls(key, error),
            // Not before the handler has had what came before it, and has answered.
            TlsPhase::Closed if self.core.connections.get(key).is_some_and(hears_later) => {}
            TlsPhase::Closed => _ = self.end_of_input(id, Ok(0)),
        }
    }

    /// The handshake is done: the next one begins, or the connection is open.
    fn secured(&mut self, id: ConnId) {
        let key = id.key();
        let Some(connection) = self.core.connections.get_mut(key) else { return };
        if let Some(secure) = connection.secure_mut()
            && secure.since.take().is_some()
        {
            self.call(id, |handler, conn, session| handler.on_secured(conn, session));
            // The message at which it began may have been put on hold, and resumed meanwhile.
            let waits = |c: &Connection| c.flags.contains(Flags::UNSERVED) && c.takes_input();
            if self.core.connections.get(key).is_some_and(waits) {
                self.offer_held(id);
            }
            return;
        }
        if connection.phase != Phase::Handshaking {
            return;
        }
        if connection.flags.contains(Flags::FRAMES) {
            return self.core.say_hello(key);
        }
        self.core.finish_handshake(key);
        self.open(id);
        self.core.cork(key);
    }

    /// Plaintext, as a part of the buffer: in front of it goes what was kept.
    fn offer_opened(&mut self, id: ConnId, plain: Range<usize>, buffer: &mut ReadBuffer) {
        let key = id.key();
        let Some(connection) = self.core.connections.get(key).filter(|_| !plain.is_empty()) else { return };
        if matches!(connection.inbound, Inbound::Linear(_)) {
            let (bytes, _) = buffer.part(plain);
            if self.core.extend_linear(key, bytes) {
                self.offer_linear(id, buffer);
            }
            return;
        }
        let phase = connection.phase;
        let is_new = connection.inbound.is_empty();
        let kept = if is_new { 0 } else { self.core.move_kept(key, plain.start, buffer) };
        let span = plain.start - kept..plain.end;
        match phase {
            Phase::Handshaking => self.offer_head(id, span, buffer),
            Phase::Open => self.offer_part(id, span, is_new, buffer),
            _ => {}
        }
    }

    /// What follows a proxy's header: a TLS client's first bytes, or a request.
    pub(super) fn offer_handshake(&mut self, id: ConnId, span: Range<usize>, buffer: &mut ReadBuffer) {
        let key = id.key();
        let is_tls = self.core.connections.get(key).is_some_and(|c| c.flags.contains(Flags::TLS));
        if !is_tls {
            return self.offer_head(id, span, buffer);
        }
        if !self.core.begin_tls(key) {
            return;
        }
        let (bytes, _) = buffer.part(span);
        let secure = self.core.connections.get(key).and_then(Connection::secure);
        let most = secure.and_then(|secure| secure.session.most_unopened());
        let may_wait = most.is_some_and(|most| bytes.len() <= most);
        self.core.keep_sealed(key, bytes, Vec::new());
        match !may_wait || self.core.may_shake_hands(key) {
            true => self.open_records(id, 0, buffer),
            false => self.core.put_off(key, PutOff::Unopened),
        }
    }

    /// The stream has ended without `close_notify`: what came may not be all that was sent.
    fn end_of_sealed(&mut self, id: ConnId) -> Step {
        let key = id.key();
        let Some(connection) = self.core.connections.get_mut(key) else { return Step::Done };
        connection.flags.remove(Flags::READABLE | Flags::THOROUGH);
        connection.flags |= Flags::EOF;
        let what = "the stream ended without close_notify: it may be truncated";
        let error = io::Error::new(ErrorKind::UnexpectedEof, what);
        if connection.phase == Phase::Open && !self.core.is_shaking_hands(key) {
            // What the callbacks before it have asked for through a handle comes first.
            self.core.settle();
            self.core.finish_because(key, CloseReason::Peer { code: None }, Some(error));
        } else {
            self.core.doom(key, CloseReason::Peer { code: None }, None, 0);
        }
        Step::Done
    }
}

impl Core {
    /// A session for a connection that was accepted, when its first bytes come.
    fn begin_tls(&mut self, key: Key) -> bool {
        let is_web = self.connections.get(key).is_some_and(|c| c.flags.contains(Flags::FRAMES));
        let make = if is_web { Session::web_server } else { Session::server };
        let Some(made) = self.profile_of(key).and_then(|profile| profile.tls.as_ref()).map(make) else {
            return false;
        };
        match made {
            Ok(session) => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.secure_with(session, None);
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "no TLS session can be made");
                self.doom(key, CloseReason::Handshake, Some(io::Error::other(error)), 0);
                false
            }
        }
    }

    /// A session for one that was dialled; its first bytes leave.
    pub(super) fn begin_tls_client(&mut self, key: Key, client: &TlsClient) {
        let mut out = Vec::new();
        match Session::client(client, &mut out) {
            Ok(session) => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.secure_with(session, None);
                }
                let _ = self.enqueue_sealed(key, Body::Borrowed(&out));
            }
            Err(error) => self.broke_tls(key, error),
        }
    }

    /// TLS from here on, in the middle of a connection's life.
    pub(crate) fn start_tls(
        &mut self,
        key: Key,
        make: impl FnOnce(&mut Vec<u8>) -> Result<Session, TlsError>,
    ) -> bool {
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        let stamp = self.clock.stamp();
        // A WebSocket's messages under way would be forgotten, and their frames not; and a handshake takes both directions.
        let is_able = |c: &&mut Connection| {
            c.phase == Phase::Open && c.takes_output() && !c.shakes_hands() && !c.flags.contains(Flags::EOF)
        };
        if self.connections.get_mut(key).filter(is_able).is_none() {
            return false;
        }
        let mut out = Vec::new();
        let session = match make(&mut out) {
            Ok(session) => session,
            Err(error) => {
                tracing::error!(%error, "no TLS session can be made");
                return false;
            }
        };
        // What was sent before goes as it is.
        if self.corked(key) > 0 {
            self.flush_cork();
        }
        // And what came before is nobody's: whoever sits between could have put it there.
        self.free_inbound(key);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.secure_with(session, Some(stamp));
            connection.flags |= Flags::TLS;
            // Nor what the framing has made of it so far.
            connection.protocol_state = [0; 2];
        }
        if !out.is_empty() {
            let _ = self.enqueue_sealed(key, Body::Borrowed(&out));
        }
        self.arm(key);
        true
    }

    fn is_shaking_hands(&self, key: Key) -> bool {
        let secure = self.connections.get(key).and_then(Connection::secure);
        secure.is_some_and(|secure| secure.session.is_handshaking())
    }

    /// Whether the turn's handshakes have not taken their time yet.
    fn has_time_for_handshakes(&mut self) -> bool {
        let turn = self.stats.turns;
        if self.handshaking.0 != turn {
            self.handshaking = (turn, Duration::ZERO);
        }
        self.handshaking.1 < HANDSHAKE_BUDGET
    }

    /// Whether the connection may be served in this turn: always, unless a costly step of a handshake may be next.
    fn may_shake_hands(&mut self, key: Key) -> bool {
        let Some(secure) = self.connections.get(key).and_then(Connection::secure) else { return true };
        if !secure.session.is_expensive_next() {
            return true;
        }
        // Nobody overtakes those who wait.
        let is_its_turn = secure.put_off != PutOff::No || self.put_off.is_empty();
        is_its_turn && self.has_time_for_handshakes()
    }

    /// When there is time again, then.
    fn put_off(&mut self, key: Key, what: PutOff) {
        let Some(id) = self.connections.id(key) else { return };
        let Some(secure) = self.connections.get_mut(key).and_then(Connection::secure_mut) else { return };
        if secure.put_off == PutOff::No {
            secure.put_off = what;
            self.put_off.push_back(id);
        }
    }

    /// The ciphertext that was left, to be opened with what came.
    fn take_sealed(&mut self, key: Key) -> Vec<u8> {
        let secure = self.connections.get_mut(key).and_then(Connection::secure_mut);
        let left = secure.map(|secure| std::mem::take(&mut secure.left)).unwrap_or_default();
        if !left.is_empty() {
            self.remove_linear(left.len());
        }
        left
    }

    fn keep_sealed(&mut self, key: Key, bytes: &[u8], mut place: Vec<u8>) {
        if !self.make_room(key, bytes.len()) {
            return;
        }
        place.clear();
        place.extend_from_slice(bytes);
        match self.connections.get_mut(key).and_then(Connection::secure_mut) {
            Some(secure) => secure.left = place,
            None => return self.remove_linear(bytes.len()),
        }
        self.note_holder(key);
    }

    /// The ciphertext is of no use any more.
    pub(super) fn free_sealed(&mut self, key: Key) {
        let _ = self.take_sealed(key);
    }

    /// The peer broke TLS, or does not trust us: the alert that says so goes out.
    fn broke_tls(&mut self, key: Key, error: TlsError) {
        let id = self.connections.id(key).map(tracing::field::display);
        tracing::debug!(id, %error, "TLS error");
        let is_early = self.is_shaking_hands(key)
            || self.connections.get(key).is_some_and(|connection| connection.phase < Phase::Open);
        if let Some(secure) = self.connections.get_mut(key).and_then(Connection::secure_mut) {
            secure.is_broken = true;
        }
        let reason = if is_early { CloseReason::Handshake } else { CloseReason::Protocol };
        let error = io::Error::new(ErrorKind::InvalidData, error);
        self.give_up(key, reason, Some(error));
    }

    /// The peer says goodbye before it is open, or while it begins TLS: so do we.
    pub(super) fn part_early(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.flags.remove(Flags::READABLE | Flags::THOROUGH);
            connection.flags |= Flags::EOF;
        }
        self.put_close_notify(key);
        self.give_up(key, CloseReason::Peer { code: None }, None);
    }
}

impl Connection {
    fn secure_with(&mut self, session: Session, since: Option<crate::clock::Stamp>) {
        let secure = Secure {
            session,
            left: Vec::new(),
            since,
            put_off: PutOff::No,
            is_closed: false,
            is_broken: false,
        };
        self.extras().tls = Some(secure);
    }
}
