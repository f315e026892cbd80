//! How a connection begins: accepted here, or handed over.

use std::{
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
};

use super::{Core, stage::Stage};
use crate::{
    CloseReason, ConnId, Handler,
    accept::Accepted,
    connection::{Connection, Flags},
    id::Key,
    listener::set_kernel_buffers,
};

impl<H: Handler> Stage<H> {
    /// A socket that was accepted becomes a connection.
    pub(super) fn admit(&mut self, accepted: Accepted) {
        let core = &mut self.core;
        core.stats.accepted += 1;
        let Accepted { fd, peer, listener, is_unix } = accepted;
        let mut connection = Connection::new(fd, listener.0, core.clock.stamp());
        connection.set_peer(peer);
        connection.flags |= core.profile_flags(listener.0);
        connection.flags.set(Flags::UNIX, is_unix);
        if is_unix && let Some(fd) = &connection.fd {
            // A Unix listener hands nothing down.
            let _ = set_kernel_buffers(&socket2::SockRef::from(fd), core.options());
        }
        if core.stopping {
            return core.shed(&connection);
        }
        if let Some(id) = core.take_in(connection) {
            self.open(id);
        }
    }

    /// Makes the session and calls `on_open`.
    pub(super) fn open(&mut self, id: ConnId) {
        let key = id.key();
        if !self.make_session(key) {
            return;
        }
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.flags |= Flags::OPENED;
            self.core.stats.opened += 1;
        }
        self.core.cork(key);
        self.call(id, |handler, conn, session| handler.on_open(conn, session));
        self.core.uncork();
        // What was sent while it was being dialled.
        self.core.put_dirty(key);
    }

    fn make_session(&mut self, key: Key) -> bool {
        match catch_unwind(AssertUnwindSafe(H::Session::default)) {
            Ok(session) => {
                self.sessions.insert(key, session);
                true
            }
            Err(panic) => {
                self.core.doom(key, CloseReason::Panic, None, 0);
                self.tell_of_panic(panic);
                false
            }
        }
    }
}

impl Core {
    /// Gives a connection that the reactor's load counts already its place and name, and watches its socket. None when
    /// there is no room, or the socket cannot be watched.
    fn take_in(&mut self, connection: Connection) -> Option<ConnId> {
        let raw = connection.fd.as_ref().map(AsRawFd::as_raw_fd);
        let id = match self.connections.insert(connection) {
            Ok(id) => id,
            Err(connection) => {
                self.shed(&connection);
                return None;
            }
        };
        if let Some(raw) = raw {
            self.shared.fds.insert(raw, id);
        }
        self.shared.reactors[self.id.index()].roll.enter(id);
        if let Err(error) = self.register(id.key()) {
            self.doom(id.key(), CloseReason::Io, Some(error), 0);
            return None;
        }
        self.arm(id.key());
        Some(id)
    }

    /// A connection that was counted is not served.
    fn shed(&mut self, _: &Connection) {
        self.shared.reactors[self.id.index()].load.fetch_sub(1, Ordering::Relaxed);
        self.stats.shed += 1;
    }
}
