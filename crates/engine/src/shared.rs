//! What the threads of one engine share, and how a command finds its reactor.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    os::fd::RawFd,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use crossbeam_utils::CachePadded;

use crate::{
    Address, ConnId, Listener, ReactorId,
    accept::Accepted,
    connection::{Connection, Flags},
    connections::Roll,
    descriptors::Descriptors,
    fd_index::FdIndex,
    mailbox::{Command, Mailbox, Place},
    options::Options,
    per_address::PerAddress,
    proxy_protocol::TrustedNetworks,
    stats::Published,
};

/// One per engine, behind an `Arc`.
pub(crate) struct Shared {
    pub(crate) origin: Instant,
    pub(crate) options: Options,
    pub(crate) listeners: Box<[Listener]>,
    pub(crate) per_address: Option<PerAddress>,
    pub(crate) fds: FdIndex,
    pub(crate) descriptors: Descriptors,
    pub(crate) reactors: Box<[ReactorShared]>,
    pub(crate) main: MainShared,
    pub(crate) resolver: OnceLock<Sender<Query>>,
    /// Whose turn it is to dial.
    pub(crate) next_dial: AtomicUsize,
    pub(crate) stopping: AtomicBool,
    /// In a drain: reactors that have not yet taken in all who waited to be accepted.
    pub(crate) accepting: AtomicUsize,
}

/// What others may see and ask of one sub-reactor.
pub(crate) struct ReactorShared {
    pub(crate) mailbox: Mailbox,
    pub(crate) roll: Roll,
    pub(crate) stats: CachePadded<Published>,
    /// Connections on their way to the reactor or in its slabs.
    pub(crate) load: CachePadded<AtomicUsize>,
}

/// A connection that waits for its peer's addresses.
pub(crate) struct Query {
    pub(crate) id: ConnId,
    pub(crate) name: Address,
}

impl ReactorShared {
    /// Puts in what is never refused; whether the reactor slept.
    pub(crate) fn put(&self, command: Command) -> bool {
        let slept = self.mailbox.put(command);
        self.abandon_if_closed();
        slept
    }

    /// Puts in what a place was taken for.
    pub(crate) fn put_in(&self, place: Place, command: Command) {
        self.mailbox.put_in(place, command);
        self.abandon_if_closed();
    }

    /// The reactor has stopped: nobody will look into its mailbox again.
    pub(crate) fn close(&self) {
        self.mailbox.close();
        self.abandon_if_closed();
    }

    /// What came too late is dropped by whoever brought it; a socket is closed by that.
    fn abandon_if_closed(&self) {
        if self.mailbox.is_closed() {
            self.load.fetch_sub(self.mailbox.drain(), Ordering::Relaxed);
        }
    }
}

/// What others may ask of the main reactor.
pub(crate) struct MainShared {
    pub(crate) waker: mio::Waker,
    pub(crate) stats: CachePadded<Published>,
    pub(crate) stop: AtomicBool,
    pub(crate) trim: AtomicBool,
    /// Descriptors are scarce.
    pub(crate) room: AtomicBool,
    /// A drain was asked for, with so much time.
    pub(crate) drain: OnceLock<Duration>,
}

impl Shared {
    pub(crate) fn reactor(&self, id: ReactorId) -> Option<&ReactorShared> {
        self.reactors.get(id.index())
    }

    /// The reactor of a connection; none when the id is of another engine.
    pub(crate) fn owner(&self, id: ConnId) -> Option<(ReactorId, &ReactorShared)> {
        self.reactor(id.reactor()).map(|reactor| (id.reactor(), reactor))
    }

    pub(crate) fn count(&self) -> usize {
        self.reactors.iter().map(|reactor| reactor.load.load(Ordering::Relaxed)).sum()
    }

    /// Whether an accepted connection is within the bounds on their number. One from a proxy is counted when its client is
    /// known.
    pub(crate) fn admits(&self, accepted: &mut Accepted) -> bool {
        if self.options.max_connections.is_some_and(|limit| self.count() >= limit) {
            return false;
        }
        let listener = self.listeners.get(usize::from(accepted.listener.0));
        let is_proxy =
            |networks: &TrustedNetworks| accepted.peer.is_none_or(|peer| networks.contains(peer.ip()));
        accepted.is_proxied = listener.and_then(|listener| listener.trusted.as_ref()).is_some_and(is_proxy);
        let (Some(counts), Some(peer), false) = (&self.per_address, accepted.peer, accepted.is_proxied)
        else {
            return true;
        };
        accepted.is_counted = counts.enter(peer.ip());
        accepted.is_counted
    }

    /// A connection is gone, also for its address where that is counted.
    pub(crate) fn leave_address(&self, connection: &Connection) {
        if connection.flags.contains(Flags::COUNTED)
            && let (Some(counts), Some(peer)) = (&self.per_address, connection.peer_addr())
        {
            counts.leave(peer.ip());
        }
    }

