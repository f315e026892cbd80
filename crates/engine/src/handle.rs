use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    sync::atomic::Ordering,
    time::Duration,
};

use crate::{
    Adopt, Audience, CloseCode, ConnId, Connect, Error, ListenerId, NotTaken, Payload, ReactorId, Reply,
    Result, Stats, Tag, Tls,
    mailbox::{Command, Place},
    shared::{self, ReactorShared, Shared},
    watched,
};

/// The other reactor's mailbox is full; what was meant for it comes back.
///
/// ```
/// use wheelhouse::{Engine, Framing, MailboxFull, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Silent;
/// # impl Handler for Silent {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let mut bench = Bench::with_options(Engine::builder().mailbox(16), |_| Silent);
/// let client = bench.open(Framing::lines(80));
/// let handle = bench.handle();
/// assert!((0..16).all(|_| handle.send(client, "hello").is_ok()));
/// let MailboxFull(back) = handle.send(client, "too many").unwrap_err();
/// assert_eq!(back.bytes(), b"too many");
/// assert_eq!(bench.output(client), b"hello\n".repeat(16)); // the reactor has looked
/// assert!(handle.send(client, back).is_ok());
/// ```
///
/// When this was asked on the thread of a reactor of the same engine, that reactor's handler is told by
/// [`on_room`](crate::Handler::on_room) once there is room.
pub struct MailboxFull<T>(pub T);

impl<T> std::fmt::Debug for MailboxFull<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MailboxFull(..)")
    }
}

impl<T> std::fmt::Display for MailboxFull<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reactor's mailbox is full")
    }
}

impl<T> std::error::Error for MailboxFull<T> {}

/// Which reactor a connection is to be dialled on, a socket adopted, a descriptor watched.
///
/// ```
/// use wheelhouse::{Connect, Framing, On, ReactorId, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Silent;
/// # impl Handler for Silent {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let mut bench = Bench::new(|_| Silent);
/// let client = bench.open(Framing::raw());
/// let handle = bench.handle();
/// for on in [On::Any, On::Reactor(ReactorId(0)), On::Owner(client)] {
///     handle.connect(on, Connect::to("tcp://192.0.2.1:80"))?;
/// }
/// assert!(bench.dialled().iter().all(|dialled| dialled.id.reactor() == client.reactor()));
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// One after the other.
    Any,
    /// That one.
    Reactor(ReactorId),
    /// The one that this connection is on.
    Owner(ConnId),
}

