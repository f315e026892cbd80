//! A stream of frames, right or wrong, gives the same events wherever it is cut, however often the pass ends,
//! and keeps no more in between than it must.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "util/mod.rs"]
mod util;

use proptest::prelude::*;
use util::{
    BINARY, CLOSE, CONTINUATION, End, FIN, Frame, PING, PONG, RSV1, RULES, Seen, TEXT, frame, stream,
};
use wheelhouse_websocket::{Role, Rules, State, deflate::most_deflated};

const SMALL: Rules = Rules { max_message: 2000, max_frame: 600, max_fragments: 6, ..RULES };

/// Text as it may be cut by someone who does not look, and sometimes none.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z]{0,12}".prop_map(String::into_bytes),
        4 => "[é€𐍈a]{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => (0..700usize).prop_map(|len| vec![b'x'; len]),
        1 => prop_oneof![Just(125usize), Just(126), Just(127)].prop_map(|len| vec![b'y'; len]),
    ]
}

/// A message in fragments, its text cut at any byte, with control frames in between.
fn message() -> impl Strategy<Value = Vec<Frame>> {
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(control())), 0..6);
    (payload(), prop_oneof![3 => Just(TEXT), 1 => Just(BINARY), 1 => Just(RSV1 | TEXT)], cuts).prop_map(
        |(payload, opcode, mut cuts)| {
            cuts.sort_by_key(|(cut, _)| cut.index(payload.len() + 1));
            let (mut frames, mut from, mut first) = (Vec::new(), 0, opcode);
            for (cut, control) in cuts {
                let cut = cut.index(payload.len() + 1);
                frames.push(frame(first, &payload[from..cut]));
                frames.extend(control);
                (from, first) = (cut, CONTINUATION);
            }
            frames.push(frame(FIN | first, &payload[from..]));
            frames
        },
    )
}

fn control() -> impl Strategy<Value = Frame> {
    let first = prop_oneof![3 => Just(PING), 1 => Just(PONG)];
    (first, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(first, payload)| Frame(first, payload))
}

/// Mostly messages, at times something that ends the connection.
fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let anything = (any::<u8>(), payload()).prop_map(|(first, payload)| vec![Frame(first, payload)]);
    let close = (995..1020u16, payload())
        .prop_map(|(code, reason)| vec![frame(CLOSE, [&code.to_be_bytes()[..], &reason].concat())]);
    let part =
        prop_oneof![12 => message(), 2 => control().prop_map(|frame| vec![frame]), 1 => anything, 1 => close];
    prop::collection::vec(part, 1..8).prop_map(|parts| parts.concat())
}

/// What an end sees of reads of these lengths, and of the rest.
fn seen(rules: Rules, deflate: bool, is_slow: bool, bytes: &[u8], reads: &[usize]) -> Vec<Seen> {
    let mut end = End::with(rules, State::new(deflate));
    end.is_slow = is_slow;
    let mut rest = bytes;
    for &read in reads {
        let (first, second) = rest.split_at(read.min(rest.len()));
        end.read(first);
        rest = second;
        let most = if deflate {
            most_deflated(rules.max_message, rules.max_fragments as usize)
        } else {
            rules.max_message
        };
        let bound = most + 130;
        assert!(end.kept() <= bound, "{} bytes kept", end.kept());
    }
    end.read(rest);
    end.seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_stream_gives_the_same_events_cut_once_at_each_place(
        frames in frames(), deflate: bool, is_client: bool,
    ) {
        let rules = Rules { role: if is_client { Role::Client } else { Role::Server }, ..SMALL };
        let bytes = stream(&frames, rules.role);
        let whole = seen(rules, deflate, false, &bytes, &[]);
        // Long streams at some places, all the others at every one.
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 400) {
            prop_assert_eq!(&seen(rules, deflate, false, &bytes, &[cut]), &whole, "cut at {}", cut);
        }
    }

    #[test]
    fn a_stream_gives_the_same_events_in_reads_of_any_lengths(
        frames in frames(), deflate: bool, is_client: bool,
        reads in prop::collection::vec(prop_oneof![3 => 0..8usize, 2 => 0..200usize], 0..200),
    ) {
        let rules = Rules { role: if is_client { Role::Client } else { Role::Server }, ..SMALL };
        let bytes = stream(&frames, rules.role);
        let whole = seen(rules, deflate, false, &bytes, &[]);
        prop_assert_eq!(&seen(rules, deflate, false, &bytes, &reads), &whole);
        prop_assert_eq!(&seen(rules, deflate, false, &bytes, &vec![1; bytes.len()]), &whole, "byte by byte");
    }

    #[test]
    fn a_pass_that_ends_after_each_event_keeps_the_frames_behind_it(
        frames in frames(), deflate: bool,
        reads in prop::collection::vec(0..300usize, 0..20),
    ) {
        let bytes = stream(&frames, Role::Server);
        let whole = seen(SMALL, deflate, false, &bytes, &[]);
        prop_assert_eq!(&seen(SMALL, deflate, true, &bytes, &[]), &whole);
        let mut end = End::with(SMALL, State::new(deflate));
        end.is_slow = true;
        let mut rest = &bytes[..];
        for read in reads {
            let (first, second) = rest.split_at(read.min(rest.len()));
            end.read(first);
            rest = second;
        }
        end.read(rest);
        prop_assert_eq!(&end.seen, &whole);
    }

    #[test]
    fn reading_what_is_missing_never_reads_into_the_next_frame(
        frames in prop::collection::vec(message(), 1..5),
    ) {
        let bytes = stream(&frames.concat(), Role::Server);
        let mut end = End::with(Rules { max_fragments: 64, ..SMALL }, State::new(true));
        let mut rest = &bytes[..];
        let mut reads = 0;
        end.read(b"");
        while !rest.is_empty() && !end.has_failed() {
            prop_assert!(end.missing() <= rest.len(), "{} missing of {}", end.missing(), rest.len());
            let (first, second) = rest.split_at(end.missing());
            end.read(first);
            rest = second;
            reads += 1;
        }
        // Header and payload, with a step more for a long length.
        prop_assert!(reads <= 3 * frames.concat().len());
    }

    #[test]
    fn random_bytes_give_the_same_events_too_and_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), deflate: bool, is_client: bool,
    ) {
        let rules = Rules { role: if is_client { Role::Client } else { Role::Server }, ..SMALL };
        let whole = seen(rules, deflate, false, &bytes, &[]);
        prop_assert_eq!(seen(rules, deflate, true, &bytes, &vec![1; bytes.len()]), whole);
    }
}
