mod orders;
mod requests;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    ConnId, Error, On, ReactorId, Result, Stats,
    mailbox::{Command, Place},
    shared::{self, ReactorShared, Shared},
};

/// Talks to an engine from any thread, for as long as one likes.
///
/// What it asks travels through the owning reactor's bounded mailbox, in order, with at most one wake-up until the reactor
/// is awake. Asked on the reactor's own thread it goes no such way, and keeps its place among what the callback asks of
/// its `Conn`. What carries a payload, a closure or an address is refused by a full mailbox; what closes or resumes never
/// is, and waits its turn in the same queue. What is asked for a connection that is gone is counted and dropped, and never reaches another one.
///
/// ```
/// use std::thread;
/// use wheelhouse::{Audience, Framing, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Silent;
/// # impl Handler for Silent {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// let mut bench = Bench::new(|_| Silent);
/// let (one, two) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
/// let handle = bench.handle(); // as of an engine: `engine.handle()`
/// let speaker = thread::spawn(move || {
///     handle.send(one, "only you").expect("the mailbox has room");
///     handle.broadcast(Audience::Open, "everyone").expect("the mailbox has room");
///     handle.close(two);
/// });
/// speaker.join().expect("no panic");
/// assert_eq!(bench.output(one), b"only you\neveryone\n");
/// assert_eq!(bench.output(two), b"everyone\n");
/// assert!(!bench.handle().is_open(two));
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Handle { shared }
    }
}

/// # What is known at once, without a lock
impl Handle {
    /// Whether the connection is there: from its accept, or its dialling, until its `on_close` has returned.
    ///
    /// ```
    /// use wheelhouse::{Connect, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// bench.handle().connect(On::Any, Connect::to("tcp://192.0.2.1:80"))?;
    /// let id = bench.dialled()[0].id;
    /// assert!(bench.handle().is_open(id)); // while it is being dialled too
    /// bench.refuse(id, std::io::ErrorKind::ConnectionRefused.into());
    /// assert!(!bench.handle().is_open(id));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn is_open(&self, id: ConnId) -> bool {
        self.shared.owner(id).is_some_and(|(_, reactor)| reactor.roll.holds(id))
    }

    /// The connection that has this file descriptor.
    ///
    /// ```
    /// use std::{io::Read, os::fd::AsRawFd};
    /// use wheelhouse::{Action, Conn, Handle, Handler};
    /// # use wheelhouse::Message;
    /// # struct Finds(Handle);
    /// # impl Handler for Finds {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let fd = conn.fd().map(|fd| fd.as_raw_fd());
    ///     let found = fd.and_then(|fd| self.0.find(fd)); // in any thread
    ///     conn.send(if found == Some(conn.id()) { "found" } else { "lost" });
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = wheelhouse::Engine::builder().reactors(1).build(|spot| Finds(spot.handle()))?;
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # engine.handle().adopt(wheelhouse::On::Any, ours)?;
    /// # let _running = engine.start()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # let mut answer = String::new();
    /// # theirs.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "found");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find(&self, fd: i32) -> Option<ConnId> {
        self.shared.fds.find(fd)
    }

    /// Every connection that has a descriptor (one whose name is being resolved has none); those that come or go meanwhile may or may not be among them.
    ///
    /// ```
    /// use std::{os::unix::net::UnixStream, sync::mpsc::channel, time::Duration};
    /// use wheelhouse::{Action, Conn, ConnId, Engine, Handler, On};
    /// # use wheelhouse::Message;
    /// # use std::sync::mpsc::Sender;
    /// # struct Tells(Sender<ConnId>);
    /// # impl Handler for Tells {
    /// #     type Session = ();
    /// #     fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #         let _ = self.0.send(conn.id());
    /// #         Action::Continue
    /// #     }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let (sender, opened) = channel();
    /// # let engine = Engine::builder().reactors(1).build(move |_| Tells(sender.clone()))?;
    /// let handle = engine.handle();
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// handle.adopt(On::Any, ours)?;
    /// let _running = engine.start()?;
    /// let id = opened.recv_timeout(Duration::from_secs(5))?; // what `on_open` saw
    /// assert_eq!(handle.connections().collect::<Vec<_>>(), [id]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.shared.fds.iter()
    }

    /// How many connections there are, those on their way to their reactor included.
    ///
    /// ```
    /// use wheelhouse::{Connect, Framing, On, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::raw());
    /// bench.handle().connect(On::Any, Connect::to("tcp://192.0.2.1:80"))?;
    /// bench.run();
    /// assert_eq!(bench.handle().count(), 2); // what is being dialled counts
    /// bench.reset(client);
    /// assert_eq!(bench.handle().count(), 1);
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn count(&self) -> usize {
        self.shared.count()
    }

    /// How many reactors there are.
    pub fn reactors(&self) -> usize {
        self.shared.reactors.len()
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        Stats {
            main: self.shared.main.stats.load(),
            reactors: self.shared.reactors.iter().map(|reactor| reactor.stats.load()).collect(),
        }
    }
}

