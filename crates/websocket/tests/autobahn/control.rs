//! 2: pings and pongs.

use crate::case;
use crate::util::{PING, PONG, Seen, frame};

#[test]
fn case_2_1_to_2_4_and_2_6_a_ping_comes_with_its_payload() {
    let payloads: [(&str, &[u8]); 5] = [
        ("2.1", b""),
        ("2.2", b"Hello, world!"),
        ("2.3", &[0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF]),
        ("2.4", &[0xFE; 125]),
        ("2.6", &[0xFE; 125]),
    ];
    for (number, payload) in payloads {
        case(number, &[frame(PING, payload)], &[Seen::Ping(payload.to_vec())]);
    }
}

#[test]
fn case_2_5_a_ping_of_126_bytes_fails() {
    case("2.5", &[frame(PING, [0xFE; 126])], &[Seen::Failed(1002)]);
}

#[test]
fn case_2_7_to_2_9_a_pong_that_nobody_asked_for_is_let_be() {
    let pong = |payload: &[u8]| Seen::Pong(payload.to_vec());
    case("2.7", &[frame(PONG, "")], &[pong(b"")]);
    case("2.8", &[frame(PONG, "unsolicited")], &[pong(b"unsolicited")]);
    case(
        "2.9",
        &[frame(PONG, "unsolicited"), frame(PING, "our own")],
        &[pong(b"unsolicited"), Seen::Ping(b"our own".to_vec())],
    );
}

#[test]
fn case_2_10_and_2_11_ten_pings_come_in_their_order() {
    let payloads: Vec<Vec<u8>> = (0..10).map(|number| format!("payload-{number}").into_bytes()).collect();
    let frames: Vec<_> = payloads.iter().map(|payload| frame(PING, payload)).collect();
    let expected: Vec<_> = payloads.into_iter().map(Seen::Ping).collect();
    case("2.10, 2.11", &frames, &expected);
}
