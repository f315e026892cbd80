//! The server: the engine, echoing. What it is asked comes on its standard input, which ends it too.

use std::{
    io::{self, BufRead as _},
    process,
};

use serde_json::json;
use wheelhouse::{Action, Audience, Conn, Engine, Handle, Handler, Listener, Message};
use wheelhouse_examples::{AnyError, Certificate, as_asked, is_websocket, raise_file_limit, say};

use crate::{
    machine::{Resident, cpu, now},
    options::Serve,
    wire::ANNOUNCEMENT,
};

/// As many as the kernel lets wait (`net.core.somaxconn` caps it).
const BACKLOG: usize = 65_535;

/// How long a peer may not answer pings, as a multiple of the time between them.
const PATIENCE: u32 = 2;

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        conn.send(message);
        Action::Continue
    }
}

/// Serves until the standard input ends.
///
/// A line is a number and a question, and has one line of JSON as answer, with that number: `1 status`, or `2 broadcast`, which
/// sends the announcement to all.
pub(crate) fn serve(options: &Serve) -> Result<(), AnyError> {
    raise_file_limit()?;
    let mut builder = Engine::builder().listen(listener(options)?).backlog(BACKLOG);
    if let Some(reactors) = options.reactors {
        builder = builder.reactors(reactors);
    }
    if let Some(most) = options.max_connections {
        builder = builder.max_connections(most as usize);
    }
    if !options.listen.starts_with("unix:") {
        // Other servers may share the address, and no main reactor need hand over.
        builder = builder.reuse_port(true);
    }
    let engine = builder.build(|_| Echo)?;
    let handle = engine.handle();
    let address = engine.addresses().first().map(ToString::to_string).unwrap_or_default();
    // Dropped, it would stop.
    let _running = engine.start()?;
    say(json!({ "listening": as_asked(&options.listen, &address) }));
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (seen, asked) = line.split_once(' ').unwrap_or(("0", &line));
        let outcome = match asked {
            "status" => json!(null),
            "broadcast" => broadcast(&handle),
            _ => return Err(format!("`{asked}` is no question for a server").into()),
        };
        say(status(&handle, seen.parse()?, &outcome));
    }
    // Nobody is there any more to whom it would matter how a million connections end.
    drop_socket(&options.listen);
    process::exit(0)
}

fn listener(options: &Serve) -> Result<Listener, AnyError> {
    let tls = Certificate::default().tls(&[&options.listen])?;
    let listener = wheelhouse_examples::listener(&options.listen, tls.as_ref());
    Ok(match options.heartbeat {
        Some(every) => listener.heartbeat(every, every * PATIENCE),
        None if is_websocket(&options.listen) => listener.no_heartbeat(),
        None => listener,
    })
}

/// When it was asked, for those who time its arrival.
fn broadcast(handle: &Handle) -> serde_json::Value {
    let at = now();
    match handle.broadcast(Audience::Open, ANNOUNCEMENT) {
        Ok(()) => json!(at),
        Err(full) => json!(full.to_string()),
    }
}

fn status(handle: &Handle, seen: u64, broadcast: &serde_json::Value) -> serde_json::Value {
    let total = handle.stats().total();
    let itself = process::id();
    json!({
        "seen": seen,
        "connections": handle.count(),
        "opened": total.opened,
        "closed": total.closed,
        "shed": total.shed,
        "accept_errors": total.accept_errors,
        "messages_in": total.messages_in,
        "messages_out": total.messages_out,
        "turns": total.turns,
        "timers": total.timers,
        "resident_bytes": Resident::of(itself).all,
        "cpu_seconds": cpu(itself).as_secs_f64(),
        "broadcast_at_ns": broadcast,
    })
}

fn drop_socket(url: &str) {
    if let Some(path) = url.strip_prefix("unix:") {
        let _ = std::fs::remove_file(path);
    }
}
