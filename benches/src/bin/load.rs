//! The load generator: makes one pattern of traffic and prints what it saw as one line of JSON.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use wheelhouse_benches::load::{
    Limit, Over, abuse, broadcast, churn, disturbed, echo, flood, handshakes, idle, knock, overload, quiet,
    storm, waves,
};
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
    Churn(Churn),
    /// Quiet connections alone, alone again, and beside one that floods.
    Flood {
        #[command(flatten)]
        quiet: Quiet,
        /// Which of the three comes first: 0 to 2.
        #[arg(long, default_value_t = 0)]
        first: usize,
    },
    /// Quiet connections alone, alone again, and beside a crowd that is turned away.
    Overload {
        /// Where the crowd connects.
        #[arg(long)]
        crowd: SocketAddr,
        #[arg(long)]
        storm: overload::Storm,
        #[command(flatten)]
        disturbed: Disturbed,
        /// How many the crowd are.
        #[arg(long)]
        count: usize,
        /// How many of them must have been closed before the storm is over.
        #[arg(long)]
        gone: usize,
    },
    /// Quiet WebSocket connections alone, alone again, and beside others that abuse the protocols.
    Abuse {
        /// Where the server speaks TLS.
        #[arg(long)]
        wss: SocketAddr,
        #[arg(long)]
        kind: abuse::Kind,
        #[command(flatten)]
        disturbed: Disturbed,
    },
    /// Full handshakes of TLS on connections that are there before.
    Handshakes {
        /// Before measuring.
        #[arg(long, default_value_t = 100)]
        warm_up: usize,
        #[arg(long, default_value_t = 300)]
        count: usize,
    },
    /// Opens connections and holds them until standard input closes.
    Idle {
        #[arg(long)]
        connections: usize,
        /// What they speak; one that comes at once speaks TCP.
        #[arg(long, default_value = "tcp")]
        over: Over,
        /// Bytes of the one echo on each.
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// All at once, none waiting for another.
        #[arg(long)]
        at_once: bool,
    },
    /// Makes so many sockets; when standard input closes all of them connect at once, with one echo each.
    Knock {
        #[arg(long)]
        connections: usize,
        /// How many knock in other processes, from other source addresses.
        #[arg(long, default_value_t = 0)]
        first: usize,
    },
    /// One WebSocket message at a time, from one of the connections to all of them.
    Broadcast {
        /// Connections that hear it, the sender among them.
        #[arg(long)]
        connections: usize,
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// Messages before measuring.
        #[arg(long, default_value_t = 0)]
        warm_up: u64,
        /// Milliseconds to measure.
        #[arg(long, default_value_t = 1_000)]
        millis: u64,
    },
    /// Opens connections to a server that frames its messages, every second one a burden, and holds them until
    /// standard input closes; then sees whether the others are served yet.
    Storm {
        #[arg(long)]
        connections: usize,
    },
}

/// Quiet connections, and three stretches in which they are measured.
#[derive(Args)]
struct Quiet {
    #[arg(long, default_value_t = 100)]
    quiet: usize,
    /// Milliseconds from one message of a quiet connection to its next.
    #[arg(long, default_value_t = 10)]
    every: u64,
    /// Milliseconds of each of the three stretches.
    #[arg(long, default_value_t = 1_000)]
    stretch: u64,
}

impl Quiet {
    fn plan(&self, to: SocketAddr) -> quiet::Plan {
        let (every, stretch) = (Duration::from_millis(self.every), Duration::from_millis(self.stretch));
        quiet::Plan { to, count: self.quiet, every, stretch }
    }
}

/// Quiet connections that are disturbed.
#[derive(Args)]
struct Disturbed {
    #[command(flatten)]
    quiet: Quiet,
    /// What disturbs them comes last, and not between the other two stretches.
    #[arg(long)]
    last: bool,
}

impl Disturbed {
    fn plan(&self, to: SocketAddr) -> disturbed::Plan {
        disturbed::Plan { quiet: self.quiet.plan(to), is_last: self.last }
    }
}

