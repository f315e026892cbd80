//! Connections that become something else in mid-life: a message says so, and what follows it is cut in another way, or sealed.

use std::time::Instant;

use super::{actor::Actor, seal::Seal, sending::View, web::Role, wire::Wire};
use crate::Conn;

/// What a connection becomes at one of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// What follows is framed so.
    Framing(Wire),
    /// TLS begins; the peer waits for it.
    Tls,
}

/// Where TLS stands that began in mid-life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Securing {
    #[default]
    No,
    Since(Instant),
    Done,
}

impl Actor {
    /// The message that has just come may be the one.
    pub(super) fn turn(&mut self, conn: &mut Conn<'_>) {
        let id = conn.id();
        let mut model = self.model.borrow_mut();
        let Some(index) = model.index(id) else { return };
        let record = &mut model.records[index];
        if record.script.turn.map(|turn| turn + 1) != Some(record.intake.taken()) {
            return;
        }
        let Some(turn) = record.kind.turns.take() else { return };
        model.trace.note(format_args!("  {id} becomes {turn:?}"));
        drop(model);
        match turn {
            Turn::Framing(wire) => {
                let framing = wire.framing();
                let set = conn.set_framing(&framing);
                let mut model = self.model.borrow_mut();
                let kind = &mut model.records[index].kind;
                (kind.wire, kind.framing) = (wire, framing);
                model.check(id, set.map_err(|error| format!("no other framing: {error}")));
            }
            Turn::Tls => self.secure(conn, index),
        }
    }

    fn secure(&mut self, conn: &mut Conn<'_>, index: usize) {
        let (id, now) = (conn.id(), conn.now());
        let (keys, role) = {
            let record = &self.model.borrow().records[index];
            let role = if record.listener.is_some() { Role::Client } else { Role::Server };
            (record.kind.keys.clone(), role)
        };
        let Some(keys) = keys else { return };
        // What was sent before goes as it is; so much is that.
        conn.reactor().core.settle_all_of(id.key());
        let before = View::of(conn.reactor(), id);
        let taken = self.kernel.borrow().sockets[index].taken_in_all as usize;
        let plain = taken + before.queued + before.corked;
        let is_begun = match role {
            Role::Client => conn.start_tls(&keys.tls),
            Role::Server => conn.start_tls_client(&keys.client),
        };
        let mut model = self.model.borrow_mut();
        let is_able = before.is_open && before.takes_output;
        if is_begun != is_able {
            model.fail(id, format!("TLS begins: {is_begun}, though open and writable: {is_able}"));
        }
        if !is_begun {
            return;
        }
        let record = &mut model.records[index];
        record.securing = Securing::Since(now);
        let mut kernel = self.kernel.borrow_mut();
        let socket = &mut kernel.sockets[index];
        let said = socket.sent;
        let mut seal = Seal::new(&mut self.random, &keys, role, &record.script.bytes, said);
        seal.begin_behind(socket.used, plain - socket.taken_in_all as usize);
        socket.sent = seal.stream.len();
        socket.seal = Some(Box::new(seal));
    }

    /// `on_secured`.
    pub(super) fn meet_secured(&mut self, conn: &mut Conn<'_>) {
        let id = conn.id();
        let mut model = self.model.borrow_mut();
        let Some(record) = model.record(id) else { return };
        let was = std::mem::replace(&mut record.securing, Securing::Done);
        if !matches!(was, Securing::Since(_)) {
            model.fail(id, format!("secured, when its TLS was {was:?}"));
        }
    }
}