/// Talks to an engine from any thread, for as long as one likes.
///
/// What it asks travels through the owning reactor's bounded mailbox, in order, with at most one wake-up until the reactor
/// is awake. Asked on the reactor's own thread it goes no such way, and keeps its place among what the callback asks of
/// its `Conn`. What carries a payload, a closure or an address is refused by a full mailbox; what closes or resumes never
/// is, and waits its turn in the same queue. What is asked for a connection that is gone is counted and dropped, and never reaches another one.
///
/// ```
/// use std::thread;
/// use wheelhouse::{Audience, Framing, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Silent;
/// # impl Handler for Silent {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let mut bench = Bench::new(|_| Silent);
/// let (one, two) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
/// let handle = bench.handle(); // as of an engine: `engine.handle()`
/// let speaker = thread::spawn(move || {
///     handle.send(one, "only you").expect("the mailbox has room");
///     handle.broadcast(Audience::Open, "everyone").expect("the mailbox has room");
///     handle.close(two);
/// });
/// speaker.join().expect("no panic");
/// assert_eq!(bench.output(one), b"only you\neveryone\n");
/// assert_eq!(bench.output(two), b"everyone\n");
/// assert!(!bench.handle().is_open(two));
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Handle { shared }
    }

    // ---- what a full mailbox refuses

    /// Sends to one connection. What the connection itself refuses when the payload's turn comes (its queue is at the limit, its
    /// framing cannot carry it) is counted, in [`Counters::sends_refused`](crate::Counters::sends_refused) or
    /// [`late_commands`](crate::Counters::late_commands), and told to nobody: who must know posts a closure.
    ///
    /// ```
    /// use wheelhouse::{Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let (here, gone) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
    /// bench.reset(gone);
    /// bench.handle().send(here, "hello")?;
    /// bench.handle().send(gone, "hello")?; // no error
    /// assert_eq!(bench.output(here), b"hello\n");
    /// assert_eq!(bench.handle().stats().total().late_commands, 1);
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the payload. A connection that is gone is no error: it may go while the payload travels.
    pub fn send(
        &self,
        to: ConnId,
        payload: impl Into<Payload<'static>>,
    ) -> Result<(), MailboxFull<Payload<'static>>> {
        let payload = payload.into();
        let Some((reactor, owner)) = self.owner(to) else { return Ok(()) };
        match self.reserve(reactor, owner) {
            Some(place) => self.put_in(reactor, owner, place, Command::Send { to, payload }),
            None => return Err(MailboxFull(payload)),
        }
        Ok(())
    }

    /// As [`send`](Handle::send), waiting so long for room; on a reactor's thread it does not wait.
    ///
    /// ```
    /// # use std::{thread, time::Duration};
    /// use wheelhouse::{Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().mailbox(16), |_| Silent);
    /// let client = bench.open(Framing::lines(80));
    /// let handle = bench.handle();
    /// let speaker = thread::spawn(move || {
    ///     (0..100).all(|_| handle.send_timeout(client, "tick", Duration::from_secs(5)).is_ok())
    /// });
    /// let mut heard = 0;
    /// while !speaker.is_finished() {
    ///     heard += bench.output(client).len() / b"tick\n".len(); // each look makes room
    /// }
    /// heard += bench.output(client).len() / b"tick\n".len();
    /// assert_eq!((speaker.join().expect("no panic"), heard), (true, 100));
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the payload.
    pub fn send_timeout(
        &self,
        to: ConnId,
        payload: impl Into<Payload<'static>>,
        wait: Duration,
    ) -> Result<(), MailboxFull<Payload<'static>>> {
        let payload = payload.into();
        let Some((reactor, owner)) = self.owner(to) else { return Ok(()) };
        match self.reserve_within(reactor, owner, wait) {
            Some(place) => self.put_in(reactor, owner, place, Command::Send { to, payload }),
            None => return Err(MailboxFull(payload)),
        }
        Ok(())
    }

    /// Sends the same to many connections: one command and one wake-up for each reactor that has some of them, one buffer
    /// for all.
    ///
    /// ```
    /// use wheelhouse::{Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let room = [(); 3].map(|()| bench.open(Framing::lines(80)));
    /// let outsider = bench.open(Framing::lines(80));
    /// bench.handle().send_many(&room, "to all of you")?;
    /// assert!(room.iter().all(|member| bench.output(*member) == b"to all of you\n"));
    /// assert!(bench.output(outsider).is_empty());
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the reactors that took nothing; the others took theirs.
    pub fn send_many(
        &self,
        to: &[ConnId],
        payload: impl Into<Payload<'static>>,
    ) -> Result<(), MailboxFull<Vec<ReactorId>>> {
        let payload = payload.into();
        let mut full = Vec::new();
        for (index, reactor) in self.shared.reactors.iter().enumerate() {
            let id = ReactorId(index as u16);
            let mut theirs: Vec<ConnId> = to.iter().copied().filter(|to| to.reactor() == id).collect();
            theirs.sort_unstable();
            if theirs.is_empty() {
                continue;
            }
            match self.reserve(id, reactor) {
                Some(place) => {
                    let command = Command::SendMany { to: theirs.into(), payload: payload.clone() };
                    self.put_in(id, reactor, place, command);
                }
                None => full.push(id),
            }
        }
        if full.is_empty() { Ok(()) } else { Err(MailboxFull(full)) }
    }

    /// Sends to every open connection, or every one of a listener: all reactors take it, or none does. One buffer serves
    /// all of them.
    ///
    /// ```
    /// use wheelhouse::{Audience, Bytes, Framing, LengthDelimited, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let lines = bench.open(Framing::lines(80));
    /// let frames = bench.open(Framing::length_delimited(LengthDelimited::u8()));
    /// bench.handle().broadcast(Audience::Open, Bytes::from_static(b"tick"))?;
    /// assert_eq!(bench.output(lines), b"tick\n"); // each by its own framing
    /// assert_eq!(bench.output(frames), b"\x04tick");
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the payload.
    pub fn broadcast(
        &self,
        to: Audience,
        payload: impl Into<Payload<'static>>,
    ) -> Result<(), MailboxFull<Payload<'static>>> {
        let payload = payload.into();
        let mut places = Vec::with_capacity(self.shared.reactors.len());
        for (index, reactor) in self.shared.reactors.iter().enumerate() {
            match self.reserve(ReactorId(index as u16), reactor) {
                Some(place) => places.push(place),
                None => {
                    for (index, place) in places.into_iter().enumerate() {
                        self.give_back(ReactorId(index as u16), place);
                    }
                    return Err(MailboxFull(payload));
                }
            }
        }
        for (index, (place, reactor)) in places.into_iter().zip(&self.shared.reactors).enumerate() {
            let command = Command::Broadcast { to, payload: payload.clone() };
            self.put_in(ReactorId(index as u16), reactor, place, command);
        }
        Ok(())
    }

    /// Dials from the engine. What the reactor itself refuses when its turn comes, because it is full or stopping, is logged
    /// and no more: there is no connection then. The connection's [`tag`](Connect::tag) tells which one it is, to `on_open` or, when it fails,
    /// to `on_close`.
    ///
    /// ```
    /// use wheelhouse::{Connect, Error, On, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let handle = bench.handle();
    /// handle.connect(On::Any, Connect::to("tcp://192.0.2.1:80").tag(Tag(7)))?;
    /// assert_eq!(bench.dialled()[0].tag, Tag(7)); // so will `Conn::tag` say in `on_open`
    /// handle.shutdown();
    /// let late = handle.connect(On::Any, Connect::to("tcp://192.0.2.1:80"));
    /// assert!(matches!(late, Err(Error::Stopping)));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// A bad address or option; [`Error::Stopping`]; [`Error::MailboxFull`].
    pub fn connect(&self, on: On, to: Connect) -> Result<()> {
        to.validate()?;
        let (reactor, place) = self.place(on)?;
        self.put_at(reactor, place, Command::Connect(Box::new(to)));
        Ok(())
    }

    /// Takes over a connected socket; its [`tag`](Adopt::tag) tells which connection it has become. What the reactor itself
    /// refuses when its turn comes, because it is full or stopping, is closed and logged.
    ///
    /// ```
    /// use std::{io::{Read, Write}, os::unix::net::UnixStream};
    /// use wheelhouse::{Engine, On};
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
    /// let engine = Engine::builder().reactors(1).build(|_| Echo)?;
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// engine.handle().adopt(On::Any, ours)?;
    /// let _running = engine.start()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// theirs.write_all(b"hello")?;
    /// let mut echo = [0; 5];
    /// theirs.read_exact(&mut echo)?;
    /// assert_eq!(&echo, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The socket comes back: it is no connected stream socket, an option is bad, the engine is stopping, the reactor's
    /// mailbox is full.
    pub fn adopt(&self, on: On, socket: impl Into<Adopt>) -> Result<(), NotTaken<Adopt>> {
        let adopt = socket.into();
        let (reactor, place) = match adopt.prepare().and_then(|()| self.place(on)) {
            Ok(taken) => taken,
            Err(error) => return Err(NotTaken { what: adopt, error }),
        };
        self.put_at(reactor, place, Command::Adopt(Box::new(adopt)));
        Ok(())
    }

    /// As [`Reactor::watch`](crate::Reactor::watch), on a reactor of one's choice.
    ///
    /// ```
    /// use std::fs::File;
    /// use wheelhouse::{Error, On, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let bench = Bench::new(|_| Silent);
    /// let (reader, _writer) = std::io::pipe()?;
    /// assert!(bench.handle().watch(On::Any, reader, Tag(1)).is_ok());
    /// let back = bench.handle().watch(On::Any, File::open("/proc/self/exe")?, Tag(2)).unwrap_err();
    /// assert!(matches!(back.error, Error::CannotWatch { .. })); // a regular file is always ready
    /// assert!(File::from(back.what).metadata()?.is_file());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The descriptor comes back: the system cannot watch it, the engine is stopping, the reactor's mailbox is full.
    pub fn watch(
        &self,
        on: On,
        fd: impl Into<OwnedFd>,
        tag: impl Into<Tag>,
    ) -> Result<(), NotTaken<OwnedFd>> {
        let fd = fd.into();
        let can_be_watched =
            watched::try_out(&fd).map_err(|source| Error::CannotWatch { fd: fd.as_raw_fd(), source });
        let (reactor, place) = match can_be_watched.and_then(|()| self.place(on)) {
            Ok(taken) => taken,
            Err(error) => return Err(NotTaken { what: fd, error }),
        };
        self.put_at(reactor, place, Command::Watch(fd, tag.into()));
        Ok(())
    }

    // ---- what is never refused

    /// As [`Conn::close`](crate::Conn::close).
    pub fn close(&self, id: ConnId) {
        self.put(id, Command::Close(id));
    }

    /// As [`Conn::reset`](crate::Conn::reset).
    pub fn reset(&self, id: ConnId) {
        self.put(id, Command::Reset(id));
    }

    /// As [`Conn::finish`](crate::Conn::finish).
    pub fn finish(&self, id: ConnId) {
        self.put(id, Command::Finish(id));
    }

    /// As [`Conn::finish_with`](crate::Conn::finish_with).
    ///
    /// ```
    /// use wheelhouse::{CloseCode, Engine, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Silent);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// bench.handle().finish_with(client, CloseCode::GOING_AWAY, "tomorrow");
    /// assert!(bench.output(client).ends_with(b"\x88\x0a\x03\xe9tomorrow"));
    /// ```
    pub fn finish_with(&self, id: ConnId, code: CloseCode, reason: &str) {
        self.put(id, Command::FinishWith(id, code, reason.into()));
    }

    /// Answers a request whose answer was put off by [`Reply::later`]; one that has been answered, or is gone, is counted among
    /// the [`late_commands`](crate::Counters::late_commands).
    ///
    /// ```
    /// use wheelhouse::{Conn, Engine, Handler, ListenerId, Reply, Request, testing::Bench};
    /// # use wheelhouse::{Action, Message};
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// # struct Asks;
    /// # impl Handler for Asks {
    /// #     type Session = ();
    /// fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), _: &Request<'_>) -> Reply {
    ///     Reply::later()
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Asks);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// assert_eq!(bench.output(client), b"");
    /// bench.handle().answer(client, Reply::status(403)); // from any thread
    /// bench.handle().answer(client, Reply::accept()); // too late
    /// assert!(bench.output(client).starts_with(b"HTTP/1.1 403 Forbidden\r\n"));
    /// assert_eq!(bench.handle().stats().total().late_commands, 1);
    /// ```
    pub fn answer(&self, id: ConnId, reply: Reply) {
        self.put(id, Command::Answer(id, Box::new(reply)));
    }

    /// As [`Conn::resume`](crate::Conn::resume): ends a pause or a hold.
    pub fn resume(&self, id: ConnId) {
        self.put(id, Command::Resume(id));
    }

    /// Stops the engine when its work is done. The connections that wait to be accepted are, and the listeners are closed;
    /// then every handler is told ([`Handler::on_stopping`](crate::Handler::on_stopping)), and the engine goes on until the last connection is gone, at
    /// most for `within` (24 days count as the longest): what is left then is closed as by [`shutdown`](Handle::shutdown). The first call counts; a shutdown
    /// may follow it. It does not wait: [`Running::join`](crate::Running::join) does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let (done, stays) = (bench.open(Framing::raw()), bench.open(Framing::raw()));
    /// bench.handle().drain(Duration::from_secs(60));
    /// bench.eof(done);
    /// assert_eq!(bench.closed(done), Some(&CloseReason::Peer { code: None }));
    /// assert_eq!(bench.closed(stays), None);
    /// bench.turn(Duration::from_secs(60));
    /// assert_eq!(bench.closed(stays), Some(&CloseReason::Shutdown));
    /// ```
    pub fn drain(&self, within: Duration) {
        self.shared.drain(within);
    }

    /// Stops the engine now: every connection is closed with [`CloseReason::Shutdown`](crate::CloseReason::Shutdown), in
    /// slices; the threads end when the last one is gone. It does not wait: [`Running::join`](crate::Running::join) does.
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::raw());
    /// bench.handle().shutdown();
    /// bench.run();
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Shutdown));
    /// ```
    pub fn shutdown(&self) {
        self.shared.stop();
    }

    /// Has the TLS handshakes of a listener go on with other certificates; connections go on as they are. As
    /// [`Tls::reload`](crate::Tls::reload).
    ///
    /// ```
    /// use wheelhouse::{Engine, Listener, ListenerId, Tls, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    /// # fn certificate() -> wheelhouse::Result<Tls> {
    /// #     let made = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate");
    /// #     Tls::new(made.cert.pem(), made.signing_key.serialize_pem())
    /// # }
    ///
    /// let secure = Listener::new("tls://*:9443").tls(certificate()?);
    /// let builder = Engine::builder().listen(secure).listen("tcp://*:9000");
    /// let bench = Bench::with_options(builder, |_| Silent);
    /// let renewed = certificate()?;
    /// assert!(bench.handle().reload_tls(ListenerId(0), &renewed).is_ok());
    /// assert!(bench.handle().reload_tls(ListenerId(1), &renewed).is_err()); // it has no TLS
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such listener, or it has no TLS.
    pub fn reload_tls(&self, listener: ListenerId, tls: &Tls) -> Result<()> {
        let found = self.shared.listeners.get(usize::from(listener.0)).and_then(|l| l.tls.as_ref());
        let Some(current) = found else {
            return Err(Error::BadOption {
                option: "listener",
                value: format!("{listener:?}"),
                allowed: "a listener with TLS".into(),
            });
        };
        current.reload(tls);
        Ok(())
    }

    // ---- what is known at once, without a lock

    /// Whether the connection is there: from its accept, or its dialling, until its `on_close` has returned.
    ///
    /// ```
    /// use wheelhouse::{Connect, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// bench.handle().connect(On::Any, Connect::to("tcp://192.0.2.1:80"))?;
    /// let id = bench.dialled()[0].id;
    /// assert!(bench.handle().is_open(id)); // while it is being dialled too
    /// bench.refuse(id, std::io::ErrorKind::ConnectionRefused.into());
    /// assert!(!bench.handle().is_open(id));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn is_open(&self, id: ConnId) -> bool {
        self.shared.owner(id).is_some_and(|(_, reactor)| reactor.roll.holds(id))
    }

    /// The connection that has this file descriptor.
    ///
    /// ```
    /// use std::{io::Read, os::fd::AsRawFd};
    /// use wheelhouse::{Action, Conn, Handle, Handler};
    /// # use wheelhouse::Message;
    /// # struct Finds(Handle);
    /// # impl Handler for Finds {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let fd = conn.fd().map(|fd| fd.as_raw_fd());
    ///     let found = fd.and_then(|fd| self.0.find(fd)); // in any thread
    ///     conn.send(if found == Some(conn.id()) { "found" } else { "lost" });
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = wheelhouse::Engine::builder().reactors(1).build(|spot| Finds(spot.handle()))?;
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # engine.handle().adopt(wheelhouse::On::Any, ours)?;
    /// # let _running = engine.start()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # let mut answer = String::new();
    /// # theirs.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "found");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find(&self, fd: i32) -> Option<ConnId> {
        self.shared.fds.find(fd)
    }

    /// Every connection that has a descriptor (one whose name is being resolved has none); those that come or go meanwhile may or may not be among them.
    ///
    /// ```
    /// use std::{os::unix::net::UnixStream, sync::mpsc::channel, time::Duration};
    /// use wheelhouse::{Action, Conn, ConnId, Engine, Handler, On};
    /// # use wheelhouse::Message;
    /// # use std::sync::mpsc::Sender;
    /// # struct Tells(Sender<ConnId>);
    /// # impl Handler for Tells {
    /// #     type Session = ();
    /// #     fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #         let _ = self.0.send(conn.id());
    /// #         Action::Continue
    /// #     }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let (sender, opened) = channel();
    /// # let engine = Engine::builder().reactors(1).build(move |_| Tells(sender.clone()))?;
    /// let handle = engine.handle();
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// handle.adopt(On::Any, ours)?;
    /// let _running = engine.start()?;
    /// let id = opened.recv_timeout(Duration::from_secs(5))?; // what `on_open` saw
    /// assert_eq!(handle.connections().collect::<Vec<_>>(), [id]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.shared.fds.iter()
    }

    /// How many connections there are, those on their way to their reactor included.
    ///
    /// ```
    /// use wheelhouse::{Connect, Framing, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::raw());
    /// bench.handle().connect(On::Any, Connect::to("tcp://192.0.2.1:80"))?;
    /// bench.run();
    /// assert_eq!(bench.handle().count(), 2); // what is being dialled counts
    /// bench.reset(client);
    /// assert_eq!(bench.handle().count(), 1);
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn count(&self) -> usize {
        self.shared.count()
    }

    /// How many reactors there are.
    pub fn reactors(&self) -> usize {
        self.shared.reactors.len()
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        Stats {
            main: self.shared.main.stats.load(),
            reactors: self.shared.reactors.iter().map(|reactor| reactor.stats.load()).collect(),
        }
    }

    // ---- how a command travels

    pub(crate) fn owner(&self, id: ConnId) -> Option<(ReactorId, &ReactorShared)> {
        self.shared.owner(id).filter(|(_, owner)| !owner.mailbox.is_closed())
    }

    /// A place in the mailbox of the reactor that is meant.
    fn place(&self, on: On) -> Result<(ReactorId, Place)> {
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(Error::Stopping);
        }
        let reactor = match on {
            On::Any => {
                let next = self.shared.next_dial.fetch_add(1, Ordering::Relaxed);
                ReactorId((next % self.shared.reactors.len()) as u16)
            }
            On::Reactor(reactor) => reactor,
            On::Owner(id) => id.reactor(),
        };
        let Some(found) = self.shared.reactor(reactor) else {
            return Err(Error::BadOption {
                option: "on",
                value: format!("reactor {reactor}"),
                allowed: format!("0 to {}", self.shared.reactors.len() - 1),
            });
        };
        match self.reserve(reactor, found) {
            Some(place) => Ok((reactor, place)),
            None => Err(Error::MailboxFull { reactor }),
        }
    }

    fn put_at(&self, reactor: ReactorId, place: Place, command: Command) {
        if let Some(found) = self.shared.reactor(reactor) {
            self.put_in(reactor, found, place, command);
        }
    }

    /// Takes a place; a reactor that gets none is told when there is room.
    pub(crate) fn reserve(&self, reactor: ReactorId, of: &ReactorShared) -> Option<Place> {
        if let Some(place) = of.mailbox.reserve() {
            return Some(place);
        }
        let (own, _) = shared::current(&self.shared)?;
        if of.mailbox.tell_room(own) {
            // There is room by now, but the answer is given already: it is told like any other.
            self.shared.reactor(own)?.put(Command::Room(reactor));
        }
        None
    }

    /// A place that was not used is room for those who were refused meanwhile.
    fn give_back(&self, reactor: ReactorId, place: Place) {
        let Some(of) = self.shared.reactor(reactor) else { return };
        of.mailbox.unreserve(place);
        of.mailbox.announce_room(|refused| {
            if let Some(refused) = self.shared.reactor(refused) {
                refused.put(Command::Room(reactor));
            }
        });
    }

    pub(crate) fn reserve_within(
        &self,
        reactor: ReactorId,
        of: &ReactorShared,
        wait: Duration,
    ) -> Option<Place> {
        if shared::is_reactor_thread() {
            return self.reserve(reactor, of);
        }
        of.mailbox.reserve_within(wait)
    }

    pub(crate) fn put_in(&self, reactor: ReactorId, of: &ReactorShared, place: Place, command: Command) {
        match shared::current(&self.shared) {
            Some((own, local)) if own == reactor => {
                place.keep();
                local.push(command);
            }
            _ => of.put_in(place, command),
        }
    }

    fn put(&self, id: ConnId, command: Command) {
        let Some((reactor, owner)) = self.owner(id) else { return };
        match shared::current(&self.shared) {
            Some((own, local)) if own == reactor => local.push(command),
            _ => _ = owner.put(command),
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("reactors", &self.reactors()).field("count", &self.count()).finish()
    }
}
