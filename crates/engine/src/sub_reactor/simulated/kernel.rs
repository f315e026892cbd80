//! A kernel in memory that misbehaves as real ones may, and never worse: no edge is lost that a real one would tell of, and
//! none repeated that a real one would not.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind, IoSlice},
    os::fd::RawFd,
    rc::Rc,
};

use super::{
    peer::Peer,
    random::Random,
    script::Script,
    socket::{Ready, Socket},
    trace::Trace,
};
use crate::{ConnId, Connect, id::Sequence, io::Simulator};

/// How often it does what one would rather it did not: once in so many calls, never for 0.
#[derive(Clone, Copy)]
pub(super) struct Habits {
    pub(super) interrupts: usize,
    /// Takes or gives less than it could.
    pub(super) short: usize,
    /// Gives nothing although there is something, and tells of it anew.
    pub(super) spurious: usize,
    /// The network goes on between two calls.
    pub(super) meanwhile: usize,
    /// Whether a change of interest looks at the input too, and an event tells more than what made it.
    pub(super) is_talkative: bool,
    /// Socket buffers, in bytes.
    pub(super) send_buffer: usize,
}

pub(super) struct Kernel {
    pub(super) sockets: Vec<Socket>,
    pub(super) peers: Vec<Peer>,
    names: BTreeMap<u32, usize>,
    /// Accepted, and on their way to the reactor, in this order.
    pub(super) handed_over: VecDeque<usize>,
    /// Descriptors that stand for sockets which the reactor is to adopt.
    pub(super) carriers: BTreeMap<RawFd, usize>,
    habits: Habits,
    random: Random,
    pub(super) trace: Trace,
    /// The first call that nobody should have made.
    pub(super) failure: Option<String>,
    /// Calls answered with anything but `EINTR`.
    pub(super) calls: u64,
    /// Sockets that something was read from, and that something was taken from, since somebody last looked.
    pub(super) read_from: Vec<usize>,
    pub(super) taken_from: Vec<usize>,
}

