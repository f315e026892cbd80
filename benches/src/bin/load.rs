//! The load generator: makes one pattern of traffic and prints what it saw as one line of JSON.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use wheelhouse_benches::load::{churn, echo, flood, idle};
use wheelhouse_benches::machine;

#[derive(Parser)]
#[command(about = "Makes one pattern of traffic against an echo server; prints a line of JSON")]
struct Options {
    /// Server to load.
    #[arg(long)]
    to: SocketAddr,
    /// Core to run on; anywhere if absent.
    #[arg(long)]
    cpu: Option<usize>,
    /// Process of the server, to read its CPU time before and after.
    #[arg(long)]
    server_pid: Option<u32>,
    #[command(subcommand)]
    pattern: Pattern,
}

#[derive(Subcommand)]
enum Pattern {
    /// Every connection keeps a burst of messages in flight.
    Echo(Echo),
    /// Connect, one echo, close.
    Churn {
        #[arg(long, default_value_t = 64)]
        concurrent: usize,
        #[arg(long, default_value_t = 64)]
        size: usize,
        #[arg(long, default_value_t = 2_000)]
        warm_up: u64,
        #[arg(long, default_value_t = 20_000)]
        count: u64,
    },
    /// Quiet connections alone, then beside one that floods.
    Flood {
        #[arg(long, default_value_t = 100)]
        quiet: usize,
        /// Milliseconds from one message of a quiet connection to its next.
        #[arg(long, default_value_t = 10)]
        every: u64,
        /// Milliseconds of each half.
        #[arg(long, default_value_t = 1_000)]
        half: u64,
    },
    /// Opens connections and holds them until standard input closes.
    Idle {
        #[arg(long)]
        connections: usize,
    },
}

#[derive(Args)]
struct Echo {
    #[arg(long, default_value_t = 1)]
    connections: usize,
    #[arg(long, default_value_t = 64)]
    size: usize,
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Bursts on each connection before measuring.
    #[arg(long, default_value_t = 0)]
    warm_up: u64,
    /// Bursts on each connection to measure, instead of a time.
    #[arg(long)]
    bursts: Option<u64>,
    /// Milliseconds to measure.
    #[arg(long, default_value_t = 1_000)]
    millis: u64,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    machine::raise_file_limit()?;
    options.cpu.map_or(Ok(()), machine::pin)?;
    let (to, server) = (options.to, options.server_pid);
    match options.pattern {
        Pattern::Echo(Echo { connections, size, depth, warm_up, bursts, millis }) => {
            let time = echo::Limit::Time(Duration::from_millis(millis));
            let measure = bursts.map_or(time, echo::Limit::Bursts);
            let warm_up = echo::Limit::Bursts(warm_up);
            let plan = echo::Plan { to, server, connections, size, depth, warm_up, measure };
            println!("{}", echo::run(&plan)?.to_json());
        }
        Pattern::Churn { concurrent, size, warm_up, count } => {
            let plan = churn::Plan { to, server, concurrent, size, warm_up, count };
            println!("{}", churn::run(&plan)?.to_json());
        }
        Pattern::Flood { quiet, every, half } => {
            let (every, half) = (Duration::from_millis(every), Duration::from_millis(half));
            println!("{}", flood::run(&flood::Plan { to, quiet, every, half })?.to_json());
        }
        Pattern::Idle { connections } => {
            let held = idle::open(to, connections)?;
            println!("{}", json!({ "open": held.len() }));
            io::stdin().read_to_end(&mut Vec::new())?;
        }
    }
    Ok(())
}
