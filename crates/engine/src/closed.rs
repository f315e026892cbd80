use std::{io, net::SocketAddr};

use crate::{CloseReason, ConnId, ListenerId, Reactor, Tag};

/// A connection that is gone: what is left to know of it. It has no `send`.
///
/// ```
/// use wheelhouse::{Action, Closed, Conn, Framing, Handler, Message, testing::Bench};
///
/// struct Log(Vec<String>);
///
/// impl Handler for Log {
///     type Session = u32;
///
///     fn on_message(&mut self, _: &mut Conn<'_>, messages: &mut u32, _: Message<'_>) -> Action {
///         *messages += 1;
///         Action::Continue
///     }
///
///     fn on_close(&mut self, closed: &mut Closed<'_>, messages: u32) {
///         self.0.push(format!("{}: {}, {messages} messages", closed.id(), closed.reason()));
///     }
/// }
///
/// let mut bench = Bench::new(|_| Log(Vec::new()));
/// let client = bench.open(Framing::lines(80));
/// bench.message(client, "hello");
/// bench.reset(client);
/// assert_eq!(bench.handler().0, ["0.0.1: I/O error, 1 messages"]);
/// ```
pub struct Closed<'a> {
    pub(crate) reactor: Reactor<'a>,
    pub(crate) id: ConnId,
    pub(crate) tag: Tag,
    pub(crate) listener: Option<ListenerId>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) opened: bool,
    pub(crate) reason: CloseReason,
    pub(crate) error: Option<io::Error>,
    pub(crate) unsent: u64,
}

impl<'a> Closed<'a> {
    /// Its name, never used again.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The number it was dialled or adopted with; 0 for accepted ones.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The listener it came through; none when it was dialled or adopted.
    ///
    /// ```
    /// use wheelhouse::{Closed, Engine, Handler, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct PerListener([u32; 2]);
    /// # impl Handler for PerListener {
    /// #     type Session = ();
    /// fn on_close(&mut self, closed: &mut Closed<'_>, _: ()) {
    ///     if let Some(ListenerId(number)) = closed.listener() {
    ///         self.0[usize::from(number)] += 1;
    ///     }
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().listen("tcp://127.0.0.1:0").listen("unix:@app");
    /// let mut bench = Bench::with_options(builder, |_| PerListener([0; 2]));
    /// let local = bench.open_on(ListenerId(1));
    /// bench.eof(local);
    /// assert_eq!(bench.handler().0, [0, 1]);
    /// ```
    pub fn listener(&self) -> Option<ListenerId> {
        self.listener
    }

    /// The peer's address; none for Unix sockets, and for names that were never resolved.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use wheelhouse::{Closed, Engine, Handler, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Gone(Vec<SocketAddr>);
    /// # impl Handler for Gone {
    /// #     type Session = ();
    /// fn on_close(&mut self, closed: &mut Closed<'_>, _: ()) {
    ///     self.0.extend(closed.peer_addr());
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("tcp://*:9000"), |_| Gone(Vec::new()));
    /// let client = bench.open_from(ListenerId(0), "192.0.2.1:1234".parse()?);
    /// bench.reset(client);
    /// assert_eq!(bench.handler().0, ["192.0.2.1:1234".parse()?]);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether `on_open` was called; not so for one dialled in vain, one whose PROXY header, TLS or WebSocket's request
    /// came to nothing, and an adopted one that broke before its turn.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use wheelhouse::{Closed, Connect, Handler, On, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Log(Vec<(Tag, bool)>);
    /// # impl Handler for Log {
    /// #     type Session = ();
    /// fn on_close(&mut self, closed: &mut Closed<'_>, _: ()) {
    ///     self.0.push((closed.tag(), closed.opened()));
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Log(Vec::new()));
    /// bench.handle().connect(On::Any, Connect::to("tcp://192.0.2.1:80").tag(Tag(7)))?;
    /// let id = bench.dialled()[0].id;
    /// bench.refuse(id, ErrorKind::ConnectionRefused.into());
    /// assert_eq!(bench.handler().0, [(Tag(7), false)]);
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn opened(&self) -> bool {
        self.opened
    }

    /// Why.
    pub fn reason(&self) -> &CloseReason {
        &self.reason
    }

    /// What the system, the resolver or the protocol said, where one of them did.
    ///
    /// ```
    /// use wheelhouse::{Closed, Framing, Handler, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Log(Vec<String>);
    /// # impl Handler for Log {
    /// #     type Session = ();
    /// fn on_close(&mut self, closed: &mut Closed<'_>, _: ()) {
    ///     let said = closed.error().map(|error| error.to_string());
    ///     self.0.push(format!("{}: {}", closed.reason(), said.unwrap_or_default()));
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Log(Vec::new()));
    /// let client = bench.open(Framing::lines(10));
    /// bench.input(client, b"far too long\n");
    /// assert_eq!(bench.handler().0, ["protocol error: a line of more than 10 B"]);
    /// ```
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Bytes that `send` accepted and the kernel never took; of a connection that was taken out they are in
    /// [`Detached::unsent`](crate::Detached::unsent). What it took may still be lost when the reason is not a
    /// graceful one.
    ///
    /// ```
    /// use wheelhouse::{Action, Closed, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Unsent(u64);
    /// # impl Handler for Unsent {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     conn.send(message);
    ///     Action::Close
    /// }
    ///
    /// fn on_close(&mut self, closed: &mut Closed<'_>, _: ()) {
    ///     self.0 += closed.unsent();
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Unsent(0));
    /// let client = bench.open(Framing::lines(80));
    /// bench.take_window(client, 2);
    /// bench.message(client, "hello");
    /// assert_eq!((bench.output(client), bench.handler().0), (b"he".to_vec(), 4)); // "llo" and the line's end
    /// ```
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// The reactor: its timers, its other connections, dialling.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Closed, Connect, Framing, Handler, Reactor, TimerKind, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Redials;
    /// # impl Handler for Redials {
    /// #     type Session = ();
    /// fn on_close(&mut self, closed: &mut Closed<'_>, _: ()) {
    ///     closed.reactor().set_timer(TimerKind(1), Duration::from_secs(1)); // not at once, over and over
    /// }
    ///
    /// fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, _: TimerKind) {
    ///     let _ = reactor.connect(Connect::to("tcp://192.0.2.1:80"));
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let mut bench = Bench::new(|_| Redials);
    /// # let upstream = bench.open(Framing::raw());
    /// bench.reset(upstream);
    /// assert!(bench.dialled().is_empty());
    /// bench.turn(Duration::from_secs(1));
    /// assert_eq!(bench.dialled().len(), 1);
    /// ```
    pub fn reactor(&mut self) -> &mut Reactor<'a> {
        &mut self.reactor
    }
}
