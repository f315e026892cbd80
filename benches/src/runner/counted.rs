//! Rows that count instead of measuring time: they hold still on the noisiest machine.
//!
//! All but the allocations take the difference of two runs that differ in nothing but the number of messages, so that
//! what starting, connecting and stopping cost falls out.

use std::io;

use super::Options;
use super::child::Server;
use super::contestant::{Contestant, Role};
use super::report::Report;
use super::summary::Summary;
use super::watched::{KINDS, LOADS, calls, executed, works};

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
    allocations_of(report, options, ours, "N19")
}

/// The same of one server of ours, as this row.
pub(crate) fn allocations_of(
    report: &mut Report,
    options: &Options,
    ours: &Contestant,
    row: &str,
) -> io::Result<()> {
    report.table(&format!("{row}: allocations per message"), "server | load | allocations | goal");
    for load in &LOADS {
        let mut server = Server::start_under(&[], ours, options, &["--count-allocations"])?;
        // Connecting is not the same to the last allocation each time: counting begins when all are there and served.
        let mut arguments = load.arguments(load.bursts[1]).to_vec();
        arguments.extend([format!("--warm-up={}", load.bursts[0]), "--waits".to_owned()]);
        let mut running = server.start_load(&arguments, options)?;
        running.saw()?;
        let mut count = || server.ask("allocations")?.trim().parse::<f64>().map_err(io::Error::other);
        // To be asked takes some too.
        let (first, before) = (count()?, count()?);
        running.tell_to_go_on()?;
        running.saw()?;
        let extra = count()? - before - (before - first);
        let per_message = extra / load.messages(load.bursts[1]);
        running.tell_to_go_on()?;
        running.into_json()?;
        server.stop()?;
        let goal = if per_message < 0.000_5 { "0: met" } else { "0: missed" };
        report.line(&format!("{} | {} | {per_message:.6} | {goal}", ours.name, load.title));
        report.keep(row, ours.name, load.title, Summary::of([per_message]));
    }
    report.end();
    Ok(())
}

/// The floor holds still here, and ReusePort changes nothing after the accept.
fn once_each(all: &[Contestant]) -> impl Iterator<Item = &Contestant> {
    all.iter().filter(|one| !matches!(one.role, Role::FloorAgain | Role::ReusePort))
}
