//! Cross-thread commands with coalesced wake-ups.

use std::{
    any::Any,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use crossbeam_utils::CachePadded;

use crate::{
    Adopt, Audience, CloseCode, ConnId, Connect, Payload, ReactorId, Reply, Tag,
    accept::Accepted,
    asleep::Asleep,
    panics::{bury, panic_message},
};

/// What another thread asks of a reactor.
pub(crate) enum Command {
    Accepted(Accepted),
    Send {
        to: ConnId,
        payload: Payload<'static>,
    },
    SendMany {
        to: Arc<[ConnId]>,
        payload: Payload<'static>,
    },
    Broadcast {
        to: Audience,
        payload: Payload<'static>,
    },
    /// A closure for the handler, boxed by the one who knows its type.
    Post(Box<dyn Any + Send>),
    Connect(Box<Connect>),
    Adopt(Box<Adopt>),
    Watch(OwnedFd, Tag),
    /// No new connections come; those there are have so long.
    Drain(Duration),
    Resolved {
        id: ConnId,
        addresses: io::Result<Vec<SocketAddr>>,
    },
    Close(ConnId),
    Reset(ConnId),
    Finish(ConnId),
    FinishWith(ConnId, CloseCode, Box<str>),
    Answer(ConnId, Box<Reply>),
    Resume(ConnId),
    /// The mailbox of that reactor has room again.
    Room(ReactorId),
    Stop,
}

impl Command {
    /// Whether a full mailbox may turn it away. What closes, resumes or stops is always taken, and so is what the engine
    /// itself has in hand.
    pub(crate) fn is_refusable(&self) -> bool {
        use Command::*;
        matches!(
            self,
            Send { .. } | SendMany { .. } | Broadcast { .. } | Post(_) | Connect(_) | Adopt(_) | Watch(..)
        )
    }

    /// Whether its place stays taken until the last connection has been served, for its payload stays too.
    pub(crate) fn keeps_its_place(&self) -> bool {
        matches!(self, Command::SendMany { .. } | Command::Broadcast { .. })
    }

    /// Drops what nobody will carry out. What a closure has captured is somebody else's code: it may panic.
    pub(crate) fn discard(self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(self))) {
            let message = panic_message(&*panic);
            tracing::error!(message, "what a closure had captured panicked when it was dropped");
            bury(panic);
        }
    }

    /// Whether it asks something of connections alone.
    pub(crate) fn needs_no_handler(&self) -> bool {
        use Command::*;
        matches!(
            self,
            Send { .. }
                | SendMany { .. }
                | Broadcast { .. }
                | Close(_)
                | Reset(_)
                | Finish(_)
                | FinishWith(..)
                | Resume(_)
                | Adopt(_)
                | Watch(..)
                | Drain(_)
                | Stop
        )
    }
}

/// Who waits for longer than there is time looks again once a day.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A place in a mailbox that is already paid for.
#[must_use = "an unused place must be given back"]
pub(crate) struct Place(());

impl Place {
    /// The place stays taken, for a command that travels another way.
    pub(crate) fn keep(self) {}
}

/// One reactor's mailbox: a queue in which order holds for all commands, and a count that bounds those which can be
/// refused.
pub(crate) struct Mailbox {
    sender: Sender<Command>,
    receiver: Receiver<Command>,
    capacity: usize,
    waker: mio::Waker,
    /// Places taken; written by senders and by the reactor, but never by a message on a socket.
    used: CachePadded<AtomicUsize>,
    asleep: Asleep,
    closed: AtomicBool,
    waiting: Waiting,
}

/// Who was refused and wants to know of room.
#[derive(Default)]
struct Waiting {
    anyone: AtomicBool,
    reactors: Mutex<Vec<ReactorId>>,
    threads: Condvar,
}

