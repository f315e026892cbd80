//! What a test has its clients do.

use std::{io, net::SocketAddr};

use super::{
    Bench, Dialled,
    socket::{Deed, Socket},
};
use crate::{Address, ConnId, Framing, Handler, ListenerId, Payload};

/// # Clients
impl<H: Handler> Bench<H> {
    /// A client connects to a listener of that framing.
    ///
    /// ```
    /// use wheelhouse::{Framing, LengthDelimited, testing::Bench};
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
    /// let mut bench = Bench::new(|_| Echo);
    /// let line = bench.open(Framing::lines(80));
    /// let frame = bench.open(Framing::length_delimited(LengthDelimited::u8()));
    /// bench.input(line, b"hello\n");
    /// bench.input(frame, b"\x05hello");
    /// assert_eq!((bench.output(line), bench.output(frame)), (b"hello\n".to_vec(), b"\x05hello".to_vec()));
    /// ```
    ///
    /// # Panics
    /// When the framing's parameters are out of their bounds, or the builder's; when the engine has been stopped.
    #[track_caller]
    pub fn open(&mut self, framing: Framing) -> ConnId {
        let core = self.reactor.core_mut();
        if let Err(error) = framing.validate().and_then(|()| framing.fits(core.options())) {
            panic!("no listener can have such a framing: {error}");
        }
        match core.profiles.listen(&framing) {
            Some(listener) => self.open_on(listener),
            None => panic!("more kinds of connections than an engine can have"),
        }
    }

    /// A client connects to one of the builder's listeners.
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
    /// let lines = Listener::new("tcp://0.0.0.0:80").framing(Framing::lines(80)); // which is not bound
    /// let mut bench = Bench::with_options(Engine::builder().listen(lines), |_| Echo);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, b"hello\nand");
    /// assert_eq!(bench.output(client), b"hello\n");
    /// ```
    ///
    /// # Panics
    /// When there is no such listener; when the builder's limit of connections is met; when the engine has been stopped.
    #[track_caller]
    pub fn open_on(&mut self, listener: ListenerId) -> ConnId {
        let port = 40_000 + self.accepted % 20_000;
        self.open_from(listener, ([127, 0, 0, 1], port).into())
    }

    /// The same from an address of the test's choice. A Unix listener's clients have none, whatever it is.
    ///
    /// ```
    /// use wheelhouse::{Engine, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct WhoAmI;
    /// # impl Handler for WhoAmI {
    /// #     type Session = ();
    /// #     fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #         let peer = conn.peer_addr();
    /// #         conn.send(peer.map_or_else(String::new, |peer| peer.ip().to_string()));
    /// #         Action::Continue
    /// #     }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("tcp://*:9000"), |_| WhoAmI);
    /// let client = bench.open_from(ListenerId(0), "[2001:db8::1]:1234".parse()?);
    /// assert_eq!(bench.output(client), b"2001:db8::1");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    ///
    /// # Panics
    /// As [`open_on`](Bench::open_on).
    #[track_caller]
    pub fn open_from(&mut self, listener: ListenerId, peer: SocketAddr) -> ConnId {
        self.run();
        let core = self.reactor.core();
        let profile = core.profiles.get(listener.0).filter(|profile| profile.listener == Some(listener));
        assert!(profile.is_some(), "there is no listener {}", listener.0);
        assert!(!self.is_draining && !self.is_over, "nobody is accepted any more: the engine is stopping");
        let address = self.addresses.get(usize::from(listener.0));
        let is_unix = matches!(address, Some(Address::Unix(_) | Address::Abstract(_)));
        let visit = core.visit();
        let is_admitted = self.reactor.accept_by_hand(listener, (!is_unix).then_some(peer), is_unix);
        drop(visit);
        assert!(is_admitted, "the connection is shed: a limit is met");
        self.accepted = self.accepted.wrapping_add(1);
        let accepted = self.kernel.borrow_mut().newest.take();
        self.run();
        match accepted {
            Some(id) => id,
            None => panic!("the connection is shed: the reactor can hold no more"),
        }
    }

    /// The client sends bytes.
    ///
    /// ```
    /// use wheelhouse::{Framing, testing::Bench};
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
    /// let mut bench = Bench::new(|_| Echo);
    /// let client = bench.open(Framing::lines(80));
    /// for byte in b"hello\nand" {
    ///     bench.input(client, &[*byte]); // the worst that a network can do
    /// }
    /// assert_eq!(bench.output(client), b"hello\n");
    /// ```
    ///
    /// # Panics
    /// When it has said FIN before, or is still being dialled.
    #[track_caller]
    pub fn input(&mut self, id: ConnId, bytes: &[u8]) {
        self.client(id, |socket| socket.arrive(bytes));
    }

