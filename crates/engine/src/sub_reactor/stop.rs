//! How a reactor ends: at once, or when its connections have ended of themselves.

use std::{
    sync::atomic::{Ordering, fence},
    time::Duration,
};

use super::{Core, core::Draining, deadlines::clamp, due::Due, mass::Mass};

impl Core {
    /// Begins to close every connection, in slices; what was to be sent to many is dropped.
    pub(super) fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.drop_masses();
            self.masses.push_back(Mass::shutdown(self.connections.next_sequence()));
        }
    }

    /// Connections have so long to end of themselves; then the engine stops.
    pub(super) fn drain(&mut self, within: Duration) {
        let within = clamp(within);
        if self.draining.is_none() && !self.stopping {
            tracing::info!(reactor = self.id.0, ?within, connections = self.connections.len(), "draining");
            self.draining = Some(Draining { until: self.clock.now() + within, looked: None, is_told: false });
            self.schedule_chore(Due::Stop, within);
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopping && self.connections.len() == 0 && self.masses.is_empty()
    }

    /// Stops the engine when this reactor was the last to have connections.
    pub(super) fn stop_if_drained(&self) {
        if self.stopping || !self.draining.is_some_and(|draining| draining.is_told) {
            return;
        }
        let is_idle = self.connections.len() == 0 && !self.has_work() && self.mailbox().is_empty();
        // Of two reactors whose last connections close at the same time, one sees that both have.
        fence(Ordering::SeqCst);
        if is_idle && self.shared.accepting.load(Ordering::SeqCst) == 0 && self.shared.count() == 0 {
            self.shared.stop();
        }
    }
}
