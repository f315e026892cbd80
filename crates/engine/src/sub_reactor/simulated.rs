//! The sub-reactor's logic over a simulated kernel: short reads and writes, `EINTR`, `EAGAIN`, and edges that come late. A
//! failing seed is named, and replays alone.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{self, ErrorKind, IoSlice},
    rc::Rc,
};

use super::{read::ReadBuffer, serve::Readiness, stage::Stage};
use crate::{
    Action, Closed, Conn, ConnId, Framing, Handler, Listener, ListenerId, Message, Sent,
    accept::Accepted,
    connection::{Connection, Flags},
    id::{Key, Sequence},
    io::{Io, Simulator},
    options::Options,
    parts::Parts,
};

/// splitmix64: small, seeded, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One socket, seen from the peer's side.
#[derive(Default)]
struct Socket {
    /// Sent by the peer, not arrived yet.
    coming: Vec<u8>,
    /// In the kernel's receive buffer.
    arrived: Vec<u8>,
    fin_sent: bool,
    fin_arrived: bool,
    /// Free room in the kernel's send buffer.
    window: usize,
    was_full: bool,
    received_by_peer: Vec<u8>,
}

struct Kernel {
    random: Random,
    sockets: HashMap<u32, Socket>,
}

#[derive(Clone)]
struct Shared(Rc<RefCell<Kernel>>);

