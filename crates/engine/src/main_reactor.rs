//! Accept, balance, hand over.

use std::{
    io::ErrorKind,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};

use crate::{
    accept::{Accepted, Acceptor, RETRY, Round},
    balance::Balancer,
    mailbox::Command,
    memory,
    shared::Shared,
    stats::Counters,
};

/// The thread that accepts and hands connections to the sub-reactors; with `reuse_port` it accepts nothing, and only gives
/// memory back.
pub(crate) struct MainReactor {
    shared: Arc<Shared>,
    poll: Poll,
    acceptor: Acceptor,
    balancer: Balancer,
    stats: Counters,
    retry_at: Option<Instant>,
    last_wake: Instant,
    /// Nobody had to be woken for what was handed over last: all are busy.
    found_all_awake: bool,
    draining_since: Option<Instant>,
    has_drained: bool,
}

/// Wake-ups closer together than this, with sub-reactors too busy to sleep, are a storm: then the main reactor naps, so that
/// the next one finds more than one connection. On a core shared with a sub-reactor that saves two context switches for each (N4: 1.28 of the floor's CPU
/// without, 1.07 with it).
const STORM: Duration = Duration::from_micros(300);
const NAP: Duration = Duration::from_micros(50);

/// The main reactor's waker; listeners follow from 1 on.
pub(crate) const WAKER: Token = Token(0);

/// The token of a listener, there and in a sub-reactor that listens for itself.
pub(crate) fn listener_token(index: usize) -> Token {
    Token(index + 1)
}

impl MainReactor {
    pub(crate) fn new(shared: Arc<Shared>, poll: Poll, acceptor: Acceptor) -> Self {
        let balance = shared.options.balance.unwrap_or_default();
        let balancer = Balancer::new(balance, shared.reactors.len());
        MainReactor {
            shared,
            poll,
            acceptor,
            balancer,
            stats: Counters::default(),
            retry_at: None,
            last_wake: Instant::now(),
            found_all_awake: false,
            draining_since: None,
            has_drained: false,
        }
    }

    /// Runs until the engine is told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        while !self.shared.main.stop.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, self.timeout())
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "the main reactor cannot poll; stopping the engine");
                return self.shared.stop();
            }
            for event in events.iter().filter(|event| event.token() != WAKER) {
                self.acceptor.set_ready(event.token().0 - 1);
            }
            self.accept();
            self.drain();
            self.nap_in_a_storm();
            self.stats.turns += 1;
            self.shared.main.stats.store(&self.stats);
            if self.shared.main.room.swap(false, Ordering::AcqRel) {
                self.shared.descriptors.make_room(self.poll.registry());
            }
            if self.shared.main.trim.swap(false, Ordering::AcqRel) {
                self.shared.fds.shrink();
                memory::trim();
            }
        }
    }

    /// Never while connections are known to wait, or the sub-reactors for them.
    fn nap_in_a_storm(&mut self) {
        let now = Instant::now();
        if self.found_all_awake && !self.acceptor.is_ready() && now - self.last_wake < STORM {
            thread::sleep(NAP);
        }
        self.last_wake = now;
    }

    /// Accepts what was in the queues when a drain was asked for, closes the listeners, and passes it on: behind the
    /// connections, in the same mailboxes.
    fn drain(&mut self) {
        let Some(&within) = self.shared.main.drain.get().filter(|_| !self.has_drained) else { return };
        let since = *self.draining_since.get_or_insert_with(Instant::now);
        if !self.acceptor.is_closing() {
            self.acceptor.close_the_doors();
            self.accept();
        }
        // Who cannot be accepted now, or comes without end to a listener that others share, is not waited for.
        let within = within.saturating_sub(since.elapsed());
        if !self.acceptor.is_ready() || self.retry_at.is_some() || within.is_zero() {
            self.has_drained = true;
            self.acceptor = Acceptor::new(Vec::new(), 0);
            for reactor in &self.shared.reactors {
                reactor.put(Command::Drain(within));
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        match self.retry_at {
            Some(at) => Some(at.saturating_duration_since(Instant::now())),
            None if self.acceptor.is_ready() => Some(Duration::ZERO),
            None => None,
        }
    }

    fn accept(&mut self) {
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let (shared, balancer) = (&self.shared, &mut self.balancer);
        self.found_all_awake = true;
        let found_all_awake = &mut self.found_all_awake;
        let round = self.acceptor.accept(
            |_| true,
            |accepted| shared.admits(accepted),
            |accepted| *found_all_awake &= !hand_over(shared, balancer, accepted),
        );
        self.acceptor.trouble.move_to(&mut self.stats);
        self.retry_at = (round == Round::Failed).then(|| Instant::now() + RETRY);
    }
}

/// One wake-up at most, and none while the sub-reactor is awake; whether it took one.
fn hand_over(shared: &Shared, balancer: &mut Balancer, accepted: Accepted) -> bool {
    let load = |reactor: usize| shared.reactors[reactor].load.load(Ordering::Relaxed);
    let reactor = &shared.reactors[balancer.choose(accepted.peer.map(|peer| peer.ip()), load)];
    reactor.load.fetch_add(1, Ordering::Relaxed);
    reactor.put(Command::Accepted(accepted))
}
