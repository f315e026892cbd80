//! An echo server with the engine's main options, to be put under load: see `stress`.
//!
//! Shows how a program's options become a [`Builder`](wheelhouse::Builder), what [`Handle::stats`](wheelhouse::Handle::stats)
//! has counted when the engine has stopped, and how little the handler has to do with either.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use wheelhouse::{
    Action, Conn, Deflate, Engine, Framing, Handler, Listener, Message, Reactor, Stats, Tls, WebSocket,
};
use wheelhouse_examples::{
    AnyError, BadUsage, Certificate, end, grouped, is_websocket, listener, say, seconds, serve_at,
};

/// Sends back whatever it is sent, until SIGINT or SIGTERM.
#[derive(Parser)]
struct Options {
    /// Where to listen: tcp, tls, ws or wss://HOST:PORT, unix:/PATH or unix:@NAME; may be given several times
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9000")]
    listen: Vec<String>,
    #[command(flatten)]
    certificate: Certificate,
    /// Sub-reactors; by default as many as there are cores
    #[arg(long, value_name = "N")]
    reactors: Option<usize>,
    /// Let each sub-reactor listen for itself (SO_REUSEPORT)
    #[arg(long)]
    reuse_port: bool,
    /// Keep each sub-reactor on a core of its own
    #[arg(long)]
    pin: bool,
    /// Echo lines of at most MAX bytes instead of raw bytes, where no WebSocket is spoken
    #[arg(long, value_name = "MAX")]
    lines: Option<usize>,
    /// Compress the messages of WebSockets where the peer can do so too
    #[arg(long)]
    deflate: bool,
    /// The largest message of a WebSocket; 1 MiB by default
    #[arg(long, value_name = "BYTES")]
    max_message: Option<usize>,
    /// The largest frame of one; by default as large as the message
    #[arg(long, value_name = "BYTES")]
    max_frame: Option<usize>,
    /// The most fragments of one; 1,024 by default
    #[arg(long, value_name = "N")]
    max_fragments: Option<usize>,
    /// Time for the TLS handshake and to ask for a WebSocket, together; 10 s by default
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    handshake_timeout: Option<Duration>,
    /// Close a connection on which nothing comes or goes for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle: Option<Duration>,
    /// Shed connections beyond this number
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
}

/// What a connection may have queued, at the least and at the most.
const LEAST_LIMIT: usize = 4 << 20;
const MOST_LIMIT: usize = 64 << 20;

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
    let handle = serve_at(engine, &options.listen)?;
    summarize(&handle.stats(), start.elapsed());
    Ok(())
}

fn engine(options: &Options) -> Result<Engine<Echo>, AnyError> {
    check(options)?;
    let mut builder = Engine::builder().reuse_port(options.reuse_port).pin(options.pin);
    let tls = options.certificate.tls(&options.listen)?;
    for url in &options.listen {
        builder = builder.listen(echoing(options, url, tls.as_ref()));
    }
    if let Some(time) = options.handshake_timeout {
        builder = builder.handshake_timeout(time);
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
    Ok(builder.build(|_| Echo)?)
}

/// What would do nothing is told, or a load would measure something else than was meant.
fn check(options: &Options) -> Result<(), AnyError> {
    let limits = [options.max_message, options.max_frame, options.max_fragments];
    let is_limited = limits.iter().any(Option::is_some);
    if (options.deflate || is_limited) && !options.listen.iter().any(|url| is_websocket(url)) {
        let told =
            "--deflate, --max-message, --max-frame and --max-fragments: only with a --listen ws:// or wss://";
        return Err(BadUsage(told.to_owned()).into());
    }
    Ok(())
}

fn echoing(options: &Options, url: &str, tls: Option<&Tls>) -> Listener {
    let listener = listener(url, tls);
    if !is_websocket(url) {
        return match options.lines {
            Some(max) => listener.framing(Framing::lines(max)),
            None => listener,
        };
    }
    let mut socket = WebSocket::new();
    if options.deflate {
        socket = socket.deflate(Deflate::new());
    }
    if let Some(bytes) = options.max_message {
        socket = socket.max_message(bytes);
    }
    if let Some(bytes) = options.max_frame {
        socket = socket.max_frame(bytes);
    }
    if let Some(fragments) = options.max_fragments {
        socket = socket.max_fragments(fragments);
    }
    // A message is sent in one piece: the queue has room for two of the largest.
    let limit = (2 * options.max_message.unwrap_or(0)).clamp(LEAST_LIMIT, MOST_LIMIT);
    listener.framing(Framing::websocket(socket)).water_marks(64 << 10, 256 << 10, limit)
}

fn summarize(stats: &Stats, ran: Duration) {
    let total = stats.total();
    let rate = total.messages_in as f64 / ran.as_secs_f64();
    say(format_args!("connections  {} accepted, {} shed", grouped(total.accepted), grouped(total.shed)));
    say(format_args!("messages     {} ({} per second)", grouped(total.messages_in), grouped(rate as u64)));
    say(format_args!("bytes        {} in, {} out", grouped(total.bytes_in), grouped(total.bytes_out)));
    say(format_args!("time         {:.1} s", ran.as_secs_f64()));
}
