//! Churn for minutes: whatever a connection takes comes back.

use std::time::Duration;
use std::{io, thread};

use serde_json::Value;

use super::Options;
use super::child::{Server, number};
use super::contestant::{Contestant, OURS};
use super::report::Report;
use super::summary::Summary;
use crate::machine;

/// Threads of the load.
const CLIENTS: usize = 4;

/// An idle timeout that nobody lives to see: every connection has a deadline to give back.
const SERVER: Contestant = Contestant { arguments: &["--idle-timeout=3600"], ..OURS };

/// Connect, one echo, close, at full speed.
///
/// # Errors
///
/// Besides a run that broke: descriptors, or one of the engine's gauges, that are not back where they began.
pub(crate) fn churn(report: &mut Report, options: &Options) -> io::Result<()> {
    let mut server = Server::start(&SERVER, options)?;
    // What is made once (slabs, the pool, the code) is made by a first, short one.
    server.load(&load(Duration::from_secs(1)), options)?;
    let start = Gauges::at_rest(&mut server)?;
    let running = server.start_load(&load(Duration::from_secs(options.seconds)), options)?;
    let half = Duration::from_secs(options.seconds) / 2;
    thread::sleep(half);
    let midway = Gauges::now(&mut server)?;
    thread::sleep(half);
    let saw = running.into_json()?;
    let end = Gauges::at_rest(&mut server)?;
    server.stop()?;

    let made = number(&saw, "messages")?;
    let title = format!(
        "Churn: {made:.0} connections in {} s from {CLIENTS} threads ({:.0}/s), one echo of 64 B each",
        options.seconds,
        made / number(&saw, "seconds")?
    );
    report.table(&title, Gauges::COLUMNS);
    for (when, gauges) in [("start", &start), ("midway", &midway), ("end", &end)] {
        report.line(&gauges.cells(when));
    }
    report.end();
    report.keep("churn", SERVER.name, "connections", Summary::of([made]));
    report.keep("churn", SERVER.name, "resident_growth", Summary::of([end.resident - start.resident]));
    end.compare(&start, made)
}

fn load(time: Duration) -> [String; 4] {
    [
        "churn".to_owned(),
        "--warm-up=0".to_owned(),
        format!("--threads={CLIENTS}"),
        format!("--millis={}", time.as_millis()),
    ]
}

/// What may leak, at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Gauges {
    descriptors: f64,
    resident: f64,
    accepted: f64,
    closed: f64,
    connections: f64,
    buffered: f64,
    timers: f64,
}

impl Gauges {
    const COLUMNS: &str =
        "when | descriptors | resident MB | accepted | closed | connections | buffered | timers";

    fn now(server: &mut Server) -> io::Result<Self> {
        let counters = server.counters()?;
        Self::of(server, &counters)
    }

    /// Once the last connection is gone, and the timer with it that the engine tidies up by; as it is, where that does
    /// not come to pass.
    fn at_rest(server: &mut Server) -> io::Result<Self> {
        let is_at_rest = |counters: &Value| {
            let gauges = ["connections", "buffered", "timers"].map(|gauge| number(counters, gauge));
            gauges.into_iter().try_fold(true, |all, gauge| Ok(all && gauge? == 0.0))
        };
        match server.await_counters("nothing is under way", is_at_rest) {
            Ok(counters) => Self::of(server, &counters),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Self::now(server),
            Err(error) => Err(error),
        }
    }

    fn of(server: &Server, counters: &Value) -> io::Result<Self> {
        Ok(Self {
            descriptors: machine::descriptors(server.pid())? as f64,
            resident: machine::resident_bytes(server.pid())? as f64,
            accepted: number(counters, "accepted")?,
            closed: number(counters, "closed")?,
            connections: number(counters, "connections")?,
            buffered: number(counters, "buffered")?,
            timers: number(counters, "timers")?,
        })
    }

    fn cells(&self, when: &str) -> String {
        let Self { descriptors, resident, accepted, closed, connections, buffered, timers } = self;
        let resident = resident / 1e6;
        format!(
            "{when} | {descriptors} | {resident:.1} | {accepted} | {closed} | {connections} | {buffered} | {timers}"
        )
    }

    /// What the end must have in common with the start, after so many connections.
    fn compare(&self, start: &Self, made: f64) -> io::Result<()> {
        let checks = [
            ("descriptors", self.descriptors, start.descriptors),
            ("connections", self.connections, start.connections),
            ("bytes buffered", self.buffered, start.buffered),
            ("timers", self.timers, start.timers),
            ("accepted connections", self.accepted, start.accepted + made),
            ("closed connections", self.closed, self.accepted),
        ];
        let broken: Vec<_> = checks
            .iter()
            .filter(|(_, is, expected)| is != expected)
            .map(|(what, is, expected)| format!("{is} {what}, not {expected}"))
            .collect();
        if broken.is_empty() {
            Ok(())
        } else {
            Err(io::Error::other(format!("at the end: {}", broken.join("; "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Gauges = Gauges {
        descriptors: 10.0,
        resident: 5e6,
        accepted: 100.0,
        closed: 100.0,
        connections: 0.0,
        buffered: 0.0,
        timers: 0.0,
    };

    #[test]
    fn an_end_like_the_start_passes_whatever_memory_does() {
        let end = Gauges { accepted: 150.0, closed: 150.0, resident: 6e6, ..START };
        assert!(end.compare(&START, 50.0).is_ok());
    }

    #[test]
    fn each_thing_that_does_not_come_back_fails_the_run_by_name() {
        let end = Gauges { accepted: 150.0, closed: 150.0, ..START };
        for (broken, expected) in [
            (Gauges { descriptors: 11.0, ..end }, "at the end: 11 descriptors, not 10"),
            (Gauges { connections: 1.0, ..end }, "at the end: 1 connections, not 0"),
            (Gauges { buffered: 64.0, ..end }, "at the end: 64 bytes buffered, not 0"),
            (Gauges { timers: 2.0, ..end }, "at the end: 2 timers, not 0"),
            (Gauges { closed: 149.0, ..end }, "at the end: 149 closed connections, not 150"),
            (
                Gauges { accepted: 149.0, closed: 149.0, ..end },
                "at the end: 149 accepted connections, not 150",
            ),
        ] {
            assert_eq!(broken.compare(&START, 50.0).unwrap_err().to_string(), expected);
        }
    }
}
