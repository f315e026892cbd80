//! A frame's header as it comes in.

use crate::frame::{FIN, MASKED, RSV1};
use crate::{Opcode, Role, Rules, State, Violation};

/// A header that is whole, and by every rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) opcode: Opcode,
    pub(crate) is_final: bool,
    pub(crate) is_compressed: bool,
    /// Bytes of the header, 2 to 14.
    pub(crate) size: usize,
    /// Bytes of the payload: 125 at most of a control frame, else what the rules leave room for.
    pub(crate) len: usize,
    pub(crate) mask: [u8; 4],
}

/// What the bytes at the beginning of a frame tell.
pub(crate) enum Look {
    Whole(Head),
    /// At least so many bytes are missing, of header and payload.
    Lacks(usize),
}

impl Head {
    /// Reads the header at the front of these bytes.
    ///
    /// The rules are gone through byte by byte, so that a frame fails for the same one however it is cut, and
    /// with the first byte that breaks it: before its key and its payload are there.
    pub(crate) fn read(rules: &Rules, state: &State, bytes: &[u8]) -> Result<Look, Violation> {
        let key = if rules.role == Role::Server { 4 } else { 0 };
        let Some(&first) = bytes.first() else {
            return Ok(Look::Lacks(2 + key));
        };
        let opcode = Self::first(rules, state, first)?;
        let Some(&second) = bytes.get(1) else {
            return Ok(Look::Lacks(1 + key));
        };
        let short = Self::second(rules, opcode, second)?;

        let wide = match short {
            0..126 => 0,
            126 => 2,
            _ => 8,
        };
        let size = 2 + wide + key;
        let Some(extended) = bytes.get(2..2 + wide) else {
            return Ok(Look::Lacks(size - bytes.len()));
        };
        let len = Self::length(short, extended)?;
        let is_compressed = first & RSV1 != 0 || state.has(State::COMPRESSED);
        if !opcode.is_control() && len > rules.room(state, is_compressed) as u64 {
            return Err(Violation::too_big("a message is larger than what is taken"));
        }
        if len > rules.longest() as u64 {
            return Err(Violation::too_big("a frame is larger than what is taken"));
        }
        let len = len as usize;

        if bytes.len() < size {
            return Ok(Look::Lacks(size + len - bytes.len()));
        }
        Ok(Look::Whole(Head {
            opcode,
            is_final: first & FIN != 0,
            is_compressed: first & RSV1 != 0,
            size,
            len,
            mask: bytes[2 + wide..size].first_chunk().copied().unwrap_or_default(),
        }))
    }

    /// FIN, the reserved bits and the opcode (RFC 6455, 5.2 and 5.4).
    fn first(rules: &Rules, state: &State, first: u8) -> Result<Opcode, Violation> {
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(Violation::protocol("a reserved opcode"))?;
        if first & 0x30 != 0 {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        let in_message = state.fragments > 0;
        let may_compress = state.has_deflate() && matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & RSV1 != 0 && !may_compress {
            return Err(Violation::protocol("RSV1 is set where nothing can be compressed"));
        }
        match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong if first & FIN == 0 => {
                Err(Violation::protocol("a control frame is fragmented"))
            }
            Opcode::Continuation if !in_message => {
                Err(Violation::protocol("there is no message to go on with"))
            }
            Opcode::Continuation if state.fragments >= rules.max_fragments.clamp(1, Rules::MAX_FRAGMENTS) => {
                Err(Violation::policy("a message is in more fragments than are taken"))
            }
            Opcode::Text | Opcode::Binary if in_message => {
                Err(Violation::protocol("a message begins within another"))
            }
            _ => Ok(opcode),
        }
    }

    /// The mask's bit and the short length, 0 to 127 (RFC 6455, 5.1 and 5.5).
    fn second(rules: &Rules, opcode: Opcode, second: u8) -> Result<u8, Violation> {
        match (rules.role, second & MASKED != 0) {
            (Role::Server, false) => return Err(Violation::protocol("a client's frame is not masked")),
            (Role::Client, true) => return Err(Violation::protocol("a server's frame is masked")),
            _ => {}
        }
        let short = second & !MASKED;
        match opcode.is_control() && short > 125 {
            true => Err(Violation::protocol("a control frame is longer than 125 bytes")),
            false => Ok(short),
        }
    }

    /// The length itself, in as few bytes as it takes (RFC 6455, 5.2).
    fn length(short: u8, extended: &[u8]) -> Result<u64, Violation> {
        let len = extended.iter().fold(0, |len, &byte| len << 8 | u64::from(byte));
        match short {
            126 if len < 126 => Err(Violation::protocol("a length takes more bytes than it needs")),
            127 if len <= 0xFFFF => Err(Violation::protocol("a length takes more bytes than it needs")),
            127 if len >> 63 != 0 => Err(Violation::protocol("the top bit of a length is set")),
            126 | 127 => Ok(len),
            _ => Ok(u64::from(short)),
        }
    }
}
