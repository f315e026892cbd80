//! 3: reserved bits, no extension being agreed on.

use crate::case;
use crate::util::{BINARY, CLOSE, FIN, Frame, PING, Seen, TEXT, frame, text};

const HELLO: &str = "Hello, world!";

fn with_bits(rsv: u8, first: u8, payload: &str) -> Frame {
    frame(first | rsv << 4, payload)
}

#[test]
fn case_3_1_and_3_5_to_3_7_the_first_frame_with_a_reserved_bit_fails() {
    for (number, frame) in [
        ("3.1", with_bits(1, FIN | TEXT, HELLO)),
        ("3.5", with_bits(5, FIN | BINARY, HELLO)),
        ("3.6", with_bits(6, PING, HELLO)),
        ("3.7", with_bits(7, CLOSE, "")),
    ] {
        case(number, &[frame], &[Seen::Failed(1002)]);
    }
}

#[test]
fn case_3_2_to_3_4_what_came_before_a_reserved_bit_is_served_and_nothing_after() {
    for (number, rsv) in [("3.2", 2), ("3.3", 3), ("3.4", 4)] {
        let frames = [frame(FIN | TEXT, HELLO), with_bits(rsv, FIN | TEXT, HELLO), frame(PING, "")];
        case(number, &frames, &[text(HELLO), Seen::Failed(1002)]);
    }
}

#[test]
fn case_3_every_reserved_bit_fails_on_every_opcode() {
    for rsv in 1..8 {
        for first in [FIN | TEXT, TEXT, FIN | BINARY, PING, CLOSE] {
            case(&format!("3, bits {rsv}"), &[with_bits(rsv, first, "x")], &[Seen::Failed(1002)]);
        }
        let frames = [frame(TEXT, "x"), with_bits(rsv, FIN, "x")];
        case(&format!("3, bits {rsv} on a continuation"), &frames, &[Seen::Failed(1002)]);
    }
}
