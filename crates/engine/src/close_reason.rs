use std::fmt;

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
        /// The close code, of protocols that have one: a WebSocket's (RFC 6455, 7.4), 1005 when it closed without
        /// one. None when the stream ended without a closing handshake.
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
    /// What comes before `on_open` was not done in time, or one who was dialled refused it;
    /// [`Closed::error`](crate::Closed::error) says how then.
    Handshake,
    /// Not [`authenticated`](crate::Conn::authenticated) in time.
    Auth,
    /// It reached its greatest age.
    Lifetime,
    /// The peer took none of what is queued for the write-stall timeout.
    WriteStall,
    /// The peer moved less than the minimum rate.
    SlowPeer,
    /// After a graceful close the peer did not close its side in time.
    CloseTimeout,
    /// The peer broke a rule of the protocol; [`Closed::error`](crate::Closed::error) says which.
    Protocol,
    /// More input than the limit was left unused.
    InboundOverflow,
    /// The reactor's buffer memory was used up, and this connection held most of it; or could not hold the
    /// [`body`](crate::Reply::body) of its reply, in whose place the peer was told 500.
    MemoryPressure,
    /// A send went beyond the limit of the outbound queue, and the policy is to close.
    BackPressure,
    /// The system reported an error, a reset by the peer among them; [`Closed::error`](crate::Closed::error) says
    /// which.
    Io,
    /// A callback panicked.
    Panic,
    /// The engine stops.
    Shutdown,
    /// The socket was taken out of the engine ([`Conn::detach`](crate::Conn::detach)), and lives on.
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
