//! N16: what quiet connections notice of one that floods.
//!
//! In every window the same connections are measured three times: alone, alone again, and flooded, in an order
//! that shifts from round to round. The ratios are taken within a window; what separates "alone again" from "alone"
//! is the least that the flood must exceed to be noticed.

use std::io;

use serde_json::Value;

use super::Options;
use super::child::number;
use super::contestant::{Contestant, Role};
use super::report::{Report, verdict};
use super::summary::Summary;
use super::traffic::window;

/// Most that the 99.9th percentile may be, as a multiple of the undisturbed one.
pub(crate) const GOAL: f64 = 3.0;

/// The least share of its core that the load must have had.
const LEAST_SHARE: f64 = 0.97;

/// Alone, alone again, flooded: the places in what the load saw.
const STRETCHES: [usize; 3] = [ALONE, AGAIN, DISTURBED];
pub(crate) const ALONE: usize = 0;
pub(crate) const AGAIN: usize = 1;
pub(crate) const DISTURBED: usize = 2;

/// The 99th percentile is shown too: a virtual machine that stops for 2 ms in 2 s sets the 99.9th alone.
pub(crate) fn flood(report: &mut Report, options: &Options, all: &[Contestant]) -> io::Result<()> {
    let once = [Role::FloorAgain, Role::ReusePort];
    let mut lanes: Vec<Lane<'_>> =
        all.iter().filter(|one| !once.contains(&one.role)).map(Lane::new).collect();
    let stretch = options.millis * 4;
    for round in 0..options.rounds.div_ceil(2).max(1) {
        let load = ["flood".to_owned(), format!("--stretch={stretch}"), format!("--first={}", round % 3)];
        let count = lanes.len();
        for place in 0..count {
            let lane = &mut lanes[(place + round) % count];
            let mut saw = window(lane.contestant, options, &load)?;
            if is_disturbed(&saw)? {
                saw = window(lane.contestant, options, &load)?;
                lane.disturbances += usize::from(is_disturbed(&saw)?);
            }
            lane.windows.push(saw);
        }
    }
    let columns = "server | p99.9 us alone | flooded | x alone | middle half (all) | again x alone | \
                   middle half (all) | p99 us alone | flooded | x alone | middle half (all) | flood MB/s | goal";
    report.table("N16: 100 quiet connections, each with a message in 10 ms, while one floods", columns);
    for lane in &lanes {
        lane.print(report, stretch)?;
    }
    report.end();
    let windows = lanes.iter().map(|lane| lane.windows.len()).sum();
    report.note_disturbances(lanes.iter().map(|lane| lane.disturbances).sum(), windows);
    Ok(())
}

/// The load spins: where it did not have its core to itself, neither ratio says much.
pub(crate) fn is_disturbed(saw: &Value) -> io::Result<bool> {
    for stretch in STRETCHES {
        let stretch = &saw["stretches"][stretch];
        if number(stretch, "load_cpu_ns")? / 1e9 < LEAST_SHARE * number(stretch, "seconds")? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The windows of one server, in the order of the rounds.
struct Lane<'a> {
    contestant: &'a Contestant,
    windows: Vec<Value>,
    /// Windows in which others took part of the core, twice running.
    disturbances: usize,
}

impl<'a> Lane<'a> {
    fn new(contestant: &'a Contestant) -> Self {
        Self { contestant, windows: Vec::new(), disturbances: 0 }
    }

    fn print(&self, report: &mut Report, stretch: u64) -> io::Result<()> {
        let series = |stretch: usize, figure: &str| -> io::Result<Vec<f64>> {
            self.windows.iter().map(|saw| number(&saw["stretches"][stretch], figure)).collect()
        };
        let (calm, again) = (series(ALONE, "p999_ns")?, series(AGAIN, "p999_ns")?);
        let (flooded, flooded_p99) = (series(DISTURBED, "p999_ns")?, series(DISTURBED, "p99_ns")?);
        let calm_p99 = series(ALONE, "p99_ns")?;
        let ratio = Summary::of_ratios(&flooded, &calm);
        let noise = Summary::of_ratios(&again, &calm);
        let p99 = Summary::of_ratios(&flooded_p99, &calm_p99);
        let bytes =
            self.windows.iter().map(|saw| number(saw, "flood_bytes")).collect::<io::Result<Vec<_>>>()?;
        let micros = |series: Vec<f64>| format!("{:.0}", Summary::of(series).median / 1e3);
        let goal = match self.contestant.role.is_ours() {
            false => String::new(),
            // What disturbs both stretches brings their ratio down.
            true if self.disturbances * 2 > self.windows.len() => format!("under {GOAL:.0}: not known"),
            true => verdict(ratio.median, GOAL, noise.spread()),
        };
        report.line(&format!(
            "{} | {} | {} | {ratio} | {noise} | {} | {} | {p99} | {:.0} | {}",
            self.contestant.name,
            micros(calm),
            micros(flooded),
            micros(calm_p99),
            micros(flooded_p99),
            Summary::of(bytes).median / (stretch as f64 * 1e3),
            goal,
        ));
        report.keep("N16", self.contestant.name, "p99_ratio", p99);
        report.keep("N16", self.contestant.name, "p999_ratio", ratio);
        report.keep("N16", self.contestant.name, "p999_again_ratio", noise);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_stretch_without_the_core_disturbs_the_window() {
        let stretch = |cpu: u64| json!({ "load_cpu_ns": cpu, "seconds": 1.0 });
        let window = |cpu: [u64; 3]| json!({ "stretches": cpu.map(stretch) });
        assert!(!is_disturbed(&window([990_000_000; 3])).unwrap());
        assert!(is_disturbed(&window([990_000_000, 960_000_000, 990_000_000])).unwrap());
        assert!(is_disturbed(&json!({})).is_err());
    }
}
