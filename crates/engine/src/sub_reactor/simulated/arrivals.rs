//! New connections: a socket, its peer, and what is expected of them.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    actor::Actor,
    deed::Deed,
    invariants::all,
    kernel::Kernel,
    model::{Life, Model, Record},
    peer::Peer,
    plan::{Kind, Plan},
    random::Random,
    script::Script,
};
use crate::{Conn, Connect, Error, ListenerId, On, Reactor, Tag, connection::Phase, sub_reactor::Core};

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

/// Connections that a world begins at most.
const MOST: usize = 40;

/// The address by which a peer is known again.
pub(super) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], index as u16))
}

/// What was dialled or adopted by a command, or comes from a proxy, has a name before it is open.
pub(super) fn name_the_new(core: &Core, model: &Rc<RefCell<Model>>, kernel: &Rc<RefCell<Kernel>>) {
    for (key, connection) in all(core).filter(|(_, connection)| connection.phase < Phase::Open) {
        let Some(id) = core.connections.id(key) else { continue };
        let mut kernel = kernel.borrow_mut();
        // One that was adopted is not watched yet, and so not known to the kernel.
        let tagged = connection.extras.as_ref().map(|extras| extras.tag.0 as usize);
        let Some(index) = kernel.find(id.sequence()).or(tagged) else { continue };
        model.borrow_mut().name(index, id);
        kernel.name(index, id);
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

    pub(super) fn dial(&mut self, reactor: &mut Reactor<'_>, deed: Deed) {
        if self.model.borrow().records.len() >= MOST {
            return;
        }
        let plan = Rc::clone(&self.plan);
        let kind = plan.kinds[self.random.below(plan.kinds.len())].clone();
        let index =
            introduce(&self.model, &self.kernel, &mut self.random, &plan, kind.clone(), None, reactor.now());
        let timeout = Duration::from_millis(self.random.pick(&[1, 40, 10_000]));
        let (low, high, limit) = kind.marks;
        let to = Connect::to("tcp://127.0.0.1:9").framing(kind.framing).policy(kind.policy);
        let to = to.water_marks(low, high, limit).timeout(timeout).tag(Tag(index as u64));
        self.model.borrow_mut().records[index].timeout = Some(timeout);
        let refused = match deed {
            Deed::Dial => match reactor.connect(to) {
                Ok(id) => {
                    self.kernel.borrow_mut().name(index, id);
                    self.model.borrow_mut().name(index, id);
                    false
                }
                Err(_) => true,
            },
            _ => {
                let asked = self.poster.connect(On::Any, to);
                if matches!(asked, Err(Error::MailboxFull { .. })) {
                    self.note_full();
                }
                asked.is_err()
            }
        };
        let mut model = self.model.borrow_mut();
        if refused {
            model.records[index].life = Life::Closed;
            model.records[index].never_was = true;
        }
    }
}
