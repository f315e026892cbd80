use std::{any::Any, fmt, os::fd::BorrowedFd, time::Instant};

use crate::{Closed, Conn, Control, Input, Message, Reactor, ReactorId, Reply, Request, Tag, TimerKind};

/// What happens to a connection: the one thing an embedder writes.
///
/// The engine makes one value per sub-reactor, by the factory given to [`Builder::build`](crate::Builder::build) and on
/// the reactor's own thread, and calls it from that thread alone: `&mut self`, no locks, no `Sync`. What reactors share
/// goes into an `Arc`.
///
/// ```
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
///
/// /// Counts a connection's messages and answers with the count.
/// struct Counter;
///
/// impl Handler for Counter {
///     type Session = u64;
///
///     fn on_message(&mut self, conn: &mut Conn<'_>, count: &mut u64, _: Message<'_>) -> Action {
///         *count += 1;
///         conn.send(count.to_string());
///         Action::Continue
///     }
/// }
///
/// let mut bench = Bench::new(|_| Counter);
/// let (one, other) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
/// bench.input(one, b"hello\nagain\n");
/// bench.input(other, b"hello\n");
/// assert_eq!((bench.output(one), bench.output(other)), (b"1\n2\n".to_vec(), b"1\n".to_vec()));
/// ```
///
/// # Order
///
/// On a connection: `on_open`, then data, messages, controls, timers and `on_writable` as they happen, `on_eof` after the last data,
/// then `on_close` exactly once, and nothing after it. A connection dialled in vain, or accepted from a proxy whose header
/// never came, has `on_close` alone, with [`Closed::opened`] false. One that is shed for a limit has no callback, and one whose
/// session's `Default` panics has `on_panic` alone. No callback runs inside another: what one does to another connection is told to that
/// connection later in the turn.
///
/// # Panics
///
/// A panic in a connection's callback closes that connection ([`CloseReason::Panic`]) and no other; in any other callback
/// the reactor goes on. Either way [`on_panic`](Handler::on_panic) is told. With `panic = "abort"` the process ends.
pub trait Handler: Sized + 'static {
    /// What is kept beside each connection: made by `Default` before its first callback, handed over in `on_close`.
    type Session: Default + 'static;

    /// The reactor is about to run; before any connection.
    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        let _ = reactor;
    }

    /// An HTTP request came, on a listener whose framing is [`Framing::websocket`](crate::Framing::websocket): the first callback of
    /// its connection, before `on_open`. By default a WebSocket that is asked for is accepted, and anything else refused.
    ///
    /// Nothing can be sent yet: [`Conn::send`] refuses. A reply that is no acceptance ends the connection, and `on_close`
    /// comes with [`Closed::opened`] false. Bodies of requests are not read.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Engine, Handler, ListenerId, Message, Reply, Request, testing::Bench};
    ///
    /// struct Members;
    ///
    /// impl Handler for Members {
    ///     type Session = String;
    ///
    ///     fn on_request(&mut self, _: &mut Conn<'_>, name: &mut String, request: &Request<'_>) -> Reply {
    ///         let Some(who) = request.query("name") else { return Reply::status(400) };
    ///         *name = who.into_owned();
    ///         Reply::accept()
    ///     }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut String, _: Message<'_>) -> Action { Action::Continue }
    /// }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Members);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, b"GET /room HTTP/1.1\r\nHost: example.org\r\n\r\n");
    /// assert!(bench.output(client).starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    /// ```
    fn on_request(
        &mut self,
        conn: &mut Conn<'_>,
        session: &mut Self::Session,
        request: &Request<'_>,
    ) -> Reply {
        let _ = (conn, session, request);
        Reply::accept()
    }

    /// A connection is there: accepted, dialled and connected, or adopted. Before any of its data.
    fn on_open(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session) -> Action {
        let _ = (conn, session);
        Action::Continue
    }

    /// Bytes arrived on a connection without framing. What is not taken is kept and offered again with what comes next (at the
    /// end of input not once more), up to [`Builder::inbound_limit`](crate::Builder::inbound_limit).
    ///
    /// By default all of it is one message. A read boundary is not a message boundary.
    fn on_data(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session, input: &mut Input<'_>) -> Action {
        let action = self.on_message(conn, session, Message::binary(input.peek()));
        if action != Action::Hold {
            input.take();
        }
        action
    }

    /// A message arrived.
    fn on_message(
        &mut self,
        conn: &mut Conn<'_>,
        session: &mut Self::Session,
        message: Message<'_>,
    ) -> Action;

    /// TLS that [`Conn::start_tls`] began is there: what is sent from now on is sealed. (Where TLS comes first, `on_open` comes
    /// after it.)
    fn on_secured(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session) -> Action {
        let _ = (conn, session);
        Action::Continue
    }

    /// A ping or a pong arrived, of a framing that has them. A ping has been answered already.
    fn on_control(
        &mut self,
        conn: &mut Conn<'_>,
        session: &mut Self::Session,
        control: Control<'_>,
    ) -> Action {
        let _ = (conn, session, control);
        Action::Continue
    }

    /// The peer will send no more (FIN); it may still be reading. Not told of WebSockets, which end as a whole. By default the connection is finished: what is queued
    /// goes out, then it closes. With [`Action::Continue`] it stays open for sending.
    fn on_eof(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session) -> Action {
        let _ = (conn, session);
        Action::Finish
    }

    /// The outbound queue, once over its high-water mark ([`Sent::Full`](crate::Sent::Full)), is down to the low one.
    fn on_writable(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session) -> Action {
        let _ = (conn, session);
        Action::Continue
    }

    /// A timer set by [`Conn::set_timer`] is due; it does not repeat by itself.
    fn on_timer(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session, timer: TimerKind) -> Action {
        let _ = (conn, session, timer);
        Action::Continue
    }

    /// The connection is gone; the last callback. Its file descriptor is closed when this and the turn's other `on_close`
    /// have returned, and not before (when it was [detached](CloseReason::Detached), not at all).
    ///
    /// Who dials again from here does well to wait with a timer: a dial that fails at once is told in the next turn, and
    /// dialling anew each time keeps the reactor busy.
    fn on_close(&mut self, closed: &mut Closed<'_>, session: Self::Session) {
        let _ = (closed, session);
    }

    /// A callback panicked. The handler may have been left half-way through something.
    fn on_panic(&mut self, reactor: &mut Reactor<'_>, panic: &(dyn Any + Send)) {
        let _ = (reactor, panic);
    }

    /// A timer set by [`Reactor::set_timer`] is due; it does not repeat by itself.
    fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
        let _ = (reactor, timer);
    }

    /// A descriptor given to [`Reactor::watch`] or [`Handle::watch`](crate::Handle::watch) has become readable. Told once for
    /// what is there: read until `WouldBlock`, or nothing more is told of it.
    fn on_ready(&mut self, reactor: &mut Reactor<'_>, watched: Tag, fd: BorrowedFd<'_>) {
        let _ = (reactor, watched, fd);
    }

    /// The mailbox of reactor `of`, which refused something this reactor wanted to put in, has room again.
    fn on_room(&mut self, reactor: &mut Reactor<'_>, of: ReactorId) {
        let _ = (reactor, of);
    }

    /// [`Handle::drain`](crate::Handle::drain) was called: no new connections come, and those there are have until then to
    /// end of themselves; what is left is closed. By default nothing: who waits for requests to finish lets them; who
    /// serves connections that would stay for ever tells them, or finishes them ([`Reactor::finish_all`]).
    fn on_stopping(&mut self, reactor: &mut Reactor<'_>, until: Instant) {
        let _ = (reactor, until);
    }

    /// The reactor stops; after the last `on_close`.
    fn on_stop(&mut self, reactor: &mut Reactor<'_>) {
        let _ = reactor;
    }
}