impl Mailbox {
    pub(crate) fn new(capacity: usize, waker: mio::Waker) -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Mailbox {
            sender,
            receiver,
            capacity,
            waker,
            used: CachePadded::default(),
            asleep: Asleep::default(),
            closed: AtomicBool::new(false),
            waiting: Waiting::default(),
        }
    }

    // ---- for senders

    /// Takes a place, or none when all are taken.
    pub(crate) fn reserve(&self) -> Option<Place> {
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            (used < self.capacity).then_some(used + 1)
        });
        taken.ok().map(|_| Place(()))
    }

    /// Gives a place back unused.
    pub(crate) fn unreserve(&self, place: Place) {
        let Place(()) = place;
        self.used.fetch_sub(1, Ordering::AcqRel);
    }

    /// Puts in what a place was taken for.
    pub(crate) fn put_in(&self, place: Place, command: Command) {
        debug_assert!(command.is_refusable());
        let Place(()) = place;
        self.push(command);
    }

    /// Puts in what is never refused; whether the reactor slept.
    pub(crate) fn put(&self, command: Command) -> bool {
        debug_assert!(!command.is_refusable());
        self.push(command)
    }

    fn push(&self, command: Command) -> bool {
        // The receiver stands beside the sender: the channel is never disconnected.
        let _ = self.sender.send(command);
        self.wake()
    }

    /// Wakes the reactor if it sleeps: one system call for all that is put in before it is awake. Whether it slept.
    fn wake(&self) -> bool {
        let slept = self.asleep.rouse();
        if slept {
            // Fails only when the reactor's epoll is gone, and the reactor with it.
            let _ = self.waker.wake();
        }
        slept
    }

    /// Waits until a place is free; none when time is up or the reactor has stopped. Never on a reactor's thread.
    pub(crate) fn reserve_within(&self, wait: Duration) -> Option<Place> {
        let until = Instant::now().checked_add(wait);
        let mut reactors = self.waiting.reactors.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.waiting.anyone.store(true, Ordering::SeqCst);
            if let Some(place) = self.reserve() {
                return Some(place);
            }
            let left = until.map_or(A_DAY, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() || self.is_closed() {
                return None;
            }
            let woken = self.waiting.threads.wait_timeout(reactors, left);
            reactors = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Notes that `reactor` was refused. True when there is room by now, and nothing was noted.
    pub(crate) fn tell_room(&self, reactor: ReactorId) -> bool {
        let mut reactors = self.waiting.reactors.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.anyone.store(true, Ordering::SeqCst);
        if self.used.load(Ordering::SeqCst) < self.capacity {
            return true;
        }
        if !reactors.contains(&reactor) {
            reactors.push(reactor);
        }
        false
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    // ---- for the reactor

    /// The next command, its place given back.
    pub(crate) fn take(&self) -> Option<Command> {
        let command = self.receiver.try_recv().ok()?;
        if command.is_refusable() && !command.keeps_its_place() {
            self.release();
        }
        Some(command)
    }

    /// A place is free again: of a command that went past the queue, or of mass work that is done.
    pub(crate) fn release(&self) {
        self.used.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Says that the reactor is about to sleep. False when it must not: something has come. Announcing first and looking
    /// then is what keeps a wake-up from being lost: a sender puts in first and looks then.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.fall_asleep(|| self.is_empty())
    }

    pub(crate) fn stay_awake(&self) {
        self.asleep.stay_awake();
    }

    /// Tells those who were refused, if there is room: the waiting threads at once, and `tell` for each reactor.
    pub(crate) fn announce_room(&self, tell: impl FnMut(ReactorId)) {
        // Places were given back first, and who was refused notes that first and looks for a place then: one of us sees it.
        fence(Ordering::SeqCst);
        if !self.waiting.anyone.load(Ordering::SeqCst) || self.used.load(Ordering::SeqCst) >= self.capacity {
            return;
        }
        let mut reactors = self.waiting.reactors.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.anyone.store(false, Ordering::SeqCst);
        self.waiting.threads.notify_all();
        reactors.drain(..).for_each(tell);
    }

    /// The reactor is gone: whatever is put in from now on is dropped by whoever put it in.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Discards all there is; how many accepted connections were among it.
    pub(crate) fn drain(&self) -> usize {
        let mut accepted = 0;
        while let Some(command) = self.take() {
            accepted += usize::from(matches!(command, Command::Accepted(_)));
            if command.keeps_its_place() {
                self.release();
            }
            command.discard();
        }
        self.announce_room(|_| ());
        accepted
    }
}

#[cfg(test)]
impl Mailbox {
    /// Whether a place is free.
    pub(crate) fn has_room(&self) -> bool {
        self.used.load(Ordering::SeqCst) < self.capacity
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.used.load(Ordering::SeqCst) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(capacity: usize) -> (mio::Poll, Mailbox) {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Mailbox::new(capacity, waker))
    }

    fn send(mailbox: &Mailbox) -> bool {
        let Some(place) = mailbox.reserve() else { return false };
        mailbox.put_in(place, Command::Post(Box::new(())));
        true
    }

    #[test]
    fn a_full_mailbox_refuses_what_can_wait_and_takes_what_cannot() {
        let (_poll, mailbox) = mailbox(2);
        assert!(send(&mailbox) && send(&mailbox));
        assert!(!send(&mailbox));
        mailbox.put(Command::Stop);
        assert!(matches!(mailbox.take(), Some(Command::Post(_))));
        assert!(send(&mailbox), "a place came free");
        assert!(!send(&mailbox));
        let order: Vec<bool> =
            std::iter::from_fn(|| mailbox.take()).map(|c| matches!(c, Command::Stop)).collect();
        assert_eq!(order, [false, true, false], "one order for all");
    }

    #[test]
    fn the_refused_are_told_of_room_once_and_never_too_late() {
        let (_poll, mailbox) = mailbox(1);
        assert!(send(&mailbox));
        assert!(!mailbox.tell_room(ReactorId(7)));
        let mut told = Vec::new();
        mailbox.announce_room(|reactor| told.push(reactor));
        assert!(told.is_empty(), "still full");
        mailbox.take();
        mailbox.announce_room(|reactor| told.push(reactor));
        mailbox.announce_room(|reactor| told.push(reactor));
        assert_eq!(told, [ReactorId(7)]);
        assert!(mailbox.tell_room(ReactorId(7)), "room by now: the refused need not wait");
    }

    #[test]
    fn a_thread_that_waits_for_room_gets_it() {
        let (_poll, mailbox) = mailbox(1);
        assert!(send(&mailbox));
        assert!(mailbox.reserve_within(Duration::from_millis(1)).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| mailbox.reserve_within(Duration::from_secs(60)).is_some());
            while !mailbox.waiting.anyone.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            mailbox.take();
            mailbox.announce_room(|_| ());
            assert!(waiting.join().unwrap());
        });
    }

    /// The reactor looks and finds nothing; a sender puts in; the reactor sleeps. In whichever order the threads run, the
    /// reactor must be woken: each command is sent only after the last has been taken.
    #[test]
    fn no_wake_up_is_lost_between_draining_and_sleeping() {
        let (mut poll, mailbox) = mailbox(16);
        let mailbox = Arc::new(mailbox);
        let (taken, was_taken) = crossbeam_channel::bounded::<()>(1);
        let rounds = 20_000;
        let sender = std::thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                for _ in 0..rounds {
                    assert!(send(&mailbox));
                    was_taken.recv_timeout(Duration::from_secs(30)).expect("the wake-up was lost");
                }
            }
        });
        let mut events = mio::Events::with_capacity(4);
        let mut seen = 0;
        while seen < rounds {
            if mailbox.fall_asleep() {
                poll.poll(&mut events, Some(Duration::from_secs(30))).unwrap();
                mailbox.stay_awake();
            }
            while mailbox.take().is_some() {
                seen += 1;
                taken.send(()).unwrap();
            }
        }
        sender.join().unwrap();
    }
}
