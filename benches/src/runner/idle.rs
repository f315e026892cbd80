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
    report.table(&title, "server | bytes/connection | goal | times woken in 2 s | CPU ns in 2 s | goal");
    let once = [Role::FloorAgain, Role::ReusePort];
    for contestant in all.iter().filter(|one| !once.contains(&one.role)) {
        let idle = Idle::measure(contestant, options)?;
        let (memory_goal, quiet_goal) = match contestant.role.is_ours() {
            false => (String::new(), ""),
            true if idle.woken == 0 => (verdict(idle.bytes, GOAL, 0.0), "0: met"),
            true => (verdict(idle.bytes, GOAL, 0.0), "0: missed"),
        };
        report.line(&format!(
            "{} | {:.1} | {memory_goal} | {} | {} | {quiet_goal}",
            contestant.name, idle.bytes, idle.woken, idle.cpu_ns
        ));
        report.keep("N8", contestant.name, "bytes_per_connection", Summary::of([idle.bytes]));
        report.keep("N15", contestant.name, "woken", Summary::of([idle.woken as f64]));
        if contestant.role == Role::HandedOver {
            deadlines(report, options, idle.bytes)?;
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
        report.table(&title, "server | bytes/connection | goal | times woken in 2 s | CPU ns in 2 s");
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
            report.line(&format!("{name} | {:.1} | {goal} | {} | {}", idle.bytes, idle.woken, idle.cpu_ns));
            report.keep("N9", name, how, Summary::of([idle.bytes]));
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
fn deadlines(report: &mut Report, options: &Options, without: f64) -> io::Result<()> {
    let idle = Idle::measure(&WITH_DEADLINES, options)?;
    let name = WITH_DEADLINES.name;
    let added = idle.bytes - without;
    report.line(&format!(
        "{name} | {:.1} | {}; a deadline {:.1}: {} | {} | {} | ",
        idle.bytes,
        verdict(idle.bytes, GOAL, 0.0),
        added,
        verdict(added, DEADLINE_GOAL, 0.0),
        idle.woken,
        idle.cpu_ns
    ));
    report.keep("N11", name, "bytes_per_deadline", Summary::of([added]));
    Ok(())
}

/// An hour: nothing is due while we look.
const WITH_DEADLINES: Contestant =
    Contestant { name: "wheelhouse, with idle timeouts", arguments: &["--idle-timeout=3600"], ..OURS };

/// Most bytes for a connection's deadline (N11).
const DEADLINE_GOAL: f64 = 28.0;

struct Idle {
    bytes: f64,
    woken: u64,
    cpu_ns: u128,
}

impl Idle {
    fn measure(contestant: &Contestant, options: &Options) -> io::Result<Self> {
        let server = Server::start(contestant, options)?;
        // One connection first: code and buffers that serve all of them are no connection's cost.
        server.load(&["echo".into(), "--bursts=1000".into()], options)?;
        let before = machine::resident_bytes(server.pid())?;
        let count = format!("--connections={}", options.idle);
        let crowd = server.start_load(&["idle".into(), count], options)?;
        crowd.saw()?;
        let after = machine::resident_bytes(server.pid())?;
        // What follows an answer (a last accept that finds nothing) is over by then.
        thread::sleep(Duration::from_millis(200));
        let (woken, cpu) = (machine::context_switches(server.pid())?, machine::cpu_time(server.pid())?);
        thread::sleep(WATCH);
        let woken = machine::context_switches(server.pid())? - woken;
        let cpu_ns = (machine::cpu_time(server.pid())? - cpu).as_nanos();
        drop(crowd);
        server.stop()?;
        let grown = after as f64 - before as f64;
        Ok(Self { bytes: grown / options.idle as f64, woken, cpu_ns })
    }
}
