//! One event, or one place on the ready list: what it sets going.

use mio::event::Event;

use super::{
    Core,
    bounds::{BULK_TURN, SLICE},
    read_buffer::ReadBuffer,
    stage::Stage,
};
use crate::{
    CloseReason, ConnId, Handler,
    connection::{Flags, Phase},
    id::Key,
};

/// What an event says of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    readable: bool,
    writable: bool,
    error: bool,
    /// There is more than data to it: a FIN, an error, urgent data. A short read proves nothing then: data and FIN raise
    /// one edge, and a read stops at the urgent mark.
    thorough: bool,
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        let (error, closed) = (event.is_error(), event.is_read_closed());
        Readiness {
            readable: event.is_readable() || closed || error,
            writable: event.is_writable(),
            error,
            thorough: closed || error || event.is_priority(),
        }
    }
}

/// What a kernel in memory says.
impl Readiness {
    pub(crate) fn simulated(readable: bool, writable: bool, fin: bool) -> Self {
        Readiness { readable, writable, error: false, thorough: fin }
    }

    /// The same of a socket that has an error to tell of.
    pub(crate) fn with_error(self) -> Self {
        Readiness { readable: true, error: true, thorough: true, ..self }
    }

    pub(crate) fn is_any(self) -> bool {
        self.readable || self.writable
    }
}

impl<H: Handler> Stage<H> {
    /// An event: of a connect, of room to write, of something to read.
    #[inline]
    pub(super) fn serve(&mut self, id: ConnId, ready: Readiness, buffer: &mut ReadBuffer) {
        let Some(connection) = self.core.connections.find(id) else {
            self.core.stats.stale_events += 1;
            return;
        };
        if ready.readable {
            connection.flags |= Flags::READABLE;
        }
        if ready.thorough {
            connection.flags |= Flags::THOROUGH;
        }
        let is_bulky = connection.flags.contains(Flags::BULKY);
        if connection.phase != Phase::Open || connection.flags.contains(Flags::WRITE_INTEREST) || ready.error
        {
            self.serve_specially(id, ready);
        }
        if !ready.readable {
            return;
        }
        match is_bulky {
            false => self.read(id, buffer),
            true => self.core.put_ready(id.key()),
        }
    }

    /// What comes before reading where there is more to an event than something to read.
    #[cold]
    fn serve_specially(&mut self, id: ConnId, ready: Readiness) {
        let key = id.key();
        if self.core.connections.get(key).is_some_and(|c| c.phase == Phase::Connecting) {
            if self.core.finish_connecting(key) {
                match self.core.connections.get(key).map(|c| (c.phase, c.flags.contains(Flags::TLS))) {
                    Some((Phase::Handshaking, false)) => self.core.say_hello(key),
                    Some((Phase::Open, _)) => self.open(id),
                    _ => {}
                }
            }
            return;
        }
        if ready.writable {
            self.core.flush(key);
        }
        let Some(connection) = self.core.connections.get(key) else { return };
        let is_waiting = !connection.takes_input() || connection.flags.contains(Flags::EOF);
        if ready.error && is_waiting && connection.phase <= Phase::Finishing {
            self.core.meet_error(key);
        }
    }

    /// Those whose budget was spent in an earlier turn, who were resumed, or who have much to be read.
    pub(super) fn serve_ready(&mut self, buffer: &mut ReadBuffer) {
        if self.core.ready.is_empty() {
            return;
        }
        // What comes back meanwhile is for the next turn.
        for served in 1..=self.core.ready.len().min(SLICE) {
            let Some(id) = self.core.ready.pop_front() else { return };
            let Some(connection) = self.core.connections.find(id) else { continue };
            let is_bulky = connection.flags.contains(Flags::BULKY);
            connection.flags.remove(Flags::IN_READY | Flags::BULKY);
            if connection.flags.intersects(Flags::READABLE | Flags::UNSERVED) {
                self.read(id, buffer);
            }
            if !self.core.goes_on(served) || (is_bulky && self.core.clock.is_past(BULK_TURN)) {
                return;
            }
        }
    }

    /// What was begun during the turn is finished: answers leave, those who wait are told, those who go are buried.
    pub(super) fn end_turn(&mut self) {
        if !self.core.writable.is_empty() {
            self.tell_writable();
        }
        self.core.settle();
        if !self.core.dirty.is_empty() {
            self.core.flush_dirty();
        }
        if !self.core.detaching.is_empty() {
            self.core.take_out();
        }
        if !self.core.panicked.is_empty() {
            self.tell_of_panics();
        }
        if !self.core.doomed.is_empty() {
            self.bury_doomed();
        }
        self.core.publish();
    }
}

impl Core {
    /// Nobody reads, so nobody else would find out that the connection is broken.
    fn meet_error(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        if let Some(error) = self.io.take_error(connection) {
            self.doom(key, CloseReason::Io, Some(error), 0);
        }
    }
}
