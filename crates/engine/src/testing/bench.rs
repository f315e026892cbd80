use std::{
    cell::RefCell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
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
/// asked of a connection that is not the bench's own panics, and names the connection. Where the handler panics, so does the
/// call that had it run, with the same words: the test fails, unless it [bears that](Bench::bear_panics). Dropped, it stops
/// as an engine does: every connection is closed, then [`on_stop`](Handler::on_stop) is called.
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
    /// ```
    /// use wheelhouse::{Handler, Reactor, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Limits(u32);
    /// # impl Handler for Limits {
    /// #     type Session = ();
    /// fn on_start(&mut self, _: &mut Reactor<'_>) {
    ///     self.0 *= 2;
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|spot| Limits(21 + u32::from(spot.reactor().0)));
    /// assert_eq!(bench.handler().0, 42);
    /// ```
    ///
    /// # Panics
    /// When the factory or [`on_start`](Handler::on_start) does, or the process has no descriptors left: a reactor takes a
    /// few, its clients take none.
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

    /// From now on a panic of the handler's, of a closure posted to it or of its protocol is what it is in an engine, and
    /// no failure of the test: [`on_panic`](Handler::on_panic) is told, the connection closes with
    /// [`CloseReason::Panic`], all others go on, and [`Handle::stats`] counts it.
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Sum(u32);
    /// # impl Handler for Sum {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         let number: Result<u32, _> = String::from_utf8_lossy(message.bytes()).parse();
    /// #         self.0 += number.unwrap_or_else(|error| std::panic::resume_unwind(Box::new(error)));
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// // Adds up the numbers that it is sent, and panics at what is none.
    /// let mut bench = Bench::new(|_| Sum(0));
    /// let (good, bad) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
    /// bench.message(good, "40");
    /// bench.bear_panics(); // without it, the next line would end the test
    /// bench.message(bad, "two");
    /// assert_eq!(bench.closed(bad), Some(&CloseReason::Panic));
    /// assert_eq!(bench.handle().stats().total().panics, 1);
    /// bench.message(good, "2");
    /// assert_eq!(bench.handler().0, 42);
    /// ```
    pub fn bear_panics(&mut self) {
        self.reactor.bear_panics();
    }

    /// To talk to the reactor from any thread. On the test's own thread it is as on another one: what is asked waits for
    /// the bench's next call.
    ///
    /// ```
    /// use std::thread;
    /// use wheelhouse::{Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::lines(80));
    /// let handle = bench.handle();
    /// handle.send(client, "from here").expect("room");
    /// thread::spawn(move || handle.send(client, "from there").expect("room")).join().expect("no panic");
    /// assert_eq!(bench.output(client), b"from here\nfrom there\n"); // this call did both
    /// ```
    pub fn handle(&self) -> Handle {
        Handle::new(self.reactor.core().shared.clone())
    }

    /// A handle that can also post closures to the handler.
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
    /// // What a handler would do to a connection, without a handler that does it.
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::lines(80));
    /// bench.poster().post_to(client, |_, conn, _| conn.reset())?;
    /// bench.run();
    /// assert!(bench.output_reset(client));
    /// # Ok::<(), wheelhouse::MailboxFull<_>>(())
    /// ```
    pub fn poster(&self) -> Poster<H> {
        Poster::new(self.handle())
    }
}

