//! Ways in which the engine was once brought down, each as small as it goes, and bugs that other engines have shipped. Of
//! those last, where it is shown that this one has them not:
//!
//! - A pooled connection reached through the stale descriptor or slot of the one before: `identity.rs`
//!   (`a_late_command_never_reaches_a_reused_slot`, `an_event_of_a_connection_that_closed_in_the_same_turn_reaches_nobody`),
//!   and `reuse.rs`.
//! - No open because a job in the queue before it failed, or the queue was full: here.
//! - A wake-up lost between draining the queue and going to sleep: `mailboxes.rs`
//!   (`no_wake_up_is_lost_over_twenty_thousand_posts_to_a_sleeping_reactor`).
//! - A close inside a callback that frees what the loop still holds: `closing_inside.rs`, from every callback in every way.
//! - Bytes sent after a close for back-pressure: `backpressure.rs`
//!   (`under_the_closing_policy_the_peer_gets_a_reset_and_no_further_byte_is_queued`).
//! - Pongs dropped under back-pressure: to come with WebSocket.
//! - Interest in writing left on, and a loop that spins for it: here, and `backpressure.rs`
//!   (`a_blocked_writer_does_not_keep_the_reactor_turning`).
//! - A slow reader that eats all memory: `backpressure.rs` (`a_peer_that_never_reads_costs_a_bounded_number_of_bytes`) and
//!   `buffer_memory.rs` (`out_of_buffer_memory_a_slow_reader_gives_way_to_those_who_come`).
//! - Running out of descriptors that spins the accept loop: `accepting.rs`
//!   (`out_of_descriptors_the_main_reactor_sheds_and_recovers_without_spinning` and the three tests behind it).
//! - Timers that keep dead connections alive: `timers.rs` (`timers_keep_nothing_alive_and_leave_nothing_behind`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write as _,
    net::TcpStream,
    os::fd::AsRawFd as _,
    sync::mpsc,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{
    Action, Audience, CloseReason, Closed, Conn, Connect, Decoded, Engine, Framing, Handler, Input, Listener,
    Message, On, Output, Payload, Poster, Protocol, ProtocolError, Reactor, ReactorId, Refusal, Sent,
    TimerKind,
};

/// Echoes, and dials a path that does not exist again whenever that has failed.
struct Redialler {
    dial: bool,
}

impl Handler for Redialler {
    type Session = ();

    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        if self.dial {
            reactor.connect(Connect::to("unix:/no/such/socket")).unwrap();
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        conn.send(message);
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, (): ()) {
        if !closed.opened() {
            // Refused once the engine is stopping.
            let _ = closed.reactor().connect(Connect::to("unix:/no/such/socket"));
        }
    }
}

#[test]
fn who_dials_again_from_on_close_leaves_the_others_their_turn() {
    let server = serve(local().reactors(1), |_| Redialler { dial: true });
    echo(&mut server.connect(), b"still served");
    within("it stops", move || server.stop());
}

#[test]
fn broadcasts_that_outrun_delivery_are_refused_and_do_not_hold_up_the_stop() {
    let server = serve(local().reactors(1).mailbox(16), |_| Script::<()>::new());
    let clients: Vec<TcpStream> = (0..600).map(|_| server.connect()).collect();
    eventually("all are open", || server.handle.stats().total().opened == 600);
    let blocked = server.block(0);
    let taken =
        (0..100).filter(|_| server.handle.broadcast(Audience::Open, vec![b'x'; 1000]).is_ok()).count();
    assert_eq!(taken, 16, "as many as the mailbox has places");
    drop(blocked);
    eventually("a place comes free", || server.handle.broadcast(Audience::Open, "more").is_ok());
    within("it stops", move || server.stop());
    drop(clients);
}

