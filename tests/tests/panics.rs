//! A panic closes the one connection whose callback it was in, is told, and harms nobody else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use wheelhouse::{
    Action, CloseReason, Closed, Conn, ConnId, Decoded, Engine, Error, Framing, Handler, Input, Listener,
    Message, Output, Payload, Protocol, ProtocolError, Reactor, ReactorId, Refusal, TimerKind,
};
use wheelhouse_tests::{
    Bench, Event, Script, Server, blow_up, connect, one_listener, one_reactor, read_exactly, read_to_end,
    until, wait_for_end,
};

const TICK: TimerKind = TimerKind(1);

/// A connection that must live through everything.
struct Bystander(TcpStream, ConnId);

impl Bystander {
    #[track_caller]
    fn new(bench: &Bench) -> Bystander {
        let (stream, id) = bench.connect();
        Bystander(stream, id)
    }

    #[track_caller]
    fn is_served(&mut self, bench: &Bench) {
        bench.ask(self.1, |conn, _| conn.send("!"));
        assert_eq!(read_exactly(&mut self.0, 1), b"!");
    }
}

#[track_caller]
fn panics_once(
    script: impl Fn() -> Script + Send + Sync + 'static,
    lead: impl Fn(&Bench, &mut TcpStream, ConnId),
) {
    let bench = Bench::raw(move |_| script());
    let mut bystander = Bystander::new(&bench);
    let (mut stream, id) = bench.connect();
    stream.write_all(b"armed").unwrap();
    assert_eq!(bench.message(id), b"armed");
    lead(&bench, &mut stream, id);
    assert_eq!(bench.panicked(), "as planned");
    let gone = bench.closed(id);
    assert_eq!((gone.reason, gone.opened), (CloseReason::Panic, true));
    assert_eq!(gone.notes.bytes, b"armed", "the session is handed over all the same");
    let _ = wait_for_end(&mut stream);
    bystander.is_served(&bench);
    let stats = bench.poster();
    until("it is counted", || stats.stats().total().panics == 1);
    let late: Vec<_> = bench.stop().into_iter().filter(|event| event.conn() == Some(id)).collect();
    assert!(late.iter().all(|event| matches!(event.name(), "eof" | "timer" | "message")), "{late:?}");
}

/// Remembers `armed`; sets a timer when told to.
fn armed() -> Script {
    Script::new().on_message(|conn, notes, message| {
        match message.bytes() {
            b"armed" => notes.bytes.extend_from_slice(message.bytes()),
            b"timer" => conn.set_timer(TICK, Duration::from_millis(1)),
            b"panic" => blow_up("as planned"),
            _ => {}
        }
        Action::Continue
    })
}

#[test]
fn in_on_message() {
    panics_once(armed, |_, stream, _| stream.write_all(b"panic").unwrap());
}

#[test]
fn in_on_eof() {
    let script = || armed().on_eof(|_, _| blow_up("as planned"));
    panics_once(script, |_, stream, _| stream.shutdown(Shutdown::Write).unwrap());
}

#[test]
fn in_on_timer() {
    let script = || armed().on_timer(|_, _, _| blow_up("as planned"));
    panics_once(script, |_, stream, _| stream.write_all(b"timer").unwrap());
}

#[test]
fn in_a_posted_closure() {
    panics_once(armed, |bench, _, id| {
        assert!(bench.poster().post_to(id, |_, _, _| blow_up("as planned")).is_ok());
    });
}

#[test]
fn in_on_writable() {
    let listener = Listener::new("tcp://127.0.0.1:0").water_marks(0, 1, 64 << 20);
    let bench = Bench::start(one_listener(listener).send_buffer(16 << 10), |_| {
        Script::new().on_writable(|_, _| blow_up("as planned"))
    });
    let mut bystander = Bystander::new(&bench);
    let (mut stream, id) = bench.connect();
    assert!(bench.ask(id, |conn, _| conn.send(vec![1; 1 << 20])).is_full());
    let _ = wait_for_end(&mut stream);
    assert_eq!(bench.panicked(), "as planned");
    assert_eq!(bench.closed(id).reason, CloseReason::Panic);
    bystander.is_served(&bench);
}