    /// Begins to stop: no new connections, and those there are have so long. The first call counts.
    pub(crate) fn drain(&self, within: Duration) {
        if self.main.drain.set(within).is_ok() {
            let _ = self.main.waker.wake();
        }
    }

    /// A connection has a descriptor from now on.
    #[inline]
    pub(crate) fn enter(&self, fd: RawFd, id: ConnId) {
        self.fds.insert(fd, id);
        if self.descriptors.are_scarce(fd) {
            self.ask_for_room();
        }
    }

    /// Asks the main reactor to make room for descriptors: it takes its time.
    #[cold]
    fn ask_for_room(&self) {
        if !self.main.room.swap(true, Ordering::AcqRel) {
            let _ = self.main.waker.wake();
        }
    }

    /// Asks the main reactor to give freed memory back: it is not on anybody's hot path.
    pub(crate) fn ask_to_trim(&self) {
        if !self.main.trim.swap(true, Ordering::AcqRel) {
            let _ = self.main.waker.wake();
        }
    }

    /// Stops every thread; the first call counts.
    pub(crate) fn stop(&self) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        self.main.stop.store(true, Ordering::Release);
        let _ = self.main.waker.wake();
        for reactor in &self.reactors {
            reactor.put(Command::Stop);
        }
    }
}

/// What a reactor's own callbacks asked for through a `Handle`: no queue between threads, no wake-up, and the same order
/// as what they ask of their `Conn`.
#[derive(Default)]
pub(crate) struct Local {
    /// What asks something of connections alone.
    prompt: RefCell<VecDeque<Command>>,
    /// What needs the handler.
    posted: RefCell<VecDeque<Command>>,
    waiting: Cell<usize>,
}

impl Local {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    /// How many need the handler.
    pub(crate) fn posted(&self) -> usize {
        self.posted.borrow().len()
    }

    pub(crate) fn push(&self, command: Command) {
        let queue = if command.needs_no_handler() { &self.prompt } else { &self.posted };
        queue.borrow_mut().push_back(command);
        self.waiting.set(self.waiting.get() + 1);
    }

    /// The next command that needs no handler.
    pub(crate) fn pop_prompt(&self) -> Option<Command> {
        self.pop(&self.prompt)
    }

    /// The next command that does.
    pub(crate) fn pop_posted(&self) -> Option<Command> {
        self.pop(&self.posted)
    }

    fn pop(&self, queue: &RefCell<VecDeque<Command>>) -> Option<Command> {
        let command = queue.borrow_mut().pop_front()?;
        self.waiting.set(self.waiting.get() - 1);
        Some(command)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// The reactor that runs on this thread.
struct Current {
    engine: *const Shared,
    reactor: ReactorId,
    local: Rc<Local>,
}

/// While it lives this thread is that reactor's, and then nobody's: the reactor is gone, whether or not it ever ran. What was
/// asked for and not carried out is discarded then, not when the thread's own storage goes: what closures captured may still
/// ask something.
#[must_use]
pub(crate) struct Stay {
    shared: Arc<Shared>,
    reactor: ReactorId,
    local: Rc<Local>,
}

/// Makes this thread that reactor's.
pub(crate) fn enter(shared: &Arc<Shared>, reactor: ReactorId) -> Stay {
    let local = Rc::new(Local::default());
    let current = Current { engine: Arc::as_ptr(shared), reactor, local: Rc::clone(&local) };
    CURRENT.with_borrow_mut(|slot| *slot = Some(current));
    Stay { shared: Arc::clone(shared), reactor, local }
}

impl Stay {
    pub(crate) fn local(&self) -> Rc<Local> {
        Rc::clone(&self.local)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        CURRENT.set(None);
        self.shared.reactors[self.reactor.index()].close();
        while let Some(command) = self.local.pop_prompt().or_else(|| self.local.pop_posted()) {
            command.discard();
        }
    }
}

/// While it lives this thread is another reactor's; then it is again whose it was.
#[must_use]
pub(crate) struct Visit(Option<Current>);

/// Makes this thread that reactor's for a while.
pub(crate) fn visit(shared: &Arc<Shared>, reactor: ReactorId, local: &Rc<Local>) -> Visit {
    let current = Current { engine: Arc::as_ptr(shared), reactor, local: Rc::clone(local) };
    Visit(CURRENT.replace(Some(current)))
}

impl Drop for Visit {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// The engine's reactor whose thread this is, if it is one's.
pub(crate) fn current(shared: &Arc<Shared>) -> Option<(ReactorId, Rc<Local>)> {
    let look = |slot: &RefCell<Option<Current>>| {
        let slot = slot.borrow();
        let current = slot.as_ref().filter(|current| current.engine == Arc::as_ptr(shared))?;
        Some((current.reactor, Rc::clone(&current.local)))
    };
    // A thread whose storage is going, with what else is in it, is nobody's.
    CURRENT.try_with(look).ok().flatten()
}

/// Whether this thread is a reactor's, of whichever engine: reactors never wait.
pub(crate) fn is_reactor_thread() -> bool {
    CURRENT.try_with(|slot| slot.borrow().is_some()).unwrap_or(false)
}
