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
    /// Not now: the engine keeps this message (or what [`Input`](crate::Input) still holds), reads no further, and
    /// offers it again after [`Conn::resume`](crate::Conn::resume) or [`Handle::resume`](crate::Handle::resume). In
    /// callbacks without input: pause.
    Hold,
    /// Close gracefully: what is queued goes out, then FIN; what still comes is discarded until the peer's FIN, within
    /// [`Builder::close_timeout`](crate::Builder::close_timeout). As [`Conn::finish`](crate::Conn::finish).
    Finish,
    /// Close at once: what the kernel takes now goes out, the rest counts as unsent. As
    /// [`Conn::close`](crate::Conn::close).
    Close,
    /// Close with a reset: nothing more goes out, and the peer is told so. As [`Conn::reset`](crate::Conn::reset).
    Reset,
}
