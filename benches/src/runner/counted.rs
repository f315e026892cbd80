//! Rows that count instead of measuring time: they hold still on the noisiest machine.
//!
//! Each takes the difference of two runs that differ in nothing but the number of messages, so that what
//! starting, connecting and stopping cost falls out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::time::Duration;
use std::{env, fs, io, thread};

use super::Options;
use super::child::Server;
use super::contestant::{Contestant, Role};
use super::report::Report;
use super::summary::Summary;

/// Traffic with a fixed number of bursts.
struct Load {
    title: &'static str,
    connections: u64,
    depth: u64,
    /// Bursts on each connection in the shorter and in the longer run.
    bursts: [u64; 2],
}

const LOADS: [Load; 3] = [
    Load { title: "1 connection, 1 in flight", connections: 1, depth: 1, bursts: [500, 10_500] },
    Load { title: "100 connections, 1 in flight", connections: 100, depth: 1, bursts: [10, 110] },
    Load { title: "100 connections, 16 in flight", connections: 100, depth: 16, bursts: [10, 110] },
];

impl Load {
    fn arguments(&self, bursts: u64) -> [String; 4] {
        [
            "echo".to_owned(),
            format!("--connections={}", self.connections),
            format!("--depth={}", self.depth),
            format!("--bursts={bursts}"),
        ]
    }

    /// Bursts by which the runs differ, all connections together.
    fn difference(&self) -> f64 {
        ((self.bursts[1] - self.bursts[0]) * self.connections) as f64
    }
}

/// N13: system calls per burst, which is a message or sixteen.
pub(crate) fn system_calls(report: &mut Report, options: &Options, all: &[Contestant]) -> io::Result<()> {
    if !works("strace") {
        println!("N13: strace is not installed or not allowed here: left out\n");
        return Ok(());
    }
    let columns = "server | load | reads | writes | waits | others | per burst without waits | goal";
    report.table("N13: system calls per burst", columns);
    for load in &LOADS {
        let mut floor = None;
        for contestant in once_each(all) {
            let short = calls(contestant, options, load, load.bursts[0])?;
            let long = calls(contestant, options, load, load.bursts[1])?;
            let per_burst = |kind| (long.of(kind) as f64 - short.of(kind) as f64) / load.difference();
            let [reads, writes, waits, others] = KINDS.map(per_burst);
            let sum = reads + writes + others;
            let floor = *floor.get_or_insert(sum);
            let goal = match contestant.role.is_ours() {
                false => "",
                true if (sum - floor).abs() < 0.005 => "the floor's: met",
                true => "the floor's: missed",
            };
            report.line(&format!(
                "{} | {} | {reads:.3} | {writes:.3} | {waits:.3} | {others:.3} | {sum:.3} | {goal}",
                contestant.name, load.title
            ));
            report.keep("N13", contestant.name, load.title, Summary::of([sum]));
        }
    }
    report.end();
    Ok(())
}

/// User instructions per burst.
pub(crate) fn instructions(report: &mut Report, options: &Options, all: &[Contestant]) -> io::Result<()> {
    if !works("valgrind") {
        println!("instructions: valgrind is not installed: left out\n");
        return Ok(());
    }
    report.table("User instructions per burst", "server | load | instructions | over the floor");
    for load in &LOADS {
        let mut floor = None;
        for contestant in once_each(all) {
            let short = executed(contestant, options, load, load.bursts[0])?;
            let long = executed(contestant, options, load, load.bursts[1])?;
            let per_burst = (long as f64 - short as f64) / load.difference();
            let over = per_burst - *floor.get_or_insert(per_burst);
            report.line(&format!("{} | {} | {per_burst:.0} | {over:+.0}", contestant.name, load.title));
            report.keep("instructions", contestant.name, load.title, Summary::of([per_burst]));
        }
    }
    report.end();
    Ok(())
}

