//! What a WebSocket's peer hears: the engine's answer to its request, then frames, none of which may be out of order.

use std::{ops::Range, rc::Rc};

use super::{
    frames::{BINARY, CLOSE, FIN, PING, PONG, RSV1, TEXT, plain},
    head::accept_of,
    ledger::shown,
    script::Script,
    squeeze::Expander,
    web::{Asks, Role, Talk},
};

/// Takes the bytes of one connection, and gives those that a ledger is held against: messages and pongs, each in a frame
/// without mask and compression. Of what is no WebSocket that is all there is.
pub(super) struct Ear {
    script: Rc<Script>,
    /// What is not whole yet.
    bytes: Vec<u8>,
    hears: Hears,
    expander: Option<Expander>,
    /// The answer's status, when its head is here.
    pub(super) status: Option<u16>,
    /// The code of the close frame; 1005 for none.
    pub(super) closed: Option<u16>,
    pub(super) pings: u64,
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hears {
    Head,
    /// So many bytes of an answer's body.
    Body(usize),
    Frames,
    Nothing,
}

impl Ear {
    pub(super) fn new(script: Rc<Script>) -> Ear {
        let hears = Hears::Head;
        Ear { script, bytes: Vec::new(), hears, expander: None, status: None, closed: None, pings: 0 }
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let script = Rc::clone(&self.script);
        let Some(talk) = &script.talk else { return Ok(bytes.to_vec()) };
        self.bytes.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.bytes);
        let (mut rest, mut out) = (&all[..], Vec::new());
        while !rest.is_empty() {
            let used = match self.hears {
                Hears::Head => self.head(talk, rest)?,
                Hears::Body(left) => {
                    let used = left.min(rest.len());
                    self.hears = if used == left { Hears::Nothing } else { Hears::Body(left - used) };
                    used
                }
                Hears::Frames => self.frame(talk, rest, &mut out)?,
                Hears::Nothing => return Err(format!("{} B behind the end: {}", rest.len(), shown(rest))),
            };
            if used == 0 {
                break;
            }
            rest = &rest[used..];
        }
        self.bytes = rest.to_vec();
        Ok(out)
    }

    /// Whether the answer, or the last frame, is whole.
    pub(super) fn is_between(&self) -> bool {
        self.bytes.is_empty() && !matches!(self.hears, Hears::Body(1..))
    }

    /// The beginning of a frame, where it is told what it is of; none before frames come.
    pub(super) fn begun(&self) -> Option<&[u8]> {
        match (self.hears, &self.bytes[..]) {
            (Hears::Frames, []) => Some(&[]),
            (Hears::Frames, [first, ..]) if first & 0xf != PING && first & 0xf != CLOSE => Some(&self.bytes),
            (Hears::Frames, _) => Some(&[]),
            _ => None,
        }
    }

    fn head(&mut self, talk: &Talk, bytes: &[u8]) -> Result<usize, String> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = bytes.windows(END.len()).position(|window| window == END) else { return Ok(0) };
        let end = end + END.len();
        let head = str::from_utf8(&bytes[..end]).map_err(|_| "a head that is no text".to_owned())?;
        let (first, fields) = head.split_once("\r\n").unwrap_or_default();
        if talk.role == Role::Server {
            return self.request(talk, first, fields).map(|()| end);
        }
        let field = |name: &str| {
            let mut lines = fields.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let Some(status) = status else { return Err(format!("no answer: {first:?}")) };
        self.status = Some(status);
        if status != 101 {
            let length = field("Content-Length").and_then(|length| length.parse().ok());
            let Some(length) = length else { return Err(format!("an answer without a length: {head:?}")) };
            self.hears = match length {
                // A HEAD may not have been known for one when its time was up.
                1.. if !talk.head.is_bodiless || status == 408 => Hears::Body(length),
                _ => Hears::Nothing,
            };
            return Ok(end);
        }
        let accept = accept_of(&talk.head.key);
        if talk.head.asks != Asks::Socket || field("Sec-WebSocket-Accept") != Some(&accept) {
            return Err(format!("a WebSocket opens that should not: {head:?}"));
        }
        match field("Sec-WebSocket-Extensions") {
            None if talk.head.deflates => return Err(format!("compression is declined: {head:?}")),
            None => {}
            Some(agreed) if talk.head.deflates && agreed.starts_with("permessage-deflate") => {
                self.expander = Some(Expander::new(!agreed.contains("server_no_context_takeover")));
            }
            Some(_) => return Err(format!("an extension that nobody asked for: {head:?}")),
        }
        self.hears = Hears::Frames;
        Ok(end)
    }

