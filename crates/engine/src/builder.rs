mod deadlines;
mod memory;
mod sockets;
mod threads;

use std::sync::Arc;

use listenfd::ListenFd;

use crate::{
    Address, Engine, Error, Handler, Listener, Result,
    engine::Spot,
    listener::{self, Bound},
    options::Options,
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
    /// ([`Listener::proxy_protocol`]) its own counts, and none where the proxy speaks for itself or does not say for whom (`LOCAL`,
    /// `UNKNOWN`). The counting takes memory for connected addresses only. Unbounded by
    /// default; 1 to 4,294,967,295.
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.options.max_per_address = Some(connections);
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
