use crate::{ConnId, Tag};

/// A connection that the handler has dialled, and that a test connects or refuses.
///
/// ```
/// use wheelhouse::{Connect, On, Tag, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Silent;
/// # impl Handler for Silent {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let mut bench = Bench::new(|_| Silent);
/// for (number, url) in ["tcp://one.example:80", "tcp://two.example:80"].into_iter().enumerate() {
///     bench.handle().connect(On::Any, Connect::to(url).tag(Tag(number as u64)))?;
/// }
/// let dialled = bench.dialled();
/// let second = dialled.iter().find(|dialled| dialled.tag == Tag(1)).expect("it was dialled");
/// assert_eq!(second.url, "tcp://two.example:80");
/// bench.connected(second.id);
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dialled {
    /// The connection.
    pub id: ConnId,
    /// Whom it dials, as [`Connect::to`](crate::Connect::to) was told.
    pub url: String,
    /// The number given to [`Connect::tag`](crate::Connect::tag).
    pub tag: Tag,
}