impl Kernel {
    pub(super) fn new(seed: u64, habits: Habits) -> Kernel {
        Kernel {
            sockets: Vec::new(),
            peers: Vec::new(),
            names: BTreeMap::new(),
            handed_over: VecDeque::new(),
            carriers: BTreeMap::new(),
            habits,
            random: Random::new(seed),
            trace: Trace::default(),
            failure: None,
            calls: 0,
            read_from: Vec::new(),
            taken_from: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, script: Rc<Script>, is_unix: bool, is_dialled: bool, peer: Peer) -> usize {
        let capacity = self.habits.send_buffer;
        self.sockets.push(Socket::new(script, is_unix, is_dialled, capacity));
        self.peers.push(peer);
        self.sockets.len() - 1
    }

    /// The reactor has given a socket's connection its name.
    pub(super) fn name(&mut self, index: usize, id: ConnId) {
        match self.sockets[index].id.replace(id) {
            None => _ = self.names.insert(id.sequence().0, index),
            Some(known) if known == id => {}
            Some(known) => self.fail(format!("socket {index} is {known}'s, and {id}'s")),
        }
    }

    /// The socket of a connection that is there.
    pub(super) fn find(&self, name: Sequence) -> Option<usize> {
        self.names.get(&name.0).copied()
    }

    /// A socket was taken out: nobody in the engine knows it any more.
    pub(super) fn take_out(&mut self, index: usize) {
        if self.sockets[index].is_watched {
            self.fail(format!("socket {index} was given away, and is watched still"));
        }
        if let Some(id) = self.sockets[index].id.take() {
            self.names.remove(&id.sequence().0);
        }
    }

    /// A socket that was taken out begins anew, under another number; under its old one nothing is left.
    pub(super) fn pass_on(&mut self, from: usize) -> usize {
        let script = Rc::clone(&self.sockets[from].script);
        let mut husk = Socket::new(script, false, false, 0);
        husk.close(false);
        let socket = std::mem::replace(&mut self.sockets[from], husk);
        self.sockets.push(socket);
        self.peers.push(self.peers[from].clone());
        self.sockets.len() - 1
    }

    /// What happens on the network in a while.
    pub(super) fn step(&mut self) {
        for index in 0..self.sockets.len() {
            self.step_one(index);
        }
    }

    fn step_one(&mut self, index: usize) {
        self.peers[index].step(&mut self.sockets[index], &mut self.random);
    }

    pub(super) fn calm_down(&mut self) {
        self.peers.iter_mut().for_each(Peer::calm_down);
    }

    pub(super) fn has_events(&self) -> bool {
        self.sockets.iter().any(Socket::is_woken)
    }

    /// One batch of events, at most so many, in whatever order: the others come with the next.
    pub(super) fn wait(&mut self, most: usize) -> Vec<(ConnId, Ready)> {
        let mut woken: Vec<usize> =
            (0..self.sockets.len()).filter(|&index| self.sockets[index].is_woken()).collect();
        for index in (1..woken.len()).rev() {
            woken.swap(index, self.random.below(index + 1));
        }
        woken.truncate(most);
        let mut events = Vec::new();
        for index in woken {
            let also = self.habits.is_talkative || self.random.one_in(4);
            let ready = self.sockets[index].tell(also);
            if let (Some(id), false) = (self.sockets[index].id, ready.is_empty()) {
                self.trace.note(format_args!("event on {index}: {ready:?}"));
                events.push((id, ready));
            }
        }
        events
    }

    /// The socket of that name, as long as it is open.
    fn open(&mut self, name: Sequence, call: &str) -> Option<usize> {
        let index = self.find(name);
        match index.filter(|&index| self.sockets[index].closed.is_none()) {
            None => self.fail(format!("{call} on a socket that is not open, {}", name.0)),
            Some(index) if self.sockets[index].is_connecting && !WHILE_CONNECTING.contains(&call) => {
                self.fail(format!("{call} while connecting, {}", name.0));
            }
            Some(_) => {}
        }
        self.calls += 1;
        index
    }

    pub(super) fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    fn interrupts(&mut self) -> bool {
        self.random.one_in(self.habits.interrupts)
    }

    /// The network does not wait for the end of a turn.
    fn meanwhile(&mut self, index: usize) {
        if self.random.one_in(self.habits.meanwhile) {
            self.step_one(index);
            let other = self.random.below(self.sockets.len());
            self.step_one(other);
        }
    }

    fn receive(&mut self, name: Sequence, buffer: &mut [u8]) -> io::Result<usize> {
        if self.interrupts() {
            return Err(ErrorKind::Interrupted.into());
        }
        let Some(index) = self.open(name, "recv") else { return Err(ErrorKind::NotConnected.into()) };
        if buffer.is_empty() {
            self.fail(format!("recv without room on socket {index}: its 0 would be taken for the end"));
        }
        self.meanwhile(index);
        let Habits { short, spurious, .. } = self.habits;
        let socket = &mut self.sockets[index];
        // Less than there is: on TCP the rest might as well have come a moment later, and then makes an edge; on Unix
        // sockets it is where descriptors were passed, and makes none.
        let is_last = socket.fin_arrived || socket.is_broken;
        let mut most = usize::MAX;
        if socket.unread() > 0 && (socket.is_unix || !is_last) {
            if self.random.one_in(short) {
                most = 1 + self.random.below(socket.unread());
            }
            if !socket.is_unix && self.random.one_in(spurious) {
                socket.wake(Ready::IN);
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        let is_cut = most < socket.unread().min(buffer.len());
        let received = socket.receive(buffer, most);
        if is_cut && !socket.is_unix {
            socket.wake(Ready::IN);
        }
        self.trace.note(format_args!("recv on {index}: {received:?}"));
        self.read_from.extend(received.as_ref().ok().filter(|&&n| n > 0).map(|_| index));
        self.meanwhile(index);
        received
    }

    fn send(&mut self, name: Sequence, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.interrupts() {
            return Err(ErrorKind::Interrupted.into());
        }
        let Some(index) = self.open(name, "send") else { return Err(ErrorKind::NotConnected.into()) };
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if len == 0 {
            self.fail(format!("send of nothing on socket {index}"));
        }
        if self.sockets[index].fin_said {
            self.fail(format!("send behind the FIN on socket {index}"));
        }
        self.meanwhile(index);
        let is_short = self.random.one_in(self.habits.short);
        let most = if is_short { self.random.below(len) } else { usize::MAX };
        let socket = &mut self.sockets[index];
        let sent = socket.send(pieces, most);
        self.trace.note(format_args!("send on {index} of {len}: {sent:?}"));
        self.taken_from.extend(sent.as_ref().ok().map(|_| index));
        self.meanwhile(index);
        sent
    }
}

/// What may be asked of a socket before it is connected.
const WHILE_CONNECTING: [&str; 2] = ["SO_ERROR", "epoll_ctl"];

/// The kernel, as the reactor and the world share it.
#[derive(Clone)]
pub(super) struct Calls(pub(super) Rc<RefCell<Kernel>>);

impl Simulator for Calls {
    fn register(&mut self, id: ConnId, descriptor: Option<i32>) {
        let kernel = &mut *self.0.borrow_mut();
        let index = match descriptor {
            Some(descriptor) => kernel.carriers.remove(&descriptor),
            None => kernel.handed_over.pop_front(),
        };
        let Some(index) = index else { return kernel.fail(format!("nobody knows what {id} watches")) };
        kernel.trace.note(format_args!("{index} is watched as {id}"));
        kernel.name(index, id);
        kernel.sockets[index].watch(false);
    }

    fn deregister(&mut self, socket: Sequence) {
        let kernel = &mut *self.0.borrow_mut();
        if let Some(index) = kernel.open(socket, "EPOLL_CTL_DEL") {
            kernel.sockets[index].unwatch();
        }
    }

    fn dial(&mut self, id: ConnId, to: &Connect) {
        let kernel = &mut *self.0.borrow_mut();
        let index = to.tag.0 as usize;
        kernel.name(index, id);
        kernel.sockets[index].watch(true);
    }

    fn receive(&mut self, socket: Sequence, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().receive(socket, buffer)
    }

    fn send(&mut self, socket: Sequence, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.borrow_mut().send(socket, pieces)
    }

    fn shutdown_write(&mut self, socket: Sequence) -> io::Result<()> {
        let kernel = &mut *self.0.borrow_mut();
        let Some(index) = kernel.open(socket, "shutdown") else { return Err(ErrorKind::NotConnected.into()) };
        if kernel.sockets[index].fin_said {
            kernel.fail(format!("a second FIN on socket {index}"));
        }
        let outcome = kernel.sockets[index].shutdown_write();
        kernel.trace.note(format_args!("shutdown on {index}: {outcome:?}"));
        outcome
    }

    fn take_error(&mut self, socket: Sequence) -> Option<io::Error> {
        let kernel = &mut *self.0.borrow_mut();
        let index = kernel.open(socket, "SO_ERROR")?;
        kernel.sockets[index].error.take().map(io::Error::from)
    }

    fn watch_writable(&mut self, socket: Sequence, on: bool) {
        let kernel = &mut *self.0.borrow_mut();
        let again = kernel.habits.is_talkative;
        if let Some(index) = kernel.open(socket, "epoll_ctl") {
            kernel.trace.note(format_args!("epoll_ctl on {index}, for room: {on}"));
            kernel.sockets[index].watch_room(on, again);
        }
    }

    fn close(&mut self, socket: Sequence, with_reset: bool) {
        let kernel = &mut *self.0.borrow_mut();
        // Also while connecting: it is given up.
        let Some(index) = kernel.find(socket) else {
            return kernel.fail(format!("close of a socket that nobody knows, {}", socket.0));
        };
        if kernel.sockets[index].closed.is_some() {
            kernel.fail(format!("socket {index} was closed twice"));
        }
        kernel.trace.note(format_args!("close on {index}, with a reset: {with_reset}"));
        kernel.sockets[index].close(with_reset);
    }
}
