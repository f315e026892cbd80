//! What goes over a client's connection, written by hand: plain bytes, or the frames of a WebSocket (RFC 6455, 5).

use crate::handshake::{Answer, request};

/// What a server sends to all.
pub(crate) const ANNOUNCEMENT: &[u8] = b"this goes to every connection...";

/// What a connection sends first where bytes are plain, and must come back before it counts as open.
pub(crate) const HELLO: &[u8] = b"hello";

/// The same for all connections: the answer is then the same too.
const NONCE: u128 = 0x6d69_6c6c_696f_6e00_6d69_6c6c_696f_6e01;

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Control frames have no more, and nothing here is longer.
const LONGEST: usize = 125;
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Data(&'a [u8]),
    Ping(&'a [u8]),
    Close,
}

/// How the connections of a client speak; all in the same way.
pub(crate) struct Wire {
    is_websocket: bool,
    greeting: Vec<u8>,
    /// An answer that was found to be right: one that is the same need not be looked at closely.
    good_answer: Vec<u8>,
}

impl Wire {
    pub(crate) fn plain() -> Wire {
        Wire { is_websocket: false, greeting: HELLO.to_vec(), good_answer: HELLO.to_vec() }
    }

    /// To the server of that name.
    pub(crate) fn websocket(host: &str) -> Wire {
        let greeting = request(host, "/", NONCE).into_bytes();
        Wire { is_websocket: true, greeting, good_answer: Vec::new() }
    }

    /// What a client sends first.
    pub(crate) fn greeting(&self) -> &[u8] {
        &self.greeting
    }

    /// How much of these bytes is the answer to the greeting; nothing while it is not whole.
    pub(crate) fn answer(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let good = &self.good_answer;
        if !good.is_empty() && bytes.starts_with(good) {
            return Ok(Some(good.len()));
        }
        if !self.is_websocket {
            return match good.starts_with(bytes) {
                true => Ok(None),
                false => Err(format!("{:?} came back for {:?}", lossy(bytes), lossy(good))),
            };
        }
        let Some(rest) = Answer::default().take(bytes, NONCE)? else { return Ok(None) };
        let whole = bytes.len() - rest.len();
        self.good_answer = bytes[..whole].to_vec();
        Ok(Some(whole))
    }

    /// Writes a message.
    pub(crate) fn put(&self, out: &mut Vec<u8>, message: &[u8]) {
        match self.is_websocket {
            true => put_frame(out, BINARY, message),
            false => out.extend_from_slice(message),
        }
    }

    /// Writes what a ping is answered with.
    pub(crate) fn put_pong(&self, out: &mut Vec<u8>, data: &[u8]) {
        put_frame(out, PONG, data);
    }

    /// The next event, and how long it was; nothing where more has to come first.
    pub(crate) fn next<'a>(&self, bytes: &'a [u8]) -> Result<Option<(Event<'a>, usize)>, String> {
        if !self.is_websocket {
            return Ok((!bytes.is_empty()).then_some((Event::Data(bytes), bytes.len())));
        }
        let [first, length, rest @ ..] = bytes else { return Ok(None) };
        let length = usize::from(*length);
        if length > LONGEST {
            return Err(format!("a frame with a length of {length:#04x}, where none is masked or so long"));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let event = match first ^ FIN {
            BINARY => Event::Data(payload),
            PING => Event::Ping(payload),
            CLOSE => Event::Close,
            _ => return Err(format!("a frame that begins with {first:#04x}")),
        };
        Ok(Some((event, 2 + length)))
    }
}

/// Of one piece, at most [`LONGEST`] bytes, masked as a client has to.
fn put_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    debug_assert!(payload.len() <= LONGEST);
    out.extend_from_slice(&[FIN | opcode, MASKED | payload.len() as u8]);
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()
}
