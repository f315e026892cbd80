//! Rows of WebSocket traffic: what a message costs as a multiple of several others' costs at once.

use std::io;

use super::Options;
use super::contestant::{self, Contestant, Role};
use super::report::{Report, verdict, verdict_of_rate};
use super::summary::Summary;
use super::traffic::{Lane, Race};

/// A row: what is sent, and what it is held against.
struct Row {
    row: &'static str,
    title: &'static str,
    contestants: &'static [Contestant],
    load: Vec<String>,
    /// Servers whose cost is a unit, each a column.
    bases: &'static [&'static str],
    goals: Vec<Goal>,
}

/// Most (of a rate: least) of something, as a multiple of another server's.
struct Goal {
    /// Of whom it is asked, where there are several of ours.
    of: Option<&'static str>,
    what: What,
    base: &'static str,
    bound: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Cpu,
    Rate,
    P99,
}

fn cpu(base: &'static str, bound: f64) -> Goal {
    Goal { of: None, what: What::Cpu, base, bound }
}

/// N5, and N20 with it.
pub(crate) fn n5(report: &mut Report, options: &Options) -> io::Result<()> {
    const P99: Goal = Goal { of: None, what: What::P99, base: "ws floor", bound: 1.1 };
    let row = Row {
        row: "N5",
        title: "N5, N20: WebSocket echo, 64 B, 1,000 connections",
        contestants: contestant::WS,
        load: echo(options, 1_000, 64, 1),
        bases: &["tcp floor", "ws floor", "uWebSockets"],
        goals: vec![cpu("tcp floor", 1.03), P99],
    };
    row.run(report, options)
}

/// N6.
pub(crate) fn n6(report: &mut Report, options: &Options) -> io::Result<()> {
    const RATE: Goal = Goal { of: None, what: What::Rate, base: "uWebSockets", bound: 1.05 };
    let row = Row {
        row: "N6",
        title: "N6: WebSocket echo, 64 B, 100 connections, 16 in flight",
        contestants: contestant::WS,
        load: echo(options, 100, 64, 16),
        bases: &["tcp floor", "ws floor", "uWebSockets"],
        goals: vec![cpu("tcp floor", 1.12), RATE],
    };
    row.run(report, options)
}

/// N7.
pub(crate) fn n7(report: &mut Report, options: &Options) -> io::Result<()> {
    let row = Row {
        row: "N7",
        title: "N7: WebSocket echo, 16 KiB, 100 connections",
        contestants: contestant::WS,
        load: echo(options, 100, 16 << 10, 1),
        bases: &["tcp floor", "ws floor", "uWebSockets"],
        goals: vec![cpu("ws floor", 1.03)],
    };
    row.run(report, options)
}

/// N14.
pub(crate) fn n14(report: &mut Report, options: &Options) -> io::Result<()> {
    let rooms = [
        ("N14", "N14: broadcast, 64 B to 500 connections", 500),
        ("N14 of 5,000", "N14: broadcast, 64 B to 5,000 connections", 5_000),
    ];
    for (row, title, connections) in rooms {
        let load = vec![
            "broadcast".to_owned(),
            format!("--connections={connections}"),
            "--warm-up=5".to_owned(),
            format!("--millis={}", options.millis),
        ];
        let (contestants, bases) = (contestant::BROADCAST, &["ws floor", "uWebSockets"]);
        Row { row, title, contestants, load, bases, goals: vec![cpu("ws floor", 1.05)] }
            .run(report, options)?;
    }
    Ok(())
}

/// N23.
pub(crate) fn n23(report: &mut Report, options: &Options) -> io::Result<()> {
    let goals = vec![
        Goal { of: Some("wheelhouse, level 1"), ..cpu("uWebSockets", 0.7) },
        Goal { of: Some("wheelhouse, level 6"), ..cpu("uWebSockets", 1.1) },
    ];
    let mut load = echo(options, 100, 1 << 10, 1);
    // The size comes with the contestants.
    load.retain(|argument| !argument.starts_with("--size"));
    let row = Row {
        row: "N23",
        title: "N23: WebSocket echo, 1 KiB of JSON, compressed, 100 connections",
        contestants: contestant::WS_DEFLATE,
        load,
        bases: &["uWebSockets"],
        goals,
    };
    row.run(report, options)
}

/// N24.
pub(crate) fn n24(report: &mut Report, options: &Options) -> io::Result<()> {
    let sizes = [
        ("N24", "N24: WebSocket echo, 256 KiB, 10 connections", 256 << 10),
        ("N24 of 1 MiB", "N24: WebSocket echo, 1 MiB, 10 connections", 1 << 20),
    ];
    for (row, title, size) in sizes {
        let (contestants, bases) = (contestant::WS, &["tcp floor", "ws floor", "uWebSockets"]);
        let load = echo(options, 10, size, 1);
        Row { row, title, contestants, load, bases, goals: vec![cpu("uWebSockets", 0.85)] }
            .run(report, options)?;
    }
    Ok(())
}

