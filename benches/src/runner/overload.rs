//! What quiet connections notice of a crowd that is turned away: as N16, with a storm in the place of the flood.
//!
//! A crowd costs the kernel too: its timers for those who never read, and the resets, are served on the server's core in
//! soft interrupts that no server can cut short. What they alone come to shows the floor, which is a bare epoll loop before
//! the same crowd in the same round and knows the quiet ones: ours need not be better than that. The same loop that does not
//! know them shows how long they stand in line.
//!
//! Every window has a server of its own, whose bounds the storm meets; what it closes the crowd for is looked at, so that
//! a storm that did not happen is an error and not a good figure.

use std::io;

use serde_json::Value;

use super::Options;
use super::child::{Server, number};
use super::contestant::{Contestant, FLOOR, OURS, OURS_REUSE_PORT};
use super::fairness::{AGAIN, ALONE, DISTURBED, GOAL, is_disturbed};
use super::report::{Report, verdict};
use super::summary::Summary;
use crate::crowd::KEPT;

/// The first is what ours are held against.
const SERVERS: [Contestant; 4] = [
    Contestant { name: "floor, quiet first", arguments: &["--quiet-first"], ..BARE },
    BARE,
    Contestant { program: "wheelhouse_overload", ..OURS },
    Contestant { program: "wheelhouse_overload", ..OURS_REUSE_PORT },
];

const BARE: Contestant = Contestant { program: "floor_overload", ..FLOOR };

/// Quiet connections.
const QUIET: usize = 100;

/// Never-readers, tricklers, and those inside while others knock.
const NEVER_READ: usize = 10_000;
const TRICKLE: usize = 1_000;
const INSIDE: usize = 1_000;

/// Bytes of buffers there are for half messages.
const MEMORY: usize = 16 << 20;

/// One kind of overload.
struct Overload {
    title: String,
    /// The load's name for it.
    storm: &'static str,
    /// The server's bounds.
    bounds: Vec<String>,
    count: usize,
    /// How many are closed of it, and the only reason; none where they are turned away before they are open.
    gone: usize,
    reason: Option<&'static str>,
}

fn overloads(options: &Options) -> [Overload; 4] {
    let half = options.idle;
    let never = options.idle.min(NEVER_READ);
    [
        Overload {
            title: format!("{half} come and send half a message"),
            storm: "half-sent",
            bounds: vec![format!("--buffer-memory={MEMORY}")],
            count: half,
            gone: half.saturating_sub(MEMORY / KEPT),
            reason: Some("MemoryPressure"),
        },
        Overload {
            title: format!("{never} never read their broadcasts"),
            storm: "never-read",
            bounds: vec!["--limit=4096".to_owned(), "--send-buffer=2048".to_owned()],
            count: never,
            gone: never,
            reason: Some("BackPressure"),
        },
        Overload {
            title: format!("{TRICKLE} send byte by byte"),
            storm: "trickle",
            bounds: vec!["--minimum-rate=1000".to_owned()],
            count: TRICKLE,
            gone: TRICKLE,
            reason: Some("SlowPeer"),
        },
        Overload {
            title: "others connect in vain".to_owned(),
            storm: "connects",
            bounds: vec![format!("--most={}", QUIET + INSIDE)],
            count: INSIDE,
            gone: 0,
            reason: None,
        },
    ]
}

/// Those of a table of lanes; `floor` are those of a table that has the floor in it.
pub(crate) fn columns(floor: &str) -> String {
    format!(
        "server | crowd | p99.9 us alone | in the storm | x alone | middle half (all) | again x alone | \
         middle half (all) | p99 x alone | middle half (all) | longest turn, CPU ms | the load's longest step, ms | \
         storm s | closed or shed | {floor}goal"
    )
}

