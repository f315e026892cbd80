//! The opening handshake of a WebSocket: a request, the handler's decision, an answer; or the other end's part of it.

use std::{
    io::{self, ErrorKind},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use bytes::Bytes;
use wheelhouse_websocket::{
    deflate::Agreement,
    http::{self, Refused, Request},
};

use super::{Core, deadlines::clamp, read::Step, read_buffer::ReadBuffer, stage::Stage};
use crate::{
    CloseReason, Conn, ConnId, Handler, Reply,
    connection::{Connection, Flags, Phase, Upgrade},
    id::Key,
    payload::Body,
    protocol::{Frame, Frames},
    reply::{Accepted, Answered, Asked, ReplyKind},
};

impl Connection {
    /// Whether the handler has put off its answer: nothing more is read until then.
    pub(super) fn awaits_answer(&self) -> bool {
        self.asked().is_some()
    }

    /// The request whose answer the handler has put off.
    fn asked(&self) -> Option<&Asked> {
        match self.under_way().and_then(|way| way.upgrade.as_deref()) {
            Some(Upgrade::Asked(asked, _)) if self.phase == Phase::Handshaking => Some(asked),
            _ => None,
        }
    }

    /// Whether the server's answer is still to come.
    fn awaits_welcome(&self) -> bool {
        let upgrade = self.under_way().and_then(|way| way.upgrade.as_deref());
        self.phase == Phase::Handshaking && matches!(upgrade, Some(Upgrade::Hello(..)))
    }

    fn take_upgrade(&mut self) -> Option<Upgrade> {
        self.under_way_mut()?.upgrade.take().map(|upgrade| *upgrade)
    }
}

impl<H: Handler> Stage<H> {
    /// Reads the request, or the answer to ours; what follows it in the same read is the connection's first input.
    pub(super) fn read_head(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Step {
        if self.core.connections.get(id.key()).is_some_and(Connection::awaits_answer) {
            return Step::Done;
        }
        let (kept, n) = match self.read_early(id, buffer) {
            Ok(read) => read,
            Err(step) => return step,
        };
        self.offer_head(id, buffer.body() - kept..buffer.body() + n, buffer);
        self.after(id, n, buffer.most())
    }

    /// What came so far, as a part of the buffer.
    pub(super) fn offer_head(&mut self, id: ConnId, mut span: Range<usize>, buffer: &mut ReadBuffer) {
        while let Some(used) = self.offer_one_head(id, span.clone(), buffer) {
            span.start += used;
        }
    }

    /// The same; how long the head was where another one is to follow it: an interim answer came first (RFC 9110, 15.2).
    fn offer_one_head(&mut self, id: ConnId, span: Range<usize>, buffer: &mut ReadBuffer) -> Option<usize> {
        let key = id.key();
        let size = buffer.size();
        let (frame, _) = buffer.part(span.clone());
        let frame = &*frame;
        let frames = self.core.frames_of(key)?;
        let (most, max_headers) = (frames.max_head(), frames.max_headers());
        debug_assert!(most <= size, "a head of {most} bytes is read into {size}");
        let connection = self.core.connections.get_mut(key)?;
        // One limit for all heads of one answer: who sends interim ones for ever comes to it too.
        let most = most.saturating_sub(connection.protocol_state[1] as usize);
        let mut searched = connection.protocol_state[0] as usize;
        let end = http::head_end(frame, &mut searched);
        connection.protocol_state[0] = searched as u64;
        let is_client = connection.flags.contains(Flags::CLIENT);
        let Some(end) = end.filter(|&end| end <= most) else {
            let refused = match frame.first() {
                _ if frame.len() > most => Refused { status: 431, what: "too many bytes of headers" },
                Some(first) if !first.is_ascii_graphic() && !matches!(first, b'\r' | b'\n') => {
                    Refused { status: 400, what: "this is no HTTP" }
                }
                _ => {
                    self.core.keep_header(key, frame);
                    return None;
                }
            };
            let is_head = frame.starts_with(HEAD);
            self.core.refuse_head(key, refused, is_client, is_head);
            return None;
        };
        let head = &frame[..end];
        let opened = match is_client {
            true => self.take_welcome(id, head),
            false => self.take_request(id, head, max_headers),
        };
        if opened {
            self.core.cork(key);
            self.offer_part(id, span.start + end..span.end, true, buffer);
        } else if self.core.connections.get(key).is_some_and(Connection::awaits_answer) && end < frame.len() {
            self.core.keep_header(key, &frame[end..]);
        } else if self.core.connections.get(key).is_some_and(Connection::awaits_welcome) {
            return (end < frame.len()).then_some(end);
        }
        None
    }

    /// The handler decides; whether the connection is open now.
    fn take_request(&mut self, id: ConnId, head: &[u8], max_headers: usize) -> bool {
        let key = id.key();
        let request = match Request::parse(head, max_headers) {
            Ok(request) => request,
            Err(refused) => {
                self.core.refuse_head(key, refused, false, head.starts_with(HEAD));
                return false;
            }
        };
        if !self.make_session(id) {
            return false;
        }
        let Some(reply) = self.ask(id, &request) else { return false };
        let asked = Asked::new(&request);
        self.answer(id, asked, reply)
    }

    /// Calls `on_request`; none when the connection is over by then.
    fn ask(&mut self, id: ConnId, request: &Request<'_>) -> Option<Reply> {
        let key = id.key();
        let session = self.sessions.get_mut(key)?;
        let (handler, mut conn) = (&mut self.handler, Conn::new(&mut self.core, key, id));
        match catch_unwind(AssertUnwindSafe(|| handler.on_request(&mut conn, session, request))) {
            Ok(reply) => {
                let is_there = |c: &&Connection| c.phase == Phase::Handshaking;
                self.core.connections.get(key).filter(is_there).map(|_| reply)
            }
            Err(panic) => {
                let refused = Refused { status: 500, what: "the request could not be served" };
                let is_head = request.method() == "HEAD";
                self.core.refuse_because(key, refused, is_head, CloseReason::Panic, None);
                self.tell_of_panic(Some(id), panic);
                None
            }
        }
    }

    /// Answers the request; whether the connection is open now.
    fn answer(&mut self, id: ConnId, mut asked: Asked, mut reply: Reply) -> bool {
        let key = id.key();
        if let ReplyKind::Later(within) = reply.kind {
            asked.choose(reply.subprotocol.take());
            self.core.put_off_answer(key, asked, within);
            return false;
        }
        let mut out = Vec::new();
        let deflate = self.core.deflate_config(key);
        match asked.answer(reply, deflate, self.core.date.at(self.core.clock.calendar()), &mut out) {
            Answered::Yes(Accepted { subprotocol, agreed }) => {
                self.core.begin_frames(key, agreed, subprotocol.as_deref());
                let _ = self.core.enqueue(key, Body::Borrowed(&out));
                self.open(id);
                true
            }
            Answered::No(body) => {
                self.core.finish_with_answer(key, out, body);
                false
            }
        }
    }

    /// An answer that was put off has come.
    pub(super) fn answer_late(&mut self, id: ConnId, reply: Reply) {
        let key = id.key();
        let connection = self.core.connections.find(id);
        let Some(connection) = connection.filter(|connection| connection.awaits_answer()) else {
            self.core.stats.late_commands += 1;
            return;
        };
        let Some(Upgrade::Asked(asked, _)) = connection.take_upgrade() else { return };
        if self.answer(id, asked, reply)
            && let Some(connection) = self.core.connections.get_mut(key)
        {
            connection.flags |= Flags::READABLE | Flags::UNSERVED;
            self.core.put_ready(key);
        }
    }

    /// The server has answered; whether the connection is open now.
    fn take_welcome(&mut self, id: ConnId, head: &[u8]) -> bool {
        let key = id.key();
        let upgrade = self.core.connections.get_mut(key).and_then(Connection::take_upgrade);
        let Some(Upgrade::Hello(hello, nonce, has_place)) = upgrade else { return false };
        let Some(frames) = self.core.frames_of(key) else { return false };
        let agreed = match hello.verify(nonce, head) {
            Ok(welcome) => {
                let config = frames.deflate().map(|deflate| deflate.config(has_place)).unwrap_or_default();
                match config.verify(welcome.extensions.iter().copied()) {
                    Ok(agreement) => Ok((agreement, welcome.subprotocol)),
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(error) if error.is_interim() => {
                if let Some(connection) = self.core.connections.get_mut(key) {
                    connection.protocol_state[0] = 0;
                    connection.protocol_state[1] += head.len() as u64;
                    let upgrade = Upgrade::Hello(hello, nonce, has_place);
                    connection.extras().under_way().upgrade = Some(Box::new(upgrade));
                }
                return false;
            }
            Err(error) => Err(error.to_string()),
        };
        // From here on the place is that of the contexts, where there will be some.
        self.core.leave_context(has_place);
        match agreed {
            Ok((agreement, subprotocol)) => {
                self.core.begin_frames(key, agreement, subprotocol);
                self.open(id);
                true
            }
            Err(error) => {
                let error = io::Error::new(ErrorKind::InvalidData, error);
                self.core.doom(key, CloseReason::Handshake, Some(error), 0);
                false
            }
        }
    }
}

impl Core {
    /// How a connection's WebSocket behaves; none when it has none.
    pub(super) fn frames_of(&self, key: Key) -> Option<&Frames> {
        match self.profile_of(key)?.frame() {
            Frame::Frames(frames) => Some(frames),
            _ => None,
        }
    }

    /// The handshake is done: what comes is frames.
    fn begin_frames(&mut self, key: Key, agreed: Option<Agreement>, subprotocol: Option<&str>) {
        self.begin_deflate(key, agreed);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.drop_idle_extras();
        if let Some(subprotocol) = subprotocol {
            self.set_subprotocol(key, subprotocol);
        }
        self.finish_handshake(key);
    }

    /// Asks the server for a WebSocket.
    pub(super) fn say_hello(&mut self, key: Key) {
        let deflate = self.frames_of(key).and_then(Frames::deflate).copied();
        let gets_place = self.enter_context(deflate.map_or(0, |deflate| deflate.most_contexts()));
        let upgrade = self.connections.get_mut(key).and_then(Connection::under_way_mut);
        let upgrade = upgrade.and_then(|way| way.upgrade.as_deref_mut());
        let Some(Upgrade::Hello(hello, nonce, has_place)) = upgrade else {
            return self.leave_context(gets_place);
        };
        *has_place = gets_place;
        let offer = deflate.filter(|_| gets_place).map(|deflate| deflate.config(true).offer());
        let mut out = Vec::new();
        match offer.map(|offer| hello.clone().extensions(&offer)) {
            Some(Ok(hello)) => hello.write(*nonce, &mut out),
            _ => hello.write(*nonce, &mut out),
        }
        let _ = self.enqueue(key, Body::Borrowed(&out));
    }

    fn put_off_answer(&mut self, key: Key, asked: Asked, within: Option<Duration>) {
        let within = clamp(within.unwrap_or(self.options().handshake_timeout));
        let until = self.clock.tick_from_now(within);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.extras().under_way().upgrade = Some(Box::new(Upgrade::Asked(asked, until)));
        // The time to ask is over, the time to answer begins.
        self.disarm_deadline(key);
    }

    /// What came is no request that can be answered with more than this.
    fn refuse_head(&mut self, key: Key, refused: Refused, is_client: bool, is_head: bool) {
        let error = io::Error::new(ErrorKind::InvalidData, refused.what);
        if is_client {
            return self.doom(key, CloseReason::Handshake, Some(error), 0);
        }
        self.refuse_because(key, refused, is_head, CloseReason::Protocol, Some(error));
    }

    /// The answer to a HEAD has no body (RFC 9110, 9.3.2), whatever is wrong with it.
    fn refuse_because(
        &mut self,
        key: Key,
        refused: Refused,
        is_head: bool,
        reason: CloseReason,
        error: Option<io::Error>,
    ) {
        let id = self.connections.id(key).map(tracing::field::display);
        tracing::debug!(id, status = refused.status, what = refused.what, "a request is refused");
        let mut out = Vec::new();
        self.dated(refused).write(&mut out, is_head);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.extras().under_way().closing = Some((reason, error));
        }
        self.finish_with_answer(key, out, Bytes::new());
    }

    /// Ends the connection gracefully, for this reason, whether it was open already or not.
    pub(super) fn give_up(&mut self, key: Key, reason: CloseReason, error: Option<io::Error>) {
        match self.connections.get_mut(key) {
            Some(connection) if connection.phase == Phase::Handshaking => {
                connection.extras().under_way().closing = Some((reason, error));
                self.finish_early(key);
            }
            _ => self.finish_because(key, reason, error),
        }
    }

    /// The same before it was open.
    pub(super) fn finish_early(&mut self, key: Key) {
        let stamp = self.clock.stamp();
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.phase == Phase::Handshaking) else {
            return;
        };
        connection.phase = Phase::Finishing;
        connection.since = stamp;
        self.free_inbound(key);
        self.put_dirty(key);
        self.disarm_deadline(key);
    }

    /// The handshake's time is up: a request that had begun is answered 408, one whose answer was put off 503.
    pub(super) fn give_up_handshake(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_server = connection.flags.contains(Flags::FRAMES) && !connection.flags.contains(Flags::CLIENT);
        let (refused, is_head) = if let Some(asked) = connection.asked() {
            (Refused { status: 503, what: "no answer in time" }, asked.is_head())
        } else if is_server && connection.phase == Phase::Handshaking && !connection.inbound.is_empty() {
            let mut first = [0; HEAD.len()];
            connection.inbound.peek(&mut first);
            (Refused { status: 408, what: "the request took too long" }, first == *HEAD)
        } else {
            return self.close(key, CloseReason::Handshake);
        };
        self.refuse_because(key, refused, is_head, CloseReason::Handshake, None);
    }

    /// The engine stops: who waits for an answer that was put off gets one.
    pub(super) fn answer_before_shutdown(&mut self, key: Key) {
        let Some(asked) = self.connections.get(key).and_then(Connection::asked) else { return };
        let mut out = Vec::new();
        let is_head = asked.is_head();
        let refused = Refused { status: 503, what: "the server is shutting down" };
        self.dated(refused).write(&mut out, is_head);
        let _ = self.enqueue(key, Body::Borrowed(&out));
    }
}

/// What a request for the head alone begins with.
const HEAD: &[u8; 5] = b"HEAD ";
