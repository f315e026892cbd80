//! 6: text is UTF-8, and fails at once where it is not.

use crate::case;
use crate::util::{CONTINUATION, End, FIN, Frame, RULES, Seen, TEXT, frame, stream, text};

/// "κόσμε", with an accent of two code points' history: 11 bytes.
const KOSME: &str = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}";

/// A text in fragments of these bytes.
fn fragments<P: AsRef<[u8]>>(parts: &[P]) -> Vec<Frame> {
    let last = parts.len() - 1;
    let first = |at| if at == 0 { TEXT } else { CONTINUATION } | if at == last { FIN } else { 0 };
    parts.iter().enumerate().map(|(at, part)| frame(first(at), part)).collect()
}

/// These bytes in one frame, and each in a fragment of its own.
fn both_ways(number: &str, bytes: &[u8], expected: &Seen) {
    case(number, &fragments(&[bytes]), std::slice::from_ref(expected));
    if !bytes.is_empty() {
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        case(number, &fragments(&singles), std::slice::from_ref(expected));
    }
}

/// After how many bytes of the stream a server fails.
fn fails_after(frames: &[Frame]) -> Option<usize> {
    let mut end = End::new(RULES);
    for (at, &byte) in stream(frames, RULES.role).iter().enumerate() {
        end.read(&[byte]);
        if end.has_failed() {
            return Some(at + 1);
        }
    }
    None
}

#[test]
fn case_6_1_empty_texts_and_empty_fragments_are_texts() {
    case("6.1.1", &fragments(&[""]), &[text("")]);
    case("6.1.2", &fragments(&["", "", ""]), &[text("")]);
    case("6.1.3", &fragments(&["", "middle frame payload", ""]), &[text("middle frame payload")]);
}

#[test]
fn case_6_2_text_may_be_cut_anywhere() {
    let hello = "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!";
    both_ways("6.2.1, 6.2.3", hello.as_bytes(), &text(hello));
    for cut in 0..=hello.len() {
        let (first, second) = hello.as_bytes().split_at(cut);
        case("6.2.2", &fragments(&[first, second]), &[text(hello)]);
    }
    both_ways("6.2.4", KOSME.as_bytes(), &text(KOSME));
}

#[test]
fn case_6_3_text_that_is_none_fails() {
    let bytes = [KOSME.as_bytes(), b"\xed\xa0\x80edited"].concat();
    both_ways("6.3.1, 6.3.2", &bytes, &Seen::Failed(1007));
}

#[test]
fn case_6_4_text_fails_at_the_byte_that_breaks_it() {
    const HEADER: usize = 6;
    let broken: [(&str, &[u8], usize); 2] = [
        // Beyond the last code point: the second byte tells.
        ("6.4.1, 6.4.3", b"\xf4\x90\x80\x80", 2),
        // The same, where the first byte has come with the good part.
        ("6.4.2, 6.4.4", b"\xf4\x90", 2),
    ];
    for (number, broken, telling) in broken {
        for cut in 0..=broken.len() {
            let first = [KOSME.as_bytes(), &broken[..cut]].concat();
            let second = &broken[cut..];
            let whole = fragments(&[[&first, second, b"edited"].concat()]);
            let after = HEADER + KOSME.len() + telling;
            assert_eq!(fails_after(&whole), Some(after), "case {number} in one frame");

            let parts = fragments(&[&first[..], second, b"edited"]);
            let headers = if cut < telling { 2 } else { 1 };
            let after = headers * HEADER + KOSME.len() + telling;
            assert_eq!(fails_after(&parts), Some(after), "case {number} in fragments, cut at {cut}");
        }
    }
}

