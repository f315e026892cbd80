//! What a peer sends in all, and what is to become of it.

use std::ops::Range;

use super::{
    frames::Pen,
    plan::Kind as Settings,
    preface::{Preface, Says},
    random::Random,
    turning::Turn,
    web::{Role, Talk},
    wire::{BREAKS, Joined, THROWS, Wire},
};
use crate::Kind;

/// A peer's bytes, and the messages in them.
pub(super) struct Script {
    pub(super) bytes: Vec<u8>,
    /// What a proxy says first.
    pub(super) says: Option<Says>,
    /// How many bytes that is.
    pub(super) proxied: usize,
    /// How many of the bytes come before the first message: that, and the head of a WebSocket's.
    pub(super) preface: usize,
    /// What else a WebSocket's peer does.
    pub(super) talk: Option<Talk>,
    pub(super) is_raw: bool,
    /// None in raw bytes.
    pub(super) messages: Vec<Sent>,
    pub(super) ending: Ending,
    /// The message at which the connection becomes something else, and whether nothing follows it before TLS is there.
    pub(super) turn: Option<usize>,
    pub(super) gate: Option<usize>,
    /// The most bytes that one message takes on the wire, a torn one included.
    pub(super) longest: usize,
}

/// A message as the handler is to see it.
pub(super) struct Sent {
    pub(super) kind: Kind,
    pub(super) body: Vec<u8>,
    /// Where it lies on the wire.
    pub(super) wire: Range<usize>,
}

/// What comes behind the last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing.
    Whole,
    /// A message's beginning.
    Torn,
    /// What the protocol forbids.
    Broken,
    /// What the protocol panics at.
    Panics,
    /// A close frame.
    Closed,
}

impl Script {
    /// `role`: which end of a WebSocket the peer is, where it speaks of one.
    pub(super) fn draw(
        random: &mut Random,
        kind: &Settings,
        role: Role,
        most: usize,
        preface: Option<Preface>,
    ) -> Script {
        let mut wire = kind.wire;
        let says = preface.as_ref().map(|preface| preface.says);
        let bytes = preface.map_or(Vec::new(), |preface| preface.bytes);
        let mut script = Script {
            says,
            proxied: bytes.len(),
            preface: bytes.len(),
            talk: None,
            bytes,
            is_raw: wire == Wire::Raw,
            messages: Vec::new(),
            ending: Ending::Whole,
            turn: None,
            gate: None,
            longest: 0,
        };
        match says {
            Some(Says::Torn) => return script,
            Some(Says::Nonsense) => {
                let more = random.size(most);
                script.bytes.extend(random.letters(more));
                return script;
            }
            _ => {}
        }
        if let Wire::Web(web) = wire {
            Pen::write(random, &mut script, web, role, most);
            return script;
        }
        let most_messages = if random.one_in(4) { 60 } else { 12 };
        let count = random.below(most_messages);
        let turn = kind.turns.filter(|_| count > 0).map(|turn| (random.below(count), turn));
        let mut first = 0;
        for number in 0..count {
            script.add(random, wire, (number - first) as u64, most);
            match turn {
                Some((at, Turn::Framing(other))) if at == number => {
                    (script.turn, wire, first) = (Some(at), other, at + 1);
                }
                Some((at, Turn::Tls)) if at == number => {
                    (script.turn, script.gate) = (Some(at), Some(script.bytes.len()));
                }
                _ => {}
            }
        }
        script.end(random, wire, (count - first) as u64);
        script
    }

    /// Whether a connection comes of what its proxy says, if there is one.
    pub(super) fn goes_on(&self) -> bool {
        !matches!(self.says, Some(Says::Torn | Says::Nonsense))
    }

    fn add(&mut self, random: &mut Random, wire: Wire, number: u64, most: usize) {
        let from = self.bytes.len();
        let size = random.size(most);
        let (kind, size) = match wire {
            Wire::Raw | Wire::Web(_) => return self.bytes.extend(random.letters(size)),
            Wire::Lines(max) => (Kind::TEXT, size.min(max)),
            Wire::Lengths(max) => (Kind::BINARY, size.min(max)),
            Wire::Typed(max) => (Kind::custom(random.next() as u16), size.min(max)),
            Wire::Joined => (Kind::BINARY, size),
        };
        let body = random.letters(size);
        let length = (size as u32).to_be_bytes();
        match wire {
            Wire::Raw | Wire::Web(_) => {}
            Wire::Lines(_) => {
                self.bytes.extend(&body);
                self.bytes.extend(if random.one_in(2) { &b"\n"[..] } else { b"\r\n" });
            }
            Wire::Lengths(_) => self.bytes.extend([&length[..], &body].concat()),
            Wire::Typed(_) => {
                let kind = kind.number().unwrap_or(0).to_be_bytes();
                self.bytes.extend([&kind[..], &length, &body].concat());
            }
            Wire::Joined => {
                let part = if random.one_in(2) { usize::MAX } else { 1 + size / (1 + random.below(5)) };
                self.bytes.extend(Joined::from_peer(number, &body, part));
            }
        }
        self.longest = self.longest.max(self.bytes.len() - from);
        self.messages.push(Sent { kind, body, wire: from..self.bytes.len() });
    }

    fn end(&mut self, random: &mut Random, wire: Wire, number: u64) {
        if wire == Wire::Raw {
            return;
        }
        let whole = self.bytes.len();
        match random.below(12) {
            0 => {
                self.add(random, wire, number, 5_000);
                if let Some(torn) = self.messages.pop() {
                    let keep = torn.wire.start + random.below(torn.wire.len());
                    self.bytes.truncate(keep);
                }
                self.ending = if self.bytes.len() > whole { Ending::Torn } else { Ending::Whole };
            }
            1 => {
                match wire {
                    // One more than the longest might be the CR of a CR LF.
                    Wire::Lines(max) => self.bytes.extend(random.letters(max + 2)),
                    Wire::Joined => self.bytes.extend([BREAKS, 0, 0]),
                    _ => self.bytes.extend([0xff; 6]),
                }
                self.ending = Ending::Broken;
            }
            2 if wire == Wire::Joined => {
                self.bytes.extend([THROWS, 0, 0]);
                self.ending = Ending::Panics;
            }
            _ => {}
        }
    }
}