/// N19: allocations per message in the steady state, which our server counts itself.
pub(crate) fn allocations(report: &mut Report, options: &Options, all: &[Contestant]) -> io::Result<()> {
    let Some(ours) = all.iter().find(|one| one.role == Role::HandedOver) else {
        println!("N19: the engine's server is not built: left out\n");
        return Ok(());
    };
    report.table("N19: allocations per message", "server | load | allocations | goal");
    for load in &LOADS {
        let mut server = Server::start_under(&[], ours, options, &["--count-allocations"])?;
        let mut counts = Vec::new();
        // The first run fills what is filled once (slabs, pools); the other two differ in messages alone.
        for bursts in [load.bursts[0], load.bursts[0], load.bursts[1]] {
            server.load(&load.arguments(bursts), options)?;
            let answer = server.ask("count")?;
            counts.push(answer.trim().parse::<f64>().map_err(io::Error::other)?);
        }
        server.stop()?;
        let extra = (counts[2] - counts[1]) - (counts[1] - counts[0]);
        let per_message = extra / load.difference() / load.depth as f64;
        // Connecting is not the same to the last allocation each time; one in 2,000 messages would show.
        let goal = if per_message < 0.000_5 { "0: met" } else { "0: missed" };
        report.line(&format!("{} | {} | {per_message:.6} | {goal}", ours.name, load.title));
        report.keep("N19", ours.name, load.title, Summary::of([per_message]));
    }
    report.end();
    Ok(())
}

/// The floor holds still here, and ReusePort changes nothing after the accept.
fn once_each(all: &[Contestant]) -> impl Iterator<Item = &Contestant> {
    all.iter().filter(|one| !matches!(one.role, Role::FloorAgain | Role::ReusePort))
}

fn works(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// What a server has asked of the kernel in its life, by name.
struct Calls(BTreeMap<String, u64>);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Read,
    Write,
    Wait,
    /// Left out: how many connections one accepting turn finds is a matter of luck.
    Accept,
    Other,
}

const KINDS: [Kind; 4] = [Kind::Read, Kind::Write, Kind::Wait, Kind::Other];

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "read" | "readv" | "recvfrom" | "recvmsg" => Kind::Read,
            "write" | "writev" | "sendto" | "sendmsg" => Kind::Write,
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => Kind::Wait,
            "accept" | "accept4" => Kind::Accept,
            _ => Kind::Other,
        }
    }
}

impl Calls {
    fn of(&self, kind: Kind) -> u64 {
        self.0.iter().filter(|(name, _)| Kind::of(name) == kind).map(|(_, calls)| calls).sum()
    }

    /// The table of `strace -c`: share, seconds, microseconds a call, calls, errors (or nothing), name.
    fn parse(table: &str) -> Self {
        let line = |line: &str| {
            let cells: Vec<_> = line.split_whitespace().collect();
            let (name, calls) = (cells.last()?, cells.get(3)?.parse().ok()?);
            (*name != "total").then(|| ((*name).to_owned(), calls))
        };
        Self(table.lines().filter_map(line).collect())
    }
}

fn calls(contestant: &Contestant, options: &Options, load: &Load, bursts: u64) -> io::Result<Calls> {
    let wrapper = ["strace", "-c", "-f", "-o"].map(OsString::from);
    watched(contestant, options, load, bursts, |file| {
        let mut wrapper = wrapper.to_vec();
        wrapper.push(file.into());
        wrapper
    })
    .map(|table| Calls::parse(&table))
}

/// User instructions of a whole life, as callgrind sums them up.
fn executed(contestant: &Contestant, options: &Options, load: &Load, bursts: u64) -> io::Result<u64> {
    let log = watched(contestant, options, load, bursts, |file| {
        let mut log = OsString::from("--log-file=");
        log.push(file);
        vec!["valgrind".into(), "--tool=callgrind".into(), "--callgrind-out-file=/dev/null".into(), log]
    })?;
    log.lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("callgrind says {log:?}")))
}

/// Runs a server through a load under a watcher, which leaves what it saw in a file.
fn watched(
    contestant: &Contestant,
    options: &Options,
    load: &Load,
    bursts: u64,
    wrapper: impl Fn(&Path) -> Vec<OsString>,
) -> io::Result<String> {
    let file = env::temp_dir().join(format!("wheelhouse-bench-{}", process::id()));
    let server = Server::start_under(&wrapper(&file), contestant, options, &[])?;
    server.load(&load.arguments(bursts), options)?;
    // The load's connections close behind it: the server is to see every one of them in each run.
    thread::sleep(Duration::from_millis(300));
    server.stop()?;
    let saw = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    Ok(saw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read_with_and_without_errors() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     61.00    0.000100           1       100           sendto\n \
                     39.00    0.000050           1        50        12 recvfrom\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.000150           1       150        12 total\n";
        let calls = Calls::parse(table);
        assert_eq!(KINDS.map(|kind| calls.of(kind)), [50, 100, 0, 0]);
    }
}