#[test]
fn case_6_5_and_6_7_and_6_9_and_6_11_and_6_22_and_6_23_all_code_points_are_text() {
    let borders = "\0 \u{7f} \u{80} \u{7ff} \u{800} \u{ffff} \u{10000} \u{10ffff} \u{d7ff} \u{e000} \u{fffd}";
    both_ways("6.5, 6.7, 6.9, 6.11", borders.as_bytes(), &text(borders));
    for plane in 0..=0x10 {
        for last in ['\u{fffe}', '\u{ffff}'] {
            let noncharacter = char::from_u32(plane << 16 | last as u32).unwrap();
            both_ways("6.22", noncharacter.to_string().as_bytes(), &text(noncharacter));
        }
    }
    for special in '\u{fff9}'..='\u{ffff}' {
        both_ways("6.23", special.to_string().as_bytes(), &text(special));
    }
}

#[test]
fn case_6_6_a_part_of_a_text_is_one_where_no_character_is_cut() {
    for len in 1..=KOSME.len() {
        let part = &KOSME.as_bytes()[..len];
        let expected = str::from_utf8(part).map_or(Seen::Failed(1007), text);
        both_ways(&format!("6.6.{len}"), part, &expected);
    }
}

#[test]
fn case_6_8_and_6_10_and_6_12_to_6_21_what_is_no_utf_8_fails() {
    let mut broken: Vec<(&str, Vec<u8>)> = vec![
        ("6.8.1", b"\xf8\x88\x80\x80\x80".to_vec()),
        ("6.8.2", b"\xfc\x84\x80\x80\x80\x80".to_vec()),
        ("6.10.1", b"\xf7\xbf\xbf\xbf".to_vec()),
        ("6.10.2", b"\xfb\xbf\xbf\xbf\xbf".to_vec()),
        ("6.10.3", b"\xfd\xbf\xbf\xbf\xbf\xbf".to_vec()),
        ("6.11.5", b"\xf4\x90\x80\x80".to_vec()),
        ("6.12.8", (0x80..=0xBF).collect()),
        ("6.16.1", b"\xfe".to_vec()),
        ("6.16.2", b"\xff".to_vec()),
        ("6.16.3", b"\xfe\xfe\xff\xff".to_vec()),
        ("6.17.1", b"\xc0\xaf".to_vec()),
        ("6.17.2", b"\xe0\x80\xaf".to_vec()),
        ("6.17.3", b"\xf0\x80\x80\xaf".to_vec()),
        ("6.17.4", b"\xf8\x80\x80\x80\xaf".to_vec()),
        ("6.17.5", b"\xfc\x80\x80\x80\x80\xaf".to_vec()),
        ("6.18.1", b"\xc1\xbf".to_vec()),
        ("6.18.2", b"\xe0\x9f\xbf".to_vec()),
        ("6.18.3", b"\xf0\x8f\xbf\xbf".to_vec()),
        ("6.19.1", b"\xc0\x80".to_vec()),
        ("6.19.2", b"\xe0\x80\x80".to_vec()),
        ("6.19.3", b"\xf0\x80\x80\x80".to_vec()),
    ];
    broken.extend((1..=7).map(|count| ("6.12", [0x80, 0xBF].repeat(4)[..count].to_vec())));
    let lonely =
        [(0xC0..=0xDF, "6.13.1"), (0xE0..=0xEF, "6.13.2"), (0xF0..=0xF7, "6.13.3"), (0xF8..=0xFD, "6.13.4")];
    for (starts, number) in lonely {
        broken.push((number, starts.flat_map(|start: u8| [start, b' ']).collect()));
    }
    let unfinished: [&[u8]; 8] = [
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xc2",
        b"\xe0\xa0",
        b"\xf0\x90\x80",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf",
    ];
    broken.extend(unfinished.map(|bytes| ("6.14", bytes.to_vec())));
    broken.push(("6.15", unfinished.concat()));
    for surrogate in [0xA0u8, 0xAD, 0xAE, 0xAF, 0xB0, 0xBE, 0xBF] {
        broken.push(("6.20", vec![0xED, surrogate, 0x80]));
        broken.push(("6.21", vec![0xED, 0xA0, 0x80, 0xED, surrogate, 0xBF]));
    }
    for (number, bytes) in broken {
        both_ways(number, &bytes, &Seen::Failed(1007));
        let amid = [KOSME.as_bytes(), &bytes, b"edited"].concat();
        both_ways(number, &amid, &Seen::Failed(1007));
    }
}
