//! Which rule a peer broke, with which code, and at which byte: as early as it can be known.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "util/mod.rs"]
mod util;

use util::{BINARY, CLOSE, CONTINUATION, End, FIN, PING, PONG, RSV1, RULES, Seen, TEXT, frame, stream};
use wheelhouse_websocket::{
    CloseCode, Event, Header, Opcode, Pass, Role, Rules, State, deflate::most_deflated, mask,
};

const CLIENT: Rules = Rules { role: Role::Client, ..RULES };

/// Byte by byte: after how many of them it fails, and with which code; the same one as when all come at once.
fn failure(rules: Rules, state: State, bytes: &[u8]) -> Option<(usize, u16)> {
    let mut at_once = End::with(rules, state);
    at_once.read(bytes);
    let mut end = End::with(rules, state);
    for (at, &byte) in bytes.iter().enumerate() {
        end.read(&[byte]);
        if let Some(&Seen::Failed(code)) = end.seen.last() {
            assert_eq!(end.seen, at_once.seen);
            return Some((at + 1, code));
        }
    }
    None
}

#[test]
fn a_wrong_header_fails_at_its_first_wrong_byte() {
    let cases: [(&str, Role, &[u8], usize); 14] = [
        ("reserved bit", Role::Server, b"\xa1\x80", 1),
        ("reserved opcode of data", Role::Server, b"\x83\x80", 1),
        ("reserved opcode of control", Role::Server, b"\x8b\x80", 1),
        ("fragmented ping", Role::Server, b"\x09\x80", 1),
        ("continuation of nothing", Role::Server, b"\x80\x80", 1),
        ("text within text", Role::Client, b"\x01\x00\x81\x00", 3),
        ("not masked", Role::Server, b"\x81\x00", 2),
        ("masked", Role::Client, b"\x81\x80", 2),
        ("ping of 126 bytes", Role::Client, b"\x89\x7e\x00\x7e", 2),
        ("close of 64-bit length", Role::Client, b"\x88\x7f\x00", 2),
        ("125 in 16 bits", Role::Client, b"\x82\x7e\x00\x7d\x00", 4),
        ("65,535 in 64 bits", Role::Client, b"\x82\x7f\0\0\0\0\0\0\xff\xff\x00", 10),
        ("top bit of a length", Role::Client, b"\x82\x7f\x80\0\0\0\0\0\0\0\x00", 10),
        ("top bit of a length, masked", Role::Server, b"\x82\xff\x80\0\0\0\0\0\xff\xff\x00", 10),
    ];
    for (what, role, bytes, after) in cases {
        let failed = failure(Rules { role, ..RULES }, State::new(false), bytes);
        assert_eq!(failed, Some((after, 1002)), "{what}");
    }
}

#[test]
fn a_message_of_the_maximum_passes_and_one_more_byte_fails_at_its_header() {
    for max_message in [0, 1, 125, 126, 65_535, 65_536] {
        let rules = Rules { max_message, ..RULES };
        let mut end = End::new(rules);
        let payload = vec![b'x'; max_message];
        end.read(&frame(FIN | BINARY, &payload).to(Role::Server));
        assert_eq!(end.seen, [Seen::Binary(payload)]);

        let header = Header::new(Opcode::Binary, max_message + 1, Some([9; 4]));
        let without_key = header.bytes().len() - 4;
        let larger = [header.bytes(), &vec![9; max_message + 1]].concat();
        assert_eq!(failure(rules, State::new(false), &larger), Some((without_key, 1009)));
    }
}

#[test]
fn fragments_count_together_against_the_maximum() {
    let rules = Rules { max_message: 300, ..CLIENT };
    let begun = stream(&[frame(TEXT, [b'x'; 200]), frame(CONTINUATION, "")], Role::Client);
    let last = |len| frame(FIN | CONTINUATION, vec![b'x'; len]).to(Role::Client);

    let fits = [begun.clone(), last(100)].concat();
    let mut end = End::new(rules);
    end.read(&fits);
    assert_eq!(end.seen, [Seen::Text("x".repeat(300))]);

    let too_large = [begun.clone(), last(101)].concat();
    assert_eq!(failure(rules, State::new(false), &too_large), Some((begun.len() + 2, 1009)));
}

