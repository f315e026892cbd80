//! Connect storms: very many that connect at once, and what others notice of it.

use std::io;

use serde_json::Value;

use super::Options;
use super::child::{Server, number};
use super::contestant::{Contestant, OURS, OURS_REUSE_PORT};
use super::report::Report;
use super::summary::Summary;
use crate::machine;

/// Those who connect at once in each of two processes. All of them may be in the server before the first one leaves, which
/// has 20,000 descriptors here.
const CROWD: usize = 9_900;

/// A queue that such a storm overruns, and one as long as the kernel allows (`net.core.somaxconn`).
const SERVERS: [(&str, Contestant); 4] = [
    ("128", Contestant { arguments: &["--backlog=128"], ..OURS }),
    ("128", Contestant { arguments: &["--backlog=128", "--reuse-port"], ..OURS_REUSE_PORT }),
    ("65,535", Contestant { arguments: &["--backlog=65535"], ..OURS }),
    ("65,535", Contestant { arguments: &["--backlog=65535", "--reuse-port"], ..OURS_REUSE_PORT }),
];

/// The table of all four.
pub(crate) fn storms(report: &mut Report, options: &Options) -> io::Result<()> {
    let title = format!(
        "Storm: {} connect at once from two processes, with one echo each, beside 10 that echo all the while",
        2 * CROWD
    );
    let columns = "server | backlog | served | shed | again by the client | SYNs again | queue overflows | drops | \
                   ms to the echo: p50 | p99 | longest | the 10: echoes | p99 ms | longest";
    report.table(&title, columns);
    for (backlog, contestant) in &SERVERS {
        let seen = Seen::of(contestant, options)?;
        let Seen { served, shed, again, kernel: [syns, overflows, drops], waits, others } = seen;
        report.line(&format!(
            "{} | {backlog} | {served} | {shed} | {again} | {syns} | {overflows} | {drops} | {:.0} | {:.0} | {:.0} | \
             {} | {:.1} | {:.1}",
            contestant.name, waits[0], waits[1], waits[2], others[0], others[1], others[2]
        ));
        let name = format!("{}, backlog {backlog}", contestant.name);
        report.keep("storm", &name, "served", Summary::of([served]));
        report.keep("storm", &name, "overflows", Summary::of([overflows as f64]));
        report.keep("storm", &name, "longest_ms", Summary::of([waits[2]]));
        report.keep("storm", &name, "others_p99_ms", Summary::of([others[1]]));
    }
    report.end();
    Ok(())
}

/// What one storm came to; the kernel's counts are the whole machine's.
struct Seen {
    served: f64,
    shed: f64,
    again: f64,
    kernel: [u64; 3],
    /// Milliseconds: the later of the two processes'.
    waits: [f64; 3],
    /// Echoes, and milliseconds.
    others: [f64; 3],
}

impl Seen {
    fn of(contestant: &Contestant, options: &Options) -> io::Result<Self> {
        let mut server = Server::start(contestant, options)?;
        let crowd = |first: usize| {
            let count = [format!("--connections={CROWD}"), format!("--first={first}")];
            server.start_load(&[&["knock".to_owned()][..], &count].concat(), options)
        };
        // The load's addresses change after so many.
        let mut crowds = [crowd(0)?, crowd(10_000)?];
        let others = ["echo", "--connections=10", "--millis=3000"].map(str::to_owned);
        for crowd in &crowds {
            crowd.saw()?;
        }
        let before = machine::listen_trouble()?;
        let others = server.start_load(&others, options)?;
        server.await_counters("the others are there", |counters| {
            Ok(number(counters, "connections")? == 10.0)
        })?;
        crowds.iter_mut().for_each(super::child::Load::begin);
        let [one, two] = crowds.map(super::child::Load::finish);
        let (one, two) = (one?, two?);
        let others = others.into_json()?;
        let after = machine::listen_trouble()?;
        let counters =
            server.await_counters("all are gone", |counters| Ok(number(counters, "connections")? == 0.0))?;
        server.stop()?;
        let sum = |name| Ok::<_, io::Error>(number(&one, name)? + number(&two, name)?);
        let later = |name| Ok::<_, io::Error>(number(&one, name)?.max(number(&two, name)?) / 1e6);
        let ms = |saw: &Value, name| Ok::<_, io::Error>(number(saw, name)? / 1e6);
        Ok(Self {
            served: sum("served")?,
            shed: number(&counters, "shed")?,
            again: sum("again")?,
            kernel: std::array::from_fn(|n| after[n] - before[n]),
            waits: [later("p50_ns")?, later("p99_ns")?, later("max_ns")?],
            others: [number(&others, "messages")?, ms(&others, "p99_ns")?, ms(&others, "max_ns")?],
        })
    }
}
