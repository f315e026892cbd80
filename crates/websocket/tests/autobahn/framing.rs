//! 1: frames of all lengths.

use crate::case;
use crate::util::{BINARY, FIN, Seen, TEXT, frame, text};

const LENGTHS: [usize; 7] = [0, 125, 126, 127, 128, 65_535, 65_536];

#[test]
fn case_1_1_text_of_every_width_of_length_comes_as_it_was_sent() {
    for (at, len) in LENGTHS.into_iter().enumerate() {
        let payload = "*".repeat(len);
        case(&format!("1.1.{}", at + 1), &[frame(FIN | TEXT, &payload)], &[text(payload)]);
    }
}

#[test]
fn case_1_2_binary_of_every_width_of_length_comes_as_it_was_sent() {
    for (at, len) in LENGTHS.into_iter().enumerate() {
        let payload = vec![0xFE; len];
        case(&format!("1.2.{}", at + 1), &[frame(FIN | BINARY, &payload)], &[Seen::Binary(payload)]);
    }
}