#[test]
fn a_payload_handed_over_counts_as_buffer_memory() {
    let limit = 1 << 20;
    let server = serve(local().reactors(1).buffer_memory(limit).send_buffer(4096), |_| {
        Script::<()>::new().message(|conn, _, _| {
            while conn.send(vec![b'x'; 60_000]) == Sent::Accepted {}
            Action::Continue
        })
    });
    let clients: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut client = connect_with_window(server.at(), 4096);
            client.write_all(b"flood me").unwrap();
            client
        })
        .collect();
    eventually("somebody gave way", || server.handle.stats().total().closed > 0);
    assert!(server.handle.stats().total().buffered as usize <= limit);
    drop(clients);
    eventually("all is given back", || server.handle.stats().total().buffered == 0);
    server.stop();
}

/// Needs less than it has, for ever, or makes messages of nothing.
struct Insatiable {
    empty_messages: bool,
}

impl Protocol for Insatiable {
    fn decode<'a>(&self, _: &mut u64, _: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        if self.empty_messages {
            return Ok(Decoded::Message(Message::binary(b"")));
        }
        Ok(Decoded::Need(0))
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        out.body(payload);
        Ok(())
    }
}

fn closes_with(protocol: Insatiable) -> CloseReason {
    let (told, reasons) = mpsc::channel();
    let listener = Listener::new("tcp://127.0.0.1:0").framing(Framing::custom(protocol));
    let server = serve(Engine::builder().listen(listener).reactors(1).inbound_limit(100_000), move |_| {
        let told = told.clone();
        Script::<()>::new().close(move |closed, ()| told.send(*closed.reason()).unwrap())
    });
    let mut client = server.connect();
    // The engine may reset before all of it is written.
    let _ = client.write_all(&[b'x'; 1 << 20]);
    drop(client);
    let reason = reasons.recv_timeout(Duration::from_secs(10)).unwrap();
    server.stop();
    reason
}

#[test]
fn a_protocol_that_never_has_enough_meets_the_inbound_limit() {
    assert_eq!(closes_with(Insatiable { empty_messages: false }), CloseReason::InboundOverflow);
}

#[test]
fn a_protocol_that_makes_messages_of_nothing_closes_its_connection() {
    assert_eq!(closes_with(Insatiable { empty_messages: true }), CloseReason::Protocol);
}

/// Asks everything of its own reactor, in between what it asks of its connection.
struct Mixer {
    poster: Poster<Mixer>,
}

impl Handler for Mixer {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
        let id = conn.id();
        self.poster.post(ReactorId(0), |_, _| ()).unwrap();
        self.poster.send(id, "1").unwrap();
        conn.send("2");
        self.poster.connect(On::Owner(id), Connect::to("unix:/no/such/socket")).unwrap();
        self.poster.send(id, "3").unwrap();
        conn.send("4");
        self.poster.post(ReactorId(0), |_, _| ()).unwrap();
        self.poster.send(id, "5").unwrap();
        Action::Finish
    }
}

#[test]
fn what_is_asked_beside_it_changes_nothing_of_the_order_of_bytes() {
    let server = serve(local().reactors(1), |spot| Mixer { poster: spot.poster() });
    let mut client = server.connect();
    client.write_all(b"go").unwrap();
    assert_eq!(read_to_end(&mut client), (b"12345".to_vec(), Ending::Eof));
    server.stop();
}

#[test]
fn open_is_told_though_the_queue_before_it_was_full_of_jobs_that_fail() {
    const CLIENTS: usize = 50;
    let (server, ids) = telling_ids(local().reactors(1).mailbox(16));
    for _ in 0..5 {
        let blocked = server.block(0);
        let job = |_: &mut Script, _: &mut Reactor<'_>| std::panic::resume_unwind(Box::new("as planned"));
        let jobs = (0..100).filter(|_| server.poster.post(ReactorId(0), job).is_ok()).count();
        assert_eq!(jobs, 16, "it is full");
        let before = server.handle.count();
        let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| server.connect()).collect();
        eventually("all are accepted", || server.handle.count() == before + CLIENTS);
        drop(blocked);
        next_n(&ids, CLIENTS);
        clients.iter_mut().for_each(|client| echo(client, b"open"));
    }
    eventually("the jobs have failed", || server.handle.stats().total().panics == 5 * 16);
    server.stop();
}

