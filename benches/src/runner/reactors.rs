//! N17: what a second sub-reactor costs the first.

use std::io;
use std::path::Path;

use super::Options;
use super::contestant::{Contestant, OURS};
use super::lines::Lines;
use super::report::{Report, verdict};
use super::summary::Summary;
use super::watched::{Load, Watched, executed, log_file, works};

/// Most user instructions per message, two sub-reactors against one.
const GOAL: f64 = 1.02;

const ONE: Contestant = Contestant { arguments: &["--reactors=1"], ..OURS };
const TWO: Contestant = Contestant { arguments: &["--reactors=2"], ..OURS };

/// What each reactor has to do, whether there are one or two: with as many connections the turns of both are as
/// full, and what a turn costs is shared by as many messages.
const LOADS: [Load; 3] = [
    Load { title: "1 connection for each, 1 in flight", connections: 1, depth: 1, bursts: [500, 5_500] },
    Load { title: "50 for each, 1 in flight", connections: 50, depth: 1, bursts: [20, 220] },
    Load { title: "50 for each, 16 in flight", connections: 50, depth: 16, bursts: [20, 220] },
];

/// How full a turn is remains a matter of luck where there is more than one connection: the median counts.
const ROUNDS: usize = 3;

/// One connection for each of two reactors: they are handed over by turns.
const PAIR: Load =
    Load { title: "1 connection for each, 1 in flight", connections: 2, depth: 1, bursts: [50, 500] };

/// Both halves of the row.
pub(crate) fn two_against_one(report: &mut Report, options: &Options) -> io::Result<()> {
    if !works("valgrind") {
        println!("N17: valgrind is not installed: left out\n");
        return Ok(());
    }
    instructions(report, options)?;
    shared_lines(report, options)
}

/// User instructions per burst.
fn instructions(report: &mut Report, options: &Options) -> io::Result<()> {
    let columns = "load | one | two | two x one | middle half (all) | goal";
    report.table("N17: user instructions per burst, one sub-reactor and two", columns);
    for load in &LOADS {
        let twice = Load { connections: 2 * load.connections, ..*load };
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            one.push(per_burst(&ONE, options, load)?);
            two.push(per_burst(&TWO, options, &twice)?);
        }
        let ratio = Summary::of_ratios(&two, &one);
        report.line(&format!(
            "{} | {:.1} | {:.1} | {ratio} | {}",
            load.title,
            Summary::of(one).median,
            Summary::of(two).median,
            verdict(ratio.median, GOAL, 0.0),
        ));
        report.keep("N17", TWO.name, load.title, ratio);
    }
    report.end();
    Ok(())
}

fn per_burst(contestant: &Contestant, options: &Options, load: &Load) -> io::Result<f64> {
    let short = executed(contestant, options, load, load.bursts[0])?;
    let long = executed(contestant, options, load, load.bursts[1])?;
    Ok((long as f64 - short as f64) / load.difference())
}

/// The cache lines that both reactors touch for at least every tenth of their messages, by a trace of every access of
/// every thread.
fn shared_lines(report: &mut Report, options: &Options) -> io::Result<()> {
    let tracer = |file: &Path| {
        let [tool, accesses, threads] =
            ["--tool=lackey", "--trace-mem=yes", "--trace-sched=yes"].map(Into::into);
        ["valgrind".into(), tool, accesses, threads, log_file(file)]
    };
    let [warm_up, measured] = PAIR.bursts;
    let watched = Watched::start(&TWO, options, tracer)?.through(&PAIR, warm_up, options)?;
    let begun = watched.written()?;
    let watched = watched.through(&PAIR, measured, options)?;
    let ended = watched.written()?;
    let lines = Lines::parse(&watched.finish()?, begun..ended);
    let busy = lines.busy_threads(measured);
    if busy != 2 {
        return Err(io::Error::other(format!("{busy} threads were busy with two reactors' messages")));
    }
    let shared = lines.shared(measured / 10);
    let columns =
        "load | lines a message touches | written by both | written by one, read by the other | goal";
    report.table("N17: cache lines of 64 B that two sub-reactors touch on the hot path", columns);
    let goal = if shared.written_by_both == 0 { "met" } else { "missed" };
    report.line(&format!(
        "{} | {} | {} | {} | none written by both: {goal}",
        PAIR.title, shared.touched, shared.written_by_both, shared.written_and_read
    ));
    report.keep("N17", TWO.name, "lines_written_by_both", Summary::of([shared.written_by_both as f64]));
    report.end();
    Ok(())
}