/// A table of the quiet ones' latencies.
pub(crate) fn quiet_beside_crowds(report: &mut Report, options: &Options) -> io::Result<()> {
    let title = format!(
        "Overload: 100 quiet connections, each with a message in 10 ms, while a crowd ... (goal: p99.9 in the storm \
         at most {GOAL:.0} x alone, or not above that of the floor, quiet first, in the same round)"
    );
    report.table(&title, &columns("in the storm, x floor | middle half (all) | "));
    let mut disturbances = 0;
    let mut count = 0;
    for overload in overloads(options) {
        let mut lanes = SERVERS.map(Lane::new);
        for round in 0..options.rounds.div_ceil(2).max(1) {
            for place in 0..lanes.len() {
                let lane = &mut lanes[(place + round) % SERVERS.len()];
                let contestant = lane.contestant;
                lane.add(|| window(&contestant, options, &overload, round))?;
            }
        }
        for lane in &lanes {
            lane.print(report, "overload", &overload.title, overload.storm, Some(&lanes[0]))?;
            disturbances += lane.disturbances;
            count += lane.windows.len();
        }
    }
    report.end();
    report.note_disturbances(disturbances, count);
    Ok(())
}

/// One server, one storm.
fn window(
    contestant: &Contestant,
    options: &Options,
    overload: &Overload,
    round: usize,
) -> io::Result<Value> {
    let bounds: Vec<&str> = overload.bounds.iter().map(String::as_str).collect();
    let mut server = Server::start_under(&[], contestant, options, &bounds)?;
    let mut load = vec![
        "overload".to_owned(),
        format!("--crowd={}", server.ask("crowd")?),
        format!("--storm={}", overload.storm),
        format!("--quiet={QUIET}"),
        format!("--stretch={}", options.millis * 4),
        format!("--count={}", overload.count),
        format!("--gone={}", overload.gone),
    ];
    if round % 2 == 1 {
        load.push("--last".to_owned());
    }
    let named = |error| io::Error::other(format!("{}, {}: {error}", contestant.name, overload.title));
    let mut saw = server.load(&load, options).map_err(named)?;
    let closed = server.ask_json("closed")?;
    let turns = server.ask_json("turns")?;
    let shed = number(&server.counters()?, "shed")?;
    server.stop()?;
    let happened = match overload.reason {
        Some(reason) => closed[reason].as_u64() == Some(overload.gone as u64),
        // Some may still knock at the end.
        None => shed > 0.0 && (number(&saw, "ended")?..=number(&saw, "came")?).contains(&shed),
    };
    match happened {
        true => {
            saw["turns"] = turns;
            Ok(saw)
        }
        false => Err(io::Error::other(format!("{}: closed {closed}, shed {shed}, {saw}", overload.title))),
    }
}

/// The windows of one server in one storm, in the order of the rounds.
pub(crate) struct Lane {
    pub(crate) contestant: Contestant,
    pub(crate) windows: Vec<Value>,
    /// Windows in which others took part of the core, twice running.
    pub(crate) disturbances: usize,
}

impl Lane {
    pub(crate) fn new(contestant: Contestant) -> Self {
        Self { contestant, windows: Vec::new(), disturbances: 0 }
    }

    pub(crate) fn add(&mut self, window: impl Fn() -> io::Result<Value>) -> io::Result<()> {
        let mut saw = window()?;
        if is_disturbed(&saw)? {
            saw = window()?;
            self.disturbances += usize::from(is_disturbed(&saw)?);
        }
        self.windows.push(saw);
        Ok(())
    }

