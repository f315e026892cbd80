//! The page: memory and connections over time, the latency of those who talked, and the tables; complete in itself.

use wheelhouse_examples::{
    AnyError, grouped,
    latency::{percentiles, time},
    page::{Curve, columns, escaped, head, latency, over_time, table},
};

use crate::{
    machine::{self, SETTINGS},
    outcome::{Outcome, Plateau, Round, Sample, steepness},
    table::{bound, kernel, mb, met, more, processes, this_machine, time_taken},
};

pub(crate) fn page(outcome: &Outcome) -> Result<String, AnyError> {
    let mut page = head("a million connections");
    let (verdict, class) = match (outcome.interrupted, outcome.is_good()) {
        (true, _) => ("interrupted", "bad"),
        (_, true) => ("every connection and every byte as it should be", "good"),
        (_, false) => ("something was not as it should be: see the results", "bad"),
    };
    let planned = match outcome.opened == outcome.plan.connections {
        true => String::new(),
        false => format!(" of {}", grouped(outcome.plan.connections)),
    };
    let of = format!("{}{planned} connections over {}", grouped(outcome.opened), outcome.options.to);
    page += &format!("<h1>{of}</h1>\n<p><span class=\"verdict {class}\">{}</span></p>\n", escaped(verdict));
    page += "<h2>Memory over time</h2>\n";
    page += &processes_memory(&outcome.series)?;
    page += "<p>What all servers and all clients have made themselves since before the first connection. Their program's own \
        pages are not in it, which the kernel takes and gives as it likes.</p>\n";
    page += &kernel_memory(&outcome.series)?;
    page += "<p>What the kernel says it holds, more than before the first connection: slabs, page tables, stacks, what it \
        allocates by the page, and buffers of sockets. What it calls reclaimable counts in full, for the inodes and names \
        of open sockets lie there; what file systems keep of files does not, where the slabs may be looked at (as root).</p>\n";
    page += "<h2>Connections per second</h2>\n";
    page += &rate(&outcome.series)?;
    if let Some((plateau, talk)) = outcome.plateaus.iter().rev().find_map(|at| Some((at, at.talk.as_ref()?)))
    {
        let (few, of) = (grouped(talk.connections), grouped(plateau.connections));
        page += &format!("<h2>Latency of {few} that talk among {of}, from when each message was due</h2>\n");
        page += &latency(&talk.latency)?;
    }
    page += "<h2>Plateaus</h2>\n";
    page += &plateaus(outcome);
    page += "<h2>Memory of the servers when all but one are gone</h2>\n";
    page += &rounds(outcome);
    page += "<h2>Results</h2>\n";
    page += &table(results(outcome));
    page += "<h2>Limits met</h2>\n";
    page += &limits(outcome);
    page += "<h2>Machine</h2>\n";
    page += &table(machine_rows(outcome));
    page += "</html>\n";
    Ok(page)
}

fn plateaus(outcome: &Outcome) -> String {
    let names = [
        "",
        "connects/s",
        "server",
        "client",
        "kernel",
        "p50",
        "p99",
        "p99.9",
        "word to all",
        "busy, silent",
    ];
    let rows: Vec<Vec<String>> = outcome.plateaus.iter().map(plateau).collect();
    let slopes = outcome.slopes().into_iter().map(|(from, to)| {
        let [servers, clients, kernel] = steepness(from, to);
        let span = format!("each more, {} to {}", grouped(from.connections), grouped(to.connections));
        let mut row = vec![span, String::new(), bytes(servers), bytes(clients), bytes(kernel)];
        row.resize(names.len(), String::new());
        row
    });
    columns(&names, &rows.into_iter().chain(slopes).collect::<Vec<_>>())
}

/// In the order of the names above.
fn plateau(plateau: &Plateau) -> Vec<String> {
    let memory = &plateau.memory;
    let told = plateau.talk.as_ref().map(|talk| percentiles(&talk.latency));
    let at = |nth: usize| told.and_then(|told| told[nth].1).map_or("-".to_owned(), time);
    vec![
        grouped(plateau.connections),
        grouped(plateau.rate() as u64),
        bytes(plateau.each(memory.servers)),
        bytes(plateau.each(memory.clients)),
        bytes(plateau.each(memory.kernel)),
        at(0),
        at(2),
        at(3),
        plateau
            .broadcast
            .map_or("-".to_owned(), |broadcast| format!("{:.2} s", broadcast.took.as_secs_f64())),
        plateau.quiet.map_or("-".to_owned(), |quiet| {
            let (servers, clients) = quiet.cores();
            format!("{:.2} and {:.2} %", 100.0 * servers, 100.0 * clients)
        }),
    ]
}

