//! What the engine's own servers have in common.

use std::io;

use clap::Args;
use serde_json::{Value, json};
use wheelhouse::{Address, Builder, Engine, Framing, Handle, Handler, Listener};

use crate::{secure, server};

/// Options that each of them takes.
#[derive(Args, Debug, Clone)]
#[group(id = "engine")]
pub struct Options {
    #[command(flatten)]
    common: server::Options,
    /// Let the sub-reactors accept for themselves; otherwise the main reactor hands connections over.
    #[arg(long)]
    reuse_port: bool,
    /// Connections that may wait to be accepted.
    #[arg(long)]
    backlog: Option<usize>,
}

impl Options {
    /// Gets the process ready, and describes an engine that listens as asked for, with one reactor.
    ///
    /// # Errors
    ///
    /// What the system refused.
    pub fn builder(&self, framing: Framing) -> io::Result<Builder> {
        self.builder_of("tcp", framing)
    }

    /// The same where it listens by another scheme: `ws`, `tls` or `wss`, with a certificate made for it.
    ///
    /// # Errors
    ///
    /// What the system refused.
    pub fn builder_of(&self, scheme: &str, framing: Framing) -> io::Result<Builder> {
        self.common.prepare()?;
        let mut listener = Listener::new(format!("{scheme}://{}", self.common.listen)).framing(framing);
        if matches!(scheme, "tls" | "wss") {
            listener = listener.tls(secure::tls()?);
        }
        let builder = Engine::builder().listen(listener).reactors(1).reuse_port(self.reuse_port);
        Ok(match self.backlog {
            Some(backlog) => builder.backlog(backlog),
            None => builder,
        })
    }
}

/// Tells the runner where to connect.
///
/// # Errors
///
/// What writing to standard output came to, or an engine without a TCP listener.
pub fn announce<H: Handler>(engine: &Engine<H>) -> io::Result<()> {
    match engine.addresses().first() {
        Some(Address::Tcp(bound)) => server::announce(*bound),
        _ => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

/// What the engine has counted, all reactors together, as the runner reads it.
#[must_use]
pub fn counters(handle: &Handle) -> Value {
    let total = handle.stats().total();
    json!({
        "accepted": total.accepted,
        "shed": total.shed,
        "closed": total.closed,
        "connections": total.connections,
        "buffered": total.buffered,
        "timers": total.timers,
        "bytes_out": total.bytes_out,
        "bytes_unsent": total.bytes_unsent,
    })
}

/// Turns that the first reactor has ended.
#[must_use]
pub fn turns(handle: &Handle) -> u64 {
    handle.stats().reactors.first().map_or(0, |counters| counters.turns)
}
