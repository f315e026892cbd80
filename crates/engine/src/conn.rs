use std::{
    io,
    net::SocketAddr,
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use socket2::{SockRef, TcpKeepalive};

use crate::{
    CloseCode, CloseReason, ConnId, Control, Detached, Framing, Kind, ListenerId, Payload, Reactor, Result,
    Sent, Tag, TimerKind, Tls, TlsClient, TlsInfo,
    connection::{Connection, Flags},
    id::Key,
    sub_reactor::Core,
    transport::Session,
};

/// One connection, for the time of one callback: what a handler may do to it.
///
/// It cannot leave its reactor's thread; what should reach the connection later takes its [`id`](Conn::id) and a
/// [`Handle`](crate::Handle). What is asked of a connection that is closing does nothing, and where there is an answer,
/// the answer says so.
///
/// ```
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
///
/// struct Greeter;
///
/// impl Handler for Greeter {
///     type Session = String;
///
///     fn on_message(&mut self, conn: &mut Conn<'_>, name: &mut String, message: Message<'_>) -> Action {
///         if name.is_empty() {
///             *name = String::from_utf8_lossy(message.bytes()).into_owned();
///         }
///         conn.send(&*name); // no copy of the name, and none of the message
///         conn.send(message);
///         Action::Continue
///     }
/// }
///
/// let mut bench = Bench::new(|_| Greeter);
/// let client = bench.open(Framing::lines(80));
/// bench.input(client, b"Ann\nhello\n");
/// assert_eq!(bench.output(client), b"Ann\nAnn\nAnn\nhello\n");
/// ```
pub struct Conn<'a> {
    reactor: Reactor<'a>,
    key: Key,
    id: ConnId,
}