    /// What a server is asked.
    fn request(&mut self, talk: &Talk, first: &str, fields: &str) -> Result<(), String> {
        let lacks = |line: &&str| !fields.contains(*line);
        let lines = ["Host: 127.0.0.1:9\r\n", "Upgrade: websocket\r\n", "Sec-WebSocket-Version: 13\r\n"];
        if first != "GET / HTTP/1.1" || lines.iter().any(lacks) {
            return Err(format!("no request for a WebSocket: {first:?}, {fields:?}"));
        }
        if talk.head.deflates {
            if !fields.contains("permessage-deflate") {
                return Err(format!("compression is not asked for: {fields:?}"));
            }
            self.expander = Some(Expander::new(!talk.head.forgets));
        }
        self.hears = Hears::Frames;
        Ok(())
    }

    fn frame(&mut self, talk: &Talk, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let Some(Frame { first, mask, payload }) = Frame::find(bytes)? else { return Ok(0) };
        let used = payload.end;
        let mut body = bytes[payload].to_vec();
        match (talk.role, mask) {
            (Role::Client, None) => {}
            (Role::Server, Some(mask)) => {
                body.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            }
            (role, mask) => return Err(format!("a frame to a {role:?}, masked with {mask:?}")),
        }
        let is_control = first & 8 != 0;
        if first & FIN == 0 || is_control && body.len() > 125 {
            return Err(format!("a frame that begins with {first:#x}, of {} B", body.len()));
        }
        if first & RSV1 != 0 && !is_control {
            let Some(expander) = &mut self.expander else { return Err("compressed without leave".into()) };
            body = expander.expand(&body)?;
        }
        match first & !RSV1 & !FIN {
            TEXT if str::from_utf8(&body).is_err() => return Err("text that is not UTF-8".into()),
            kind @ (TEXT | BINARY) => out.extend(plain(FIN | kind, &body)),
            _ if first & RSV1 != 0 => return Err("a compressed control frame".into()),
            PONG => out.extend(plain(first, &body)),
            PING if body.is_empty() => self.pings += 1,
            CLOSE => {
                self.closed = Some(match body.split_first_chunk() {
                    Some((&code, reason)) if str::from_utf8(reason).is_ok() => u16::from_be_bytes(code),
                    None if body.is_empty() => 1005,
                    _ => return Err(format!("a close frame that says {}", shown(&body))),
                });
                self.hears = Hears::Nothing;
            }
            _ => return Err(format!("a frame that begins with {first:#x}")),
        }
        Ok(used)
    }
}

/// A frame that is whole, and where its payload is.
struct Frame {
    first: u8,
    mask: Option<[u8; 4]>,
    payload: Range<usize>,
}

impl Frame {
    /// The first one of these bytes; none when it is not whole yet.
    fn find(bytes: &[u8]) -> Result<Option<Frame>, String> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (length, extra) = match (second & 0x7f, rest) {
            (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, 8)
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (usize::from(short), 0),
        };
        let is_shortest = match extra {
            2 => length > 125,
            8 => length > 0xffff,
            _ => true,
        };
        if !is_shortest {
            return Err(format!("a length of {length} in {extra} B"));
        }
        let (mask, start) = match second & 0x80 {
            0 => (None, 2 + extra),
            _ => match bytes[2 + extra..].first_chunk() {
                Some(&mask) => (Some(mask), 6 + extra),
                None => return Ok(None),
            },
        };
        let end = start + length;
        Ok((bytes.len() >= end).then_some(Frame { first: *first, mask, payload: start..end }))
    }
}
