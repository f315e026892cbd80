//! The pattern that the load sends and checks: cut anywhere, changed anywhere, taken for another.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../stress/pattern.rs"]
mod pattern;

use pattern::{Pattern, Wrong};

fn stream(pattern: &Pattern, connection: u32, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let at = bytes.len() as u64;
        bytes.extend_from_slice(pattern.piece(connection, at, length - at));
    }
    bytes
}

#[test]
fn what_was_sent_is_accepted_however_it_is_cut() {
    let pattern = Pattern::new();
    let sent = stream(&pattern, 7, 200_000);
    for cut in [0, 1, 65_520, 65_521, 65_522, 131_042, 199_999] {
        pattern.check(7, 0, &sent[..cut]).unwrap();
        pattern.check(7, cut as u64, &sent[cut..]).unwrap();
    }
}

#[test]
fn one_wrong_byte_is_named() {
    let pattern = Pattern::new();
    for at in [0, 1, 65_520, 65_521, 99_999] {
        let mut bytes = stream(&pattern, 3, 100_000);
        let expected = bytes[at];
        bytes[at] ^= 0x20;
        let wrong = Wrong { position: at as u64, expected: Some(expected), seen: expected ^ 0x20 };
        assert_eq!(pattern.check(3, 0, &bytes), Err(wrong));
    }
}

#[test]
fn another_place_or_another_connection_is_noticed() {
    let pattern = Pattern::new();
    let bytes = stream(&pattern, 3, 64);
    for shift in 1..5000 {
        assert!(pattern.check(3, shift, &bytes).is_err(), "shifted by {shift}");
        assert!(pattern.check(3 + shift as u32, 0, &bytes).is_err(), "taken for {}", 3 + shift);
    }
}
