//! What is told on a terminal: the plan beforehand, and the table of what came of it.

use std::fmt::Write as _;

use wheelhouse_examples::{
    grouped,
    latency::{percentiles, time},
};

use crate::{
    machine::Resident,
    options::Run,
    outcome::{Outcome, Plateau, Round, steepness},
    plan::{Limit, Machine, Plan},
};

/// What will be done, and what stops it.
pub(crate) fn plan(options: &Run, machine: &Machine, plan: &Plan) -> String {
    let asked = options.wanted().connections.map_or("as many as the machine allows".to_owned(), grouped);
    let mut text = Rows::default();
    text.add("asked for", format!("{asked} connections over {}", options.to));
    text.add("this machine", this_machine(machine));
    for limit in &plan.limits {
        text.add(if limit.allows.is_some() { "stops at" } else { "costs" }, met(limit));
        text.add("", format!("{} is {}, needed {}", limit.name, grouped(limit.value), grouped(limit.needed)));
        text.add("", format!("lift it: {}", limit.lift));
    }
    text.add("planned", processes(plan));
    text.0
}

/// What came of it.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let mut text = Rows::default();
    let (plan, asked) = (&outcome.plan, outcome.options.wanted().connections);
    let asked = asked.map_or("as many as possible".to_owned(), grouped);
    text.add(
        "connections",
        format!("{} over {}, {asked} asked for", grouped(outcome.opened), outcome.options.to),
    );
    text.add("processes", processes(plan));
    for at in &outcome.plateaus {
        text.add("plateau", plateau(at));
        for line in details(at) {
            text.add("", line);
        }
    }
    for (from, to) in outcome.slopes() {
        let [servers, clients, kernel] = steepness(from, to);
        let span = format!("{} to {}", grouped(from.connections), grouped(to.connections));
        let each = format!(
            "{servers:.1} B in the server, {clients:.1} B in the client, {kernel:.0} B in the kernel"
        );
        text.add("each more", format!("{span}: {each}"));
    }
    for (name, counts) in [("made anew", &outcome.retries), ("LOST", &outcome.lost)] {
        for (why, times) in counts {
            text.add(name, format!("{} {why}", grouped(*times)));
        }
    }
    if outcome.turned_away > 0 {
        text.add("turned away", format!("{} by servers that were full", grouped(outcome.turned_away)));
    }
    if let Some(first) = &outcome.first_wrong {
        text.add("WRONG", format!("on {} connections; {first}", grouped(outcome.wrong)));
    }
    for (nth, round) in outcome.rounds.iter().enumerate() {
        for line in afterwards(round, plan.servers) {
            text.add(&format!("round {}", nth + 1), line);
        }
    }
    text.add("kernel", kernel(outcome));
    for limit in &plan.limits {
        text.add("limit", format!("{}: {}; lift it: {}", limit.name, met(limit), limit.lift));
    }
    if let Some(why) = &outcome.stopped_by {
        text.add("STOPPED", why.clone());
    }
    if outcome.interrupted {
        text.add("interrupted", "these are the figures until then".to_owned());
    }
    text.add("time", time_taken(outcome));
    text.0
}

/// One line.
pub(crate) fn plateau(plateau: &Plateau) -> String {
    let memory = &plateau.memory;
    format!(
        "{} connections at {:.1} s, {}/s: {:.1} B each in the server, {:.1} B in the client, {:.0} B in the kernel",
        grouped(plateau.connections),
        plateau.at.as_secs_f64(),
        grouped(plateau.rate() as u64),
        plateau.each(memory.servers),
        plateau.each(memory.clients),
        plateau.each(memory.kernel),
    )
}

