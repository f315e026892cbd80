//! What compresses and inflates messages: RFC 7692's examples, boundaries, limits and kept contexts.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod util;

use proptest::prelude::*;
use wheelhouse_websocket::CloseCode;
use wheelhouse_websocket::deflate::{Deflator, Inflator, most_deflated};

use util::noise;

const MIB: usize = 1024 * 1024;

#[test]
fn one_compressed_block_as_in_7_2_3_1() {
    assert_eq!(inflated(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), b"Hello");
    assert_eq!(deflated(b"Hello"), [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
}

#[test]
fn second_message_refers_to_the_first_as_in_7_2_3_2() {
    let messages: [&[u8]; 2] = [&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], &[0xf2, 0x00, 0x11, 0x00, 0x00]];

    let mut inflator = Inflator::new(15);
    for message in messages {
        let mut out = Vec::new();
        inflator.inflate(message, true, 5, &mut out).unwrap();
        assert_eq!(out, b"Hello");
    }
    let mut deflator = Deflator::new(15, 6);
    for message in messages {
        let mut out = Vec::new();
        deflator.deflate(b"Hello", true, &mut out);
        assert_eq!(out, message);
    }
}

#[test]
fn block_without_compression_as_in_7_2_3_3() {
    assert_eq!(inflated(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]), b"Hello");
}

#[test]
fn final_block_ends_a_stream_as_in_7_2_3_4() {
    let message = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    assert_eq!(inflated(&message), b"Hello");
    // With contexts kept, and for a peer that forgets the empty block behind it.
    let mut inflator = Inflator::new(15);
    let mut out = Vec::new();
    for message in [&message[..], &message[..7], &message[..]] {
        inflator.inflate(message, true, 5, &mut out).unwrap();
    }
    assert_eq!(out, b"HelloHelloHello");
}

#[test]
fn several_blocks_and_several_streams_are_one_message_as_in_7_2_3_5() {
    let blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflated(&blocks), b"Hello");

    let hello_twice =
        [[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]].concat();
    assert_eq!(inflated(&hello_twice), b"HelloHello");
}

#[test]
fn empty_message_is_one_zero_as_in_7_2_3_6() {
    let (mut deflator, mut inflator) = (Deflator::new(15, 1), Inflator::new(15));
    for keep in [true, true, false, false, true] {
        let (mut compressed, mut out) = (Vec::new(), Vec::new());
        deflator.deflate(b"", keep, &mut compressed);
        assert_eq!(compressed, [0]);
        inflator.inflate(&compressed, keep, 0, &mut out).unwrap();
        assert_eq!(out, b"");
    }
    assert_eq!(inflated(&[0x02, 0x00]), b""); // an empty fixed block, then an empty stored one
    assert_eq!(inflated(&[0x01]), b""); // a final stored block, without its lengths
    assert_eq!(inflated(&[]), b""); // nothing at all, from a careless peer
}

#[test]
fn empty_message_leaves_the_context_alone() {
    let (mut deflator, mut inflator) = (Deflator::new(15, 6), Inflator::new(15));
    let (mut compressed, mut out) = (Vec::new(), Vec::new());
    for (message, keep, len) in
        [("Hello", true, 7), ("", true, 1), ("Hello", true, 5), ("", false, 1), ("Hello", true, 7)]
    {
        compressed.clear();
        deflator.deflate(message.as_bytes(), keep, &mut compressed);
        assert_eq!(compressed.len(), len);
        inflator.inflate(&compressed, keep, 5, &mut out).unwrap();
    }
    assert_eq!(out, b"HelloHelloHello");
}

#[test]
fn message_of_the_maximum_passes_and_one_more_byte_does_not() {
    for len in [0, 1, 1023, 1024, 1025, 16_383, 16_384, 16_385, 16_386, 100_000] {
        for payload in [noise(len), vec![b'a'; len]] {
            let compressed = deflated(&payload);
            let (mut inflator, mut out) = (Inflator::new(15), b"before".to_vec());
            inflator.inflate(&compressed, false, len, &mut out).unwrap();
            assert_eq!(&out[..6], b"before");
            assert!(out[6..] == payload);

            if len > 0 {
                let refused = inflator.inflate(&compressed, false, len - 1, &mut out).unwrap_err();
                assert_eq!(refused.code, CloseCode::TOO_BIG);
                assert_eq!(out.len(), 6 + len);
            }
        }
    }
}

