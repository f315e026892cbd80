use std::{sync::Arc, time::Duration};

use listenfd::ListenFd;

use crate::{
    Activity, Address, Balance, Engine, Error, Handler, Listener, MemoryPolicy, ReactorId, Result,
    engine::Spot,
    listener::{self, Bound},
    options::{KeepAlive, MinimumRate, Options},
    parts::Parts,
};

/// Describes an engine; nothing is opened before [`Builder::build`].
///
/// Every number has a unit, a default and bounds: see [`OPTIONS`](crate::OPTIONS).
///
/// ```
/// use std::time::Duration;
/// use wheelhouse::{Action, Conn, Engine, Framing, Handler, Listener, Message};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Session = ();
///
///     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///         conn.send(message);
///         Action::Continue
///     }
/// }
///
/// let engine = Engine::builder()
///     .listen("tcp://127.0.0.1:0")
///     .listen(Listener::new("tcp://[::1]:0").framing(Framing::lines(4096)))
///     .reactors(2)
///     .idle_timeout(Duration::from_secs(300))
///     .build(|_| Echo)?;
/// assert_eq!(engine.addresses().len(), 2);
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    listeners: Vec<Listener>,
    options: Options,
}

/// # Where
impl Builder {
    /// Adds a listener: an [`Address`], or a [`Listener`] that says more. The calls' order numbers them
    /// ([`ListenerId`](crate::ListenerId)); 65,535 at most. An engine without one only dials and adopts.
    ///
    /// ```
    /// use wheelhouse::{Engine, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().listen("tcp://127.0.0.1:0").listen("ws://127.0.0.1:0");
    /// let mut bench = Bench::with_options(builder, |_| Silent);
    /// let browser = bench.open_on(ListenerId(1)); // the second one
    /// bench.input(browser, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// assert!(bench.output(browser).starts_with(b"HTTP/1.1 426 "));
    /// ```
    pub fn listen(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// Connections that wait to be accepted, per listener; the kernel caps it at `net.core.somaxconn`. 4,096 by default,
    /// 1 to 65,535.
    ///
    /// Who finds the queue full is dropped by the kernel, and his own kernel knocks again: after a second, and so on. Nobody
    /// is refused, but where SYN cookies are in use (`net.ipv4.tcp_syncookies`) one who was told that he is connected may
    /// have been forgotten by the server's kernel, until he sends something. So where the server speaks first the queue
    /// should be long enough for the storms that are expected.
    pub fn backlog(mut self, connections: usize) -> Self {
        self.options.backlog = connections;
        self
    }

    /// Connections accepted in one turn before something else is served. 256 by default, 1 to 65,536.
    pub fn accept_budget(mut self, connections: usize) -> Self {
        self.options.accept_budget = connections;
        self
    }

    /// Connections in total, dialled and adopted ones among them; beyond them accepted ones are closed at once. (With
    /// [`reuse_port`](Builder::reuse_port) each reactor may let one more in at the same moment.) Unbounded by default; 1 to
    /// 4,294,967,295.
    ///
    /// ```
    /// use std::{io::Read, net::TcpStream};
    /// use wheelhouse::{Action, Address, Conn, Engine, Handler};
    /// # use wheelhouse::Message;
    /// # struct Greets;
    /// # impl Handler for Greets {
    /// #     type Session = ();
    /// #     fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #         conn.send("hello");
    /// #         Action::Continue
    /// #     }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().listen("tcp://127.0.0.1:0").reactors(1).max_connections(1);
    /// let engine = builder.build(|_| Greets)?; // greets everybody who comes
    /// let Address::Tcp(address) = engine.addresses()[0] else { panic!("it listens on TCP") };
    /// let _running = engine.start()?;
    /// let (mut first, mut second) = (TcpStream::connect(address)?, TcpStream::connect(address)?);
    /// # first.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # second.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// let mut word = [0; 5];
    /// assert!(first.read_exact(&mut word).is_ok());
    /// assert_eq!(second.read(&mut word)?, 0); // closed at once
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.options.max_connections = Some(connections);
        self
    }

