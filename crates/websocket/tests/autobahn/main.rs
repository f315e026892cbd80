//! The cases of the Autobahn test suite, by its numbers, as far as frames go: each stream of frames, taken by
//! a server (masked) and by a client (not masked), whole, frame by frame, in reads of 997 bytes and byte by
//! byte, ends as the suite wants it to.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../util/mod.rs"]
mod util;

mod close;
mod control;
mod fragmentation;
mod framing;
mod opcodes;
mod reserved_bits;
mod split;
mod utf8;

use util::{End, Frame, RULES, Seen, stream};
use wheelhouse_websocket::{Role, Rules};

/// The case of this number: these frames are seen as that.
#[track_caller]
fn case(number: &str, frames: &[Frame], expected: &[Seen]) {
    for role in [Role::Server, Role::Client] {
        let rules = Rules { role, ..RULES };
        let whole = stream(frames, role);
        let by_frame: Vec<Vec<u8>> = frames.iter().map(|frame| frame.to(role)).collect();
        hold(number, rules, by_frame.iter().map(Vec::as_slice), expected);
        for read in [whole.len(), 997, 1] {
            // A large payload byte by byte says no more than one of hundreds of bytes.
            if read > 1 || whole.len() < 100_000 {
                hold(number, rules, whole.chunks(read), expected);
            }
        }
    }
}

#[track_caller]
fn hold<'a>(number: &str, rules: Rules, reads: impl Iterator<Item = &'a [u8]>, expected: &[Seen]) {
    let mut end = End::new(rules);
    reads.for_each(|read| end.read(read));
    assert!(
        end.seen == expected,
        "case {number}, {:?}: {} events, last {:.200?}",
        rules.role,
        end.seen.len(),
        { format!("{:?}", end.seen.last()) }
    );
}
