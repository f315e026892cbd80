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
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The number it was dialled or adopted with; 0 for accepted ones.
    pub fn tag(&self) -> Tag {
        self.connection().and_then(|c| c.extras.as_ref()).map_or(Tag::default(), |extras| extras.tag)
    }

    /// The listener it came through; none when it was dialled or adopted.
    pub fn listener(&self) -> Option<ListenerId> {
        self.core().profiles.get(self.connection()?.profile)?.listener
    }

    /// The subprotocol of a WebSocket (RFC 6455, 1.9), where one was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.core().subprotocol(self.key)
    }

    /// What its TLS handshake agreed on; none without TLS, or before the handshake's end.
    pub fn tls(&self) -> Option<TlsInfo<'_>> {
        self.connection()?.secure()?.session.info()
    }

    /// The peer's address; none for Unix sockets. Kept from the accept: it is known even after a reset. An IPv4 peer of a
    /// dual-stack listener has its IPv4 address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.connection()?.peer_addr()
    }

    /// The socket's own address; none for Unix sockets. Asks the kernel.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket()?.local_addr().ok()?.as_socket()
    }

    /// Who is at the other end of a Unix socket; none for TCP. Asks the kernel.
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
    pub fn now(&self) -> Instant {
        self.reactor.now()
    }

    /// Bytes that wait here: read and not used yet (a message on [`Hold`](crate::Action::Hold) is not among them), and accepted by `send` and not taken by the kernel yet.
    pub fn buffered(&self) -> (usize, usize) {
        let Some(connection) = self.connection() else { return (0, 0) };
        let corked = self.core().corked(self.key);
        (connection.inbound.len(), connection.queued() + corked)
    }

    /// Whether it is open: not closing, not closed.
    pub fn is_open(&self) -> bool {
        self.connection().is_some_and(|connection| connection.takes_output())
    }
}

/// # Sending
impl Conn<'_> {
    /// Sends one message, framed by the connection's protocol.
    ///
    /// Small payloads are gathered and leave with one system call when the callback's batch of input ends; large ones
    /// (4 KiB and more) are written at once, behind what was gathered. What the kernel does not take is queued: borrowed
    /// bytes are copied then, [`Bytes`](bytes::Bytes) are not.
    pub fn send<'p>(&mut self, payload: impl Into<Payload<'p>>) -> Sent {
        self.reactor.core.settle();
        self.reactor.core.send(self.key, payload.into())
    }

    /// Sends one message made of several slices.
    pub fn send_vectored(&mut self, kind: Kind, parts: &[&[u8]]) -> Sent {
        self.reactor.core.settle();
        self.reactor.core.send_vectored(self.key, kind, parts)
    }

    /// Asks the peer whether it is there, with up to so many bytes as the framing's pings carry (those of
    /// [`Framing::with_heartbeat`](crate::Framing::with_heartbeat) none); the answer comes to
    /// [`Handler::on_control`](crate::Handler::on_control). Refused as not encodable where the framing has no pings.
    ///
    /// Pings and pongs leave even when the queue is at its limit, up to 4 KiB beyond it.
    pub fn ping(&mut self, data: &[u8]) -> Sent {
        self.reactor.core.settle();
        self.reactor.core.send_control(self.key, &Control::Ping(data))
    }

    /// Closes gracefully: what is queued goes out, then FIN; what still comes is read and discarded until the peer's FIN
    /// (so that no reset destroys the last bytes), within [`Builder::close_timeout`](crate::Builder::close_timeout).
    /// One that is not open yet closes at once. A WebSocket's peer is told code 1000 first.
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
    pub fn close(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.close(self.key, CloseReason::Local);
    }

    /// Closes with a reset: nothing more goes out.
    pub fn reset(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.reset(self.key, CloseReason::Local);
    }

    /// Sends FIN behind what is queued, and goes on reading, for as long as the peer likes. No send is accepted from now on. Once the peer's FIN has come
    /// too, the connection closes.
    pub fn shutdown_write(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.shutdown_write(self.key);
    }
}

/// # Reading and time
impl Conn<'_> {
    /// Reads no further. What was read already and not offered yet (less than two read buffers) waits with it.
    ///
    /// This is the handler's pause; the engine's own, at the water marks, is a second and independent one.
    pub fn pause(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.pause(self.key);
    }

    /// Ends the handler's pause, or an [`Action::Hold`](crate::Action::Hold).
    pub fn resume(&mut self) {
        self.reactor.core.settle();
        self.reactor.core.resume(self.key);
    }

    /// Whether the engine pauses reading while the outbound queue is above the high mark; it does by default. One who
    /// forwards to another connection paces himself by that one's queue, and turns it off.
    pub fn set_auto_pause(&mut self, on: bool) {
        self.reactor.core.set_auto_pause(self.key, on);
    }

    /// Calls [`Handler::on_timer`](crate::Handler::on_timer) once, after so long; a timer of the same kind is moved.
    /// Never early; late by up to 2 ms and the turn's length. More than 24 days count as 24 days. While the connection is
    /// being dialled it waits for `on_open`.
    pub fn set_timer(&mut self, kind: TimerKind, after: Duration) {
        self.reactor.core.set_timer(self.key, kind, after);
    }

    /// Takes a timer back. False when none of that kind was set.
    pub fn cancel_timer(&mut self, kind: TimerKind) -> bool {
        self.reactor.core.cancel_timer(self.key, kind)
    }

    /// Meets the listener's [`authentication`](crate::Listener::authentication) deadline.
    pub fn authenticated(&mut self) {
        self.reactor.core.authenticated(self.key);
    }

    /// Closes the connection when nothing came or went for so long, instead of
    /// [`Builder::idle_timeout`](crate::Builder::idle_timeout); `None` never does. More than 24 days count as 24 days.
    pub fn set_idle_timeout(&mut self, after: Option<Duration>) {
        self.reactor.core.set_idle_timeout(self.key, after);
    }
}

/// # The socket
impl Conn<'_> {
    /// Whether small segments leave at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// What the system says; `ENOTCONN` when there is no socket.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket().ok_or_else(not_connected)?.set_tcp_nodelay(on)
    }

    /// TCP keep-alive: the first probe after `idle`, the next ones `interval` apart, so many before the peer counts as
    /// gone. Whole seconds.
    ///
    /// # Errors
    /// What the system says; `ENOTCONN` when there is no socket.
    pub fn set_keep_alive(&self, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
        let keep = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
        self.socket().ok_or_else(not_connected)?.set_tcp_keepalive(&keep)
    }

    /// The kernel's buffers for this socket, in bytes; the kernel doubles what it is told.
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
    /// at once. Everything stays as it was then.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}
