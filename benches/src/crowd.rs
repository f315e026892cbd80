//! What the servers of the overload have in common: the bounds that the storms meet, and what the runner asks for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use crate::turns::{Look, Watch};

/// Bytes that half a message is kept in, at the least.
pub const KEPT: usize = 4_096;

/// Bounds that a crowd meets; one that is absent is the server's own choice.
#[derive(Args, Debug, Clone)]
pub struct Bounds {
    /// Bytes of buffers in all.
    #[arg(long)]
    pub buffer_memory: Option<usize>,
    /// Bytes that one of the crowd may leave unread before it is closed; it is not closed for them if absent.
    #[arg(long)]
    pub limit: Option<usize>,
    /// Bytes in a second that a peer must move.
    #[arg(long)]
    pub minimum_rate: Option<usize>,
    /// Connections there may be.
    #[arg(long)]
    pub most: Option<usize>,
    /// The kernel's buffer for what a peer does not read, in bytes; the kernel's choice if absent.
    #[arg(long)]
    pub send_buffer: Option<usize>,
}

/// What one thread serves and another tells the runner of.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    /// How many of the crowd were closed, by reason.
    reasons: BTreeMap<String, u64>,
    /// How long turns took.
    watch: Watch,
}

impl Seen {
    /// As [`Watch::look`]: `turns` is what the reactor has ended so far.
    pub fn look(&self, now: Instant, turns: impl FnOnce() -> u64) {
        self.record().watch.look(now, || Look::of_this_thread(now, turns()));
    }

    /// One of the crowd was closed.
    pub fn closed(&self, reason: impl Into<String>) {
        *self.record().reasons.entry(reason.into()).or_default() += 1;
    }

    /// What the runner is told: where the `crowd` connects, and one line of JSON for each other question.
    #[must_use]
    pub fn answer(&self, question: &str, crowd: &str, counters: impl FnOnce() -> Value) -> String {
        match question {
            "crowd" => crowd.to_owned(),
            "counters" => counters().to_string(),
            "closed" => json!(self.record().reasons).to_string(),
            "turns" => self.record().watch.to_json().to_string(),
            _ => format!("no answer to {question:?}"),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_are_told_by_reason_and_a_strange_question_is_named() {
        let seen = Seen::default();
        seen.closed("SlowPeer");
        seen.clone().closed("SlowPeer");
        let answer = |question| seen.answer(question, "127.0.0.1:1", || json!({ "shed": 2 }));
        assert_eq!(answer("closed"), r#"{"SlowPeer":2}"#);
        assert_eq!(
            (answer("crowd"), answer("counters")),
            ("127.0.0.1:1".to_owned(), r#"{"shed":2}"#.to_owned())
        );
        assert!(answer("weather").contains("weather"));
    }
}
