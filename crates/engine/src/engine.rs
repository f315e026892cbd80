use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::Poll;

use crate::{
    Address, Builder, Error, Handle, Handler, Poster, ReactorId, Result, Running,
    accept::Acceptor,
    main_reactor::MainReactor,
    panics::panic_message,
    parts::Parts,
    running::{Signals, Threads},
    shared::{self, Shared},
    sub_reactor::{Core, SubReactor},
};

/// A network engine, bound and ready to run.
///
/// ```
/// use wheelhouse::{Action, Conn, Engine, Handler, Message};
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
/// let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|_| Echo)?;
/// println!("listening on {}", engine.addresses()[0]);
/// let handle = engine.handle();
/// let running = engine.start()?; // or `run()`, which blocks
/// handle.shutdown();
/// running.join()?;
/// # Ok::<(), wheelhouse::Error>(())
/// ```
pub struct Engine<H> {
    parts: Parts,
    /// None yet; dropped with them, the engine stops.
    threads: Threads,
    make: Arc<Factory<H>>,
}

type Factory<H> = dyn Fn(&Spot<H>) -> H + Send + Sync;

impl Engine<()> {
    /// Describes an engine.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl<H: Handler> Engine<H> {
    pub(crate) fn new(parts: Parts, make: Arc<Factory<H>>) -> Self {
        Engine { threads: Threads::new(&parts.shared), parts, make }
    }

    /// Where it listens, in the listeners' order; port 0 has become a real one.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use wheelhouse::{Address, Engine};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|_| Silent)?;
    /// let Address::Tcp(address) = engine.addresses()[0] else { panic!("it listens on TCP") };
    /// assert_ne!(address.port(), 0);
    /// assert!(TcpStream::connect(address).is_ok()); // bound already: who comes now waits until the engine runs
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn addresses(&self) -> &[Address] {
        &self.parts.addresses
    }

    /// To talk to it from any thread. What is asked before it runs waits.
    ///
    /// ```
    /// use wheelhouse::{Engine, Error, On, Connect};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let engine = Engine::builder().build(|_| Silent)?;
    /// let handle = engine.handle();
    /// handle.shutdown();
    /// engine.run()?; // comes back at once
    /// let late = handle.connect(On::Any, Connect::to("tcp://127.0.0.1:6379"));
    /// assert!(matches!(late, Err(Error::Stopping)));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.parts.shared))
    }

    /// A handle that can also post closures to the handlers.
    ///
    /// ```
    /// use std::{sync::mpsc::channel, time::Duration};
    /// use wheelhouse::{Engine, ReactorId};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Named(&'static str);
    /// # impl Handler for Named {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let engine = Engine::builder().reactors(1).build(|_| Named("the handler"))?;
    /// let (sender, name) = channel();
    /// engine.poster().post(ReactorId(0), move |handler, reactor| {
    ///     let _ = sender.send((handler.0, reactor.id()));
    /// })?;
    /// let _running = engine.start()?;
    /// assert_eq!(name.recv_timeout(Duration::from_secs(5))?, ("the handler", ReactorId(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poster(&self) -> Poster<H> {
        Poster::new(self.handle())
    }

    /// Runs it until it is stopped: by [`Handle::shutdown`], or at the end of a [`Handle::drain`]. The calling thread waits.
    ///
    /// ```
    /// use std::thread;
    /// use wheelhouse::Engine;
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|_| Silent)?;
    /// let handle = engine.handle();
    /// let other = thread::spawn(move || handle.shutdown());
    /// engine.run()?; // until then
    /// assert!(other.join().is_ok());
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`start`](Engine::start).
    pub fn run(self) -> Result<()> {
        self.start()?.join()
    }

    /// Starts its threads: one per sub-reactor, and the main reactor.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use wheelhouse::Engine;
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let (sender, made) = channel();
    /// let engine = Engine::builder().reactors(2).build(move |spot| {
    ///     let _ = sender.send(spot.reactor()); // on that reactor's thread
    ///     Silent
    /// })?;
    /// assert_eq!(made.try_iter().count(), 0);
    /// let _running = engine.start()?; // dropped, it stops
    /// assert_eq!(made.try_iter().count(), 2);
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// A factory that panicked ([`Error::FactoryPanicked`]), or a thread the system refused; the others are stopped then.
    pub fn start(self) -> Result<Running> {
        let Engine { parts, mut threads, make } = self;
        let Parts { shared, polls, acceptors, main_poll, main_acceptor, .. } = parts;
        let (made, was_made) = unbounded();
        for (index, (poll, acceptor)) in polls.into_iter().zip(acceptors).enumerate() {
            let (go, wait) = bounded(1);
            let seat = Seat {
                reactor: ReactorId(index as u16),
                shared: Arc::clone(&shared),
                poll,
                acceptor,
                made: made.clone(),
                go: wait,
            };
            let make = Arc::clone(&make);
            threads.spawn(format!("wheelhouse-{index}"), move || seat.run(&*make))?;
            threads.hold(go);
        }
        drop(made);
        for made in was_made {
            made?;
        }
        let main = MainReactor::new(Arc::clone(&shared), main_poll, main_acceptor);
        threads.spawn("wheelhouse-main".to_owned(), move || main.run())?;
        threads.release();
        Ok(Running::new(threads))
    }

    /// Runs it until `SIGTERM` or `SIGINT` comes, then drains: connections have `within` to end of themselves. A second
    /// signal stops it at once. The calling thread waits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use nix::sys::signal::{Signal, raise};
    /// use wheelhouse::{Engine, Handler, Reactor};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Stopped;
    /// # impl Handler for Stopped {
    /// #     type Session = ();
    /// fn on_start(&mut self, _: &mut Reactor<'_>) {
    ///     raise(Signal::SIGTERM).expect("a signal"); // as `kill` or a service manager would
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let engine = Engine::builder().reactors(1).build(|_| Stopped)?;
    /// engine.run_until_signal(Duration::from_secs(30))?; // comes back: nobody is left to wait for
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`start`](Engine::start), and a signal handler that the system refuses.
    pub fn run_until_signal(self, within: Duration) -> Result<()> {
        // First of all: one who is told to stop while he starts up does.
        let signals = Signals::watch(self.handle(), within)?;
        self.start()?.stopped_by(signals).join()
    }
}

