//! How messages look on the wire, worked out once more and independently of the engine's own protocols.

use std::{cell::Cell, panic::resume_unwind};

use super::{
    frames::{self, BINARY, FIN, TEXT},
    web::Web,
};
use crate::{
    Decoded, Framing, Input, Kind, LengthDelimited, Message, Output, Payload, Protocol, ProtocolError,
    Refusal,
};

/// What a connection speaks; the number is the longest line or body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Raw,
    Lines(usize),
    Lengths(usize),
    /// Type and flags in front of the length.
    Typed(usize),
    /// A user's protocol: [`Joined`].
    Joined,
    Web(Web),
}

/// What becomes of a payload that is to be sent.
pub(super) enum Encoded {
    Bytes(Vec<u8>),
    Refused,
    Panics,
}

/// A panic that was meant to happen.
pub(super) struct Wanted;

/// The kind that [`Joined`] does not carry, and the one that it panics at.
pub(super) const REFUSED: Kind = Kind::custom(13);
pub(super) const PANICS: Kind = Kind::custom(66);

impl Wire {
    pub(super) fn framing(self) -> Framing {
        match self {
            Wire::Raw => Framing::raw(),
            Wire::Lines(max) => Framing::lines(max),
            Wire::Lengths(max) => Framing::length_delimited(LengthDelimited::u32_be().max_body(max)),
            Wire::Typed(max) => Framing::length_delimited(LengthDelimited::type_flags().max_body(max)),
            Wire::Joined => Framing::custom(Joined { before: 0 }),
            Wire::Web(web) => web.framing(),
        }
    }

    pub(super) fn encode(self, kind: Kind, body: &[u8]) -> Encoded {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        Encoded::Bytes(match self {
            Wire::Raw => body.to_vec(),
            Wire::Lines(_) if body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) => {
                return Encoded::Refused;
            }
            Wire::Lines(_) => [body, b"\n"].concat(),
            Wire::Lengths(max) | Wire::Typed(max) if body.len() > max => return Encoded::Refused,
            Wire::Lengths(_) => [&length, body].concat(),
            Wire::Typed(_) => [&kind.number().unwrap_or(0).to_be_bytes()[..], &length, body].concat(),
            Wire::Joined if kind == REFUSED => return Encoded::Refused,
            Wire::Joined if kind == PANICS => return Encoded::Panics,
            Wire::Joined => parts(body, PART).fold(Vec::new(), |mut wire, (is_last, part)| {
                wire.extend(header(is_last, part));
                wire.extend(part);
                wire
            }),
            // As it is without mask and compression.
            Wire::Web(_) => match kind {
                Kind::BINARY => frames::plain(FIN | BINARY, body),
                Kind::TEXT if str::from_utf8(body).is_ok() => frames::plain(FIN | TEXT, body),
                _ => return Encoded::Refused,
            },
        })
    }
}

/// Messages in parts, each changed by the number of messages before it, so that nothing may be decoded twice or out of
/// order.
///
/// ```text
/// | flags: 1 last, 2 error, 4 panic | length, 2 bytes | part |  ..  | 1 | length | part |
/// ```
pub(super) struct Joined {
    /// Messages that somebody else has decoded before.
    pub(super) before: u64,
}

const PART: usize = 60_000;
const LAST: u8 = 1;
pub(super) const BREAKS: u8 = 2;
pub(super) const THROWS: u8 = 4;
const HEADER: usize = 3;

fn header(is_last: bool, part: &[u8]) -> [u8; HEADER] {
    let [high, low] = (part.len() as u16).to_be_bytes();
    [u8::from(is_last), high, low]
}

fn parts(body: &[u8], size: usize) -> impl Iterator<Item = (bool, &[u8])> {
    let count = body.len().div_ceil(size).max(1);
    (0..count).map(move |nth| (nth + 1 == count, &body[nth * size..body.len().min((nth + 1) * size)]))
}

impl Joined {
    /// A message as a peer sends it, `number` others before it, in parts of that size.
    pub(super) fn from_peer(number: u64, body: &[u8], part: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        for (is_last, part) in parts(body, part.clamp(1, PART)) {
            wire.extend(header(is_last, part));
            wire.extend(part.iter().map(|byte| byte ^ number as u8));
        }
        wire
    }
}

impl Protocol for Joined {
    fn decode<'a>(&self, state: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        let bytes = input.peek();
        let (mut end, mut count) = (0, 0);
        loop {
            let Some(&[flags, high, low]) = bytes.get(end..end + HEADER) else {
                return Ok(Decoded::Need(end + HEADER));
            };
            match flags {
                BREAKS => return Err(ProtocolError("meant to break".into())),
                THROWS => throw(),
                _ => {}
            }
            end += HEADER + usize::from(u16::from_be_bytes([high, low]));
            count += 1;
            if flags & LAST != 0 {
                break;
            }
        }
        if bytes.len() < end {
            return Ok(Decoded::Need(end));
        }
        let number = (self.before + *state) as u8;
        *state += 1;
        let frame = input.take_mut(end);
        if count == 1 {
            let body = &mut frame[HEADER..];
            body.iter_mut().for_each(|byte| *byte ^= number);
            return Ok(Decoded::Message(Message::binary(body)));
        }
        let Some(scratch) = input.scratch() else { return Err(ProtocolError("no scratch".into())) };
        if !scratch.is_empty() {
            return Err(ProtocolError("the scratch is not empty".into()));
        }
        let mut rest = &frame[..];
        while let Some((&[_, high, low], behind)) = rest.split_first_chunk() {
            let (part, behind) = behind.split_at(usize::from(u16::from_be_bytes([high, low])));
            scratch.extend(part.iter().map(|byte| byte ^ number));
            rest = behind;
        }
        Ok(Decoded::Message(Message::binary(scratch)))
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        match payload.kind() {
            REFUSED => {
                out.put(b"dropped again");
                return Err(Refusal::NotEncodable);
            }
            PANICS => throw(),
            _ => {}
        }
        let bytes = payload.bytes();
        if bytes.len() <= PART {
            out.put(&header(true, bytes));
            out.body(payload);
        } else {
            for (is_last, part) in parts(bytes, PART) {
                out.put(&header(is_last, part));
                out.put(part);
            }
        }
        Ok(())
    }
}

thread_local! {
    static THROWN: Cell<u64> = const { Cell::new(0) };
}

/// Panics without a word on the terminal.
pub(super) fn throw() -> ! {
    THROWN.set(THROWN.get() + 1);
    resume_unwind(Box::new(Wanted))
}

/// How often this thread's worlds were meant to panic.
pub(super) fn thrown() -> u64 {
    THROWN.get()
}
