//! WebSocket frames: what comes to the handler, and what goes out around a payload.

use std::io::{self, ErrorKind};

use wheelhouse_websocket::{
    CloseCode, Event, Header, Opcode, Pass, Plain, Rules, State, Violation, deflate::most_deflated, mask,
};

use super::{
    Core,
    bounds::{CONTROL_ROOM, DIRECT, MUCH},
    read::Offered,
    stage::Stage,
};
use crate::{
    CloseReason, ConnId, Control, Handler, Kind, Message, Payload, Refusal, Sent,
    connection::{Connection, Flags, Phase},
    id::Key,
    payload::Body,
    protocol::Frame,
    sent::GONE,
};

impl<H: Handler> Stage<H> {
    /// Offers the handler the messages of a slice of frames: those that most are by the short way, and from the first other
    /// one on by the long way.
    pub(super) fn offer_frames(&mut self, id: ConnId, frame: &mut [u8], scratch: &mut Vec<u8>) -> Offered {
        let key = id.key();
        let len = frame.len();
        let Some(connection) = self.core.connections.get(key) else { return Offered::all(len) };
        let profile = connection.profile;
        let Some(Frame::Frames(frames)) = self.core.profiles.get(profile).map(|profile| profile.frame())
        else {
            return Offered::all(len);
        };
        let rules = frames.rules(connection.flags.contains(Flags::CLIENT));
        let mut plain = Plain::new(&rules, State::from_words(connection.protocol_state), frame);
        let goes_on = |c: &Connection| c.takes_input() && c.profile == profile;
        while self.core.connections.get(key).is_some_and(goes_on)
            && let Some((is_text, payload)) = plain.next()
        {
            self.offer_message(id, Message::decoded(kind_of(is_text), payload, is_text));
            if plain.is_empty() {
                return Offered::all(len);
            }
        }
        let rest = plain.rest();
        let used = len - rest.len();
        let left = self.offer_pass(id, profile, &rules, rest, scratch);
        Offered { used: used + left.used, end: used + left.end, need: left.need }
    }

    /// The long way: large messages and those in fragments, compressed ones and control frames, and what breaks the rules.
    #[inline(never)]
    fn offer_pass(
        &mut self,
        id: ConnId,
        profile: u16,
        rules: &Rules,
        frame: &mut [u8],
        scratch: &mut Vec<u8>,
    ) -> Offered {
        let (key, len) = (id.key(), frame.len());
        let Some(connection) = self.core.connections.get(key) else { return Offered::all(len) };
        if connection.profile != profile {
            // What follows is cut another way.
            return Offered::but(len, len);
        }
        let state = State::from_words(connection.protocol_state);
        let was_between = state.is_between_messages();
        let mut pass = Pass::new(rules, state, frame).turning(DIRECT);
        let goes_on = |c: &Connection| c.takes_input() && c.profile == profile;
        while self.core.inflatable > 0 && self.core.connections.get(key).is_some_and(goes_on) {
            match pass.next() {
                Ok(Some(Event::Message { is_text, is_compressed: false, payload })) => {
                    self.offer_message(id, Message::decoded(kind_of(is_text), payload, is_text));
                    if was_between && pass.is_drained() {
                        return Offered::all(len);
                    }
                }
                Ok(Some(event)) => {
                    let is_close = matches!(event, Event::Close(..));
                    self.offer_event(id, event, rules.max_message, scratch);
                    if was_between && !is_close && pass.is_drained() {
                        return Offered::all(len);
                    }
                }
                Ok(None) => break,
                Err(violation) => self.core.violated_frames(key, violation),
            }
        }
        let left = pass.finish();
        if let Some(connection) = self.core.connections.get_mut(key)
            && connection.profile == profile
        {
            connection.set_frame_state(left.state);
            if self.core.inflatable == 0 && left.from < left.to {
                self.core.put_by(key);
            }
        }
        Offered { used: left.from, end: left.to, need: left.to - left.from + left.missing }
    }

    /// What comes less often than a plain message.
    #[inline(never)]
    fn offer_event(&mut self, id: ConnId, event: Event<'_>, max_message: usize, scratch: &mut Vec<u8>) {
        let key = id.key();
        let control = match event {
            Event::Message { is_text, payload, .. } => {
                match self.core.inflate(key, is_text, payload, max_message, scratch) {
                    Ok(()) => self.offer_large(id, Message::decoded(kind_of(is_text), scratch, is_text)),
                    Err(violation) => self.core.violated_frames(key, violation),
                }
                scratch.clear();
                scratch.shrink_to(MUCH);
                return;
            }
            Event::Turned { is_text, header, frame } => {
                return self.offer_large(id, Message::turned(kind_of(is_text), frame, header, is_text));
            }
            Event::Close(code, _) => return self.core.answer_close(key, code),
            Event::Ping(data) => Control::Ping(data),
            Event::Pong(data) => Control::Pong(data),
        };
        if self.core.tolerates_control(id) {
            self.offer_control(id, control);
        }
    }

    /// A place of its own for the handler's code: the common way has it inlined.
    #[inline(never)]
    fn offer_large(&mut self, id: ConnId, message: Message<'_>) {
        self.offer_message(id, message);
    }
}

impl Core {
    /// Of a few bytes have become as many as a turn has for one: what is left of them is for the next turn, behind those with
    /// little.
    #[cold]
    fn put_by(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.takes_input() {
            connection.flags |= Flags::UNSERVED | Flags::BULKY;
            self.put_ready(key);
        }
    }

