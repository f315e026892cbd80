//! Who a connection is.

use std::{net::SocketAddr, time::Instant};

use super::Conn;
use crate::{ConnId, ListenerId, Tag, TlsInfo, connection::Phase};

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

    /// The reactor's clock: read once a turn. See [`Reactor::now`](crate::Reactor::now).
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
        self.connection()
            .is_some_and(|connection| connection.phase == Phase::Open || connection.takes_output())
    }
}
