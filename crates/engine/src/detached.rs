use std::os::fd::OwnedFd;

use crate::Payload;

/// What is left of a connection that was taken out of the engine.
///
/// ```
/// use wheelhouse::{Action, Conn, Detached, Framing, Handler, Message, testing::Bench};
/// # use std::sync::mpsc::{Sender, channel};
/// # struct Leaving(Sender<Detached>);
/// # impl Handler for Leaving {
/// #     type Session = ();
/// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///     let elsewhere = self.0.clone();
///     conn.send("bye");
///     conn.detach(move |detached| _ = elsewhere.send(detached));
///     Action::Hold
/// }
/// # }
///
/// # let (elsewhere, taken_out) = channel();
/// # let mut bench = Bench::new(|_| Leaving(elsewhere));
/// let client = bench.open(Framing::lines(80));
/// bench.take_window(client, 2);
/// bench.input(client, b"first\nsecond");
/// let left: Detached = taken_out.try_recv()?;
/// assert_eq!(left.held.as_ref().map(|held| held.bytes()), Some(&b"first"[..]));
/// assert_eq!((&left.unread[..], &left.unsent[..]), (&b"second"[..], &b"e\n"[..]));
/// # Ok::<(), std::sync::mpsc::TryRecvError>(())
/// ```
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
