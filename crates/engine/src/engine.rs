use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use crossbeam_utils::CachePadded;
use mio::{Poll, Waker};

use crate::{
    Address, Builder, Error, Handle, Handler, Listener, Poster, ReactorId, Result,
    accept::Acceptor,
    connections::Roll,
    fd_index::FdIndex,
    listener::Bound,
    mailbox::Mailbox,
    main_reactor::{MainReactor, WAKER, listener_token},
    options::Options,
    shared::{self, MainShared, ReactorShared, Shared},
    stats::Published,
    sub_reactor::{Core, SubReactor, panic_message},
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
        Engine { parts, make }
    }

    /// Where it listens, in the listeners' order; port 0 has become a real one.
    pub fn addresses(&self) -> &[Address] {
        &self.parts.addresses
    }

    /// To talk to it from any thread. What is asked before it runs waits.
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.parts.shared))
    }

    /// A handle that can also post closures to the handlers.
    pub fn poster(&self) -> Poster<H> {
        Poster::new(self.handle())
    }

    /// Runs it until [`Handle::shutdown`].
    ///
    /// # Errors
    /// As [`start`](Engine::start).
    pub fn run(self) -> Result<()> {
        self.start()?.join()
    }

    /// Starts its threads: one per sub-reactor, and the main reactor.
    ///
    /// # Errors
    /// A factory that panicked ([`Error::FactoryPanicked`]), or a thread the system refused; the others are stopped then.
    pub fn start(self) -> Result<Running> {
        let Engine { parts, make } = self;
        let Parts { shared, listeners, polls, acceptors, main_poll, main_acceptor, .. } = parts;
        let listeners: Arc<[Listener]> = listeners.into();
        let (made, was_made) = unbounded();
        let mut threads = Threads { shared: Arc::clone(&shared), joins: Vec::new(), go: Vec::new() };
        for (index, (poll, acceptor)) in polls.into_iter().zip(acceptors).enumerate() {
            let (go, wait) = bounded(1);
            let seat = Seat {
                reactor: ReactorId(index as u16),
                shared: Arc::clone(&shared),
                listeners: Arc::clone(&listeners),
                poll,
                acceptor,
                made: made.clone(),
                go: wait,
            };
            let make = Arc::clone(&make);
            threads.spawn(format!("wheelhouse-{index}"), move || seat.run(&*make))?;
            threads.go.push(go);
        }
        drop(made);
        for made in was_made {
            made?;
        }
        let main = MainReactor::new(Arc::clone(&shared), main_poll, main_acceptor);
        threads.spawn("wheelhouse-main".to_owned(), move || main.run())?;
        for go in threads.go.drain(..) {
            let _ = go.send(());
        }
        Ok(Running { threads })
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
/// use wheelhouse::{Action, Conn, Engine, Handle, Handler, Message};
///
/// struct Room {
///     everyone: Handle,
/// }
///
/// impl Handler for Room {
///     type Session = ();
///
///     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
///         match self.everyone.broadcast(wheelhouse::Audience::Open, message.to_payload()) {
///             Ok(()) => Action::Continue,
///             Err(_) => Action::Hold, // `on_room` will tell
///         }
///     }
/// }
///
/// let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|spot| Room { everyone: spot.handle() })?;
/// # Ok::<(), wheelhouse::Error>(())
/// ```
pub struct Spot<H> {
    pub(crate) reactor: ReactorId,
    poster: Poster<H>,
}

impl<H: Handler> Spot<H> {
    /// A handle that can also post closures to the handlers.
    pub fn poster(&self) -> Poster<H> {
        self.poster.clone()
    }

    /// A handle for the handler to keep.
    pub fn handle(&self) -> Handle {
        (*self.poster).clone()
    }
}

/// An engine whose threads run. Dropping it stops it and waits for them.
#[derive(Debug)]
#[must_use = "dropped, it stops"]
pub struct Running {
    threads: Threads,
}

impl Running {
    /// Waits until the engine has stopped: until somebody calls [`Handle::shutdown`]. (A thread that is amid the look-up of a
    /// name ends with that.)
    ///
    /// # Errors
    /// [`Error::System`] when one of its threads panicked, which is a defect of the engine.
    pub fn join(mut self) -> Result<()> {
        self.threads.join()
    }
}

struct Threads {
    shared: Arc<Shared>,
    joins: Vec<JoinHandle<()>>,
    /// Dropped unsent, it sends the thread home.
    go: Vec<Sender<()>>,
}

impl Threads {
    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new().name(name).spawn(run);
        self.joins.push(thread.map_err(Error::system("start a reactor's thread"))?);
        Ok(())
    }

    fn join(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for join in self.joins.drain(..) {
            if let Err(panic) = join.join() {
                let source = std::io::Error::other(panic_message(&*panic).to_owned());
                outcome = Err(Error::System { what: "join a reactor's thread: it panicked", source });
            }
        }
        outcome
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if !self.joins.is_empty() {
            self.go.clear();
            self.shared.stop();
            let _ = self.join();
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.joins.iter().map(|join| join.thread().name())).finish()
    }
}

