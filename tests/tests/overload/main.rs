//! Overload: whoever comes in masses and behaves badly costs a bounded amount of memory, goes for the right reason, and
//! the others are served meanwhile.
//!
//! The engine runs in a process of its own, so that its memory is what is measured, and its descriptors are not those of
//! the thousands of clients here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a failure is a panic")]

mod caps;
mod crowd;
#[path = "../fixture/mod.rs"]
mod fixture;
mod half_sent;
mod never_reading;
mod quiet;
mod remote;
mod shared;
mod slow_peers;

use std::{
    sync::MutexGuard,
    thread,
    time::{Duration, Instant},
};

/// What a connection may cost outside the buffers' account: its slot, its deadline, its places in the lists.
const CONNECTION: usize = 160;
/// What a connection's queue may cost outside the account.
const QUEUE: usize = 512;
/// What a process may take for other things than connections: lists that have grown, the read buffer, the pool's spares.
const SLACK: usize = 6 << 20;

/// One at a time, with as many descriptors as there may be.
fn alone_with(descriptors: u64) -> MutexGuard<'static, ()> {
    let guard = fixture::crowd();
    let allowed = fixture::allow_descriptors(descriptors);
    assert!(allowed >= descriptors, "{descriptors} descriptors are needed, {allowed} allowed");
    guard
}

/// Waits for what nothing announces, longer than [`fixture::eventually`]: masses take their time on a busy machine.
#[track_caller]
fn in_the_end(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + 4 * fixture::PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "it did not come true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
