use crate::{ConnId, ReactorId};

/// Which reactor a connection is to be dialled on, a socket adopted, a descriptor watched.
///
/// ```
/// use wheelhouse::{Connect, Framing, On, ReactorId, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Silent;
/// # impl Handler for Silent {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let mut bench = Bench::new(|_| Silent);
/// let client = bench.open(Framing::raw());
/// let handle = bench.handle();
/// for on in [On::Any, On::Reactor(ReactorId(0)), On::Owner(client)] {
///     handle.connect(on, Connect::to("tcp://192.0.2.1:80"))?;
/// }
/// assert!(bench.dialled().iter().all(|dialled| dialled.id.reactor() == client.reactor()));
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// One after the other.
    Any,
    /// That one.
    Reactor(ReactorId),
    /// The one that this connection is on.
    Owner(ConnId),
}
