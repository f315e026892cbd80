//! The kernel in memory: its sockets, and the edges that are due.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{self, ErrorKind, IoSlice},
    rc::Rc,
    sync::Arc,
};

use slab::Slab;

use super::{
    Dialled,
    socket::{Socket, State},
};
use crate::{Address, ConnId, Connect, id::Sequence, io::Simulator, shared::Shared, sub_reactor::Readiness};

/// What one bench has in the kernel's place. It is honest: an edge is due when something has arrived, or room has appeared
/// where there was none, and never because something still waits.
pub(super) struct Kernel {
    shared: Arc<Shared>,
    /// Every socket there ever was: a client remembers what it has received.
    sockets: HashMap<u32, Socket>,
    /// Those with an edge, in order.
    edges: Vec<Sequence>,
    descriptors: Slab<()>,
    /// What was dialled since somebody last asked.
    pub(super) dialled: Vec<Dialled>,
    /// Who was accepted last.
    pub(super) newest: Option<ConnId>,
}

impl Kernel {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Kernel {
            shared,
            sockets: HashMap::new(),
            edges: Vec::new(),
            descriptors: Slab::new(),
            dialled: Vec::new(),
            newest: None,
        }
    }

    /// The socket of that connection.
    ///
    /// # Panics
    /// When there never was one.
    #[track_caller]
    pub(super) fn socket(&self, id: ConnId) -> &Socket {
        match self.sockets.get(&id.sequence().0) {
            Some(socket) if socket.id == id => socket,
            _ => panic!("connection {id} is not one of this bench's"),
        }
    }

    #[track_caller]
    pub(super) fn socket_mut(&mut self, id: ConnId) -> &mut Socket {
        match self.sockets.get_mut(&id.sequence().0) {
            Some(socket) if socket.id == id => socket,
            _ => panic!("connection {id} is not one of this bench's"),
        }
    }

    /// Notes that a socket has an edge.
    pub(super) fn put_edge(&mut self, of: Sequence) {
        if let Some(socket) = self.sockets.get_mut(&of.0)
            && !std::mem::replace(&mut socket.has_edge, true)
        {
            self.edges.push(of);
        }
    }

    /// What the next turn is told: the sockets with an edge, as they are now.
    pub(super) fn take_events(&mut self) -> Vec<(ConnId, Readiness)> {
        let Kernel { edges, sockets, .. } = self;
        let events = edges.drain(..).filter_map(|of| {
            let socket = sockets.get_mut(&of.0)?;
            socket.has_edge = false;
            let ready = socket.readiness();
            ready.is_any().then_some((socket.id, ready))
        });
        events.collect()
    }

    fn insert(&mut self, id: ConnId, socket: Socket) -> &mut Socket {
        self.sockets.entry(id.sequence().0).insert_entry(socket).into_mut()
    }

    /// Gives a socket a place in the engine's index, as if it had a descriptor. A process's own begin behind the three that
    /// every process has.
    fn index(&mut self, id: ConnId) -> i32 {
        let descriptor = self.descriptors.insert(()) as i32 + FIRST_DESCRIPTOR;
        self.shared.fds.insert(descriptor, id);
        descriptor
    }

    fn leave_index(&mut self, of: Sequence) {
        let descriptor = self.sockets.get_mut(&of.0).and_then(|socket| socket.descriptor.take());
        if let Some(descriptor) = descriptor {
            self.shared.fds.remove(descriptor);
            self.descriptors.remove((descriptor - FIRST_DESCRIPTOR) as usize);
        }
    }

    fn call<T>(&mut self, of: Sequence, call: impl FnOnce(&mut Socket) -> T) -> io::Result<T> {
        self.sockets.get_mut(&of.0).map(call).ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// A call that may bring about an edge.
    fn stir(&mut self, of: Sequence, call: impl FnOnce(&mut Socket) -> bool) {
        if let Ok(true) = self.call(of, call) {
            self.put_edge(of);
        }
    }
}

const FIRST_DESCRIPTOR: i32 = 3;

impl Simulator for Rc<RefCell<Kernel>> {
    fn register(&mut self, id: ConnId, descriptor: Option<i32>) {
        let kernel = &mut *self.borrow_mut();
        // The engine itself indexes a descriptor that is real.
        let descriptor = if descriptor.is_none() { Some(kernel.index(id)) } else { None };
        kernel.insert(id, Socket::new(id, State::Connected, descriptor));
        kernel.newest = Some(id);
    }

    fn deregister(&mut self, of: Sequence) {
        let kernel = &mut *self.borrow_mut();
        kernel.leave_index(of);
        let _ = kernel.call(of, |socket| socket.state = State::Closed);
    }

    fn dial(&mut self, id: ConnId, to: &Connect) {
        let kernel = &mut *self.borrow_mut();
        let descriptor = Some(kernel.index(id));
        let socket = kernel.insert(id, Socket::new(id, State::Dialled, descriptor));
        socket.dialled = match to.url.parse() {
            Ok(Address::Tcp(address)) => Some(address),
            _ => None,
        };
        kernel.dialled.push(Dialled { id, url: to.url.clone(), tag: to.tag });
    }

    fn receive(&mut self, of: Sequence, buffer: &mut [u8]) -> io::Result<usize> {
        self.borrow_mut().call(of, |socket| socket.receive(buffer))?
    }

    fn send(&mut self, of: Sequence, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.borrow_mut().call(of, |socket| socket.send(pieces))?
    }

    fn shutdown_write(&mut self, of: Sequence) -> io::Result<()> {
        self.borrow_mut().stir(of, Socket::shutdown_write);
        Ok(())
    }

    fn take_error(&mut self, of: Sequence) -> Option<io::Error> {
        self.borrow_mut().call(of, Socket::take_error).ok()?
    }

    fn watch_writable(&mut self, of: Sequence, on: bool) {
        self.borrow_mut().stir(of, |socket| socket.watch_writable(on));
    }

    fn close(&mut self, of: Sequence, with_reset: bool) {
        let kernel = &mut *self.borrow_mut();
        kernel.leave_index(of);
        let _ = kernel.call(of, |socket| socket.close(with_reset));
    }
}
