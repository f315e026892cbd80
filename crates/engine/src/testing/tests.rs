//! What the kit promises by itself; that it behaves as an engine over sockets is shown by the package `tests`, both ways.

mod surroundings;
mod websockets;

use std::{
    cell::RefCell,
    os::fd::BorrowedFd,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use super::Bench;
use crate::{
    Action, Audience, CloseReason, Closed, Conn, ConnId, Connect, Engine, Framing, Handle, Handler,
    LengthDelimited, Listener, ListenerId, Message, Poster, Reactor, ReactorId, Refusal, Sent, Spot, Tag,
    TimerKind, panics::panic_message, shared,
};

/// Echoes, but for the orders it knows, and remembers the moments of its timers.
struct Obedient {
    me: Poster<Obedient>,
    /// Somebody else's connection: what is heard is sent there too.
    friend: Option<(Handle, ConnId)>,
    fired: Vec<(u32, Instant)>,
    ready: Vec<Tag>,
    ended: Rc<RefCell<Vec<String>>>,
}

impl Obedient {
    fn new(spot: &Spot<Obedient>) -> Self {
        Obedient {
            me: spot.poster(),
            friend: None,
            fired: Vec::new(),
            ready: Vec::new(),
            ended: Rc::default(),
        }
    }

    /// It posts itself for ever.
    fn spin(&mut self) {
        let me = self.me.clone();
        let posted = self.me.post(ReactorId(0), move |handler, _| {
            assert!(Rc::strong_count(&handler.ended) > 0);
            handler.me = me;
            handler.spin();
        });
        assert!(posted.is_ok(), "its own mailbox has room");
    }
}

impl Handler for Obedient {
    type Session = u32;

    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        reactor.set_timer(TimerKind(0), Duration::from_secs(3600));
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, heard: &mut u32, message: Message<'_>) -> Action {
        *heard += 1;
        if let Some((handle, id)) = &self.friend {
            assert!(handle.send(*id, message.to_payload()).is_ok());
        }
        let order = message.text().unwrap_or_default();
        match order.split_once(' ').unwrap_or((order, "")) {
            ("timer", ms) => {
                let ms = ms.parse().expect("a number");
                conn.set_timer(TimerKind(ms), Duration::from_millis(ms.into()));
            }
            ("spin", _) => self.spin(),
            ("hold", _) => return Action::Hold,
            ("panic", why) => resume_unwind(Box::new(why.to_owned())),
            ("close", _) => return Action::Close,
            ("dial", url) => {
                conn.reactor().connect(Connect::to(url).tag(Tag(3))).expect("a good address");
            }
            ("fill", _) => while conn.send("x".repeat(1000)) == Sent::Accepted {},
            _ => _ = conn.send(message),
        }
        Action::Continue
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, _: &mut u32, timer: TimerKind) -> Action {
        self.fired.push((timer.0, conn.now()));
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, heard: u32) {
        self.ended.borrow_mut().push(format!("{}: {}, {heard} heard", closed.id(), closed.reason()));
    }

    fn on_ready(&mut self, _: &mut Reactor<'_>, watched: Tag, _: BorrowedFd<'_>) {
        self.ready.push(watched);
    }

    fn on_stop(&mut self, _: &mut Reactor<'_>) {
        self.ended.borrow_mut().push("stopped".into());
    }
}

fn bench() -> Bench<Obedient> {
    Bench::new(Obedient::new)
}

fn lines() -> Framing {
    Framing::lines(80)
}

/// What a misuse is told.
#[track_caller]
fn told(misuse: impl FnOnce()) -> String {
    let told = catch_unwind(AssertUnwindSafe(misuse)).expect_err("it must be told");
    panic_message(&*told).to_owned()
}

