//! How a connection ends: asked for anywhere, done in one place.

use std::{io, os::fd::AsRawFd};

use wheelhouse_websocket::CloseCode;

use super::{Core, core::Doomed, frames::code_for};
use crate::{
    CloseReason,
    connection::{Connection, Flags, Phase},
    id::Key,
};

impl Core {
    /// Close gracefully: flush, FIN, discard until the peer's FIN.
    pub(crate) fn finish(&mut self, key: Key) {
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        self.put_close(key, Some(CloseCode::NORMAL), "");
        self.finish_now(key);
    }

    /// The same with a close code of one's own, where the protocol has them.
    pub(crate) fn finish_with(&mut self, key: Key, code: CloseCode, reason: &str) {
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        self.put_close(key, Some(code), reason);
        self.finish_now(key);
    }

    pub(super) fn finish_now(&mut self, key: Key) {
        let stamp = self.clock.stamp();
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.phase {
            Phase::Connecting | Phase::Proxied | Phase::Handshaking => {
                return self.doom(key, CloseReason::Local, None, 0);
            }
            Phase::Open => {}
            _ => return,
        }
        if connection.flags.contains(Flags::TLS) {
            self.put_close_notify(key);
        }
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.phase == Phase::Open) else {
            return;
        };
        connection.phase = Phase::Finishing;
        connection.since = stamp;
        if connection.flags.contains(Flags::EOF) {
            connection.flags |= Flags::PEER_FIRST;
        }
        // The rest follows when the queue is empty: at the end of the batch, of the turn, or whenever the peer reads.
        self.put_dirty(key);
        self.arm(key);
    }

    /// Close gracefully, and tell `on_close` of this reason.
    pub(super) fn finish_because(&mut self, key: Key, reason: CloseReason, error: Option<io::Error>) {
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.phase == Phase::Open) else {
            return;
        };
        connection.extras().under_way().closing = Some((reason, error));
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        self.finish_now(key);
    }

    /// What the kernel takes now goes out, the rest is lost.
    pub(crate) fn close(&mut self, key: Key, reason: CloseReason) {
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        let Some(connection) = self.connections.get(key).filter(|c| c.phase != Phase::Detaching) else {
            return;
        };
        if connection.phase != Phase::Closed {
            let blocked = connection.flags.contains(Flags::WRITE_INTEREST);
            if let Some(code) = code_for(reason) {
                self.put_close(key, Some(code), "");
            }
            if reason == CloseReason::Shutdown {
                self.answer_before_shutdown(key);
            }
            self.put_close_notify(key);
            if self.corked(key) > 0 {
                self.flush_cork();
            } else if !blocked {
                self.flush(key);
            }
        }
        self.doom(key, reason, None, 0);
    }

    /// A callback has panicked: a WebSocket's peer is told, others see the end. No callback follows but `on_close`.
    pub(super) fn break_off(&mut self, key: Key) {
        if !self.finish_telling(key, CloseReason::Panic) {
            self.doom(key, CloseReason::Panic, None, 0);
        }
    }

    /// Ends an open WebSocket with the code that tells of the reason, gracefully: with input left unread a close would be a
    /// reset, and the code lost. Whether it is one.
    pub(super) fn finish_telling(&mut self, key: Key, reason: CloseReason) -> bool {
        self.settle_all_of(key);
        let is_open = |c: &Connection| c.phase == Phase::Open && c.flags.contains(Flags::FRAMES);
        if !self.connections.get(key).is_some_and(is_open) {
            return false;
        }
        self.put_close(key, code_for(reason), "");
        self.finish_because(key, reason, None);
        true
    }

    /// Nothing goes out but a reset.
    pub(crate) fn reset(&mut self, key: Key, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.phase == Phase::Detaching && reason == CloseReason::Local {
            return;
        }
        connection.flags |= Flags::RESET;
        self.doom(key, reason, None, 0);
    }

    /// FIN behind what is queued; reading goes on.
    pub(crate) fn shutdown_write(&mut self, key: Key) {
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.flags.contains(Flags::FRAMES) {
            // Half a WebSocket there is not.
            return self.finish(key);
        }
        if connection.takes_output() {
            if connection.flags.contains(Flags::TLS) {
                self.put_close_notify(key);
            }
            let Some(connection) = self.connections.get_mut(key) else { return };
            connection.flags |= Flags::SHUT_WANTED;
            self.put_dirty(key);
        }
    }

    /// The connection is over: no payload, no callback but `on_close` at the end of the turn. The first reason stays.
    pub(super) fn doom(&mut self, key: Key, reason: CloseReason, error: Option<io::Error>, in_hand: u64) {
        let corked = self.drop_cork(key) as u64;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.phase == Phase::Closed {
            return;
        }
        connection.phase = Phase::Closed;
        let closing = connection.under_way_mut().and_then(|way| way.closing.take());
        let (reason, error) = closing.unwrap_or((reason, error));
        let unsent = in_hand + corked + connection.queued() as u64;
        self.doomed.push_back(Doomed { key, reason, error, unsent });
    }

    /// The queue is empty and the connection is to finish: FIN, and the peer has its time to answer.
    pub(super) fn half_close(&mut self, key: Key) {
        let stamp = self.clock.stamp();
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.flags.contains(Flags::EOF) {
            // All input is read: closing says FIN, and no reset.
            let reason = match connection.flags.contains(Flags::PEER_FIRST) {
                true => CloseReason::Peer { code: None },
                false => CloseReason::Local,
            };
            return self.doom(key, reason, None, 0);
        }
        connection.phase = Phase::Lingering;
        connection.since = stamp;
        // Whoever paused: what comes from now on is discarded.
        connection.flags.remove(Flags::PAUSES);
        connection.flags |= Flags::READABLE;
        self.free_inbound(key);
        self.say_fin(key);
        self.put_ready(key);
        self.arm(key);
    }

    /// FIN for [`Core::shutdown_write`].
    pub(super) fn send_fin(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.flags.remove(Flags::SHUT_WANTED);
        self.say_fin(key);
        self.close_if_both_done(key);
    }

    fn say_fin(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let already = connection.flags.contains(Flags::SHUT);
        connection.flags |= Flags::SHUT;
        if already {
            return;
        }
        if let Err(error) = self.io.shutdown_write(connection) {
            self.doom(key, CloseReason::Io, Some(error), 0);
        }
    }

    /// Both sides have said FIN, and everything is flushed.
    pub(super) fn close_if_both_done(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        if connection.flags.contains(Flags::EOF | Flags::SHUT) && connection.phase == Phase::Open {
            self.doom(key, CloseReason::Peer { code: None }, None, 0);
        }
    }

    /// Closes the socket, after `on_close`.
    pub(super) fn dispose(&mut self, key: Key) {
        if let Some(connection) = self.release(key) {
            self.io.close(&self.poll, connection);
        }
    }

    /// Takes a connection out of all the lists that it is in.
    pub(super) fn release(&mut self, key: Key) -> Option<Connection> {
        self.free_buffers(key);
        let id = self.connections.id(key)?;
        let connection = self.connections.remove(key)?;
        debug_assert!(connection.deadline.is_none(), "a deadline outlived its connection");
        if let Some(fd) = &connection.fd {
            self.shared.fds.remove(fd.as_raw_fd());
        }
        self.forget_contexts(&connection);
        if let Some(extras) = &connection.extras {
            self.heap_freed += extras.weight();
        }
        self.profiles.leave(connection.profile);
        self.shared.leave_address(&connection);
        let here = &self.shared.reactors[self.id.index()];
        here.roll.leave(id);
        here.load.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        self.stats.closed += 1;
        self.plan_tidying();
        Some(connection)
    }
}
