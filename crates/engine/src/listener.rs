mod bound;

use std::time::Duration;

pub(crate) use self::bound::{Bound, abstract_address, bind, set_kernel_buffers, set_tcp_options};
use crate::{
    Address, Error, Framing, Result, Tls,
    options::Options,
    proxy_protocol::TrustedNetworks,
    rules::{Heartbeat, Policy, Rules, WaterMarks},
    url::Url,
};

/// Where to listen, and how the connections from there behave.
///
/// A string is a listener with every other thing at its default.
///
/// ```
/// use std::time::Duration;
/// use wheelhouse::{Framing, Listener};
///
/// let login = Listener::new("tcp://127.0.0.1:0")
///     .framing(Framing::lines(512))
///     .authentication(Duration::from_secs(30));
/// let local = Listener::new("unix:/run/app.sock").unix_mode(0o660);
/// ```
#[derive(Clone, Debug)]
pub struct Listener {
    pub(crate) url: String,
    /// None: the one that goes with the URL.
    pub(crate) framing: Option<Framing>,
    pub(crate) rules: Rules,
    has_no_heartbeat: bool,
    pub(crate) tls: Option<Tls>,
    proxies: Option<Vec<String>>,
    /// The same, once it has been looked at.
    pub(crate) trusted: Option<TrustedNetworks>,
    pub(crate) unix_mode: Option<u32>,
    pub(crate) only_v6: bool,
}

impl Listener {
    /// A listener on this [`Address`]; a bad one is told by [`Builder::build`](crate::Builder::build). `ws://`, `wss://` and
    /// `tls://` in the place of `tcp://` say what is spoken there; they need a port, and have no path.
    ///
    /// ```
    /// use wheelhouse::{Engine, Error, Listener};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let error = Engine::builder().listen(Listener::new("tcp://127.0.0.1")).build(|_| Silent).err();
    /// assert!(matches!(error, Some(Error::BadAddress { address, .. }) if address == "tcp://127.0.0.1")); // no port
    /// ```
    pub fn new(url: impl Into<String>) -> Self {
        Listener {
            url: url.into(),
            framing: None,
            rules: Rules::default(),
            has_no_heartbeat: false,
            tls: None,
            proxies: None,
            trusted: None,
            unix_mode: None,
            only_v6: false,
        }
    }

