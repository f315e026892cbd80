use crate::ListenerId;

/// Who hears a broadcast: among the connections that are open when their reactor takes it up; asked on a reactor's own
/// thread, those that are open then.
///
/// ```
/// use wheelhouse::{Audience, Engine, Framing, Listener, ListenerId, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Silent;
/// # impl Handler for Silent {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let lines = |url: &str| Listener::new(url).framing(Framing::lines(80));
/// let builder = Engine::builder().listen(lines("tcp://*:9000")).listen(lines("unix:@admin"));
/// let mut bench = Bench::with_options(builder, |_| Silent);
/// let (user, admin) = (bench.open_on(ListenerId(0)), bench.open_on(ListenerId(1)));
/// bench.handle().broadcast(Audience::Listener(ListenerId(1)), "disk full")?;
/// bench.handle().broadcast(Audience::Open, "closing soon")?;
/// assert_eq!(bench.output(admin), b"disk full\nclosing soon\n");
/// assert_eq!(bench.output(user), b"closing soon\n");
/// # Ok::<(), wheelhouse::MailboxFull<_>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All.
    Open,
    /// Those that came through a listener.
    Listener(ListenerId),
}
