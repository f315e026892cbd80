//! An echo server of the engine's whose handler watches how long the reactor's turns take, and which brings about
//! what turns might be long of: timers all due at once, idle timeouts likewise, broadcasts.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use wheelhouse::{
    Action, Audience, Bytes, CloseReason, Closed, Conn, Framing, Handle, Handler, Message, Poster, Reactor,
    ReactorId, TimerKind,
};
use wheelhouse_benches::turns::{Look, Watch};
use wheelhouse_benches::{engine, server};

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    engine: engine::Options,
}

/// The one reactor's.
const REACTOR: ReactorId = ReactorId(0);

/// Looks at the clock whether or not anything else happens: the shortest that a timer can be.
const EVERY: Duration = Duration::from_millis(1);
const LOOK: TimerKind = TimerKind(1);

/// What is to be due on all connections at once is due after so long.
const LATER: Duration = Duration::from_millis(300);
const DUE: TimerKind = TimerKind(2);

/// How long a reactor may leave a question unanswered.
const PATIENCE: Duration = Duration::from_secs(30);

struct Watched {
    handle: Handle,
    watch: Watch,
    /// Timers of connections that have fired.
    fired: u64,
    /// Connections closed because they were idle.
    idle: u64,
}

impl Watched {
    fn look(&mut self, reactor: &Reactor<'_>) {
        let now = reactor.now();
        self.watch.look(now, || Look::of_this_thread(now, engine::turns(&self.handle)));
    }

    fn to_json(&self) -> Value {
        json!({ "turns": self.watch.to_json(), "fired": self.fired, "idle": self.idle })
    }
}

impl Handler for Watched {
    type Session = ();

    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        reactor.set_timer(LOOK, EVERY);
    }

    fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
        self.look(conn.reactor());
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        self.look(conn.reactor());
        conn.send(message);
        Action::Continue
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, _: &mut (), _: TimerKind) -> Action {
        self.look(conn.reactor());
        self.fired += 1;
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, (): ()) {
        self.look(closed.reactor());
        self.idle += u64::from(*closed.reason() == CloseReason::Idle);
    }

    fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
        self.look(reactor);
        reactor.set_timer(timer, EVERY);
    }
}

fn main() -> io::Result<()> {
    let engine = Options::parse()
        .engine
        .builder(Framing::raw())?
        .build(|spot| Watched { handle: spot.handle(), watch: Watch::default(), fired: 0, idle: 0 })
        .map_err(io::Error::other)?;
    engine::announce(&engine)?;
    let (poster, handle) = (engine.poster(), engine.handle());
    server::attend_input(move |question| answer(question, &poster), move || handle.shutdown());
    engine.run().map_err(io::Error::other)
}

/// What is to be watched begins with the watch, or in the turns after it.
fn answer(question: &str, poster: &Poster<Watched>) -> String {
    match question {
        "watch" => watch(poster, |_| {}),
        "timers" => watch(poster, |reactor| for_all(reactor, |conn| conn.set_timer(DUE, LATER))),
        "idle" => watch(poster, |reactor| for_all(reactor, |conn| conn.set_idle_timeout(Some(LATER)))),
        "broadcast" => {
            let watching = watch(poster, |_| {});
            match poster.broadcast(Audience::Open, Bytes::from_static(&[b'!'; 64])) {
                Ok(()) => watching,
                Err(full) => full.to_string(),
            }
        }
        "turns" => tell(poster, |handler, _| handler.to_json().to_string()),
        "counters" => engine::counters(poster).to_string(),
        _ => format!("no answer to {question:?}"),
    }
}

fn for_all(reactor: &mut Reactor<'_>, mut each: impl FnMut(&mut Conn<'_>)) {
    for id in reactor.connections() {
        if let Some(mut conn) = reactor.conn(id) {
            each(&mut conn);
        }
    }
}

/// Does a deed on the reactor; the watch begins with the turn after it.
fn watch(poster: &Poster<Watched>, deed: impl FnOnce(&mut Reactor<'_>) + Send + 'static) -> String {
    tell(poster, move |handler, reactor| {
        deed(reactor);
        handler.watch.begin(reactor.now());
        "watching".to_owned()
    })
}

/// Has the reactor answer, and waits for it.
fn tell(
    poster: &Poster<Watched>,
    answer: impl FnOnce(&mut Watched, &mut Reactor<'_>) -> String + Send + 'static,
) -> String {
    let (sender, answers) = mpsc::channel();
    let posted = poster.post(REACTOR, move |handler, reactor| {
        // Nobody waits any longer where the receiver is gone.
        let _ = sender.send(answer(handler, reactor));
    });
    match (posted, answers.recv_timeout(PATIENCE)) {
        (Ok(()), Ok(answer)) => answer,
        (Err(full), _) => full.to_string(),
        (_, Err(RecvTimeoutError::Timeout)) => "the reactor does not answer".to_owned(),
        (_, Err(RecvTimeoutError::Disconnected)) => "the reactor has stopped".to_owned(),
    }
}