#[test]
fn a_client_sends_and_receives_in_pieces_of_any_size() {
    let mut bench = bench();
    let client = bench.open(lines());
    bench.input(client, b"");
    for byte in b"hello\nworld\nand" {
        bench.input(client, &[*byte]);
    }
    assert_eq!(bench.output(client), b"hello\nworld\n");
    assert_eq!(bench.output(client), b"", "what was received once");
    assert_eq!(bench.session(client), Some(&mut 2));
    // More than one turn reads, many times over.
    let many = b"0123456789\n".repeat(100_000);
    let raw = bench.open(Framing::raw());
    bench.input(raw, &many);
    assert_eq!(bench.output(raw), many);
    assert_eq!(bench.handle().stats().total().bytes_in, 15 + many.len() as u64);
}

#[test]
fn a_message_is_framed_as_the_connection_is() {
    let mut bench = bench();
    for (framing, framed) in [
        (Framing::raw(), &b"hi"[..]),
        (lines(), b"hi\n"),
        (Framing::length_delimited(LengthDelimited::u32_be()), b"\0\0\0\x02hi"),
    ] {
        let client = bench.open(framing);
        bench.message(client, "hi");
        assert_eq!(bench.output(client), framed);
    }
}

#[test]
fn what_is_left_of_the_window_is_taken_and_no_more() {
    let mut bench = bench();
    let client = bench.open(lines());
    bench.take_window(client, 1_500);
    bench.message(client, "fill");
    assert_eq!(bench.output(client).len(), 1_500);
    bench.take_window(client, 10);
    assert_eq!(bench.output(client).len(), 10, "room was an edge");
    bench.take_window(client, 0);
    bench.turn(Duration::from_millis(59_990));
    assert_eq!((bench.output(client).len(), bench.closed(client)), (0, None));
    bench.turn(Duration::from_secs(60));
    assert_eq!(bench.closed(client), Some(&CloseReason::WriteStall));
    assert!(bench.output_reset(client) && !bench.output_ended(client));
}

#[test]
fn every_timer_fires_at_its_very_millisecond_however_far_the_clock_is_turned() {
    let mut bench = bench();
    let client = bench.open(lines());
    let start = bench.now();
    bench.turn(Duration::from_micros(700));
    assert_eq!(bench.now(), start, "less than a millisecond");
    bench.turn(Duration::from_micros(300));
    assert_eq!(bench.now() - start, Duration::from_millis(1), "counts with the next turn");
    for order in ["timer 70000", "timer 1", "timer 300", "timer 5000"] {
        bench.message(client, order);
    }
    bench.turn(Duration::from_millis(299));
    assert_eq!(bench.handler().fired.len(), 1);
    bench.turn(Duration::from_secs(80));
    let begun = start + Duration::from_millis(1);
    let exactly = [1, 300, 5_000, 70_000].map(|ms| (ms, begun + Duration::from_millis(ms.into())));
    assert_eq!(bench.handler().fired, exactly);
    assert_eq!(bench.now() - begun, Duration::from_millis(80_299));
}

#[test]
fn the_engines_deadlines_are_met_to_the_millisecond_too() {
    let login = Listener::new("tcp://127.0.0.1:0").authentication(Duration::from_millis(1_500));
    let builder = Engine::builder().listen(login).idle_timeout(Duration::from_secs(1));
    let mut bench = Bench::with_options(builder, Obedient::new);
    let (busy, idle) = (bench.open_on(ListenerId(0)), bench.open_on(ListenerId(0)));
    bench.turn(Duration::from_millis(999));
    bench.input(busy, b"here I am");
    assert_eq!(bench.closed(idle), None);
    bench.turn(Duration::from_millis(1));
    assert_eq!(bench.closed(idle), Some(&CloseReason::Idle));
    bench.turn(Duration::from_millis(499));
    assert_eq!(bench.closed(busy), None);
    bench.turn(Duration::from_millis(1));
    assert_eq!(bench.closed(busy), Some(&CloseReason::Auth));
}

