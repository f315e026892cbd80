//! 7: the closing handshake.

use crate::case;
use crate::util::{CLOSE, CONTINUATION, FIN, Frame, PING, Seen, TEXT, frame, text};

/// A close frame with this code and reason.
fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

fn closed(code: u16, reason: &str) -> Seen {
    Seen::Close(Some(code), reason.into())
}

#[test]
fn case_7_1_nothing_counts_after_a_close_frame() {
    let hello = frame(FIN | TEXT, "Hello World!");
    let normal = close(1000, "");
    let closed = closed(1000, "");
    case("7.1.1", &[hello.clone(), normal.clone()], &[text("Hello World!"), closed.clone()]);
    case("7.1.2", &[normal.clone(), normal.clone()], std::slice::from_ref(&closed));
    case("7.1.3", &[normal.clone(), frame(PING, "")], std::slice::from_ref(&closed));
    case("7.1.4", &[normal.clone(), hello], std::slice::from_ref(&closed));
    let within = [frame(TEXT, "fragment1"), normal.clone(), frame(FIN | CONTINUATION, "fragment2")];
    case("7.1.5", &within, std::slice::from_ref(&closed));
    let large = "BAsd7&jh23".repeat(26_214);
    case("7.1.6", &[frame(FIN | TEXT, &large), normal, frame(PING, "")], &[text(large), closed]);
}

#[test]
fn case_7_3_a_close_frame_is_empty_or_holds_a_code_and_a_reason_of_123_bytes_at_most() {
    case("7.3.1", &[frame(CLOSE, "")], &[Seen::Close(None, String::new())]);
    case("7.3.2", &[frame(CLOSE, "a")], &[Seen::Failed(1002)]);
    case("7.3.3", &[close(1000, "")], &[closed(1000, "")]);
    case("7.3.4", &[close(1000, "Hello World!")], &[closed(1000, "Hello World!")]);
    let longest = "*".repeat(123);
    case("7.3.5", &[close(1000, &longest)], &[closed(1000, &longest)]);
    case("7.3.6", &[close(1000, "*".repeat(124))], &[Seen::Failed(1002)]);
}

#[test]
fn case_7_5_1_a_reason_that_is_not_utf_8_fails() {
    let reason = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    case("7.5.1", &[close(1000, reason)], &[Seen::Failed(1007)]);
}

#[test]
fn case_7_7_codes_that_may_be_sent_are_taken() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        case(&format!("7.7, code {code}"), &[close(code, "")], &[closed(code, "")]);
    }
}

#[test]
fn case_7_9_and_7_13_codes_that_may_not_be_sent_fail() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        case(&format!("7.9, 7.13, code {code}"), &[close(code, "")], &[Seen::Failed(1002)]);
    }
}