fn echo(options: &Options, connections: usize, size: usize, depth: usize) -> Vec<String> {
    // As many messages of 64 B as in the rows of TCP; of longer ones, about 20 MB.
    let warm_up = (20_000 / connections).min((20 << 20) / size / connections).max(1);
    vec![
        "echo".to_owned(),
        format!("--connections={connections}"),
        format!("--size={size}"),
        format!("--depth={depth}"),
        format!("--warm-up={warm_up}"),
        format!("--millis={}", options.millis),
    ]
}

impl Row {
    fn run(&self, report: &mut Report, options: &Options) -> io::Result<()> {
        let present = contestant::present(self.contestants, &options.only)?;
        let race = Race::run(options, &present, &self.load)?;
        let named = |name: &str| race.lanes.iter().find(|lane| lane.contestant.name == name);
        let bases: Vec<_> = self.bases.iter().filter_map(|base| named(base)).collect();
        let of_bases: String =
            bases.iter().map(|lane| format!(" | x {} (middle half)", lane.contestant.name)).collect();
        let columns =
            format!("server | CPU ns/message{of_bases} | messages/s | busy | p50 us | p99 us | goal");
        report.table(self.title, &columns);
        for lane in &race.lanes {
            let ratios: String = bases.iter().map(|base| ratio(&lane.cpu, &base.cpu)).collect();
            let median = |values: &[f64]| Summary::of(values.iter().copied()).median;
            report.line(&format!(
                "{} | {:.0}{ratios} | {:.0} | {:.0} % | {:.0} | {:.0} | {}",
                lane.contestant.name,
                median(&lane.cpu),
                median(&lane.rate),
                median(&lane.busy) * 100.0,
                median(&lane.p50) / 1e3,
                median(&lane.p99) / 1e3,
                self.verdicts(lane, &race),
            ));
            self.keep(report, lane, &bases);
        }
        report.end();
        race.note_disturbances(report);
        Ok(())
    }

    /// What the goals say of one server: nothing, if it is not ours.
    fn verdicts(&self, lane: &Lane, race: &Race) -> String {
        let name = lane.contestant.name;
        let asked = |goal: &&Goal| lane.contestant.role.is_ours() && goal.of.is_none_or(|of| of == name);
        let verdicts = self.goals.iter().filter(asked).map(|goal| {
            let figures = |lane: &'_ Lane| goal.what.of(lane).to_vec();
            let Some(base) = race.lanes.iter().find(|lane| lane.contestant.name == goal.base) else {
                return format!("{} x {}: it is not here", goal.what.name(), goal.base);
            };
            let spread = match (race.lane(Role::FloorAgain), race.lane(Role::Floor)) {
                (Some(again), Some(floor)) => Summary::of_ratios(&figures(again), &figures(floor)).spread(),
                _ => 0.0,
            };
            let ratio = Summary::of_ratios(&figures(lane), &figures(base)).median;
            let verdict = match goal.what {
                What::Rate => verdict_of_rate(ratio, goal.bound, spread),
                What::Cpu | What::P99 => verdict(ratio, goal.bound, spread),
            };
            format!("{} {ratio:.3} x {}: {verdict}", goal.what.name(), goal.base)
        });
        verdicts.collect::<Vec<_>>().join("; ")
    }

    fn keep(&self, report: &mut Report, lane: &Lane, bases: &[&Lane]) {
        let name = lane.contestant.name;
        report.keep(self.row, name, "cpu_ns", Summary::of(lane.cpu.iter().copied()));
        report.keep(self.row, name, "rate", Summary::of(lane.rate.iter().copied()));
        for base in bases {
            for what in [What::Cpu, What::Rate, What::P99] {
                let figure = format!("{} x {}", what.name(), base.contestant.name);
                report.keep(self.row, name, &figure, Summary::of_ratios(what.of(lane), what.of(base)));
            }
        }
    }
}

fn ratio(values: &[f64], to: &[f64]) -> String {
    let Summary { median, quartiles: [low, high], .. } = Summary::of_ratios(values, to);
    format!(" | {median:.3} ({low:.3}..{high:.3})")
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Cpu => "CPU",
            What::Rate => "rate",
            What::P99 => "p99",
        }
    }

    fn of(self, lane: &Lane) -> &[f64] {
        match self {
            What::Cpu => &lane.cpu,
            What::Rate => &lane.rate,
            What::P99 => &lane.p99,
        }
    }
}