    /// The client sends a message, framed as the connection's own protocol frames it.
    ///
    /// ```
    /// use wheelhouse::{Framing, LengthDelimited, testing::Bench};
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
    /// let mut bench = Bench::new(|_| Echo);
    /// let client = bench.open(Framing::length_delimited(LengthDelimited::u16_le()));
    /// bench.message(client, "hello");
    /// assert_eq!(bench.output(client), b"\x05\0hello");
    /// ```
    ///
    /// # Panics
    /// When the protocol cannot carry it, and as [`input`](Bench::input).
    #[track_caller]
    pub fn message<'p>(&mut self, id: ConnId, payload: impl Into<Payload<'p>>) {
        let bytes = match self.reactor.encode(id, &payload.into()) {
            Some(Ok(bytes)) => bytes,
            Some(Err(refusal)) => panic!("no message for connection {id}: {refusal:?}"),
            // Gone: it is lost, as everything that comes too late.
            None => Vec::new(),
        };
        self.input(id, &bytes);
    }

    /// The client says FIN: it sends no more, and goes on receiving.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Last;
    /// # impl Handler for Last {
    /// #     type Session = ();
    /// fn on_eof(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     conn.send("good bye");
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Last);
    /// let client = bench.open(Framing::lines(80));
    /// bench.eof(client);
    /// assert_eq!(bench.output(client), b"good bye\n"); // it goes on receiving
    /// ```
    ///
    /// # Panics
    /// When it is still being dialled.
    #[track_caller]
    pub fn eof(&mut self, id: ConnId) {
        self.client(id, Socket::end);
    }

    /// The client resets the connection.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use wheelhouse::{Closed, Framing, Handler, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Why(Option<ErrorKind>);
    /// # impl Handler for Why {
    /// #     type Session = ();
    /// fn on_close(&mut self, closed: &mut Closed<'_>, _: ()) {
    ///     self.0 = closed.error().map(|error| error.kind());
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Why(None));
    /// let client = bench.open(Framing::raw());
    /// bench.reset(client);
    /// assert_eq!(bench.handler().0, Some(ErrorKind::ConnectionReset));
    /// ```
    ///
    /// # Panics
    /// When it is still being dialled.
    #[track_caller]
    pub fn reset(&mut self, id: ConnId) {
        self.client(id, Socket::break_off);
    }

    /// Whether the client answers FIN with FIN, as it does unless told otherwise.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct OneAnswer;
    /// # impl Handler for OneAnswer {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Finish
    /// #     }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| OneAnswer);
    /// let (polite, stubborn) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
    /// bench.answer_fin(stubborn, false);
    /// bench.message(polite, "well?");
    /// bench.message(stubborn, "well?");
    /// assert_eq!(bench.closed(polite), Some(&CloseReason::Local));
    /// assert!(bench.output_ended(stubborn) && bench.closed(stubborn).is_none());
    /// bench.turn(Duration::from_secs(5)); // `Builder::close_timeout`
    /// assert_eq!(bench.closed(stubborn), Some(&CloseReason::CloseTimeout));
    /// ```
    #[track_caller]
    pub fn answer_fin(&mut self, id: ConnId, answers: bool) {
        self.client(id, |socket| socket.set_answer(answers));
    }

    /// The client takes only so many more bytes, from now on; `usize::MAX` are as good as no bound. What it does not take
    /// is queued, with all that follows: water marks, back-pressure, the write-stall timeout.
    ///
    /// ```
    /// use wheelhouse::{Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Flood;
    /// # impl Handler for Flood {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         while !conn.send(message).is_full() {}
    /// #         Action::Continue
    /// #     }
    /// #     fn on_writable(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #         conn.send("enough");
    /// #         Action::Finish
    /// #     }
    /// # }
    ///
    /// // Sends what it is told until the queue is full, and a last word when it is low again.
    /// let mut bench = Bench::new(|_| Flood);
    /// let client = bench.open(Framing::lines(80));
    /// bench.take_window(client, 10);
    /// bench.message(client, "more");
    /// assert_eq!(bench.output(client), b"more\nmore\n");
    /// bench.take_window(client, usize::MAX);
    /// assert!(bench.output(client).ends_with(b"more\nenough\n"));
    /// ```
    #[track_caller]
    pub fn take_window(&mut self, id: ConnId, bytes: usize) {
        self.client(id, |socket| socket.set_window(bytes));
    }

    /// What the client has received since this was last asked; also after the connection has closed.
    ///
    /// ```
    /// use wheelhouse::{Framing, testing::Bench};
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
    /// let mut bench = Bench::new(|_| Echo);
    /// let client = bench.open(Framing::raw());
    /// bench.input(client, b"one");
    /// assert_eq!(bench.output(client), b"one");
    /// assert_eq!(bench.output(client), b""); // once
    /// bench.input(client, b"two");
    /// bench.reset(client);
    /// assert_eq!(bench.output(client), b"two");
    /// ```
    #[track_caller]
    pub fn output(&mut self, id: ConnId) -> Vec<u8> {
        self.run();
        std::mem::take(&mut self.kernel.borrow_mut().socket_mut(id).output)
    }

    /// Whether the client was told FIN: that is all it will receive.
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
    /// let client = bench.open(Framing::raw());
    /// assert!(!bench.output_ended(client));
    /// bench.handle().finish(client);
    /// bench.run();
    /// assert!(bench.output_ended(client) && !bench.output_reset(client));
    /// ```
    #[track_caller]
    pub fn output_ended(&self, id: ConnId) -> bool {
        self.kernel.borrow().socket(id).fin_received
    }

    /// Whether the client was told a reset.
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
    /// let client = bench.open(Framing::raw());
    /// bench.handle().reset(client);
    /// bench.run();
    /// assert!(bench.output_reset(client) && !bench.output_ended(client));
    /// ```
    #[track_caller]
    pub fn output_reset(&self, id: ConnId) -> bool {
        self.kernel.borrow().socket(id).reset_received
    }
}