#[test]
fn a_frame_of_the_maximum_passes_and_one_more_byte_fails_at_its_header_in_any_fragment() {
    for max_frame in [125, 126, 1000, 65_535, 65_536] {
        let rules = Rules { max_frame, ..RULES };
        let mut end = End::new(rules);
        end.read(&stream(
            &[frame(BINARY, vec![b'x'; max_frame]), frame(FIN, vec![b'x'; max_frame])],
            Role::Server,
        ));
        assert_eq!(end.seen, [Seen::Binary(vec![b'x'; 2 * max_frame])]);

        let header = Header::new(Opcode::Binary, max_frame + 1, Some([9; 4]));
        let without_key = header.bytes().len() - 4;
        assert_eq!(failure(rules, State::new(false), header.bytes()), Some((without_key, 1009)));
        let begun = frame(BINARY, b"begun").to(Role::Server);
        let more = Header::new(Opcode::Continuation, max_frame + 1, Some([9; 4])).unfinished();
        let later = [&begun, more.bytes()].concat();
        assert_eq!(failure(rules, State::new(false), &later), Some((begun.len() + without_key, 1009)));
    }
}

#[test]
fn a_compressed_message_may_be_as_long_as_one_of_the_maximum_comes_to_and_one_more_byte_fails_at_its_header()
{
    let deflate = State::new(true);
    for max_message in [125, 126, 1000, 65_535, 1 << 20] {
        let rules = Rules { max_message, ..RULES };
        let most = most_deflated(max_message, 1);
        let mut end = End::with(rules, deflate);
        end.read(&frame(FIN | RSV1 | BINARY, vec![b'x'; most]).to(Role::Server));
        // The next one may be no longer for it.
        end.read(&frame(FIN | BINARY, vec![b'x'; max_message]).to(Role::Server));
        let payload = vec![b'x'; most];
        let compressed = Seen::Compressed { is_text: false, payload };
        assert_eq!(end.seen, [compressed, Seen::Binary(vec![b'x'; max_message])]);

        for (most, is_compressed) in [(most, true), (max_message, false)] {
            let header = Header::new(Opcode::Binary, most + 1, Some([9; 4]));
            let header = if is_compressed { header.compressed() } else { header };
            let without_key = header.bytes().len() - 4;
            assert_eq!(failure(rules, deflate, header.bytes()), Some((without_key, 1009)));
        }
    }
}

#[test]
fn a_compressed_message_in_fragments_may_be_longer_by_what_a_flush_behind_each_adds() {
    let (rules, deflate) = (Rules { max_message: 1000, ..CLIENT }, State::new(true));
    let begun = frame(RSV1 | BINARY, vec![b'x'; most_deflated(1000, 1)]).to(Role::Client);
    let most = most_deflated(1000, 2) - most_deflated(1000, 1);
    let whole = |len| [&begun[..], &frame(FIN | CONTINUATION, vec![b'x'; len]).to(Role::Client)].concat();
    assert_eq!(failure(rules, deflate, &whole(most)), None);
    assert_eq!(failure(rules, deflate, &whole(most + 1)), Some((begun.len() + 2, 1009)));
    // What begins without compression has none of it.
    let begun = frame(BINARY, vec![b'x'; 1000]).to(Role::Client);
    let more = [&begun[..], &frame(FIN | CONTINUATION, b"x").to(Role::Client)].concat();
    assert_eq!(failure(rules, deflate, &more), Some((begun.len() + 2, 1009)));
}

#[test]
fn the_maximum_of_frames_is_of_their_bytes_on_the_wire_compressed_or_not() {
    let (rules, deflate) = (Rules { max_frame: 1000, ..CLIENT }, State::new(true));
    for first in [FIN | BINARY, FIN | RSV1 | BINARY] {
        let bytes = frame(first, vec![b'x'; 1000]).to(Role::Client);
        assert_eq!(failure(rules, deflate, &bytes), None);
        let bytes = frame(first, vec![b'x'; 1001]).to(Role::Client);
        assert_eq!(failure(rules, deflate, &bytes), Some((4, 1009)));
    }
}

#[test]
fn a_frame_of_125_bytes_is_within_any_maximum_of_frames() {
    let rules = Rules { max_frame: 0, ..CLIENT };
    let mut end = End::new(rules);
    let most = [b'x'; 125];
    end.read(&stream(&[frame(PING, most), frame(FIN | BINARY, most)], Role::Client));
    assert_eq!(end.seen, [Seen::Ping(most.to_vec()), Seen::Binary(most.to_vec())]);
    let longer = Header::new(Opcode::Binary, 126, None);
    assert_eq!(failure(rules, State::new(false), longer.bytes()), Some((4, 1009)));
}

#[test]
fn the_largest_lengths_overflow_nothing() {
    for len in [u64::MAX >> 1, 1 << 62, 1 << 32, u64::from(u32::MAX), (64 << 20) + 1] {
        let header = [&b"\x82\x7f"[..], &len.to_be_bytes()].concat();
        for max_message in [300, usize::MAX] {
            let rules = Rules { max_message, ..CLIENT };
            assert_eq!(failure(rules, State::new(false), &header), Some((10, 1009)), "{len} bytes");
            let later = [b"\x02\x01x", &header[..]].concat();
            let later = [&later[..3], b"\x80", &later[4..]].concat();
            assert_eq!(failure(rules, State::new(false), &later), Some((13, 1009)), "{len} bytes after one");
        }
    }
}

