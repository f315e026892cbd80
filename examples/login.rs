//! A server that wants to know who is there before anything else.
//!
//! Shows a connection's states as an enum for its session, the authentication deadline of a listener, and a last answer
//! that arrives although the connection is closed behind it ([`Action::Finish`]).

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use wheelhouse::{Action, Conn, Engine, Framing, Handler, Kind, Listener, Message};
use wheelhouse_examples::{AnyError, end, seconds, serve};

/// Answers those alone who say "NAME SECRET" in time.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9008")]
    listen: String,
    /// What everyone has to know
    #[arg(long, value_name = "TEXT", default_value = "sesame")]
    secret: String,
    /// Time to say it
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    within: Duration,
    /// Time that somebody known may be silent
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "600")]
    idle: Duration,
}

struct Vault {
    secret: String,
    idle: Duration,
}

#[derive(Default)]
enum Guest {
    #[default]
    Unknown,
    Known {
        name: String,
    },
}

impl Vault {
    /// The name, of one who knows the secret.
    fn admit<'m>(&self, message: &Message<'m>) -> Option<&'m str> {
        let (name, secret) = message.text()?.split_once(' ')?;
        (secret == self.secret && !name.is_empty()).then_some(name)
    }
}

impl Handler for Vault {
    type Session = Guest;

    fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut Guest) -> Action {
        conn.send("220 who is there?");
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, guest: &mut Guest, message: Message<'_>) -> Action {
        match guest {
            Guest::Unknown => {
                let Some(name) = self.admit(&message) else {
                    conn.send("535 no");
                    return Action::Finish;
                };
                *guest = Guest::Known { name: name.to_owned() };
                conn.authenticated();
                conn.set_idle_timeout(Some(self.idle));
                conn.send("235 welcome");
            }
            Guest::Known { name } => match message.bytes() {
                b"bye" => {
                    conn.send("221 bye");
                    return Action::Finish;
                }
                _ => {
                    conn.send_vectored(Kind::TEXT, &[b"250 at your service, ", name.as_bytes()]);
                }
            },
        }
        Action::Continue
    }
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    let Options { listen, secret, within, idle } = options;
    let listener = Listener::new(listen).framing(Framing::lines(512)).authentication(within);
    serve(Engine::builder().listen(listener).build(move |_| Vault { secret: secret.clone(), idle })?)?;
    Ok(())
}
