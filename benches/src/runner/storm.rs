//! N10: what two storms of connections leave behind.

use std::time::{Duration, Instant};
use std::{io, thread};

use super::Options;
use super::child::{Server, number};
use super::contestant::{Contestant, OURS, OURS_REUSE_PORT};
use super::report::Report;
use super::summary::Summary;
use crate::machine;

/// What may stay, beyond a tenth more than there was.
const ALLOWANCE: f64 = 16e6;

/// Memory counts as settled when it has stood still for so long: the engine looks a second after the last close
/// what it can give back.
const STILL: Duration = Duration::from_secs(3);

/// Longest that is waited for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Least bytes in the engine's buffers at the height of a storm, for each burden: the room for a message of 8 KiB,
/// and for what the kernel did not take of the 16 KiB of answer that it does not read.
const LEAST_BUFFERED: f64 = 12.0 * 1024.0;

/// Both ways of accepting, with messages framed and a small buffer in the kernel: what it does not take is queued.
const SERVERS: [Contestant; 2] = [
    Contestant { arguments: &["--framed", "--send-buffer=4096"], ..OURS },
    Contestant { arguments: &["--framed", "--send-buffer=4096", "--reuse-port"], ..OURS_REUSE_PORT },
];

/// Memory before, in and after two storms.
pub(crate) fn memory(report: &mut Report, options: &Options) -> io::Result<()> {
    let title = format!(
        "N10: resident MB, while {} connections come and go twice and one stays; half of them leave an answer \
         unread and a message half sent",
        options.idle
    );
    let columns =
        "server | start | storm 1 | buffered in it | after it | storm 2 | buffered in it | after it | goal";
    report.table(&title, columns);
    for contestant in &SERVERS {
        let seen = Seen::of(contestant, options)?;
        let mut cells = vec![contestant.name.to_owned(), megabytes(seen.start)];
        for storm in &seen.storms {
            cells.extend([storm.height, storm.buffered, storm.after].map(megabytes));
        }
        let left = seen.storms.map(|storm| storm.after);
        cells.push(verdict(seen.start, left));
        report.line(&cells.join(" | "));
        report.keep("N10", contestant.name, "start", Summary::of([seen.start]));
        report.keep("N10", contestant.name, "after", Summary::of(left));
    }
    report.end();
    Ok(())
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}

/// The greater of what was left both times, beside the most that may be.
fn verdict(start: f64, left: [f64; 2]) -> String {
    let most = start * 1.1 + ALLOWANCE;
    let verdict = if left.iter().all(|left| *left <= most) { "met" } else { "missed" };
    format!("at most {}: {verdict}", megabytes(most))
}

/// Bytes of the server's.
struct Seen {
    start: f64,
    storms: [Storm; 2],
}

#[derive(Clone, Copy)]
struct Storm {
    height: f64,
    buffered: f64,
    after: f64,
}

impl Seen {
    fn of(contestant: &Contestant, options: &Options) -> io::Result<Self> {
        let mut server = Server::start(contestant, options)?;
        // The one that stays, which warms the engine up too.
        let one = server.start_load(&["storm".into(), "--connections=1".into()], options)?;
        one.saw()?;
        let start = settled_memory(server.pid())?;
        let storms = [Storm::run(&mut server, options)?, Storm::run(&mut server, options)?];
        if number(&one.finish()?, "served")? != 1.0 {
            return Err(io::Error::other("the connection that stayed is not served"));
        }
        server.stop()?;
        Ok(Self { start, storms })
    }
}

impl Storm {
    fn run(server: &mut Server, options: &Options) -> io::Result<Self> {
        let count = format!("--connections={}", options.idle);
        let crowd = server.start_load(&["storm".into(), count], options)?;
        let burdens = number(&crowd.saw()?, "burdens")?;
        let here = options.idle as f64 + 1.0;
        let counters = server.await_counters("all connections are there", |counters| {
            let buffered = number(counters, "buffered")?;
            Ok(number(counters, "connections")? == here && buffered >= burdens * LEAST_BUFFERED)
        })?;
        let height = machine::resident_bytes(server.pid())? as f64;
        // Killed: those that have something unread reset, the others send FIN.
        drop(crowd);
        server.await_counters("all but one are gone", |counters| {
            Ok(number(counters, "connections")? == 1.0 && number(counters, "buffered")? == 0.0)
        })?;
        let after = settled_memory(server.pid())?;
        Ok(Self { height, buffered: number(&counters, "buffered")?, after })
    }
}

/// Resident memory once it stands still.
fn settled_memory(pid: u32) -> io::Result<f64> {
    let begun = Instant::now();
    let (mut bytes, mut since) = (machine::resident_bytes(pid)?, Instant::now());
    while since.elapsed() < STILL && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(100));
        let now = machine::resident_bytes(pid)?;
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
    }
    Ok(bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_and_sixteen_megabytes_may_stay_and_no_more() {
        assert_eq!(verdict(10e6, [27e6, 5e6]), "at most 27.0: met");
        assert_eq!(verdict(10e6, [5e6, 27.1e6]), "at most 27.0: missed");
        assert_eq!(verdict(10e6, [27.1e6, 5e6]), "at most 27.0: missed");
    }
}