/// Everything that a sub-reactor's thread starts with.
struct Seat {
    reactor: ReactorId,
    shared: Arc<Shared>,
    listeners: Arc<[Listener]>,
    poll: Poll,
    acceptor: Option<Acceptor>,
    made: Sender<Result<()>>,
    go: Receiver<()>,
}

impl Seat {
    fn run<H: Handler>(self, make: &Factory<H>) {
        let Seat { reactor, shared, listeners, poll, acceptor, made, go } = self;
        if shared.options.pin
            && let Err(error) = pin_to_core(reactor.index())
        {
            tracing::warn!(reactor = reactor.0, %error, "cannot pin the reactor to a core");
        }
        let local = shared::enter(&shared, reactor);
        let spot = Spot { reactor, poster: Poster::new(Handle::new(Arc::clone(&shared))) };
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
            let core = Core::new(reactor, Arc::clone(&shared), poll, local, &listeners);
            let run = || SubReactor::new(handler, core, acceptor).run();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                // A defect of ours: nobody may wait for a reactor that is gone.
                shared.stop();
                shared.reactors[reactor.index()].close();
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

/// An engine taken apart: what each thread will own.
pub(crate) struct Parts {
    shared: Arc<Shared>,
    addresses: Vec<Address>,
    listeners: Vec<Listener>,
    polls: Vec<Poll>,
    acceptors: Vec<Option<Acceptor>>,
    main_poll: Poll,
    main_acceptor: Acceptor,
}

impl Parts {
    /// `bound` holds one socket of each listener, or as many as there are reactors.
    pub(crate) fn new(listeners: Vec<Listener>, options: Options, bound: Vec<Vec<Bound>>) -> Result<Parts> {
        let addresses =
            bound.iter().filter_map(|copies| copies.first()).map(|one| one.address.clone()).collect();
        let reactors = options.reactors;
        let mut shares: Vec<Vec<Bound>> =
            (0..if options.reuse_port { reactors } else { 1 }).map(|_| vec![]).collect();
        for copies in bound {
            for (share, one) in shares.iter_mut().zip(copies) {
                share.push(one);
            }
        }
        let budget = options.accept_budget;
        let (for_main, for_subs) = match options.reuse_port {
            true => (Vec::new(), shares.into_iter().map(|s| Some(Acceptor::new(s, budget))).collect()),
            false => (shares.remove(0), (0..reactors).map(|_| None).collect()),
        };
        let main_acceptor = Acceptor::new(for_main, budget);
        let main_poll = new_poll()?;
        main_acceptor
            .register(main_poll.registry(), listener_token)
            .map_err(Error::system("watch the listeners"))?;
        let polls: Vec<Poll> = (0..reactors).map(|_| new_poll()).collect::<Result<_>>()?;
        let reactors =
            polls.iter().map(|poll| reactor_shared(poll, options.mailbox)).collect::<Result<_>>()?;
        let main = MainShared {
            waker: new_waker(&main_poll)?,
            stats: CachePadded::new(Published::default()),
            stop: AtomicBool::new(false),
            trim: AtomicBool::new(false),
        };
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            options,
            fds: FdIndex::new(),
            reactors,
            main,
            resolver: OnceLock::new(),
            next_dial: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        Ok(Parts { shared, addresses, listeners, polls, acceptors: for_subs, main_poll, main_acceptor })
    }
}

#[cfg(test)]
impl Parts {
    /// The first reactor's core without its thread, for what is tested without a kernel.
    pub(crate) fn into_core(mut self) -> Core {
        let (reactor, poll) = (ReactorId(0), self.polls.remove(0));
        let local = shared::enter(&self.shared, reactor);
        Core::new(reactor, self.shared, poll, local, &self.listeners)
    }
}

fn reactor_shared(poll: &Poll, mailbox: usize) -> Result<ReactorShared> {
    Ok(ReactorShared {
        mailbox: Mailbox::new(mailbox, new_waker(poll)?),
        roll: Roll::new(),
        stats: CachePadded::new(Published::default()),
        load: CachePadded::new(AtomicUsize::new(0)),
    })
}

fn new_poll() -> Result<Poll> {
    Poll::new().map_err(Error::system("make an epoll instance"))
}

fn new_waker(poll: &Poll) -> Result<Waker> {
    Waker::new(poll.registry(), WAKER).map_err(Error::system("make a waker"))
}
