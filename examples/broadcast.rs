//! What one says all hear: every message received is sent to every open connection, the sender included.
//!
//! Shows [`Handle::broadcast`] across reactors: one buffer for all, whatever reactor they are on and whatever they speak.
//! A mailbox that is full refuses, so the message is left with the engine ([`Action::Hold`]), which reads no further from
//! its sender until there is room ([`Handler::on_room`]): nothing is lost, and each sender's messages keep their order.

use std::process::ExitCode;

use clap::Parser;
use wheelhouse::{
    Action, Audience, Conn, ConnId, Engine, Framing, Handle, Handler, Message, Policy, Reactor, ReactorId,
};
use wheelhouse_examples::{AnyError, Certificate, end, is_websocket, listener, serve_at};

/// Sends every message to everybody.
#[derive(Parser)]
struct Options {
    /// Where to listen: ws or wss://HOST:PORT for WebSockets, tcp or tls://HOST:PORT or unix:/PATH for lines; may be given several times
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:9010")]
    listen: Vec<String>,
    #[command(flatten)]
    certificate: Certificate,
    /// Sub-reactors; by default as many as there are cores
    #[arg(long, value_name = "N")]
    reactors: Option<usize>,
    /// Messages that may be on their way to a reactor's connections; beyond that the senders wait
    #[arg(long, value_name = "N")]
    mailbox: Option<usize>,
}

/// The longest line; WebSockets have their own limit.
const LONGEST_LINE: usize = 64 << 10;

struct Speaker {
    everyone: Handle,
    /// Connections of this reactor with a message on hold.
    held: Vec<ConnId>,
}

impl Handler for Speaker {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        match self.everyone.broadcast(Audience::Open, message.to_payload()) {
            Ok(()) => Action::Continue,
            Err(_) => {
                self.held.push(conn.id());
                Action::Hold
            }
        }
    }

    /// Those who were held try again; whoever finds no room is held anew.
    fn on_room(&mut self, reactor: &mut Reactor<'_>, _: ReactorId) {
        for id in self.held.drain(..) {
            if let Some(mut conn) = reactor.conn(id) {
                conn.resume();
            }
        }
    }

    fn on_stopping(&mut self, reactor: &mut Reactor<'_>, _: std::time::Instant) {
        reactor.finish_all();
    }
}

fn main() -> ExitCode {
    end(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), AnyError> {
    let tls = options.certificate.tls(&options.listen)?;
    let mut builder = Engine::builder();
    for url in &options.listen {
        // One who reads too slowly loses its connection rather than a message in the middle.
        let listener = listener(url, tls.as_ref()).policy(Policy::Close);
        builder = builder.listen(match is_websocket(url) {
            true => listener,
            false => listener.framing(Framing::lines(LONGEST_LINE)),
        });
    }
    if let Some(reactors) = options.reactors {
        builder = builder.reactors(reactors);
    }
    if let Some(messages) = options.mailbox {
        builder = builder.mailbox(messages);
    }
    let engine = builder.build(|spot| Speaker { everyone: spot.handle(), held: Vec::new() })?;
    serve_at(engine, &options.listen)?;
    Ok(())
}
