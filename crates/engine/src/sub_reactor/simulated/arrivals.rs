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
    preface::{Preface, Says},
    random::Random,
    script::Script,
    seal::Seal,
    turning::Turn,
    web::Role,
};
use crate::{Conn, Error, ListenerId, On, Reactor, Tag, connection::Phase, sub_reactor::Core};

/// Somebody who is about to be connected with the engine.
pub(super) struct Newcomer {
    pub(super) kind: Kind,
    /// Through which he comes; none for one who is dialled.
    pub(super) listener: Option<ListenerId>,
    /// By way of a proxy.
    pub(super) is_proxied: bool,
    pub(super) now: Instant,
}

impl Newcomer {
    /// One who is to be dialled.
    pub(super) fn dialled(kind: Kind, now: Instant) -> Newcomer {
        Newcomer { kind, listener: None, is_proxied: false, now }
    }
}

/// Makes a socket with its peer, and the record of both under one number.
pub(super) fn introduce(
    model: &Rc<RefCell<Model>>,
    kernel: &Rc<RefCell<Kernel>>,
    random: &mut Random,
    plan: &Plan,
    newcomer: Newcomer,
) -> usize {
    let Newcomer { kind, listener, is_proxied, now } = newcomer;
    let mut model = model.borrow_mut();
    let most = if plan.options.inbound_limit >= 100_000 { 100_000 } else { 3_000 };
    let client = client(model.records.len(), random.one_in(3));
    let preface = is_proxied.then(|| Preface::draw(random, client, plan.is_gentle));
    let role = if listener.is_some() { Role::Client } else { Role::Server };
    let script = Rc::new(Script::draw(random, &kind, role, most, preface));
    let peer = Peer::draw(random, plan.is_gentle);
    let is_unix = listener.is_some() && random.one_in(4);
    let index = kernel.borrow_mut().add(Rc::clone(&script), is_unix, listener.is_none(), peer);
    // Behind what is no header nobody begins with TLS.
    let is_sealed = kind.turns != Some(Turn::Tls) && script.goes_on();
    if let Some(keys) = kind.keys.as_ref().filter(|_| is_sealed) {
        let seal = Seal::new(random, keys, role, &script.bytes, script.proxied);
        let socket = &mut kernel.borrow_mut().sockets[index];
        socket.sent = seal.stream.len();
        socket.seal = Some(Box::new(seal));
    }
    model.records.push(Record::new(kind, listener, script, now));
    debug_assert_eq!(index + 1, model.records.len(), "a socket for each record");
    index
}

/// Connections that a world begins at most.
const MOST: usize = 40;

/// The address by which a peer is known again, or the proxy through which it comes; few have many.
pub(super) fn address(index: usize, is_proxied: bool) -> SocketAddr {
    let second = if is_proxied { 9 } else { 0 };
    SocketAddr::from(([10, second, 0, index as u8 % 3], index as u16))
}

/// The address that a proxy gives its client.
fn client(index: usize, is_v6: bool) -> SocketAddr {
    match is_v6 {
        true => SocketAddr::from(([0x2001, 0xdb8, 0, index as u16 % 3, 0, 0, 0, 1], index as u16)),
        false => SocketAddr::from(([172, 16, 0, index as u8 % 3], index as u16)),
    }
}

/// Whom the connection of a record is with, as the handler is to see it.
fn peer_of(index: usize, record: &Record) -> SocketAddr {
    match record.script.says {
        Some(Says::Client(client)) => client,
        says => address(index, says.is_some()),
    }
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
        let (peer, should) = (conn.peer_addr(), peer_of(index, &model.records[index]));
        if conn.listener().is_some() && peer != Some(should) {
            model.fail(conn.id(), format!("is with {peer:?}, not with {should}"));
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
        let newcomer = Newcomer::dialled(kind.clone(), reactor.now());
        let index = introduce(&self.model, &self.kernel, &mut self.random, &plan, newcomer);
        let timeout = Duration::from_millis(self.random.pick(&[1, 40, 10_000]));
        let to = kind.connect().timeout(timeout).tag(Tag(index as u64));
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
