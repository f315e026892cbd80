//! What the conductor and the reactors have in common.

use std::time::{Duration, Instant};

use crate::{
    options::Options,
    pattern::Pattern,
    tally::{Live, Tally},
    target::Target,
    trust::Trust,
};

/// What all reactors know.
pub(crate) struct Plan {
    pub(crate) options: Options,
    pub(crate) target: Target,
    /// Where TLS is spoken.
    pub(crate) trust: Option<Trust>,
    pub(crate) reactors: usize,
    pub(crate) pattern: Pattern,
    /// Times are ns since then.
    pub(crate) origin: Instant,
    /// Of [`Tally::series`].
    pub(crate) span: Duration,
    pub(crate) live: Vec<Live>,
}

impl Plan {
    pub(crate) fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// When connection `index` is to send its message `round`, in ns from the beginning: all connections take turns.
    pub(crate) fn due(&self, rate: f64, index: u32, round: u64) -> u64 {
        let nth = round * u64::from(self.options.connections) + u64::from(index);
        (nth as f64 * 1e9 / rate) as u64
    }

    /// An empty tally, as long as the load.
    pub(crate) fn tally(&self) -> Tally {
        Tally::new(self.options.seconds.div_duration_f64(self.span).ceil() as usize)
    }
}

/// What a reactor tells the conductor; each once.
pub(crate) enum Event {
    /// Each connection is open, or has failed.
    Settled,
    /// Nothing is under way any more.
    Drained,
    /// No connection is left.
    Gone,
    /// The reactor has stopped.
    Stopped(Box<Tally>),
    /// Somebody wants the program to end.
    Interrupted,
}

/// The time under load, in ns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: u64,
    pub(crate) end: u64,
}
