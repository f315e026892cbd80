//! Guess a number, against the clock.
//!
//! Shows timers: a connection has three at once, each of its own [`TimerKind`], set anew, taken back and running out
//! independently; the reactor has one of its own, which tells all of its players the score. None repeats by itself.

use std::{cmp::Ordering, process::ExitCode, time::Duration};

use clap::Parser;
use wheelhouse::{Action, Audience, Conn, Engine, Framing, Handler, Listener, Message, Reactor, TimerKind};
use wheelhouse_examples::{AnyError, end, seconds, serve};

/// Thinks of a number from 1 to 100, and says "higher" or "lower".
#[derive(Clone, Parser)]
struct Options {
    /// Where to listen
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:9009")]
    listen: String,
    /// Ask those who have been silent for so long whether they are still there
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    nudge: Duration,
    /// Time to find the number
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    round: Duration,
    /// Time between two scores
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    score: Duration,
}

const NUDGE: TimerKind = TimerKind(1);
const ROUND: TimerKind = TimerKind(2);
const REFILL: TimerKind = TimerKind(3);

/// Of the reactor: its kinds are not the connections'.
const SCORE: TimerKind = TimerKind(1);

/// Guesses that a player has, every [`REFILL_EVERY`].
const GUESSES: u32 = 20;
const REFILL_EVERY: Duration = Duration::from_secs(1);

struct Game {
    options: Options,
    found: u64,
    random: u64,
}

#[derive(Default)]
struct Player {
    number: u64,
    guesses: u32,
}

impl Game {
    fn begin_round(&mut self, conn: &mut Conn<'_>, player: &mut Player) {
        // xorshift: nobody's money is at stake.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        player.number = self.random % 100 + 1;
        conn.send("I have a number from 1 to 100");
        conn.set_timer(ROUND, self.options.round);
    }

    fn judge(&mut self, conn: &mut Conn<'_>, player: &mut Player, guess: u64) {
        let answer = match guess.cmp(&player.number) {
            Ordering::Less => "higher",
            Ordering::Greater => "lower",
            Ordering::Equal => "right",
        };
        conn.send(answer);
        if guess == player.number {
            self.found += 1;
            self.begin_round(conn, player);
        }
    }
}

impl Handler for Game {
    type Session = Player;

    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        reactor.set_timer(SCORE, self.options.score);
    }

    fn on_open(&mut self, conn: &mut Conn<'_>, player: &mut Player) -> Action {
        player.guesses = GUESSES;
        conn.set_timer(NUDGE, self.options.nudge);
        self.begin_round(conn, player);
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, player: &mut Player, message: Message<'_>) -> Action {
        conn.set_timer(NUDGE, self.options.nudge); // moves the one that is set
        if player.guesses == GUESSES {
            conn.set_timer(REFILL, REFILL_EVERY);
        }
        let Some(left) = player.guesses.checked_sub(1) else {
            conn.send("not so fast");
            return Action::Continue;
        };
        player.guesses = left;
        match message.text().and_then(|text| text.trim().parse().ok()) {
            Some(guess) => self.judge(conn, player, guess),
            None => {
                conn.send("a number, please");
            }
        }
        Action::Continue
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, player: &mut Player, timer: TimerKind) -> Action {
        match timer {
            NUDGE => {
                conn.send("still there?");
            }
            REFILL => player.guesses = GUESSES,
            ROUND => {
                conn.send(format!("time is up, it was {}", player.number));
                self.begin_round(conn, player);
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
        let score = format!("players: {}, numbers found: {}", reactor.len(), self.found);
        // So many broadcasts under way that this one may be left out: the next one tells more.
        let _ = reactor.broadcast(Audience::Open, score);
        reactor.set_timer(timer, self.options.score);
    }
}

fn main() -> ExitCode {
    end(run(Options::parse()))
}

fn run(options: Options) -> Result<(), AnyError> {
    let listener = Listener::new(&options.listen).framing(Framing::lines(80));
    let engine = Engine::builder().listen(listener).build(move |spot| Game {
        options: options.clone(),
        found: 0,
        random: 0x9E37_79B9_7F4A_7C15 ^ u64::from(spot.reactor().0),
    })?;
    serve(engine)?;
    Ok(())
}