#[test]
fn a_message_of_the_most_fragments_passes_and_one_more_fails_at_its_first_byte() {
    let fragments = |count: usize| {
        let mut frames = vec![frame(CONTINUATION, "x"); count];
        frames[0].0 = TEXT;
        frames[count - 1].0 |= FIN;
        stream(&frames, Role::Client)
    };
    for most in [1, 2, 3, 100, 65_536, Rules::MAX_FRAGMENTS] {
        let rules = Rules { max_fragments: most, ..CLIENT };
        let most = most as usize;
        let mut end = End::new(rules);
        end.read(&fragments(most));
        assert_eq!(end.seen, [Seen::Text("x".repeat(most))]);

        let mut end = End::new(rules);
        let one_more = fragments(most + 1);
        end.read(&one_more[..3 * most]);
        assert_eq!(end.seen, []);
        end.read(&one_more[3 * most..=3 * most]);
        assert_eq!(end.seen, [Seen::Failed(1008)]);
    }
}

#[test]
fn rsv1_is_taken_on_the_first_frame_of_a_message_where_deflate_was_agreed_on_and_nowhere_else() {
    let deflate = State::new(true);
    let compressed = [frame(RSV1 | TEXT, b"\xff"), frame(PING, ""), frame(FIN | CONTINUATION, b"\xfe")];
    let mut end = End::with(CLIENT, deflate);
    end.read(&stream(&compressed, Role::Client));
    end.read(&stream(&[frame(FIN | TEXT, "plain"), frame(FIN | RSV1 | BINARY, b"\x01")], Role::Client));
    assert_eq!(
        end.seen,
        [
            Seen::Ping(vec![]),
            // Not looked at for UTF-8: it is none before it is inflated.
            Seen::Compressed { is_text: true, payload: b"\xff\xfe".to_vec() },
            Seen::Text("plain".into()),
            Seen::Compressed { is_text: false, payload: vec![1] },
        ]
    );

    let on_continuation = stream(&[frame(RSV1 | TEXT, "x"), frame(FIN | RSV1, "")], Role::Client);
    assert_eq!(failure(CLIENT, deflate, &on_continuation), Some((4, 1002)));
    for control in [PING, PONG, CLOSE] {
        assert_eq!(failure(CLIENT, deflate, &frame(RSV1 | control, "").to(Role::Client)), Some((1, 1002)));
    }
    assert_eq!(failure(CLIENT, State::new(false), b"\xc1\x00"), Some((1, 1002)));
}

#[test]
fn text_fails_at_the_byte_that_breaks_it_in_whatever_frame_that_is() {
    let begun =
        stream(&[frame(TEXT, b"ok \xe2"), frame(CONTINUATION, b""), frame(PING, b"\xff")], Role::Client);
    let broken = [&begun[..], b"\x00\x7e\x10\x00\x82\x28"].concat();
    assert_eq!(failure(CLIENT, State::new(false), &broken), Some((broken.len(), 1007)));

    let unfinished = [&begun[..], b"\x80\x01\x82"].concat();
    assert_eq!(failure(CLIENT, State::new(false), &unfinished), Some((unfinished.len(), 1007)));
    let ends_with_nothing = [&begun[..], b"\x80\x00"].concat();
    assert_eq!(failure(CLIENT, State::new(false), &ends_with_nothing), Some((ends_with_nothing.len(), 1007)));
}

#[test]
fn nothing_is_served_or_kept_after_the_end() {
    for ending in [frame(CLOSE, ""), frame(FIN | 0x3, "")] {
        let begun = [frame(TEXT, "begun"), ending, frame(PING, "")];
        let mut bytes = stream(&begun, Role::Server);
        let mut pass = Pass::new(&RULES, State::new(true), &mut bytes);
        assert!(!matches!(pass.next(), Ok(None)));
        assert_eq!(pass.next(), Ok(None));
        let left = pass.finish();
        assert!(left.from == left.to && left.state.is_over() && left.state.has_deflate());

        let mut more = frame(FIN | TEXT, "more").to(Role::Server);
        let mut pass = Pass::new(&RULES, left.state, &mut more);
        assert_eq!(pass.next(), Ok(None));
        let left = pass.finish();
        assert!(left.from == left.to && left.state.is_over());
    }
}

