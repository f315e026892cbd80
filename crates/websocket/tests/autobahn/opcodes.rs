//! 4: reserved opcodes.

use crate::case;
use crate::util::{FIN, PING, Seen, TEXT, frame, text};

const HELLO: &str = "Hello, world!";

#[test]
fn case_4_1_1_and_4_1_2_a_reserved_opcode_of_data_fails() {
    case("4.1.1", &[frame(FIN | 3, "")], &[Seen::Failed(1002)]);
    case("4.1.2", &[frame(FIN | 4, "reserved opcode payload")], &[Seen::Failed(1002)]);
}

#[test]
fn case_4_2_1_and_4_2_2_a_reserved_opcode_of_control_fails() {
    case("4.2.1", &[frame(FIN | 11, "")], &[Seen::Failed(1002)]);
    case("4.2.2", &[frame(FIN | 12, "reserved opcode payload")], &[Seen::Failed(1002)]);
}

#[test]
fn case_4_1_3_to_4_1_5_and_4_2_3_to_4_2_5_a_message_before_a_reserved_opcode_is_served() {
    for (number, opcode, payload) in [
        ("4.1.3", 5, ""),
        ("4.1.4", 6, HELLO),
        ("4.1.5", 7, HELLO),
        ("4.2.3", 13, ""),
        ("4.2.4", 14, HELLO),
        ("4.2.5", 15, HELLO),
    ] {
        let frames = [frame(FIN | TEXT, HELLO), frame(FIN | opcode, payload), frame(PING, "")];
        case(number, &frames, &[text(HELLO), Seen::Failed(1002)]);
    }
}