#[test]
fn what_is_asked_through_a_handle_waits_for_the_next_call() {
    let mut bench = bench();
    let client = bench.open(lines());
    let (handle, poster) = (bench.handle(), bench.poster());
    handle.send(client, "from the test").unwrap();
    let posted = poster.post_to(client, |handler, conn, heard| {
        *heard = 17;
        handler.fired.push((0, conn.now()));
    });
    assert!(posted.is_ok() && !shared::is_reactor_thread());
    assert_eq!(bench.output(client), b"from the test\n");
    assert_eq!(bench.session(client), Some(&mut 17));
    assert_eq!(bench.handler().fired.len(), 1);
    thread::scope(|scope| {
        _ = scope.spawn(|| handle.broadcast(Audience::Open, "from another thread").unwrap())
    });
    assert_eq!(bench.output(client), b"from another thread\n");
    handle.close(client);
    assert_eq!(bench.closed(client), None, "looking alone does nothing");
    bench.run();
    assert_eq!(bench.closed(client), Some(&CloseReason::Local));
}

#[test]
fn two_benches_on_one_thread_are_two_engines() {
    let (mut here, mut there) = (bench(), bench());
    let (near, far) = (here.open(lines()), there.open(lines()));
    assert_eq!(near, far, "each engine counts for itself");
    here.handler().friend = Some((there.handle(), far));
    here.message(near, "hello");
    assert_eq!(here.output(near), b"hello\n");
    assert_eq!(there.output(far), b"hello\n");
    // From its own callbacks what goes to itself goes no further.
    there.handler().friend = Some((there.handle(), far));
    there.message(far, "twice");
    assert_eq!(there.output(far), b"twice\ntwice\n");
    assert_eq!(here.output(near), b"");
    drop(here);
    there.message(far, "twice");
    assert_eq!(there.output(far), b"twice\ntwice\n");
}

#[test]
fn a_handler_that_keeps_itself_busy_is_found_out() {
    let mut bench = bench();
    let client = bench.open(lines());
    let told = told(|| bench.message(client, "spin"));
    assert!(told.contains("keeps itself busy"), "{told}");
    // Neither does it hold up the end of the test.
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        let _bench = bench;
        panic!("as if an assertion had failed");
    }));
    assert!(stopped.is_err() && !shared::is_reactor_thread());
}

#[test]
fn a_handler_that_panics_fails_the_test_with_its_own_words() {
    let mut bench = bench();
    let (unlucky, other) = (bench.open(lines()), bench.open(lines()));
    let told_of = told(|| bench.message(unlucky, "panic as ordered"));
    assert_eq!(told_of, "as ordered");
    // Once; and what became of it is as in an engine.
    assert_eq!(bench.closed(unlucky), Some(&CloseReason::Panic));
    bench.message(other, "hello");
    assert_eq!(bench.output(other), b"hello\n");

    // Posted from elsewhere, it is told by the call that has it run.
    assert!(bench.poster().post_to(other, |_, _, _| resume_unwind(Box::new("posted"))).is_ok());
    assert_eq!(told(|| bench.run()), "posted");
}

#[test]
fn a_panic_in_the_first_or_the_last_callback_is_told_too() {
    struct Late(bool);
    impl Handler for Late {
        type Session = ();

        fn on_start(&mut self, _: &mut Reactor<'_>) {
            assert!(self.0, "at the start");
        }

        fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
            Action::Continue
        }

        fn on_stop(&mut self, _: &mut Reactor<'_>) {
            panic!("at the end");
        }
    }
    assert_eq!(told(|| drop(Bench::new(|_| Late(false)))), "at the start");
    assert_eq!(told(|| drop(Bench::new(|_| Late(true)))), "at the end");
    assert!(!shared::is_reactor_thread());
}

