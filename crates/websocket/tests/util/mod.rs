//! Frames as a peer may send them, right or wrong, and an end that takes them as the engine does.

#![allow(dead_code, reason = "each test program uses some of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::mem::take;

use wheelhouse_websocket::{Event, Header, Left, Opcode, Pass, Plain, Role, Rules, State, mask};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = FIN | 0x8;
pub(crate) const PING: u8 = FIN | 0x9;
pub(crate) const PONG: u8 = FIN | 0xA;

pub(crate) const RULES: Rules =
    Rules { role: Role::Server, max_message: 1 << 20, max_frame: usize::MAX, max_fragments: 1024 };

/// One frame: its first byte as it is on the wire, and its payload unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) u8, pub(crate) Vec<u8>);

pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame(first, payload.as_ref().to_vec())
}

impl Frame {
    /// Its bytes on the way to an end of this role.
    pub(crate) fn to(&self, role: Role) -> Vec<u8> {
        let Frame(first, payload) = self;
        let masked = if role == Role::Server { 0x80 } else { 0 };
        let mut bytes = vec![*first];
        match payload.len() {
            len @ 0..126 => bytes.push(masked | len as u8),
            len @ 126..=0xFFFF => {
                bytes.push(masked | 126);
                bytes.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                bytes.push(masked | 127);
                bytes.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        let start = bytes.len();
        bytes.extend_from_slice(payload);
        if masked != 0 {
            let key = [0x37, 0xFA, 0x21 ^ first, payload.len() as u8];
            mask(&mut bytes[start..], key);
            bytes.splice(start..start, key);
        }
        bytes
    }
}

/// All of their bytes.
pub(crate) fn stream(frames: &[Frame], role: Role) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.to(role)).collect()
}

/// What an end saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Compressed { is_text: bool, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(u16),
}

pub(crate) fn text(text: impl Into<String>) -> Seen {
    Seen::Text(text.into())
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Seen {
        match event {
            Event::Message { is_text, is_compressed: true, payload } => {
                Seen::Compressed { is_text, payload: payload.to_vec() }
            }
            Event::Message { is_text: true, payload, .. } => {
                Seen::Text(String::from_utf8(payload.to_vec()).expect("text is UTF-8"))
            }
            Event::Message { payload, .. } => Seen::Binary(payload.to_vec()),
            Event::Turned { is_text, header, frame } => {
                let (written, payload) = frame.split_at(header);
                let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
                assert_eq!(written, Header::new(opcode, payload.len(), None).bytes());
                Event::Message { is_text, is_compressed: false, payload: &mut payload.to_vec() }.into()
            }
            Event::Ping(payload) => Seen::Ping(payload.to_vec()),
            Event::Pong(payload) => Seen::Pong(payload.to_vec()),
            Event::Close(code, reason) => Seen::Close(code.map(|code| code.number()), reason.to_owned()),
        }
    }
}

/// An end of a connection, which keeps between two reads what the last pass left, and no more.
pub(crate) struct End {
    rules: Rules,
    state: State,
    kept: Vec<u8>,
    missing: usize,
    pub(crate) seen: Vec<Seen>,
    /// Whether each pass ends after one event, the frames behind it being kept: a handler that asks for it.
    pub(crate) is_slow: bool,
}

impl End {
    pub(crate) fn new(rules: Rules) -> End {
        End::with(rules, State::new(false))
    }

    pub(crate) fn with(rules: Rules, state: State) -> End {
        End { rules, state, kept: Vec::new(), missing: 1, seen: Vec::new(), is_slow: false }
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let mut news = bytes.to_vec();
        loop {
            let was_over = self.state.is_over();
            let mut slice = take(&mut self.kept);
            slice.append(&mut news);
            let (mut seen, len) = (Vec::new(), slice.len());
            let mut plain = Plain::new(&self.rules, self.state, &mut slice);
            while !self.is_slow
                && let Some((is_text, payload)) = plain.next()
            {
                seen.push(Seen::from(Event::Message { is_text, is_compressed: false, payload }));
            }
            let rest = plain.rest();
            let used = len - rest.len();
            let mut pass = Pass::new(&self.rules, self.state, rest);
            loop {
                match pass.next() {
                    Ok(Some(event)) => seen.push(Seen::from(event)),
                    Ok(None) => break,
                    Err(violation) => {
                        seen.push(Seen::Failed(violation.code.number()));
                        assert_eq!(pass.next(), Ok(None), "a broken pass is over");
                        break;
                    }
                }
                if self.is_slow {
                    break;
                }
            }
            let Left { from, to, missing, state } = pass.finish();
            slice.truncate(used + to);
            slice.drain(..used + from);
            self.kept = slice;
            (self.missing, self.state) = (missing, state);
            assert!(missing > 0, "a frame that lacks nothing");
            assert!(!was_over || seen.is_empty(), "{seen:?} after the end");
            let is_done = seen.is_empty() || !self.is_slow;
            self.seen.append(&mut seen);
            if is_done {
                return;
            }
        }
    }

    /// How many bytes are kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// How many bytes the frame at hand lacks at least.
    pub(crate) fn missing(&self) -> usize {
        self.missing
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.seen.last(), Some(Seen::Failed(_)))
    }
}

/// Bytes that do not compress: xorshift, seeded by the length.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ len as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}
