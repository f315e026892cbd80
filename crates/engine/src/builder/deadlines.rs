//! How long anything may take.

use std::time::Duration;

use super::Builder;
use crate::{Activity, options::MinimumRate};

/// # Deadlines
impl Builder {
    /// Closes a connection ([`CloseReason::Idle`](crate::CloseReason::Idle)) when nothing came or went for so long; off by
    /// default. 1 ms to 24 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().idle_timeout(Duration::from_secs(60));
    /// let mut bench = Bench::with_options(builder, |_| Silent);
    /// let client = bench.open(Framing::raw());
    /// bench.turn(Duration::from_secs(40));
    /// bench.input(client, b"still here");
    /// bench.turn(Duration::from_secs(40));
    /// assert_eq!(bench.closed(client), None);
    /// bench.turn(Duration::from_secs(20));
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Idle));
    /// ```
    pub fn idle_timeout(mut self, after: Duration) -> Self {
        self.options.idle_timeout = Some(after);
        self
    }

    /// What counts as activity for the idle timeout: either direction by default.
    pub fn idle_counts(mut self, activity: Activity) -> Self {
        self.options.idle_counts = activity;
        self
    }

    /// How long a connection may take from its accept, or, dialled, from being connected, to `on_open`, where something comes
    /// between them: the header of a [`Listener::proxy_protocol`](crate::Listener::proxy_protocol), TLS, a WebSocket's request and its answer. Then it closes
    /// ([`CloseReason::Handshake`](crate::CloseReason::Handshake)). 10 s by default; 1 ms to 24 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Engine, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().listen("ws://127.0.0.1:0").handshake_timeout(Duration::from_secs(3));
    /// let mut bench = Bench::with_options(builder, |_| Silent);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, b"GET / HTTP/1.1\r\nHost:"); // and nothing more
    /// bench.turn(Duration::from_secs(3));
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Handshake));
    /// ```
    ///
    /// As long has the handshake that [`Conn::start_tls`](crate::Conn::start_tls) begins, and, from the request on, the answer
    /// that [`Reply::later`](crate::Reply::later) puts off.
    pub fn handshake_timeout(mut self, after: Duration) -> Self {
        self.options.handshake_timeout = after;
        self
    }

    /// Resets a connection ([`CloseReason::SlowPeer`](crate::CloseReason::SlowPeer)) that moves fewer than `bytes` in a whole
    /// `window`: whose peer has begun a message and sends so little of the rest, or takes so little of what is queued for
    /// it. Between messages, and while reading is paused, a peer may take its time. Off by default; 1 B to 1 GiB, 100 ms to
    /// 24 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().minimum_rate(100, Duration::from_secs(10));
    /// let mut bench = Bench::with_options(builder, |_| Silent);
    /// let (slow, resting) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
    /// bench.input(resting, b"a whole line\n");
    /// for byte in [b"h", b"e", b"l"] {
    ///     bench.input(slow, byte);
    ///     bench.turn(Duration::from_secs(10));
    /// }
    /// assert_eq!(bench.closed(slow), Some(&CloseReason::SlowPeer));
    /// assert_eq!(bench.closed(resting), None);
    /// ```
    pub fn minimum_rate(mut self, bytes: usize, window: Duration) -> Self {
        self.options.minimum_rate = Some(MinimumRate { bytes, window });
        self
    }

    /// Closes a connection ([`CloseReason::Lifetime`](crate::CloseReason::Lifetime)) at this age, counted from its accept or,
    /// dialled, from being connected; off by default. 1 ms to 24 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().lifetime(Duration::from_secs(3600)), |_| Silent);
    /// let client = bench.open(Framing::raw());
    /// for _ in 0..60 {
    ///     assert_eq!(bench.closed(client), None);
    ///     bench.input(client, b"busy as I am");
    ///     bench.turn(Duration::from_secs(60));
    /// }
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Lifetime));
    /// ```
    pub fn lifetime(mut self, after: Duration) -> Self {
        self.options.lifetime = Some(after);
        self
    }

    /// Resets a connection ([`CloseReason::WriteStall`](crate::CloseReason::WriteStall)) whose peer took nothing of what is
    /// queued for so long; 60 s by default, 1 ms to 24 days. `None` never does, but where the connection is being finished:
    /// there the [`close_timeout`](Builder::close_timeout) counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// let builder = Engine::builder().write_stall_timeout(Some(Duration::from_secs(20)));
    /// let mut bench = Bench::with_options(builder, |_| Echo);
    /// let client = bench.open(Framing::lines(80));
    /// bench.take_window(client, 0);
    /// bench.message(client, "hello");
    /// bench.turn(Duration::from_secs(20));
    /// assert_eq!(bench.closed(client), Some(&CloseReason::WriteStall));
    /// ```
    pub fn write_stall_timeout(mut self, after: Option<Duration>) -> Self {
        self.options.write_stall_timeout = after;
        self
    }

    /// How long a peer has to answer our FIN with its own ([`CloseReason::CloseTimeout`](crate::CloseReason::CloseTimeout)); 5 s
    /// by default. 1 ms to 24 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().close_timeout(Duration::from_secs(2));
    /// let mut bench = Bench::with_options(builder, |_| Silent);
    /// let client = bench.open(Framing::raw());
    /// bench.answer_fin(client, false);
    /// bench.handle().finish(client);
    /// bench.turn(Duration::from_millis(1_999));
    /// assert!(bench.output_ended(client) && bench.closed(client).is_none());
    /// bench.turn(Duration::from_millis(1));
    /// assert_eq!(bench.closed(client), Some(&CloseReason::CloseTimeout));
    /// ```
    pub fn close_timeout(mut self, after: Duration) -> Self {
        self.options.close_timeout = after;
        self
    }
}