/// What a connection's callback wants next.
///
/// ```
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
///
/// /// Takes a message while it has room.
/// struct Store {
///     room: usize,
/// }
///
/// impl Handler for Store {
///     type Session = ();
///
///     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///         let Some(room) = self.room.checked_sub(1) else { return Action::Hold };
///         self.room = room;
///         conn.send(message);
///         Action::Continue
///     }
/// }
///
/// let mut bench = Bench::new(|_| Store { room: 1 });
/// let client = bench.open(Framing::lines(80));
/// bench.input(client, b"one\ntwo\n");
/// assert_eq!(bench.output(client), b"one\n");
/// bench.handler().room = 1;
/// bench.handle().resume(client);
/// assert_eq!(bench.output(client), b"two\n"); // it was kept, and offered again
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on.
    Continue,
    /// Not now: the engine keeps this message (or what [`Input`] still holds), reads no further, and offers it again
    /// after [`Conn::resume`] or [`Handle::resume`](crate::Handle::resume). In callbacks without input: pause.
    Hold,
    /// Close gracefully: what is queued goes out, then FIN; what still comes is discarded until the peer's FIN, within
    /// [`Builder::close_timeout`](crate::Builder::close_timeout). As [`Conn::finish`].
    Finish,
    /// Close at once: what the kernel takes now goes out, the rest counts as unsent. As [`Conn::close`].
    Close,
    /// Close with a reset: nothing more goes out, and the peer is told so. As [`Conn::reset`].
    Reset,
}

