//! The engine with two listeners: one echoes, the other is for a crowd that behaves badly, whose messages have their
//! length in front and are broadcast to all of them. Its bounds are what the command line says.

use std::io;
use std::time::Duration;

use clap::Parser;
use wheelhouse::{
    Action, Audience, Builder, Bytes, Closed, Conn, Framing, Handle, Handler, LengthDelimited, Listener,
    ListenerId, Message, Policy, Reactor, TimerKind,
};
use wheelhouse_benches::crowd::{Bounds, Seen};
use wheelhouse_benches::{engine, server};

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    engine: engine::Options,
    #[command(flatten)]
    bounds: Bounds,
}

/// The second listener.
const CROWD: ListenerId = ListenerId(1);

/// Turns are looked at so often, whether or not anything else happens.
const EVERY: Duration = Duration::from_millis(1);
const LOOK: TimerKind = TimerKind(1);

struct Host {
    seen: Seen,
    handle: Handle,
}

impl Host {
    fn look(&mut self, reactor: &Reactor<'_>) {
        self.seen.look(reactor.now(), || engine::turns(&self.handle));
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
            self.seen.closed(format!("{:?}", closed.reason()));
        }
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let seen = Seen::default();
    let theirs = seen.clone();
    let engine = bounded(&options)?
        .build(move |spot| Host { seen: theirs.clone(), handle: spot.handle() })
        .map_err(io::Error::other)?;
    engine::announce(&engine)?;
    let crowd = engine.addresses().get(usize::from(CROWD.0)).map(ToString::to_string).unwrap_or_default();
    let crowd = crowd.trim_start_matches("tcp://").to_owned();
    let handle = engine.handle();
    let asked = handle.clone();
    let answer = move |question: &str| seen.answer(question, &crowd, || engine::counters(&asked));
    server::attend_input(answer, move || handle.shutdown());
    engine.run().map_err(io::Error::other)
}

fn bounded(options: &Options) -> io::Result<Builder> {
    let framing = Framing::length_delimited(LengthDelimited::u32_be());
    let mut crowd = Listener::new("tcp://127.0.0.1:0").framing(framing);
    let bounds = &options.bounds;
    if let Some(limit) = bounds.limit {
        crowd = crowd.water_marks(0, limit, limit).policy(Policy::Close);
    }
    let mut builder = options.engine.builder(Framing::raw())?.listen(crowd);
    if let Some(bytes) = bounds.buffer_memory {
        builder = builder.buffer_memory(bytes);
    }
    if let Some(bytes) = bounds.minimum_rate {
        builder = builder.minimum_rate(bytes, Duration::from_secs(1));
    }
    if let Some(connections) = bounds.most {
        builder = builder.max_connections(connections);
    }
    if let Some(bytes) = bounds.send_buffer {
        builder = builder.send_buffer(bytes);
    }
    Ok(builder)
}