impl<'a> Conn<'a> {
    pub(crate) fn new(core: &'a mut Core, key: Key, id: ConnId) -> Conn<'a> {
        Conn { reactor: Reactor::new(core), key, id }
    }
}

/// # Who it is
impl Conn<'_> {
    /// Its name.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, ConnId, Framing, Handler, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct Members(Vec<ConnId>);
    /// # impl Handler for Members {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     self.0.push(conn.id()); // `conn` itself is gone when this returns
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Members(Vec::new()));
    /// let client = bench.open(Framing::raw());
    /// assert_eq!(bench.handler().0, [client]);
    /// ```
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The number it was dialled or adopted with; 0 for accepted ones.
    ///
    /// ```
    /// # use wheelhouse::{Action, Conn, Connect, Framing, Handler, On, Tag, testing::Bench};
    /// # use wheelhouse::Message;
    /// const NEWS: Tag = Tag(1);
    /// # struct Reader;
    /// # impl Handler for Reader {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     if conn.tag() == NEWS {
    ///         conn.send("SUBSCRIBE news");
    ///     }
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Reader);
    /// let upstream = Connect::to("tcp://192.0.2.1:6379").framing(Framing::lines(80)).tag(NEWS);
    /// bench.handle().connect(On::Any, upstream)?;
    /// let id = bench.dialled()[0].id;
    /// bench.connected(id);
    /// assert_eq!(bench.output(id), b"SUBSCRIBE news\n");
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn tag(&self) -> Tag {
        self.connection().and_then(|c| c.extras.as_ref()).map_or(Tag::default(), |extras| extras.tag)
    }

    /// The listener it came through; none when it was dialled or adopted.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Engine, Handler, ListenerId, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct ReadOnly;
    /// # impl Handler for ReadOnly {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     if conn.listener() == Some(ListenerId(1)) { Action::Continue } else { Action::Close }
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().listen("tcp://*:9000").listen("unix:@app");
    /// let mut bench = Bench::with_options(builder, |_| ReadOnly);
    /// let (remote, local) = (bench.open_on(ListenerId(0)), bench.open_on(ListenerId(1)));
    /// assert!(bench.closed(remote).is_some() && bench.closed(local).is_none());
    /// ```
    pub fn listener(&self) -> Option<ListenerId> {
        self.core().profiles.get(self.connection()?.profile)?.listener
    }

    /// The subprotocol of a WebSocket (RFC 6455, 1.9), where one was agreed on.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Engine, Handler, ListenerId, Reply, Request, testing::Bench};
    /// # use wheelhouse::Message;
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Protocol: xml, json\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// # struct Rooms;
    /// # impl Handler for Rooms {
    /// #     type Session = ();
    /// fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), _: &Request<'_>) -> Reply {
    ///     Reply::accept().subprotocol("json")
    /// }
    ///
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     conn.send(if conn.subprotocol() == Some("json") { "{}" } else { "<room/>" });
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Rooms);
    /// # let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO); // offers xml and json
    /// assert!(bench.output(client).ends_with(b"\x81\x02{}"));
    /// ```
    pub fn subprotocol(&self) -> Option<&str> {
        self.core().subprotocol(self.key)
    }

    /// What its TLS handshake agreed on; none without TLS, or before the handshake's end.
    ///
    /// ```
    /// # use std::{sync::mpsc::channel, time::Duration};
    /// use wheelhouse::{Action, Conn, Handler, Tls, TlsClient, TlsVersion};
    /// # use wheelhouse::{Connect, Engine, Listener, On};
    /// # use wheelhouse::Message;
    /// # use std::sync::mpsc::Sender;
    /// # struct Secure(Sender<String>);
    /// # impl Handler for Secure {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     if let Some(tls) = conn.tls().filter(|tls| tls.version() == TlsVersion::Tls13) {
    ///         let _ = self.0.send(format!("{:?}", tls.alpn().map(String::from_utf8_lossy)));
    ///     }
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()])?;
    /// # let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    /// # let (sender, agreed) = channel();
    /// let tls = Tls::builder().certificate(&*pem, key).alpn(["chat"]).build()?;
    /// # let listener = Listener::new("tls://127.0.0.1:0").tls(tls);
    /// # let engine = Engine::builder().listen(listener).reactors(1).build(move |_| Secure(sender.clone()))?;
    /// let client = TlsClient::builder("example.org").roots(pem).alpn(["mail", "chat"]).build()?;
    /// # let there = engine.addresses()[0].to_string().replace("tcp:", "tls:");
    /// # engine.handle().connect(On::Any, Connect::to(there).tls(client))?;
    /// # let _running = engine.start()?;
    /// for _end in 0..2 { // one engine has both ends
    ///     assert_eq!(agreed.recv_timeout(Duration::from_secs(5))?, "Some(\"chat\")");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tls(&self) -> Option<TlsInfo<'_>> {
        self.connection()?.secure()?.session.info()
    }

    /// The peer's address; none for Unix sockets. Kept from the accept: it is known even after a reset. An IPv4 peer of a
    /// dual-stack listener has its IPv4 address.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Engine, Handler, ListenerId, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct LocalOnly;
    /// # impl Handler for LocalOnly {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     match conn.peer_addr() {
    ///         Some(peer) if !peer.ip().is_loopback() => Action::Reset,
    ///         _ => Action::Continue,
    ///     }
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("tcp://*:9000"), |_| LocalOnly);
    /// let stranger = bench.open_from(ListenerId(0), "192.0.2.1:1234".parse()?);
    /// let neighbour = bench.open_from(ListenerId(0), "127.0.0.1:1234".parse()?);
    /// assert!(bench.output_reset(stranger) && !bench.output_reset(neighbour));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.connection()?.peer_addr()
    }

    /// The socket's own address; none for Unix sockets. Asks the kernel.
    ///
    /// ```
    /// use std::{io::Read, net::TcpStream};
    /// use wheelhouse::{Action, Address, Conn, Engine, Handler};
    /// # use wheelhouse::Message;
    /// # struct WhereAmI;
    /// # impl Handler for WhereAmI {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let address = conn.local_addr();
    ///     conn.send(address.map_or_else(String::new, |address| address.to_string()));
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|_| WhereAmI)?;
    /// let Address::Tcp(address) = engine.addresses()[0] else { panic!("it listens on TCP") };
    /// let _running = engine.start()?;
    /// let (mut client, mut answer) = (TcpStream::connect(address)?, String::new());
    /// # client.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// client.read_to_string(&mut answer)?;
    /// assert_eq!(answer, address.to_string());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket()?.local_addr().ok()?.as_socket()
    }

    /// Who is at the other end of a Unix socket; none for TCP. Asks the kernel.
    ///
    /// ```
    /// use std::io::Read;
    /// use wheelhouse::{Action, Conn, Handler};
    /// # use wheelhouse::Message;
    /// # struct WhoIsIt;
    /// # impl Handler for WhoIsIt {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     if let Some(peer) = conn.peer_credentials() {
    ///         conn.send(format!("you are process {}", peer.pid));
    ///     }
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = wheelhouse::Engine::builder().reactors(1).build(|_| WhoIsIt)?;
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # let handle = engine.handle();
    /// # handle.adopt(wheelhouse::On::Any, ours)?;
    /// # let _running = engine.start()?;
    /// let mut answer = String::new(); // of the engine, to `theirs`, the other end of a Unix socket
    /// theirs.read_to_string(&mut answer)?;
    /// assert_eq!(answer, format!("you are process {}", std::process::id()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        if !self.connection()?.flags.contains(Flags::UNIX) {
            return None;
        }
        let found = nix::sys::socket::getsockopt(&self.fd()?, nix::sys::socket::sockopt::PeerCredentials);
        found.ok().map(|c| PeerCredentials { pid: c.pid(), uid: c.uid(), gid: c.gid() })
    }

    /// Its file descriptor; none while a dialled name is being resolved. Not for reading, writing or closing.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.connection()?.borrow_fd()
    }

    /// A second descriptor of the same socket, as `dup(2)` makes it; the engine goes on with its own. While it lives the
    /// socket does: after a [`close`](Conn::close) or [`reset`](Conn::reset) the peer is told when the last one is closed.
    ///
    /// ```
    /// use std::{io::{Read, Write}, os::{fd::OwnedFd, unix::net::UnixStream}};
    /// use wheelhouse::{Action, Conn, Handler};
    /// # use wheelhouse::Message;
    /// # use std::{sync::mpsc::{Sender, channel}, time::Duration};
    /// # struct Twins(Sender<OwnedFd>);
    /// # impl Handler for Twins {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     if let Ok(twin) = conn.duplicate_fd() {
    ///         let _ = self.0.send(twin);
    ///     }
    ///     Action::Close
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let (sender, twins) = channel();
    /// # let engine = wheelhouse::Engine::builder().reactors(1).build(move |_| Twins(sender.clone()))?;
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # let handle = engine.handle();
    /// # handle.adopt(wheelhouse::On::Any, ours)?;
    /// # let _running = engine.start()?;
    /// let twin = twins.recv_timeout(Duration::from_secs(5))?;
    /// UnixStream::from(twin).write_all(b"still here")?; // and then the last one is closed
    /// let mut all = String::new();
    /// theirs.read_to_string(&mut all)?;
    /// assert_eq!(all, "still here");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the system says, `EMFILE` among it, or `ENOTCONN` when there is no socket.
    pub fn duplicate_fd(&mut self) -> io::Result<OwnedFd> {
        let Some(connection) = self.reactor.core.connections.get_mut(self.key) else {
            return Err(not_connected());
        };
        let duplicate = connection.borrow_fd().ok_or_else(not_connected)?.try_clone_to_owned()?;
        connection.flags |= Flags::DUPLICATED;
        Ok(duplicate)
    }

    /// The reactor's clock: read once a turn. See [`Reactor::now`].
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Since;
    /// # impl Handler for Since {
    /// #     type Session = Option<Instant>;
    /// fn on_open(&mut self, conn: &mut Conn<'_>, since: &mut Option<Instant>) -> Action {
    ///     *since = Some(conn.now());
    ///     Action::Continue
    /// }
    ///
    /// fn on_message(&mut self, conn: &mut Conn<'_>, since: &mut Option<Instant>, _: Message<'_>) -> Action {
    ///     conn.send(format!("{:?}", since.map(|since| conn.now() - since).unwrap_or_default()));
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Since);
    /// let client = bench.open(Framing::lines(80));
    /// bench.turn(Duration::from_secs(90));
    /// bench.message(client, "how long?");
    /// assert_eq!(bench.output(client), b"90s\n");
    /// ```
    pub fn now(&self) -> Instant {
        self.reactor.now()
    }

    /// Bytes that wait here: read and not used yet (a message on [`Hold`](crate::Action::Hold) is not among them), and accepted
    /// by `send` and not taken by the kernel yet.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Waiting((usize, usize));
    /// # impl Handler for Waiting {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     conn.send(message);
    ///     self.0 = conn.buffered();
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Waiting((0, 0)));
    /// let client = bench.open(Framing::lines(80));
    /// bench.take_window(client, 0);
    /// bench.input(client, b"one\n");
    /// bench.input(client, b"two\n");
    /// assert_eq!(bench.handler().0.1, 8); // both, with the ends of their lines
    /// ```
    pub fn buffered(&self) -> (usize, usize) {
        let Some(connection) = self.connection() else { return (0, 0) };
        let corked = self.core().corked(self.key);
        (connection.inbound.len(), connection.queued() + corked)
    }

    /// Whether it is open: not closing, not closed.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Message, Refusal, Sent, testing::Bench};
    /// # struct Last(Option<(bool, Sent)>);
    /// # impl Handler for Last {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
    ///     assert!(conn.is_open());
    ///     conn.finish();
    ///     self.0 = Some((conn.is_open(), conn.send("one more thing")));
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// # let mut bench = Bench::new(|_| Last(None));
    /// # let client = bench.open(Framing::lines(80));
    /// # bench.message(client, "bye");
    /// assert_eq!(bench.handler().0, Some((false, Sent::Refused(Refusal::Closing))));
    /// ```
    pub fn is_open(&self) -> bool {
        self.connection().is_some_and(|connection| connection.takes_output())
    }
}

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