/// # Time
impl<H: Handler> Bench<H> {
    /// Turns the clock, and stops at each deadline on the way. What is less than a millisecond counts with the next turn.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Action, Conn, Framing, Handler, TimerKind, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct Ticker;
    /// # impl Handler for Ticker {
    /// #     type Session = ();
    /// #     fn on_open(&mut self, conn: &mut Conn<'_>, session: &mut ()) -> Action {
    /// #         conn.set_timer(TimerKind(1), Duration::from_secs(1));
    /// #         Action::Continue
    /// #     }
    /// fn on_timer(&mut self, conn: &mut Conn<'_>, _: &mut (), timer: TimerKind) -> Action {
    ///     conn.send("tick");
    ///     conn.set_timer(timer, Duration::from_secs(1));
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Ticker);
    /// let client = bench.open(Framing::lines(80));
    /// bench.turn(Duration::from_secs(3600)); // and every second of it came
    /// assert_eq!(bench.output(client).len(), 3600 * b"tick\n".len());
    /// ```
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
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::testing::Bench;
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let start = bench.now();
    /// bench.turn(Duration::from_micros(1_500));
    /// assert_eq!(bench.now() - start, Duration::from_millis(1)); // the rest is not lost:
    /// bench.turn(Duration::from_micros(500));
    /// assert_eq!(bench.now() - start, Duration::from_millis(2));
    /// ```
    pub fn now(&self) -> Instant {
        self.reactor.core().clock.now()
    }

    /// Has the reactor do what it was asked through a [`Handle`], from this thread or another.
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
    /// let client = bench.open(Framing::raw());
    /// bench.handle().close(client);
    /// assert!(bench.closed(client).is_none()); // only looks
    /// bench.run();
    /// assert!(bench.closed(client).is_some());
    /// ```
    ///
    /// # Panics
    /// When the handler does, and the test [does not bear it](Bench::bear_panics). When the reactor does not come to rest at
    /// this moment of its clock, for it keeps itself busy: by posting to itself, say.
    #[track_caller]
    pub fn run(&mut self) {
        let _visit = self.reactor.core().visit();
        let (mut turns, mut read) = (0, 0);
        self.pass_on_panic();
        while !self.is_over {
            self.pass_on_drain();
            let events = self.kernel.borrow_mut().take_events();
            let is_watched_ready = self.reactor.look_at_watched();
            if events.is_empty() && !is_watched_ready && self.reactor.is_quiet() {
                return;
            }
            self.is_over = !self.reactor.turn_by_hand(events);
            self.pass_on_panic();
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
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::raw());
    /// assert_eq!(bench.closed(client), None);
    /// bench.eof(client);
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Peer { code: None }));
    /// ```
    #[track_caller]
    pub fn closed(&self, id: ConnId) -> Option<&CloseReason> {
        let _ = self.kernel.borrow().socket(id);
        self.reactor.reason(id)
    }

    /// The handler.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Total(usize);
    /// # impl Handler for Total {
    /// #     type Session = ();
    /// fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     self.0 += message.bytes().len();
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Total(0));
    /// let client = bench.open(Framing::raw());
    /// bench.input(client, b"hello");
    /// assert_eq!(std::mem::take(&mut bench.handler().0), 5); // it may be changed, too
    /// bench.input(client, b"again");
    /// assert_eq!(bench.handler().0, 5);
    /// ```
    pub fn handler(&mut self) -> &mut H {
        self.run();
        self.reactor.handler()
    }

    /// What the handler keeps beside a connection; none before `on_open`, and when the connection is gone.
    ///
    /// ```
    /// use wheelhouse::{Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Counts;
    /// # impl Handler for Counts {
    /// #     type Session = u32;
    /// #     fn on_message(&mut self, conn: &mut Conn<'_>, count: &mut u32, _: Message<'_>) -> Action {
    /// #         *count += 1;
    /// #         conn.send(count.to_string());
    /// #         Action::Continue
    /// #     }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Counts); // answers with the number of the message
    /// let client = bench.open(Framing::lines(80));
    /// *bench.session(client).expect("it is open") = 998;
    /// bench.message(client, "hello");
    /// assert_eq!(bench.output(client), b"999\n");
    /// bench.eof(client);
    /// assert_eq!(bench.session(client), None);
    /// ```
    #[track_caller]
    pub fn session(&mut self, id: ConnId) -> Option<&mut H::Session> {
        self.run();
        let _ = self.kernel.borrow().socket(id);
        self.reactor.session(id)
    }
}

impl<H: Handler> Bench<H> {
    /// What the handler threw goes on to the test that had it called, as if nothing stood between them.
    fn pass_on_panic(&mut self) {
        if let Some(panic) = self.reactor.take_panic() {
            resume_unwind(panic);
        }
    }

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
        let ended = match thread::panicking() {
            true => Ok(()),
            false => catch_unwind(AssertUnwindSafe(|| {
                self.handle().shutdown();
                self.run();
            })),
        };
        let core = self.reactor.core();
        core.shared.reactors[core.id.index()].close();
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
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
