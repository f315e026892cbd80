//! New connections: a socket, its peer, and what is expected of them.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Instant};

use super::{
    actor::Actor,
    invariants::all,
    kernel::Kernel,
    model::{Model, Record},
    peer::Peer,
    plan::{Kind, Plan},
    random::Random,
    script::Script,
};
use crate::{Conn, ListenerId, connection::Phase, sub_reactor::Core};

/// Makes a socket with its peer, and the record of both under one number.
pub(super) fn introduce(
    model: &Rc<RefCell<Model>>,
    kernel: &Rc<RefCell<Kernel>>,
    random: &mut Random,
    plan: &Plan,
    kind: Kind,
    listener: Option<ListenerId>,
    now: Instant,
) -> usize {
    let most = if plan.options.inbound_limit >= 100_000 { 100_000 } else { 3_000 };
    let script = Rc::new(Script::draw(random, kind.wire, most));
    let peer = Peer::draw(random, plan.is_gentle);
    let is_unix = listener.is_some() && random.one_in(4);
    let index = kernel.borrow_mut().add(Rc::clone(&script), is_unix, listener.is_none(), peer);
    let mut model = model.borrow_mut();
    model.records.push(Record::new(kind, listener, script, now));
    debug_assert_eq!(index + 1, model.records.len(), "a socket for each record");
    index
}

/// The address by which a peer is known again.
pub(super) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], index as u16))
}

/// What was dialled by a command has a name as soon as the command was carried out.
pub(super) fn name_the_dialled(core: &Core, model: &Rc<RefCell<Model>>, kernel: &Rc<RefCell<Kernel>>) {
    for (key, connection) in all(core).filter(|(_, connection)| connection.phase == Phase::Connecting) {
        let (Some(id), Some(extras)) = (core.connections.id(key), &connection.extras) else { continue };
        let index = extras.tag.0 as usize;
        model.borrow_mut().name(index, id);
        kernel.borrow_mut().name(index, id);
    }
}

impl Actor {
    /// Learns whose connection it is: by its address when it was accepted, by its tag when it was dialled.
    pub(super) fn learn(&mut self, conn: &Conn<'_>) {
        let index = match conn.listener() {
            Some(_) => conn.peer_addr().map_or(usize::MAX, |peer| usize::from(peer.port())),
            None => conn.tag().0 as usize,
        };
        let mut model = self.model.borrow_mut();
        if index >= model.records.len() {
            return model.fail(conn.id(), "is of a peer that nobody knows");
        }
        if model.records[index].listener != conn.listener() {
            model.fail(conn.id(), "came through another listener");
        }
        model.name(index, conn.id());
        self.kernel.borrow_mut().name(index, conn.id());
    }
}