#[derive(Args)]
struct Echo {
    /// What the connections speak.
    #[arg(long, default_value = "tcp")]
    over: Over,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    #[arg(long, default_value_t = 64)]
    size: usize,
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// All connections send at once, and all have their answer before they send again: so it is over TLS in any case.
    #[arg(long)]
    waves: bool,
    /// Say so before measuring and after, and wait for a line each time.
    #[arg(long)]
    waits: bool,
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

#[derive(Args)]
struct Churn {
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Connections at a time, for each thread.
    #[arg(long, default_value_t = 64)]
    concurrent: usize,
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Connections of each thread before measuring.
    #[arg(long, default_value_t = 2_000)]
    warm_up: u64,
    /// Connections of each thread to measure.
    #[arg(long, default_value_t = 20_000)]
    count: u64,
    /// Milliseconds to measure, instead of a count.
    #[arg(long)]
    millis: Option<u64>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    machine::raise_file_limit()?;
    options.cpu.map_or(Ok(()), machine::pin)?;
    let (to, server) = (options.to, options.server_pid);
    match options.pattern {
        Pattern::Echo(Echo { over, connections, size, depth, waves, waits, warm_up, bursts, millis }) => {
            let measure = bursts.map_or(Limit::Time(Duration::from_millis(millis)), Limit::Count);
            let warm_up = Limit::Count(warm_up);
            let plan = echo::Plan { to, server, over, connections, size, depth, warm_up, measure, waits };
            let outcome = if waves || over.is_sealed() { waves::run(&plan) } else { echo::run(&plan) }?;
            println!("{}", outcome.to_json());
        }
        Pattern::Churn(Churn { threads, concurrent, size, warm_up, count, millis }) => {
            let time = |millis| Limit::Time(Duration::from_millis(millis));
            let measure = millis.map_or(Limit::Count(count), time);
            let warm_up = Limit::Count(warm_up);
            let plan = churn::Plan { to, server, threads, concurrent, size, warm_up, measure };
            println!("{}", churn::run(&plan)?.to_json());
        }
        Pattern::Flood { quiet, first } => {
            let plan = flood::Plan { quiet: quiet.plan(to), first };
            println!("{}", flood::run(&plan)?.to_json());
        }
        Pattern::Overload { crowd, storm, disturbed, count, gone } => {
            let plan = overload::Plan { disturbed: disturbed.plan(to), crowd, storm, count, gone };
            println!("{}", overload::run(&plan)?);
        }
        Pattern::Broadcast { connections, size, warm_up, millis } => {
            let (warm_up, measure) = (Limit::Count(warm_up), Limit::Time(Duration::from_millis(millis)));
            let plan = broadcast::Plan { to, server, connections, size, warm_up, measure };
            println!("{}", broadcast::run(&plan)?.to_json());
        }
        Pattern::Abuse { wss, kind, disturbed } => {
            let plan = abuse::Plan { disturbed: disturbed.plan(to), wss, kind };
            println!("{}", abuse::run(&plan)?);
        }
        Pattern::Handshakes { warm_up, count } => {
            println!("{}", handshakes::run(&handshakes::Plan { to, server, warm_up, count })?);
        }
        Pattern::Idle { connections, over, size, .. } if over.is_sealed() => {
            let held = idle::open_sealed(to, over, connections, size)?;
            println!("{}", json!({ "open": held.len() }));
            until_input_closes()?;
        }
        Pattern::Idle { connections, over, size, at_once } => {
            let held = match at_once {
                true => echo::open_at_once(to, connections),
                false => idle::open(to, over, connections, size),
            }?;
            println!("{}", json!({ "open": held.len() }));
            until_input_closes()?;
        }
        Pattern::Knock { connections, first } => {
            let crowd = knock::Crowd::gather(to, first, connections)?;
            println!("{}", json!({ "ready": connections }));
            until_input_closes()?;
            println!("{}", crowd.knock()?.to_json());
        }
        Pattern::Storm { connections } => {
            let mut storm = storm::Storm::open(to, connections)?;
            let (open, burdens) = storm.count();
            println!("{}", json!({ "open": open, "burdens": burdens }));
            until_input_closes()?;
            println!("{}", json!({ "served": storm.ask_again()? }));
        }
    }
    Ok(())
}

fn until_input_closes() -> io::Result<()> {
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
