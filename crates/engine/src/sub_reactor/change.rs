//! A connection becomes something else: one of another framing, or somebody else's.

use std::{fs::File, os::fd::OwnedFd};

use super::Core;
use crate::{
    CloseReason, Detached, Error, Framing, Payload, Result,
    connection::{Connection, Flags, Inbound, Phase},
    id::Key,
};

/// Who gets what is left of a connection.
pub(super) type Heir = Box<dyn FnOnce(Detached)>;

/// What is left of a connection, for who gets it.
pub(super) struct Inheritance {
    pub(super) heir: Heir,
    pub(super) detached: Detached,
}

impl Core {
    /// What comes and goes from now on is framed anew.
    pub(crate) fn set_framing(&mut self, key: Key, framing: &Framing) -> Result<()> {
        framing.validate()?;
        framing.needs_no_handshake("a connection in mid-life")?;
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        let Some(connection) = self.connections.get_mut(key).filter(|c| c.is_alive()) else { return Ok(()) };
        let old = connection.profile;
        if let Some(profile) = self.profiles.get(old) {
            profile.rules.go_with(framing, "the connection's listener")?;
        }
        let profile = self.profiles.change(old, framing).ok_or_else(Error::too_many_kinds)?;
        connection.profile = profile;
        connection.protocol_state = [0; 2];
        connection.flags.remove(Flags::OF_PROFILE);
        let flags = self.profile_flags(profile);
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        connection.flags |= flags;
        if !connection.inbound.is_empty() && !connection.flags.contains(Flags::EOF) {
            // What the old framing could not use the new one may: nobody need send more for it.
            connection.flags |= Flags::UNSERVED;
            self.put_ready(key);
        }
        Ok(())
    }

    /// Has the connection taken out at the end of the turn.
    pub(crate) fn detach(&mut self, key: Key, heir: Heir) -> bool {
        if !self.masses.is_empty() {
            self.catch_up(key);
        }
        let Some(id) = self.connections.id(key) else { return false };
        let is_able = |c: &&mut Connection| c.phase == Phase::Open && !c.shakes_hands();
        let Some(connection) = self.connections.get_mut(key).filter(is_able) else {
            return false;
        };
        connection.phase = Phase::Detaching;
        connection.extras().under_way().heir = Some(heir);
        self.detaching.push(id);
        self.put_dirty(key);
        true
    }

    /// The end of the turn: what the kernel takes of it has left, and nobody is in its input.
    pub(super) fn take_out(&mut self) {
        for id in std::mem::take(&mut self.detaching) {
            if self.connections.find(id).is_some_and(|connection| connection.phase == Phase::Detaching) {
                self.flush(id.key());
                self.doom(id.key(), CloseReason::Detached, None, 0);
            }
        }
    }

    /// Takes a connection out that `on_close` has been told of; none when there is no descriptor to give away.
    pub(super) fn hand_over(&mut self, key: Key) -> Option<Inheritance> {
        let held = self.take_held(key).map(|(kind, body)| Payload::from(body).with_kind(kind));
        let unread = self.take_unread(key);
        let unsent = self.take_unsent(key);
        let mut connection = self.release(key)?;
        let fin = connection.flags.contains(Flags::SHUT_WANTED);
        self.io.deregister(&self.poll, &connection);
        let heir = connection.under_way_mut()?.heir.take()?;
        let socket = match connection.fd.take() {
            Some(fd) => fd,
            None => OwnedFd::from(File::open("/dev/null").ok()?),
        };
        Some(Inheritance { heir, detached: Detached { socket, unread, held, unsent, fin } })
    }

    fn take_unread(&mut self, key: Key) -> Vec<u8> {
        let Some(connection) = self.connections.get_mut(key) else { return Vec::new() };
        match std::mem::replace(&mut connection.inbound, Inbound::EMPTY) {
            Inbound::Inline { len, bytes } => bytes[..usize::from(len)].to_vec(),
            Inbound::Ring(mut ring) => {
                let mut bytes = vec![0; ring.len()];
                ring.read_into(&mut self.pool, &mut bytes);
                bytes
            }
            Inbound::Linear(linear) => {
                self.remove_linear(linear.bytes.size());
                linear.bytes.into_vec(linear.filled)
            }
        }
    }

    fn take_unsent(&mut self, key: Key) -> Vec<u8> {
        let queue = self.connections.get_mut(key).and_then(|connection| connection.outbound.take());
        let Some(mut queue) = queue else { return Vec::new() };
        let bytes = queue.to_vec();
        let freed = queue.advance(&mut self.pool, bytes.len());
        self.remove_linear(freed);
        self.recycle(queue);
        bytes
    }
}