#[test]
fn what_is_missing_is_told_as_far_as_it_is_known() {
    let cases: [(&str, Role, &[u8], usize); 13] = [
        ("nothing came", Role::Server, b"", 6),
        ("nothing came", Role::Client, b"", 2),
        ("one byte", Role::Server, b"\x82", 5),
        ("one byte", Role::Client, b"\x82", 1),
        ("a short length", Role::Server, b"\x82\x83", 7),
        ("a wide length", Role::Server, b"\x82\xfe", 6),
        ("a wide length, known", Role::Server, b"\x82\xfe\x01\x00", 260),
        ("a key in part", Role::Server, b"\x82\xfe\x01\x00key", 257),
        ("a payload in part", Role::Server, b"\x82\x83key!a", 2),
        ("a ping in part", Role::Client, b"\x89\x05pi", 3),
        ("a fragment, whole", Role::Client, b"\x02\x05wholeX", 2),
        ("a message, whole", Role::Client, b"\x82\x05whole\x82", 1),
        ("a payload not begun", Role::Client, b"\x82\x7f\0\0\0\0\0\x01\0\0", 65_536),
    ];
    for (what, role, bytes, missing) in cases {
        let mut end = End::new(Rules { role, ..RULES });
        let bytes = bytes.strip_suffix(b"X").unwrap_or(bytes);
        end.read(bytes);
        assert_eq!(end.missing(), missing, "{what}, {role:?}");
    }
}

#[test]
fn frames_that_nobody_asked_for_are_kept() {
    let state = State::new(false);
    let mut bytes = stream(&[frame(BINARY, "one"), frame(PING, "!"), frame(FIN, "two")], Role::Client);
    let whole = bytes.len();

    let left = Pass::new(&CLIENT, state, &mut bytes).finish();
    assert_eq!((left.from, left.to, left.missing, left.state), (0, whole, 1, state));

    let mut pass = Pass::new(&CLIENT, left.state, &mut bytes);
    assert_eq!(pass.next(), Ok(Some(Event::Ping(b"!"))));
    let left = pass.finish();
    assert_eq!((&bytes[left.from..left.to], left.missing), (&b"one\x80\x03two"[..], 1));

    let mut kept = bytes[left.from..left.to].to_vec();
    let mut pass = Pass::new(&CLIENT, left.state, &mut kept);
    let payload = &mut b"onetwo".to_vec()[..];
    assert_eq!(pass.next(), Ok(Some(Event::Message { is_text: false, is_compressed: false, payload })));
    let left = pass.finish();
    assert_eq!((left.from == left.to, left.state), (true, state));
}

#[test]
#[should_panic(expected = "what was kept begins the slice")]
fn a_slice_without_what_was_kept_is_refused() {
    let mut bytes = frame(BINARY, "begun").to(Role::Client);
    let mut pass = Pass::new(&CLIENT, State::new(false), &mut bytes);
    assert_eq!(pass.next(), Ok(None));
    let state = pass.finish().state;
    Pass::new(&CLIENT, state, &mut []);
}

#[test]
fn a_violation_says_its_rule_and_its_code() {
    let mut bytes = *b"\x89\x7e";
    let violation = Pass::new(&CLIENT, State::new(false), &mut bytes).next().unwrap_err();
    assert_eq!(violation.code, CloseCode::PROTOCOL);
    assert_eq!(violation.to_string(), "a control frame is longer than 125 bytes (1002)");
}

#[test]
fn only_a_whole_large_plain_message_in_one_frame_is_turned_around() {
    let rules = Rules { role: Role::Server, max_message: 1 << 20, max_frame: 1 << 20, max_fragments: 16 };
    let frame = |header: Header, len: usize| {
        let mut payload = vec![b'x'; len];
        mask(&mut payload, *b"key!");
        [header.bytes(), &payload].concat()
    };
    let whole = |len| frame(Header::new(Opcode::Binary, len, Some(*b"key!")), len);
    let turned = |bytes: &[u8], has_deflate: bool| {
        let mut bytes = bytes.to_vec();
        let mut pass = Pass::new(&rules, State::new(has_deflate), &mut bytes).turning(200);
        match pass.next() {
            Ok(Some(Event::Turned { frame, .. })) => Some(frame.to_vec()),
            _ => None,
        }
    };
    for len in [200, 65_535, 65_536] {
        let expected = [Header::new(Opcode::Binary, len, None).bytes(), &vec![b'x'; len]].concat();
        assert_eq!(turned(&whole(len), false), Some(expected), "{len} bytes");
        assert_eq!(turned(&whole(len)[..len], false), None, "{len} bytes, not all there");
    }
    assert_eq!(turned(&whole(199), false), None);
    let begun = frame(Header::new(Opcode::Binary, 200, Some(*b"key!")).unfinished(), 200);
    let ended = frame(Header::new(Opcode::Continuation, 200, Some(*b"key!")), 200);
    assert_eq!(turned(&[begun, ended].concat(), false), None);
    let compressed = frame(Header::new(Opcode::Binary, 200, Some(*b"key!")).compressed(), 200);
    assert_eq!(turned(&compressed, true), None);
}
