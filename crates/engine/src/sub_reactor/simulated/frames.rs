//! WebSocket frames as peers write them, worked out once more and independently of the engine's own.

use super::{
    head,
    random::Random,
    script::{Ending, Script, Sent},
    squeeze::squeeze,
    web::{Asks, Control, Role, Talk, Web},
};
use crate::Kind;

pub(super) const FIN: u8 = 0x80;
/// The message is compressed (RFC 7692, 6).
pub(super) const RSV1: u8 = 0x40;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// Pings and pongs of one peer: fewer than are too many in one second.
const MOST_CONTROLS: usize = 60;

/// A frame without a mask.
pub(super) fn plain(first: u8, body: &[u8]) -> Vec<u8> {
    [&header(first, 0, body.len())[..], body].concat()
}

fn header(first: u8, mask: u8, len: usize) -> Vec<u8> {
    match len {
        0..126 => vec![first, mask | len as u8],
        126..0x1_0000 => [&[first, mask | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask | 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// Writes a peer's part into its script.
pub(super) struct Pen<'a> {
    pub(super) random: &'a mut Random,
    pub(super) script: &'a mut Script,
    web: Web,
    talk: Talk,
    most: usize,
}

impl<'a> Pen<'a> {
    /// All that a peer will send behind what its proxy says.
    pub(super) fn write(random: &'a mut Random, script: &'a mut Script, web: Web, role: Role, most: usize) {
        let (bytes, mut head) = match role {
            Role::Client => head::request(random, web),
            Role::Server => head::welcome(random, web),
        };
        head.accept_at = head.accept_at.map(|at| at + script.bytes.len());
        script.bytes.extend(bytes);
        script.preface = script.bytes.len();
        let talk = Talk { role, head, controls: Vec::new(), closes: None, fault: None };
        let mut pen = Pen { random, script, web, talk, most: most.min(web.max_message) };
        match pen.talk.head.asks {
            Asks::Socket => pen.write_frames(),
            Asks::Other(_) => {
                // Behind it comes what nobody reads: a body.
                let more = if pen.random.one_in(2) { pen.random.size(most) } else { 0 };
                let more = pen.random.letters(more);
                pen.script.bytes.extend(more);
            }
            // What comes behind might count as the head's.
            Asks::Unreadable(_) | Asks::Torn => {}
        }
        script.talk = Some(pen.talk);
    }

    fn write_frames(&mut self) {
        let most_messages = if self.random.one_in(4) { 40 } else { 8 };
        for _ in 0..self.random.below(most_messages) {
            self.controls(4);
            self.message();
        }
        self.controls(3);
        self.end();
    }

    fn frame(&mut self, first: u8, body: &[u8]) {
        let is_masked = self.talk.role == Role::Client;
        self.frame_as(is_masked, first, body);
    }

    fn frame_as(&mut self, is_masked: bool, first: u8, body: &[u8]) {
        let out = &mut self.script.bytes;
        if !is_masked {
            return out.extend(plain(first, body));
        }
        out.extend(header(first, 0x80, body.len()));
        let mask = (self.random.next() as u32).to_le_bytes();
        out.extend(mask);
        out.extend(body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    /// Some pings and pongs, or none.
    fn controls(&mut self, one_in: usize) {
        while self.random.one_in(one_in) && self.talk.controls.len() < MOST_CONTROLS {
            let is_ping = self.random.one_in(2);
            let size = self.random.pick(&[0, 1, 14, 125]);
            let data = self.random.letters(size);
            self.frame(FIN | if is_ping { PING } else { PONG }, &data);
            let (before, end) = (self.script.messages.len(), self.script.bytes.len());
            self.talk.controls.push(Control { before, is_ping, data, end });
        }
    }

    /// A message: in one frame or several, with controls between them, compressed or not.
    fn message(&mut self) {
        let from = self.script.bytes.len();
        let is_text = self.random.one_in(2);
        let size = self.random.size(self.most);
        let body = match is_text {
            true => text(self.random, size),
            // Does not get smaller, and is taken all the same.
            false if self.random.one_in(3) => self.random.noise(size),
            false => self.random.letters(size),
        };
        let is_squeezed = self.talk.head.deflates && self.random.one_in(2);
        let squeezed = if is_squeezed { squeeze(&body) } else { Vec::new() };
        let payload = if is_squeezed { &squeezed } else { &body };
        let rsv = if is_squeezed { RSV1 } else { 0 };
        let count = if self.random.one_in(3) { 1 + self.random.below(5) } else { 1 };
        let count = count.min(self.web.max_fragments);
        let mut cuts: Vec<usize> = (1..count).map(|_| self.random.below(payload.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(payload.len());
        let mut at = 0;
        for (nth, cut) in cuts.iter().copied().enumerate() {
            let kind = match (nth, is_text) {
                (0, true) => rsv | TEXT,
                (0, false) => rsv | BINARY,
                _ => 0,
            };
            let fin = if nth + 1 == count { FIN } else { 0 };
            self.frame(fin | kind, &payload[at..cut]);
            at = cut;
            if fin == 0 {
                self.controls(3);
            }
        }
        let wire = from..self.script.bytes.len();
        self.script.longest = self.script.longest.max(wire.len());
        let kind = if is_text { Kind::TEXT } else { Kind::BINARY };
        self.script.messages.push(Sent { kind, body, wire });
    }

    fn end(&mut self) {
        match self.random.below(6) {
            0 => self.tear(),
            1 | 2 => self.close(),
            3 => {
                self.talk.fault = Some(self.fault());
                self.script.ending = Ending::Broken;
            }
            _ => {}
        }
    }

    fn tear(&mut self) {
        self.message();
        if let Some(torn) = self.script.messages.pop() {
            let keep = torn.wire.start + self.random.below(torn.wire.len());
            self.script.bytes.truncate(keep);
            self.talk.controls.retain(|control| control.end <= keep);
            self.script.ending = if keep > torn.wire.start { Ending::Torn } else { Ending::Whole };
        }
    }

    fn close(&mut self) {
        let code = self.random.pick(&[1005, 1000, 1001, 1010, 1013, 3000, 4999_u16]);
        let size = self.random.pick(&[0, 9, 123]);
        let reason = self.random.letters(size);
        let payload = if code == 1005 { Vec::new() } else { [&code.to_be_bytes()[..], &reason].concat() };
        self.frame(FIN | CLOSE, &payload);
        self.talk.closes = Some(code);
        self.script.ending = Ending::Closed;
        if self.random.one_in(3) {
            // Nothing behind it counts.
            let more = self.random.size(3_000);
            let more = self.random.letters(more);
            self.frame(FIN | TEXT, &more);
            self.script.bytes.extend(b"\xff\xff\xff\xff");
        }
    }

    /// What the rules forbid; the code that the peer is told.
    fn fault(&mut self) -> u16 {
        let (is_client, most) = (self.talk.role == Role::Client, self.web.max_fragments);
        let mask = if is_client { 0x80 } else { 0 };
        match self.random.below(16) {
            0 => self.frame_as(!is_client, FIN | TEXT, b"masked wrongly"),
            1 => self.frame(FIN | 0x20 | TEXT, b"a bit of no meaning"),
            2 => self.frame(FIN | 3, b"no such kind"),
            3 => self.frame(PING, b"in parts"),
            4 => self.frame(FIN | PING, &[b'.'; 126]),
            5 => self.frame(FIN, b"goes on with nothing"),
            6 if most > 2 => {
                self.frame(TEXT, b"begun");
                self.frame(FIN | TEXT, b"and another");
            }
            7 => {
                self.frame(FIN | TEXT, b"\xff");
                return 1007;
            }
            8 if most > 1 => {
                self.frame(TEXT, b"\xc3");
                self.frame(FIN, b"(");
                return 1007;
            }
            9 => {
                let most = self.web.max_message;
                let header = match self.talk.head.deflates && self.random.one_in(2) {
                    // An eighth, a 64th, 64 and for one frame 10 more than that.
                    true => header(FIN | RSV1 | BINARY, mask, most + most / 8 + most / 64 + 75),
                    false => header(FIN | BINARY, mask, most + 1),
                };
                self.script.bytes.extend([&header[..], &[0; 4]].concat());
                return 1009;
            }
            10 => self.frame(FIN | CLOSE, b"\x03"),
            11 => {
                let code = self.random.pick(&[0, 999, 1004, 1005, 1006, 1015, 2999, 5000_u16]);
                self.frame(FIN | CLOSE, &code.to_be_bytes());
            }
            12 => {
                self.frame(FIN | CLOSE, b"\x03\xe8\xff");
                return 1007;
            }
            13 if most <= 3 => {
                self.frame(TEXT, b"1");
                (0..most).for_each(|_| self.frame(0, b"2"));
                return 1008;
            }
            14 if self.talk.head.deflates => {
                self.frame(FIN | RSV1 | BINARY, b"\xff\xff\xff");
                return 1007;
            }
            14 => self.frame(FIN | RSV1 | TEXT, b"compressed without leave"),
            _ => self.script.bytes.extend([FIN | BINARY, mask | 126, 0, 5, 0, 0, 0, 0]),
        }
        1002
    }
}

/// So many bytes of text, with letters of several bytes in it.
fn text(random: &mut Random, size: usize) -> Vec<u8> {
    let mut text = String::with_capacity(size + 8);
    while text.len() < size {
        text.push(match random.below(8) {
            0 => random.pick(&['é', '€', '𐍈']),
            _ => char::from(b'a' + random.below(26) as u8),
        });
    }
    let end = text.floor_char_boundary(size);
    text.truncate(end);
    text.into_bytes()
}
