//! A handler driven without sockets, threads or waiting: clients in memory, and a clock that the test turns.
//!
//! A [`Bench`] is one reactor of an engine, the real one, with the handler under test. In the kernel's place it has clients
//! whose every move is the test's, and what it does it does at once: when a call returns, the handler has been told all
//! there was to tell, and nothing more happens until the next call.
//!
//! ```
//! use std::time::Duration;
//! use wheelhouse::{Action, CloseReason, Conn, Framing, Handler, Message, TimerKind, testing::Bench};
//!
//! /// Echoes lines, and parts after 5 s with those who have said nothing.
//! struct Patient;
//!
//! impl Handler for Patient {
//!     type Session = u32; // lines heard
//!
//!     fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut u32) -> Action {
//!         conn.set_timer(TimerKind(1), Duration::from_secs(5));
//!         Action::Continue
//!     }
//!
//!     fn on_message(&mut self, conn: &mut Conn<'_>, lines: &mut u32, line: Message<'_>) -> Action {
//!         *lines += 1;
//!         conn.send(line);
//!         Action::Continue
//!     }
//!
//!     fn on_timer(&mut self, _: &mut Conn<'_>, lines: &mut u32, _: TimerKind) -> Action {
//!         if *lines == 0 { Action::Finish } else { Action::Continue }
//!     }
//! }
//!
//! let mut bench = Bench::new(|_| Patient);
//! let (busy, silent) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
//!
//! bench.input(busy, b"he"); // bytes arrive as the test cuts them
//! bench.input(busy, b"llo\nrest");
//! assert_eq!(bench.output(busy), b"hello\n");
//! assert_eq!(bench.session(busy), Some(&mut 1));
//!
//! bench.turn(Duration::from_millis(4_999));
//! assert_eq!(bench.closed(silent), None);
//! bench.turn(Duration::from_millis(1));
//! assert_eq!(bench.closed(silent), Some(&CloseReason::Local));
//! assert_eq!(bench.closed(busy), None);
//! ```
//!
//! # Time
//!
//! The clock stands still but for [`turn`](Bench::turn), and stops there at each deadline on its way: timers fire in their
//! order, each at its very millisecond, and so do the engine's own deadlines. ([`Conn::now`](crate::Conn::now) and
//! [`Reactor::now`](crate::Reactor::now) are that clock; `Instant::now` is not.) In the `Date` of an HTTP answer it is
//! 1 January 1970, 00:00 GMT when the bench begins: an answer is the same in each run.
//!
//! # Clients
//!
//! A client does what it is told and no more, with one exception: told FIN it says FIN, as nearly all do
//! ([`answer_fin`](Bench::answer_fin) has it keep silent, and half-closed connections be tested). It takes whatever is sent
//! unless its [`window`](Bench::take_window) is set, and what it sends to a connection that the engine has closed is lost.
//!
//! # Panics
//!
//! A handler that panics fails the test: the call that had it run panics with the same words. Who tests what becomes of a
//! panic, says [`bear_panics`](Bench::bear_panics) first.
//!
//! # What is not there
//!
//! A connection has no descriptor: [`Conn::fd`](crate::Conn::fd) is none, and what asks the kernel answers accordingly. The
//! peer's address is one of 127.0.0.1, for each client another port, unless the test [names it](Bench::open_from). Of a
//! socket that is [adopted](crate::Reactor::adopt) the test is the other end as of any, whoever really is. Descriptors that
//! are [watched](crate::Reactor::watch) are no connections, and real: each call to the bench looks at them.

mod bench;
mod clients;
mod dialled;
mod kernel;
mod socket;
#[cfg(test)]
mod tests;

pub use self::{bench::Bench, dialled::Dialled};
