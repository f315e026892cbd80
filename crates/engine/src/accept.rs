//! Accepting: in batches, within a budget, and on when descriptors run out.

use std::{
    fs::File,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mio::{Interest, Registry, Token, unix::SourceFd};
use nix::libc;

use crate::{ListenerId, listener::Bound, stats::Counters};

/// A connection as it comes from the kernel.
pub(crate) struct Accepted {
    /// None for a socket in memory.
    pub(crate) fd: Option<OwnedFd>,
    /// None for Unix sockets.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) listener: ListenerId,
    pub(crate) is_unix: bool,
    /// Counted for its address.
    pub(crate) is_counted: bool,
    /// It comes from a proxy, whose header is read first.
    pub(crate) is_proxied: bool,
}

/// The listeners of one reactor, and a descriptor in reserve for when there are no more.
pub(crate) struct Acceptor {
    listeners: Vec<Listening>,
    reserve: Option<File>,
    budget: usize,
    /// The listener to begin with: a flood on one does not shut out the next.
    first: usize,
    /// Descriptors had run out when last looked.
    is_exhausted: bool,
    is_closing: bool,
    /// What went wrong since somebody last asked.
    pub(crate) trouble: Trouble,
}

/// Counts of what was not simply accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    shed: u64,
    errors: u64,
}

impl Trouble {
    /// Adds them to a reactor's counters, and begins anew.
    pub(crate) fn move_to(&mut self, stats: &mut Counters) {
        stats.shed += self.shed;
        stats.accept_errors += self.errors;
        *self = Trouble::default();
    }
}

struct Listening {
    bound: Bound,
    /// The kernel may have more connections; no new edge will come for them.
    is_ready: bool,
}

/// How a round of accepting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// The kernel has no more.
    Done,
    /// The budget is spent.
    More,
    /// The system cannot now: try again after [`RETRY`].
    Failed,
}

/// When to try again after an error that no event will tell the end of.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

impl Acceptor {
    pub(crate) fn new(bound: Vec<Bound>, budget: usize) -> Acceptor {
        let listeners = bound.into_iter().map(|bound| Listening { bound, is_ready: false });
        Acceptor {
            listeners: listeners.collect(),
            reserve: reserve(),
            budget,
            first: 0,
            is_exhausted: false,
            is_closing: false,
            trouble: Trouble::default(),
        }
    }

    /// Registers every listener, `token` naming the one of an index.
    pub(crate) fn register(&self, registry: &Registry, token: impl Fn(usize) -> Token) -> io::Result<()> {
        for (index, listening) in self.listeners.iter().enumerate() {
            let fd = listening.bound.socket.as_raw_fd();
            registry.register(&mut SourceFd(&fd), token(index), Interest::READABLE)?;
        }
        Ok(())
    }

    /// An event came for a listener.
    pub(crate) fn set_ready(&mut self, index: usize) {
        if let Some(listening) = self.listeners.get_mut(index) {
            listening.is_ready = true;
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.listeners.iter().any(|listening| listening.is_ready)
    }

    /// The listeners are about to be closed: what is in their queues is still to be accepted, no more is to come.
    pub(crate) fn close_the_doors(&mut self) {
        self.is_closing = true;
        for listening in &mut self.listeners {
            listening.bound.close_the_door();
            listening.is_ready = true;
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Accepts what waits, up to the budget and while `goes_on`, told how many it has been, says so; whom `may_enter` turns
    /// away for a limit that is met is shed.
    pub(crate) fn accept(
        &mut self,
        goes_on: impl Fn(usize) -> bool,
        may_enter: impl Fn(&mut Accepted) -> bool,
        mut admit: impl FnMut(Accepted),
    ) -> Round {
        let mut tried = 0;
        let count = self.listeners.len();
        for nth in 0..count {
            let index = (self.first + nth) % count;
            while self.listeners[index].is_ready {
                if tried == self.budget || (tried > 0 && !goes_on(tried)) {
                    self.first = (index + 1) % count;
                    return Round::More;
                }
                tried += 1;
                let accepted = {
                    // Where descriptors have run out, the one that somebody frees in order to shed is his to use.
                    let _alone = self.is_exhausted.then(shedding);
                    self.listeners[index].accept(index)
                };
                match accepted {
                    Ok(mut accepted) => match may_enter(&mut accepted) {
                        true => admit(accepted),
                        false => {
                            tracing::debug!(peer = ?accepted.peer, "a limit is met: a connection is shed");
                            self.trouble.shed += 1;
                        }
                    },
                    Err(error) => match self.recover(index, &error) {
                        Some(round) => return round,
                        None => continue,
                    },
                }
            }
        }
        Round::Done
    }

    /// What an error means for this round; none when the next connection can be tried at once.
    fn recover(&mut self, index: usize, error: &io::Error) -> Option<Round> {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::WouldBlock, _) => {
                self.listeners[index].is_ready = false;
                self.is_exhausted = false;
            }
            (ErrorKind::Interrupted | ErrorKind::ConnectionAborted, _) => {}
            (_, Some(libc::EMFILE | libc::ENFILE)) => {
                self.trouble.errors += 1;
                self.is_exhausted = true;
                return self.shed_one(index);
            }
            // What happened to the connection before it was accepted is told by accept(2).
            (
                _,
                Some(
                    libc::ENETDOWN
                    | libc::EPROTO
                    | libc::ENOPROTOOPT
                    | libc::EHOSTDOWN
                    | libc::ENONET
                    | libc::EHOSTUNREACH
                    | libc::EOPNOTSUPP
                    | libc::ENETUNREACH
                    | libc::ETIMEDOUT
                    | libc::EPERM,
                ),
            ) => self.trouble.errors += 1,
            _ => {
                self.trouble.errors += 1;
                tracing::warn!(%error, "cannot accept; trying again in {RETRY:?}");
                return Some(Round::Failed);
            }
        }
        None
    }

    /// Descriptors have run out: the reserve makes room to accept one connection and drop it, so that its client is told
    /// and does not wait in the queue.
    fn shed_one(&mut self, index: usize) -> Option<Round> {
        let _alone = shedding();
        if self.reserve.take().is_none() {
            self.reserve = reserve();
            return self.reserve.is_none().then_some(Round::Failed);
        }
        let accepted = self.listeners[index].accept(index);
        let outcome = match accepted {
            Ok(shed) => {
                tracing::debug!(listener = index, "out of file descriptors: a connection is shed");
                drop(shed);
                self.trouble.shed += 1;
                None
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.listeners[index].is_ready = false;
                None
            }
            Err(_) => Some(Round::Failed),
        };
        self.reserve = reserve();
        outcome
    }
}

impl Listening {
    fn accept(&self, index: usize) -> io::Result<Accepted> {
        let (socket, address) = self.bound.socket.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
        Ok(Accepted {
            fd: Some(socket.into()),
            peer: address.as_socket(),
            listener: ListenerId(index as u16),
            is_unix: self.bound.is_unix(),
            is_counted: false,
            is_proxied: false,
        })
    }
}

/// Descriptors are the whole process's: reactors that listen for themselves shed one at a time.
fn shedding() -> MutexGuard<'static, ()> {
    static SHEDDING: Mutex<()> = Mutex::new(());
    SHEDDING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}
