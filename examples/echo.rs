//! An echo server with the engine's main options, to be put under load: see `stress`.
//!
//! Shows how a program's options become a [`Builder`](wheelhouse::Builder), what [`Handle::stats`](wheelhouse::Handle::stats)
//! has counted when the engine has stopped, and how little the handler has to do with either.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use wheelhouse::{Action, Conn, Engine, Framing, Handler, Listener, Message, Reactor, Stats};
use wheelhouse_examples::{AnyError, end, grouped, say, seconds, serve};

/// Sends back whatever it is sent, until SIGINT or SIGTERM.
#[derive(Parser)]
struct Options {
    /// Where to listen: tcp://HOST:PORT, unix:/PATH or unix:@NAME; may be given several times
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9000")]
    listen: Vec<String>,
    /// Sub-reactors; by default as many as there are cores
    #[arg(long, value_name = "N")]
    reactors: Option<usize>,
    /// Let each sub-reactor listen for itself (SO_REUSEPORT)
    #[arg(long)]
    reuse_port: bool,
    /// Keep each sub-reactor on a core of its own
    #[arg(long)]
    pin: bool,
    /// Echo lines of at most MAX bytes instead of raw bytes
    #[arg(long, value_name = "MAX")]
    lines: Option<usize>,
    /// Close a connection on which nothing comes or goes for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle: Option<Duration>,
    /// Shed connections beyond this number
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
}

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        conn.send(message);
        Action::Continue
    }

    /// Who is told to stop says goodbye to everybody, and is done when they are gone.
    fn on_stopping(&mut self, reactor: &mut Reactor<'_>, _: Instant) {
        reactor.finish_all();
    }
}

fn main() -> ExitCode {
    end(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), AnyError> {
    let engine = engine(options)?;
    let start = Instant::now();
    let handle = serve(engine)?;
    summarize(&handle.stats(), start.elapsed());
    Ok(())
}

fn engine(options: &Options) -> wheelhouse::Result<Engine<Echo>> {
    let mut builder = Engine::builder().reuse_port(options.reuse_port).pin(options.pin);
    for url in &options.listen {
        let listener = Listener::new(url);
        builder = builder.listen(match options.lines {
            Some(max) => listener.framing(Framing::lines(max)),
            None => listener,
        });
    }
    if let Some(reactors) = options.reactors {
        builder = builder.reactors(reactors);
    }
    if let Some(idle) = options.idle {
        builder = builder.idle_timeout(idle);
    }
    if let Some(connections) = options.max_connections {
        builder = builder.max_connections(connections);
    }
    builder.build(|_| Echo)
}

fn summarize(stats: &Stats, ran: Duration) {
    let total = stats.total();
    let rate = total.messages_in as f64 / ran.as_secs_f64();
    say(format_args!("connections  {} accepted, {} shed", grouped(total.accepted), grouped(total.shed)));
    say(format_args!("messages     {} ({} per second)", grouped(total.messages_in), grouped(rate as u64)));
    say(format_args!("bytes        {} in, {} out", grouped(total.bytes_in), grouped(total.bytes_out)));
    say(format_args!("time         {:.1} s", ran.as_secs_f64()));
}
