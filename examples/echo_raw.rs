//! An echo of raw bytes that are looked at before they are taken: here ASCII letters come back in capitals.
//!
//! Shows `on_data` and [`Input`]: what is taken may be changed in place, in the reactor's own read buffer, and is sent from
//! there without a copy. What is left would be offered again, in front of what comes next.

use std::process::ExitCode;

use clap::Parser;
use wheelhouse::{Action, Conn, Engine, Handler, Input, Message};
use wheelhouse_examples::{AnyError, end, serve};

/// Sends back what it is sent, in capitals.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9011")]
    listen: String,
}

struct Capitals;

impl Handler for Capitals {
    type Session = ();

    fn on_data(&mut self, conn: &mut Conn<'_>, _: &mut (), input: &mut Input<'_>) -> Action {
        let bytes = input.take_mut(input.len());
        bytes.make_ascii_uppercase();
        conn.send(&*bytes);
        Action::Continue
    }

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
        Action::Continue // never called: the listener has no framing, and `on_data` is ours
    }
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    serve(Engine::builder().listen(options.listen).build(|_| Capitals)?)?;
    Ok(())
}
