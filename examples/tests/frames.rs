//! The frames that the load writes and reads: cut anywhere, and from servers that break the rules.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../stress/frames.rs"]
#[allow(dead_code, reason = "the load uses all of it")]
mod frames;

use frames::{Event, Reader, put_masked, put_message};

/// All events, pieces joined; the bytes offered so many at a time.
fn read(mut bytes: &[u8], step: usize) -> Result<Vec<(char, Vec<u8>)>, &'static str> {
    let (mut reader, mut found, mut message) = (Reader::default(), Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let (mut part, rest) = bytes.split_at(step.min(bytes.len()));
        bytes = rest;
        while let Some(event) = reader.next(&mut part)? {
            match event {
                Event::Piece(piece) => message.extend_from_slice(piece),
                Event::End => found.push(('m', std::mem::take(&mut message))),
                Event::Ping(data) => found.push(('p', data)),
                Event::Close(code) => found.push(('c', code.unwrap().to_be_bytes().to_vec())),
            }
        }
    }
    Ok(found)
}

#[test]
fn a_message_in_fragments_with_a_ping_between_is_read_however_it_is_cut() {
    let mut bytes = b"\x82\x00\x02\x02ab\x89\x02hi\x8A\x00\x80\x01c\x82\x7E\x00\x7E".to_vec();
    bytes.extend([7; 126]);
    bytes.extend(b"\x82\x7F\0\0\0\0\0\x01\0\0");
    bytes.extend([8; 65_536]);
    bytes.extend(b"\x88\x02\x03\xE8");
    let expected = [
        ('m', vec![]),
        ('p', b"hi".to_vec()),
        ('m', b"abc".to_vec()),
        ('m', vec![7; 126]),
        ('m', vec![8; 65_536]),
        ('c', vec![3, 0xE8]),
    ];
    for step in [1, 2, 3, 5, 7, 64, 1000, 100_000] {
        assert_eq!(read(&bytes, step).unwrap(), expected, "{step}");
    }
}

#[test]
fn a_server_that_breaks_a_rule_is_found_out() {
    for (bytes, told) in [
        (&b"\xC2\x00"[..], "reserved bit"),
        (b"\x82\x81", "masked"),
        (b"\x82\x7E\x00\x7D", "more bytes"),
        (b"\x82\x7F\0\0\0\0\0\0\xFF\xFF", "more bytes"),
        (b"\x82\x7F\x80\0\0\0\0\0\0\0", "more bytes"),
        (b"\x80\x00", "continuation"),
        (b"\x02\x00\x82\x00", "within another"),
        (b"\x09\x00", "control frame"),
        (b"\x89\x7E\x00\x7E", "control frame"),
        (b"\x88\x01", "half"),
        (b"\x81\x00", "text"),
        (b"\x83\x00", "opcode"),
        (b"\x88\x02\x03\xE8\x82\x00", "after its close"),
    ] {
        let error = read(bytes, 1).unwrap_err();
        assert!(error.contains(told), "{bytes:x?}: {error}");
    }
}

#[test]
fn a_payload_written_in_pieces_is_masked_as_a_whole_is() {
    let payload: Vec<u8> = (0..100).collect();
    let mask = [1, 2, 4, 8];
    let expected: Vec<u8> = payload.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]).collect();
    for cut in 0..payload.len() {
        let mut out = Vec::new();
        put_masked(&mut out, &payload[..cut], mask, 0);
        put_masked(&mut out, &payload[cut..], mask, cut as u64);
        assert_eq!(out, expected, "{cut}");
    }
}

#[test]
fn each_length_is_written_in_the_fewest_bytes() {
    for (size, header) in [
        (0, &b"\x82\x80mask"[..]),
        (125, b"\x82\xFDmask"),
        (126, b"\x82\xFE\x00\x7Emask"),
        (65_535, b"\x82\xFE\xFF\xFFmask"),
        (65_536, b"\x82\xFF\0\0\0\0\0\x01\0\0mask"),
    ] {
        let mut out = Vec::new();
        put_message(&mut out, size, *b"mask");
        assert_eq!(out, header);
    }
}
