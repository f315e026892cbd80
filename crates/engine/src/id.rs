use std::{fmt, num::NonZeroU64};

/// Names one connection for as long as the engine runs; never given to another.
///
/// It can be kept, copied to other threads and compared. Once the connection is gone, whatever is asked of its id is
/// answered as "gone", even when its slot and its file descriptor serve another connection by then.
///
/// ```
/// use wheelhouse::{Framing, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Silent;
/// # impl Handler for Silent {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let mut bench = Bench::new(|_| Silent);
/// let first = bench.open(Framing::raw());
/// assert_eq!(first.to_string(), "0.0.1"); // reactor, slot, and the reactor's how many-th connection
/// bench.eof(first);
/// let second = bench.open(Framing::raw());
/// assert_eq!(second.to_string(), "0.0.2");
/// assert!(!bench.handle().is_open(first) && bench.handle().is_open(second));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(NonZeroU64);

const _: () = assert!(size_of::<Option<ConnId>>() == 8);

impl ConnId {
    /// Connections that one reactor can hold at once: 2^24.
    pub const MAX_KEYS: u32 = 1 << 24;

    /// Layout, from the lowest bit: 8 bits reactor, 24 bits key, 32 bits sequence number, which is never zero.
    pub(crate) fn new(reactor: ReactorId, key: Key, sequence: Sequence) -> ConnId {
        debug_assert!(key.0 < Self::MAX_KEYS && reactor.0 < ReactorId::MAX_REACTORS);
        let low = u64::from(key.0) << 8 | u64::from(reactor.0);
        ConnId(NonZeroU64::MIN.saturating_add((u64::from(sequence.0) << 32 | low) - 1))
    }

    pub(crate) fn from_u64(number: u64) -> Option<ConnId> {
        if number >> 32 == 0 { None } else { NonZeroU64::new(number).map(ConnId) }
    }

    /// The id as a number; never zero.
    ///
    /// ```
    /// use wheelhouse::{Framing, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::raw());
    /// assert_eq!(Tag(client.as_u64()).conn_id(), Some(client)); // and back again
    /// ```
    pub fn as_u64(self) -> u64 {
        self.0.get()
    }

    /// The reactor that owns the connection.
    ///
    /// ```
    /// use wheelhouse::{Framing, ReactorId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::raw());
    /// assert_eq!(client.reactor(), ReactorId(0));
    /// bench.poster().post(client.reactor(), move |_, reactor| {
    ///     if let Some(mut conn) = reactor.conn(client) {
    ///         conn.send("here you are");
    ///     }
    /// })?;
    /// assert_eq!(bench.output(client), b"here you are");
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    pub fn reactor(self) -> ReactorId {
        ReactorId((self.0.get() & 0xff) as u16)
    }

    pub(crate) fn key(self) -> Key {
        Key((self.0.get() >> 8) as u32 & (Self::MAX_KEYS - 1))
    }

    pub(crate) fn sequence(self) -> Sequence {
        Sequence((self.0.get() >> 32) as u32)
    }
}

/// `reactor.key.sequence`, as in `0.17.42`.
impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.reactor().0, self.key().0, self.sequence().0)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

/// A connection's place in its reactor's slabs; reused once the connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u32);

/// Counts a reactor's connections, from 1; tells a slot's tenants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence(pub(crate) u32);

impl Sequence {
    pub(crate) const FIRST: Sequence = Sequence(1);

    pub(crate) fn next(self) -> Sequence {
        Sequence(self.0.checked_add(1).unwrap_or(1))
    }

    /// Whether this one was given out since `since`, `next` being the one to come; over the wrap-around.
    pub(crate) fn is_since(self, since: Sequence, next: Sequence) -> bool {
        self.0.wrapping_sub(since.0) < next.0.wrapping_sub(since.0)
    }
}

