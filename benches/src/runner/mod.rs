//! The runner: starts servers and loads by turns, and puts their figures side by side.
//!
//! Machines drift, so nothing is compared across time: in every round each server has one short window, the
//! floor's beside the others', and what is shown is the median of the rounds' ratios. The floor runs twice
//! in each round: what separates it from itself is the least that a difference must exceed to be one.

mod abuse;
mod child;
mod contestant;
mod counted;
mod fairness;
mod idle;
mod knock;
mod lines;
mod overload;
mod reactors;
mod report;
mod soak;
mod storm;
mod summary;
mod tls;
mod traffic;
mod turns;
mod watched;
mod websocket;

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use clap::{Parser, ValueEnum};

use self::report::Report;
use crate::load::Over;
use crate::machine;

/// Command line of the runner.
#[derive(Parser, Debug)]
#[command(about = "Runs the servers side by side and prints a table for each row of goals")]
pub struct Options {
    /// Rows to run; all of them but the churn, the overload and the abuse if none is named.
    rows: Vec<Row>,
    /// Windows for each server in the rows of traffic.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Milliseconds in a window.
    #[arg(long, default_value_t = 300)]
    millis: u64,
    /// Servers to run besides the floor; may be given more than once. All if absent.
    #[arg(long)]
    only: Vec<String>,
    /// Connections in the rows of idle ones and of storms. A process here may open 20,000 files.
    #[arg(long, default_value_t = 15_000)]
    idle: usize,
    /// Seconds of churn.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Core for the servers.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// Core for the load.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Niceness of the servers and the load: -20 where others use the machine too, and the user may.
    #[arg(long, allow_negative_numbers = true)]
    nice: Option<i32>,
    /// What the rows that count (n13, n19, instructions) speak.
    #[arg(long, default_value = "tcp")]
    over: Over,
    /// Also write the figures here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A row of the goals, or of several that one run answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// Echo of 64 B, 1,000 connections; N20 (p99) comes with it.
    N1,
    /// Echo of 64 B, 100 connections, 16 in flight.
    N2,
    /// Echo of 16 KiB, 100 connections.
    N3,
    /// Connect, one echo, close.
    N4,
    /// WebSocket echo of 64 B, 1,000 connections; N20 (p99) comes with it.
    N5,
    /// WebSocket echo of 64 B, 100 connections, 16 in flight.
    N6,
    /// WebSocket echo of 16 KiB, 100 connections.
    N7,
    /// Memory of idle connections; N15 (system calls of an idle engine) comes with it.
    #[value(alias = "n15")]
    N8,
    /// Memory of idle WebSocket connections, without deflate and with it.
    N9,
    /// Memory after two storms of connections.
    N10,
    /// System calls per message, by strace.
    N13,
    /// Broadcast of 64 B to 500 and to 5,000 WebSocket connections.
    N14,
    /// Quiet connections while one floods.
    N16,
    /// Two sub-reactors against one: instructions per message by callgrind, shared cache lines by lackey.
    N17,
    /// Allocations per message.
    N19,
    /// Memory of idle TLS 1.3 connections, and allocations per message over TLS.
    N21,
    /// Longest turn of a reactor in a storm.
    N22,
    /// WebSocket echo of 1 KiB of JSON, compressed.
    N23,
    /// WebSocket echo of 256 KiB and of 1 MiB.
    N24,
    /// TLS: CPU of a handshake, and of an echo of 64 B and 16 KiB, beside rustls in memory.
    N25,
    /// User instructions per message, by callgrind.
    Instructions,
    /// 19,800 that connect at once, into a short queue and into a long one.
    Storm,
    /// Quiet connections while crowds are turned away: half-sent messages, peers that never read, tricklers, connects
    /// beyond the cap. Only if named.
    Overload,
    /// Quiet WebSocket connections beside fourteen kinds of abuse: floods, bombs, what swells, slow and endless heads, broken frames,
    /// handshakes that stall or storm, resets, readers that never read. Only if named.
    Abuse,
    /// Connect, one echo, close, for minutes: fails where something does not come back. Only if named.
    Churn,
}

/// Runs the rows asked for and prints their tables.
///
/// # Errors
///
/// A server that would not start, a load that failed, a file that could not be written.
pub fn run(options: &Options) -> io::Result<()> {
    let all_but_the_long_ones = || {
        let is_short = |row: &Row| !matches!(row, Row::Churn | Row::Overload | Row::Abuse);
        Row::value_variants().iter().copied().filter(is_short).collect()
    };
    let rows = if options.rows.is_empty() { all_but_the_long_ones() } else { options.rows.clone() };
    println!("{}; {}", machine::describe(), machine::busyness());
    println!();
    let mut report = Report::new();
    for row in rows {
        run_row(row, options, &mut report)?;
    }
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", report.into_json()))?;
    }
    Ok(())
}

fn run_row(row: Row, options: &Options, report: &mut Report) -> io::Result<()> {
    let window = Duration::from_millis(options.millis);
    let counts = matches!(row, Row::N13 | Row::N19 | Row::Instructions);
    let list = match options.over {
        Over::Ws if counts => contestant::WS,
        Over::WsDeflate if counts => contestant::WS_DEFLATE,
        Over::Tls if counts => contestant::TLS,
        Over::Wss if counts => contestant::WSS,
        _ => contestant::TCP,
    };
    let all = &contestant::present(list, &options.only)?[..];
    match row {
        Row::N1 => traffic::echo(report, options, all, &traffic::Echo::n1(window)),
        Row::N2 => traffic::echo(report, options, all, &traffic::Echo::n2(window)),
        Row::N3 => traffic::echo(report, options, all, &traffic::Echo::n3(window)),
        Row::N4 => traffic::churn(report, options, all),
        Row::N5 => websocket::n5(report, options),
        Row::N6 => websocket::n6(report, options),
        Row::N7 => websocket::n7(report, options),
        Row::N8 => idle::memory(report, options, all),
        Row::N9 => idle::websocket_memory(report, options),
        Row::N10 => storm::memory(report, options),
        Row::N13 => counted::system_calls(report, options, all),
        Row::N14 => websocket::n14(report, options),
        Row::N16 => fairness::flood(report, options, all),
        Row::N17 => reactors::two_against_one(report, options),
        Row::N19 => counted::allocations(report, options, all),
        Row::N21 => tls::n21(report, options),
        Row::N22 => turns::longest(report, options),
        Row::N23 => websocket::n23(report, options),
        Row::N24 => websocket::n24(report, options),
        Row::Storm => knock::storms(report, options),
        Row::N25 => tls::n25(report, options),
        Row::Overload => overload::quiet_beside_crowds(report, options),
        Row::Abuse => abuse::quiet_beside_abuse(report, options),
        Row::Churn => soak::churn(report, options),
        Row::Instructions => counted::instructions(report, options, all),
    }
}
