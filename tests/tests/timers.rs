//! The handler's own timers: several to a connection or to none, moved and taken back anywhere, and never early.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{Action, Conn, ConnId, Engine, Reactor, ReactorId, TimerKind};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A timer has fired: of whom, which, when.
type Fired = (ConnId, TimerKind, Instant);

/// Does `set` when a connection says anything, and tells of its timers.
fn timed(set: impl Fn(&mut Conn<'_>) + Clone + Send + Sync + 'static) -> (Server<Script>, Receiver<Fired>) {
    let (told, fired) = channel();
    let server = serve(local().reactors(1), move |_| {
        let (told, set) = (told.clone(), set.clone());
        Script::new()
            .message(move |conn, _, message| {
                set(conn);
                conn.send(message);
                Action::Continue
            })
            .timer(move |conn, _, kind| {
                tell(&told, (conn.id(), kind, Instant::now()));
                Action::Continue
            })
    });
    (server, fired)
}

#[test]
fn timers_of_several_kinds_fire_once_each_in_order_and_never_early() {
    let (server, fired) = timed(|conn| {
        for kind in (1..=40).rev() {
            conn.set_timer(TimerKind(kind), ms(u64::from(kind) * 5));
        }
    });
    let mut client = server.connect();
    let begun = Instant::now();
    echo(&mut client, b"x");
    for kind in 1..=40 {
        let (_, fired, at) = next(&fired);
        assert_eq!(fired, TimerKind(kind));
        assert!(at - begun >= ms(u64::from(kind) * 5), "{kind} after {:?}", at - begun);
    }
    assert!(fired.recv_timeout(ms(300)).is_err(), "once each");
    server.stop();
}

/// The reactor's clock is that of the turn's beginning; a timer counts from when it is set, also when something else wakes
/// the reactor meanwhile.
#[test]
fn a_timer_set_late_in_a_long_callback_is_not_early() {
    let ((set, was_set), (told, fired)) = (channel(), channel());
    let server = serve(local().reactors(1), move |_| {
        let (set, told) = (set.clone(), told.clone());
        Script::<()>::new()
            .message(move |conn, _, message| {
                if message.bytes() == b"set" {
                    thread::sleep(ms(60));
                    tell(&set, Instant::now());
                    conn.set_timer(TimerKind(1), ms(50));
                    conn.reactor().set_timer(TimerKind(1), ms(50));
                }
                conn.send(message);
                Action::Continue
            })
            .timer({
                let told = told.clone();
                move |_, _, _| {
                    tell(&told, Instant::now());
                    Action::Continue
                }
            })
            .reactor_timer(move |_, _| tell(&told, Instant::now()))
    });
    let (mut client, mut other) = (server.connect(), server.connect());
    client.write_all(b"set").unwrap();
    let set = next(&was_set);
    echo(&mut other, b"wake up");
    for at in next_n(&fired, 2) {
        assert!(at - set >= ms(50), "after {:?}", at - set);
    }
    server.stop();
}

#[test]
fn setting_a_timer_again_moves_it_either_way() {
    let (server, fired) = timed(|conn| {
        conn.set_timer(TimerKind(1), ms(20));
        conn.set_timer(TimerKind(2), ms(60_000));
        conn.set_timer(TimerKind(1), ms(200));
        conn.set_timer(TimerKind(2), ms(100));
    });
    let begun = Instant::now();
    let mut client = server.connect();
    echo(&mut client, b"x");
    let ((_, first, early), (_, second, late)) = (next(&fired), next(&fired));
    assert_eq!((first, second), (TimerKind(2), TimerKind(1)));
    assert!(early - begun >= ms(100) && late - begun >= ms(200));
    assert!(fired.recv_timeout(ms(250)).is_err(), "once each");
    server.stop();
}

#[test]
fn a_cancelled_timer_never_fires_and_says_whether_it_was_set() {
    let (server, fired) = timed(|conn| {
        assert!(!conn.cancel_timer(TimerKind(1)));
        conn.set_timer(TimerKind(1), ms(20));
        conn.set_timer(TimerKind(2), ms(150));
        assert!(conn.cancel_timer(TimerKind(1)));
        assert!(!conn.cancel_timer(TimerKind(1)));
        conn.set_timer(TimerKind(3), Duration::MAX);
        assert!(conn.cancel_timer(TimerKind(3)));
        conn.set_timer(TimerKind(4), Duration::MAX);
    });
    let mut client = server.connect();
    echo(&mut client, b"x");
    assert_eq!(next(&fired).1, TimerKind(2));
    assert!(fired.recv_timeout(ms(100)).is_err());
    server.stop();
}

/// Two are due in one tick; the first to fire takes the other one back, or moves it.
#[test]
fn timers_can_be_cancelled_and_set_again_in_their_own_callbacks() {
    let (told, fired) = channel();
    let server = serve(local().reactors(1), move |_| {
        let told = told.clone();
        Script::<u32>::new()
            .message(|conn, _, message| {
                for kind in 1..=3 {
                    conn.set_timer(TimerKind(kind), ms(30));
                }
                conn.send(message);
                Action::Continue
            })
            .timer(move |conn, rounds, kind| {
                let others = (1..=3).map(TimerKind).filter(|&other| other != kind);
                let taken: Vec<_> = others.filter(|&other| conn.cancel_timer(other)).collect();
                tell(&told, (kind, taken.len()));
                *rounds += 1;
                if *rounds < 10 {
                    taken.into_iter().chain([kind]).for_each(|kind| conn.set_timer(kind, ms(5)));
                }
                Action::Continue
            })
    });
    let mut client = server.connect();
    echo(&mut client, b"x");
    for _ in 0..10 {
        assert_eq!(next(&fired).1, 2, "the other two are taken back");
    }
    assert!(fired.recv_timeout(ms(100)).is_err());
    echo(&mut client, b"y");
    assert_eq!(next(&fired).1, 2);
    server.stop();
}

#[test]
fn a_timer_that_sets_itself_at_once_starves_nobody() {
    let (told, fired) = channel();
    let server = serve(local().reactors(1), move |_| {
        let told = told.clone();
        Script::<u32>::new()
            .message(|conn, _, message| {
                if message.bytes() == b"spin" {
                    conn.set_timer(TimerKind(1), Duration::ZERO);
                }
                conn.send(message);
                Action::Continue
            })
            .timer(move |conn, count, kind| {
                *count += 1;
                if *count == 20 {
                    tell(&told, ());
                }
                conn.set_timer(kind, Duration::ZERO);
                Action::Continue
            })
    });
    let (mut spinning, mut quiet) = (server.connect(), server.connect());
    echo(&mut spinning, b"spin");
    next(&fired);
    for _ in 0..100 {
        echo(&mut quiet, b"quiet");
    }
    server.stop();
}

#[test]
fn a_connections_timers_go_with_it_and_never_reach_the_slots_next_tenant() {
    let (server, fired) = timed(|conn| {
        for kind in 1..=20 {
            conn.set_timer(TimerKind(kind), ms(u64::from(kind) * 10));
        }
    });
    for _ in 0..5 {
        let mut client = server.connect();
        echo(&mut client, b"x");
        drop(client);
        eventually("it is gone", || server.handle.count() == 0);
        // What fired in time was its own; whoever comes now has its slot.
        let own: Vec<_> = fired.try_iter().collect();
        assert!(own.iter().all(|(id, ..)| !server.handle.is_open(*id)));
        let mut successor = server.connect();
        successor.write_all(b"").unwrap();
        assert!(fired.recv_timeout(ms(250)).is_err(), "a timer of the one before");
    }
    server.stop();
}

#[test]
fn timers_keep_nothing_alive_and_leave_nothing_behind() {
    let (server, _fired) = timed(|conn| {
        (0..50).for_each(|kind| conn.set_timer(TimerKind(kind), ms(600_000)));
        conn.set_idle_timeout(Some(ms(600_000)));
    });
    let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| echo(client, b"x"));
    eventually("they are set", || server.handle.stats().total().timers >= 510);
    drop(clients);
    eventually("all is gone", || server.handle.count() == 0 && server.handle.stats().total().timers == 0);
    server.stop();
}

