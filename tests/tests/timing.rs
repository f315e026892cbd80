//! Deadlines: they close what they should and nothing else, never early, and an idle engine does nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
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

/// A connection that is idle after this long is kept busy for twice as long; it must not close before it has been idle for
/// its time, by the reactor's own clock. `talks` says whether the peer sends, or the engine.
fn postponed(talks: bool) {
    let idle = ms(400);
    let last = Arc::new(Mutex::new(None));
    let (touched, asked) = (Arc::clone(&last), Arc::clone(&last));
    let (told, closes) = channel();
    let server = serve(local().reactors(1).idle_timeout(idle), move |_| {
        let (told, touched, asked) = (told.clone(), Arc::clone(&touched), Arc::clone(&asked));
        Script::new()
            .message(move |conn, (), _| {
                *touched.lock().unwrap() = Some(conn.now());
                Action::Continue
            })
            .close(move |closed, ()| {
                let since = asked.lock().unwrap().map(|last| closed.reactor().now() - last);
                tell(&told, (*closed.reason(), since));
            })
    });
    let mut client = server.connect();
    eventually("it is there", || server.handle.connections().count() == 1);
    let id = server.handle.connections().next().unwrap();
    let begun = Instant::now();
    let mut times = 0;
    while begun.elapsed() < 2 * idle && server.handle.is_open(id) {
        let last = Arc::clone(&last);
        match talks {
            true => drop(client.write_all(b"x")),
            false => drop(server.poster.post_to(id, move |_, conn, ()| {
                assert!(!conn.send("x").is_refused());
                *last.lock().unwrap() = Some(conn.now());
            })),
        }
        times += 1;
        thread::sleep(idle / 20);
    }
    let (reason, since) = next(&closes);
    assert_eq!(reason, CloseReason::Idle);
    assert!(since.unwrap() >= idle, "closed {since:?} after the last of {times} times that something went");
    server.stop();
}

#[test]
fn input_alone_postpones_the_idle_deadline() {
    postponed(true);
}

#[test]
fn output_alone_postpones_the_idle_deadline() {
    postponed(false);
}

/// The handler has sent it all long ago; that the kernel takes some of it now and then is activity too.
#[test]
fn a_queue_that_goes_down_postpones_the_idle_deadline() {
    const PIECE: usize = 20_000;
    let idle = ms(400);
    let (server, closes) = ending(local().reactors(1).idle_timeout(idle).send_buffer(8 << 10));
    let mut client = connect_with_window(server.at(), 8 << 10);
    eventually("it is there", || server.handle.connections().count() == 1);
    let id = server.handle.connections().next().unwrap();
    assert!(server.ask_conn(id, |conn, ()| conn.send(vec![0; 100 * PIECE])).is_full());
    // When somebody looked, and how many bytes the kernel had taken by then.
    let mut looks = Vec::new();
    let mut look = || looks.push((Instant::now(), server.handle.stats().total().bytes_out));
    let begun = Instant::now();
    while begun.elapsed() < 2 * idle && server.handle.is_open(id) {
        expect(&mut client, &[0; PIECE]);
        look();
        thread::sleep(idle / 20);
    }
    let (_, reason, at) = next(&closes);
    look();
    let last = (2..looks.len()).rfind(|&n| looks[n].1 > looks[n - 1].1).expect("the queue went down");
    // It went down between two looks, or was counted a little later than that.
    let since = at - looks[last - 2].0;
    assert!(reason == CloseReason::Idle && since >= idle, "{reason} {since:?} after the kernel took some");
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

/// For a reactor that was held up the clock jumps.
#[test]
fn after_a_jump_of_the_clock_all_that_is_due_comes_once_and_who_spoke_meanwhile_is_not_idle() {
    let idle = ms(600);
    let ((told, closes), (rang, timers)) = (channel(), channel());
    let server = serve(local().reactors(1).idle_timeout(idle), move |_| {
        let rang = rang.clone();
        Script::new().close(closing(&told)).timer(move |conn, (), kind| {
            tell(&rang, (conn.id(), kind.0));
            Action::Continue
        })
    });
    let (mut silent, mut talker) = (server.connect(), server.connect());
    echo(&mut silent, b"once");
    let at_first: Vec<ConnId> = server.handle.connections().collect();
    echo(&mut talker, b"once");
    let id = server.handle.connections().find(|id| !at_first[..1].contains(id)).unwrap();
    server.ask_conn(id, |conn, ()| {
        for kind in (1..=50).rev() {
            conn.set_timer(TimerKind(kind), ms(u64::from(kind) * 5));
        }
    });
    let blocked = server.block(0);
    talker.write_all(b"meanwhile").unwrap();
    thread::sleep(2 * idle);
    drop(blocked);
    expect(&mut talker, b"meanwhile");
    for kind in 1..=50 {
        assert_eq!(next(&timers), (id, kind), "in their order");
    }
    let (gone, reason, _) = next(&closes);
    assert!(gone != id && reason == CloseReason::Idle);
    assert_eq!(read_to_end(&mut silent), (vec![], Ending::Eof));
    assert_eq!(next(&closes).0, id, "in its own time");
    assert!(timers.try_recv().is_err(), "once each");
    server.stop();
}

#[test]
fn all_deadlines_of_a_connection_are_one_entry_of_the_wheel() {
    let hour = Duration::from_secs(3600);
    let listener = Listener::new("tcp://127.0.0.1:0").authentication(hour);
    let builder = Engine::builder().listen(listener).reactors(2).idle_timeout(2 * hour).lifetime(3 * hour);
    let (server, ids) =
        telling_ids(builder.send_buffer(8 << 10).write_stall_timeout(Some(4 * hour)).close_timeout(hour));
    let mut clients: Vec<_> = (0..100).map(|_| client(&server, &ids)).collect();
    let pending = || server.handle.stats().total().timers;
    eventually("one each", || pending() == 100);
    for (n, (client, id)) in clients.iter_mut().enumerate() {
        echo(client, b"activity");
        let id = *id;
        match n % 4 {
            0 => assert!(server.ask_conn(id, |conn, ()| conn.send(vec![0; 3 << 20])).is_full()),
            1 => server.ask_conn(id, |conn, ()| conn.authenticated()),
            2 => server.ask_conn(id, move |conn, ()| conn.set_idle_timeout(Some(5 * hour))),
            _ => server.handle.finish(id),
        }
    }
    for (client, _) in clients.iter_mut().skip(3).step_by(4) {
        assert_eq!(read_to_end(client), (vec![], Ending::Eof), "finished, and still there");
    }
    (0..2).for_each(|reactor| server.ask(reactor, |_, _| ()));
    assert_eq!((pending(), server.handle.count()), (100, 100));
    drop(clients);
    eventually("they go with their connections", || server.handle.count() == 0 && pending() == 0);
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