impl Simulator for Shared {
    fn receive(&mut self, of: Sequence, buffer: &mut [u8]) -> io::Result<usize> {
        let kernel = &mut *self.0.borrow_mut();
        if kernel.random.below(8) == 0 {
            return Err(ErrorKind::Interrupted.into());
        }
        let socket = kernel.sockets.get_mut(&of.0).expect("an open socket");
        let n = socket.arrived.len().min(buffer.len());
        if n == 0 {
            return if socket.fin_arrived { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        buffer[..n].copy_from_slice(&socket.arrived[..n]);
        socket.arrived.drain(..n);
        Ok(n)
    }

    fn send(&mut self, of: Sequence, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let kernel = &mut *self.0.borrow_mut();
        if kernel.random.below(8) == 0 {
            return Err(ErrorKind::Interrupted.into());
        }
        let socket = kernel.sockets.get_mut(&of.0).expect("an open socket");
        let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let n = all.len().min(socket.window);
        socket.was_full |= n < all.len();
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        socket.window -= n;
        socket.received_by_peer.extend_from_slice(&all[..n]);
        Ok(n)
    }

    fn shutdown_write(&mut self, _: Sequence) -> io::Result<()> {
        Ok(())
    }

    fn take_error(&mut self, _: Sequence) -> Option<io::Error> {
        None
    }

    fn watch_writable(&mut self, _: Sequence, _: bool) {}

    fn close(&mut self, _: Sequence, _: bool) {}
}

/// Echoes, and now and then wants to be asked again, or pauses.
struct Echo {
    random: Random,
    held: Vec<ConnId>,
    closed: usize,
}

impl Handler for Echo {
    type Session = bool;

    fn on_message(&mut self, conn: &mut Conn<'_>, was_held: &mut bool, message: Message<'_>) -> Action {
        if !*was_held && self.random.below(6) == 0 {
            *was_held = true;
            self.held.push(conn.id());
            return Action::Hold;
        }
        *was_held = false;
        if self.random.below(10) == 0 {
            conn.pause();
            self.held.push(conn.id());
        }
        let sent =
            if self.random.below(2) == 0 { conn.send(message) } else { conn.send(message.to_payload()) };
        assert!(matches!(sent, Sent::Accepted | Sent::Full), "{sent:?}");
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, _: bool) {
        assert_eq!(closed.unsent(), 0, "{}", closed.reason());
        self.closed += 1;
    }
}

struct World {
    seed: u64,
    kernel: Shared,
    stage: Stage<Echo>,
    buffer: ReadBuffer,
    /// Each connection, and what its peer sends in all.
    connections: Vec<(ConnId, Vec<u8>)>,
}

impl World {
    fn new(seed: u64, framing: Framing) -> World {
        let mut random = Random(seed);
        let options = Options {
            reactors: 1,
            read_buffer: 1024 << random.below(3),
            read_budget: 1024 << random.below(4),
            ..Options::default()
        };
        let listener = Listener::new("tcp://127.0.0.1:0").framing(framing).water_marks(500, 2_000, 1 << 24);
        let buffer = ReadBuffer::new(options.read_buffer);
        let mut core = Parts::new(vec![listener], options, Vec::new()).expect("parts").into_core();
        let kernel =
            Shared(Rc::new(RefCell::new(Kernel { random: Random(seed ^ 1), sockets: HashMap::new() })));
        core.io = Io::Simulated(Box::new(kernel.clone()));
        let handler = Echo { random: Random(seed ^ 2), held: Vec::new(), closed: 0 };
        let stage = Stage::new(handler, core);
        let mut world = World { seed, kernel, stage, buffer, connections: Vec::new() };
        for _ in 0..1 + random.below(4) {
            world.connect(&mut random);
        }
        world
    }

    fn connect(&mut self, random: &mut Random) {
        let mut sends = Vec::new();
        for _ in 0..random.below(30) {
            let longest = if random.below(5) == 0 { 6_000 } else { 60 };
            let line = random.below(longest);
            sends.extend((0..line).map(|_| b'a' + random.below(26) as u8));
            sends.push(b'\n');
        }
        let socket = Socket { coming: sends.clone(), ..Socket::default() };
        let core = &self.stage.core;
        let (reactor, sequence) = (core.id, core.connections.next_sequence());
        self.kernel.0.borrow_mut().sockets.insert(sequence.0, socket);
        let accepted = Accepted {
            fd: None,
            peer: None,
            listener: ListenerId(0),
            is_unix: false,
            is_counted: false,
            is_proxied: false,
        };
        self.stage.admit(accepted);
        let key = Key(self.connections.len() as u32);
        self.connections.push((ConnId::new(reactor, key, sequence), sends));
    }

    /// Something arrives, something is read by the peer, and the reactor hears of it.
    fn turn(&mut self, random: &mut Random) {
        for index in 0..self.connections.len() {
            let id = self.connections[index].0;
            let ready = {
                let kernel = &mut *self.kernel.0.borrow_mut();
                let Some(socket) = kernel.sockets.get_mut(&id.sequence().0) else { continue };
                let n = random.below(3_000).min(socket.coming.len());
                socket.arrived.extend(socket.coming.drain(..n));
                let fin = socket.coming.is_empty() && !socket.fin_sent && random.below(3) == 0;
                socket.fin_sent |= fin;
                socket.fin_arrived |= fin;
                socket.window += random.below(2_500);
                let writable = socket.was_full && socket.window > 0;
                socket.was_full &= !writable;
                Readiness::simulated(n > 0 || fin, writable, fin)
            };
            if ready.is_any() && self.stage.core.is_here(id) {
                self.stage.serve(id, ready, &mut self.buffer);
            }
        }
        self.stage.serve_ready(&mut self.buffer);
        if random.below(2) == 0 {
            for id in std::mem::take(&mut self.stage.handler.held) {
                if self.stage.core.is_here(id) {
                    self.stage.core.resume(id.key());
                }
            }
        }
        self.stage.end_turn();
        self.check();
    }

    /// What must be true between any two turns.
    fn check(&self) {
        let core = &self.stage.core;
        let keys: Vec<Key> = core.connections.keys_from(Key(0)).collect();
        let held: usize =
            keys.iter().filter_map(|&key| core.connections.get(key)).map(Connection::storage).sum();
        assert_eq!(core.buffered(), held, "seed {}: storage is accounted for", self.seed);
        for key in keys {
            let Some(connection) = core.connections.get(key) else { continue };
            assert_eq!(core.corked(key), 0, "seed {}: the cork is empty", self.seed);
            assert!(
                connection.queued() == 0 || connection.flags.contains(Flags::WRITE_INTEREST),
                "seed {}: what waits is waited for",
                self.seed
            );
            assert!(
                !connection.flags.contains(Flags::UNSERVED)
                    || connection.flags.intersects(Flags::PAUSES | Flags::IN_READY),
                "seed {}: nobody is forgotten",
                self.seed
            );
        }
    }

    fn run(mut self) {
        let mut random = Random(self.seed ^ 3);
        for _ in 0..20_000 {
            self.turn(&mut random);
            if self.stage.handler.closed == self.connections.len() {
                break;
            }
        }
        for (id, sends) in &self.connections {
            let kernel = self.kernel.0.borrow();
            let socket = &kernel.sockets[&id.sequence().0];
            assert_eq!(socket.received_by_peer.len(), sends.len(), "seed {}, connection {id}", self.seed);
            assert!(socket.received_by_peer == *sends, "seed {}, connection {id}: other bytes", self.seed);
        }
        assert_eq!(self.stage.handler.closed, self.connections.len(), "seed {}: all are closed", self.seed);
        assert_eq!(self.stage.core.buffered(), 0, "seed {}: all storage is back", self.seed);
    }
}

/// `WHEELHOUSE_SEED=17` replays one, `WHEELHOUSE_SEEDS=100000` tries as many.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    match number("WHEELHOUSE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WHEELHOUSE_SEEDS").unwrap_or(400),
    }
}

#[test]
fn raw_bytes_come_back_whole_through_any_kernel() {
    seeds().for_each(|seed| World::new(seed, Framing::raw()).run());
}

#[test]
fn lines_come_back_whole_through_any_kernel() {
    seeds().for_each(|seed| World::new(seed, Framing::lines(8_192)).run());
}
