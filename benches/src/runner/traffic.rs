//! Rows whose load runs against the clock: CPU per message, messages per second, latency.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::Options;
use super::child::{Server, number};
use super::contestant::{Contestant, Role};
use super::report::{Report, verdict};
use super::summary::Summary;

/// A row of echo traffic.
pub(crate) struct Echo {
    row: &'static str,
    title: &'static str,
    connections: usize,
    size: usize,
    depth: usize,
    window: Duration,
    /// Most CPU per message, as a multiple of the floor's.
    goal: f64,
    /// The same for the 99th percentile of the latency, where one is set (N20).
    p99_goal: Option<f64>,
}

impl Echo {
    pub(crate) fn n1(window: Duration) -> Self {
        Self {
            row: "N1",
            title: "N1, N20: TCP echo, 64 B, 1,000 connections",
            connections: 1_000,
            size: 64,
            depth: 1,
            window,
            goal: 1.03,
            p99_goal: Some(1.1),
        }
    }

    pub(crate) fn n2(window: Duration) -> Self {
        Self {
            row: "N2",
            title: "N2: TCP echo, 64 B, 100 connections, 16 in flight",
            connections: 100,
            size: 64,
            depth: 16,
            window,
            goal: 1.05,
            p99_goal: None,
        }
    }

    pub(crate) fn n3(window: Duration) -> Self {
        Self {
            row: "N3",
            title: "N3: TCP echo, 16 KiB, 100 connections",
            connections: 100,
            size: 16 * 1024,
            depth: 1,
            window,
            goal: 1.03,
            p99_goal: None,
        }
    }
}

/// Echo in a closed loop.
pub(crate) fn echo(
    report: &mut Report,
    options: &Options,
    all: &[Contestant],
    plan: &Echo,
) -> io::Result<()> {
    let arguments = [
        "echo".to_owned(),
        format!("--connections={}", plan.connections),
        format!("--size={}", plan.size),
        format!("--depth={}", plan.depth),
        format!("--warm-up={}", 20_000 / plan.connections),
        format!("--millis={}", plan.window.as_millis()),
    ];
    // Handed over or not makes no difference once a connection is open: ReusePort has its row in N4.
    let racers: Vec<_> = all.iter().filter(|one| one.role != Role::ReusePort).copied().collect();
    let race = Race::run(options, &racers, &arguments)?;
    race.print(report, plan.row, plan.title, "message", |_| plan.goal, plan.p99_goal);
    Ok(())
}

/// Connect, one echo, close.
pub(crate) fn churn(report: &mut Report, options: &Options, all: &[Contestant]) -> io::Result<()> {
    let count = options.millis * 20;
    let arguments = ["churn".to_owned(), format!("--count={count}")];
    let race = Race::run(options, all, &arguments)?;
    let title = "N4: connect, one echo of 64 B, close";
    let goal = |role| if role == Role::ReusePort { 1.03 } else { 1.25 };
    race.print(report, "N4", title, "connection", goal, None);
    Ok(())
}

/// All windows of all servers in one row.
pub(crate) struct Race {
    pub(crate) lanes: Vec<Lane>,
    /// Windows in which others took part of a core, twice running.
    disturbances: usize,
}

/// The windows of one server, in the order of the rounds.
pub(crate) struct Lane {
    pub(crate) contestant: Contestant,
    pub(crate) cpu: Vec<f64>,
    pub(crate) rate: Vec<f64>,
    pub(crate) p50: Vec<f64>,
    pub(crate) p99: Vec<f64>,
    pub(crate) busy: Vec<f64>,
}

impl Race {
    /// Every server has one window in each round, in an order that shifts, so that none profits from
    /// running first; a process each, since the layout of one differs from the next.
    pub(crate) fn run(options: &Options, contestants: &[Contestant], load: &[String]) -> io::Result<Self> {
        let mut lanes: Vec<Lane> = contestants.iter().map(|one| Lane::new(*one)).collect();
        let mut disturbances = 0;
        for round in 0..options.rounds.max(1) {
            for place in 0..lanes.len() {
                let lane = (place + round) % contestants.len();
                let mut saw = window(&contestants[lane], options, load)?;
                if disturbed(&saw)? {
                    saw = window(&contestants[lane], options, load)?;
                    disturbances += usize::from(disturbed(&saw)?);
                }
                lanes[lane].record(&saw)?;
            }
        }
        Ok(Self { lanes, disturbances })
    }

