//! As much of RFC 6455 as a server without checks needs: what the bare loops here have in common.
//!
//! Nothing of it is the engine's. The load has its own side of the protocol in `load/wire.rs`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

/// What is behind the key of a request when it is hashed (RFC 6455, 1.3).
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a server answers to a client's key (RFC 6455, 4.2.2).
#[must_use]
pub fn accept(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::digest(format!("{key}{SUFFIX}")))
}

/// Where the head of a request or an answer ends, once its end is there.
#[must_use]
pub fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// A header of a head, by its name.
#[must_use]
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = str::from_utf8(head).ok()?.split("\r\n");
    let mut values = lines.filter_map(|line| line.split_once(':'));
    values.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The answer that upgrades; `None` for a head without a key.
///
/// ```
/// use wheelhouse_benches::websocket::upgrade;
///
/// let answer = upgrade(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").unwrap();
/// assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
/// ```
#[must_use]
pub fn upgrade(head: &[u8]) -> Option<String> {
    let accept = accept(header(head, "sec-websocket-key")?);
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

/// What stands before the payload of a client's frame (RFC 6455, 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Its own length: 6, 8 or 14 bytes.
    pub length: usize,
    /// Bytes that follow it.
    pub payload: usize,
    /// What the payload is masked with.
    pub mask: [u8; 4],
}

impl FrameHead {
    /// Reads the head of a masked frame, once all of it is there.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (payload, mask_at) = match bytes.get(1)? & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let mask = *bytes.get(mask_at..mask_at + 4)?.first_chunk()?;
        Some(Self { length: mask_at + 4, payload: usize::try_from(payload).ok()?, mask })
    }

    /// The whole frame, in bytes.
    #[must_use]
    pub fn whole(&self) -> usize {
        self.length.saturating_add(self.payload)
    }

    /// Makes the frame at the start of `bytes` a server's, which is four bytes shorter and begins at the fifth byte:
    /// the payload is unmasked where it lies.
    pub fn turn_around(&self, bytes: &mut [u8]) {
        bytes[1] &= 0x7f;
        bytes.copy_within(..self.length - 4, 4);
        mask(&mut bytes[self.length..self.whole()], self.mask);
    }
}

/// Masks or unmasks a whole payload, eight bytes at a time.
pub fn mask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u64::from(u32::from_ne_bytes(mask));
    let word = word << 32 | word;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_of_the_rfc_comes_back_unmasked() {
        let mut frame = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let head = FrameHead::parse(&frame).unwrap();
        assert_eq!(head, FrameHead { length: 6, payload: 5, mask: [0x37, 0xfa, 0x21, 0x3d] });
        head.turn_around(&mut frame);
        assert_eq!(&frame[4..], b"\x81\x05Hello");
    }

    #[test]
    fn a_head_is_read_only_when_all_of_it_is_there() {
        for whole in [&[0x82, 0xfe, 1, 0, 1, 2, 3, 4][..], &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]]
        {
            assert_eq!(FrameHead::parse(whole).unwrap().length, whole.len());
            assert!((0..whole.len()).all(|end| FrameHead::parse(&whole[..end]).is_none()));
        }
    }

    #[test]
    fn a_mask_covers_every_length_and_undoes_itself() {
        for length in 0..40 {
            let payload: Vec<u8> = (0..length).collect();
            let mut masked = payload.clone();
            mask(&mut masked, [1, 2, 3, 4]);
            assert!(
                masked.iter().zip(&payload).enumerate().all(|(at, (out, of))| out ^ of == 1 + at as u8 % 4)
            );
            mask(&mut masked, [1, 2, 3, 4]);
            assert_eq!(masked, payload);
        }
    }
}
