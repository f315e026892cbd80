use std::{error, fmt};

/// The other reactor's mailbox is full; what was meant for it comes back.
///
/// ```
/// use wheelhouse::{Engine, Framing, MailboxFull, testing::Bench};
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
/// assert!((0..16).all(|_| handle.send(client, "hello").is_ok()));
/// let MailboxFull(back) = handle.send(client, "too many").unwrap_err();
/// assert_eq!(back.bytes(), b"too many");
/// assert_eq!(bench.output(client), b"hello\n".repeat(16)); // the reactor has looked
/// assert!(handle.send(client, back).is_ok());
/// ```
///
/// When this was asked on the thread of a reactor of the same engine, that reactor's handler is told by
/// [`on_room`](crate::Handler::on_room) once there is room.
pub struct MailboxFull<T>(pub T);

impl<T> fmt::Debug for MailboxFull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailboxFull(..)")
    }
}

impl<T> fmt::Display for MailboxFull<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor's mailbox is full")
    }
}

impl<T> error::Error for MailboxFull<T> {}
