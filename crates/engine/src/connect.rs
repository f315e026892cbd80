use std::{net::SocketAddr, time::Duration};

use wheelhouse_websocket::http::Hello;

use crate::{
    Address, Error, Framing, Policy, Result, Tag, TlsClient,
    options::{self, Options},
    rules::{Heartbeat, Rules, WaterMarks},
    url::Url,
};

/// Whom to dial, and how the connection behaves.
///
/// ```
/// use std::time::Duration;
/// use wheelhouse::{CloseReason, Connect, Framing, On, Tag, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Client;
/// # impl Handler for Client {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let upstream = Connect::to("tcp://127.0.0.1:6379")
///     .framing(Framing::lines(4096))
///     .timeout(Duration::from_secs(2))
///     .tag(Tag(1));
///
/// let mut bench = Bench::new(|_| Client);
/// bench.handle().connect(On::Any, upstream)?;
/// let [dialled] = &bench.dialled()[..] else { panic!("one was dialled") };
/// assert_eq!((&*dialled.url, dialled.tag), ("tcp://127.0.0.1:6379", Tag(1)));
/// bench.turn(Duration::from_secs(2)); // nobody answers
/// assert_eq!(bench.closed(dialled.id), Some(&CloseReason::ConnectTimeout));
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Connect {
    pub(crate) url: String,
    /// None: the one that goes with the URL.
    framing: Option<Framing>,
    pub(crate) timeout: Duration,
    pub(crate) from: Option<SocketAddr>,
    pub(crate) tag: Tag,
    pub(crate) rules: Rules,
    has_no_heartbeat: bool,
    tls: Option<TlsClient>,
}

/// What is to be done, once everything has been looked at.
pub(crate) struct Plan {
    pub(crate) address: Address,
    pub(crate) framing: Framing,
    pub(crate) rules: Rules,
    /// What a WebSocket is asked for with.
    pub(crate) hello: Option<Hello>,
    pub(crate) tls: Option<TlsClient>,
}

impl Connect {
    /// To this [`Address`]; a name is resolved off the reactors, and its addresses are tried one after the other. `tls://`,
    /// `ws://` and `wss://` in the place of `tcp://` say what is spoken there; the latter two may have a path and a query, no
    /// fragment, and have the ports 80 and 443 where none is given.
    ///
    /// ```
    /// use wheelhouse::{Connect, Error, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// assert!(bench.handle().connect(On::Any, Connect::to("tcp://example.org:80")).is_ok());
    /// assert_eq!(bench.dialled()[0].url, "tcp://example.org:80");
    /// let error = bench.handle().connect(On::Any, Connect::to("tcp://127.0.0.1:0")).unwrap_err();
    /// assert!(matches!(error, Error::BadAddress { address, .. } if address == "tcp://127.0.0.1:0"));
    /// ```
    pub fn to(url: impl Into<String>) -> Self {
        Connect {
            url: url.into(),
            framing: None,
            timeout: options::CONNECT_TIMEOUT.default_time(),
            from: None,
            tag: Tag::default(),
            rules: Rules::default(),
            has_no_heartbeat: false,
            tls: None,
        }
    }

