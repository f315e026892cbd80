//! Rows of TLS: memory, allocations, and CPU beside what rustls takes by itself.

use std::io;

use serde_json::Value;

use super::child::{alone, number};
use super::contestant::{self, Contestant, Role};
use super::report::{Report, verdict};
use super::summary::Summary;
use super::traffic::window;
use super::{Options, counted, idle};

/// Most CPU of a handshake, as a multiple of rustls' own in memory.
const HANDSHAKE_GOAL: f64 = 1.1;

/// Most CPU of an echo, as a multiple of the same over TCP together with opening and sealing in memory.
const ECHO_GOAL: f64 = 1.05;

/// Handshakes in a window.
const HANDSHAKES: usize = 300;

/// Bytes in a message, connections, and waves before measuring.
const ECHOES: [(usize, usize, usize); 2] = [(64, 100, 200), (16 << 10, 100, 20)];

/// The server's part of each round without sockets.
const IN_MEMORY: &str = "rustls_memory";

/// N21.
pub(crate) fn n21(report: &mut Report, options: &Options) -> io::Result<()> {
    idle::tls_memory(report, options)?;
    let all = contestant::present(contestant::TLS, &options.only)?;
    match all.iter().find(|one| one.role == Role::HandedOver) {
        Some(ours) => counted::allocations_of(report, options, ours, "N21"),
        None => Ok(()),
    }
}

/// N25.
pub(crate) fn n25(report: &mut Report, options: &Options) -> io::Result<()> {
    let contestants = contestant::present(contestant::TLS, &options.only)?;
    let mut lanes: Vec<Lane> = contestants.into_iter().map(Lane::new).collect();
    let mut memory = Vec::new();
    for round in 0..options.rounds.max(1) {
        memory.push(alone(IN_MEMORY, &[format!("--millis={}", options.millis)], options)?);
        for place in 0..lanes.len() {
            let lane = (place + round) % lanes.len();
            lanes[lane].round(options)?;
        }
    }
    handshakes(report, &lanes, &memory)?;
    for (index, (size, connections, _)) in ECHOES.into_iter().enumerate() {
        let base = Base::new(&lanes, &memory, index, size)?;
        let title = format!("N25: echo of {size} B over TLS 1.3, {connections} connections in waves");
        let columns = "server | CPU ns/message | beyond TCP | x (TCP + rustls in memory) | middle half (all) | \
                       x (tcp floor + rustls in memory) | x tls floor | goal";
        report.table(&title, columns);
        let in_memory = Summary::of(base.memory.iter().copied()).median;
        let hot = median(&series(&memory, &format!("one_{size}_ns"))?);
        let what = "rustls 0.24 in memory, open and seal";
        report.line(&format!("{what}, {connections} sessions by turns | {in_memory:.0} | | | | | | "));
        report.line(&format!("{what}, one session | {hot:.0} | | | | | | "));
        for lane in &lanes {
            let of_tls_floor = of_tls_floor(&lanes, &lane.echoes[index], |lane| &lane.echoes[index]);
            base.print(report, lane, &lane.echoes[index], size, &of_tls_floor);
        }
        report.end();
    }
    Ok(())
}

fn handshakes(report: &mut Report, lanes: &[Lane], memory: &[Value]) -> io::Result<()> {
    let group = memory.first().and_then(|saw| saw["group"].as_str()).unwrap_or("an unknown group");
    let title = format!("N25: full handshakes of TLS 1.3, {group}, ECDSA P-256, {HANDSHAKES} at once");
    let columns = "server | CPU us/handshake | x rustls in memory | middle half (all) | \
                   x (two TCP echoes + rustls in memory, at once) | x tls floor | goal";
    report.table(&title, columns);
    let in_memory = series(memory, "handshake_ns")?;
    let at_once = series(memory, "handshakes_at_once_ns")?;
    report.line(&format!("rustls 0.24 in memory, one by one | {:.1} | | | | | ", median(&in_memory) / 1e3));
    report.line(&format!(
        "rustls 0.24 in memory, {HANDSHAKES} at once | {:.1} | | | | | ",
        median(&at_once) / 1e3
    ));
    // A handshake is two messages each way.
    let tcp = Base::new(lanes, memory, 0, ECHOES[0].0)?.tcp;
    let with_tcp: Vec<f64> = at_once.iter().zip(&tcp).map(|(memory, echo)| memory + 2.0 * echo).collect();
    for lane in lanes.iter().filter(|lane| !lane.handshakes.is_empty()) {
        let name = lane.contestant.name;
        if lane.groups.iter().any(|other| other != group) {
            return Err(io::Error::other(format!("{name} agrees on {:?}, not on {group}", lane.groups)));
        }
        let ratio = Summary::of_ratios(&lane.handshakes, &in_memory);
        let goal = match lane.contestant.role.is_ours() {
            true => verdict(ratio.median, HANDSHAKE_GOAL, 0.0),
            false => String::new(),
        };
        let of_both = Summary::of_ratios(&lane.handshakes, &with_tcp);
        let cpu = median(&lane.handshakes) / 1e3;
        let of_tls_floor = of_tls_floor(lanes, &lane.handshakes, |lane| &lane.handshakes);
        report
            .line(&format!("{name} | {cpu:.1} | {ratio} | {:.3} | {of_tls_floor} | {goal}", of_both.median));
        report.keep("N25", name, "handshake_ratio", ratio);
        report.keep("N25", name, "handshake_ratio_with_tcp", of_both);
    }
    report.end();
    Ok(())
}