/// Why a connection closed.
///
/// ```
/// use wheelhouse::{CloseReason, Framing, testing::Bench};
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
/// let (polite, rude) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
/// bench.eof(polite);
/// bench.input(rude, &[b'x'; 100]); // no line has more than 80
/// assert_eq!(bench.closed(polite), Some(&CloseReason::Peer { code: None }));
/// assert_eq!(bench.closed(rude), Some(&CloseReason::Protocol));
/// assert_eq!(CloseReason::Protocol.to_string(), "protocol error");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed its side (FIN) first.
    Peer {
        /// The close code, of protocols that have one: a WebSocket's (RFC 6455, 7.4), 1005 when it closed without one. None when
        /// the stream ended without a closing handshake.
        code: Option<u16>,
    },
    /// The handler, or someone with a [`Handle`](crate::Handle), asked for it.
    Local,
    /// A dialled peer was not reached: refused, unreachable, or its name has no address.
    ConnectFailed,
    /// A dialled peer did not answer in time.
    ConnectTimeout,
    /// Nothing came or went for the idle timeout.
    Idle,
    /// What comes before `on_open` was not done in time, or one who was dialled refused it; [`Closed::error`] says how then.
    Handshake,
    /// Not [`authenticated`](Conn::authenticated) in time.
    Auth,
    /// It reached its greatest age.
    Lifetime,
    /// The peer took none of what is queued for the write-stall timeout.
    WriteStall,
    /// The peer moved less than the minimum rate.
    SlowPeer,
    /// After a graceful close the peer did not close its side in time.
    CloseTimeout,
    /// The peer broke a rule of the protocol; [`Closed::error`] says which.
    Protocol,
    /// More input than the limit was left unused.
    InboundOverflow,
    /// The reactor's buffer memory was used up, and this connection held most of it.
    MemoryPressure,
    /// A send went beyond the limit of the outbound queue, and the policy is to close.
    BackPressure,
    /// The system reported an error, a reset by the peer among them; [`Closed::error`] says which.
    Io,
    /// A callback panicked.
    Panic,
    /// The engine stops.
    Shutdown,
    /// The socket was taken out of the engine ([`Conn::detach`]), and lives on.
    Detached,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Peer { code: None } => "closed by the peer",
            CloseReason::Peer { code: Some(code) } => {
                return write!(f, "closed by the peer with code {code}");
            }
            CloseReason::Local => "closed locally",
            CloseReason::ConnectFailed => "connect failed",
            CloseReason::ConnectTimeout => "connect timed out",
            CloseReason::Idle => "idle for too long",
            CloseReason::Handshake => "the handshake failed or took too long",
            CloseReason::Auth => "not authenticated in time",
            CloseReason::Lifetime => "reached its greatest age",
            CloseReason::WriteStall => "the peer stopped reading",
            CloseReason::SlowPeer => "the peer was slower than the minimum rate",
            CloseReason::CloseTimeout => "the peer did not answer the close",
            CloseReason::Protocol => "protocol error",
            CloseReason::InboundOverflow => "too much unused input",
            CloseReason::MemoryPressure => "out of buffer memory",
            CloseReason::BackPressure => "the outbound queue went over its limit",
            CloseReason::Io => "I/O error",
            CloseReason::Panic => "a callback panicked",
            CloseReason::Shutdown => "the engine stops",
            CloseReason::Detached => "taken out of the engine",
        })
    }
}