    /// How bytes become messages; raw by default, and [`Framing::websocket`] on `ws://` and `wss://`, where any other is an
    /// error.
    ///
    /// ```
    /// use wheelhouse::{Engine, Framing, Listener, ListenerId, testing::Bench};
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
    /// let lines = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(80));
    /// let mut bench = Bench::with_options(Engine::builder().listen(lines).listen("tcp://127.0.0.1:0"), |_| Echo);
    /// let (line, raw) = (bench.open_on(ListenerId(0)), bench.open_on(ListenerId(1)));
    /// bench.input(line, b"half a line");
    /// bench.input(raw, b"half a line");
    /// assert_eq!((bench.output(line), bench.output(raw)), (vec![], b"half a line".to_vec()));
    /// ```
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = Some(framing);
        self
    }

    /// TLS under whatever is spoken: `tls://` and `wss://` need it, `tcp://`, `ws://` and Unix sockets may have it. `on_open`
    /// comes after the handshake, which has [`Builder::handshake_timeout`](crate::Builder::handshake_timeout).
    ///
    /// ```no_run
    /// use wheelhouse::{Listener, Tls};
    ///
    /// let tls = Tls::builder().certificate_files("site.pem", "site.key").build()?;
    /// let listener = Listener::new("wss://0.0.0.0:443").tls(tls);
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Closes a connection that is not [`authenticated`](crate::Conn::authenticated) so long after its accept; off by
    /// default. 1 ms to 24 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Engine, Listener, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let login = Listener::new("tcp://127.0.0.1:0").authentication(Duration::from_secs(30));
    /// let mut bench = Bench::with_options(Engine::builder().listen(login), |_| Silent);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.turn(Duration::from_secs(29));
    /// assert_eq!(bench.closed(client), None);
    /// bench.turn(Duration::from_secs(1));
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Auth));
    /// ```
    pub fn authentication(mut self, within: Duration) -> Self {
        self.rules.authentication = Some(within);
        self
    }

    /// The outbound queue's marks in bytes: reading pauses above `high` and goes on at `low`; a send beyond `limit` meets
    /// the [`Policy`], and so does each message larger than the limit itself. 64 KiB, 256 KiB and 4 MiB by default; low <=
    /// high <= limit <= 64 MiB.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Handler, Message, Refusal, Sent};
    /// # use wheelhouse::{Engine, Framing, Listener, ListenerId, testing::Bench};
    /// # struct Outcomes(Vec<Sent>);
    /// # impl Handler for Outcomes {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
    ///     (0..4).for_each(|_| self.0.push(conn.send("12345")));
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let small = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(80)).water_marks(5, 10, 20);
    /// let mut bench = Bench::with_options(Engine::builder().listen(small), |_| Outcomes(Vec::new()));
    /// let client = bench.open_on(ListenerId(0));
    /// bench.take_window(client, 0);
    /// bench.message(client, "go");
    /// let over = Sent::Refused(Refusal::OverLimit);
    /// assert_eq!(bench.handler().0, [Sent::Accepted, Sent::Full, Sent::Full, over]); // 6, 12, 18, 24 bytes
    /// ```
    pub fn water_marks(mut self, low: usize, high: usize, limit: usize) -> Self {
        self.rules.marks = WaterMarks { low, high, limit };
        self
    }

    /// What happens beyond the limit.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.rules.policy = policy;
        self
    }

    /// Pings a peer that has sent nothing for `every`, again after each `every` of silence, and closes the connection ([`CloseReason::Idle`](crate::CloseReason::Idle))
    /// when nothing has come for `timeout`; off by default, but for WebSockets: 25 s and 45 s, for proxies cut silent ones at 60 s. 1 ms to 24 days, `timeout` longer than `every`. For framings
    /// that have pings: see [`Framing::with_heartbeat`]. The pings of WebSockets come up to a quarter of `every` earlier, spread over time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Engine, Framing, Listener, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let chat = Listener::new("tcp://127.0.0.1:0")
    ///     .framing(Framing::lines(80).with_heartbeat("PING", "PONG"))
    ///     .heartbeat(Duration::from_secs(30), Duration::from_secs(90));
    /// let mut bench = Bench::with_options(Engine::builder().listen(chat), |_| Silent);
    /// let dead = bench.open_on(ListenerId(0));
    /// bench.turn(Duration::from_secs(90));
    /// assert_eq!(bench.output(dead), b"PING\nPING\n");
    /// assert_eq!(bench.closed(dead), Some(&CloseReason::Idle));
    /// ```
    ///
    /// With it only what the peer sends counts as activity, for the [`idle_timeout`](crate::Builder::idle_timeout) too: our
    /// own pings would keep a dead connection alive. While reading is paused, and after a FIN, neither time runs.
    pub fn heartbeat(mut self, every: Duration, timeout: Duration) -> Self {
        self.rules.heartbeat = Some(Heartbeat { every, timeout });
        self
    }

    /// No heartbeat, not even for WebSockets.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Engine, Listener, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// let plain = Listener::new("ws://127.0.0.1:0");
    /// let quiet = plain.clone().no_heartbeat();
    /// let mut bench = Bench::with_options(Engine::builder().listen(plain).listen(quiet), |_| Silent);
    /// let (pinged, left_alone) = (bench.open_on(ListenerId(0)), bench.open_on(ListenerId(1)));
    /// bench.input(pinged, HELLO);
    /// bench.input(left_alone, HELLO);
    /// bench.turn(Duration::from_secs(60));
    /// assert!(bench.closed(pinged).is_some() && bench.closed(left_alone).is_none());
    /// ```
    pub fn no_heartbeat(mut self) -> Self {
        self.rules.heartbeat = None;
        self.has_no_heartbeat = true;
        self
    }

    /// Connections from these networks come through a proxy, and begin with a PROXY protocol header of version 1 or 2: the
    /// client that it names is the connection's [`peer_addr`](crate::Conn::peer_addr), and what
    /// [`Builder::max_connections_per_address`](crate::Builder::max_connections_per_address) counts. `on_open` comes after
    /// the header. A missing or malformed one closes the connection ([`CloseReason::Protocol`](crate::CloseReason::Protocol)),
    /// a late one too ([`CloseReason::Handshake`](crate::CloseReason::Handshake), see
    /// [`Builder::handshake_timeout`](crate::Builder::handshake_timeout)); one may have up to 4 KiB, or the size of the
    /// [`read_buffer`](crate::Builder::read_buffer) where that is less. Connections from anywhere else are taken as they
    /// are: what looks like a header is data there. On a Unix listener every peer counts as a proxy.
    ///
    /// A network is an address, or an address and a prefix length: `10.0.0.0/8`, `fd00::/8`.
    ///
    /// ```
    /// use wheelhouse::{Engine, Listener, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct WhoAmI;
    /// # impl Handler for WhoAmI {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
    /// #         let peer = conn.peer_addr();
    /// #         conn.send(peer.map_or_else(String::new, |peer| peer.to_string()));
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// // Answers with the address of whoever asks.
    /// let behind_haproxy = Listener::new("tcp://0.0.0.0:8080").proxy_protocol(["10.0.0.7", "10.1.0.0/16"]);
    /// let mut bench = Bench::with_options(Engine::builder().listen(behind_haproxy), |_| WhoAmI);
    /// let client = bench.open_from(ListenerId(0), "10.0.0.7:40000".parse()?);
    /// bench.input(client, b"PROXY TCP4 192.0.2.1 10.0.0.1 1234 8080\r\nwho am I?");
    /// assert_eq!(bench.output(client), b"192.0.2.1:1234");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn proxy_protocol(mut self, networks: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.proxies = Some(networks.into_iter().map(Into::into).collect());
        self
    }

    /// The permissions of a Unix socket's file, 0 to `0o777`; by default what the umask leaves.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    /// use wheelhouse::{Engine, Listener};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("app.sock");
    /// let local = Listener::new(format!("unix:{}", path.display())).unix_mode(0o660);
    /// let engine = Engine::builder().listen(local).build(|_| Silent)?;
    /// assert_eq!(path.metadata()?.permissions().mode() & 0o777, 0o660);
    /// drop(engine);
    /// assert!(!path.exists()); // removed with the engine
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.unix_mode = Some(mode);
        self
    }

    /// Whether an IPv6 listener on `[::]` leaves IPv4 alone; by default it serves both (dual stack).
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use wheelhouse::{Address, Engine, Listener};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// for (only, is_reached) in [(false, true), (true, false)] {
    ///     let engine = Engine::builder().listen(Listener::new("tcp://[::]:0").only_v6(only)).build(|_| Silent)?;
    ///     let Address::Tcp(address) = engine.addresses()[0] else { panic!("it listens on TCP") };
    ///     assert_eq!(TcpStream::connect(("127.0.0.1", address.port())).is_ok(), is_reached);
    /// }
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = only;
        self
    }

    /// Looks at everything that can be looked at before a socket is opened.
    pub(crate) fn validate(&mut self, options: &Options) -> Result<Address> {
        let Url { address, is_websocket, is_tls, .. } = Url::to_listen(&self.url)?;
        if is_tls && self.tls.is_none() {
            return Err(Error::BadOption {
                option: "tls",
                value: format!("no certificate for `{}`", self.url),
                allowed: "Listener::tls with a certificate and its key".into(),
            });
        }
        let framing = Framing::over(self.framing.take(), is_websocket, &self.url)?;
        if framing.as_websocket().is_some() && !self.has_no_heartbeat {
            self.rules.heartbeat.get_or_insert(Heartbeat::OF_WEBSOCKETS);
        }
        self.rules.validate(&framing, &self.url)?;
        framing.fits(options)?;
        self.framing = Some(framing);
        self.trusted = self.proxies.as_deref().map(TrustedNetworks::parse).transpose()?;
        let refuse = |option, value: String, allowed: &str| {
            Err(Error::BadOption { option, value, allowed: allowed.into() })
        };
        if self.unix_mode.is_some_and(|mode| mode > 0o777) {
            let value = format!("{:o}", self.unix_mode.unwrap_or_default());
            return refuse("unix_mode", value, "0 to 777 (octal)");
        }
        let is_unix = matches!(address, Address::Unix(_) | Address::Abstract(_));
        if options.reuse_port && (is_unix || matches!(address, Address::Inherited(_))) {
            let value = format!("true with listener `{}`", self.url);
            return refuse("reuse_port", value, "TCP addresses only: no other socket can share its address");
        }
        Ok(address)
    }
}

impl From<&str> for Listener {
    fn from(url: &str) -> Self {
        Listener::new(url)
    }
}

impl From<String> for Listener {
    fn from(url: String) -> Self {
        Listener::new(url)
    }
}