#[test]
fn who_bears_panics_sees_what_an_engine_makes_of_them() {
    let mut bench = bench();
    bench.bear_panics();
    let (unlucky, other) = (bench.open(lines()), bench.open(lines()));
    for client in [unlucky, other] {
        bench.message(client, "panic as ordered");
        assert_eq!(bench.closed(client), Some(&CloseReason::Panic));
    }
    assert_eq!(bench.handle().stats().total().panics, 2);
    assert_eq!(
        *bench.handler().ended.borrow(),
        ["0.0.1: a callback panicked, 1 heard", "0.1.2: a callback panicked, 1 heard"]
    );
}

#[test]
fn misuse_is_told_with_the_connection_it_is_about() {
    let (mut bench, mut other) = (bench(), bench());
    let client = bench.open(lines());
    other.open(lines());
    let strange = other.open(lines()).to_string();
    let stranger = other.open(lines());
    drop(other);
    assert_eq!(strange, "0.1.2");
    for told in [
        told(|| bench.input(stranger, b"x")),
        told(|| bench.message(stranger, "x")),
        told(|| _ = bench.output(stranger)),
        told(|| _ = bench.closed(stranger)),
        told(|| _ = bench.session(stranger)),
        told(|| bench.connected(stranger)),
    ] {
        assert_eq!(told, "connection 0.2.3 is not one of this bench's");
    }
    assert_eq!(told(|| bench.connected(client)), "connection 0.0.1: it is not being dialled, or no longer");
    let told_of = told(|| bench.message(client, "two\nlines"));
    assert_eq!(told_of, format!("no message for connection 0.0.1: {:?}", Refusal::NotEncodable));
    bench.message(client, "hold");
    bench.eof(client);
    bench.eof(client);
    let told_of = told(|| bench.input(client, b"x"));
    assert_eq!(told_of, "connection 0.0.1: its client has said FIN, and can send no more");
    assert_eq!(told(|| _ = bench.open_on(ListenerId(7))), "there is no listener 7");
    assert!(told(|| _ = bench.open(Framing::lines(0))).contains("option `lines`"));
}

#[test]
fn what_no_builder_would_build_no_bench_is_made_of() {
    let with = |builder| told(|| drop(Bench::with_options(builder, Obedient::new)));
    assert!(with(Engine::builder().listen("gopher://127.0.0.1:70")).contains("gopher"));
    assert!(with(Engine::builder().read_buffer(3)).contains("option `read_buffer`"));
    let one = Engine::builder().listen("tcp://127.0.0.1:0").max_connections(1).reactors(9);
    let mut bench = Bench::with_options(one, Obedient::new);
    assert_eq!(bench.handle().reactors(), 1);
    let only = bench.open_on(ListenerId(0));
    assert!(told(|| _ = bench.open_on(ListenerId(0))).contains("shed: a limit is met"));
    bench.message(only, "close");
    bench.open_on(ListenerId(0));
}

#[test]
fn dropped_it_stops_as_an_engine_does() {
    let mut bench = bench();
    let (ended, handle) = (Rc::clone(&bench.handler().ended), bench.handle());
    let client = bench.open(lines());
    bench.message(client, "hello");
    drop(bench);
    assert_eq!(*ended.borrow(), ["0.0.1: the engine stops, 1 heard", "stopped"]);
    assert_eq!((handle.count(), handle.is_open(client)), (0, false));
    handle.send(client, "too late").unwrap();
    assert_eq!(Rc::strong_count(&ended), 1, "the handler is gone");
}

#[test]
fn stopped_it_stays_stopped() {
    let mut bench = bench();
    let client = bench.open(lines());
    bench.handle().shutdown();
    bench.turn(Duration::from_secs(1));
    assert!(bench.output_ended(client));
    let ended = Rc::clone(&bench.handler().ended);
    assert_eq!(*ended.borrow(), ["0.0.1: the engine stops, 0 heard", "stopped"]);
    assert!(told(|| _ = bench.open(lines())).contains("the engine is stopping"));
    drop(bench);
    assert_eq!(ended.borrow().len(), 2, "told once");
}
