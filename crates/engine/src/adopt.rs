use std::{
    fmt, io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use socket2::{SockRef, Type};

use crate::{
    Error, Framing, Policy, Result, Tag,
    rules::{Heartbeat, Rules, WaterMarks},
};

/// A connected socket that somebody else opened, to be served by the engine, and how the connection behaves.
///
/// A stream socket, TCP or Unix, of whatever origin: taken over from another process, out of another engine
/// ([`Conn::detach`](crate::Conn::detach)), or connected in some way that [`Connect`](crate::Connect) does not know. Its
/// options (`TCP_NODELAY`, buffers) stay as they are; it becomes non-blocking. While somebody holds a duplicate of
/// it, a close is told to the peer when the last one is closed.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use wheelhouse::{Adopt, Framing, Tag};
///
/// let (ours, _theirs) = UnixStream::pair()?;
/// let child = Adopt::new(ours).framing(Framing::lines(4096)).tag(Tag(7));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Adopt {
    pub(crate) socket: OwnedFd,
    pub(crate) manner: Box<Manner>,
}

/// How an adopted connection behaves; apart, for what is not taken comes back in an error.
#[derive(Debug)]
pub(crate) struct Manner {
    pub(crate) framing: Framing,
    pub(crate) rules: Rules,
    pub(crate) tag: Tag,
    pub(crate) unread: Vec<u8>,
}

impl Adopt {
    /// This socket.
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use wheelhouse::{Adopt, Error, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// bench.handle().adopt(On::Any, Adopt::new(ours))?;
    /// bench.run();
    /// assert_eq!(bench.handle().count(), 1);
    ///
    /// let back = bench.handle().adopt(On::Any, std::fs::File::open("/dev/null")?).unwrap_err();
    /// assert!(matches!(back.error, Error::CannotAdopt { why: "it is no socket", .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(socket: impl Into<OwnedFd>) -> Self {
        let (framing, rules, tag) = (Framing::raw(), Rules::default(), Tag::default());
        let manner = Manner { framing, rules, tag, unread: Vec::new() };
        Adopt { socket: socket.into(), manner: Box::new(manner) }
    }

    /// How bytes become messages; raw by default. Not as a WebSocket's, which begin with a handshake. See
    /// [`unread`](Adopt::unread).
    pub fn framing(mut self, framing: Framing) -> Self {
        self.manner.framing = framing;
        self
    }

    /// A number of the user's own, given back by [`Conn::tag`](crate::Conn::tag) and [`Closed::tag`](crate::Closed::tag).
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use wheelhouse::{Action, Adopt, Conn, Handler, On, Tag, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct Tags(Vec<Tag>);
    /// # impl Handler for Tags {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     self.0.push(conn.tag());
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Tags(Vec::new()));
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// bench.handle().adopt(On::Any, Adopt::new(ours).tag(Tag(7)))?;
    /// assert_eq!(bench.handler().0, [Tag(7)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.manner.tag = tag.into();
        self
    }

    /// What was read from the socket already and not used: the connection's first input.
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use wheelhouse::{Adopt, Framing, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Heard(Vec<String>);
    /// # impl Handler for Heard {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         self.0.extend(message.text().map(str::to_owned));
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Heard(Vec::new())); // writes down what it hears
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let adopt = Adopt::new(ours).framing(Framing::lines(80)).unread("hello\nand th");
    /// bench.handle().adopt(On::Any, adopt)?;
    /// assert_eq!(bench.handler().0, ["hello"]); // the rest waits for the end of its line
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unread(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.manner.unread = bytes.into();
        self
    }

    /// As [`Listener::water_marks`](crate::Listener::water_marks).
    pub fn water_marks(mut self, low: usize, high: usize, limit: usize) -> Self {
        self.manner.rules.marks = WaterMarks { low, high, limit };
        self
    }

    /// As [`Listener::policy`](crate::Listener::policy).
    pub fn policy(mut self, policy: Policy) -> Self {
        self.manner.rules.policy = policy;
        self
    }

    /// As [`Listener::heartbeat`](crate::Listener::heartbeat).
    ///
    /// ```
    /// use std::{os::unix::net::UnixStream, time::Duration};
    /// use wheelhouse::{Adopt, Error, Framing, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let bench = Bench::new(|_| Silent);
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let (every, timeout) = (Duration::from_secs(30), Duration::from_secs(90));
    /// let adopt = Adopt::new(ours).framing(Framing::lines(80)).heartbeat(every, timeout);
    /// let back = bench.handle().adopt(On::Any, adopt).unwrap_err(); // lines have no pings by themselves
    /// assert!(matches!(back.error, Error::BadOption { option: "heartbeat", .. }));
    ///
    /// let adopt = back.what.framing(Framing::lines(80).with_heartbeat("PING", "PONG"));
    /// assert!(bench.handle().adopt(On::Any, adopt).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn heartbeat(mut self, every: Duration, timeout: Duration) -> Self {
        self.manner.rules.heartbeat = Some(Heartbeat { every, timeout });
        self
    }

    /// Looks at everything about it, and makes the socket non-blocking.
    pub(crate) fn prepare(&self) -> Result<()> {
        let fd = self.socket.as_raw_fd();
        self.manner.rules.validate(&self.manner.framing, &format!("descriptor {fd}"))?;
        self.manner.framing.needs_no_handshake("an adopted socket")?;
        let cannot = |why| move |source| Error::CannotAdopt { fd, why, source };
        let socket = SockRef::from(&self.socket);
        let kind = socket.r#type().map_err(cannot("it is no socket"))?;
        if kind != Type::STREAM {
            let source = io::Error::other(format!("its type is {kind:?}"));
            return Err(cannot("it is no stream socket")(source));
        }
        socket.peer_addr().map_err(cannot("it is not connected"))?;
        socket.set_nonblocking(true).map_err(cannot("cannot make it non-blocking"))
    }

    pub(crate) fn is_unix(&self) -> bool {
        SockRef::from(&self.socket).local_addr().is_ok_and(|address| address.is_unix())
    }
}

impl<T: Into<OwnedFd>> From<T> for Adopt {
    fn from(socket: T) -> Self {
        Adopt::new(socket)
    }
}

/// What the engine did not take over comes back, with the reason.
///
/// ```
/// use wheelhouse::{Adopt, Handle, On};
///
/// fn hand_over(handle: &Handle, socket: std::net::TcpStream) {
///     if let Err(back) = handle.adopt(On::Any, socket) {
///         eprintln!("{}", back.error);
///         let _still_ours: Adopt = back.what;
///     }
/// }
/// ```
pub struct NotTaken<T> {
    /// What was to be taken over.
    pub what: T,
    /// Why it was not.
    pub error: Error,
}

impl<T> fmt::Debug for NotTaken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotTaken").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for NotTaken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for NotTaken<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<T> From<NotTaken<T>> for Error {
    fn from(not_taken: NotTaken<T>) -> Error {
        not_taken.error
    }
}