#[test]
fn a_reactors_own_timers_fire_move_and_are_taken_back() {
    let (told, fired) = channel();
    let server = serve(Engine::builder().reactors(2), move |_| {
        let told = told.clone();
        Script::<()>::new()
            .start(|reactor| {
                for (kind, after) in [(1, 150), (2, 50), (3, 100), (4, 10), (2, 200)] {
                    reactor.set_timer(TimerKind(kind), ms(after));
                }
                assert!(reactor.cancel_timer(TimerKind(4)));
                assert!(!reactor.cancel_timer(TimerKind(4)));
            })
            .reactor_timer(move |reactor: &mut Reactor<'_>, kind| {
                tell(&told, (reactor.id(), kind, Instant::now()));
                if kind == TimerKind(2) {
                    reactor.set_timer(TimerKind(5), ms(10));
                }
            })
    });
    let mut all = next_n(&fired, 8);
    all.sort_by_key(|(reactor, _, at)| (*reactor, *at));
    for (n, (reactor, kind, _)) in all.iter().enumerate() {
        assert_eq!((*reactor, kind.0), (ReactorId((n / 4) as u16), [3, 1, 2, 5][n % 4]));
    }
    assert!(fired.recv_timeout(ms(200)).is_err(), "once each");
    server.stop();
}

