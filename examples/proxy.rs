//! A TCP proxy: every connection accepted is joined to one that it dials.
//!
//! Shows two connections that are each other's other end. [`Conn::other`] reaches the second from the first's callback, for
//! both are on one reactor. A side that takes no more stops the reading of the other, and no byte is read that has no place
//! to go. Each direction ends by itself, and a reset on one side is a reset on the other.

use std::process::ExitCode;

use clap::Parser;
use wheelhouse::{Action, CloseReason, Closed, Conn, ConnId, Connect, Engine, Handler, Input, Message, Sent};
use wheelhouse_examples::{AnyError, end, serve};

/// Forwards TCP connections.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9003")]
    listen: String,
    /// Whom to dial
    #[arg(long, value_name = "URL")]
    to: String,
}

struct Proxy {
    to: String,
}

/// The connection that this one's bytes go to.
#[derive(Default)]
struct Peer(Option<ConnId>);

impl Peer {
    fn find<'c>(&self, conn: &'c mut Conn<'_>) -> Option<Conn<'c>> {
        conn.other(self.0?)
    }
}

impl Handler for Proxy {
    type Session = Peer;

    fn on_open(&mut self, conn: &mut Conn<'_>, peer: &mut Peer) -> Action {
        // What one side does not take must not stop the reading of that side.
        conn.set_auto_pause(false);
        if conn.listener().is_none() {
            *peer = Peer(conn.tag().conn_id());
            return match peer.find(conn) {
                Some(mut client) => {
                    client.resume();
                    Action::Continue
                }
                None => Action::Reset,
            };
        }
        conn.pause(); // until there is somebody to forward to
        let upstream = Connect::to(&self.to).tag(conn.id());
        match conn.reactor().connect(upstream) {
            Ok(id) => {
                *peer = Peer(Some(id));
                Action::Continue
            }
            Err(_) => Action::Reset,
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, peer: &mut Peer, input: &mut Input<'_>) -> Action {
        let Some(mut to) = peer.find(conn) else { return Action::Reset };
        match to.send(input.take()) {
            Sent::Accepted => {}
            Sent::Full => conn.pause(),
            Sent::Refused(_) => return Action::Reset,
        }
        Action::Continue
    }

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut Peer, _: Message<'_>) -> Action {
        Action::Continue // never called: there is no framing
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>, peer: &mut Peer) -> Action {
        if let Some(mut from) = peer.find(conn) {
            from.resume();
        }
        Action::Continue
    }

    fn on_eof(&mut self, conn: &mut Conn<'_>, peer: &mut Peer) -> Action {
        match peer.find(conn) {
            Some(mut to) => to.shutdown_write(),
            None => return Action::Finish,
        }
        Action::Continue // the other direction goes on
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, peer: Peer) {
        // One dialled in vain had no `on_open`, and knows its client by the tag alone.
        let Some(id) = peer.0.or_else(|| closed.tag().conn_id()) else { return };
        let reason = *closed.reason();
        let Some(mut other) = closed.reactor().conn(id) else { return };
        match reason {
            CloseReason::Peer { .. } => other.finish(),
            _ => other.reset(),
        }
    }
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    let Options { listen, to } = options;
    serve(Engine::builder().listen(listen).build(move |_| Proxy { to: to.clone() })?)?;
    Ok(())
}
