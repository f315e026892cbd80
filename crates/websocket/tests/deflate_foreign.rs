//! Both directions against a deflate that is not zlib's, in the shapes of Autobahn's cases 12 and 13:
//! a thousand messages of each size, under each agreement.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod util;

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use miniz_oxide::inflate::stream::InflateState;
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use wheelhouse_websocket::deflate::{Deflator, Inflator};

use util::noise;

/// Autobahn's 12.*.1 to 12.*.18 in short: sizes in bytes.
const SIZES: [usize; 9] = [0, 16, 64, 256, 1024, 4096, 8192, 32_768, 131_072];
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Bytes of each size and shape; a thousand messages of those up to 1 KiB.
const VOLUME: usize = 2 * 1024 * 1024;

#[test]
fn foreign_inflater_reads_what_we_compress() {
    each_shape(|window_bits, keep, size, messages| {
        let (mut ours, mut theirs) =
            (Deflator::new(window_bits, 1), InflateState::new_boxed(DataFormat::Raw));
        let (mut compressed, mut out) = (Vec::new(), vec![0; size + 1]);
        for &payload in messages {
            compressed.clear();
            ours.deflate(payload, keep, &mut compressed);
            compressed.extend(TAIL);
            if !keep {
                theirs.reset(DataFormat::Raw);
            }
            assert!(foreign_inflate(&mut theirs, &compressed, &mut out) == payload);
        }
    });
}

#[test]
fn we_inflate_what_a_foreign_compressor_wrote() {
    each_shape(|window_bits, keep, size, messages| {
        let flags = create_comp_flags_from_zip_params(6, -15, 0);
        let (mut theirs, mut ours) = (CompressorOxide::new(flags), Inflator::new(window_bits));
        let (mut compressed, mut out) = (vec![0; size + size / 4 + 64], Vec::new());
        for &payload in messages {
            if !keep {
                theirs.reset();
            }
            let len = foreign_deflate(&mut theirs, payload, &mut compressed);
            out.clear();
            ours.inflate(&compressed[..len], keep, size, &mut out).unwrap();
            assert!(out == payload);
        }
    });
}

#[test]
fn window_of_eight_bits_is_never_exceeded() {
    let text = text(40_000);
    for level in 0..=9 {
        assert!(inflated_through_256_bytes(8, level, &text) == text, "level {level}");
    }
    // A larger window would show.
    assert!(inflated_through_256_bytes(10, 6, &text) != text);
}

/// As much of a message as can be had when all that lies further back than 256 bytes is gone.
fn inflated_through_256_bytes(window_bits: u8, level: u32, payload: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    Deflator::new(window_bits, level).deflate(payload, true, &mut compressed);
    compressed.extend(TAIL);

    let mut inflater = DecompressorOxide::new();
    let (mut ring, mut read, mut out) = ([0; 256], 0, Vec::new());
    while out.len() < payload.len() {
        let at = out.len() % ring.len();
        let (_, taken, written) =
            decompress(&mut inflater, &compressed[read..], &mut ring, at, TINFL_FLAG_HAS_MORE_INPUT);
        if taken + written == 0 {
            break; // refused
        }
        read += taken;
        out.extend_from_slice(&ring[at..at + written]);
    }
    out
}

/// Calls `run` for every agreement and size, with the messages: text, which compresses, and noise.
fn each_shape(run: impl Fn(u8, bool, usize, &[&[u8]])) {
    let (text, noise) = (text(300_000), noise(300_000));
    for (window_bits, keep) in [(9, false), (9, true), (15, false), (15, true)] {
        for size in SIZES {
            for source in [&text, &noise] {
                let message = |index| {
                    let at = index * 37 % (source.len() - size);
                    &source[at..at + size]
                };
                let messages: Vec<_> = (0..count(size)).map(message).collect();
                run(window_bits, keep, size, &messages);
            }
        }
    }
}

fn count(size: usize) -> usize {
    (VOLUME / size.max(1)).clamp(8, 1000)
}

fn foreign_inflate<'a>(state: &mut InflateState, compressed: &[u8], out: &'a mut [u8]) -> &'a [u8] {
    let (mut read, mut written) = (0, 0);
    loop {
        let result = miniz_oxide::inflate::stream::inflate(
            state,
            &compressed[read..],
            &mut out[written..],
            MZFlush::Sync,
        );
        read += result.bytes_consumed;
        written += result.bytes_written;
        match result.status {
            Ok(MZStatus::Ok) if read < compressed.len() => {}
            Ok(MZStatus::Ok) | Err(MZError::Buf) => return &out[..written],
            other => panic!("{other:?}"),
        }
    }
}

/// How long the payload is that a frame would carry.
fn foreign_deflate(state: &mut CompressorOxide, payload: &[u8], out: &mut [u8]) -> usize {
    if payload.is_empty() {
        out[0] = 0;
        return 1;
    }
    let result = miniz_oxide::deflate::stream::deflate(state, payload, out, MZFlush::Sync);
    assert_eq!((result.status, result.bytes_consumed), (Ok(MZStatus::Ok), payload.len()));
    let compressed = &out[..result.bytes_written];
    assert!(compressed.ends_with(&TAIL));
    compressed.len() - TAIL.len()
}

/// Words in no order, which compress about as JSON does.
fn text(len: usize) -> Vec<u8> {
    let words = ["{\"id\":", "true", "name", "\"wheel\"", ", ", "house", "0.25", "}\n", "[1,2,3]", " : "];
    let mut text = Vec::with_capacity(len + 8);
    for byte in noise(len) {
        text.extend_from_slice(words[usize::from(byte) % words.len()].as_bytes());
        if text.len() >= len {
            break;
        }
    }
    text.truncate(len);
    text
}