    fn print(
        &self,
        report: &mut Report,
        row: &str,
        title: &str,
        unit: &str,
        goal: impl Fn(Role) -> f64,
        p99_goal: Option<f64>,
    ) {
        let columns = format!(
            "server | CPU ns/{unit} | x floor | middle half (all) | {unit}s/s | busy | p50 us | p99 us | \
             p99 x floor | middle half (all) | goal"
        );
        report.table(title, &columns);
        let Some(floor) = self.lane(Role::Floor) else { return };
        let noise = self.lane(Role::FloorAgain).unwrap_or(floor);
        let spread = Summary::of_ratios(&noise.cpu, &floor.cpu).spread();
        let p99_spread = Summary::of_ratios(&noise.p99, &floor.p99).spread();
        for lane in &self.lanes {
            let name = lane.contestant.name;
            let cpu = Summary::of_ratios(&lane.cpu, &floor.cpu);
            let p99 = Summary::of_ratios(&lane.p99, &floor.p99);
            let mut verdicts = Vec::new();
            if lane.contestant.role.is_ours() {
                verdicts.push(verdict(cpu.median, goal(lane.contestant.role), spread));
                verdicts
                    .extend(p99_goal.map(|most| format!("p99 {}", verdict(p99.median, most, p99_spread))));
            }
            report.line(&format!(
                "{name} | {:.0} | {cpu} | {:.0} | {:.0} % | {:.0} | {:.0} | {p99} | {}",
                Summary::of(lane.cpu.iter().copied()).median,
                Summary::of(lane.rate.iter().copied()).median,
                Summary::of(lane.busy.iter().copied()).median * 100.0,
                Summary::of(lane.p50.iter().copied()).median / 1e3,
                Summary::of(lane.p99.iter().copied()).median / 1e3,
                verdicts.join("; "),
            ));
            report.keep(row, name, "cpu_ns", Summary::of(lane.cpu.iter().copied()));
            report.keep(row, name, "cpu_ratio", cpu);
            report.keep(row, name, "rate", Summary::of(lane.rate.iter().copied()));
            report.keep(row, name, "p99_ratio", p99);
        }
        report.end();
        self.note_disturbances(report);
    }

    pub(crate) fn note_disturbances(&self, report: &Report) {
        let windows = self.lanes.iter().map(|lane| lane.cpu.len()).sum();
        report.note_disturbances(self.disturbances, windows);
    }

    pub(crate) fn lane(&self, role: Role) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.contestant.role == role)
    }
}

pub(crate) fn window(contestant: &Contestant, options: &Options, load: &[String]) -> io::Result<Value> {
    let server = Server::start(contestant, options)?;
    let saw = server.load(load, options)?;
    server.stop()?;
    Ok(saw)
}

/// In a closed loop one of the two ends is always busy; where neither was, others had its core.
fn disturbed(saw: &Value) -> io::Result<bool> {
    let cpu = number(saw, "server_cpu_ns")?.max(number(saw, "load_cpu_ns")?);
    Ok(cpu / 1e9 < 0.9 * number(saw, "seconds")?)
}

impl Lane {
    fn new(contestant: Contestant) -> Self {
        let [cpu, rate, p50, p99, busy] = [const { Vec::new() }; 5];
        Self { contestant, cpu, rate, p50, p99, busy }
    }

    fn record(&mut self, saw: &Value) -> io::Result<()> {
        let (messages, seconds) = (number(saw, "messages")?, number(saw, "seconds")?);
        let cpu = number(saw, "server_cpu_ns")?;
        self.cpu.push(cpu / messages);
        self.rate.push(messages / seconds);
        self.p50.push(number(saw, "p50_ns")?);
        self.p99.push(number(saw, "p99_ns")?);
        self.busy.push(cpu / 1e9 / seconds);
        Ok(())
    }
}
