//! What connections cost that say nothing: memory, and system calls.

use std::time::Duration;
use std::{io, thread};

use super::Options;
use super::child::Server;
use super::contestant::{self, Contestant, OURS, Role};
use super::report::{Report, verdict};
use super::summary::Summary;
use crate::machine;

/// How long an idle server is watched for signs of life.
const WATCH: Duration = Duration::from_secs(2);

/// Most bytes for a connection (N8), for one that speaks WebSocket (N9), and for one over TLS (N21).
const GOAL: f64 = 128.0;
const WEBSOCKET_GOAL: f64 = 160.0;
const TLS_GOAL: f64 = 3_100.0;

/// N8 and N15, which the same connections answer.
pub(crate) fn memory(report: &mut Report, options: &Options, all: &[Contestant]) -> io::Result<()> {
    let title = format!("N8, N15: {} idle TCP connections, after one echo each", options.idle);
    let columns = "times woken in 2 s | CPU ns in 2 s | goal";
    report.table(&title, &format!("server | bytes/connection | goal | {} | {columns}", slope_title(options)));
    let once = [Role::FloorAgain, Role::ReusePort];
    for contestant in all.iter().filter(|one| !once.contains(&one.role)) {
        let idle = Idle::measure(contestant, options)?;
        let (memory_goal, quiet_goal) = match contestant.role.is_ours() {
            false => (String::new(), ""),
            true if idle.woken == 0 => (verdict(idle.bytes, GOAL, 0.0), "0: met"),
            true => (verdict(idle.bytes, GOAL, 0.0), "0: missed"),
        };
        report.line(&format!(
            "{} | {:.1} | {memory_goal} | {:.1} | {} | {} | {quiet_goal}",
            contestant.name, idle.bytes, idle.slope, idle.woken, idle.cpu_ns
        ));
        report.keep("N8", contestant.name, "bytes_per_connection", Summary::of([idle.bytes]));
        report.keep("N8", contestant.name, "slope", Summary::of([idle.slope]));
        report.keep("N15", contestant.name, "woken", Summary::of([idle.woken as f64]));
        if contestant.role == Role::HandedOver {
            deadlines(report, options, &idle)?;
            kernel(report, &idle);
        }
    }
    report.end();
    Ok(())
}

/// N9: the same over WebSocket, and with deflate agreed on and used once.
pub(crate) fn websocket_memory(report: &mut Report, options: &Options) -> io::Result<()> {
    let lists = [("without deflate", contestant::WS), ("with deflate", contestant::WS_DEFLATE)];
    for (how, list) in lists {
        let title = format!("N9: {} idle WebSocket connections {how}, after one echo each", options.idle);
        let columns = format!("goal | {} | times woken in 2 s | CPU ns in 2 s", slope_title(options));
        report.table(&title, &format!("server | bytes/connection | {columns}"));
        for contestant in contestant::present(list, &options.only)? {
            if matches!(contestant.role, Role::FloorAgain | Role::TcpFloor) {
                continue;
            }
            let idle = Idle::measure(&contestant, options)?;
            let goal = match contestant.role.is_ours() {
                true => verdict(idle.bytes, WEBSOCKET_GOAL, 0.0),
                false => String::new(),
            };
            let name = contestant.name;
            let Idle { bytes, slope, woken, cpu_ns, .. } = idle;
            report.line(&format!("{name} | {bytes:.1} | {goal} | {slope:.1} | {woken} | {cpu_ns}"));
            report.keep("N9", name, how, Summary::of([bytes]));
            report.keep("N9", name, &format!("{how}: slope"), Summary::of([slope]));
        }
        report.end();
    }
    Ok(())
}

/// The memory of N21: the same over TLS 1.3.
pub(crate) fn tls_memory(report: &mut Report, options: &Options) -> io::Result<()> {
    let title = format!("N21: {} idle TLS 1.3 connections, after one echo each", options.idle);
    report.table(&title, "server | bytes/connection | goal | times woken in 2 s | CPU ns in 2 s");
    for contestant in contestant::present(contestant::TLS, &options.only)? {
        if contestant.role == Role::TcpFloor {
            continue;
        }
        let idle = Idle::measure(&contestant, options)?;
        let goal = match contestant.role.is_ours() {
            true => verdict(idle.bytes, TLS_GOAL, 0.0),
            false => String::new(),
        };
        let name = contestant.name;
        report.line(&format!("{name} | {:.0} | {goal} | {} | {}", idle.bytes, idle.woken, idle.cpu_ns));
        report.keep("N21", name, "bytes_per_connection", Summary::of([idle.bytes]));
    }
    report.end();
    Ok(())
}

