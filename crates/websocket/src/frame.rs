/// What a frame is (RFC 6455, 5.2).
///
/// ```
/// use wheelhouse_websocket::Opcode;
///
/// assert_eq!(Opcode::from_bits(0x9), Some(Opcode::Ping));
/// assert_eq!(Opcode::from_bits(0x3), None); // reserved
/// assert!(Opcode::Ping.is_control());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A fragment that goes on with a message.
    Continuation = 0x0,
    /// Text, or its first fragment.
    Text = 0x1,
    /// Binary, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xA,
}

impl Opcode {
    /// What the four bits on the wire stand for; none where they are reserved, or more than four.
    ///
    /// ```
    /// use wheelhouse_websocket::Opcode;
    ///
    /// let first = 0x81; // a frame's first byte: FIN, three reserved bits, the opcode
    /// assert_eq!(Opcode::from_bits(first & 0x0F), Some(Opcode::Text));
    /// assert_eq!(Opcode::from_bits(first), None); // more than four bits
    /// ```
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    /// The four bits on the wire.
    ///
    /// ```
    /// use wheelhouse_websocket::Opcode;
    ///
    /// assert_eq!(Opcode::Pong.bits(), 0xA);
    /// assert_eq!(Opcode::from_bits(Opcode::Pong.bits()), Some(Opcode::Pong));
    /// ```
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Whether it is a close, a ping or a pong: whole in one frame, of 125 bytes at most, between the
    /// fragments of a message too (RFC 6455, 5.5).
    ///
    /// ```
    /// use wheelhouse_websocket::Opcode;
    ///
    /// assert!(Opcode::Close.is_control());
    /// assert!(!Opcode::Continuation.is_control()); // a piece of a message
    /// ```
    #[inline]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

/// Nothing follows in this message.
pub(crate) const FIN: u8 = 0x80;
/// The message is compressed, where that was agreed on (RFC 7692, 6).
pub(crate) const RSV1: u8 = 0x40;
/// In the second byte: a mask's key follows the length.
pub(crate) const MASKED: u8 = 0x80;

/// A frame's header as it goes out: 2 to 14 bytes.
///
/// ```
/// use wheelhouse_websocket::{Header, Opcode};
///
/// let header = Header::new(Opcode::Text, 5, None);
/// assert_eq!(header.bytes(), b"\x81\x05"); // and then the payload, "Hello"
///
/// let first = Header::new(Opcode::Binary, 256, Some([1, 2, 3, 4])).compressed().unfinished();
/// assert_eq!(first.bytes(), b"\x42\xfe\x01\x00\x01\x02\x03\x04");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; 14],
    len: u8,
}

impl Header {
    /// The largest header: 14 bytes.
    ///
    /// ```
    /// use wheelhouse_websocket::{Header, Opcode};
    ///
    /// // The most: 2 bytes, a length of 8 and a key of 4.
    /// let largest = Header::new(Opcode::Binary, 1 << 20, Some([1, 2, 3, 4]));
    /// assert_eq!(largest.bytes().len(), Header::MAX);
    /// ```
    pub const MAX: usize = 14;