/// # The socket
impl Conn<'_> {
    /// Whether small segments leave at once (`TCP_NODELAY`).
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use wheelhouse::{Action, Address, Conn, Engine, Handler};
    /// # use wheelhouse::Message;
    /// # use std::io::Read;
    /// # struct Bulk;
    /// # impl Handler for Bulk {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let twin = conn.set_nodelay(false).and_then(|()| conn.duplicate_fd());
    ///     let is_set = twin.and_then(|twin| TcpStream::from(twin).nodelay());
    ///     conn.send(format!("{is_set:?}"));
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|_| Bulk)?;
    /// # let Address::Tcp(address) = engine.addresses()[0] else { panic!("it listens on TCP") };
    /// # let _running = engine.start()?;
    /// # let (mut client, mut answer) = (TcpStream::connect(address)?, String::new());
    /// # client.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # client.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "Ok(false)"); // the engine sets it by default
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the system says; `ENOTCONN` when there is no socket.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket().ok_or_else(not_connected)?.set_tcp_nodelay(on)
    }

    /// TCP keep-alive: the first probe after `idle`, the next ones `interval` apart, so many before the peer counts as
    /// gone. 1 to 32,767 s, of which fractions are dropped; 1 to 127 probes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Action, Address, Conn, Engine, Handler};
    /// # use wheelhouse::Message;
    /// # use std::{io::Read, net::TcpStream};
    /// # struct Patient;
    /// # impl Handler for Patient {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let minute = Duration::from_secs(60); // six unanswered probes: the peer is gone
    ///     let is_set = conn.set_keep_alive(minute, minute / 6, 6).is_ok();
    ///     let fd = conn.fd().map(|fd| socket2::SockRef::from(&fd).keepalive().ok());
    ///     conn.send(format!("{is_set} {:?}", fd.flatten()));
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|_| Patient)?;
    /// # let Address::Tcp(address) = engine.addresses()[0] else { panic!("it listens on TCP") };
    /// # let _running = engine.start()?;
    /// # let (mut client, mut answer) = (TcpStream::connect(address)?, String::new());
    /// # client.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # client.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "true Some(true)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the system says; `ENOTCONN` when there is no socket.
    pub fn set_keep_alive(&self, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
        let keep = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
        self.socket().ok_or_else(not_connected)?.set_tcp_keepalive(&keep)
    }

    /// The kernel's buffers for this socket, in bytes; the kernel doubles what it is told, and takes no more than
    /// `net.core.rmem_max` and `net.core.wmem_max` allow.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Handler};
    /// # use wheelhouse::Message;
    /// # use std::io::Read;
    /// # struct Small;
    /// # impl Handler for Small {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let is_set = conn.set_kernel_buffers(16 << 10, 16 << 10).is_ok();
    ///     let fd = conn.fd().map(|fd| socket2::SockRef::from(&fd).send_buffer_size().ok());
    ///     conn.send(format!("{is_set} {:?}", fd.flatten()));
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = wheelhouse::Engine::builder().reactors(1).build(|_| Small)?;
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # let handle = engine.handle();
    /// # handle.adopt(wheelhouse::On::Any, ours)?;
    /// # let _running = engine.start()?;
    /// # let mut answer = String::new();
    /// # theirs.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "true Some(32768)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the system says; `ENOTCONN` when there is no socket.
    pub fn set_kernel_buffers(&self, receive: usize, send: usize) -> io::Result<()> {
        let socket = self.socket().ok_or_else(not_connected)?;
        socket.set_recv_buffer_size(receive)?;
        socket.set_send_buffer_size(send)
    }
}

