//! What was counted: by each reactor for itself, and added up at the end.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use hdrhistogram::Histogram;

use crate::pattern::Wrong;

/// Wrong bytes that are told one by one; the others are only counted.
const TOLD: usize = 10;

/// An hour: longer latencies count as this.
const LONGEST: u64 = 3_600_000_000_000;

pub(crate) struct Tally {
    pub(crate) opened: u64,
    /// Connections that were never open, or did not stay so, by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Messages that were to be sent, and were not: their connection was gone, or time was up (open loop).
    pub(crate) unsent: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// In ns.
    pub(crate) latency: Histogram<u64>,
    /// How much later than meant messages were sent, in ns (open loop).
    pub(crate) lateness: Histogram<u64>,
    /// Answers in each span of the time under load.
    pub(crate) series: Vec<u64>,
    pub(crate) corrupt: u64,
    /// The first of them: the connection, and what was wrong.
    pub(crate) wrong: Vec<(u32, Wrong)>,
}

impl Tally {
    pub(crate) fn new(spans: usize) -> Tally {
        Tally {
            opened: 0,
            failures: BTreeMap::new(),
            unsent: 0,
            sent: 0,
            answered: 0,
            bytes_sent: 0,
            bytes_received: 0,
            latency: histogram(),
            lateness: histogram(),
            series: vec![0; spans],
            corrupt: 0,
            wrong: Vec::new(),
        }
    }

    pub(crate) fn fail(&mut self, reason: String) {
        *self.failures.entry(reason).or_default() += 1;
    }

    pub(crate) fn mismatch(&mut self, connection: u32, wrong: Wrong) {
        self.corrupt += 1;
        if self.wrong.len() < TOLD {
            self.wrong.push((connection, wrong));
        }
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub(crate) fn unanswered(&self) -> u64 {
        self.sent - self.answered
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.opened += other.opened;
        for (reason, times) in other.failures {
            *self.failures.entry(reason).or_default() += times;
        }
        self.unsent += other.unsent;
        self.sent += other.sent;
        self.answered += other.answered;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        // Of the same bounds: adding them cannot fail.
        let _ = self.latency.add(&other.latency);
        let _ = self.lateness.add(&other.lateness);
        for (sum, count) in self.series.iter_mut().zip(other.series) {
            *sum += count;
        }
        self.corrupt += other.corrupt;
        self.wrong.extend(other.wrong);
        self.wrong.truncate(TOLD);
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("good bounds")
}

/// What a reactor shows of itself while it runs; on a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Live {
    open: AtomicU64,
    failed: AtomicU64,
    answered: AtomicU64,
}

impl Live {
    pub(crate) fn show(&self, open: u64, failed: u64) {
        self.open.store(open, Ordering::Relaxed);
        self.failed.store(failed, Ordering::Relaxed);
    }

    pub(crate) fn show_answered(&self, answered: u64) {
        self.answered.store(answered, Ordering::Relaxed);
    }

    /// Open, failed, answered.
    pub(crate) fn look(all: &[Live]) -> (u64, u64, u64) {
        all.iter().fold((0, 0, 0), |(open, failed, answered), live| {
            let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            (open + load(&live.open), failed + load(&live.failed), answered + load(&live.answered))
        })
    }
}