    /// The header of a final frame with `len` bytes of payload. `mask` is given by clients, which mask the
    /// payload with it too.
    ///
    /// ```
    /// use wheelhouse_websocket::{Header, Opcode};
    ///
    /// assert_eq!(Header::new(Opcode::Binary, 125, None).bytes(), b"\x82\x7d");
    /// assert_eq!(Header::new(Opcode::Binary, 126, None).bytes(), b"\x82\x7e\x00\x7e"); // two bytes more
    /// assert_eq!(Header::new(Opcode::Binary, 125, Some(*b"key!")).bytes(), b"\x82\xfdkey!");
    /// ```
    ///
    /// The length takes as few bytes as it can (RFC 6455, 5.2). That a control frame has no more than 125 of
    /// them is for the caller to see to.
    #[inline]
    pub fn new(opcode: Opcode, len: usize, mask: Option<[u8; 4]>) -> Header {
        let mut bytes = [0; 14];
        bytes[0] = FIN | opcode.bits();
        let mut end = match len {
            0..126 => {
                bytes[1] = len as u8;
                2
            }
            126..=0xFFFF => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(len as u64).to_be_bytes());
                10
            }
        };
        if let Some(key) = mask {
            bytes[1] |= MASKED;
            bytes[end..end + 4].copy_from_slice(&key);
            end += 4;
        }
        Header { bytes, len: end as u8 }
    }

    /// The same with RSV1: a compressed message (RFC 7692, 6). Only on the first frame of a message.
    ///
    /// ```
    /// use wheelhouse_websocket::deflate::Deflator;
    /// use wheelhouse_websocket::{Header, Opcode};
    ///
    /// let mut payload = Vec::new();
    /// Deflator::new(15, 1).deflate(b"Hello", false, &mut payload);
    /// let header = Header::new(Opcode::Text, payload.len(), None).compressed();
    /// assert_eq!([header.bytes(), &payload].concat(), b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    /// ```
    #[inline]
    pub fn compressed(mut self) -> Header {
        self.bytes[0] |= RSV1;
        self
    }

    /// The same of a fragment that others follow.
    ///
    /// ```
    /// use wheelhouse_websocket::{Header, Opcode};
    ///
    /// // The unmasked text in two fragments of RFC 6455, 5.7.
    /// let first = Header::new(Opcode::Text, 3, None).unfinished();
    /// let last = Header::new(Opcode::Continuation, 2, None);
    /// assert_eq!([first.bytes(), b"Hel", last.bytes(), b"lo"].concat(), b"\x01\x03Hel\x80\x02lo");
    /// ```
    #[inline]
    pub fn unfinished(mut self) -> Header {
        self.bytes[0] &= !FIN;
        self
    }

    /// The bytes.
    ///
    /// ```
    /// use wheelhouse_websocket::{Header, Opcode, mask};
    ///
    /// let (key, mut payload) = ([0x37, 0xfa, 0x21, 0x3d], *b"Hello");
    /// let header = Header::new(Opcode::Text, payload.len(), Some(key));
    /// mask(&mut payload, key);
    /// let frame = [header.bytes(), &payload].concat();
    /// assert_eq!(frame, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"); // RFC 6455, 5.7
    /// ```
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Puts a final frame behind what is in `out`, unmasked: a server's message.
///
/// ```
/// use wheelhouse_websocket::{Opcode, append_frame};
///
/// let mut out = Vec::new();
/// append_frame(Opcode::Text, b"Hello", &mut out);
/// append_frame(Opcode::Text, b"", &mut out);
/// assert_eq!(out, b"\x81\x05Hello\x81\x00");
/// ```
#[inline]
pub fn append_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    match payload.len() {
        // Most headers are two bytes, which are copied without a call.
        len @ 0..126 => out.extend_from_slice(&[FIN | opcode.bits(), len as u8]),
        len => out.extend_from_slice(Header::new(opcode, len, None).bytes()),
    }
    out.extend_from_slice(payload);
}

impl AsRef<[u8]> for Header {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_as_few_bytes_as_it_can() {
        let cases: [(usize, &[u8]); 7] = [
            (0, b"\x82\x00"),
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (0xFFFF, b"\x82\x7e\xff\xff"),
            (0x1_0000, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
            (0xFFFF_FFFF, b"\x82\x7f\x00\x00\x00\x00\xff\xff\xff\xff"),
            (usize::MAX >> 1, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"),
        ];
        for (len, bytes) in cases {
            assert_eq!(Header::new(Opcode::Binary, len, None).bytes(), bytes);
            if len <= 0x1_0000 {
                let (payload, mut out) = (vec![7; len], b"before".to_vec());
                append_frame(Opcode::Binary, &payload, &mut out);
                assert_eq!(out, [b"before", bytes, &payload[..]].concat());
            }
            let masked = Header::new(Opcode::Binary, len, Some(*b"key!"));
            let (first, rest) = masked.bytes().split_at(bytes.len());
            assert_eq!((first[1], rest), (bytes[1] | 0x80, &b"key!"[..]));
            assert!(masked.bytes().len() <= Header::MAX);
        }
    }

    #[test]
    fn four_bits_and_an_opcode_are_the_same_both_ways() {
        let known: Vec<u8> = (0..=255).filter(|&bits| Opcode::from_bits(bits).is_some()).collect();
        assert_eq!(known, [0, 1, 2, 8, 9, 10]);
        for bits in known {
            let opcode = Opcode::from_bits(bits).unwrap();
            assert_eq!((opcode.bits(), opcode.is_control()), (bits, bits >= 8));
        }
    }
}