/// # Dialling
impl<H: Handler> Bench<H> {
    /// What the handler has dialled since this was last asked. Nobody is really dialled: each stays as it is until it is
    /// [`connected`](Bench::connected) or [`refused`](Bench::refuse), or its timeout is over.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use wheelhouse::{CloseReason, Connect, Reactor, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # #[derive(Default)]
    /// # struct Caller;
    /// # impl Handler for Caller {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// #     fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #         conn.send("PING\n");
    /// #         Action::Continue
    /// #     }
    /// #     fn on_start(&mut self, reactor: &mut Reactor<'_>) {
    /// #         for url in ["tcp://one.example:6379", "tcp://two.example:6379"] {
    /// #             let _ = reactor.connect(Connect::to(url));
    /// #         }
    /// #     }
    /// # }
    ///
    /// // Dials two servers when it starts, and sends PING to each that answers.
    /// let mut bench = Bench::new(|_| Caller);
    /// let dialled = bench.dialled();
    /// assert_eq!(dialled[0].url, "tcp://one.example:6379");
    /// bench.connected(dialled[0].id);
    /// assert_eq!(bench.output(dialled[0].id), b"PING\n");
    /// bench.refuse(dialled[1].id, ErrorKind::ConnectionRefused.into());
    /// assert_eq!(bench.closed(dialled[1].id), Some(&CloseReason::ConnectFailed));
    /// ```
    pub fn dialled(&mut self) -> Vec<Dialled> {
        self.run();
        std::mem::take(&mut self.kernel.borrow_mut().dialled)
    }

    /// The connection is made: from now on the test is at its other end.
    ///
    /// ```
    /// use wheelhouse::{Connect, On, testing::Bench};
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
    /// let mut bench = Bench::new(|_| Echo);
    /// bench.handle().connect(On::Any, Connect::to("tcp://192.0.2.1:80"))?;
    /// let id = bench.dialled()[0].id;
    /// bench.connected(id);
    /// bench.input(id, b"hello"); // as the server that was dialled
    /// assert_eq!(bench.output(id), b"hello");
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Panics
    /// When it is not being dialled, or no longer.
    #[track_caller]
    pub fn connected(&mut self, id: ConnId) {
        let to = self.kernel.borrow().socket(id).dialled;
        if let Some(connection) = self.reactor.core_mut().connections.find(id) {
            connection.set_peer(to);
        }
        self.client(id, |socket| socket.decide(None));
    }

    /// The connection is not made.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use wheelhouse::{CloseReason, Connect, On, testing::Bench};
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
    /// bench.refuse(id, ErrorKind::HostUnreachable.into());
    /// assert_eq!(bench.closed(id), Some(&CloseReason::ConnectFailed));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Panics
    /// As [`connected`](Bench::connected).
    #[track_caller]
    pub fn refuse(&mut self, id: ConnId, error: io::Error) {
        self.client(id, |socket| socket.decide(Some(error)));
    }
}

impl<H: Handler> Bench<H> {
    /// Something happens at a connection's other end, after all that was asked before, and has its effect.
    #[track_caller]
    fn client(&mut self, id: ConnId, deed: impl FnOnce(&mut Socket) -> Deed) {
        self.run();
        let mut kernel = self.kernel.borrow_mut();
        match deed(kernel.socket_mut(id)) {
            Ok(true) => kernel.put_edge(id.sequence()),
            Ok(false) => {}
            Err(why) => panic!("connection {id}: {why}"),
        }
        drop(kernel);
        self.run();
    }
}