/// Two connections' timers and the reactor's own are due in one tick; the first to fire takes the others back, and sets all of
/// them again.
#[test]
fn timers_of_others_can_be_cancelled_and_set_again_in_a_callback() {
    const ROUNDS: u32 = 30;
    let (told, fired) = channel();
    let server = serve(local().reactors(1), move |_| {
        let (told, also) = (told.clone(), told.clone());
        // Whoever fires has fired; of the others, who was still set.
        let mut left = ROUNDS;
        let round = std::rc::Rc::new(std::cell::RefCell::new(move |reactor: &mut Reactor<'_>| {
            let own = reactor.cancel_timer(TimerKind(1));
            let ids = reactor.connections();
            let mut conns = |deed: &mut dyn FnMut(&mut Conn<'_>)| {
                ids.iter().for_each(|&id| deed(&mut reactor.conn(id).unwrap()));
            };
            let mut taken = usize::from(own);
            conns(&mut |conn| taken += usize::from(conn.cancel_timer(TimerKind(1))));
            left -= 1;
            if left > 0 {
                conns(&mut |conn| conn.set_timer(TimerKind(1), ms(2)));
                reactor.set_timer(TimerKind(1), ms(2));
            }
            taken
        }));
        let same = std::rc::Rc::clone(&round);
        Script::<()>::new()
            .timer(move |conn, (), _| {
                tell(&told, (round.borrow_mut())(conn.reactor()));
                Action::Continue
            })
            .reactor_timer(move |reactor, _| tell(&also, (same.borrow_mut())(reactor)))
    });
    let mut clients = [server.connect(), server.connect()];
    clients.iter_mut().for_each(|client| echo(client, b"x"));
    server.ask(0, |_, reactor| {
        for id in reactor.connections() {
            reactor.conn(id).unwrap().set_timer(TimerKind(1), ms(20));
        }
        reactor.set_timer(TimerKind(1), ms(20));
    });
    for round in 0..ROUNDS {
        assert_eq!(next(&fired), 2, "in round {round} one fired, and the other two were still set");
    }
    assert!(fired.recv_timeout(ms(100)).is_err());
    assert_eq!(server.handle.stats().total().timers, 0);
    server.stop();
}
