//! What can be asked for.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use wheelhouse_examples::{AnyError, BadUsage, seconds};

use crate::plan::{Transport, Wanted};

/// As many connections as the machine allows, up to a million and more: what they cost, how fast they come, how long a few
/// of them that talk wait while the others are silent, and what memory comes back.
#[derive(Debug, Parser)]
#[command(name = "million")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts the servers and the clients, and conducts them
    Run(Run),
    /// An echo server; what to do it reads on its standard input, a line at a time, and it ends with it
    Serve(Serve),
    /// A client that holds connections; what to do it reads on its standard input, as `serve`
    Hold(Hold),
}

/// Exit code: 0 when every connection that was planned was made, and every byte was as it should be; 1 when not; 2 for bad
/// usage; 130 when interrupted. Of an option that is given twice the last one counts.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub(crate) struct Run {
    /// Connections to make, or `all` for as many as the machine allows
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = connections)]
    pub(crate) connections: Amount,
    /// What to connect over
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    pub(crate) to: Transport,
    /// Where to stay and measure on the way up; by default at a tenth and at a half
    #[arg(long, value_name = "N,N..", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) at: Vec<u64>,
    /// How long to stay silent there, and again as long with some of them talking
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) hold: Duration,
    /// How many of them talk, chosen at random
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = percent)]
    pub(crate) live: f64,
    /// How often each of these sends a message
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) every: Duration,
    /// How often all come and all but one go; after the first time they come at once, and are not stayed with
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10))]
    pub(crate) rounds: u64,
    /// Have the server ping WebSockets that have been silent for so long
    #[arg(long, value_name = "off|SECONDS", default_value = "off", value_parser = heartbeat)]
    pub(crate) heartbeat: Heartbeat,
    /// Reactors of each server; by default one where there are several servers, otherwise one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) reactors: Option<u64>,
    /// Have each server turn away who comes beyond so many; they are not in the plan
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,
    /// The most processes of each kind, for a process may open so many files and no more
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) processes: u64,
    /// Time for all of it: then it ends with what there is
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub(crate) within: Duration,
    /// Write a page with plots, complete in itself
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Write the results as JSON to a file, or in one line to standard output (the table then goes to standard error)
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub(crate) json: Option<PathBuf>,
    /// Only tell what would be done, and what stops it
    #[arg(long)]
    pub(crate) plan: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen: tcp, tls, ws or wss://HOST:PORT, unix:/PATH
    #[arg(long, value_name = "URL")]
    pub(crate) listen: String,
    /// Sub-reactors; by default one for each core
    #[arg(long, value_name = "N")]
    pub(crate) reactors: Option<usize>,
    /// Ping WebSockets that have been silent for so long
    #[arg(long, value_name = "off|SECONDS", default_value = "off", value_parser = heartbeat)]
    pub(crate) heartbeat: Heartbeat,
    /// Turn away who comes beyond so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Hold {
    /// The servers, which take turns: tcp, tls, ws or wss://127.0.0.1:PORT, unix:/PATH
    #[arg(long, value_name = "URL", required = true)]
    pub(crate) to: Vec<String>,
    /// The number of its first connection, by which its bytes differ from those of other clients
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) first: u32,
    /// The most connections that it will be asked for
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) most: u32,
    /// The number of its first source address
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) source: u64,
    /// Source addresses that it takes turns with; 0 for none of its own choice
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) sources: u64,
    /// Connects under way at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) window: usize,
}

/// How many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    All,
    Exactly(u64),
}

/// How long a peer may be silent before it is pinged; nothing when it never is.
pub(crate) type Heartbeat = Option<Duration>;

impl Run {
    pub(crate) fn wanted(&self) -> Wanted {
        let connections = match self.connections {
            Amount::All => None,
            Amount::Exactly(n) => Some(n),
        };
        Wanted { transport: self.to, connections, processes: self.processes, reactors: self.reactors }
    }

    /// What can be known to be wrong before anything is looked at.
    pub(crate) fn check(&self) -> Result<(), AnyError> {
        bounds("--hold", self.hold, 0.1, 3600.0)?;
        bounds("--every", self.every, 0.001, 3600.0)?;
        bounds("--within", self.within, 1.0, 86_400.0)?;
        if let Some(every) = self.heartbeat {
            bounds("--heartbeat", every, 0.1, 3600.0)?;
            if !self.to.is_websocket() {
                return bad("--heartbeat: only with --to ws or wss, for bytes have no pings".to_owned());
            }
        }
        if !self.at.is_sorted_by(|a, b| a < b) {
            return bad("--at: expected numbers that rise".to_owned());
        }
        if let (Amount::Exactly(n), Some(last)) = (self.connections, self.at.last())
            && *last > n
        {
            return bad(format!("--at {last}: more than --connections {n}"));
        }
        Ok(())
    }

    /// Where to stay on the way to `connections`, which is the last of these places.
    pub(crate) fn plateaus(&self, connections: u64) -> Vec<u64> {
        let wanted = match self.at.is_empty() {
            true => vec![connections / 10, connections / 2],
            false => self.at.clone(),
        };
        let mut plateaus: Vec<u64> = wanted.into_iter().filter(|at| (1..connections).contains(at)).collect();
        plateaus.push(connections);
        plateaus.dedup();
        plateaus
    }
}

fn bounds(option: &str, value: Duration, least: f64, most: f64) -> Result<(), AnyError> {
    let seconds = value.as_secs_f64();
    match (least..=most).contains(&seconds) {
        true => Ok(()),
        false => bad(format!("{option} {seconds}: expected {least} to {most} seconds")),
    }
}

fn connections(text: &str) -> Result<Amount, String> {
    if text == "all" {
        return Ok(Amount::All);
    }
    match text.parse() {
        Ok(n @ 1..=16_777_216) => Ok(Amount::Exactly(n)),
        _ => Err("expected `all`, or a number from 1 to 16777216".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("expected 0% to 100%".to_owned()),
    }
}

fn heartbeat(text: &str) -> Result<Heartbeat, String> {
    match text {
        "off" => Ok(None),
        _ => seconds(text).map(Some).map_err(|why| format!("expected `off`, or seconds: {why}")),
    }
}

impl ValueEnum for Transport {
    fn value_variants<'a>() -> &'a [Transport] {
        &[Transport::Tcp, Transport::Tls, Transport::Unix, Transport::Ws, Transport::Wss]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

fn bad<T>(why: String) -> Result<T, AnyError> {
    Err(BadUsage(why).into())
}
