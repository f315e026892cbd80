//! How a connection begins: accepted here, handed over, or adopted.

use std::{
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
};

use socket2::SockRef;

use super::{Core, kept::Left, stage::Stage};
use crate::{
    Adopt, CloseReason, ConnId, Error, Handler, NotTaken, Result, Tag,
    accept::Accepted,
    connection::{Connection, Flags, Phase},
    id::Key,
    listener::set_kernel_buffers,
};

impl<H: Handler> Stage<H> {
    /// A socket that was accepted becomes a connection.
    pub(super) fn admit(&mut self, accepted: Accepted) {
        let core = &mut self.core;
        let Accepted { fd, peer, listener, is_unix, is_counted, is_proxied } = accepted;
        let mut connection = Connection::new(fd, listener.0, core.clock.stamp());
        connection.set_peer(peer);
        connection.flags |= core.profile_flags(listener.0);
        connection.flags.set(Flags::UNIX, is_unix);
        connection.flags.set(Flags::COUNTED, is_counted);
        if is_proxied {
            connection.phase = Phase::Proxied;
        } else if connection.shakes_hands() {
            connection.phase = Phase::Handshaking;
        }
        let is_open = connection.phase == Phase::Open;
        if is_unix && let Some(fd) = &connection.fd {
            // A Unix listener hands nothing down.
            let _ = set_kernel_buffers(&socket2::SockRef::from(fd), core.options());
        }
        if core.stopping {
            return core.shed(&connection);
        }
        if let Some(id) = core.take_in(connection)
            && is_open
        {
            self.open(id);
        }
    }

    /// Makes the session and calls `on_open`.
    pub(super) fn open(&mut self, id: ConnId) {
        let key = id.key();
        // Its own answer may have been more than there is memory for.
        if self.core.connections.get(key).is_none_or(|connection| connection.phase != Phase::Open) {
            return;
        }
        // One whose request was asked about has its session already.
        if self.sessions.get_mut(key).is_none() && !self.make_session(id) {
            return;
        }
        if let Some(connection) = self.core.connections.get_mut(key) {
            connection.flags |= Flags::OPENED;
            self.core.stats.opened += 1;
        }
        tracing::trace!(%id, "opened");
        self.core.cork(key);
        self.call(id, |handler, conn, session| handler.on_open(conn, session));
        self.core.uncork();
        // What was sent while it was being dialled.
        self.core.put_dirty(key);
    }

    /// Opens the sockets that were adopted during the turn.
    pub(super) fn open_adopted(&mut self) {
        for (id, unread) in std::mem::take(&mut self.core.adopted) {
            let key = id.key();
            if self.core.is_here(id) && self.core.begin_adopted(key) {
                self.open(id);
                self.core.keep_unread(key, &unread);
            }
        }
    }

    pub(super) fn make_session(&mut self, id: ConnId) -> bool {
        let key = id.key();
        match catch_unwind(AssertUnwindSafe(H::Session::default)) {
            Ok(session) => {
                self.sessions.insert(key, session);
                true
            }
            Err(panic) => {
                // There is no session to give to `on_close`: `on_panic` alone tells.
                if let Some(connection) = self.core.connections.get_mut(key) {
                    connection.flags |= Flags::UNTOLD;
                }
                self.core.doom(key, CloseReason::Panic, None, 0);
                self.tell_of_panic(Some(id), panic);
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
        self.stats.accepted += 1;
        // In this order: who finds it by its descriptor finds it open.
        self.shared.reactors[self.id.index()].roll.enter(id);
        if let Some(raw) = raw {
            self.shared.enter(raw, id);
        }
        if let Err(error) = self.register(id.key()) {
            self.doom(id.key(), CloseReason::Io, Some(error), 0);
            return None;
        }
        self.arm(id.key());
        Some(id)
    }

    /// Takes over a socket, to be opened when the callback that asks for it has returned.
    pub(crate) fn adopt(&mut self, adopt: Adopt) -> Result<ConnId, NotTaken<Adopt>> {
        match adopt.prepare() {
            Ok(()) => self.adopt_prepared(adopt),
            Err(error) => Err(NotTaken { what: adopt, error }),
        }
    }

    /// One that was looked at before: should its peer have gone since then, `on_close` tells so.
    pub(super) fn adopt_prepared(&mut self, adopt: Adopt) -> Result<ConnId, NotTaken<Adopt>> {
        match self.join_adopted(&adopt) {
            Ok((profile, is_unix)) => self.put_in(adopt, profile, is_unix),
            Err(error) => Err(NotTaken { what: adopt, error }),
        }
    }

    fn join_adopted(&mut self, adopt: &Adopt) -> Result<(u16, bool)> {
        if self.stopping {
            return Err(Error::Stopping);
        }
        let profile = self
            .profiles
            .join(&adopt.manner.framing, adopt.manner.rules)
            .ok_or_else(Error::too_many_kinds)?;
        Ok((profile, adopt.is_unix()))
    }

    fn put_in(&mut self, adopt: Adopt, profile: u16, is_unix: bool) -> Result<ConnId, NotTaken<Adopt>> {
        if !self.connections.has_room() {
            self.profiles.leave(profile);
            let error = Error::ReactorFull { reactor: self.id, limit: ConnId::MAX_KEYS };
            return Err(NotTaken { what: adopt, error });
        }
        let raw = adopt.socket.as_raw_fd();
        let peer = SockRef::from(&adopt.socket).peer_addr().ok().and_then(|peer| peer.as_socket());
        let mut connection = Connection::new(Some(adopt.socket), profile, self.clock.stamp());
        connection.phase = Phase::Connecting;
        connection.set_peer(peer);
        connection.flags |= self.profile_flags(profile);
        // Somebody may hold a duplicate: closing ours would not end the watching.
        connection.flags |= Flags::DUPLICATED;
        connection.flags.set(Flags::UNIX, is_unix);
        if adopt.manner.tag != Tag::default() {
            connection.extras().tag = adopt.manner.tag;
        }
        let here = &self.shared.reactors[self.id.index()];
        here.load.fetch_add(1, Ordering::Relaxed);
        self.stats.adopted += 1;
        let Ok(id) = self.connections.insert(connection) else {
            unreachable!("there was room");
        };
        here.roll.enter(id);
        self.shared.enter(raw, id);
        self.adopted.push((id, adopt.manner.unread));
        Ok(id)
    }

    /// False when the socket cannot be watched.
    fn begin_adopted(&mut self, key: Key) -> bool {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.phase = Phase::Open;
        }
        if let Err(error) = self.register(key) {
            self.doom(key, CloseReason::Io, Some(error), 0);
            return false;
        }
        self.arm(key);
        true
    }

    /// What was read before the socket was adopted is offered first.
    fn keep_unread(&mut self, key: Key, unread: &[u8]) {
        if unread.is_empty() {
            return;
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !matches!(connection.phase, Phase::Open | Phase::Detaching) {
            return;
        }
        connection.flags |= Flags::UNSERVED;
        // Nobody has looked at it: whether a message of it is too large is yet to be seen.
        let body = self.options().read_buffer;
        self.store(key, Left { rest: unread, need: 0, begins: true }, body);
        self.put_ready(key);
    }

    /// A connection that was counted is not served.
    fn shed(&mut self, connection: &Connection) {
        self.shared.leave_address(connection);
        self.shared.reactors[self.id.index()].load.fetch_sub(1, Ordering::Relaxed);
        self.stats.shed += 1;
    }
}
