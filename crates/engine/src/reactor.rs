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
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use wheelhouse::{Handler, Reactor, TimerKind, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Clock(Vec<Instant>);
    /// # impl Handler for Clock {
    /// #     type Session = ();
    /// fn on_start(&mut self, reactor: &mut Reactor<'_>) {
    ///     self.0.push(reactor.now());
    ///     reactor.set_timer(TimerKind(1), Duration::from_secs(60));
    /// }
    ///
    /// fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, _: TimerKind) {
    ///     self.0.push(reactor.now());
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Clock(Vec::new()));
    /// bench.turn(Duration::from_secs(60)); // without a minute's waiting
    /// let [started, fired] = bench.handler().0[..] else { panic!("it fired") };
    /// assert_eq!(fired - started, Duration::from_secs(60));
    /// ```
    pub fn now(&self) -> Instant {
        self.core.clock.now()
    }

    /// A connection of this reactor; none when it is gone or going, or on another reactor.
    ///
    /// ```
    /// use wheelhouse::{ConnId, Framing, Handler, Reactor, TimerKind, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # use std::time::Duration;
    /// # struct Newest(Option<ConnId>);
    /// # impl Handler for Newest {
    /// #     type Session = ();
    /// # fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #     self.0 = Some(conn.id());
    /// #     conn.reactor().set_timer(TimerKind(1), Duration::from_secs(1));
    /// #     Action::Continue
    /// # }
    /// fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, _: TimerKind) {
    ///     if let Some(mut newest) = self.0.and_then(|id| reactor.conn(id)) {
    ///         newest.send("you are the newest");
    ///     }
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Newest(None)); // a second after somebody came
    /// let client = bench.open(Framing::lines(80));
    /// bench.turn(Duration::from_secs(1));
    /// assert_eq!(bench.output(client), b"you are the newest\n");
    /// ```
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
    /// let clients = [(); 3].map(|()| bench.open(Framing::lines(80)));
    /// bench.poster().post(ReactorId(0), |_, reactor| {
    ///     for id in reactor.connections() {
    ///         if let Some(mut conn) = reactor.conn(id) { // it may be going
    ///             conn.send(id.to_string());
    ///         }
    ///     }
    /// })?;
    /// assert!(clients.iter().all(|id| bench.output(*id) == format!("{id}\n").as_bytes()));
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    pub fn connections(&self) -> Vec<ConnId> {
        let connections = &self.core.connections;
        connections.keys_from(crate::id::Key(0)).filter_map(|key| connections.id(key)).collect()
    }

    /// Dials on this reactor. The id is known at once; `on_open` tells of success, `on_close` of failure
    /// ([`CloseReason::ConnectFailed`](crate::CloseReason::ConnectFailed),
    /// [`ConnectTimeout`](crate::CloseReason::ConnectTimeout)). What is sent before `on_open` waits;
    /// where a handshake comes first, of TLS or a WebSocket, it is refused ([`Refusal::Closing`](crate::Refusal::Closing)).
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use wheelhouse::{Closed, Connect, ConnId, Handler, Reactor, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Upstream(Option<ConnId>);
    /// # impl Handler for Upstream {
    /// #     type Session = ();
    /// fn on_start(&mut self, reactor: &mut Reactor<'_>) {
    ///     self.0 = reactor.connect(Connect::to("tcp://192.0.2.1:6379")).ok();
    /// }
    ///
    /// fn on_close(&mut self, closed: &mut Closed<'_>, _: ()) {
    ///     self.0.take_if(|upstream| *upstream == closed.id()); // dialled in vain, too
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Upstream(None));
    /// let id = bench.dialled()[0].id;
    /// assert_eq!(bench.handler().0, Some(id));
    /// bench.refuse(id, ErrorKind::ConnectionRefused.into());
    /// assert_eq!(bench.handler().0, None);
    /// ```
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
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use wheelhouse::{Adopt, ReactorId, testing::Bench};
    /// # use std::sync::mpsc::channel;
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         conn.send(message);
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// # let (sender, adopted) = channel();
    /// let mut bench = Bench::new(|_| Echo);
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// bench.poster().post(ReactorId(0), move |_, reactor| {
    ///     let id = reactor.adopt(Adopt::new(ours).unread("hello"));
    ///     let _ = sender.send(id);
    /// })?;
    /// bench.run();
    /// let id = adopted.try_recv()??;
    /// assert_eq!(bench.output(id), b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// # use std::io::{PipeReader, Read, Write};
    /// # use std::os::fd::BorrowedFd;
    /// # use wheelhouse::{Handler, Reactor, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Pipes(Option<PipeReader>, Vec<u8>);
    /// # impl Handler for Pipes {
    /// #     type Session = ();
    /// fn on_start(&mut self, reactor: &mut Reactor<'_>) {
    ///     if let Some(pipe) = self.0.take() {
    ///         let _ = reactor.watch(pipe, Tag(7));
    ///     }
    /// }
    ///
    /// fn on_ready(&mut self, reactor: &mut Reactor<'_>, _: Tag, pipe: BorrowedFd<'_>) {
    ///     let Ok(pipe) = pipe.try_clone_to_owned() else { return };
    ///     let _ = PipeReader::from(pipe).read_to_end(&mut self.1); // its writer is gone
    ///     reactor.unwatch(Tag(7));
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let (reader, mut writer) = std::io::pipe()?;
    /// writer.write_all(b"hello")?;
    /// drop(writer);
    /// let mut bench = Bench::new(|_| Pipes(Some(reader), Vec::new()));
    /// assert_eq!(bench.handler().1, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The descriptor comes back: the system cannot watch it, as a regular file.
    pub fn watch(&mut self, fd: impl Into<OwnedFd>, tag: impl Into<Tag>) -> Result<(), NotTaken<OwnedFd>> {
        self.core.watch(fd.into(), tag.into())
    }

    /// Closes the descriptors that are watched with this tag; how many there were. (Who wants to keep one duplicates it
    /// first.)
    ///
    /// ```
    /// use wheelhouse::{On, ReactorId, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// for _ in 0..2 {
    ///     let (reader, _) = std::io::pipe()?;
    ///     bench.handle().watch(On::Any, reader, Tag(7))?;
    /// }
    /// bench.poster().post(ReactorId(0), |_, reactor| {
    ///     assert_eq!((reactor.unwatch(Tag(8)), reactor.unwatch(Tag(7))), (0, 2));
    /// })?;
    /// bench.run();
    /// assert_eq!(bench.handle().stats().total().panics, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unwatch(&mut self, tag: impl Into<Tag>) -> usize {
        self.core.unwatch(tag.into())
    }

    /// [`Conn::finish`] for every connection there is now, in slices between which events are served.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use wheelhouse::{CloseReason, Framing, Handler, Reactor, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Polite;
    /// # impl Handler for Polite {
    /// #     type Session = ();
    /// fn on_stopping(&mut self, reactor: &mut Reactor<'_>, _: Instant) {
    ///     reactor.finish_all();
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Polite);
    /// let clients = [(); 3].map(|()| bench.open(Framing::raw()));
    /// bench.handle().drain(Duration::from_secs(60));
    /// bench.run();
    /// assert!(clients.iter().all(|id| bench.output_ended(*id) && bench.closed(*id) == Some(&CloseReason::Local)));
    /// ```
    pub fn finish_all(&mut self) {
        self.core.settle();
        self.core.finish_all();
    }

    /// Calls [`Handler::on_reactor_timer`](crate::Handler::on_reactor_timer) once, after so long; a timer of the same kind
    /// is moved. Never early; late by up to 2 ms and the turn's length. More than 24 days count as 24 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Handler, Reactor, TimerKind, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Ticks(u32);
    /// # impl Handler for Ticks {
    /// #     type Session = ();
    /// fn on_start(&mut self, reactor: &mut Reactor<'_>) {
    ///     reactor.set_timer(TimerKind(1), Duration::from_secs(1));
    /// }
    ///
    /// fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
    ///     self.0 += 1;
    ///     reactor.set_timer(timer, Duration::from_secs(1)); // once more
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Ticks(0));
    /// bench.turn(Duration::from_secs(5));
    /// assert_eq!(bench.handler().0, 5);
    /// ```
    pub fn set_timer(&mut self, kind: TimerKind, after: Duration) {
        self.core.set_reactor_timer(kind, after);
    }

    /// Takes a timer back. False when none of that kind was set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{ReactorId, TimerKind, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// bench.poster().post(ReactorId(0), |_, reactor| {
    ///     reactor.set_timer(TimerKind(1), Duration::from_secs(1));
    ///     assert!(reactor.cancel_timer(TimerKind(1)));
    ///     assert!(!reactor.cancel_timer(TimerKind(1))); // it is gone
    /// })?;
    /// bench.run();
    /// assert_eq!(bench.handle().stats().total().panics, 0);
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    pub fn cancel_timer(&mut self, kind: TimerKind) -> bool {
        self.core.cancel_reactor_timer(kind)
    }

    /// Sends to all of this reactor's connections that are open now, in slices between which events are served; each
    /// connection sees it in order with whatever else it is sent.
    ///
    /// ```
    /// use wheelhouse::{Action, Audience, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Room;
    /// # impl Handler for Room {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     match conn.reactor().broadcast(Audience::Open, message.to_payload()) {
    ///         Ok(()) => Action::Continue,
    ///         Err(_) => Action::Hold, // until `on_room` resumes it
    ///     }
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Room);
    /// let (ann, bob) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
    /// bench.message(ann, "hello");
    /// assert_eq!((bench.output(ann), bench.output(bob)), (b"hello\n".to_vec(), b"hello\n".to_vec()));
    /// ```
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
