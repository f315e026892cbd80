//! N22: how long a reactor's turns take in a storm; `crate::turns` says what a turn's length is here.
//!
//! The load holds its connections all the while; each storm begins when the one before is over, and ends when every
//! connection has had its share of it.

use std::time::Duration;
use std::{io, thread};

use serde_json::Value;

use super::Options;
use super::child::{Load, Server, number};
use super::contestant::{Contestant, OURS, OURS_REUSE_PORT};
use super::report::Report;
use super::summary::Summary;

/// Longest that a turn may take, in milliseconds.
const GOAL: f64 = 10.0;

/// How long a reactor is watched that has nothing to do: what the machine alone makes of its turns.
const REST: Duration = Duration::from_secs(1);

const SERVERS: [Contestant; 2] = [
    Contestant { program: "wheelhouse_turns", ..OURS },
    Contestant { program: "wheelhouse_turns", ..OURS_REUSE_PORT },
];

/// What happens to all connections at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storm {
    /// They connect, none waiting for another, and have one echo each.
    Come,
    /// Nothing.
    Rest,
    /// A timer of the handler's on each is due in one tick.
    Timers,
    /// They are sent one broadcast.
    Broadcast,
    /// They have been idle since the same moment, and their time is over in one tick.
    Idle,
}

/// In the order in which one server goes through them: the last closes the connections.
const STORMS: [Storm; 5] = [Storm::Come, Storm::Rest, Storm::Timers, Storm::Broadcast, Storm::Idle];

impl Storm {
    fn title(self) -> &'static str {
        match self {
            Storm::Come => "come at once, one echo each",
            Storm::Rest => "are at rest: the machine alone",
            Storm::Timers => "have a timer due in one tick",
            Storm::Broadcast => "receive one broadcast",
            Storm::Idle => "are closed as idle in one tick",
        }
    }
}

/// A table of the longest turns.
pub(crate) fn longest(report: &mut Report, options: &Options) -> io::Result<()> {
    let rounds = options.rounds.div_ceil(3).max(1);
    let title = format!(
        "N22: longest turn of a reactor, and of the time between the starts of two, while {} connections ..., in \
         {rounds} rounds",
        options.idle
    );
    let columns = "server | they | CPU ms, median | worst | turns, callbacks in it | wall ms, median | worst | \
                   turns, callbacks in it | goal";
    report.table(&title, columns);
    for contestant in &SERVERS {
        let rounds = (0..rounds).map(|_| round(contestant, options)).collect::<io::Result<Vec<_>>>()?;
        for (at, storm) in STORMS.into_iter().enumerate() {
            let turns: Vec<Turns> = rounds.iter().map(|round| round[at]).collect();
            print(report, contestant, storm, &turns);
        }
    }
    report.end();
    Ok(())
}

fn print(report: &mut Report, contestant: &Contestant, storm: Storm, turns: &[Turns]) {
    let cpu = Summary::of(turns.iter().map(|turns| turns.cpu.ms));
    let wall = Summary::of(turns.iter().map(|turns| turns.wall.ms));
    let goal =
        if storm == Storm::Rest { String::new() } else { verdict(turns.iter().map(|turns| turns.cpu)) };
    report.line(&format!(
        "{} | {} | {:.2} | {:.2} | {} | {:.2} | {:.2} | {} | {goal}",
        contestant.name,
        storm.title(),
        cpu.median,
        cpu.ends[1],
        worst(turns.iter().map(|turns| turns.cpu)).contents(),
        wall.median,
        wall.ends[1],
        worst(turns.iter().map(|turns| turns.wall)).contents(),
    ));
    report.keep("N22", contestant.name, &format!("{storm:?}: cpu_ms"), cpu);
    report.keep("N22", contestant.name, &format!("{storm:?}: wall_ms"), wall);
}

/// A stretch of several turns proves only that none of them is longer than it.
fn verdict(longest: impl Iterator<Item = Longest>) -> String {
    let verdict = match worst(longest) {
        Longest { ms, .. } if ms <= GOAL => "met",
        Longest { ms, turns, .. } if ms > GOAL * turns as f64 => "missed",
        _ => "not known: several turns were seen as one",
    };
    format!("at most {GOAL:.0}: {verdict}")
}

fn worst(longest: impl Iterator<Item = Longest>) -> Longest {
    longest.fold(Longest::default(), |worst, one| if one.ms > worst.ms { one } else { worst })
}

/// The longest stretches that one storm showed.
#[derive(Debug, Clone, Copy)]
struct Turns {
    cpu: Longest,
    wall: Longest,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Longest {
    ms: f64,
    turns: u64,
    callbacks: u64,
}

impl Longest {
    fn parse(stretch: &Value) -> io::Result<Self> {
        let count = |name| Ok::<_, io::Error>(number(stretch, name)? as u64);
        Ok(Self { ms: number(stretch, "ns")? / 1e6, turns: count("turns")?, callbacks: count("callbacks")? })
    }

