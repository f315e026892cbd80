//! What a full mailbox refuses.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use super::Handle;
use crate::{
    Adopt, Audience, ConnId, Connect, Error, MailboxFull, NotTaken, On, Payload, ReactorId, Result, Tag,
    mailbox::Command, watched,
};

/// # What a full mailbox refuses
impl Handle {
    /// Sends to one connection. What the connection itself refuses when the payload's turn comes (its queue is at the limit, its
    /// framing cannot carry it) is counted, in [`Counters::sends_refused`](crate::Counters::sends_refused) or
    /// [`late_commands`](crate::Counters::late_commands), and told to nobody: who must know posts a closure.
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
    /// let (here, gone) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
    /// bench.reset(gone);
    /// bench.handle().send(here, "hello")?;
    /// bench.handle().send(gone, "hello")?; // no error
    /// assert_eq!(bench.output(here), b"hello\n");
    /// assert_eq!(bench.handle().stats().total().late_commands, 1);
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the payload. A connection that is gone is no error: it may go while the payload travels.
    pub fn send(
        &self,
        to: ConnId,
        payload: impl Into<Payload<'static>>,
    ) -> Result<(), MailboxFull<Payload<'static>>> {
        let payload = payload.into();
        let Some((reactor, owner)) = self.owner(to) else { return Ok(()) };
        match self.reserve(reactor, owner) {
            Some(place) => self.put_in(reactor, owner, place, Command::Send { to, payload }),
            None => return Err(MailboxFull(payload)),
        }
        Ok(())
    }

    /// As [`send`](Handle::send), waiting so long for room; on a reactor's thread it does not wait.
    ///
    /// ```
    /// # use std::{thread, time::Duration};
    /// use wheelhouse::{Engine, Framing, testing::Bench};
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
    /// let speaker = thread::spawn(move || {
    ///     (0..100).all(|_| handle.send_timeout(client, "tick", Duration::from_secs(5)).is_ok())
    /// });
    /// let mut heard = 0;
    /// while !speaker.is_finished() {
    ///     heard += bench.output(client).len() / b"tick\n".len(); // each look makes room
    /// }
    /// heard += bench.output(client).len() / b"tick\n".len();
    /// assert_eq!((speaker.join().expect("no panic"), heard), (true, 100));
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the payload.
    pub fn send_timeout(
        &self,
        to: ConnId,
        payload: impl Into<Payload<'static>>,
        wait: Duration,
    ) -> Result<(), MailboxFull<Payload<'static>>> {
        let payload = payload.into();
        let Some((reactor, owner)) = self.owner(to) else { return Ok(()) };
        match self.reserve_within(reactor, owner, wait) {
            Some(place) => self.put_in(reactor, owner, place, Command::Send { to, payload }),
            None => return Err(MailboxFull(payload)),
        }
        Ok(())
    }

    /// Sends the same to many connections: one command and one wake-up for each reactor that has some of them, one buffer
    /// for all.
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
    /// let room = [(); 3].map(|()| bench.open(Framing::lines(80)));
    /// let outsider = bench.open(Framing::lines(80));
    /// bench.handle().send_many(&room, "to all of you")?;
    /// assert!(room.iter().all(|member| bench.output(*member) == b"to all of you\n"));
    /// assert!(bench.output(outsider).is_empty());
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the reactors that took nothing; the others took theirs.
    pub fn send_many(
        &self,
        to: &[ConnId],
        payload: impl Into<Payload<'static>>,
    ) -> Result<(), MailboxFull<Vec<ReactorId>>> {
        let payload = payload.into();
        let mut full = Vec::new();
        for (index, reactor) in self.shared.reactors.iter().enumerate() {
            let id = ReactorId(index as u16);
            let mut theirs: Vec<ConnId> = to.iter().copied().filter(|to| to.reactor() == id).collect();
            theirs.sort_unstable();
            if theirs.is_empty() || reactor.mailbox.is_closed() {
                continue;
            }
            match self.reserve(id, reactor) {
                Some(place) => {
                    let command = Command::SendMany { to: theirs.into(), payload: payload.clone() };
                    self.put_in(id, reactor, place, command);
                }
                None => full.push(id),
            }
        }
        if full.is_empty() { Ok(()) } else { Err(MailboxFull(full)) }
    }

    /// Sends to every open connection, or every one of a listener: all reactors take it, or none does. One buffer serves
    /// all of them.
    ///
    /// ```
    /// use wheelhouse::{Audience, Bytes, Framing, LengthDelimited, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let lines = bench.open(Framing::lines(80));
    /// let frames = bench.open(Framing::length_delimited(LengthDelimited::u8()));
    /// bench.handle().broadcast(Audience::Open, Bytes::from_static(b"tick"))?;
    /// assert_eq!(bench.output(lines), b"tick\n"); // each by its own framing
    /// assert_eq!(bench.output(frames), b"\x04tick");
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the payload.
    pub fn broadcast(
        &self,
        to: Audience,
        payload: impl Into<Payload<'static>>,
    ) -> Result<(), MailboxFull<Payload<'static>>> {
        let payload = payload.into();
        let mut places = Vec::with_capacity(self.shared.reactors.len());
        for (index, reactor) in self.shared.reactors.iter().enumerate() {
            let id = ReactorId(index as u16);
            if reactor.mailbox.is_closed() {
                continue;
            }
            match self.reserve(id, reactor) {
                Some(place) => places.push((id, reactor, place)),
                None => {
                    for (id, _, place) in places {
                        self.give_back(id, place);
                    }
                    return Err(MailboxFull(payload));
                }
            }
        }
        for (id, reactor, place) in places {
            let command = Command::Broadcast { to, payload: payload.clone() };
            self.put_in(id, reactor, place, command);
        }
        Ok(())
    }

    /// Dials from the engine. What the reactor itself refuses when its turn comes, because it is full or stopping, is logged
    /// and no more: there is no connection then. The connection's [`tag`](Connect::tag) tells which one it is, to `on_open` or, when it fails,
    /// to `on_close`.
    ///
    /// ```
    /// use wheelhouse::{Connect, Error, On, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let handle = bench.handle();
    /// handle.connect(On::Any, Connect::to("tcp://192.0.2.1:80").tag(Tag(7)))?;
    /// assert_eq!(bench.dialled()[0].tag, Tag(7)); // so will `Conn::tag` say in `on_open`
    /// handle.shutdown();
    /// let late = handle.connect(On::Any, Connect::to("tcp://192.0.2.1:80"));
    /// assert!(matches!(late, Err(Error::Stopping)));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// A bad address or option; [`Error::Stopping`]; [`Error::MailboxFull`].
    pub fn connect(&self, on: On, to: Connect) -> Result<()> {
        to.validate(&self.shared.options)?;
        let (reactor, place) = self.place(on)?;
        self.put_at(reactor, place, Command::Connect(Box::new(to)));
        Ok(())
    }

    /// Takes over a connected socket; its [`tag`](Adopt::tag) tells which connection it has become. What the reactor itself
    /// refuses when its turn comes, because it is full or stopping, is closed and logged.
    ///
    /// ```
    /// use std::{io::{Read, Write}, os::unix::net::UnixStream};
    /// use wheelhouse::{Engine, On};
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
    /// let engine = Engine::builder().reactors(1).build(|_| Echo)?;
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// engine.handle().adopt(On::Any, ours)?;
    /// let _running = engine.start()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// theirs.write_all(b"hello")?;
    /// let mut echo = [0; 5];
    /// theirs.read_exact(&mut echo)?;
    /// assert_eq!(&echo, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The socket comes back: it is no connected stream socket, an option is bad, the engine is stopping, the reactor's
    /// mailbox is full.
    pub fn adopt(&self, on: On, socket: impl Into<Adopt>) -> Result<(), NotTaken<Adopt>> {
        let adopt = socket.into();
        let (reactor, place) = match adopt.prepare().and_then(|()| self.place(on)) {
            Ok(taken) => taken,
            Err(error) => return Err(NotTaken { what: adopt, error }),
        };
        self.put_at(reactor, place, Command::Adopt(Box::new(adopt)));
        Ok(())
    }

    /// As [`Reactor::watch`](crate::Reactor::watch), on a reactor of one's choice.
    ///
    /// ```
    /// use std::fs::File;
    /// use wheelhouse::{Error, On, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let bench = Bench::new(|_| Silent);
    /// let (reader, _writer) = std::io::pipe()?;
    /// assert!(bench.handle().watch(On::Any, reader, Tag(1)).is_ok());
    /// let back = bench.handle().watch(On::Any, File::open("/proc/self/exe")?, Tag(2)).unwrap_err();
    /// assert!(matches!(back.error, Error::CannotWatch { .. })); // a regular file is always ready
    /// assert!(File::from(back.what).metadata()?.is_file());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The descriptor comes back: the system cannot watch it, the engine is stopping, the reactor's mailbox is full.
    pub fn watch(
        &self,
        on: On,
        fd: impl Into<OwnedFd>,
        tag: impl Into<Tag>,
    ) -> Result<(), NotTaken<OwnedFd>> {
        let fd = fd.into();
        let can_be_watched =
            watched::try_out(&fd).map_err(|source| Error::CannotWatch { fd: fd.as_raw_fd(), source });
        let (reactor, place) = match can_be_watched.and_then(|()| self.place(on)) {
            Ok(taken) => taken,
            Err(error) => return Err(NotTaken { what: fd, error }),
        };
        self.put_at(reactor, place, Command::Watch(fd, tag.into()));
        Ok(())
    }
}
