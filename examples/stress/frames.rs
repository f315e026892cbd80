//! WebSocket frames as a client writes and reads them (RFC 6455, 5), by hand: see `handshake`.

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The longest header: two bytes, a length of eight, a mask of four.
pub(crate) const LONGEST_HEADER: usize = 14;
const LONGEST_CONTROL: usize = 125;

/// Writes the header of a binary message of one frame; its payload follows, masked with that.
pub(crate) fn put_message(out: &mut Vec<u8>, size: u64, mask: [u8; 4]) {
    put_header(out, BINARY, size, mask);
}

/// Writes a frame that answers a ping.
pub(crate) fn put_pong(out: &mut Vec<u8>, data: &[u8], mask: [u8; 4]) {
    put_control(out, PONG, data, mask);
}

/// Writes a frame that ends it all as agreed: code 1000.
pub(crate) fn put_close(out: &mut Vec<u8>, mask: [u8; 4]) {
    put_control(out, CLOSE, &1000u16.to_be_bytes(), mask);
}

fn put_control(out: &mut Vec<u8>, opcode: u8, data: &[u8], mask: [u8; 4]) {
    put_header(out, opcode, data.len() as u64, mask);
    put_masked(out, data, mask, 0);
}

fn put_header(out: &mut Vec<u8>, opcode: u8, size: u64, mask: [u8; 4]) {
    out.push(FIN | opcode);
    match size {
        0..126 => out.push(MASKED | size as u8),
        126..0x1_0000 => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(MASKED | 127);
            out.extend_from_slice(&size.to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
}

/// Writes a piece of a payload that begins at byte `at` of it.
pub(crate) fn put_masked(out: &mut Vec<u8>, piece: &[u8], mut mask: [u8; 4], at: u64) {
    mask.rotate_left((at % 4) as usize);
    let from = out.len();
    out.extend_from_slice(piece);
    let eight = u64::from_ne_bytes([mask, mask].concat().try_into().unwrap_or_default());
    let (words, rest) = out[from..].as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ eight).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A part of a message's payload.
    Piece(&'a [u8]),
    /// The message is whole.
    End,
    Ping(Vec<u8>),
    /// With its code, where it has one.
    Close(Option<u16>),
}

/// Reads frames in pieces of any size.
#[derive(Default)]
pub(crate) struct Reader {
    header: Vec<u8>,
    /// Of the frame under way, once its header is whole.
    frame: Option<Frame>,
    /// The frames so far are no whole message.
    is_fragmented: bool,
    /// The payload of a control frame, as far as it came.
    control: Vec<u8>,
    is_closed: bool,
}

#[derive(Clone, Copy)]
struct Frame {
    opcode: u8,
    is_last: bool,
    left: u64,
}

impl Reader {
    /// The next event in these bytes, which are taken from their beginning; none when they are used up. What breaks a rule
    /// is told as a failure of the server's.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Event<'a>>, &'static str> {
        loop {
            if self.is_closed {
                return if bytes.is_empty() { Ok(None) } else { Err("something after its close frame") };
            }
            let Some(frame) = &mut self.frame else {
                if !self.read_header(bytes)? {
                    return Ok(None);
                }
                continue;
            };
            let here = frame.left.min(bytes.len() as u64) as usize;
            let (piece, rest) = bytes.split_at(here);
            *bytes = rest;
            frame.left -= here as u64;
            let Frame { opcode, is_last, left } = *frame;
            let is_control = opcode >= CLOSE;
            if is_control {
                self.control.extend_from_slice(piece);
            } else if !piece.is_empty() {
                return Ok(Some(Event::Piece(piece)));
            }
            if left > 0 {
                return Ok(None);
            }
            self.frame = None;
            if is_control {
                let data = std::mem::take(&mut self.control);
                match opcode {
                    PING => return Ok(Some(Event::Ping(data))),
                    CLOSE => {
                        self.is_closed = true;
                        let code = data.first_chunk().map(|code| u16::from_be_bytes(*code));
                        return Ok(Some(Event::Close(code)));
                    }
                    _ => continue, // a pong that was not asked for means nothing (5.5.3)
                }
            }
            self.is_fragmented = !is_last;
            if is_last {
                return Ok(Some(Event::End));
            }
        }
    }

    /// Whether the header is whole now.
    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<bool, &'static str> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.header.push(byte);
            let needed = match self.header.get(1).map(|second| second & 0x7F) {
                None => continue,
                Some(126) => 4,
                Some(127) => 10,
                Some(_) => 2,
            };
            if self.header.len() == needed {
                let frame = self.parse_header()?;
                self.header.clear();
                self.frame = Some(frame);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn parse_header(&self) -> Result<Frame, &'static str> {
        let (first, second) = (self.header[0], self.header[1]);
        let left = match &self.header[2..] {
            [] => u64::from(second & 0x7F),
            length => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let (opcode, is_last) = (first & 0x0F, first & FIN != 0);
        if first & 0x70 != 0 {
            return Err("a reserved bit, and no extension");
        }
        if second & MASKED != 0 {
            return Err("a masked frame from a server");
        }
        let is_shortest = match self.header.len() {
            2 => true,
            4 => left >= 126,
            _ => left >= 0x1_0000 && left >> 63 == 0,
        };
        if !is_shortest {
            return Err("a length in more bytes than it needs");
        }
        match opcode {
            CLOSE | PING | PONG if !is_last || left > LONGEST_CONTROL as u64 => {
                Err("a control frame too large")
            }
            CLOSE if left == 1 => Err("half a close code"),
            CLOSE | PING | PONG => Ok(Frame { opcode, is_last, left }),
            CONTINUATION if !self.is_fragmented => Err("a continuation of nothing"),
            BINARY if self.is_fragmented => Err("a new message within another"),
            CONTINUATION | BINARY => Ok(Frame { opcode, is_last, left }),
            1 => Err("text for what was sent as binary"),
            _ => Err("an unknown opcode"),
        }
    }
}
