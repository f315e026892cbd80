//! The few that talk while the others are silent: by a schedule, so that who is kept waiting is charged for all of it.

use std::collections::{HashMap, VecDeque};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::pattern::Pattern;

/// Bytes in a message.
pub(crate) const SIZE: usize = 32;

/// An hour: longer latencies count as this.
const LONGEST: u64 = 3_600_000_000_000;

/// Times are ns of the clock that all processes share.
pub(crate) struct Talk {
    live: Vec<Live>,
    by_slot: HashMap<u32, usize>,
    start: u64,
    end: u64,
    every: u64,
    /// The message that is due next: the round, and whose.
    next: (u64, usize),
    tally: Tally,
}

struct Live {
    slot: u32,
    /// Its place in each round, in ns.
    phase: u64,
    sent: u64,
    received: u64,
    /// When what is under way was due.
    due: VecDeque<u64>,
}

/// What was counted.
pub(crate) struct Tally {
    pub(crate) connections: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Due, and never sent.
    pub(crate) unsent: u64,
    /// From when it was due until it was back, in ns.
    pub(crate) latency: Histogram<u64>,
    /// How much later than due it was sent; a part of the latency.
    pub(crate) lateness: Histogram<u64>,
}

impl Talk {
    /// Has these connections talk from `start` to `end`, each once every so many ns; `random` spreads them.
    pub(crate) fn new(
        slots: Vec<u32>,
        start: u64,
        end: u64,
        every: u64,
        mut random: impl FnMut() -> u64,
    ) -> Talk {
        let live = |slot| Live { slot, phase: random() % every, sent: 0, received: 0, due: VecDeque::new() };
        let mut live: Vec<Live> = slots.into_iter().map(live).collect();
        live.sort_by_key(|live| live.phase);
        let by_slot = live.iter().enumerate().map(|(at, live)| (live.slot, at)).collect();
        let tally = Tally { connections: live.len() as u64, ..Tally::new() };
        Talk { live, by_slot, start, end, every, next: (0, 0), tally }
    }

    /// When the next message is due; none when all have been.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let (round, at) = self.next;
        let due = self.start + round * self.every + self.live.get(at)?.phase;
        (due < self.end).then_some(due)
    }

    /// Calls `send` with the slot and the place in its stream for each message that is due; it says whether it was sent.
    pub(crate) fn send_due(&mut self, now: impl Fn() -> u64, mut send: impl FnMut(u32, u64) -> bool) {
        while let Some(due) = self.next_due().filter(|due| *due <= now()) {
            let (round, at) = self.next;
            self.next = if at + 1 == self.live.len() { (round + 1, 0) } else { (round, at + 1) };
            let live = &mut self.live[at];
            if !send(live.slot, live.sent) {
                self.tally.unsent += 1;
                continue;
            }
            live.sent += SIZE as u64;
            live.due.push_back(due);
            self.tally.sent += 1;
            let _ = self.tally.lateness.record(now().saturating_sub(due).clamp(1, LONGEST));
        }
    }

    /// Takes what came back to a slot, the connection with that number.
    pub(crate) fn take(
        &mut self,
        slot: u32,
        connection: u32,
        bytes: &[u8],
        pattern: &Pattern,
        now: u64,
    ) -> Result<(), String> {
        let Some(live) = self.by_slot.get(&slot).and_then(|at| self.live.get_mut(*at)) else {
            return Err(format!("{} bytes for one that is silent", bytes.len()));
        };
        pattern.check(connection, live.received, bytes).map_err(|wrong| {
            let expected = wrong.expected.map_or("nothing".to_owned(), |byte| format!("{byte:#04x}"));
            format!("byte {} is {:#04x}, expected {expected}", wrong.position, wrong.seen)
        })?;
        let whole = |bytes: u64| bytes / SIZE as u64;
        let before = whole(live.received);
        live.received += bytes.len() as u64;
        for _ in before..whole(live.received) {
            let Some(due) = live.due.pop_front() else {
                return Err("an answer to nothing".to_owned());
            };
            self.tally.answered += 1;
            let _ = self.tally.latency.record(now.saturating_sub(due).clamp(1, LONGEST));
        }
        Ok(())
    }

    /// Whether all was sent and came back.
    pub(crate) fn is_over(&self) -> bool {
        self.next_due().is_none() && self.tally.sent == self.tally.answered
    }

    /// When the last message is due.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally { connections: 0, sent: 0, answered: 0, unsent: 0, latency: histogram(), lateness: histogram() }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "connections": self.connections,
            "sent": self.sent,
            "answered": self.answered,
            "unsent": self.unsent,
            "latency_ns": recorded(&self.latency),
            "lateness_ns": recorded(&self.lateness),
        })
    }

    /// Adds what a client told by [`json`](Tally::json).
    pub(crate) fn add(&mut self, told: &Value) {
        let number = |name: &str| told[name].as_u64().unwrap_or(0);
        self.connections += number("connections");
        self.sent += number("sent");
        self.answered += number("answered");
        self.unsent += number("unsent");
        record(&mut self.latency, &told["latency_ns"]);
        record(&mut self.lateness, &told["lateness_ns"]);
    }
}

/// Values and how often each was there.
fn recorded(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).collect()
}

fn record(histogram: &mut Histogram<u64>, pairs: &Value) {
    for pair in pairs.as_array().into_iter().flatten() {
        if let (Some(value), Some(times)) = (pair[0].as_u64(), pair[1].as_u64()) {
            let _ = histogram.record_n(value.min(LONGEST), times);
        }
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("good bounds")
}
