//! What becomes of a connection: another framing, TLS, a socket of somebody else's.

use super::Conn;
use crate::{Detached, Framing, Result, Tls, TlsClient, transport::Session};

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
    /// [`Builder::handshake_timeout`](crate::Builder::handshake_timeout). False when the connection is not open, has TLS, has
    /// one direction closed, or is a WebSocket, which is never secured in mid-life.
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
    /// [`CloseReason::Detached`](crate::CloseReason::Detached), and then `then` is called on the reactor's thread. When the connection breaks before that,
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