#[test]
fn no_message_comes_to_more_than_the_bound_at_any_level_and_window_flushed_behind_any_fragment() {
    // Where codes are fixed, these take nine bits each.
    let long = |len| noise(len).iter().map(|byte| 144 + byte % 112).collect::<Vec<_>>();
    for payload in [1, 2, 20, 125, 1000, 16_384, 70_000].map(|len| [noise(len), long(len)]).concat() {
        for (level, window) in [(0, 15), (1, 9), (1, 15), (3, 15), (6, 9), (6, 15), (9, 15)] {
            for piece in [1, 7, 30, 100, 5000, payload.len()].map(|piece| piece.min(payload.len())) {
                if payload.len() / piece > 20_000 {
                    continue;
                }
                let (mut deflator, mut out, mut frames) = (Deflator::new(window, level), Vec::new(), 0);
                for piece in payload.chunks(piece) {
                    if frames > 0 {
                        out.extend([0, 0, 0xff, 0xff]);
                    }
                    deflator.deflate(piece, true, &mut out);
                    frames += 1;
                }
                let (len, most) = (payload.len(), most_deflated(payload.len(), frames));
                assert!(
                    out.len() <= most,
                    "{len} bytes in {frames} at level {level}: {}, not {most}",
                    out.len()
                );
            }
        }
    }
}

#[test]
fn what_is_compressed_behind_a_forgotten_message_refers_to_none_before() {
    let (mut deflator, mut inflator) = (Deflator::new(15, 6), Inflator::new(15));
    let (mut compressed, mut out) = (Vec::new(), Vec::new());
    for (forgets, len) in [(false, 7), (false, 5), (true, 7), (false, 5)] {
        if forgets {
            // One that went as it was: the other end has never seen it.
            deflator.deflate(&noise(40_000), true, &mut Vec::new());
            deflator.forget();
        }
        compressed.clear();
        deflator.deflate(b"Hello", true, &mut compressed);
        assert_eq!(compressed.len(), len);
        inflator.inflate(&compressed, true, 5, &mut out).unwrap();
    }
    assert_eq!(out, b"Hello".repeat(4));
}

#[test]
fn bomb_costs_no_more_than_its_limit() {
    let mut bomb = Vec::new();
    let mut deflator = Deflator::new(15, 6);
    let zeros = vec![0; 64 * MIB];
    for i in 0..16 {
        deflator.deflate(&zeros, true, &mut bomb);
        if i < 15 {
            bomb.extend([0x00, 0x00, 0xff, 0xff]);
        }
    }
    assert!(bomb.len() < 2 * MIB, "{} bytes", bomb.len());

    let (mut inflator, mut out) = (Inflator::new(15), Vec::new());
    let refused = inflator.inflate(&bomb, false, MIB, &mut out).unwrap_err();
    assert_eq!(refused.code, CloseCode::TOO_BIG);
    assert!(out.is_empty());
    assert!(out.capacity() <= MIB + 1, "{} bytes", out.capacity());

    // A small one does not get memory for what it might become.
    let mut out = Vec::new();
    inflator.inflate(&deflated(&vec![0; 10_000]), false, 64 * MIB, &mut out).unwrap();
    assert!(out.capacity() <= 32 * 1024, "{} bytes", out.capacity());
}

#[test]
fn room_of_a_larger_message_is_not_filled_by_a_bomb() {
    let (mut inflator, mut out) = (Inflator::new(15), Vec::with_capacity(8 * MIB));
    let refused = inflator.inflate(&deflated(&vec![0; 4 * MIB]), false, 10_000, &mut out).unwrap_err();
    assert_eq!(refused.code, CloseCode::TOO_BIG);
    assert_eq!((out.len(), out.capacity()), (0, 8 * MIB));
}

