use std::sync::atomic::AtomicUsize as Tally;

use crate::{
    asleep::Asleep,
    channel::Channel,
    sync::{AtomicBool, Ordering, fence},
    waker::Waker,
};

/// The mailbox of a reactor, and what the reactor and its senders do with it.
///
/// | here | engine |
/// |---|---|
/// | `asleep` | the engine's own file, `asleep.rs` |
/// | `hand_over` | `hand_over` in `main_reactor.rs`; `ReactorShared::put` in `shared.rs`; `Mailbox::push` and `wake` in `mailbox.rs` |
/// | `close`, `abandon_if_closed`, `drain` | of the same names in `mailbox.rs` and `shared.rs`, one inside the other |
/// | `turn` | `SubReactor::turn` in `sub_reactor/mod.rs`: `sleep`, then `serve_commands` |
///
/// `tests/mirror.rs` fails when those lines of the engine change, and this file has to follow.
#[derive(Default)]
pub struct Mailbox {
    channel: Channel,
    asleep: Asleep,
    waker: Waker,
    closed: AtomicBool,
    /// `ReactorShared::load`. Additions and subtractions in whatever order come to the same, and nobody here looks before the end:
    /// loom need not try them all, and this number is std's.
    load: Tally,
    /// Of the model alone: how often the reactor said that it sleeps, and how often it was woken.
    slept: Tally,
    woken: Tally,
}

impl Mailbox {
    /// A sender's part: counts a connection, puts it in, wakes the reactor if it sleeps, and drops what came too late.
    pub fn hand_over(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
        self.channel.send();
        if self.asleep.rouse() {
            self.woken.fetch_add(1, Ordering::Relaxed);
            self.waker.wake();
        }
        self.abandon_if_closed();
    }

    /// Something else wakes the reactor: a socket is ready.
    pub fn stir(&self) {
        self.waker.wake();
    }

    /// One turn of the reactor: how many connections it was given, all of which it has closed by now.
    pub fn turn(&self) -> usize {
        self.turn_that(|| self.asleep.fall_asleep(|| self.channel.is_empty()))
    }

    /// As it must not be: it looks first and announces then.
    pub fn turn_that_looks_first(&self) -> usize {
        let is_empty = self.channel.is_empty();
        self.turn_that(|| self.asleep.fall_asleep(|| is_empty))
    }

    fn turn_that(&self, falls_asleep: impl FnOnce() -> bool) -> usize {
        self.slept.fetch_add(1, Ordering::Relaxed);
        match falls_asleep() {
            true => self.waker.wait(),
            false => self.waker.poll(),
        }
        self.asleep.stay_awake();
        if self.channel.is_empty() {
            return 0;
        }
        let served = std::iter::from_fn(|| self.channel.try_recv().then_some(())).count();
        self.load.fetch_sub(served, Ordering::Relaxed);
        served
    }

    /// The reactor has made its last turn.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.abandon_if_closed();
    }

    fn abandon_if_closed(&self) {
        if self.closed.load(Ordering::Acquire) {
            self.load.fetch_sub(self.drain(), Ordering::Relaxed);
        }
    }

    fn drain(&self) -> usize {
        std::iter::from_fn(|| self.channel.try_recv().then_some(())).count()
    }

    /// Whether nothing is left in it. For when all threads have ended.
    pub fn is_empty(&self) -> bool {
        self.channel.is_empty()
    }

    /// The connections that it counts still. For when all threads have ended.
    pub fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// How often the reactor was about to sleep, and how often a sender woke it.
    pub fn slept_and_woken(&self) -> (usize, usize) {
        (self.slept.load(Ordering::Relaxed), self.woken.load(Ordering::Relaxed))
    }
}