    /// Connections accepted from one address; beyond them new ones are closed at once. An IPv4 address counts by itself, an
    /// IPv6 address with its /64 network; of a client behind a proxy
    /// ([`Listener::proxy_protocol`]) its own counts. The counting takes memory for connected addresses only. Unbounded by
    /// default; 1 to 4,294,967,295.
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.options.max_per_address = Some(connections);
        self
    }
}

/// # Threads
impl Builder {
    /// Sub-reactors, each a thread with its own connections. By default as many as there are cores; 1 to 256.
    ///
    /// ```
    /// use wheelhouse::{Engine, Error};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let engine = Engine::builder().reactors(3).build(|_| Silent)?;
    /// assert_eq!(engine.handle().reactors(), 3);
    /// let none = Engine::builder().reactors(0).build(|_| Silent).err();
    /// assert!(matches!(none, Some(Error::BadOption { option: "reactors", .. })));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn reactors(mut self, threads: usize) -> Self {
        self.options.reactors = threads;
        self
    }

    /// Whether each sub-reactor stays on one of the cores that the process may use; off by default.
    pub fn pin(mut self, pin: bool) -> Self {
        self.options.pin = pin;
        self
    }

    /// How accepted connections are spread: round robin by default.
    pub fn balance(mut self, balance: Balance) -> Self {
        self.options.balance = Some(balance);
        self
    }

    /// Whether each sub-reactor listens for itself (`SO_REUSEPORT`), without a main reactor to hand over: the kernel
    /// spreads connections. TCP only, and not together with [`balance`](Builder::balance). Another process of the same user
    /// may share the port, so it does not count as taken then. Off by default.
    ///
    /// ```
    /// use wheelhouse::{Balance, Engine};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().listen("tcp://127.0.0.1:0").reactors(2).reuse_port(true);
    /// assert!(builder.clone().build(|_| Silent).is_ok());
    /// assert!(builder.clone().balance(Balance::RoundRobin).build(|_| Silent).is_err()); // the kernel's to choose
    /// assert!(builder.listen("unix:@app").build(|_| Silent).is_err()); // cannot be shared
    /// ```
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.options.reuse_port = reuse;
        self
    }

    /// Commands that may wait for one reactor, from all threads. 16,384 by default, 16 to 1,048,576.
    ///
    /// ```
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
    /// assert_eq!((0..20).filter(|_| handle.send(client, "tick").is_ok()).count(), 16);
    /// handle.close(client); // is never refused
    /// bench.run();
    /// assert!(bench.closed(client).is_some());
    /// ```
    pub fn mailbox(mut self, commands: usize) -> Self {
        self.options.mailbox = commands;
        self
    }

    /// Events taken from the kernel at once; doubled, up to 65,536, whenever they come back full. 1,024 by default.
    pub fn event_batch(mut self, events: usize) -> Self {
        self.options.event_batch = events;
        self
    }

    /// How long a reactor that has just been busy polls without sleeping: less latency for a core's time. Off by default;
    /// 1 us to 1 s.
    pub fn busy_poll(mut self, after: Duration) -> Self {
        self.options.busy_poll = Some(after);
        self
    }
}

/// # Sockets
impl Builder {
    /// Whether small segments leave at once (`TCP_NODELAY`); on by default.
    pub fn nodelay(mut self, on: bool) -> Self {
        self.options.nodelay = on;
        self
    }

    /// TCP keep-alive: the first probe after `idle`, the next ones `interval` apart, `count` unanswered ones break the
    /// connection. 1 to 32,767 s, of which fractions are dropped; 1 to 127 probes. Off by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Engine, Error};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// // A peer that is gone is noticed after 60 s + 5 * 10 s.
    /// let (idle, interval) = (Duration::from_secs(60), Duration::from_secs(10));
    /// assert!(Engine::builder().keep_alive(idle, interval, 5).build(|_| Silent).is_ok());
    /// let error = Engine::builder().keep_alive(idle, interval, 0).build(|_| Silent).err();
    /// assert!(matches!(error, Some(Error::BadOption { option: "keep_alive count", .. })));
    /// ```
    pub fn keep_alive(mut self, idle: Duration, interval: Duration, count: u32) -> Self {
        self.options.keep_alive = Some(KeepAlive { idle, interval, count });
        self
    }

