use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use super::kernel::Kernel;
use crate::{
    Address, Builder, CloseReason, ConnId, Engine, Handle, Handler, Poster, Result, Spot, mailbox::Command,
    parts::Parts, shared::Local, sub_reactor::SubReactor,
};

/// Turns in a row that read nothing: a handler that has not come to rest by then never will.
const TURNS: usize = 10_000;

/// One reactor with its handler, and clients in memory; see the [module](crate::testing).
///
/// What is asked by `&mut self` has the reactor run until it is quiet; what is asked by `&self` only looks. Whatever is
/// asked of a connection that is not the bench's own panics, and names the connection. Dropped, it stops as an engine does:
/// every connection is closed, then [`on_stop`](Handler::on_stop) is called.
///
/// ```
/// use wheelhouse::{Action, CloseReason, Conn, Framing, Handler, Message, testing::Bench};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Session = ();
///
///     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///         conn.send(message);
///         Action::Continue
///     }
/// }
///
/// let mut bench = Bench::new(|_| Echo);
/// let client = bench.open(Framing::raw());
/// bench.input(client, b"hello");
/// assert_eq!(bench.output(client), b"hello");
/// bench.eof(client);
/// assert_eq!(bench.closed(client), Some(&CloseReason::Peer { code: None }));
/// ```
pub struct Bench<H: Handler> {
    pub(super) reactor: SubReactor<H>,
    pub(super) kernel: Rc<RefCell<Kernel>>,
    /// The builder's listeners.
    pub(super) addresses: Vec<Address>,
    pub(super) accepted: u16,
    /// Where the clock would stand if it counted less than milliseconds.
    time: Instant,
    pub(super) is_draining: bool,
    pub(super) is_over: bool,
}

/// # Setting up
impl<H: Handler> Bench<H> {
    /// A reactor with every option at its default and no listener; [`on_start`](Handler::on_start) has been called.
    ///
    /// # Panics
    /// When the factory does, or the process has no descriptors left: a reactor takes a few, its clients take none.
    #[track_caller]
    pub fn new(make: impl FnOnce(&Spot<H>) -> H) -> Self {
        Bench::with_options(Engine::builder(), make)
    }

    /// A reactor with a builder's options and listeners, of which none is bound. It is one reactor, whatever the builder
    /// says.
    ///
    /// # Panics
    /// As [`new`](Bench::new), and where [`Builder::build`] fails before it would open a socket.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Engine, Framing, Listener, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Login;
    /// # impl Handler for Login {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         if message.bytes() == b"sesame" { conn.authenticated() }
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// let login = Listener::new("tcp://*:2525").framing(Framing::lines(80)).authentication(Duration::from_secs(30));
    /// let builder = Engine::builder().listen(login).idle_timeout(Duration::from_secs(300));
    /// let mut bench = Bench::with_options(builder, |_| Login);
    /// let (known, stranger) = (bench.open_on(ListenerId(0)), bench.open_on(ListenerId(0)));
    /// bench.message(known, "sesame");
    /// bench.turn(Duration::from_secs(30));
    /// assert_eq!(bench.closed(stranger), Some(&CloseReason::Auth));
    /// assert_eq!(bench.closed(known), None);
    /// bench.turn(Duration::from_secs(270));
    /// assert_eq!(bench.closed(known), Some(&CloseReason::Idle));
    /// ```
    #[track_caller]
    pub fn with_options(builder: Builder, make: impl FnOnce(&Spot<H>) -> H) -> Self {
        let (parts, addresses) = match unbound(builder) {
            Ok(parts) => parts,
            Err(error) => panic!("no such engine can be built: {error}"),
        };
        let mut core = parts.into_core_with(Rc::new(Local::default()));
        let kernel = Rc::new(RefCell::new(Kernel::new(core.shared.clone())));
        core.simulate(Box::new(Rc::clone(&kernel)));
        let (time, visit) = (core.clock.now(), core.visit());
        let handler = make(&Spot::new(core.id, &core.shared));
        let mut reactor = SubReactor::new(handler, core, None);
        reactor.begin_by_hand();
        drop(visit);
        let mut bench =
            Bench { reactor, kernel, addresses, accepted: 0, time, is_draining: false, is_over: false };
        bench.run();
        bench
    }