/// What the kernel is asked to tell of a descriptor, by its own word (proc(5)): the events of `epoll_ctl(2)`.
fn interest(fd: i32) -> u32 {
    let lists = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    let texts = lists.filter_map(|list| std::fs::read_to_string(list.ok()?.path()).ok());
    for line in texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["tfd:", watched, "events:", events, ..] = words[..]
            && watched.parse() == Ok(fd)
        {
            return u32::from_str_radix(events, 16).unwrap();
        }
    }
    panic!("nobody watches {fd}");
}

#[test]
fn interest_in_writing_lasts_for_as_long_as_something_is_queued() {
    let (server, ids) = telling_ids(local().reactors(1).send_buffer(8 << 10));
    let mut client = connect_with_window(server.at(), 8 << 10);
    let id = next(&ids);
    let fd = server.ask_conn(id, |conn, ()| conn.fd().unwrap().as_raw_fd());
    let is_interested = || interest(fd) & nix::libc::EPOLLOUT as u32 != 0;
    for _ in 0..3 {
        assert!(!is_interested());
        server.ask_conn(id, |conn, ()| assert!(!conn.send(vec![7; 1 << 20]).is_refused()));
        eventually("it waits for room", is_interested);
        expect(&mut client, &vec![7; 1 << 20]);
        eventually("nothing is left to write", || !is_interested());
        echo(&mut client, b"and goes on");
    }
    server.stop();
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_panic_in_a_drop_leaves_the_reactor_alive() {
    let (server, ids) = telling_ids(local().reactors(1));
    let (gone, id) = client(&server, &ids);
    drop(gone);
    eventually("it is gone", || !server.handle.is_open(id));
    // A closure that is dropped with what it had captured, and a panic that is itself a grenade.
    let armed = Armed(Some(Grenade));
    let _ = server.poster.post_to(id, move |_, _, _| armed.keep());
    server.poster.post(ReactorId(0), |_, _| std::panic::panic_any(Grenade)).unwrap();
    let (mut alive, _) = client(&server, &ids);
    echo(&mut alive, b"alive");
    within("it stops", move || server.stop());
}

/// A grenade that goes off where the closure is dropped, and not in the test when a post is refused.
struct Armed(Option<Grenade>);

impl Armed {
    fn keep(mut self) {
        std::mem::forget(self.0.take());
    }
}

/// Sets a timer on a connection that is still being dialled.
struct Early {
    to: String,
    fired: mpsc::Sender<(bool, Instant)>,
}

impl Handler for Early {
    type Session = bool;

    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        let id = reactor.connect(Connect::to(self.to.as_str())).unwrap();
        reactor.conn(id).unwrap().set_timer(TimerKind(1), Duration::from_millis(1));
    }

    fn on_open(&mut self, _: &mut Conn<'_>, opened: &mut bool) -> Action {
        *opened = true;
        Action::Continue
    }

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut bool, _: Message<'_>) -> Action {
        Action::Continue
    }

    fn on_timer(&mut self, _: &mut Conn<'_>, opened: &mut bool, _: TimerKind) -> Action {
        self.fired.send((*opened, Instant::now())).unwrap();
        Action::Continue
    }
}

#[test]
fn a_timer_set_while_dialling_fires_after_the_open() {
    let (peer, to) = listener();
    let (fired, timers) = mpsc::channel();
    let server =
        serve(Engine::builder().reactors(1), move |_| Early { to: to.clone(), fired: fired.clone() });
    let _accepted = accept(&peer);
    let (opened, _) = timers.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(opened, "open comes first");
    server.stop();
}

#[test]
fn a_line_of_no_length_or_of_any_is_refused_before_a_socket_opens() {
    for max in [0, (64 << 20) + 1, usize::MAX] {
        let error = refusal(local().listen(Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(max))));
        assert!(error.to_string().contains(&format!("option `lines`: {max} is not allowed")), "{error}");
    }
}
