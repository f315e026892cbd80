//! When a connection is read, and what it is waited for.

use std::time::Duration;

use super::Conn;
use crate::TimerKind;

/// # Reading and time
impl Conn<'_> {
    /// Reads no further. What was read already and not offered yet (less than two read buffers) waits with it.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct OneByOne;
    /// # impl Handler for OneByOne {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     conn.send(message);
    ///     conn.pause(); // this one is used; the next one comes after a `resume`
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| OneByOne);
    /// let client = bench.open(Framing::lines(80));
    /// bench.input(client, b"one\ntwo\n");
    /// assert_eq!(bench.output(client), b"one\n");
    /// bench.handle().resume(client);
    /// assert_eq!(bench.output(client), b"two\n");
    /// ```
    ///
    /// This is the handler's pause; the engine's own, at the water marks, is a second and independent one.
    pub fn pause(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.pause(self.key);
    }

    /// Ends the handler's pause, or an [`Action::Hold`](crate::Action::Hold).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wheelhouse::{Action, Conn, Framing, Handler, Message, TimerKind, testing::Bench};
    /// # struct OnePerSecond;
    /// # impl Handler for OnePerSecond {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     conn.send(message);
    ///     conn.pause();
    ///     conn.set_timer(TimerKind(1), Duration::from_secs(1));
    ///     Action::Continue
    /// }
    ///
    /// fn on_timer(&mut self, conn: &mut Conn<'_>, _: &mut (), _: TimerKind) -> Action {
    ///     conn.resume();
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// # let mut bench = Bench::new(|_| OnePerSecond);
    /// # let client = bench.open(Framing::lines(80));
    /// bench.input(client, b"one\ntwo\n");
    /// assert_eq!(bench.output(client), b"one\n");
    /// bench.turn(Duration::from_secs(1));
    /// assert_eq!(bench.output(client), b"two\n");
    /// ```
    pub fn resume(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.resume(self.key);
    }

    /// Whether the engine pauses reading while the outbound queue is above the high mark; it does by default. One who
    /// forwards to another connection paces himself by that one's queue, and turns it off.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Engine, Framing, Handler, Listener, ListenerId, Message, testing::Bench};
    /// # struct Hears;
    /// # impl Handler for Hears {
    /// #     type Session = u32;
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut u32) -> Action {
    ///     conn.set_auto_pause(false);
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, heard: &mut u32, message: Message<'_>) -> Action {
    /// #         *heard += 1;
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// // Echoes and counts, on a listener whose high mark is 8 bytes.
    /// let small = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(80)).water_marks(0, 8, 1000);
    /// let mut bench = Bench::with_options(Engine::builder().listen(small), |_| Hears);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.take_window(client, 0);
    /// (0..10).for_each(|_| bench.input(client, b"hello\n"));
    /// assert_eq!(bench.session(client), Some(&mut 10)); // with the pause: 2
    /// ```
    pub fn set_auto_pause(&mut self, on: bool) {
        self.reactor.core.set_auto_pause(self.key, on);
    }

    /// Calls [`Handler::on_timer`](crate::Handler::on_timer) once, after so long; a timer of the same kind is moved.
    /// Never early; late by up to 2 ms and the turn's length. More than 24 days count as 24 days. While the connection is
    /// being dialled it waits for `on_open`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wheelhouse::{Action, Conn, Framing, Handler, TimerKind, testing::Bench};
    /// # use wheelhouse::Message;
    /// const NUDGE: TimerKind = TimerKind(1);
    /// # struct Impatient;
    /// # impl Handler for Impatient {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     conn.set_timer(NUDGE, Duration::from_secs(10));
    ///     conn.set_timer(NUDGE, Duration::from_secs(20)); // the same one, moved
    ///     Action::Continue
    /// }
    ///
    /// fn on_timer(&mut self, conn: &mut Conn<'_>, _: &mut (), _: TimerKind) -> Action {
    ///     conn.send("still there?");
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let mut bench = Bench::new(|_| Impatient);
    /// # let client = bench.open(Framing::lines(80));
    /// bench.turn(Duration::from_secs(19));
    /// assert_eq!(bench.output(client), b"");
    /// bench.turn(Duration::from_secs(1));
    /// assert_eq!(bench.output(client), b"still there?\n");
    /// ```
    pub fn set_timer(&mut self, kind: TimerKind, after: Duration) {
        self.reactor.core.set_timer(self.key, kind, after);
    }

    /// Takes a timer back. False when none of that kind was set.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wheelhouse::{Action, Conn, Framing, Handler, Message, TimerKind, testing::Bench};
    /// const FIRST_WORD: TimerKind = TimerKind(1);
    /// # struct Strict;
    /// # impl Handler for Strict {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     conn.set_timer(FIRST_WORD, Duration::from_secs(5));
    ///     Action::Continue
    /// }
    ///
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
    ///     let is_first = conn.cancel_timer(FIRST_WORD);
    ///     conn.send(if is_first { "just in time" } else { "go on" });
    ///     Action::Continue
    /// }
    /// #     fn on_timer(&mut self, _: &mut Conn<'_>, _: &mut (), _: TimerKind) -> Action { Action::Close }
    /// # }
    ///
    /// # let mut bench = Bench::new(|_| Strict);
    /// # let client = bench.open(Framing::lines(80));
    /// bench.input(client, b"hello\nagain\n");
    /// bench.turn(Duration::from_secs(60));
    /// assert_eq!((bench.output(client), bench.closed(client)), (b"just in time\ngo on\n".to_vec(), None));
    /// ```
    pub fn cancel_timer(&mut self, kind: TimerKind) -> bool {
        self.reactor.core.cancel_timer(self.key, kind)
    }

    /// Meets the listener's [`authentication`](crate::Listener::authentication) deadline.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wheelhouse::{Action, Conn, Engine, Framing, Handler, Listener, ListenerId, Message, testing::Bench};
    /// # struct Login;
    /// # impl Handler for Login {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     if message.bytes() == b"sesame" {
    ///         conn.authenticated();
    ///     }
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let within = Duration::from_secs(30);
    /// let login = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(80)).authentication(within);
    /// let mut bench = Bench::with_options(Engine::builder().listen(login), |_| Login);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.message(client, "sesame");
    /// bench.turn(2 * within);
    /// assert_eq!(bench.closed(client), None);
    /// ```
    pub fn authenticated(&mut self) {
        self.reactor.core.authenticated(self.key);
    }

    /// Closes the connection when nothing came or went for so long, instead of
    /// [`Builder::idle_timeout`](crate::Builder::idle_timeout); `None` never does. More than 24 days count as 24 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Action, CloseReason, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Brief;
    /// # impl Handler for Brief {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
    ///     conn.set_idle_timeout(Some(Duration::from_secs(5))); // whoever has said something is soon done
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Brief);
    /// let (silent, client) = (bench.open(Framing::raw()), bench.open(Framing::raw()));
    /// bench.input(client, b"hello");
    /// bench.turn(Duration::from_secs(5));
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Idle));
    /// assert_eq!(bench.closed(silent), None);
    /// ```
    pub fn set_idle_timeout(&mut self, after: Option<Duration>) {
        self.reactor.core.set_idle_timeout(self.key, after);
    }
}