    /// To talk to the reactor from any thread. On the test's own thread it is as on another one: what is asked waits for
    /// the bench's next call.
    pub fn handle(&self) -> Handle {
        Handle::new(self.reactor.core().shared.clone())
    }

    /// A handle that can also post closures to the handler.
    pub fn poster(&self) -> Poster<H> {
        Poster::new(self.handle())
    }
}

/// # Time
impl<H: Handler> Bench<H> {
    /// Turns the clock, and stops at each deadline on the way. What is less than a millisecond counts with the next turn.
    #[track_caller]
    pub fn turn(&mut self, by: Duration) {
        self.run();
        self.time += by;
        while let Some(deadline) = self.reactor.next_deadline().filter(|&at| at <= self.time && !self.is_over)
        {
            self.reactor.core_mut().clock.advance(deadline);
            self.run();
        }
        self.reactor.core_mut().clock.advance(self.time);
        self.run();
    }

    /// The reactor's clock.
    pub fn now(&self) -> Instant {
        self.reactor.core().clock.now()
    }

    /// Has the reactor do what it was asked through a [`Handle`], from this thread or another.
    ///
    /// # Panics
    /// When it does not come to rest at this moment of its clock, for it keeps itself busy: by posting to itself, say.
    #[track_caller]
    pub fn run(&mut self) {
        let _visit = self.reactor.core().visit();
        let (mut turns, mut read) = (0, 0);
        while !self.is_over {
            self.pass_on_drain();
            let events = self.kernel.borrow_mut().take_events();
            let is_watched_ready = self.reactor.look_at_watched();
            if events.is_empty() && !is_watched_ready && self.reactor.is_quiet() {
                return;
            }
            self.is_over = !self.reactor.turn_by_hand(events);
            let read_before = std::mem::replace(&mut read, self.reactor.core().stats.bytes_in);
            turns = if read == read_before { turns + 1 } else { 0 };
            assert!(
                turns < TURNS,
                "the handler keeps itself busy: it is not quiet after {TURNS} turns without input"
            );
        }
    }
}

/// # Looking
impl<H: Handler> Bench<H> {
    /// Why a connection closed; none while it is there.
    #[track_caller]
    pub fn closed(&self, id: ConnId) -> Option<&CloseReason> {
        let _ = self.kernel.borrow().socket(id);
        self.reactor.reason(id)
    }

    /// The handler.
    pub fn handler(&mut self) -> &mut H {
        self.run();
        self.reactor.handler()
    }

    /// What the handler keeps beside a connection; none before `on_open`, and when the connection is gone.
    #[track_caller]
    pub fn session(&mut self, id: ConnId) -> Option<&mut H::Session> {
        self.run();
        let _ = self.kernel.borrow().socket(id);
        self.reactor.session(id)
    }
}

impl<H: Handler> Bench<H> {
    /// A drain is the main reactor's to begin, which there is none of.
    fn pass_on_drain(&mut self) {
        let core = self.reactor.core();
        if let Some(&within) = core.shared.main.drain.get().filter(|_| !self.is_draining) {
            core.shared.reactors[core.id.index()].put(Command::Drain(within));
            self.is_draining = true;
        }
    }
}

impl<H: Handler> Drop for Bench<H> {
    fn drop(&mut self) {
        // A test that has failed says more by itself than by what comes after.
        if !thread::panicking() {
            self.handle().shutdown();
            self.run();
        }
        let core = self.reactor.core();
        core.shared.reactors[core.id.index()].close();
    }
}

impl<H: Handler> fmt::Debug for Bench<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.reactor.core().connections.len();
        f.debug_struct("Bench").field("connections", &connections).finish_non_exhaustive()
    }
}

/// An engine of one reactor, and its listeners' addresses, none of which is bound.
fn unbound(builder: Builder) -> Result<(Parts, Vec<Address>)> {
    let (listeners, options, addresses) = builder.reactors(1).validate()?;
    Ok((Parts::new(listeners, options, Vec::new())?, addresses))
}