/// How a command travels.
impl Handle {
    pub(crate) fn owner(&self, id: ConnId) -> Option<(ReactorId, &ReactorShared)> {
        self.shared.owner(id).filter(|(_, owner)| !owner.mailbox.is_closed())
    }

    /// A place in the mailbox of the reactor that is meant.
    fn place(&self, on: On) -> Result<(ReactorId, Place)> {
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(Error::Stopping);
        }
        let reactor = match on {
            On::Any => {
                let next = self.shared.next_dial.fetch_add(1, Ordering::Relaxed);
                ReactorId((next % self.shared.reactors.len()) as u16)
            }
            On::Reactor(reactor) => reactor,
            On::Owner(id) => id.reactor(),
        };
        let Some(found) = self.shared.reactor(reactor) else {
            return Err(Error::BadOption {
                option: "on",
                value: format!("reactor {reactor}"),
                allowed: format!("0 to {}", self.shared.reactors.len() - 1),
            });
        };
        match self.reserve(reactor, found) {
            Some(place) => Ok((reactor, place)),
            None => Err(Error::MailboxFull { reactor }),
        }
    }

    fn put_at(&self, reactor: ReactorId, place: Place, command: Command) {
        if let Some(found) = self.shared.reactor(reactor) {
            self.put_in(reactor, found, place, command);
        }
    }

    /// Takes a place; a reactor that gets none is told when there is room.
    pub(crate) fn reserve(&self, reactor: ReactorId, of: &ReactorShared) -> Option<Place> {
        if let Some(place) = of.mailbox.reserve() {
            return Some(place);
        }
        let (own, _) = shared::current(&self.shared)?;
        if of.mailbox.tell_room(own) {
            // There is room by now, but the answer is given already: it is told like any other.
            self.shared.reactor(own)?.put(Command::Room(reactor));
        }
        None
    }

    /// A place that was not used is room for those who were refused meanwhile.
    fn give_back(&self, reactor: ReactorId, place: Place) {
        let Some(of) = self.shared.reactor(reactor) else { return };
        of.mailbox.unreserve(place);
        of.mailbox.announce_room(|refused| {
            if let Some(refused) = self.shared.reactor(refused) {
                refused.put(Command::Room(reactor));
            }
        });
    }

    pub(crate) fn reserve_within(
        &self,
        reactor: ReactorId,
        of: &ReactorShared,
        wait: Duration,
    ) -> Option<Place> {
        if shared::is_reactor_thread() {
            return self.reserve(reactor, of);
        }
        of.mailbox.reserve_within(wait)
    }

    pub(crate) fn put_in(&self, reactor: ReactorId, of: &ReactorShared, place: Place, command: Command) {
        match shared::current(&self.shared) {
            Some((own, local)) if own == reactor => {
                place.keep();
                local.push(command);
            }
            _ => of.put_in(place, command),
        }
    }

    fn put(&self, id: ConnId, command: Command) {
        let Some((reactor, owner)) = self.owner(id) else { return };
        match shared::current(&self.shared) {
            Some((own, local)) if own == reactor => local.push(command),
            _ => _ = owner.put(command),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("reactors", &self.reactors()).field("count", &self.count()).finish()
    }
}
