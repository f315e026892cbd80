//! What the tests of the whole engine share: an engine that stops when it is dropped, a handler that tells what it sees,
//! plain sockets that never wait for ever, and bytes whose every position is known.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a failure is a panic")]

mod bench;
mod dice;
mod docs;
mod net;
mod pattern;
mod probe;
mod server;

pub use self::{
    bench::Bench,
    dice::Dice,
    net::{
        connect, connect_small, is_reset, linger_zero, read_exactly, read_line, read_to_end, send_urgent,
        try_connect, wait_for_end,
    },
    pattern::Pattern,
    probe::{Event, Gone, Notes, Probe, Script, blow_up},
    server::{Server, many_descriptors, one_listener, one_reactor, until},
};

use std::time::Duration;

/// How long any condition is waited for; far beyond what it takes.
pub const LIMIT: Duration = Duration::from_secs(10);