    fn contents(&self) -> String {
        format!("{}, {}", self.turns, self.callbacks)
    }
}

impl Turns {
    fn parse(saw: &Value) -> io::Result<Self> {
        let [cpu, wall] = ["cpu", "wall"].map(|figure| Longest::parse(&saw["turns"][figure]));
        let turns = Self { cpu: cpu?, wall: wall? };
        match turns.cpu.turns.min(turns.wall.turns) {
            0 => Err(io::Error::other(format!("no turn was seen, or no time passed in it: {saw}"))),
            _ => Ok(turns),
        }
    }
}

/// All storms once, in a process of their own.
fn round(contestant: &Contestant, options: &Options) -> io::Result<[Turns; STORMS.len()]> {
    let mut server = Server::start(contestant, options)?;
    // One connection first: code and buffers that serve all of them are made before the storm.
    server.load(&["echo".into(), "--bursts=1000".into()], options)?;
    server.await_counters("the first is gone", |counters| Ok(number(counters, "connections")? == 0.0))?;
    let mut crowd = None;
    let mut seen = Vec::new();
    for storm in STORMS {
        raise(storm, &mut server, options, &mut crowd)?;
        seen.push(Turns::parse(&server.ask_json("turns")?)?);
    }
    drop(crowd);
    server.stop()?;
    seen.try_into().map_err(|_| io::Error::other("not every storm was seen"))
}

/// Has a storm happen, to its end.
fn raise(storm: Storm, server: &mut Server, options: &Options, crowd: &mut Option<Load>) -> io::Result<()> {
    let count = options.idle as f64;
    match storm {
        Storm::Come => {
            begin(server, "watch")?;
            let load = ["idle".into(), "--at-once".into(), format!("--connections={}", options.idle)];
            let load = crowd.insert(server.start_load(&load, options)?);
            load.saw()?;
            let here = |counters: &Value| Ok(number(counters, "connections")? == count);
            server.await_counters("all connections are there", here).map(drop)
        }
        Storm::Rest => {
            begin(server, "watch")?;
            thread::sleep(REST);
            Ok(())
        }
        Storm::Timers => {
            begin(server, "timers")?;
            server
                .await_answer("every timer has fired", "turns", |saw| Ok(number(saw, "fired")? == count))
                .map(drop)
        }
        Storm::Broadcast => {
            let sent = number(&server.counters()?, "bytes_out")?;
            begin(server, "broadcast")?;
            let all = sent + count * 64.0;
            server
                .await_counters("all have it", |counters| Ok(number(counters, "bytes_out")? == all))
                .map(drop)
        }
        Storm::Idle => {
            begin(server, "idle")?;
            server.await_answer("all are closed", "turns", |saw| Ok(number(saw, "idle")? == count)).map(drop)
        }
    }
}

fn begin(server: &mut Server, what: &str) -> io::Result<()> {
    match server.ask(what)?.as_str() {
        "watching" => Ok(()),
        answer => Err(io::Error::other(format!("asked for {what:?}, the server says {answer:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict_of(longest: &[(f64, u64)]) -> String {
        verdict(longest.iter().map(|&(ms, turns)| Longest { ms, turns, callbacks: turns }))
    }

    #[test]
    fn a_clock_that_stands_still_is_an_error_and_not_a_short_turn() {
        let of = |ns: u64| json!({ "ns": ns, "turns": ns.min(1), "callbacks": ns.min(1) });
        let saw = |cpu, wall| json!({ "turns": { "cpu": of(cpu), "wall": of(wall) } });
        assert_eq!(Turns::parse(&saw(2_000_000, 3_000_000)).unwrap().cpu.ms, 2.0);
        assert!(Turns::parse(&saw(0, 3_000_000)).is_err());
        assert!(Turns::parse(&json!({})).is_err());
    }

    #[test]
    fn the_worst_round_is_the_one_that_counts() {
        assert_eq!(verdict_of(&[(1.0, 1), (10.0, 1)]), "at most 10: met");
        assert_eq!(verdict_of(&[(1.0, 1), (10.1, 1)]), "at most 10: missed");
    }

    #[test]
    fn turns_seen_as_one_miss_the_goal_only_where_one_of_them_must_have() {
        assert_eq!(verdict_of(&[(15.0, 2)]), "at most 10: not known: several turns were seen as one");
        assert_eq!(verdict_of(&[(20.1, 2)]), "at most 10: missed");
        assert_eq!(verdict_of(&[(9.9, 2)]), "at most 10: met");
    }
}