impl<H> fmt::Debug for Engine<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("addresses", &self.parts.addresses).finish_non_exhaustive()
    }
}

/// What the handler factory is given, on the reactor's own thread.
///
/// ```
/// use wheelhouse::{Action, Audience, Conn, Framing, Handle, Handler, Message, testing::Bench};
///
/// struct Room {
///     everyone: Handle,
/// }
///
/// impl Handler for Room {
///     type Session = ();
///
///     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///         match self.everyone.broadcast(Audience::Open, message.to_payload()) {
///             Ok(()) => Action::Continue,
///             Err(_) => Action::Hold, // `on_room` will tell
///         }
///     }
/// }
///
/// let mut bench = Bench::new(|spot| Room { everyone: spot.handle() }); // as `Builder::build` does
/// let (ann, bob) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
/// bench.message(ann, "is anybody there?");
/// assert_eq!(bench.output(bob), b"is anybody there?\n");
/// ```
pub struct Spot<H> {
    pub(crate) reactor: ReactorId,
    poster: Poster<H>,
}

impl<H: Handler> Spot<H> {
    pub(crate) fn new(reactor: ReactorId, shared: &Arc<Shared>) -> Self {
        Spot { reactor, poster: Poster::new(Handle::new(Arc::clone(shared))) }
    }

    /// The reactor whose handler is being made.
    ///
    /// ```
    /// use wheelhouse::testing::Bench;
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Log(String);
    /// # impl Handler for Log {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// // A name of its own for each reactor's log.
    /// let mut bench = Bench::new(|spot| Log(format!("access-{}.log", spot.reactor())));
    /// assert_eq!(bench.handler().0, "access-0.log");
    /// ```
    pub fn reactor(&self) -> ReactorId {
        self.reactor
    }

    /// A handle that can also post closures to the handlers.
    pub fn poster(&self) -> Poster<H> {
        self.poster.clone()
    }

    /// A handle for the handler to keep.
    pub fn handle(&self) -> Handle {
        (*self.poster).clone()
    }
}

/// Everything that a sub-reactor's thread starts with.
struct Seat {
    reactor: ReactorId,
    shared: Arc<Shared>,
    poll: Poll,
    acceptor: Option<Acceptor>,
    made: Sender<Result<()>>,
    go: Receiver<()>,
}

impl Seat {
    fn run<H: Handler>(self, make: &Factory<H>) {
        let Seat { reactor, shared, poll, acceptor, made, go } = self;
        if shared.options.pin
            && let Err(error) = pin_to_core(reactor.index())
        {
            tracing::warn!(reactor = reactor.0, %error, "cannot pin the reactor to a core");
        }
        let stay = shared::enter(&shared, reactor);
        let spot = Spot::new(reactor, &shared);
        let handler = match catch_unwind(AssertUnwindSafe(|| make(&spot))) {
            Ok(handler) => handler,
            Err(panic) => {
                let message = panic_message(&*panic).to_owned();
                let _ = made.send(Err(Error::FactoryPanicked { reactor, message }));
                return;
            }
        };
        let _ = made.send(Ok(()));
        drop(made);
        // Nobody runs before all handlers are made.
        if go.recv().is_ok() {
            let core = Core::new(reactor, Arc::clone(&shared), poll, stay.local());
            let run = || SubReactor::new(handler, core, acceptor).run();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                // A defect of ours: nobody may wait for a reactor that is gone.
                shared.stop();
                resume_unwind(panic);
            }
        }
    }
}

/// Keeps this thread on one of the cores it may use, the `index`th of them.
fn pin_to_core(index: usize) -> nix::Result<()> {
    use nix::{
        sched::{CpuSet, sched_getaffinity, sched_setaffinity},
        unistd::Pid,
    };
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let cores: Vec<usize> =
        (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect();
    let mut only = CpuSet::new();
    only.set(cores[index % cores.len().max(1)])?;
    sched_setaffinity(this, &only)
}