    /// Whether the peer may send one more control frame this second; too many are a violation.
    fn tolerates_control(&mut self, id: ConnId) -> bool {
        let Some(most) = self.frames_of(id.key()).map(|frames| frames.max_controls()) else { return false };
        if self.workshop.count_control(id, self.clock.seconds()) <= most {
            return true;
        }
        let what = "too many control frames";
        self.violated_frames(id.key(), Violation { code: CloseCode::POLICY, what });
        false
    }

    /// The peer's part of the closing handshake has come (RFC 6455, 5.5.1): ours is the same code, and FIN.
    fn answer_close(&mut self, key: Key, code: Option<CloseCode>) {
        self.settle_all_of(key);
        self.put_close(key, code, "");
        // 1005 says that there was none (7.1.5).
        let code = code.map_or(1005, CloseCode::number);
        self.finish_because(key, CloseReason::Peer { code: Some(code) }, None);
    }

    /// The peer broke a rule: it is told which.
    #[cold]
    pub(super) fn violated_frames(&mut self, key: Key, violation: Violation) {
        self.settle_all_of(key);
        self.put_close(key, Some(violation.code), violation.what);
        let error = io::Error::new(ErrorKind::InvalidData, violation);
        self.violated(key, error);
    }

    /// Says why the connection is about to end, where it is a WebSocket and open; nothing may be sent behind it.
    pub(super) fn put_close(&mut self, key: Key, code: Option<CloseCode>, reason: &str) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.phase != Phase::Open || !connection.flags.contains(Flags::FRAMES) {
            return;
        }
        // That an extension is missing is for clients to say (7.4.1), be it the echo of what one said.
        let is_misplaced =
            |code: &CloseCode| code.number() == 1010 && !connection.flags.contains(Flags::CLIENT);
        let code = code.map(|code| if is_misplaced(&code) { CloseCode::NORMAL } else { code });
        let mut buffer = [0; CloseCode::MAX_PAYLOAD];
        let payload = code.map_or(&[][..], |code| code.payload(reason, &mut buffer));
        self.put_control(key, Opcode::Close, payload);
    }

    /// Queues a control frame, though the queue be at its limit: who reads slowly is not yet gone.
    pub(super) fn put_control(&mut self, key: Key, opcode: Opcode, payload: &[u8]) -> Sent {
        let Some(connection) = self.connections.get(key) else { return GONE };
        let is_client = connection.flags.contains(Flags::CLIENT);
        if payload.len() > 125 {
            return Sent::Refused(Refusal::NotEncodable);
        }
        let mut frame = std::mem::take(&mut self.encoded);
        frame.clear();
        let key_of_mask = is_client.then(|| self.workshop.mask());
        frame.extend_from_slice(Header::new(opcode, payload.len(), key_of_mask).bytes());
        let body = frame.len();
        frame.extend_from_slice(payload);
        if let Some(key_of_mask) = key_of_mask {
            mask(&mut frame[body..], key_of_mask);
        }
        // The one frame that says how it ends goes behind whatever pongs there are.
        let beyond = CONTROL_ROOM + if opcode == Opcode::Close { CLOSE_ROOM } else { 0 };
        let sent = self.queue_control(key, &frame, beyond);
        self.encoded = frame;
        sent
    }

    /// A message as one frame.
    pub(super) fn send_message(&mut self, key: Key, flags: Flags, payload: Payload<'_>) -> Sent {
        let Some(opcode) = opcode_of(&payload) else { return Sent::Refused(Refusal::NotEncodable) };
        if flags.intersects(Flags::CLIENT.union(Flags::DEFLATES)) {
            return self.send_specially(key, opcode, payload);
        }
        let header = Header::new(opcode, payload.bytes().len(), None);
        match payload.frame() {
            // One piece is less work for the kernel than two.
            Some(frame) => self.queue(key, Body::Borrowed(frame)),
            None => self.queue_framed(key, header.bytes(), payload.into_body()),
        }
    }

    /// As a client, or compressed.
    fn send_specially(&mut self, key: Key, opcode: Opcode, payload: Payload<'_>) -> Sent {
        let kind = self.connections.get(key).map(Connection::kindred).unwrap_or_default();
        if kind.has_contexts && !self.is_within_limit(key, most_deflated(payload.bytes().len(), 1), 0) {
            // Not afterwards: what has been compressed is in the window, and the peer has to get it.
            return self.refuse(key);
        }
        let mut frame = std::mem::take(&mut self.encoded);
        frame.clear();
        self.write_frame(key, kind, opcode, &payload, &mut frame);
        let sent = self.queue(key, Body::Borrowed(&frame));
        frame.clear();
        frame.shrink_to(MUCH);
        self.encoded = frame;
        sent
    }
}

/// What a close frame may take beyond the room of pings and pongs: its largest, masked.
const CLOSE_ROOM: usize = 14 + CloseCode::MAX_PAYLOAD;

#[inline]
fn kind_of(is_text: bool) -> Kind {
    if is_text { Kind::TEXT } else { Kind::BINARY }
}

/// What a payload is as a frame; none when it can be none.
#[inline]
pub(super) fn opcode_of(payload: &Payload<'_>) -> Option<Opcode> {
    match payload.kind() {
        Kind::BINARY => Some(Opcode::Binary),
        Kind::TEXT if payload.is_utf8() => Some(Opcode::Text),
        _ => None,
    }
}

/// The code that a close without a code of its own is told with (RFC 6455, 7.4.1); none where nothing is said.
pub(super) fn code_for(reason: CloseReason) -> Option<CloseCode> {
    match reason {
        CloseReason::Idle | CloseReason::Lifetime | CloseReason::Shutdown => Some(CloseCode::GOING_AWAY),
        CloseReason::Auth => Some(CloseCode::POLICY),
        CloseReason::Panic => Some(CloseCode::INTERNAL),
        _ => None,
    }
}