/// Names a sub-reactor: 0 up to the number of reactors.
///
/// ```
/// use wheelhouse::{Connect, Error, On, ReactorId, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Silent;
/// # impl Handler for Silent {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let bench = Bench::new(|_| Silent); // one reactor: number 0
/// let there = Connect::to("tcp://127.0.0.1:6379");
/// assert!(bench.handle().connect(On::Reactor(ReactorId(0)), there.clone()).is_ok());
/// let error = bench.handle().connect(On::Reactor(ReactorId(1)), there).unwrap_err();
/// assert!(matches!(error, Error::BadOption { option: "on", .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReactorId(pub u16);

impl ReactorId {
    /// Reactors that one engine can have: 256.
    pub const MAX_REACTORS: u16 = 256;

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ReactorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a listener: its place in the order of the [`Builder::listen`](crate::Builder::listen) calls, from 0.
///
/// ```
/// use wheelhouse::{Action, Conn, Engine, Framing, Handler, Listener, ListenerId, testing::Bench};
/// # use wheelhouse::Message;
/// const ADMIN: ListenerId = ListenerId(1); // the second one that is listened on
/// # struct Two;
/// # impl Handler for Two {
/// #     type Session = ();
/// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
///     conn.send(if conn.listener() == Some(ADMIN) { "hello, admin" } else { "hello" });
///     Action::Continue
/// }
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let lines = |url: &str| Listener::new(url).framing(Framing::lines(80));
/// let builder = Engine::builder().listen(lines("tcp://*:9000")).listen(lines("tcp://127.0.0.1:9001"));
/// let mut bench = Bench::with_options(builder, |_| Two);
/// let admin = bench.open_on(ADMIN);
/// assert_eq!(bench.output(admin), b"hello, admin\n");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// A number of the user's own, given back by [`Conn::tag`](crate::Conn::tag): what is dialled from another thread has no
/// [`ConnId`] yet, and a tag stands for it.
///
/// ```
/// use wheelhouse::Tag;
///
/// let job = Tag(17);
/// assert_eq!(job.conn_id(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Tag(pub u64);

impl Tag {
    /// The connection this tag was made from, if it was made from one.
    ///
    /// ```
    /// use wheelhouse::{Framing, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::raw());
    /// // What is dialled for a client may have its id as tag.
    /// assert_eq!(Tag::from(client).conn_id(), Some(client));
    /// assert_eq!(Tag(17).conn_id(), None);
    /// ```
    pub fn conn_id(self) -> Option<ConnId> {
        ConnId::from_u64(self.0)
    }
}

impl From<ConnId> for Tag {
    fn from(id: ConnId) -> Tag {
        Tag(id.as_u64())
    }
}

/// Which of the handler's timers: setting the same kind again moves it. A number of the user's own choice.
///
/// ```
/// use wheelhouse::TimerKind;
///
/// const NUDGE: TimerKind = TimerKind(1);
/// const QUOTA: TimerKind = TimerKind(2);
/// assert_ne!(NUDGE, QUOTA);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKind(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_gives_back_what_it_was_made_of() {
        for (reactor, key, sequence) in [(0, 0, 1), (255, ConnId::MAX_KEYS - 1, u32::MAX), (3, 17, 42)] {
            let id = ConnId::new(ReactorId(reactor), Key(key), Sequence(sequence));
            assert_eq!((id.reactor().0, id.key().0, id.sequence().0), (reactor, key, sequence));
            assert_eq!(ConnId::from_u64(id.as_u64()), Some(id));
            assert_eq!(Tag::from(id).conn_id(), Some(id));
        }
        assert_eq!(ConnId::new(ReactorId(3), Key(17), Sequence(42)).to_string(), "3.17.42");
    }

    #[test]
    fn sequence_numbers_skip_zero_and_are_told_apart_over_the_wrap() {
        let last = Sequence(u32::MAX);
        assert_eq!(last.next(), Sequence::FIRST);
        let next = Sequence(5);
        for (number, is_since) in [(u32::MAX, true), (1, true), (4, true), (5, false), (u32::MAX - 1, false)]
        {
            assert_eq!(Sequence(number).is_since(last, next), is_since, "{number}");
        }
        // However old: half the numbers away and more.
        assert!(!Sequence(1 << 31).is_since(last, next));
        assert!(!Sequence(1).is_since(next, next));
    }
}
