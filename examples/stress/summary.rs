//! What came of it: the table, and the same as JSON.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};
use wheelhouse_examples::{
    grouped,
    latency::{in_us, percentiles, time},
};

use crate::{options::Options, tally::Tally};

pub(crate) struct Summary {
    pub(crate) options: Options,
    pub(crate) reactors: usize,
    /// Until the last connection was open.
    pub(crate) connecting: Duration,
    /// Under load.
    pub(crate) ran: Duration,
    pub(crate) span: Duration,
    pub(crate) tally: Tally,
    pub(crate) interrupted: bool,
}

impl Summary {
    /// Whether every connection and every byte was as it should be.
    pub(crate) fn is_good(&self) -> bool {
        let tally = &self.tally;
        tally.opened == u64::from(self.options.connections)
            && tally.failed() == 0
            && tally.corrupt == 0
            && tally.unsent == 0
            && tally.unanswered() == 0
    }

    /// Of the time under load alone: what came back while the rest was drained is left out. Nothing where there was no load.
    pub(crate) fn messages_per_second(&self) -> Option<f64> {
        let answered: u64 = self.tally.series.iter().sum();
        (!self.ran.is_zero() && self.tally.opened > 0).then(|| answered as f64 / self.ran.as_secs_f64())
    }

    pub(crate) fn what_latency_is(&self) -> &'static str {
        match self.options.rate {
            Some(_) => "from the time each message was due",
            None => "response time (closed loop)",
        }
    }

    pub(crate) fn load(&self) -> String {
        match self.options.rate {
            Some(rate) => format!("open loop, {} messages/s in total", grouped(rate as u64)),
            None => format!("closed loop, {} under way on each connection", self.options.pipeline),
        }
    }

    pub(crate) fn verification(&self) -> String {
        match (self.options.no_verify, self.tally.corrupt) {
            (true, 0) => "off".to_owned(),
            (_, 0) if self.tally.bytes_received == 0 && self.tally.answered == 0 => {
                "nothing came back".to_owned()
            }
            (_, 0) => format!("all {} bytes as they were sent", grouped(self.tally.bytes_received)),
            (_, corrupt) => format!("FAILED on {} connections", grouped(corrupt)),
        }
    }

    /// Names and values, in the order in which they are told.
    pub(crate) fn rows(&self) -> Vec<(String, String)> {
        let tally = &self.tally;
        let asked = u64::from(self.options.connections);
        let mut rows = Rows::default();
        rows.add(
            "connections",
            format!(
                "{} asked, {} opened in {:.2} s, {} failed",
                grouped(asked),
                grouped(tally.opened),
                self.connecting.as_secs_f64(),
                grouped(tally.failed())
            ),
        );
        for (reason, times) in &tally.failures {
            rows.add("", format!("{} {reason}", grouped(*times)));
        }
        rows.add(
            "load",
            format!(
                "{}, {} B each, {:.1} s",
                self.load(),
                grouped(self.options.size.into()),
                self.ran.as_secs_f64()
            ),
        );
        rows.add("messages", format!("{} sent, {} answered", grouped(tally.sent), grouped(tally.answered)));
        if tally.unanswered() > 0 {
            rows.add("", format!("{} never answered (not in the latencies)", grouped(tally.unanswered())));
        }
        if tally.unsent > 0 {
            rows.add("", format!("{} due and never sent (not in the latencies)", grouped(tally.unsent)));
        }
        let rate = self.messages_per_second().map_or("-".to_owned(), |rate| grouped(rate as u64));
        rows.add("messages/s", rate);
        rows.add(
            "bytes",
            format!("{} sent, {} received", grouped(tally.bytes_sent), grouped(tally.bytes_received)),
        );
        rows.add("latency", self.what_latency_is().to_owned());
        for (name, ns) in percentiles(&tally.latency) {
            rows.add(&format!("  {name}"), ns.map_or("-".to_owned(), time));
        }
        if self.options.rate.is_some() {
            let late = percentiles(&tally.lateness);
            let told = [late[0], late[2], late[5]];
            let told = told.map(|(name, ns)| format!("{name} {}", ns.map_or("-".to_owned(), time)));
            rows.add("sent late by", format!("{} (part of the latency)", told.join(", ")));
        }
        rows.add("verification", self.verification());
        for (connection, wrong) in &tally.wrong {
            let expected = wrong.expected.map_or("nothing".to_owned(), |byte| format!("0x{byte:02x}"));
            let (at, seen) = (grouped(wrong.position), wrong.seen);
            rows.add(
                "",
                format!("connection {connection}, byte {at}: expected {expected}, seen 0x{seen:02x}"),
            );
        }
        if self.interrupted {
            rows.add("", "interrupted: these are the figures until then".to_owned());
        }
        rows.0
    }

    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        for (name, value) in self.rows() {
            let _ = writeln!(table, "{name:<13}{value}");
        }
        table
    }

    pub(crate) fn json(&self) -> Value {
        let (options, tally) = (&self.options, &self.tally);
        let wrong: Vec<Value> = tally
            .wrong
            .iter()
            .map(|(connection, wrong)| {
                json!({
                    "connection": connection,
                    "position": wrong.position,
                    "expected": wrong.expected,
                    "seen": wrong.seen,
                })
            })
            .collect();
        json!({
            "parameters": {
                "to": options.to,
                "connections": options.connections,
                "size": options.size,
                "loop": if options.rate.is_some() { "open" } else { "closed" },
                "pipeline": options.rate.is_none().then_some(options.pipeline),
                "rate": options.rate,
                "ramp": options.ramp,
                "seconds": options.seconds.as_secs_f64(),
                "reactors": self.reactors,
                "sources": options.sources,
                "verify": !options.no_verify,
            },
            "connections": {
                "asked": options.connections,
                "opened": tally.opened,
                "failed": tally.failed(),
                "failures": tally.failures,
                "seconds_to_open": self.connecting.as_secs_f64(),
            },
            "messages": {
                "sent": tally.sent,
                "answered": tally.answered,
                "unanswered": tally.unanswered(),
                "unsent": tally.unsent,
                "per_second": self.messages_per_second(),
            },
            "bytes": { "sent": tally.bytes_sent, "received": tally.bytes_received },
            "latency_is": self.what_latency_is(),
            "latency_us": in_us(&tally.latency),
            "lateness_us": options.rate.is_some().then(|| in_us(&tally.lateness)),
            "verification": { "corrupt_connections": tally.corrupt, "first": wrong },
            "throughput": {
                "span_seconds": self.span.as_secs_f64(),
                "messages": tally.series,
            },
            "seconds": self.ran.as_secs_f64(),
            "interrupted": self.interrupted,
            "ok": self.is_good() && !self.interrupted,
        })
    }
}

#[derive(Default)]
struct Rows(Vec<(String, String)>);

impl Rows {
    fn add(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value));
    }
}
