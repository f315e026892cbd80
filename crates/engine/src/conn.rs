mod changing;
mod identity;
mod reading;
mod sending;
mod socket;

use socket2::SockRef;

pub use self::socket::PeerCredentials;
use crate::{ConnId, Reactor, connection::Connection, id::Key, sub_reactor::Core};

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

/// # Others
impl<'a> Conn<'a> {
    /// The reactor: its timers, its other connections, dialling.
    pub fn reactor(&mut self) -> &mut Reactor<'a> {
        &mut self.reactor
    }

    /// Another connection of the same reactor; none when it is gone, or on another reactor.
    ///
    /// ```
    /// # use wheelhouse::{Action, Conn, ConnId, Framing, Handler, Message, testing::Bench};
    /// # struct Pairs(Vec<ConnId>);
    /// # impl Handler for Pairs {
    /// #     type Session = ();
    /// # fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #     self.0.push(conn.id());
    /// #     Action::Continue
    /// # }
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     let from = conn.id();
    ///     for other in self.0.iter().filter(|other| **other != from) {
    ///         if let Some(mut other) = conn.other(*other) {
    ///             other.send(message); // still the bytes that were read
    ///         }
    ///     }
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Pairs(Vec::new())); // knows everybody who came
    /// let (ann, bob) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
    /// bench.message(ann, "hello");
    /// assert_eq!((bench.output(ann), bench.output(bob)), (vec![], b"hello\n".to_vec()));
    /// ```
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