/// N11 inside the engine: what an idle timeout adds to each connection.
fn deadlines(report: &mut Report, options: &Options, without: &Idle) -> io::Result<()> {
    let idle = Idle::measure(&WITH_DEADLINES, options)?;
    let name = WITH_DEADLINES.name;
    let added = idle.bytes - without.bytes;
    report.line(&format!(
        "{name} | {:.1} | {}; a deadline {:.1}: {} | {:.1}; a deadline {:.1} | {} | {} | ",
        idle.bytes,
        verdict(idle.bytes, GOAL, 0.0),
        added,
        verdict(added, DEADLINE_GOAL, 0.0),
        idle.slope,
        idle.slope - without.slope,
        idle.woken,
        idle.cpu_ns
    ));
    report.keep("N11", name, "bytes_per_deadline", Summary::of([added]));
    Ok(())
}

/// What stands in the kernel for each connection, which has both its ends on this machine.
fn kernel(report: &mut Report, idle: &Idle) {
    let caches = machine::SOCKET_CACHES.join(", ");
    match idle.kernel {
        Some(bytes) => {
            report.line(&format!("the kernel, both ends: {caches} | {bytes:.0} | | | | | "));
            report.keep("N8", "kernel", "bytes_per_pair", Summary::of([bytes]));
        }
        None => report.line("the kernel, both ends | not known: only root reads /proc/slabinfo | | | | | "),
    }
}

/// An hour: nothing is due while we look.
const WITH_DEADLINES: Contestant =
    Contestant { name: "wheelhouse, with idle timeouts", arguments: &["--idle-timeout=3600"], ..OURS };

/// Most bytes for a connection's deadline (N11).
const DEADLINE_GOAL: f64 = 28.0;

struct Idle {
    bytes: f64,
    /// Bytes of each connection beyond the first third: what serves all of them, and what was warm before them, is in it
    /// no more.
    slope: f64,
    /// Bytes of the kernel's objects for each, both ends, where that can be seen.
    kernel: Option<f64>,
    woken: u64,
    cpu_ns: u128,
}

impl Idle {
    fn measure(contestant: &Contestant, options: &Options) -> io::Result<Self> {
        let server = Server::start(contestant, options)?;
        // One connection first: code and buffers that serve all of them are no connection's cost.
        server.load(&["echo".into(), "--bursts=1000".into()], options)?;
        let resident = || Ok::<_, io::Error>(machine::resident_bytes(server.pid())? as f64);
        let open = |count: usize| {
            let crowd = server.start_load(&["idle".into(), format!("--connections={count}")], options)?;
            crowd.saw().map(|_| crowd)
        };
        let (few, before, kernel) = (first_third(options), resident()?, machine::socket_objects());
        let crowd = open(few)?;
        let at_few = resident()?;
        let others = open(options.idle - few)?;
        let after = resident()?;
        let kernel = kernel.zip(machine::socket_objects());
        // What follows an answer (a last accept that finds nothing) is over by then.
        thread::sleep(Duration::from_millis(200));
        let (woken, cpu) = (machine::context_switches(server.pid())?, machine::cpu_time(server.pid())?);
        thread::sleep(WATCH);
        let woken = machine::context_switches(server.pid())? - woken;
        let cpu_ns = (machine::cpu_time(server.pid())? - cpu).as_nanos();
        drop((crowd, others));
        server.stop()?;
        let bytes = (after - before) / options.idle as f64;
        let slope = (after - at_few) / (options.idle - few) as f64;
        let kernel = kernel.map(|(before, after)| (after as f64 - before as f64) / options.idle as f64);
        Ok(Self { bytes, slope, kernel, woken, cpu_ns })
    }
}

fn first_third(options: &Options) -> usize {
    options.idle / 3
}

fn slope_title(options: &Options) -> String {
    format!("slope from {} on", first_third(options))
}