/// # Changing what it is
impl Conn<'_> {
    /// Goes on with another framing: what was not taken of the input yet, and everything after it, is cut by the new one;
    /// what is sent from now on is framed by it. A message on [`Hold`](crate::Action::Hold) stays what it is. Marks, policy and
    /// deadlines stay the listener's.
    ///
    /// One framing value, cloned, serves all connections that change to it; a protocol of one's own made anew for each
    /// would be a kind of its own each time.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, LengthDelimited, Message, testing::Bench};
    ///
    /// struct Login {
    ///     binary: Framing,
    /// }
    ///
    /// impl Handler for Login {
    ///     type Session = ();
    ///
    ///     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///         conn.send(message); // still a line
    ///         if message.bytes() == b"BINARY" && conn.set_framing(&self.binary).is_err() {
    ///             return Action::Close;
    ///         }
    ///         Action::Continue
    ///     }
    /// }
    ///
    /// let binary = Framing::length_delimited(LengthDelimited::u32_be());
    /// let mut bench = Bench::new(|_| Login { binary });
    /// let client = bench.open(Framing::lines(80));
    /// bench.input(client, b"BINARY\n\0\0\0\x02hi");
    /// assert_eq!(bench.output(client), b"BINARY\n\0\0\0\x02hi");
    /// ```
    ///
    /// # Errors
    /// Bad parameters, a listener's policy or heartbeat that the framing cannot serve, more than 65,536 kinds of connection
    /// at once; a WebSocket's framing, which begins with a handshake. Everything stays as it was then.
    pub fn set_framing(&mut self, framing: &Framing) -> Result<()> {
        self.reactor.core.settle();
        self.reactor.core.set_framing(self.key, framing)
    }

    /// Begins TLS on a connection in mid-life, as the server (STARTTLS): what was sent before goes as it is, what came before and
    /// was not taken is dropped, with what the framing has made of it, for whoever sits between could have put it there. Sends are
    /// refused until
    /// [`Handler::on_secured`](crate::Handler::on_secured); the handshake has
    /// [`Builder::handshake_timeout`](crate::Builder::handshake_timeout). False when the connection is not open, has TLS, or is
    /// a WebSocket, which is never secured in mid-life.
    ///
    /// ```no_run
    /// use wheelhouse::{Action, Conn, Handler, Message, Tls};
    ///
    /// struct Smtp {
    ///     tls: Tls,
    /// }
    ///
    /// impl Handler for Smtp {
    ///     type Session = ();
    ///
    ///     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), line: Message<'_>) -> Action {
    ///         if line.bytes() == b"STARTTLS" {
    ///             conn.send("220 go ahead");
    ///             conn.start_tls(&self.tls);
    ///         }
    ///         Action::Continue
    ///     }
    /// }
    /// ```
    pub fn start_tls(&mut self, tls: &Tls) -> bool {
        self.reactor.core.settle();
        self.reactor.core.start_tls(self.key, |_| Session::server(tls))
    }

    /// The same as the client.
    ///
    /// ```
    /// # use wheelhouse::{Action, Conn, Handler, Message, Tls, TlsClient};
    /// # use std::{sync::mpsc::{Sender, channel}, time::Duration};
    /// # use wheelhouse::{Connect, Engine, Framing, Listener, On};
    /// # struct Starts { tls: Tls, client: TlsClient, secured: Sender<bool> }
    /// # impl Handler for Starts {
    /// #     type Session = ();
    /// #     fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #         if conn.listener().is_none() { conn.send("STARTTLS"); }
    /// #         Action::Continue
    /// #     }
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), line: Message<'_>) -> Action {
    ///     match line.bytes() {
    ///         b"220 go ahead" => _ = conn.start_tls_client(&self.client), // the end that has dialled
    ///         _ => {
    ///             conn.send("220 go ahead");
    ///             conn.start_tls(&self.tls);
    ///         }
    ///     }
    ///     Action::Continue
    /// }
    ///
    /// fn on_secured(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let _ = self.secured.send(conn.tls().is_some());
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()])?;
    /// # let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    /// # let (tls, client) = (Tls::new(&*pem, key)?, TlsClient::builder("example.org").roots(pem).build()?);
    /// # let (secured, both) = channel();
    /// # let listener = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(512));
    /// # let starts = move |_: &_| Starts { tls: tls.clone(), client: client.clone(), secured: secured.clone() };
    /// # let engine = Engine::builder().listen(listener).reactors(1).build(starts)?;
    /// # let there = Connect::to(engine.addresses()[0].to_string()).framing(Framing::lines(512));
    /// # engine.handle().connect(On::Any, there)?;
    /// # let _running = engine.start()?;
    /// for _end in 0..2 {
    ///     assert!(both.recv_timeout(Duration::from_secs(5))?); // one engine has both ends
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_tls_client(&mut self, tls: &TlsClient) -> bool {
        self.reactor.core.settle();
        self.reactor.core.start_tls(self.key, |out| Session::client(tls, out))
    }

    /// Takes the connection out of the engine: the socket, open and non-blocking, with what was read and not used, and what
    /// was accepted and not sent. It happens at the end of the turn: no callback comes but `on_close`, with
    /// [`CloseReason::Detached`], and then `then` is called on the reactor's thread. When the connection breaks before that,
    /// `on_close` tells so, and `then` is dropped uncalled.
    ///
    /// False, and nothing happens, when the connection is not open, has TLS or is a WebSocket: what it holds cannot go with a socket.
    ///
    /// ```
    /// use std::sync::mpsc::{Sender, channel};
    /// use wheelhouse::{Action, Conn, Detached, Framing, Handler, Message, testing::Bench};
    ///
    /// struct Upgrade {
    ///     elsewhere: Sender<Detached>,
    /// }
    ///
    /// impl Handler for Upgrade {
    ///     type Session = ();
    ///
    ///     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///         if message.bytes() == b"UPGRADE" {
    ///             let elsewhere = self.elsewhere.clone();
    ///             conn.detach(move |detached| _ = elsewhere.send(detached));
    ///         }
    ///         Action::Continue
    ///     }
    /// }
    ///
    /// let (elsewhere, taken_out) = channel();
    /// let mut bench = Bench::new(|_| Upgrade { elsewhere });
    /// let client = bench.open(Framing::lines(80));
    /// bench.input(client, b"UPGRADE\nin other words");
    /// assert_eq!(taken_out.recv()?.unread, b"in other words");
    /// # Ok::<(), std::sync::mpsc::RecvError>(())
    /// ```
    pub fn detach(&mut self, then: impl FnOnce(Detached) + 'static) -> bool {
        self.reactor.core.settle();
        self.reactor.core.detach(self.key, Box::new(then))
    }
}