    /// How bytes become messages; raw by default, and [`Framing::websocket`] to `ws://` and `wss://`, where any other is an
    /// error.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Connect, Framing, Handler, LengthDelimited, On, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct Client;
    /// # impl Handler for Client {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     conn.send("hi");
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let framing = Framing::length_delimited(LengthDelimited::u16_be());
    /// let mut bench = Bench::new(|_| Client);
    /// bench.handle().connect(On::Any, Connect::to("tcp://192.0.2.1:80").framing(framing))?;
    /// let id = bench.dialled()[0].id;
    /// bench.connected(id);
    /// assert_eq!(bench.output(id), b"\0\x02hi");
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = Some(framing);
        self
    }

    /// How long it may take until it is connected, the name's resolution included; 10 s by default, 1 ms to 24 days. A
    /// handshake after that, of TLS or a WebSocket, has [`Builder::handshake_timeout`](crate::Builder::handshake_timeout).
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Connect, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let there = Connect::to("tcp://192.0.2.1:80");
    /// bench.handle().connect(On::Any, there.clone().timeout(Duration::from_secs(2)))?;
    /// let id = bench.dialled()[0].id;
    /// bench.turn(Duration::from_secs(2));
    /// assert_eq!(bench.closed(id), Some(&CloseReason::ConnectTimeout));
    /// assert!(bench.handle().connect(On::Any, there.timeout(Duration::ZERO)).is_err()); // 1 ms at least
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The local address to dial from; port 0 lets the kernel choose. One address reaches one peer about 28,000 times.
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use wheelhouse::{Connect, Engine, On};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let upstream = TcpListener::bind("127.0.0.1:0")?;
    /// # socket2::SockRef::from(&upstream).set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// let engine = Engine::builder().reactors(1).build(|_| Silent)?;
    /// let there = Connect::to(format!("tcp://{}", upstream.local_addr()?)).from_addr("127.0.0.2:0".parse()?);
    /// engine.handle().connect(On::Any, there)?;
    /// let _running = engine.start()?;
    /// let (_, peer) = upstream.accept()?;
    /// assert_eq!(peer.ip().to_string(), "127.0.0.2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_addr(mut self, from: SocketAddr) -> Self {
        self.from = Some(from);
        self
    }

    /// A number of the user's own, given back by [`Conn::tag`](crate::Conn::tag) and [`Closed::tag`](crate::Closed::tag).
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.tag = tag.into();
        self
    }

    /// As [`Listener::water_marks`](crate::Listener::water_marks).
    pub fn water_marks(mut self, low: usize, high: usize, limit: usize) -> Self {
        self.rules.marks = WaterMarks { low, high, limit };
        self
    }

    /// As [`Listener::policy`](crate::Listener::policy).
    pub fn policy(mut self, policy: Policy) -> Self {
        self.rules.policy = policy;
        self
    }

    /// As [`Listener::heartbeat`](crate::Listener::heartbeat).
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Connect, Framing, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let there = Connect::to("tcp://192.0.2.1:80")
    ///     .framing(Framing::lines(80).with_heartbeat("PING", "PONG"))
    ///     .heartbeat(Duration::from_secs(30), Duration::from_secs(90));
    /// let mut bench = Bench::new(|_| Silent);
    /// bench.handle().connect(On::Any, there)?;
    /// let id = bench.dialled()[0].id;
    /// bench.connected(id);
    /// bench.turn(Duration::from_secs(30));
    /// assert_eq!(bench.output(id), b"PING\n");
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn heartbeat(mut self, every: Duration, timeout: Duration) -> Self {
        self.rules.heartbeat = Some(Heartbeat { every, timeout });
        self
    }

    /// TLS under whatever is spoken: `tls://` and `wss://` need it. See [`Conn::tls`](crate::Conn::tls). A WebSocket offers
    /// the server `http/1.1` by ALPN, unless [told otherwise](crate::TlsClientBuilder::alpn).
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.tls = Some(tls);
        self
    }

    /// As [`Listener::no_heartbeat`](crate::Listener::no_heartbeat).
    pub fn no_heartbeat(mut self) -> Self {
        self.rules.heartbeat = None;
        self.has_no_heartbeat = true;
        self
    }

    /// Where it goes, once everything about it has been looked at.
    pub(crate) fn validate(&self, options: &Options) -> Result<Plan> {
        let url = Url::to_dial(&self.url)?;
        options::check_time(&options::CONNECT_TIMEOUT, self.timeout)?;
        let framing = Framing::over(self.framing.clone(), url.is_websocket, &self.url)?;
        let host = if url.authority.is_empty() { "localhost" } else { &url.authority };
        let hello = framing.as_websocket().map(|socket| socket.hello(host, &url.target)).transpose()?;
        let mut rules = self.rules;
        if hello.is_some() && !self.has_no_heartbeat {
            rules.heartbeat.get_or_insert(Heartbeat::OF_WEBSOCKETS);
        }
        rules.validate(&framing, &self.url)?;
        framing.fits(options)?;
        if url.is_tls && self.tls.is_none() {
            return Err(Error::BadOption {
                option: "tls",
                value: format!("nobody to trust for `{}`", self.url),
                allowed: "Connect::tls with the roots to trust and the server's name".into(),
            });
        }
        let address = self.check(url.address)?;
        let tls = match &self.tls {
            Some(tls) if hello.is_some() => Some(tls.for_web()),
            other => other.clone(),
        };
        Ok(Plan { address, framing, rules, hello, tls })
    }

    fn check(&self, address: Address) -> Result<Address> {
        match &address {
            Address::Inherited(_) => Err(Error::bad_address(&self.url, "cannot be dialled")),
            Address::Tcp(to) if to.port() == 0 => {
                Err(Error::bad_address(&self.url, "port 0 cannot be dialled"))
            }
            Address::Name { port: 0, .. } => Err(Error::bad_address(&self.url, "port 0 cannot be dialled")),
            Address::Tcp(to) if self.from.is_some_and(|from| from.is_ipv4() != to.is_ipv4()) => {
                Err(Error::bad_address(&self.url, "the local address is of the other IP version"))
            }
            _ => Ok(address),
        }
    }
}
