//! Random streams of frames, valid and broken, through our parser and through tungstenite's: the same
//! messages, and where one finds an error, the other finds one that closes with the same code.
//!
//! Where the two differ on purpose, no such frame is made: tungstenite takes lengths in more bytes than they
//! need, answers the top bit of a length with 1009, does not know the code 1014, and of a close frame with
//! both a wrong code and a broken reason it minds the reason.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "util/mod.rs"]
mod util;

use std::io::{self, Cursor, Read, Write};

use tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};
use util::{BINARY, CLOSE, CONTINUATION, End, FIN, Frame, PING, PONG, Seen, TEXT, frame};
use wheelhouse_websocket::{Role, Rules};

const SEEDS: u64 = 2000;
const MAX_MESSAGE: usize = 3000;

#[test]
fn two_parsers_agree_on_two_thousand_streams() {
    let mut tally = [0; 6];
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let role = if dice.one_in(3) { Role::Client } else { Role::Server };
        let mut bytes = Stream::new(&mut dice, role).finish();
        let is_whole = !dice.one_in(4);
        if !is_whole {
            bytes.truncate(dice.below(bytes.len() + 1));
        }

        let ours = ours(&mut dice, role, &bytes);
        let theirs = theirs(role, &bytes);
        // Of a frame that is not whole, tungstenite says nothing; we may know already that it is wrong.
        let fails_early = matches!(&ours[..], [first @ .., Seen::Failed(_)] if first == theirs);
        assert!(
            ours == theirs || !is_whole && fails_early,
            "seed {seed}, {role:?}:\n ours {ours:.2000?}\n theirs {theirs:.2000?}"
        );
        for seen in ours {
            tally[match seen {
                Seen::Failed(1002) => 0,
                Seen::Failed(1007) => 1,
                Seen::Failed(_) => 2,
                Seen::Close(..) => 3,
                Seen::Text(_) => 4,
                _ => 5,
            }] += 1;
        }
    }
    assert!(tally.iter().all(|&count| count > 100), "too few of some kind: {tally:?}");
}

/// What our parser sees, in reads of random lengths.
fn ours(dice: &mut Dice, role: Role, bytes: &[u8]) -> Vec<Seen> {
    let mut end = End::new(Rules {
        role,
        max_message: MAX_MESSAGE,
        max_frame: MAX_MESSAGE,
        max_fragments: Rules::MAX_FRAGMENTS,
    });
    let longest = [1, 10, 300, bytes.len().max(1)][dice.below(4)];
    let mut rest = bytes;
    while !rest.is_empty() {
        let (first, second) = rest.split_at((1 + dice.below(longest)).min(rest.len()));
        end.read(first);
        rest = second;
    }
    end.seen
}

/// What tungstenite's sees.
fn theirs(role: Role, bytes: &[u8]) -> Vec<Seen> {
    let role = if role == Role::Server { TheirRole::Server } else { TheirRole::Client };
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocket::from_raw_socket(Peer(Cursor::new(bytes)), role, Some(config));
    let mut seen = Vec::new();
    loop {
        let event = match socket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.to_string()),
            Ok(Message::Binary(payload)) => Seen::Binary(payload.to_vec()),
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Seen::Pong(payload.to_vec()),
            // Its way to say that the code may not be sent.
            Ok(Message::Close(Some(close))) if close.reason == "Protocol violation" => Seen::Failed(1002),
            Ok(Message::Close(close)) => match close {
                Some(close) => Seen::Close(Some(close.code.into()), close.reason.to_string()),
                None => Seen::Close(None, String::new()),
            },
            Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                return seen;
            }
            Err(Error::Protocol(_)) => Seen::Failed(1002),
            Err(Error::Utf8(_)) => Seen::Failed(1007),
            Err(Error::Capacity(_)) => Seen::Failed(1009),
            other => panic!("unexpected: {other:?}"),
        };
        let is_end = matches!(event, Seen::Close(..) | Seen::Failed(_));
        seen.push(event);
        if is_end {
            return seen;
        }
    }
}

/// A socket of which the other end has sent all it will, and takes what comes.
struct Peer<'a>(Cursor<&'a [u8]>);

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream in the making: right, but for a fault now and then.
struct Stream<'d> {
    dice: &'d mut Dice,
    role: Role,
    bytes: Vec<u8>,
}