    /// How long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`); off by default. 1 ms to 24 days.
    pub fn tcp_user_timeout(mut self, timeout: Duration) -> Self {
        self.options.tcp_user_timeout = Some(timeout);
        self
    }

    /// The kernel's receive buffer (`SO_RCVBUF`), in bytes; the kernel doubles it, and no longer tunes it by itself. By
    /// default the kernel's own choice; 256 B to 1 GiB.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.options.receive_buffer = Some(bytes);
        self
    }

    /// The kernel's send buffer (`SO_SNDBUF`), in bytes; as [`receive_buffer`](Builder::receive_buffer).
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.options.send_buffer = Some(bytes);
        self
    }
}

/// # Memory and fairness
impl Builder {
    /// The buffer that all connections of a reactor read into, in bytes. 64 KiB by default, 1 KiB to 16 MiB.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Engine, Handler, ListenerId, Message, testing::Bench};
    /// # struct Sizes(Vec<usize>);
    /// # impl Handler for Sizes {
    /// #     type Session = ();
    /// fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     self.0.push(message.bytes().len());
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let builder = Engine::builder().listen("tcp://127.0.0.1:0").read_buffer(1024);
    /// let mut bench = Bench::with_options(builder, |_| Sizes(Vec::new()));
    /// let client = bench.open_on(ListenerId(0)); // raw: what was read at once is a message
    /// bench.input(client, &[0; 3000]);
    /// assert_eq!(bench.handler().0, [1024, 1024, 952]);
    /// ```
    pub fn read_buffer(mut self, bytes: usize) -> Self {
        self.options.read_buffer = bytes;
        self
    }

    /// Bytes read from one connection before the others have their turn; the last 256 KiB of a large message may come beyond
    /// it. 64 KiB by default, 1 KiB to 1 GiB.
    pub fn read_budget(mut self, bytes: usize) -> Self {
        self.options.read_budget = bytes;
        self
    }

    /// Bytes of input that may wait for the rest of their message, per connection: beyond them
    /// [`CloseReason::InboundOverflow`](crate::CloseReason::InboundOverflow). 1 MiB by default, 64 B to 64 MiB. Of a WebSocket a
    /// whole [`max_message`](crate::WebSocket::max_message) may wait, where that is more.
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().inbound_limit(64), |_| Silent);
    /// let client = bench.open(Framing::lines(1000));
    /// bench.input(client, &[b'x'; 64]);
    /// assert_eq!(bench.closed(client), None);
    /// bench.input(client, b"x");
    /// assert_eq!(bench.closed(client), Some(&CloseReason::InboundOverflow));
    /// ```
    pub fn inbound_limit(mut self, bytes: usize) -> Self {
        self.options.inbound_limit = bytes;
        self
    }

    /// Bytes of buffers in the whole engine: input that is kept, output that waits, payloads handed over. A broadcast is counted
    /// once on each reactor, whatever the number of queues that share it; a connection's buffer counts with its whole
    /// size, a power of two from 256 B on. Each reactor has an even share of the memory; when that is used up a connection
    /// closes, which one is the [`memory_policy`](Builder::memory_policy). 256 MiB by default, 64 KiB for each reactor to
    /// 1 TiB.
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().buffer_memory(64 << 10);
    /// let mut bench = Bench::with_options(builder, |_| Silent);
    /// let clients = [1_000, 20_000, 20_000].map(|bytes| {
    ///     let client = bench.open(Framing::lines(100_000));
    ///     bench.input(client, &vec![b'x'; bytes]); // a line without its end is kept
    ///     client
    /// });
    /// assert_eq!(bench.closed(clients[0]), None); // it holds little
    /// let closed = clients.iter().filter_map(|id| bench.closed(*id));
    /// assert_eq!(closed.collect::<Vec<_>>(), [&CloseReason::MemoryPressure]);
    /// ```
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.options.buffer_memory = bytes;
        self
    }

    /// Who gives way when buffer memory is used up; the connection that holds most by default.
    pub fn memory_policy(mut self, policy: MemoryPolicy) -> Self {
        self.options.memory_policy = policy;
        self
    }
}

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
    /// between them: the header of a [`Listener::proxy_protocol`], TLS, a WebSocket's request and its answer. Then it closes
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