/// # Others
impl<'a> Conn<'a> {
    /// The reactor: its timers, its other connections, dialling.
    pub fn reactor(&mut self) -> &mut Reactor<'a> {
        &mut self.reactor
    }

    /// Another connection of the same reactor; none when it is gone, or on another reactor.
    ///
    /// ```
    /// # use wheelhouse::{Action, Conn, ConnId, Framing, Handler, Message, testing::Bench};
    /// # struct Pairs(Vec<ConnId>);
    /// # impl Handler for Pairs {
    /// #     type Session = ();
    /// # fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #     self.0.push(conn.id());
    /// #     Action::Continue
    /// # }
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     let from = conn.id();
    ///     for other in self.0.iter().filter(|other| **other != from) {
    ///         if let Some(mut other) = conn.other(*other) {
    ///             other.send(message); // still the bytes that were read
    ///         }
    ///     }
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Pairs(Vec::new())); // knows everybody who came
    /// let (ann, bob) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
    /// bench.message(ann, "hello");
    /// assert_eq!((bench.output(ann), bench.output(bob)), (vec![], b"hello\n".to_vec()));
    /// ```
    pub fn other(&mut self, id: ConnId) -> Option<Conn<'_>> {
        self.reactor.conn(id)
    }

    fn core(&self) -> &Core {
        self.reactor.core
    }

    fn connection(&self) -> Option<&Connection> {
        self.core().connections.get(self.key)
    }

    fn socket(&self) -> Option<SockRef<'_>> {
        self.connection()?.fd.as_ref().map(SockRef::from)
    }
}

fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// The process at the other end of a Unix socket, as it was when it connected (`SO_PEERCRED`).
///
/// ```
/// use std::{io::Read, os::unix::fs::MetadataExt};
/// use wheelhouse::{Action, Conn, Handler};
/// # use wheelhouse::Message;
/// # struct SameUser;
/// # impl Handler for SameUser {
/// #     type Session = ();
/// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
///     let ours = std::fs::metadata("/proc/self").map(|process| process.uid()).ok();
///     let is_ours = ours.is_some() && conn.peer_credentials().map(|peer| peer.uid) == ours;
///     conn.send(if is_ours { "come in" } else { "who are you?" });
///     Action::Finish
/// }
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// # let engine = wheelhouse::Engine::builder().reactors(1).build(|_| SameUser)?;
/// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
/// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
/// # let handle = engine.handle();
/// # handle.adopt(wheelhouse::On::Any, ours)?;
/// # let _running = engine.start()?;
/// let mut answer = String::new(); // of the engine, to `theirs`, the other end of a Unix socket
/// theirs.read_to_string(&mut answer)?;
/// assert_eq!(answer, "come in");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}
