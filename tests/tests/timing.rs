//! Deadlines: they close what they should and nothing else, never early, and an idle engine does nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{Action, Builder, CloseReason, Closed, ConnId, Engine, Listener, TimerKind};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A connection is gone, and when it was told.
type Close = (ConnId, CloseReason, Instant);

fn closing(told: &Sender<Close>) -> impl FnMut(&mut Closed<'_>, ()) + 'static {
    let told = told.clone();
    move |closed, ()| tell(&told, (closed.id(), *closed.reason(), Instant::now()))
}

/// An echo server that tells of each connection's end.
fn ending(builder: Builder) -> (Server<Script>, Receiver<Close>) {
    let (told, closes) = channel();
    (serve(builder, move |_| Script::new().close(closing(&told))), closes)
}

#[test]
fn a_silent_connection_is_closed_as_idle_and_not_early() {
    let idle = ms(250);
    let (server, closes) = ending(local().idle_timeout(idle));
    let mut client = server.connect();
    let last = Instant::now();
    client.write_all(b"once").unwrap();
    expect(&mut client, b"once");
    let (_, reason, at) = next(&closes);
    assert_eq!(reason, CloseReason::Idle);
    assert!(at - last >= idle, "after {:?}", at - last);
    assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
    server.stop();
}

/// Does something more often than the idle timeout for twice as long as it is; whether it really was that often.
fn often(idle: Duration, mut deed: impl FnMut()) -> bool {
    let begun = Instant::now();
    let (mut last, mut longest) = (begun, Duration::ZERO);
    while begun.elapsed() < 2 * idle {
        deed();
        longest = longest.max(last.elapsed());
        last = Instant::now();
        thread::sleep(idle / 20);
    }
    longest.max(last.elapsed()) < idle / 2
}

#[test]
fn input_alone_postpones_the_idle_deadline() {
    let idle = ms(800);
    let (told, closes) = channel();
    let server = serve(local().idle_timeout(idle), move |_| {
        Script::new().message(|_, _, _| Action::Continue).close(closing(&told))
    });
    let mut client = server.connect();
    let was_often = often(idle, || drop(client.write_all(b"x")));
    assert!(!was_often || closes.try_recv().is_err(), "it was active");
    assert_eq!(next(&closes).1, CloseReason::Idle);
    server.stop();
}

#[test]
fn output_alone_postpones_the_idle_deadline() {
    let idle = ms(800);
    let (server, closes) = ending(local().idle_timeout(idle));
    let mut client = server.connect();
    echo(&mut client, b"x");
    let id = server.handle.connections().next().unwrap();
    let was_often = often(idle, || server.handle.send(id, "x").unwrap());
    assert!(!was_often || closes.try_recv().is_err(), "it was active");
    assert_eq!(next(&closes).1, CloseReason::Idle);
    server.stop();
}

/// Sets each connection's own idle timeout by its first message: in ms, or 0 for none.
fn own_idle(told: &Sender<Close>) -> Script {
    Script::new()
        .message(|conn, _, message| {
            let own: u64 = message.text().unwrap().parse().unwrap();
            conn.set_idle_timeout((own > 0).then(|| ms(own)));
            conn.send(message);
            Action::Continue
        })
        .close(closing(told))
}

#[test]
fn a_connections_own_idle_timeout_stands_instead_of_the_engines() {
    let (told, closes) = channel();
    let server = serve(local().idle_timeout(ms(400)), move |_| own_idle(&told));
    let mut never = server.connect();
    echo(&mut never, b"0");
    let mut late = server.connect();
    echo(&mut late, b"60000");
    let mut soon = server.connect();
    let set = Instant::now();
    echo(&mut soon, b"100");
    let (_, reason, at) = next(&closes);
    assert_eq!(reason, CloseReason::Idle);
    assert!((ms(100)..ms(400)).contains(&(at - set)) || set.elapsed() > ms(400), "after {:?}", at - set);
    assert!(closes.recv_timeout(ms(900)).is_err(), "the others stay");
    // And back again.
    echo(&mut never, b"50");
    echo(&mut late, b"50");
    assert_eq!((next(&closes).1, next(&closes).1), (CloseReason::Idle, CloseReason::Idle));
    server.stop();
}

#[test]
fn an_own_idle_timeout_works_where_the_engine_has_none() {
    let (told, closes) = channel();
    let server = serve(local(), move |_| own_idle(&told));
    let (mut client, _other) = (server.connect(), server.connect());
    echo(&mut client, b"100");
    assert_eq!(next(&closes).1, CloseReason::Idle);
    assert!(closes.recv_timeout(ms(300)).is_err());
    server.stop();
}

#[test]
fn a_lifetime_ends_even_the_busiest_connection_and_not_early() {
    let lifetime = ms(400);
    let (server, closes) = ending(local().lifetime(lifetime).idle_timeout(ms(60_000)));
    let begun = Instant::now();
    let mut client = server.connect();
    while closes.try_recv().map(|close| assert_eq!(close.1, CloseReason::Lifetime)).is_err() {
        let _ = client.write_all(b"busy");
        thread::sleep(ms(10));
        assert!(begun.elapsed() < PATIENCE);
    }
    assert!(begun.elapsed() >= lifetime);
    server.stop();
}

#[test]
fn five_hundred_deadlines_of_one_moment_are_all_met() {
    let _crowd = crowd();
    let (server, closes) = ending(local().lifetime(ms(1000)).reactors(2));
    let clients: Vec<_> = (0..500).map(|_| server.connect()).collect();
    for (_, reason, _) in next_n(&closes, 500) {
        assert_eq!(reason, CloseReason::Lifetime);
    }
    drop(clients);
    server.stop();
}

/// Lets in whoever says so.
fn doorkeeper(told: &Sender<Close>) -> Script {
    Script::new()
        .message(|conn, _, message| {
            if message.bytes() == b"login" {
                conn.authenticated();
            }
            conn.send(message);
            Action::Continue
        })
        .close(closing(told))
}

#[test]
fn who_does_not_authenticate_in_time_is_closed_and_who_does_stays() {
    let within = ms(400);
    let (told, closes) = channel();
    let listener = Listener::new("tcp://127.0.0.1:0").authentication(within);
    let builder = Engine::builder().listen(listener).listen("tcp://127.0.0.1:0");
    let server = serve(builder, move |_| doorkeeper(&told));
    let begun = Instant::now();
    let (mut known, mut silent, mut chatty) = (server.connect(), server.connect(), server.connect());
    let mut elsewhere = connect(tcp(&server.addresses[1]));
    echo(&mut known, b"login");
    let in_time = begun.elapsed() < within;
    echo(&mut chatty, b"let me in");
    for _ in 0..2 {
        let (_, reason, at) = next(&closes);
        assert_eq!(reason, CloseReason::Auth);
        assert!(at - begun >= within, "after {:?}", at - begun);
    }
    assert_eq!(read_to_end(&mut silent).0, b"");
    assert_eq!(read_to_end(&mut chatty).0, b"");
    assert!(closes.recv_timeout(within).is_err() || !in_time, "the others stay");
    if in_time {
        echo(&mut known, b"still here");
    }
    echo(&mut elsewhere, b"no need to");
    server.stop();
}

#[test]
fn a_peer_that_leaves_a_graceful_close_unanswered_is_closed_in_time() {
    let (told, closes) = channel();
    let patience = ms(250);
    let server = serve(local().close_timeout(patience), move |_| {
        Script::new()
            .message(|conn, _, _| {
                conn.send("bye");
                Action::Finish
            })
            .close(closing(&told))
    });
    let mut stubborn = server.connect();
    let begun = Instant::now();
    stubborn.write_all(b"x").unwrap();
    assert_eq!(read_to_end(&mut stubborn), (b"bye".to_vec(), Ending::Eof));
    let (_, reason, at) = next(&closes);
    assert_eq!(reason, CloseReason::CloseTimeout);
    assert!(at - begun >= patience);
    let mut polite = server.connect();
    polite.write_all(b"x").unwrap();
    read_to_end(&mut polite);
    drop(polite);
    assert_eq!(next(&closes).1, CloseReason::Local);
    server.stop();
}

#[test]
fn an_idle_engine_does_not_turn() {
    let _crowd = crowd();
    let builder =
        local().reactors(2).idle_timeout(Duration::from_secs(3600)).lifetime(Duration::from_secs(7200));
    let server = serve(builder, |_| {
        Script::<()>::new().open(|conn, _| {
            conn.set_timer(TimerKind(1), Duration::from_secs(600));
            Action::Continue
        })
    });
    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| echo(client, b"once"));
    let turns = || server.handle.stats().total().turns;
    let mut before = turns();
    eventually("it has settled", || {
        thread::sleep(ms(50));
        std::mem::replace(&mut before, turns()) == turns()
    });
    let before = turns();
    thread::sleep(ms(1500));
    let turned = turns() - before;
    // Looking once on each reactor for what can be given back is all that is left to do.
    assert!(turned <= 4, "{turned} turns although nothing happened");
    server.stop();
}
