//! 5: messages in fragments.

use crate::case;
use crate::util::{BINARY, CONTINUATION, FIN, Frame, PING, PONG, Seen, TEXT, frame, text};

fn ping(payload: &str) -> Seen {
    Seen::Ping(payload.as_bytes().to_vec())
}

#[test]
fn case_5_1_and_5_2_a_control_frame_in_fragments_fails() {
    for (number, opcode) in [("5.1", PING), ("5.2", PONG)] {
        let frames = [frame(opcode & !FIN, "fragment1"), frame(FIN | CONTINUATION, "fragment2")];
        case(number, &frames, &[Seen::Failed(1002)]);
    }
}

#[test]
fn case_5_3_to_5_5_two_fragments_are_one_message() {
    for opcode in [TEXT, BINARY] {
        let frames = [frame(opcode, "fragment1"), frame(FIN | CONTINUATION, "fragment2")];
        let joined = "fragment1fragment2";
        let expected = if opcode == TEXT { text(joined) } else { Seen::Binary(joined.into()) };
        case("5.3, 5.4, 5.5", &frames, &[expected]);
    }
}

#[test]
fn case_5_6_to_5_8_a_ping_between_two_fragments_comes_before_the_message() {
    let frames =
        [frame(TEXT, "fragment1"), frame(PING, "ping payload"), frame(FIN | CONTINUATION, "fragment2")];
    case("5.6, 5.7, 5.8", &frames, &[ping("ping payload"), text("fragment1fragment2")]);
}

#[test]
fn case_5_9_to_5_14_a_continuation_of_nothing_fails() {
    for (number, fin) in [("5.9, 5.10, 5.11", FIN), ("5.12, 5.13, 5.14", 0)] {
        let frames =
            [frame(fin | CONTINUATION, "non-continuation payload"), frame(FIN | TEXT, "Hello, world!")];
        case(number, &frames, &[Seen::Failed(1002)]);
    }
}

#[test]
fn case_5_15_a_continuation_of_nothing_after_a_message_fails() {
    let frames = [
        frame(TEXT, "fragment1"),
        frame(FIN | CONTINUATION, "fragment2"),
        frame(CONTINUATION, "fragment3"),
        frame(FIN | TEXT, "fragment4"),
    ];
    case("5.15", &frames, &[text("fragment1fragment2"), Seen::Failed(1002)]);
}

#[test]
fn case_5_16_and_5_17_a_continuation_of_nothing_before_a_message_fails() {
    for (number, fin) in [("5.16", 0), ("5.17", FIN)] {
        let once = [
            frame(fin | CONTINUATION, "fragment1"),
            frame(TEXT, "fragment2"),
            frame(FIN | CONTINUATION, "fragment3"),
        ];
        case(number, &[once.clone(), once].concat(), &[Seen::Failed(1002)]);
    }
}

#[test]
fn case_5_18_a_message_that_begins_within_another_fails() {
    for (first, second) in [(TEXT, TEXT), (TEXT, BINARY), (BINARY, TEXT), (BINARY, BINARY)] {
        case("5.18", &[frame(first, "fragment1"), frame(FIN | second, "fragment2")], &[Seen::Failed(1002)]);
    }
}

#[test]
fn case_5_19_and_5_20_five_fragments_with_pings_in_between_are_one_message() {
    let part = |number: u8, first: u8| -> Frame { frame(first, format!("fragment{number}")) };
    let frames = [
        part(1, TEXT),
        part(2, CONTINUATION),
        frame(PING, "pongme 1!"),
        part(3, CONTINUATION),
        part(4, CONTINUATION),
        frame(PING, "pongme 2!"),
        part(5, FIN | CONTINUATION),
    ];
    let joined = "fragment1fragment2fragment3fragment4fragment5";
    case("5.19, 5.20", &frames, &[ping("pongme 1!"), ping("pongme 2!"), text(joined)]);
}