impl Stream<'_> {
    fn new(dice: &mut Dice, role: Role) -> Stream<'_> {
        Stream { dice, role, bytes: Vec::new() }
    }

    fn finish(mut self) -> Vec<u8> {
        for _ in 0..1 + self.dice.below(8) {
            match self.dice.below(12) {
                0 => self.fault(false),
                1 => self.close(),
                2 | 3 => self.control(),
                _ => self.message(),
            }
        }
        self.bytes
    }

    fn push(&mut self, frame: Frame) {
        self.bytes.extend_from_slice(&frame.to(self.role));
    }

    /// A message in up to six fragments, cut anywhere, with control frames and faults in between.
    fn message(&mut self) {
        let is_text = self.dice.one_in(2);
        let payload = self.payload(is_text);
        let mut cuts: Vec<usize> =
            (0..self.dice.below(6)).map(|_| self.dice.below(payload.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut from, mut first) = (0, if is_text { TEXT } else { BINARY });
        for cut in cuts {
            self.push(frame(first, &payload[from..cut]));
            (from, first) = (cut, CONTINUATION);
            match self.dice.below(20) {
                0 => self.fault(true),
                1 => self.close(),
                2..8 => self.control(),
                _ => {}
            }
        }
        self.push(frame(FIN | first, &payload[from..]));
    }

    fn control(&mut self) {
        let first = if self.dice.one_in(3) { PONG } else { PING };
        let len = [0, 4, 125][self.dice.below(3)];
        let payload = self.dice.bytes(len);
        self.push(frame(first, payload));
    }

    fn close(&mut self) {
        let code = match self.dice.below(4) {
            0 => [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535][self.dice.below(10)],
            _ => [1000, 1003, 1007, 1010, 1011, 1012, 1013, 3000, 4999][self.dice.below(9)],
        };
        let payload = match self.dice.below(6) {
            0 => Vec::new(),
            1 => vec![3],
            2 => b"\x03\xe8broken \xc3\x28".to_vec(),
            _ => [&u16::to_be_bytes(code)[..], "grüße".as_bytes()].concat(),
        };
        self.push(frame(CLOSE, payload));
    }

    /// A frame that breaks one rule.
    fn fault(&mut self, in_message: bool) {
        let text = FIN | if in_message { CONTINUATION } else { TEXT };
        match self.dice.below(9) {
            0 => {
                let bit = [0x40, 0x20, 0x10][self.dice.below(3)];
                self.push(frame(text | bit, "bits"));
            }
            1 => {
                let opcode = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15][self.dice.below(10)];
                self.push(frame(FIN | opcode, "opcode"));
            }
            2 => {
                let wrong = if self.role == Role::Server { Role::Client } else { Role::Server };
                self.bytes.extend_from_slice(&frame(text, "mask").to(wrong));
            }
            3 => self.push(frame(PING & !FIN, "fragmented")),
            4 => self.push(frame(PONG, [0; 126])),
            5 if in_message => self.push(frame(BINARY, "within another")),
            5 => self.push(frame(CONTINUATION, "of nothing")),
            6 => self.push(frame(text, vec![b'x'; MAX_MESSAGE + 1])),
            7 => {
                let masked = if self.role == Role::Server { 0x80 } else { 0 };
                self.bytes.extend_from_slice(&[text, masked | 127]);
                self.bytes.extend_from_slice(&(u64::MAX >> (1 + self.dice.below(30))).to_be_bytes());
                self.bytes.extend_from_slice(b"key!");
            }
            _ => {
                let broken: [&[u8]; 5] =
                    [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"];
                let broken = broken[self.dice.below(5)];
                self.push(frame(text, broken));
            }
        }
    }

    /// Sometimes a message that is too large, alone or in sum.
    fn payload(&mut self, is_text: bool) -> Vec<u8> {
        let len = [0, 1, 20, 125, 126, 1000, MAX_MESSAGE, MAX_MESSAGE + 1][self.dice.below(8)];
        let len = if len > 126 && !self.dice.one_in(3) { self.dice.below(100) } else { len };
        if !is_text {
            return self.dice.bytes(len);
        }
        let mut text = String::new();
        while text.len() < len {
            let next = ['a', 'z', 'é', '€', '𐍈', '\u{10ffff}'][self.dice.below(6)];
            text.push(if text.len() + next.len_utf8() > len { 'x' } else { next });
        }
        text.into_bytes()
    }
}

/// SplitMix64: the same rolls for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.roll() as u8).collect()
    }
}
