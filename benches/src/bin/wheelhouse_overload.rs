//! The engine with two listeners: one echoes, the other is for a crowd that behaves badly, whose messages have their
//! length in front and are broadcast to all of them. Its bounds are what the command line says.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Parser;
use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use wheelhouse::{
    Action, Audience, Builder, Bytes, Closed, Conn, Framing, Handle, Handler, LengthDelimited, Listener,
    ListenerId, Message, Policy, Reactor, TimerKind,
};
use wheelhouse_benches::turns::{Look, Watch};
use wheelhouse_benches::{engine, server};

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    engine: engine::Options,
    /// Bytes of buffers in all; the default if absent.
    #[arg(long)]
    buffer_memory: Option<usize>,
    /// Bytes that one of the crowd may leave unread before it is closed; the default, and not closed, if absent.
    #[arg(long)]
    limit: Option<usize>,
    /// Bytes in a second that a peer must move.
    #[arg(long)]
    minimum_rate: Option<usize>,
    /// Connections there may be.
    #[arg(long)]
    most: Option<usize>,
    /// The kernel's buffer for what a peer does not read, in bytes; the kernel's choice if absent.
    #[arg(long)]
    send_buffer: Option<usize>,
}

/// The second listener.
const CROWD: ListenerId = ListenerId(1);

/// Turns are looked at so often, whether or not anything else happens.
const EVERY: Duration = Duration::from_millis(1);
const LOOK: TimerKind = TimerKind(1);

/// What the runner asks for.
#[derive(Default)]
struct Seen {
    /// How many of the crowd were closed, by reason.
    reasons: BTreeMap<String, u64>,
    /// How long turns took.
    watch: Watch,
}

struct Host {
    seen: Arc<Mutex<Seen>>,
    handle: Handle,
}

impl Host {
    fn look(&mut self, reactor: &Reactor<'_>) {
        let now = reactor.now();
        let handle = &self.handle;
        lock(&self.seen).watch.look(now, || {
            let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
            let turns = handle.stats().reactors.first().map_or(0, |counters| counters.turns);
            Look { begun: now, cpu, turns }
        });
    }
}

impl Handler for Host {
    type Session = ();

    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        reactor.set_timer(LOOK, EVERY);
    }

    fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
        self.look(reactor);
        reactor.set_timer(timer, EVERY);
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        self.look(conn.reactor());
        if conn.listener() == Some(CROWD) {
            let payload = Bytes::copy_from_slice(message.bytes());
            if let Err(full) = conn.reactor().broadcast(Audience::Listener(CROWD), payload) {
                eprintln!("a broadcast is lost: {full}");
            }
        } else {
            conn.send(message);
        }
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, (): ()) {
        self.look(closed.reactor());
        if closed.listener() == Some(CROWD) {
            *lock(&self.seen).reasons.entry(format!("{:?}", closed.reason())).or_default() += 1;
        }
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let seen = Arc::<Mutex<Seen>>::default();
    let theirs = Arc::clone(&seen);
    let engine = bounded(&options)?
        .build(move |spot| Host { seen: Arc::clone(&theirs), handle: spot.handle() })
        .map_err(io::Error::other)?;
    engine::announce(&engine)?;
    let crowd = engine.addresses().get(usize::from(CROWD.0)).map(ToString::to_string).unwrap_or_default();
    let handle = engine.handle();
    let asked = handle.clone();
    let answer = move |question: &str| answer(question, &crowd, &asked, &seen);
    server::attend_input(answer, move || handle.shutdown());
    engine.run().map_err(io::Error::other)
}

fn bounded(options: &Options) -> io::Result<Builder> {
    let framing = Framing::length_delimited(LengthDelimited::u32_be());
    let mut crowd = Listener::new("tcp://127.0.0.1:0").framing(framing);
    if let Some(limit) = options.limit {
        crowd = crowd.water_marks(0, limit, limit).policy(Policy::Close);
    }
    let mut builder = options.engine.builder(Framing::raw())?.listen(crowd);
    if let Some(bytes) = options.buffer_memory {
        builder = builder.buffer_memory(bytes);
    }
    if let Some(bytes) = options.minimum_rate {
        builder = builder.minimum_rate(bytes, Duration::from_secs(1));
    }
    if let Some(connections) = options.most {
        builder = builder.max_connections(connections);
    }
    if let Some(bytes) = options.send_buffer {
        builder = builder.send_buffer(bytes);
    }
    Ok(builder)
}

fn answer(question: &str, crowd: &str, handle: &Handle, seen: &Mutex<Seen>) -> String {
    match question {
        "crowd" => crowd.trim_start_matches("tcp://").to_owned(),
        "counters" => engine::counters(handle).to_string(),
        "closed" => json!(lock(seen).reasons).to_string(),
        "turns" => lock(seen).watch.to_json().to_string(),
        _ => format!("no answer to {question:?}"),
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
