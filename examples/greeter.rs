//! A server that learns its visitors' names.
//!
//! Shows what a handler may borrow while it sends: its own fields, the connection's session, and the message still in the
//! reactor's read buffer, all in one call and none of them copied by hand.

use std::process::ExitCode;

use clap::Parser;
use wheelhouse::{Action, Conn, Engine, Framing, Handler, Kind, Listener, Message};
use wheelhouse_examples::{AnyError, end, serve};

/// Greets by name whoever says "I am NAME", and repeats everything else to them.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9004")]
    listen: String,
    /// What everyone is told first
    #[arg(long, value_name = "TEXT", default_value = "Good day. Who are you?")]
    welcome: String,
}

struct Greeter {
    welcome: String,
    /// Names heard on this reactor: a field of its own, no lock and no atomic.
    heard: u64,
}

#[derive(Default)]
struct Visitor {
    name: Option<String>,
}

impl Handler for Greeter {
    type Session = Visitor;

    fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut Visitor) -> Action {
        conn.send(&self.welcome);
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, visitor: &mut Visitor, message: Message<'_>) -> Action {
        if let Some(name) = message.text().and_then(|text| text.strip_prefix("I am ")) {
            self.heard += 1;
            let number = self.heard.to_string();
            let parts = [b"Hello, ", name.as_bytes(), b". You are number ", number.as_bytes(), b" here."];
            conn.send_vectored(Kind::TEXT, &parts);
            visitor.name = Some(name.to_owned());
            return Action::Continue;
        }
        let name = visitor.name.as_deref().unwrap_or("Stranger");
        conn.send_vectored(Kind::TEXT, &[name.as_bytes(), b", you said: ", message.bytes()]);
        Action::Continue
    }
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    let Options { listen, welcome } = options;
    let listener = Listener::new(listen).framing(Framing::lines(4096));
    serve(
        Engine::builder().listen(listener).build(move |_| Greeter { welcome: welcome.clone(), heard: 0 })?,
    )?;
    Ok(())
}
