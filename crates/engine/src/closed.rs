use std::{io, net::SocketAddr, os::fd::OwnedFd};

use crate::{CloseReason, ConnId, ListenerId, Payload, Reactor, Tag};

/// A connection that is gone: what is left to know of it. It has no `send`.
///
/// ```
/// use wheelhouse::{Action, Closed, Conn, Framing, Handler, Message, testing::Bench};
///
/// struct Log(Vec<String>);
///
/// impl Handler for Log {
///     type Session = u32;
///
///     fn on_message(&mut self, _: &mut Conn<'_>, messages: &mut u32, _: Message<'_>) -> Action {
///         *messages += 1;
///         Action::Continue
///     }
///
///     fn on_close(&mut self, closed: &mut Closed<'_>, messages: u32) {
///         self.0.push(format!("{}: {}, {messages} messages", closed.id(), closed.reason()));
///     }
/// }
///
/// let mut bench = Bench::new(|_| Log(Vec::new()));
/// let client = bench.open(Framing::lines(80));
/// bench.message(client, "hello");
/// bench.reset(client);
/// assert_eq!(bench.handler().0, ["0.0.1: I/O error, 1 messages"]);
/// ```
pub struct Closed<'a> {
    pub(crate) reactor: Reactor<'a>,
    pub(crate) id: ConnId,
    pub(crate) tag: Tag,
    pub(crate) listener: Option<ListenerId>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) opened: bool,
    pub(crate) reason: CloseReason,
    pub(crate) error: Option<io::Error>,
    pub(crate) unsent: u64,
}

impl<'a> Closed<'a> {
    /// Its name, never used again.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The number it was dialled or adopted with; 0 for accepted ones.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The listener it came through; none when it was dialled or adopted.
    pub fn listener(&self) -> Option<ListenerId> {
        self.listener
    }

    /// The peer's address; none for Unix sockets, and for names that were never resolved.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether `on_open` was called; not so for one dialled in vain, one whose PROXY header did not come, and an adopted one
    /// that broke before its turn.
    pub fn opened(&self) -> bool {
        self.opened
    }

    /// Why.
    pub fn reason(&self) -> &CloseReason {
        &self.reason
    }

    /// What the system, the resolver or the protocol said, where one of them did.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Bytes that `send` accepted and the kernel never took; of a connection that was taken out they are in
    /// [`Detached::unsent`]. What it took may still be lost when the reason is not a
    /// graceful one.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// The reactor: its timers, its other connections, dialling.
    pub fn reactor(&mut self) -> &mut Reactor<'a> {
        &mut self.reactor
    }
}

/// What is left of a connection that was taken out of the engine.
#[derive(Debug)]
#[non_exhaustive]
pub struct Detached {
    /// The socket, non-blocking. (In the test kit, which has none, a descriptor of `/dev/null`.)
    pub socket: OwnedFd,
    /// Bytes that were read and not used. (What was not read is in the socket.)
    pub unread: Vec<u8>,
    /// The message on [`Hold`](crate::Action::Hold), which came before `unread`.
    pub held: Option<Payload<'static>>,
    /// Bytes that `send` accepted and the kernel has not taken, framed.
    pub unsent: Vec<u8>,
    /// Whether FIN was asked for ([`Conn::shutdown_write`](crate::Conn::shutdown_write)) and is still to be said, behind
    /// `unsent`.
    pub fin: bool,
}
