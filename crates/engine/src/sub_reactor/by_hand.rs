//! A sub-reactor without its loop, for the test kit: somebody else says what has happened, and when.

use std::{
    any::Any,
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{Core, Readiness, SubReactor, frames::opcode_of, stage::Kept, workshop::Kindred};
use crate::{
    CloseReason, ConnId, Handler, ListenerId, Payload, Refusal,
    accept::Accepted,
    clock::Clock,
    io::{Io, Simulator},
    protocol::{Frame, Output},
    shared::{self, Visit},
    watched::Watched,
};

impl<H: Handler> SubReactor<H> {
    /// Keeps from now on why connections close, and what panics; calls `on_start`.
    pub(crate) fn begin_by_hand(&mut self) {
        self.stage.kept = Some(Kept::default());
        self.begin();
    }

    /// One turn with these events, without sleep. False when it was the last; then `on_stop` was called.
    pub(crate) fn turn_by_hand(&mut self, events: Vec<(ConnId, Readiness)>) -> bool {
        for (id, ready) in events {
            self.stage.serve(id, ready, &mut self.buffer);
        }
        for event in self.events.iter().filter(|event| Watched::has(event.token())) {
            self.stage.serve_watched(event.token());
        }
        self.events.clear();
        self.looks += 1;
        let goes_on = self.work();
        if !goes_on {
            self.end();
        }
        goes_on
    }

    /// Whether a turn at this moment would find nothing to do.
    pub(crate) fn is_quiet(&self) -> bool {
        let core = self.core();
        let is_due = core.until_next_deadline().is_some_and(|wait| wait.is_zero());
        let has_more = self.has_more_commands || self.has_more_timers || core.has_work();
        !has_more && !is_due && core.mailbox().is_empty()
    }

    /// Looks whether something is ready that is no connection: what the handler watches is never in memory.
    pub(crate) fn look_at_watched(&mut self) -> bool {
        let core = &mut self.stage.core;
        let looked =
            !core.watched.is_empty() && core.poll.poll(&mut self.events, Some(Duration::ZERO)).is_ok();
        looked && self.events.iter().any(|event| Watched::has(event.token()))
    }

    /// When it would wake up by itself.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let core = self.core();
        core.until_next_deadline().map(|wait| core.clock.now() + wait)
    }

    /// A client has connected; false when a limit is met.
    pub(crate) fn accept_by_hand(
        &mut self,
        listener: ListenerId,
        peer: Option<SocketAddr>,
        is_unix: bool,
    ) -> bool {
        let mut accepted =
            Accepted { fd: None, peer, listener, is_unix, is_counted: false, is_proxied: false };
        let core = self.core();
        let is_admitted = core.shared.admits(&mut accepted);
        if is_admitted {
            core.shared.reactors[core.id.index()].load.fetch_add(1, Ordering::Relaxed);
            self.stage.admit(accepted);
        }
        is_admitted
    }

    /// A message as the connection's protocol writes it; none when the connection is gone.
    pub(crate) fn encode(&mut self, id: ConnId, payload: &Payload<'_>) -> Option<Result<Vec<u8>, Refusal>> {
        let core = self.core_mut();
        let profile = core.is_here(id).then(|| core.profile_of(id.key()))??;
        let mut bytes = Vec::new();
        let encoded = match profile.frame() {
            Frame::Raw => {
                bytes.extend_from_slice(payload.bytes());
                Ok(())
            }
            // As the other end sends it.
            Frame::Frames(_) => match opcode_of(payload) {
                Some(opcode) => {
                    let is_client = core.connections.get(id.key())?.kindred().is_client;
                    let kind = Kindred { is_client: !is_client, ..Kindred::default() };
                    core.write_frame(id.key(), kind, opcode, payload, &mut bytes);
                    Ok(())
                }
                None => Err(Refusal::NotEncodable),
            },
            Frame::Protocol(protocol) => protocol.encode(payload, &mut Output::new(&mut bytes)),
        };
        Some(encoded.map(|()| bytes))
    }

    pub(crate) fn core(&self) -> &Core {
        &self.stage.core
    }

    pub(crate) fn core_mut(&mut self) -> &mut Core {
        &mut self.stage.core
    }

    pub(crate) fn handler(&mut self) -> &mut H {
        &mut self.stage.handler
    }

    pub(crate) fn session(&mut self, id: ConnId) -> Option<&mut H::Session> {
        if !self.stage.core.is_here(id) {
            return None;
        }
        self.stage.sessions.get_mut(id.key())
    }

    pub(crate) fn reason(&self, id: ConnId) -> Option<&CloseReason> {
        self.stage.kept.as_ref()?.reasons.get(&id)
    }

    /// Keeps no panic from now on.
    pub(crate) fn bear_panics(&mut self) {
        if let Some(kept) = &mut self.stage.kept {
            kept.bears_panics = true;
        }
    }

    /// The first panic of the handler's since this was last asked.
    pub(crate) fn take_panic(&mut self) -> Option<Box<dyn Any + Send>> {
        self.stage.kept.as_mut()?.panic.take()
    }
}

impl Core {
    /// Puts a kernel in memory, and a clock that stands still, in the places of the real ones.
    pub(crate) fn simulate(&mut self, simulator: Box<dyn Simulator>) {
        self.io = Io::Simulated(simulator);
        self.clock = Clock::by_hand(self.shared.origin);
    }

    /// This thread is the reactor's for as long as the answer lives.
    pub(crate) fn visit(&self) -> Visit {
        shared::visit(&self.shared, self.id, &self.local)
    }
}