#[test]
fn in_on_open() {
    static ARMED: AtomicBool = AtomicBool::new(false);
    let bench = Bench::raw(|_| {
        Script::new().on_open(|conn, _| {
            conn.send("never seen");
            if ARMED.load(Ordering::Relaxed) { blow_up("as planned") } else { Action::Continue }
        })
    });
    let mut bystander = Bystander::new(&bench);
    read_exactly(&mut bystander.0, 10);
    ARMED.store(true, Ordering::Relaxed);
    let (mut stream, id) = bench.connect();
    assert_eq!(bench.panicked(), "as planned");
    let gone = bench.closed(id);
    assert_eq!((gone.reason, gone.opened), (CloseReason::Panic, true));
    assert_eq!(gone.unsent, 10, "what was gathered never left");
    let _ = wait_for_end(&mut stream);
    bystander.is_served(&bench);
}

#[test]
fn in_on_close() {
    let bench = Bench::raw(|_| {
        Script::new().on_close(|closed, _| {
            if closed.reason() == &(CloseReason::Peer { code: None }) {
                blow_up("as planned")
            }
        })
    });
    let mut bystander = Bystander::new(&bench);
    for _ in 0..3 {
        let (stream, id) = bench.connect();
        drop(stream);
        assert_eq!(bench.panicked(), "as planned");
        until("it is gone all the same", || !bench.poster().is_open(id));
    }
    bystander.is_served(&bench);
    let events = bench.stop();
    let closes: Vec<_> = events.iter().filter(|event| event.name() == "close").collect();
    assert_eq!(closes.len(), 1, "the bystander's");
}

#[test]
fn in_a_reactors_closure_and_timer_and_start_the_reactor_goes_on() {
    let bench = Bench::raw(|_| {
        Script::new().on_start(|_| blow_up("in start")).on_reactor_timer(|reactor, timer| {
            if timer == TICK {
                reactor.set_timer(TimerKind(2), Duration::ZERO);
                blow_up("in timer")
            }
        })
    });
    assert_eq!(bench.panicked(), "in start");
    let mut bystander = Bystander::new(&bench);
    assert!(bench.poster().post(ReactorId(0), |_, _| blow_up("in closure")).is_ok());
    assert_eq!(bench.panicked(), "in closure");
    let set = |_: &mut _, reactor: &mut Reactor<'_>| reactor.set_timer(TICK, Duration::ZERO);
    assert!(bench.poster().post(ReactorId(0), set).is_ok());
    assert_eq!(bench.panicked(), "in timer");
    bench.expect("the next timer", |event| matches!(event, Event::ReactorTimer(TimerKind(2))).then_some(()));
    bystander.is_served(&bench);
    assert_eq!(bench.poster().stats().total().panics, 3);
}

#[test]
fn with_the_message_of_a_formatted_panic() {
    let bench = Bench::raw(|_| Script::new());
    let (_stream, id) = bench.connect();
    let posted = bench.poster().post_to(id, |_, conn, _| assert!(!conn.is_open(), "on purpose: {}", 7));
    assert!(posted.is_ok());
    assert_eq!(bench.panicked(), "on purpose: 7");
    assert_eq!(bench.closed(id).reason, CloseReason::Panic);
}

#[test]
fn what_was_sent_and_flushed_before_a_panic_arrives() {
    let bench = Bench::raw(|_| armed());
    let (mut stream, id) = bench.connect();
    bench.ask(id, |conn, _| conn.send("before"));
    assert_eq!(read_exactly(&mut stream, 6), b"before");
    stream.write_all(b"panic").unwrap();
    assert_eq!(bench.closed(id).reason, CloseReason::Panic);
    assert_eq!(read_to_end(&mut stream), b"");
}

// ---- where there is no connection yet

static SESSION_PANICS: AtomicBool = AtomicBool::new(false);

struct Fragile;

impl Default for Fragile {
    fn default() -> Self {
        if SESSION_PANICS.load(Ordering::Relaxed) { blow_up("no session") } else { Fragile }
    }
}

