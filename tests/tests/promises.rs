//! Promises that were broken once, each where two parts of the engine meet.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    any::Any,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Sender, channel},
    time::{Duration, Instant},
};

use wheelhouse::{
    Action, Address, Audience, Builder, CloseReason, Closed, Conn, ConnId, Connect, Decoded, Engine, Framing,
    Handle, Handler, Input, Listener, Message, Output, Payload, Protocol, ProtocolError, Reactor, ReactorId,
    Refusal, Running, Spot,
};

const PATIENCE: Duration = Duration::from_secs(15);

fn start<H: Handler>(
    builder: Builder,
    make: impl Fn(&Spot<H>) -> H + Send + Sync + 'static,
) -> (SocketAddr, Handle, Running) {
    let engine = builder.build(make).unwrap();
    let at = match engine.addresses().first() {
        Some(Address::Tcp(at)) => *at,
        _ => ([127, 0, 0, 1], 0).into(),
    };
    (at, engine.handle(), engine.start().unwrap())
}

fn client(at: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Broadcasts every line, and holds the line for which the mailbox has no room.
struct Room {
    everyone: Handle,
    held: Vec<ConnId>,
}

impl Handler for Room {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), line: Message<'_>) -> Action {
        if self.everyone.broadcast(Audience::Open, line.to_payload()).is_ok() {
            return Action::Continue;
        }
        self.held.push(conn.id());
        Action::Hold
    }

    fn on_room(&mut self, _: &mut Reactor<'_>, _: ReactorId) {
        self.held.drain(..).for_each(|id| self.everyone.resume(id));
    }
}

/// A broadcast has its place until the last connection is served, which is late in a turn.
#[test]
fn who_holds_a_line_for_want_of_room_is_told_of_room_whenever_in_the_turn_it_comes() {
    for reactors in [1, 2] {
        let lines = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(80));
        let builder = Engine::builder().listen(lines).reactors(reactors).mailbox(16);
        let (at, handle, running) = start(builder, |spot| Room { everyone: spot.handle(), held: Vec::new() });
        let mut peer = client(at);
        let lines: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        peer.write_all(lines.as_bytes()).unwrap();
        let mut heard = vec![0; lines.len()];
        peer.read_exact(&mut heard).unwrap();
        assert!(heard == lines.as_bytes(), "other lines, or in another order");
        handle.shutdown();
        running.join().unwrap();
    }
}

/// Fills its own mailbox from `on_close`.
struct Filler {
    handle: Handle,
    told: Sender<&'static str>,
}

impl Handler for Filler {
    type Session = ();

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
        Action::Close
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, (): ()) {
        while self.handle.send(closed.id(), "x").is_ok() {}
        let _ = self.told.send("refused");
    }

    fn on_room(&mut self, _: &mut Reactor<'_>, _: ReactorId) {
        let _ = self.told.send("room");
    }
}

#[test]
fn a_refusal_in_on_close_is_followed_by_the_news_of_room() {
    let (told, tells) = channel();
    let builder = Engine::builder().listen("tcp://127.0.0.1:0").reactors(1).mailbox(16);
    let (at, handle, running) =
        start(builder, move |spot| Filler { handle: spot.handle(), told: told.clone() });
    client(at).write_all(b"close").unwrap();
    assert_eq!(tells.recv_timeout(PATIENCE), Ok("refused"));
    assert_eq!(tells.recv_timeout(PATIENCE), Ok("room"));
    handle.shutdown();
    running.join().unwrap();
}

/// A protocol that panics while it encodes.
struct Touchy;

impl Protocol for Touchy {
    fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        Ok(Decoded::Need(input.len() + 1))
    }

    fn encode(&self, _: &Payload<'_>, _: &mut Output<'_>) -> Result<(), Refusal> {
        panic!("touchy")
    }
}

/// Dials, and sends before it is connected.
struct Eager {
    to: SocketAddr,
    told: Sender<String>,
}

impl Handler for Eager {
    type Session = ();

    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        let to = Connect::to(format!("tcp://{}", self.to)).framing(Framing::custom(Touchy));
        let id = reactor.connect(to).unwrap();
        reactor.conn(id).unwrap().send("x");
    }

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, (): ()) {
        let _ = self.told.send(format!("{}, opened: {}", closed.reason(), closed.opened()));
    }

    fn on_panic(&mut self, _: &mut Reactor<'_>, _: &(dyn Any + Send)) {
        let _ = self.told.send("panic".to_owned());
    }
}

#[test]
fn a_protocol_that_panics_before_the_open_closes_the_connection_with_a_word() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = peer.local_addr().unwrap();
    let (told, tells) = channel();
    let (_, handle, running) =
        start(Engine::builder().reactors(1), move |_| Eager { to, told: told.clone() });
    let mut heard = [0; 2].map(|_| tells.recv_timeout(PATIENCE).unwrap());
    heard.sort();
    assert_eq!(heard, ["a callback panicked, opened: false", "panic"]);
    handle.shutdown();
    running.join().unwrap();
    assert!(tells.recv().is_err(), "once");
}

/// Fills the queue at once, and tells why it closes.
struct Flood(Sender<CloseReason>);

impl Handler for Flood {
    type Session = ();

    fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
        while !conn.send("x".repeat(1000)).is_full() {}
        Action::Continue
    }

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, (): ()) {
        let _ = self.0.send(*closed.reason());
    }
}

/// Nobody reads what the peer sends while the queue is above its high mark: its silence is ours.
#[test]
fn a_heartbeat_does_not_close_a_peer_that_reads_slowly_and_answers() {
    let (told, tells) = channel();
    let (every, timeout) = (Duration::from_millis(50), Duration::from_millis(200));
    let listener = Listener::new("tcp://127.0.0.1:0")
        .framing(Framing::lines(4096).with_heartbeat("PING", "PONG"))
        .heartbeat(every, timeout);
    let builder = Engine::builder().listen(listener).reactors(1);
    let (at, handle, running) = start(builder, move |_| Flood(told.clone()));
    let mut peer = client(at);
    let (begun, mut buffer) = (Instant::now(), [0; 4000]);
    while begun.elapsed() < 5 * timeout {
        peer.write_all(b"PONG\n").unwrap();
        assert!(peer.read(&mut buffer).unwrap() > 0);
        assert!(tells.try_recv().is_err(), "closed after {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    handle.shutdown();
    running.join().unwrap();
    assert_eq!(tells.recv(), Ok(CloseReason::Shutdown));
}

#[test]
fn a_drain_may_take_as_long_as_it_likes() {
    let (told, tells) = channel();
    let builder = Engine::builder().listen("tcp://127.0.0.1:0").reactors(1);
    let (at, handle, running) =
        start(builder, move |spot| Filler { handle: spot.handle(), told: told.clone() });
    let mut peer = client(at);
    while handle.stats().total().opened == 0 {
        std::thread::yield_now();
    }
    handle.drain(Duration::MAX);
    peer.write_all(b"close").unwrap();
    running.join().unwrap();
    assert_eq!(tells.recv(), Ok("refused"));
}
