use std::{marker::PhantomData, ops::Deref, time::Duration};

use crate::{
    Conn, ConnId, Handle, Handler, MailboxFull, Reactor, ReactorId,
    mailbox::{Command, Place},
    sub_reactor::Job,
};

/// A [`Handle`] that also knows the handler's type, which a posted closure needs.
///
/// ```
/// use std::thread::{JoinHandle, spawn};
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, Poster, testing::Bench};
///
/// struct Jobs {
///     back: Poster<Jobs>,
///     workers: Vec<JoinHandle<()>>,
/// }
///
/// impl Handler for Jobs {
///     type Session = ();
///
///     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///         let (back, from, question) = (self.back.clone(), conn.id(), message.to_payload());
///         self.workers.push(spawn(move || {
///             let answer = question.bytes().len().to_string(); // hard work
///             let _ = back.post_to(from, move |_, conn, _| _ = conn.send(answer));
///         }));
///         Action::Continue
///     }
/// }
///
/// let mut bench = Bench::new(|spot| Jobs { back: spot.poster(), workers: Vec::new() });
/// let client = bench.open(Framing::lines(80));
/// bench.input(client, b"four\n");
/// bench.handler().workers.drain(..).for_each(|worker| worker.join().expect("no panic"));
/// assert_eq!(bench.output(client), b"4\n");
/// ```
pub struct Poster<H> {
    handle: Handle,
    handler: PhantomData<fn(&mut H)>,
}

impl<H: Handler> Poster<H> {
    pub(crate) fn new(handle: Handle) -> Self {
        Poster { handle, handler: PhantomData }
    }

    /// Runs a closure on a reactor, with its handler: on the reactor's thread, in its turn among what is asked of it.
    ///
    /// ```
    /// use wheelhouse::{Framing, ReactorId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Motd(String);
    /// # impl Handler for Motd {
    /// #     type Session = ();
    /// #     fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    /// #         conn.send(&self.0);
    /// #         Action::Continue
    /// #     }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Motd("hello".into())); // greets everybody
    /// bench.poster().post(ReactorId(0), |handler, reactor| {
    ///     handler.0 = format!("hello, you are one of {}", reactor.len() + 1);
    /// })?;
    /// let client = bench.open(Framing::lines(80));
    /// assert_eq!(bench.output(client), b"hello, you are one of 1\n");
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the closure. When the reactor has stopped, it is dropped.
    ///
    /// # Panics
    /// When the engine has no reactor of that number: [`Handle::reactors`] tells how many there are.
    pub fn post<F>(&self, on: ReactorId, job: F) -> Result<(), MailboxFull<F>>
    where
        F: FnOnce(&mut H, &mut Reactor<'_>) + Send + 'static,
    {
        let reactors = &self.shared.reactors;
        assert!(on.index() < reactors.len(), "reactor {on}: the engine has 0 to {}", reactors.len() - 1);
        let reactor = &reactors[on.index()];
        if reactor.mailbox.is_closed() {
            return Ok(());
        }
        match self.reserve(on, reactor) {
            Some(place) => {
                let job = Command::Post(Box::new(Job::<H>::Reactor(Box::new(job))));
                self.put_in(on, reactor, place, job);
                Ok(())
            }
            None => Err(MailboxFull(job)),
        }
    }

    /// Runs a closure beside a connection, with the handler and the connection's session; it is dropped when the connection
    /// is gone or closing.
    ///
    /// ```
    /// use wheelhouse::{Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Rooms;
    /// # impl Handler for Rooms {
    /// #     type Session = String;
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut String, _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Rooms); // keeps each connection's room
    /// let client = bench.open(Framing::lines(80));
    /// bench.poster().post_to(client, |_, conn, room| {
    ///     *room = "lobby".to_owned();
    ///     conn.send("welcome");
    /// })?;
    /// assert_eq!(bench.output(client), b"welcome\n");
    /// assert_eq!(bench.session(client).map(|room| &**room), Some("lobby"));
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the closure.
    pub fn post_to<F>(&self, id: ConnId, job: F) -> Result<(), MailboxFull<F>>
    where
        F: FnOnce(&mut H, &mut Conn<'_>, &mut H::Session) + Send + 'static,
    {
        let Some((reactor, owner)) = self.owner(id) else { return Ok(()) };
        let place = self.reserve(reactor, owner);
        self.post_at(id, place, job)
    }

    /// As [`post_to`](Poster::post_to), waiting so long for room; on a reactor's thread it does not wait.
    ///
    /// ```
    /// use std::time::Duration;
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
    /// let poster = bench.poster();
    /// let post = || poster.post_to_timeout(client, |_, conn, _| _ = conn.send("x"), Duration::from_millis(1));
    /// assert!((0..16).all(|_| post().is_ok()));
    /// assert!(post().is_err()); // nobody made room within the millisecond
    /// assert_eq!(bench.output(client), b"x\n".repeat(16));
    /// ```
    ///
    /// # Errors
    /// [`MailboxFull`] with the closure.
    pub fn post_to_timeout<F>(&self, id: ConnId, job: F, wait: Duration) -> Result<(), MailboxFull<F>>
    where
        F: FnOnce(&mut H, &mut Conn<'_>, &mut H::Session) + Send + 'static,
    {
        let Some((reactor, owner)) = self.owner(id) else { return Ok(()) };
        let place = self.reserve_within(reactor, owner, wait);
        self.post_at(id, place, job)
    }

    fn post_at<F>(&self, id: ConnId, place: Option<Place>, job: F) -> Result<(), MailboxFull<F>>
    where
        F: FnOnce(&mut H, &mut Conn<'_>, &mut H::Session) + Send + 'static,
    {
        let (Some(place), Some(reactor)) = (place, self.shared.reactor(id.reactor())) else {
            return Err(MailboxFull(job));
        };
        let job = Command::Post(Box::new(Job::<H>::Conn(id, Box::new(job))));
        self.put_in(id.reactor(), reactor, place, job);
        Ok(())
    }
}

impl<H> Clone for Poster<H> {
    fn clone(&self) -> Self {
        Poster { handle: self.handle.clone(), handler: PhantomData }
    }
}

impl<H> Deref for Poster<H> {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl<H> std::fmt::Debug for Poster<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Poster").field(&self.handle).finish()
    }
}

const _: () = {
    const fn shared<T: Clone + Send + Sync>() {}
    struct NotSend(#[expect(dead_code)] std::rc::Rc<()>);
    shared::<Handle>();
    shared::<Poster<NotSend>>();
};
