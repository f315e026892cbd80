use std::{
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Instant,
};

use crossbeam_utils::CachePadded;
use mio::{Poll, Waker};

use crate::{
    Address, Error, Listener, ReactorId, Result,
    accept::Acceptor,
    descriptors::Descriptors,
    fd_index::FdIndex,
    listener::Bound,
    mailbox::Mailbox,
    main_reactor::{WAKER, listener_token},
    options::Options,
    per_address::PerAddress,
    roll::Roll,
    shared::{Local, MainShared, ReactorShared, Shared},
    stats::Published,
    sub_reactor::Core,
};

/// An engine taken apart: what each thread will own.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) polls: Vec<Poll>,
    pub(crate) acceptors: Vec<Option<Acceptor>>,
    pub(crate) main_poll: Poll,
    pub(crate) main_acceptor: Acceptor,
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
            room: AtomicBool::new(false),
            drain: OnceLock::new(),
        };
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            per_address: options.max_per_address.map(PerAddress::new),
            accepting: AtomicUsize::new(options.reactors),
            options,
            listeners: listeners.into(),
            fds: FdIndex::new(),
            descriptors: Descriptors::new(main_poll.registry()),
            reactors,
            main,
            resolver: OnceLock::new(),
            next_dial: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        Ok(Parts { shared, addresses, polls, acceptors: for_subs, main_poll, main_acceptor })
    }
}

/// Without threads, for what is tested without a kernel.
impl Parts {
    /// The first reactor's core, and this thread is the reactor's for as long as the other one lives.
    #[cfg(test)]
    pub(crate) fn into_core(self) -> (Core, crate::shared::Stay) {
        let stay = crate::shared::enter(&self.shared, ReactorId(0));
        let local = stay.local();
        (self.into_core_with(local), stay)
    }

    /// The first reactor's core.
    pub(crate) fn into_core_with(mut self, local: Rc<Local>) -> Core {
        Core::new(ReactorId(0), self.shared, self.polls.remove(0), local)
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