#[test]
fn corrupt_message_is_refused_and_the_next_one_read() {
    let far_back = [0xf2, 0x00, 0x11, 0x00, 0x00]; // refers to a message that was never seen
    let bad_block = [0x07];
    let bad_lengths = [0x00, 0x05, 0x00, 0x00, 0x00, 1, 2, 3, 4, 5, 0x00];
    let (mut inflator, mut out) = (Inflator::new(15), Vec::new());
    for keep in [false, true] {
        for corrupt in [&far_back[..], &bad_block, &bad_lengths] {
            let refused = inflator.inflate(corrupt, keep, 100, &mut out).unwrap_err();
            assert_eq!(refused.code, CloseCode::INVALID, "{corrupt:x?}");
            assert!(out.is_empty());
            inflator.inflate(&deflated(b"Hello"), false, 100, &mut out).unwrap();
            assert_eq!(out, b"Hello");
            out.clear();
        }
    }
}

#[test]
fn message_cut_short_is_refused_where_nothing_is_kept() {
    let payload =
        b"a text that repeats, a text that repeats itself, and does not end without a turn".repeat(3);
    for level in [1, 6] {
        let mut compressed = Vec::new();
        Deflator::new(15, level).deflate(&payload, false, &mut compressed);
        let (mut inflator, mut out) = (Inflator::new(15), Vec::new());
        for len in 1..compressed.len() - 1 {
            let cut = inflator.inflate(&compressed[..len], false, MIB, &mut out);
            assert_eq!(cut.unwrap_err().code, CloseCode::INVALID, "level {level}, {len} bytes");
        }
        inflator.inflate(&compressed, false, MIB, &mut out).unwrap();
        assert_eq!(out, payload);
    }
}

#[test]
fn message_cut_short_where_a_context_is_kept_is_refused_and_nothing_unsent_comes_out() {
    let (mut inflator, mut out) = (Inflator::new(15), Vec::new());
    let stored = [0x00, 7, 0, 0xf8, 0xff, b'a', b'b', b'c', b'd', b'e', b'f', b'g', 0x00];
    for len in 2..stored.len() - 1 {
        let cut = inflator.inflate(&stored[..len], true, 100, &mut out);
        assert_eq!(cut.unwrap_err().code, CloseCode::INVALID, "{len} bytes");
        assert!(out.is_empty(), "{len} bytes: {out:x?}");
    }
    inflator.inflate(&stored, true, 100, &mut out).unwrap();
    assert_eq!(out, b"abcdefg");

    let payload = b"a text that repeats, a text that repeats itself, and ends within a turn".repeat(3);
    for level in [1, 6] {
        let mut compressed = Vec::new();
        Deflator::new(15, level).deflate(&payload, true, &mut compressed);
        for len in 1..compressed.len() - 1 {
            let (mut inflator, mut out) = (Inflator::new(15), Vec::new());
            match inflator.inflate(&compressed[..len], true, MIB, &mut out) {
                Ok(()) => assert!(payload.starts_with(&out), "level {level}, {len} bytes"),
                Err(cut) => assert_eq!(cut.code, CloseCode::INVALID, "level {level}, {len} bytes"),
            }
        }
    }
}

#[test]
fn nothing_of_one_connection_reaches_another_through_a_shared_context() {
    let secret = noise(1000);
    let mut deflator = Deflator::new(15, 9);
    let mut fresh = Vec::new();
    deflator.deflate(&secret, false, &mut fresh);
    for size in [1, 10, 1000, 40_000] {
        let mut out = Vec::new();
        deflator.deflate(&noise(size), false, &mut out);
        out.clear();
        // As long as on the first day: nothing was found in what came before.
        deflator.deflate(&secret, false, &mut out);
        assert_eq!(out, fresh);
    }

    // A message that copies from before its beginning, right behind another's.
    let mut kept = Deflator::new(15, 9);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    kept.deflate(&secret, true, &mut first);
    kept.deflate(&secret, true, &mut second);
    assert!(second.len() < 50);
    let (mut inflator, mut out) = (Inflator::new(15), Vec::new());
    inflator.inflate(&first, false, MIB, &mut out).unwrap();
    assert_eq!(out, secret);
    out.clear();
    assert_eq!(inflator.inflate(&second, false, MIB, &mut out).unwrap_err().code, CloseCode::INVALID);
    // Nor after one that was refused half-way.
    inflator.inflate(&first, true, 500, &mut out).unwrap_err();
    assert_eq!(inflator.inflate(&second, true, MIB, &mut out).unwrap_err().code, CloseCode::INVALID);
}

