/// What became of a send, as far as it can be known at once: a corked payload has neither gone nor been refused by the
/// kernel.
///
/// ```
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, Sent, testing::Bench};
///
/// /// Counts to 100,000, as fast as its client reads.
/// struct Counting;
///
/// impl Handler for Counting {
///     type Session = u32;
///
///     fn on_writable(&mut self, conn: &mut Conn<'_>, next: &mut u32) -> Action {
///         while *next < 100_000 {
///             *next += 1;
///             match conn.send(next.to_string()) {
///                 Sent::Accepted => {}
///                 Sent::Full => return Action::Continue, // `on_writable` will come
///                 Sent::Refused(_) => return Action::Close,
///             }
///         }
///         Action::Finish
///     }
/// #     fn on_message(&mut self, conn: &mut Conn<'_>, next: &mut u32, _: Message<'_>) -> Action {
/// #         self.on_writable(conn, next)
/// #     }
/// }
///
/// let mut bench = Bench::new(|_| Counting);
/// let client = bench.open(Framing::lines(80));
/// bench.take_window(client, 0);
/// bench.message(client, "go"); // `on_message` begins as `on_writable` goes on
/// assert!(bench.session(client).is_some_and(|next| *next < 100_000));
/// bench.take_window(client, usize::MAX);
/// assert!(bench.output(client).ends_with(b"\n100000\n"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Taken; it leaves in order.
    Accepted,
    /// Taken, and the queue is over the high-water mark: `on_writable` will come once it is down to the low one.
    Full,
    /// Nothing of it was taken.
    Refused(Refusal),
}

/// Why nothing of a payload was taken.
///
/// ```
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, Refusal, Sent, testing::Bench};
/// # struct Outcomes(Vec<Sent>);
/// # impl Handler for Outcomes {
/// #     type Session = ();
/// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///     self.0.push(conn.send("two\nlines"));
///     self.0.push(conn.send(vec![b'x'; 64 << 20]));
///     conn.finish();
///     self.0.push(conn.send("too late"));
///     Action::Continue
/// }
/// # }
///
/// # let mut bench = Bench::new(|_| Outcomes(Vec::new()));
/// # let client = bench.open(Framing::lines(80));
/// # bench.message(client, "go");
/// let refused = [Refusal::NotEncodable, Refusal::OverLimit, Refusal::Closing];
/// assert_eq!(bench.handler().0, refused.map(Sent::Refused));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The connection is closing, its writing half is already closed, or nothing can be sent yet: its PROXY header or its
    /// WebSocket's request has not come or not been answered, or its TLS handshake is under way.
    Closing,
    /// With it the queue would exceed the listener's limit; larger than the limit itself, it can never be sent.
    OverLimit,
    /// The protocol cannot carry it: a newline in a line, a length that does not fit.
    NotEncodable,
}

impl Sent {
    /// Whether the queue is over the high-water mark.
    ///
    /// ```
    /// use wheelhouse::{Refusal, Sent};
    ///
    /// assert!(Sent::Full.is_full() && !Sent::Full.is_refused()); // taken all the same
    /// assert!(!Sent::Refused(Refusal::OverLimit).is_full());
    /// ```
    pub fn is_full(self) -> bool {
        matches!(self, Sent::Full)
    }

    /// Whether nothing of it was taken.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     if conn.send(message).is_refused() { Action::Close } else { Action::Continue }
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Echo);
    /// let client = bench.open(Framing::lines(80));
    /// bench.input(client, b"a bare\rCR\n"); // is taken, and cannot be sent
    /// assert!(bench.closed(client).is_some());
    /// ```
    pub fn is_refused(self) -> bool {
        matches!(self, Sent::Refused(_))
    }
}

/// What a connection refuses when it is gone: a shorthand for the core.
pub(crate) const GONE: Sent = Sent::Refused(Refusal::Closing);