/// # Building
impl Builder {
    /// Looks at every option, then binds every listener; connections wait in their queues until the engine runs. `make` is
    /// called once on each sub-reactor's thread, and makes its handler.
    ///
    /// ```
    /// use wheelhouse::{Engine, Error};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let error = Engine::builder().listen("tcp://127.0.0.1:0").backlog(100_000).build(|_| Silent).err();
    /// let Some(Error::BadOption { option, value, allowed }) = error else { panic!("it was built") };
    /// assert_eq!((option, &*value, &*allowed), ("backlog", "100000", "1 to 65535 connections"));
    /// ```
    ///
    /// # Errors
    /// The first option or address that is wrong, or that the system refuses; nothing stays open then.
    pub fn build<H, F>(self, make: F) -> Result<Engine<H>>
    where
        H: Handler,
        F: Fn(&Spot<H>) -> H + Send + Sync + 'static,
    {
        let (listeners, options, addresses) = self.validate()?;
        let mut inherited = match addresses.iter().any(|a| matches!(a, Address::Inherited(_))) {
            true => ListenFd::from_env(),
            false => ListenFd::empty(),
        };
        // Names first: nothing is bound while one of them has no address.
        let addresses: Vec<Address> =
            addresses.into_iter().map(Address::into_bindable).collect::<Result<_>>()?;
        let copies = if options.reuse_port { options.reactors } else { 1 };
        let mut bound: Vec<Vec<Bound>> = Vec::new();
        for (listener, address) in listeners.iter().zip(&addresses) {
            bound.push(listener::bind(listener, address, &options, copies, &mut inherited)?);
        }
        let parts = Parts::new(listeners, options, bound)?;
        Ok(Engine::new(parts, Arc::new(make)))
    }

    /// Looks at everything that can be looked at before a socket is opened; with the listeners' addresses.
    pub(crate) fn validate(self) -> Result<(Vec<Listener>, Options, Vec<Address>)> {
        let Builder { mut listeners, options } = self;
        options.validate()?;
        let least = options.reactors * MEMORY_PER_REACTOR;
        if options.buffer_memory < least {
            return Err(Error::BadOption {
                option: "buffer_memory",
                value: format!("{} with {} reactors", options.buffer_memory, options.reactors),
                allowed: format!("at least {least}: {MEMORY_PER_REACTOR} bytes per reactor"),
            });
        }
        if listeners.len() > usize::from(u16::MAX) {
            return Err(Error::BadOption {
                option: "listen",
                value: format!("{} listeners", listeners.len()),
                allowed: "at most 65535".into(),
            });
        }
        let addresses =
            listeners.iter_mut().map(|listener| listener.validate(&options)).collect::<Result<_>>()?;
        Ok((listeners, options, addresses))
    }
}

/// The least buffer memory a reactor can do with.
const MEMORY_PER_REACTOR: usize = 64 << 10;

impl<H: Handler> Spot<H> {
    /// The reactor whose handler is being made.
    ///
    /// ```
    /// use wheelhouse::testing::Bench;
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Log(String);
    /// # impl Handler for Log {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// // A name of its own for each reactor's log.
    /// let mut bench = Bench::new(|spot| Log(format!("access-{}.log", spot.reactor())));
    /// assert_eq!(bench.handler().0, "access-0.log");
    /// ```
    pub fn reactor(&self) -> ReactorId {
        self.reactor
    }
}