struct FragileEcho(std::sync::mpsc::Sender<&'static str>);

impl Handler for FragileEcho {
    type Session = Fragile;

    fn on_open(&mut self, _: &mut Conn<'_>, _: &mut Fragile) -> Action {
        self.0.send("open").unwrap();
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut Fragile, message: Message<'_>) -> Action {
        conn.send(message);
        Action::Continue
    }

    fn on_close(&mut self, _: &mut Closed<'_>, _: Fragile) {
        self.0.send("close").unwrap();
    }

    fn on_panic(&mut self, _: &mut Reactor<'_>, _: &(dyn std::any::Any + Send)) {
        self.0.send("panic").unwrap();
    }
}

#[test]
fn in_the_sessions_default_the_connection_ends_and_others_go_on() {
    let (told, tells) = std::sync::mpsc::channel();
    let next = move || tells.recv_timeout(wheelhouse_tests::LIMIT).unwrap();
    let server = Server::start(one_reactor(), move |_| FragileEcho(told.clone()));
    let mut bystander = connect(server.addr());
    assert_eq!(next(), "open");
    SESSION_PANICS.store(true, Ordering::Relaxed);
    let mut stream = connect(server.addr());
    assert_eq!(next(), "panic");
    let _ = wait_for_end(&mut stream);
    SESSION_PANICS.store(false, Ordering::Relaxed);
    until("it is gone", || server.poster().count() == 1);
    bystander.write_all(b"still here").unwrap();
    assert_eq!(read_exactly(&mut bystander, 10), b"still here");
    let _next = connect(server.addr());
    assert_eq!(next(), "open", "no close and no second panic for what had no session");
}

#[test]
fn in_the_factory_start_fails_and_says_where() {
    let engine = Engine::builder()
        .listen("tcp://127.0.0.1:0")
        .reactors(3)
        .build(|spot| -> FragileEcho {
            match spot.reactor() {
                ReactorId(1) => blow_up("no handler"),
                _ => FragileEcho(std::sync::mpsc::channel().0),
            }
        })
        .unwrap();
    let addresses = engine.addresses().to_vec();
    let handle = engine.handle();
    let error = engine.start().unwrap_err();
    match &error {
        Error::FactoryPanicked { reactor: ReactorId(1), message } => assert_eq!(message, "no handler"),
        other => panic!("{other}"),
    }
    assert_eq!(handle.count(), 0);
    let wheelhouse::Address::Tcp(addr) = addresses[0] else { unreachable!() };
    assert!(TcpStream::connect(addr).is_err(), "the listener is closed");
}

// ---- in a protocol of the user's own

/// One byte is one message; `d` panics when decoded, `e` when encoded.
struct Touchy;

impl Protocol for Touchy {
    fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        if input.is_empty() {
            return Ok(Decoded::Need(1));
        }
        match &*input.take_mut(1) {
            b"d" => blow_up("decoding"),
            byte => Ok(Decoded::Message(Message::binary(byte))),
        }
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        if payload.bytes() == b"e" {
            blow_up("encoding")
        }
        out.body(payload);
        Ok(())
    }
}

fn touchy() -> Bench {
    let listener = Listener::new("tcp://127.0.0.1:0").framing(Framing::custom(Touchy));
    Bench::start(one_listener(listener), |_| Script::echo())
}

#[test]
fn while_decoding_closes_that_connection() {
    let bench = touchy();
    let mut bystander = Bystander::new(&bench);
    let (mut stream, id) = bench.connect();
    stream.write_all(b"ad").unwrap();
    assert_eq!(bench.panicked(), "decoding");
    assert_eq!(bench.closed(id).reason, CloseReason::Panic);
    bystander.is_served(&bench);
}

#[test]
fn while_encoding_an_answer_closes_that_connection() {
    let bench = touchy();
    let mut bystander = Bystander::new(&bench);
    let (mut stream, id) = bench.connect();
    stream.write_all(b"e").unwrap();
    assert_eq!(bench.panicked(), "encoding");
    assert_eq!(bench.closed(id).reason, CloseReason::Panic);
    bystander.is_served(&bench);
}

#[test]
fn while_encoding_what_a_handle_sends_leaves_the_reactor_alive() {
    let bench = touchy();
    let mut bystander = Bystander::new(&bench);
    let (_stream, id) = bench.connect();
    bench.poster().send(id, "e").unwrap();
    bystander.is_served(&bench);
}

#[test]
fn while_encoding_a_broadcast_leaves_the_reactor_alive() {
    let bench = touchy();
    let mut bystander = Bystander::new(&bench);
    bench.poster().broadcast(wheelhouse::Audience::Open, "e").unwrap();
    bench.settle();
    bystander.is_served(&bench);
}
