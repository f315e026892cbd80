//! An echo that parts with whoever says nothing, and its tests.
//!
//! Shows how a handler is tested: the tests at the end run it with clients in memory and a clock that they turn, so that
//! they take no port, wait for nothing and always end alike. `cargo test --example tested` runs them.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use wheelhouse::{Action, Conn, Engine, Framing, Handler, Listener, Message, Poster, TimerKind};
use wheelhouse_examples::{AnyError, end, seconds, serve};

/// Echoes lines, and closes the connections on which none has come in time.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9012")]
    listen: String,
    /// How long a connection may be silent at first
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    patience: Duration,
}

const PATIENCE: TimerKind = TimerKind(1);

struct Lazy {
    patience: Duration,
    /// What can wait is posted, and done when the answers are on their way.
    later: Poster<Lazy>,
    seen: u32,
}

impl Handler for Lazy {
    /// How many lines have come.
    type Session = u32;

    fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut u32) -> Action {
        conn.set_timer(PATIENCE, self.patience);
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, lines: &mut u32, line: Message<'_>) -> Action {
        *lines += 1;
        conn.send(line);
        // A full mailbox costs a count, and nothing else.
        let _ = self.later.post_to(conn.id(), |lazy, _, _| lazy.seen += 1);
        Action::Continue
    }

    fn on_timer(&mut self, _: &mut Conn<'_>, lines: &mut u32, _: TimerKind) -> Action {
        if *lines == 0 { Action::Finish } else { Action::Continue }
    }
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    let Options { listen, patience } = options;
    let listener = Listener::new(listen).framing(Framing::lines(80));
    let engine = Engine::builder().listen(listener);
    serve(engine.build(move |spot| Lazy { patience, later: spot.poster(), seen: 0 })?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wheelhouse::{CloseReason, Framing, testing::Bench};

    use super::Lazy;

    fn bench() -> Bench<Lazy> {
        Bench::new(|spot| Lazy { patience: Duration::from_secs(5), later: spot.poster(), seen: 0 })
    }

    #[test]
    fn lines_are_echoed_and_the_silent_are_closed() {
        let mut bench = bench();
        let (busy, silent) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
        bench.input(busy, b"he");
        bench.input(busy, b"llo\nrest");
        assert_eq!(bench.output(busy), b"hello\n");
        assert_eq!(bench.session(busy), Some(&mut 1));
        bench.turn(Duration::from_secs(6));
        assert!(bench.closed(busy).is_none());
        assert!(matches!(bench.closed(silent), Some(CloseReason::Local)));
        assert_eq!(bench.handler().seen, 1);
    }

    #[test]
    fn patience_ends_to_the_millisecond() {
        let mut bench = bench();
        let silent = bench.open(Framing::lines(80));
        bench.turn(Duration::from_millis(4_999));
        assert!(!bench.output_ended(silent));
        bench.turn(Duration::from_millis(1));
        assert!(bench.output_ended(silent));
    }

    #[test]
    fn one_who_does_not_read_is_answered_when_he_does() {
        let mut bench = bench();
        let slow = bench.open(Framing::lines(80));
        bench.take_window(slow, 3);
        bench.message(slow, "hello");
        assert_eq!(bench.output(slow), b"hel");
        bench.take_window(slow, usize::MAX);
        assert_eq!(bench.output(slow), b"lo\n");
    }
}
