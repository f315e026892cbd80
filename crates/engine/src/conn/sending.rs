//! What a connection is sent, up to its end.

use super::Conn;
use crate::{CloseCode, CloseReason, Control, Kind, Payload, Sent};

/// # Sending
impl Conn<'_> {
    /// Sends one message, framed by the connection's protocol.
    ///
    /// ```
    /// use wheelhouse::{Action, Bytes, Conn, Framing, Handler, Message, Refusal, Sent, testing::Bench};
    /// # struct Banner(Bytes);
    /// # impl Handler for Banner {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     conn.send("you said"); // borrowed: text, bytes, or the message itself
    ///     conn.send(message);
    ///     conn.send(self.0.clone()); // shared: never copied, when it is large
    ///     assert_eq!(conn.send("two\nlines"), Sent::Refused(Refusal::NotEncodable));
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Banner(Bytes::from_static(b"***")));
    /// let client = bench.open(Framing::lines(80));
    /// bench.message(client, "hello");
    /// assert_eq!(bench.output(client), b"you said\nhello\n***\n");
    /// ```
    ///
    /// Small payloads are gathered and leave with one system call when the callback's batch of input ends; large ones
    /// (4 KiB and more) are written at once, behind what was gathered. What the kernel does not take is queued: borrowed
    /// bytes are copied then, [`Bytes`](bytes::Bytes) of 1 KiB and more are not, unless they are sealed or compressed.
    pub fn send<'p>(&mut self, payload: impl Into<Payload<'p>>) -> Sent {
        self.reactor.core.settle();
        self.reactor.core.send(self.key, payload.into())
    }

    /// Sends one message made of several slices.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Kind, Message, testing::Bench};
    /// # struct Polite;
    /// # impl Handler for Polite {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), name: Message<'_>) -> Action {
    ///     conn.send_vectored(Kind::TEXT, &[b"hello, ", name.bytes(), b"!"]); // one message, nothing joined before
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Polite);
    /// let client = bench.open(Framing::lines(80));
    /// bench.message(client, "Ann");
    /// assert_eq!(bench.output(client), b"hello, Ann!\n");
    /// ```
    pub fn send_vectored(&mut self, kind: Kind, parts: &[&[u8]]) -> Sent {
        self.reactor.core.settle();
        self.reactor.core.send_vectored(self.key, kind, parts)
    }

    /// Asks the peer whether it is there, with up to so many bytes as the framing's pings carry (those of
    /// [`Framing::with_heartbeat`](crate::Framing::with_heartbeat) none); the answer comes to
    /// [`Handler::on_control`](crate::Handler::on_control). Refused as not encodable where the framing has no pings.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Control, Framing, Handler, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct Curious;
    /// # impl Handler for Curious {
    /// #     type Session = bool;
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut bool) -> Action {
    ///     if conn.ping(b"").is_refused() { Action::Close } else { Action::Continue }
    /// }
    ///
    /// fn on_control(&mut self, _: &mut Conn<'_>, is_there: &mut bool, control: Control<'_>) -> Action {
    ///     *is_there |= matches!(control, Control::Pong(_));
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut bool, _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Curious);
    /// let client = bench.open(Framing::lines(80).with_heartbeat("PING", "PONG"));
    /// assert_eq!(bench.output(client), b"PING\n");
    /// bench.input(client, b"PONG\n");
    /// assert_eq!(bench.session(client), Some(&mut true));
    /// ```
    ///
    /// Pings and pongs leave even when the queue is at its limit, up to 4 KiB beyond it.
    pub fn ping(&mut self, data: &[u8]) -> Sent {
        self.reactor.core.settle();
        self.reactor.core.send_control(self.key, &Control::Ping(data))
    }

    /// Closes gracefully: what is queued goes out, then FIN; what still comes is read and discarded until the peer's FIN
    /// (so that no reset destroys the last bytes), within [`Builder::close_timeout`](crate::Builder::close_timeout).
    /// One that is not open yet closes at once. A WebSocket's peer is told code 1000 first.
    ///
    /// ```
    /// # use wheelhouse::{Action, CloseReason, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct OneAnswer;
    /// # impl Handler for OneAnswer {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
    ///     conn.send("the answer");
    ///     conn.finish();
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| OneAnswer);
    /// let client = bench.open(Framing::lines(80));
    /// bench.take_window(client, 4); // the rest has to wait
    /// bench.message(client, "well?");
    /// assert_eq!((bench.output(client), bench.closed(client)), (b"the ".to_vec(), None));
    /// bench.take_window(client, usize::MAX);
    /// assert_eq!(bench.output(client), b"answer\n");
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Local));
    /// ```
    pub fn finish(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.finish(self.key);
    }

    /// As [`finish`](Conn::finish), with a WebSocket close code and a reason (cut to 123 bytes; RFC 6455, 5.5.1); framings
    /// without close codes pass both by. 1010 is for clients to say: of a server's it becomes 1000.
    ///
    /// ```
    /// use wheelhouse::{Action, CloseCode, Conn, Handler, Message};
    ///
    /// struct TextOnly;
    ///
    /// impl Handler for TextOnly {
    ///     type Session = ();
    ///
    ///     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///         if message.text().is_none() {
    ///             conn.finish_with(CloseCode::UNSUPPORTED, "text only");
    ///         }
    ///         Action::Continue
    ///     }
    /// }
    /// ```
    pub fn finish_with(&mut self, code: CloseCode, reason: &str) {
        self.reactor.core.settle();
        self.reactor.core.finish_with(self.key, code, reason);
    }

    /// Closes at once: what the kernel takes now goes out, the rest counts as [`Closed::unsent`](crate::Closed::unsent). When input was left
    /// unread the kernel resets the connection.
    ///
    /// ```
    /// use wheelhouse::{Action, CloseReason, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Hasty;
    /// # impl Handler for Hasty {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
    ///     conn.send("the answer");
    ///     conn.close();
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Hasty);
    /// let client = bench.open(Framing::lines(80));
    /// bench.take_window(client, 4);
    /// bench.message(client, "well?");
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Local)); // without waiting
    /// assert_eq!(bench.output(client), b"the ");
    /// ```
    pub fn close(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.close(self.key, CloseReason::Local);
    }

    /// Closes with a reset: nothing more goes out.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Rude;
    /// # impl Handler for Rude {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     conn.send(message);
    ///     conn.reset();
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Rude);
    /// let client = bench.open(Framing::lines(80));
    /// bench.message(client, "hello");
    /// assert!(bench.output(client).is_empty() && bench.output_reset(client));
    /// ```
    pub fn reset(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.reset(self.key, CloseReason::Local);
    }

    /// Sends FIN behind what is queued, and goes on reading, for as long as the peer likes. No send is accepted from now on. Once the peer's FIN has come
    /// too, the connection closes.
    ///
    /// ```
    /// # use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Listener;
    /// # impl Handler for Listener {
    /// #     type Session = u32;
    /// fn on_message(&mut self, conn: &mut Conn<'_>, heard: &mut u32, message: Message<'_>) -> Action {
    ///     *heard += 1;
    ///     conn.send(message);
    ///     conn.shutdown_write();
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// # let mut bench = Bench::new(|_| Listener);
    /// # let client = bench.open(Framing::lines(80));
    /// bench.answer_fin(client, false);
    /// bench.input(client, b"one\n");
    /// bench.input(client, b"two\n"); // is heard, and cannot be answered
    /// assert!(bench.output_ended(client));
    /// assert_eq!((bench.output(client), bench.session(client)), (b"one\n".to_vec(), Some(&mut 2)));
    /// bench.eof(client);
    /// assert!(bench.closed(client).is_some());
    /// ```
    pub fn shutdown_write(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.shutdown_write(self.key);
    }
}