/// As a multiple of what the bare loop with rustls takes, which does the same and nothing else.
fn of_tls_floor(lanes: &[Lane], values: &[f64], series: impl Fn(&Lane) -> &Vec<f64>) -> String {
    let floor = lanes.iter().find(|lane| lane.contestant.program == "tls_floor");
    floor.map_or(String::new(), |floor| format!("{:.3}", Summary::of_ratios(values, series(floor)).median))
}

/// What one server took in each round.
struct Lane {
    contestant: Contestant,
    handshakes: Vec<f64>,
    /// What was agreed on in them.
    groups: Vec<String>,
    echoes: [Vec<f64>; ECHOES.len()],
}

impl Lane {
    fn new(contestant: Contestant) -> Self {
        Self { contestant, handshakes: Vec::new(), groups: Vec::new(), echoes: [const { Vec::new() }; 2] }
    }

    fn round(&mut self, options: &Options) -> io::Result<()> {
        if self.contestant.role != Role::TcpFloor {
            let load = ["handshakes".to_owned(), format!("--count={HANDSHAKES}")];
            let saw = window(&Contestant { load: &[], ..self.contestant }, options, &load)?;
            self.handshakes.push(cpu(&saw)?);
            self.groups.push(saw["group"].as_str().unwrap_or_default().to_owned());
        }
        for (echoes, (size, connections, warm_up)) in self.echoes.iter_mut().zip(ECHOES) {
            let load = [
                "echo".to_owned(),
                format!("--connections={connections}"),
                format!("--size={size}"),
                format!("--warm-up={warm_up}"),
                // The server has but a part of the time: between the waves it sleeps.
                format!("--millis={}", options.millis * 3),
            ];
            echoes.push(cpu(&window(&self.contestant, options, &load)?)?);
        }
        Ok(())
    }
}

/// What an echo over TLS cannot do without, round by round.
struct Base {
    memory: Vec<f64>,
    tcp: Vec<f64>,
    floor: Vec<f64>,
}

impl Base {
    fn new(lanes: &[Lane], memory: &[Value], index: usize, size: usize) -> io::Result<Self> {
        let of = |program: &str| {
            let lane = lanes
                .iter()
                .find(|lane| lane.contestant.role == Role::TcpFloor && lane.contestant.program == program);
            lane.map(|lane| lane.echoes[index].clone())
                .ok_or_else(|| io::Error::other(format!("{program} is not built")))
        };
        let memory = series(memory, &format!("echo_{size}_ns"))?;
        Ok(Self { memory, tcp: of("wheelhouse_echo")?, floor: of("floor")? })
    }

    fn print(&self, report: &mut Report, lane: &Lane, echoes: &[f64], size: usize, of_tls_floor: &str) {
        let name = lane.contestant.name;
        if lane.contestant.role == Role::TcpFloor {
            report.line(&format!("{name} | {:.0} | | | | | | ", median(echoes)));
            return;
        }
        let sum = |base: &[f64]| base.iter().zip(&self.memory).map(|(a, b)| a + b).collect::<Vec<_>>();
        let ratio = Summary::of_ratios(echoes, &sum(&self.tcp));
        let of_floor = Summary::of_ratios(echoes, &sum(&self.floor));
        let beyond: Vec<f64> = echoes.iter().zip(&self.tcp).map(|(a, b)| a - b).collect();
        let goal = match lane.contestant.role.is_ours() {
            true => verdict(ratio.median, ECHO_GOAL, 0.0),
            false => String::new(),
        };
        report.line(&format!(
            "{name} | {:.0} | {:+.0} | {ratio} | {:.3} | {of_tls_floor} | {goal}",
            median(echoes),
            median(&beyond),
            of_floor.median,
        ));
        report.keep("N25", name, &format!("echo_{size}_ratio"), ratio);
    }
}

fn cpu(saw: &Value) -> io::Result<f64> {
    Ok(number(saw, "server_cpu_ns")? / number(saw, "messages")?)
}

fn series(values: &[Value], name: &str) -> io::Result<Vec<f64>> {
    values.iter().map(|value| number(value, name)).collect()
}

fn median(values: &[f64]) -> f64 {
    Summary::of(values.iter().copied()).median
}
