use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use crate::{
    Adopt, Audience, Conn, ConnId, Connect, MailboxFull, NotTaken, Payload, ReactorId, Result, Tag,
    TimerKind, mailbox::Command, sub_reactor::Core,
};

/// The sub-reactor that a callback runs on: its connections, its timers, dialling.
///
/// ```
/// use std::time::Duration;
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, Reactor, TimerKind, testing::Bench};
///
/// const SWEEP: TimerKind = TimerKind(1);
/// const MINUTE: Duration = Duration::from_secs(60);
///
/// /// Writes down every minute how many connections there are.
/// struct Sweeper(Vec<usize>);
///
/// impl Handler for Sweeper {
///     type Session = ();
///
///     fn on_start(&mut self, reactor: &mut Reactor<'_>) {
///         reactor.set_timer(SWEEP, MINUTE);
///     }
///
///     fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
///         self.0.push(reactor.len());
///         reactor.set_timer(timer, MINUTE);
///     }
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// }
///
/// let mut bench = Bench::new(|_| Sweeper(Vec::new()));
/// bench.turn(MINUTE);
/// bench.open(Framing::raw());
/// bench.turn(2 * MINUTE);
/// assert_eq!(bench.handler().0, [0, 1, 1]);
/// ```
pub struct Reactor<'a> {
    pub(crate) core: &'a mut Core,
}

impl<'a> Reactor<'a> {
    pub(crate) fn new(core: &'a mut Core) -> Reactor<'a> {
        Reactor { core }
    }
}

impl Reactor<'_> {
    /// Which reactor this is.
    pub fn id(&self) -> ReactorId {
        self.core.id
    }

    /// The reactor's clock: read once a turn, and the same for the whole turn. A callback that takes long sees old time.
    pub fn now(&self) -> Instant {
        self.core.clock.now()
    }

    /// A connection of this reactor; none when it is gone or going, or on another reactor.
    pub fn conn(&mut self, id: ConnId) -> Option<Conn<'_>> {
        self.core.is_here(id).then(|| Conn::new(self.core, id.key(), id))
    }

    /// Connections of this reactor, those being dialled or closed included.
    pub fn len(&self) -> usize {
        self.core.connections.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of this reactor's connections, as they are now.
    pub fn connections(&self) -> Vec<ConnId> {
        let connections = &self.core.connections;
        connections.keys_from(crate::id::Key(0)).filter_map(|key| connections.id(key)).collect()
    }

    /// Dials on this reactor. The id is known at once; `on_open` tells of success, `on_close` of failure
    /// ([`CloseReason::ConnectFailed`](crate::CloseReason::ConnectFailed),
    /// [`ConnectTimeout`](crate::CloseReason::ConnectTimeout)). What is sent before `on_open` waits.
    ///
    /// # Errors
    /// A bad address or option, a reactor that is stopping, or that can hold no more connections.
    pub fn connect(&mut self, to: Connect) -> Result<ConnId> {
        self.core.settle();
        self.core.connect(to)
    }

    /// Takes over a connected socket. The id is known at once; `on_open` comes when the callback has returned, and then what
    /// was [`unread`](Adopt::unread).
    ///
    /// # Errors
    /// The socket comes back: it is no connected stream socket, an option is bad, the reactor is stopping or full.
    pub fn adopt(&mut self, socket: impl Into<Adopt>) -> Result<ConnId, NotTaken<Adopt>> {
        self.core.settle();
        self.core.adopt(socket.into())
    }

    /// Watches a descriptor that is no connection's: an eventfd, a timer, a pipe, another library's socket. Whenever it
    /// becomes readable [`Handler::on_ready`](crate::Handler::on_ready) is called, with this tag; once for what is there, so
    /// it should be non-blocking and read until `WouldBlock`. The engine closes it when it stops, or at
    /// [`unwatch`](Reactor::unwatch).
    ///
    /// # Errors
    /// The descriptor comes back: the system cannot watch it, as a regular file.
    pub fn watch(&mut self, fd: impl Into<OwnedFd>, tag: impl Into<Tag>) -> Result<(), NotTaken<OwnedFd>> {
        self.core.watch(fd.into(), tag.into())
    }

    /// Closes the descriptors that are watched with this tag; how many there were. (Who wants to keep one duplicates it
    /// first.)
    pub fn unwatch(&mut self, tag: impl Into<Tag>) -> usize {
        self.core.unwatch(tag.into())
    }

    /// [`Conn::finish`] for every connection there is now, in slices between which events are served.
    pub fn finish_all(&mut self) {
        self.core.settle();
        self.core.finish_all();
    }

    /// Calls [`Handler::on_reactor_timer`](crate::Handler::on_reactor_timer) once, after so long; a timer of the same kind
    /// is moved. Never early; late by up to 2 ms and the turn's length. More than 24 days count as 24 days.
    pub fn set_timer(&mut self, kind: TimerKind, after: Duration) {
        self.core.set_reactor_timer(kind, after);
    }

    /// Takes a timer back. False when none of that kind was set.
    pub fn cancel_timer(&mut self, kind: TimerKind) -> bool {
        self.core.cancel_reactor_timer(kind)
    }

    /// Sends to all of this reactor's connections that are open now, in slices between which events are served; each
    /// connection sees it in order with whatever else it is sent.
    ///
    /// # Errors
    /// [`MailboxFull`] with the payload when too many broadcasts are under way: each has a place in the reactor's own
    /// mailbox. [`Handler::on_room`](crate::Handler::on_room) tells when there is room.
    pub fn broadcast(
        &mut self,
        to: Audience,
        payload: impl Into<Payload<'static>>,
    ) -> Result<(), MailboxFull<Payload<'static>>> {
        self.core.settle();
        let payload = payload.into();
        let mailbox = self.core.mailbox();
        let Some(place) = mailbox.reserve() else {
            if mailbox.tell_room(self.core.id) {
                mailbox.put(Command::Room(self.core.id));
            }
            return Err(MailboxFull(payload));
        };
        place.keep();
        self.core.broadcast(to, payload);
        Ok(())
    }
}