    /// A line of the table, and its figures under this row and key; beside the `floor`'s in a table that has it.
    pub(crate) fn print(
        &self,
        report: &mut Report,
        row: &str,
        title: &str,
        key: &str,
        floor: Option<&Lane>,
    ) -> io::Result<()> {
        let (alone, again) = (self.series(ALONE, "p999_ns")?, self.series(AGAIN, "p999_ns")?);
        let stormy = self.series(DISTURBED, "p999_ns")?;
        let ratio = Summary::of_ratios(&stormy, &alone);
        let noise = Summary::of_ratios(&again, &alone);
        let p99 = Summary::of_ratios(&self.series(DISTURBED, "p99_ns")?, &self.series(ALONE, "p99_ns")?);
        let to_floor = match floor {
            Some(floor) => Some(Summary::of_ratios(&stormy, &floor.series(DISTURBED, "p999_ns")?)),
            None => None,
        };
        let ended = self.windows.iter().map(|saw| number(saw, "ended")).collect::<io::Result<Vec<_>>>()?;
        // Not every server looks at its turns.
        let turns: Vec<f64> =
            self.windows.iter().filter_map(|saw| saw["turns"]["cpu"]["ns"].as_f64()).collect();
        let turn = match turns.is_empty() {
            true => "-".to_owned(),
            false => format!("{:.1}", Summary::of(turns).median / 1e6),
        };
        let micros = |series: Vec<f64>| format!("{:.0}", Summary::of(series).median / 1e3);
        let is_known = !self.is_disturbed() && floor.is_none_or(|floor| !floor.is_disturbed());
        let goal = match self.contestant.role.is_ours() {
            false => String::new(),
            // What disturbs both stretches brings their ratio down, and what disturbs the floor ours to it.
            true if !is_known => format!("under {GOAL:.0}: not known"),
            true => goal(ratio, noise, to_floor),
        };
        let beside = to_floor.map_or_else(String::new, |to_floor| format!("{to_floor} | "));
        let name = self.contestant.name;
        report.line(&format!(
            "{name} | {title} | {} | {} | {ratio} | {noise} | {p99} | {turn} | {:.1} | {:.2} | {:.0} | {beside}{goal}",
            micros(alone),
            micros(stormy),
            Summary::of(self.series(DISTURBED, "longest_step_ns")?).median / 1e6,
            Summary::of(self.series(DISTURBED, "seconds")?).median,
            Summary::of(ended).median,
        ));
        report.keep(row, name, &format!("{key}: p999_ratio"), ratio);
        report.keep(row, name, &format!("{key}: p999_again_ratio"), noise);
        report.keep(row, name, &format!("{key}: p99_ratio"), p99);
        if let Some(to_floor) = to_floor {
            report.keep(row, name, &format!("{key}: p999_to_floor"), to_floor);
        }
        Ok(())
    }

    /// One figure of one stretch, in the order of the rounds.
    fn series(&self, stretch: usize, figure: &str) -> io::Result<Vec<f64>> {
        self.windows.iter().map(|saw| number(&saw["stretches"][stretch], figure)).collect()
    }

    /// Whether its figures tell little.
    fn is_disturbed(&self) -> bool {
        self.disturbances * 2 > self.windows.len()
    }
}

/// The goal is met by the multiple of the undisturbed, or by what the kernel makes of such a crowd in any case.
fn goal(ratio: Summary, noise: Summary, to_floor: Option<Summary>) -> String {
    let by_itself = verdict(ratio.median, GOAL, noise.spread());
    match to_floor {
        Some(to_floor) if ratio.median > GOAL => {
            let verdict = if to_floor.median <= 1.0 { "met" } else { "missed" };
            format!("{by_itself}; at most the floor's: {verdict}")
        }
        _ => by_itself,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_misses_the_multiple_is_held_against_the_floor_where_there_is_one() {
        let (calm, noise) = (Summary::of([2.0]), Summary::of([1.0]));
        assert_eq!(goal(calm, noise, Some(Summary::of([1.5]))), "at most 3.00: met");
        let stormy = Summary::of([9.0]);
        assert_eq!(goal(stormy, noise, None), "at most 3.00: missed");
        let beside = |to_floor| goal(stormy, noise, Some(Summary::of([to_floor])));
        assert_eq!(beside(1.0), "at most 3.00: missed; at most the floor's: met");
        assert_eq!(beside(1.1), "at most 3.00: missed; at most the floor's: missed");
    }
}