#[test]
fn message_of_a_hundred_thousand_streams_is_read_in_time() {
    let mut message = [0x03, 0x00].repeat(100_000);
    message.push(0);
    let (mut inflator, mut out) = (Inflator::new(9), Vec::new());
    inflator.inflate(&message, false, MIB, &mut out).unwrap();
    assert!(out.is_empty());
}

#[test]
fn room_that_is_there_is_enough_from_the_second_message_on() {
    for window_bits in [9, 15] {
        let (mut deflator, mut inflator) = (Deflator::new(window_bits, 1), Inflator::new(window_bits));
        let (mut compressed, mut out) = (Vec::new(), Vec::new());
        for len in [1000, 20_000, 300_000] {
            let payload = noise(len);
            let mut capacities = None;
            for _ in 0..10 {
                compressed.clear();
                out.clear();
                deflator.deflate(&payload, false, &mut compressed);
                inflator.inflate(&compressed, false, MIB, &mut out).unwrap();
                let now = (compressed.capacity(), out.capacity(), compressed.as_ptr(), out.as_ptr());
                assert_eq!(*capacities.get_or_insert(now), now);
            }
        }
    }
}

#[test]
fn output_that_exactly_fills_the_room_is_whole() {
    for payload in [noise(300), vec![7; 300], noise(20_000), noise(16 * 1024 - 5)] {
        for room in (0..500).chain(20_000..20_100).chain(16_300..16_450) {
            let mut compressed = Vec::with_capacity(room);
            Deflator::new(15, 1).deflate(&payload, false, &mut compressed);
            assert!(inflated(&compressed) == payload, "{} bytes into {room}", payload.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 2000 }))]

    #[test]
    fn what_was_deflated_inflates_to_itself(
        messages in prop::collection::vec(payload(), 1..8),
        window_bits in 8u8..=15,
        level in 0u32..=9,
        keep: bool,
    ) {
        let (mut deflator, mut inflator) = (Deflator::new(window_bits, level), Inflator::new(window_bits));
        for message in messages {
            let (mut compressed, mut out) = (b"header".to_vec(), Vec::new());
            deflator.deflate(&message, keep, &mut compressed);
            inflator.inflate(&compressed[6..], keep, message.len(), &mut out).unwrap();
            prop_assert!(out == message);
        }
    }

    #[test]
    fn whatever_comes_ends_within_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..2000), keep: bool) {
        let (mut inflator, mut out) = (Inflator::new(15), Vec::new());
        for part in [&bytes[..], &bytes[bytes.len() / 2..]] {
            out.clear();
            let inflated = inflator.inflate(part, keep, 5000, &mut out);
            prop_assert!(out.len() <= 5000 && out.capacity() <= 5001);
            prop_assert!(inflated.is_ok() || out.is_empty());
        }
        out.clear();
        inflator.inflate(&[0x03, 0x00], false, 0, &mut out).ok();
        inflator.inflate(&deflated(b"Hello"), false, 5, &mut out).unwrap();
        prop_assert_eq!(&out, b"Hello");
    }
}

/// Sizes around the boundaries of buffers and windows, random and repetitive.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let around = prop::sample::select(vec![0usize, 256, 512, 1024, 16_384, 32_768, 65_536]);
    let len = (around, -3isize..=3).prop_map(|(at, by)| at.saturating_add_signed(by));
    let len = prop_oneof![len, 0..2000usize];
    (len, 1..40usize, any::<bool>()).prop_map(|(len, period, is_noise)| {
        if is_noise { noise(len) } else { noise(period).into_iter().cycle().take(len).collect() }
    })
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflator::new(15, 6).deflate(payload, false, &mut out);
    out
}

fn inflated(compressed: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Inflator::new(15).inflate(compressed, false, 64 * MIB, &mut out).unwrap();
    out
}