fn rounds(outcome: &Outcome) -> String {
    let names = [
        "round",
        "connections",
        "came in",
        "went in",
        "at the start",
        "at the height",
        "after",
        "",
        "kernel",
    ];
    let seconds = |time: std::time::Duration| format!("{:.1} s", time.as_secs_f64());
    let row = |(nth, round): (usize, &Round)| {
        vec![
            (nth + 1).to_string(),
            grouped(round.connections),
            seconds(round.opening),
            seconds(round.closing),
            mb(round.start.all),
            mb(round.height.all),
            mb(round.after.all),
            bound(round, outcome.plan.servers),
            more(round.kernel),
        ]
    };
    columns(&names, &outcome.rounds.iter().enumerate().map(row).collect::<Vec<_>>())
}

fn bytes(bytes: f64) -> String {
    format!("{bytes:.1} B")
}

fn results(outcome: &Outcome) -> Vec<(String, String)> {
    let mut rows = vec![("processes".to_owned(), processes(&outcome.plan))];
    let mut add = |name: &str, value: String| rows.push((name.to_owned(), value));
    for at in &outcome.plateaus {
        for line in crate::table::details(at) {
            add(&grouped(at.connections), line);
        }
    }
    for (name, counts) in [("made anew", &outcome.retries), ("lost", &outcome.lost)] {
        for (why, times) in counts {
            add(name, format!("{} {why}", grouped(*times)));
        }
    }
    if outcome.turned_away > 0 {
        add("turned away", format!("{} by servers that were full", grouped(outcome.turned_away)));
    }
    if let Some(first) = &outcome.first_wrong {
        add("wrong", format!("on {} connections; {first}", grouped(outcome.wrong)));
    }
    add("kernel", kernel(outcome));
    if let Some(why) = &outcome.stopped_by {
        add("stopped", why.clone());
    }
    add("time", time_taken(outcome));
    rows
}

fn limits(outcome: &Outcome) -> String {
    let row = |limit: &crate::plan::Limit| {
        vec![
            limit.name.to_owned(),
            grouped(limit.value),
            grouped(limit.needed),
            met(limit),
            limit.lift.clone(),
        ]
    };
    match outcome.plan.limits.is_empty() {
        true => "<p>None.</p>\n".to_owned(),
        false => columns(
            &["limit", "is", "needed", "what it does", "how to lift it"],
            &outcome.plan.limits.iter().map(row).collect::<Vec<_>>(),
        ),
    }
}

fn machine_rows(outcome: &Outcome) -> Vec<(String, String)> {
    let mut rows = vec![
        ("processor".to_owned(), machine::processor()),
        ("machine".to_owned(), this_machine(&outcome.machine)),
    ];
    let values = SETTINGS.iter().filter_map(|name| Some(((*name).to_owned(), machine::setting(name)?)));
    rows.extend(values);
    rows
}

fn processes_memory(series: &[Sample]) -> Result<String, AnyError> {
    let servers = memory("servers", series, |sample| sample.memory.servers);
    let clients = memory("clients", series, |sample| sample.memory.clients);
    over_time("MB in processes", &[servers, clients])
}

fn kernel_memory(series: &[Sample]) -> Result<String, AnyError> {
    over_time("MB in the kernel", &[memory("kernel", series, |sample| sample.memory.kernel)])
}

fn memory<'a>(name: &'a str, series: &[Sample], of: impl Fn(&Sample) -> i64) -> Curve<'a> {
    let point = |sample: &Sample| (sample.at.as_secs_f64(), of(sample).max(0) as f64 / 1e6);
    Curve { name, points: series.iter().map(point).collect() }
}

fn rate(series: &[Sample]) -> Result<String, AnyError> {
    let rate = |two: &[Sample]| {
        let seconds = (two[1].at - two[0].at).as_secs_f64().max(1e-3);
        let came = two[1].connections.saturating_sub(two[0].connections);
        (two[1].at.as_secs_f64(), came as f64 / seconds)
    };
    let points = series.windows(2).map(rate).collect();
    over_time("connections opened per second", &[Curve { name: "", points }])
}