/// What was done there, a line each.
pub(crate) fn details(plateau: &Plateau) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(quiet) = plateau.quiet {
        let (servers, clients) = quiet.cores();
        lines.push(format!(
            "silent for {:.1} s: servers {:.2} % of a core, {} turns; clients {:.2} %; {} pings answered",
            quiet.lasted.as_secs_f64(),
            100.0 * servers,
            grouped(quiet.turns),
            100.0 * clients,
            grouped(quiet.pings),
        ));
    }
    if let Some(talk) = &plateau.talk {
        let told = |histogram| {
            let each = percentiles(histogram)
                .map(|(name, ns)| format!("{name} {}", ns.map_or("-".to_owned(), time)));
            each.join(", ")
        };
        let busy = plateau.talking.map_or(String::new(), |talking| {
            let (servers, clients) = talking.cores();
            format!("; servers {:.1} % of a core, clients {:.1} %", 100.0 * servers, 100.0 * clients)
        });
        lines.push(format!(
            "{} talk: {} sent, {} answered{busy}",
            grouped(talk.connections),
            grouped(talk.sent),
            grouped(talk.answered),
        ));
        lines.push(format!("latency from when due: {}", told(&talk.latency)));
        lines.push(format!("of it sent late by: {}", told(&talk.lateness)));
    }
    if let Some(broadcast) = plateau.broadcast {
        lines.push(format!(
            "a word to all: {} delivered in {:.2} s",
            grouped(broadcast.delivered),
            broadcast.took.as_secs_f64()
        ));
    }
    lines
}

pub(crate) fn processes(plan: &Plan) -> String {
    let sources = match plan.sources * plan.clients {
        0 => String::new(),
        n => format!(" from {}", plural(n, "source address", "source addresses")),
    };
    format!(
        "{} connections; {} with {} each, {}{sources}",
        grouped(plan.connections),
        plural(plan.servers, "server", "servers"),
        plural(plan.reactors, "reactor", "reactors"),
        plural(plan.clients, "client", "clients"),
    )
}

/// A round, and the servers' memory when all but one were closed; a line each.
pub(crate) fn afterwards(round: &Round, servers: u64) -> [String; 3] {
    let both = |resident: Resident| format!("{} ({} its own)", mb(resident.all), mb(resident.own));
    [
        format!(
            "{} came in {:.1} s and went in {:.1} s, {} staying",
            grouped(round.connections),
            round.opening.as_secs_f64(),
            round.closing.as_secs_f64(),
            round.staying
        ),
        format!(
            "{} together: {} at the start, {} at the height, {} after; {}",
            plural(servers, "server", "servers"),
            both(round.start),
            both(round.height),
            both(round.after),
            bound(round, servers),
        ),
        format!("the kernel holds {} than at the start", more(round.kernel)),
    ]
}

/// What the servers may have after a round, and whether they keep to it.
pub(crate) fn bound(round: &Round, servers: u64) -> String {
    let verdict = if round.is_within_bound(servers) { "kept" } else { "MISSED" };
    format!("at most {}: {verdict}", mb(round.bound(servers)))
}

pub(crate) fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

pub(crate) fn more(bytes: i64) -> String {
    format!("{} {}", mb(bytes.unsigned_abs()), if bytes < 0 { "less" } else { "more" })
}

pub(crate) fn kernel(outcome: &Outcome) -> String {
    format!(
        "{} SYN retransmits, {} listen overflows, {} listen drops, {} backlog drops; {} ports in TIME_WAIT at the end",
        grouped(outcome.tcp.syn_retransmits),
        grouped(outcome.tcp.listen_overflows),
        grouped(outcome.tcp.listen_drops),
        grouped(outcome.tcp.backlog_drops),
        grouped(outcome.time_wait),
    )
}

/// From the first connection on, and what it took beyond the time that it was given.
pub(crate) fn time_taken(outcome: &Outcome) -> String {
    let mut told = format!("{:.1} s", outcome.took.as_secs_f64());
    if let Some(beyond) = &outcome.beyond {
        let (by, during) = (beyond.by.as_secs_f64(), &beyond.during);
        let _ = write!(told, "; over {by:.1} s after --within, which passed during \"{during}\"");
    }
    if outcome.killed > 0 {
        let processes = plural(outcome.killed as u64, "process", "processes");
        let _ = write!(told, "; {processes} had to be killed");
    }
    told
}

pub(crate) fn met(limit: &Limit) -> String {
    match limit.allows {
        Some(allows) => format!("{} connections", grouped(allows)),
        None => limit.effect.clone(),
    }
}

pub(crate) fn this_machine(machine: &Machine) -> String {
    format!(
        "{} cores, {:.1} GB of memory ({:.1} available), {} files for a process, Linux {}",
        machine.cores,
        machine.memory as f64 / 1e9,
        machine.memory_available as f64 / 1e9,
        grouped(machine.files),
        crate::machine::kernel(),
    )
}

pub(crate) fn plural(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(n)) }
}

#[derive(Default)]
struct Rows(String);

impl Rows {
    fn add(&mut self, name: &str, value: String) {
        let _ = writeln!(self.0, "{name:<13}{value}");
    }
}
