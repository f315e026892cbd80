//! Mailboxes: bounded, never deaf to what closes, resumes or stops, and no sender or reactor waits for ever.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    collections::HashSet,
    io::Write,
    sync::{Arc, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{
    Action, Audience, Builder, CloseReason, Conn, ConnId, Engine, Framing, Listener, ReactorId,
};

fn lines() -> Builder {
    Engine::builder().listen(Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(4096)))
}

#[test]
fn a_full_mailbox_gives_back_what_it_refuses_and_takes_what_it_must() {
    let (told, closes) = channel();
    let (opened, ids) = channel();
    let server = serve(lines().reactors(1).mailbox(16), move |_| {
        let (told, opened) = (told.clone(), opened.clone());
        Script::<()>::new()
            .open(move |conn, _| {
                opened.send(conn.id()).unwrap();
                Action::Continue
            })
            .close(move |closed, ()| tell(&told, (closed.id(), *closed.reason())))
    });
    let (mut first, id) = (server.connect(), next(&ids));
    let (_second, other) = (server.connect(), next(&ids));
    let (third, paused) = (server.connect(), next(&ids));
    server.ask_conn(paused, |conn, _| conn.pause());
    let blocked = server.block(0);
    for n in 0..16 {
        server.handle.send(id, format!("{n}")).unwrap();
    }
    let refused = server.handle.send(id, "refused").unwrap_err().0;
    assert_eq!(refused.bytes(), b"refused");
    let refused = server.handle.broadcast(Audience::Open, "refused").unwrap_err().0;
    assert_eq!(refused.bytes(), b"refused");
    assert_eq!(server.handle.send_many(&[id, other], "refused").unwrap_err().0, [ReactorId(0)]);
    let (ran, runs) = channel();
    let job = move |_: &mut Script, _: &mut wheelhouse::Reactor<'_>| ran.send(()).unwrap();
    let job = server.poster.post(ReactorId(0), job).unwrap_err().0;
    let answer = server.poster.post_to(id, |_, _, _| panic!("refused, so never run"));
    assert!(answer.is_err());
    let begun = Instant::now();
    let wait = Duration::from_millis(50);
    assert!(server.handle.send_timeout(id, "refused", wait).is_err());
    assert!(server.poster.post_to_timeout(id, |_, _, _| panic!("never"), wait).is_err());
    assert!(begun.elapsed() >= 2 * wait);
    server.handle.close(other);
    server.handle.resume(paused);
    server.handle.finish(id);
    let mut third = third;
    third.write_all(b"read again\n").unwrap();
    drop(blocked);
    let lines: String = (0..16).map(|n| format!("{n}\n")).collect();
    let (got, _) = read_to_end(&mut first);
    assert_eq!(String::from_utf8_lossy(&got), lines);
    drop(first);
    let closed: HashSet<_> = next_n(&closes, 2).into_iter().collect();
    assert_eq!(closed, HashSet::from([(id, CloseReason::Local), (other, CloseReason::Local)]));
    expect(&mut third, b"read again\n");
    // What came back can be put in again.
    assert!(server.poster.post(ReactorId(0), job).is_ok());
    next(&runs);
    let blocked = server.block(0);
    while server.poster.post(ReactorId(0), |_, _| ()).is_ok() {}
    server.handle.shutdown();
    drop(blocked);
    assert_eq!(next(&closes), (paused, CloseReason::Shutdown));
    server.stop();
}

#[test]
fn who_waits_for_room_gets_it_when_the_reactor_goes_on() {
    let (server, ids) = telling_ids(lines().reactors(1).mailbox(16));
    let (mut client, id) = client(&server, &ids);
    let blocked = server.block(0);
    while server.handle.send(id, "filler").is_ok() {}
    let (sender, poster) = (server.handle.clone(), server.poster.clone());
    let sending = thread::spawn(move || sender.send_timeout(id, "waited", PATIENCE).is_ok());
    let posting = thread::spawn(move || {
        let job =
            |_: &mut Script, conn: &mut Conn<'_>, _: &mut ()| assert!(!conn.send("waited").is_refused());
        poster.post_to_timeout(id, job, PATIENCE).is_ok()
    });
    drop(blocked);
    assert!(sending.join().unwrap() && posting.join().unwrap());
    expect(&mut client, "filler\n".repeat(16).as_bytes());
    expect(&mut client, b"waited\nwaited\n");
    server.stop();
}

#[test]
fn a_refused_reactor_is_told_when_there_is_room() {
    let (told, rooms) = channel();
    let server = serve(lines().reactors(2).mailbox(16), move |_| {
        let told = told.clone();
        Script::<()>::new().room(move |reactor, of| tell(&told, (reactor.id(), of)))
    });
    let blocked = server.block(1);
    while server.poster.post(ReactorId(1), |_, _| ()).is_ok() {}
    let poster = server.poster.clone();
    let refusals =
        server.ask(0, move |_, _| (0..5).filter(|_| poster.post(ReactorId(1), |_, _| ()).is_err()).count());
    assert_eq!(refusals, 5);
    assert!(rooms.try_recv().is_err(), "there is no room yet");
    drop(blocked);
    assert_eq!(next(&rooms), (ReactorId(0), ReactorId(1)));
    // Told once for all five, and there is room indeed.
    let poster = server.poster.clone();
    assert!(server.ask(0, move |_, _| poster.post(ReactorId(1), |_, _| ()).is_ok()));
    server.ask(1, |_, _| ());
    server.ask(0, |_, _| ());
    assert!(rooms.try_recv().is_err());
    server.stop();
}

/// A reactor that fills its own mailbox makes the room itself; it must be told of it all the same.
#[test]
fn a_reactor_refused_by_its_own_mailbox_is_told_of_room_too() {
    for sends_after in [false, true] {
        let (told, rooms) = channel();
        let server = serve(lines().reactors(1).mailbox(16), move |spot| {
            let (told, handle) = (told.clone(), spot.handle());
            Script::<()>::new().room(move |_, of| tell(&told, of)).message(move |conn, _, _| {
                while handle.send(conn.id(), "filler").is_ok() {}
                if sends_after {
                    conn.send("after");
                }
                Action::Continue
            })
        });
        let mut client = server.connect();
        client.write_all(b"go\n").unwrap();
        expect(&mut client, "filler\n".repeat(16).as_bytes());
        assert_eq!(next(&rooms), ReactorId(0));
        server.stop();
    }
}

/// Each line from one client goes to the other one, on the other reactor, through its mailbox; who is refused holds the
/// line until there is room.
#[test]
fn two_reactors_that_flood_each_other_do_not_deadlock_and_lose_nothing() {
    let (opened, ids) = channel();
    let server = serve(lines().reactors(2).mailbox(16), move |spot| {
        let (opened, handle, resumer) = (opened.clone(), spot.handle(), spot.handle());
        let held: std::rc::Rc<std::cell::RefCell<Vec<ConnId>>> = Default::default();
        let waiting = std::rc::Rc::clone(&held);
        Script::<Option<ConnId>>::new()
            .open(move |conn, _| {
                opened.send(conn.id()).unwrap();
                Action::Continue
            })
            .message(move |conn, peer, message| match handle.send(peer.unwrap(), message.to_payload()) {
                Ok(()) => Action::Continue,
                Err(_) => {
                    held.borrow_mut().push(conn.id());
                    Action::Hold
                }
            })
            .room(move |_, _| waiting.borrow_mut().drain(..).for_each(|id| resumer.resume(id)))
    });
    let pairs: Vec<_> = (0..4)
        .map(|_| {
            let (one, a) = (server.connect(), next(&ids));
            let (two, b) = (server.connect(), next(&ids));
            assert_ne!(a.reactor(), b.reactor());
            server.ask_conn(a, move |_, peer| *peer = Some(b));
            server.ask_conn(b, move |_, peer| *peer = Some(a));
            (one, two)
        })
        .collect();
    let text: Vec<u8> = (0..5_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let text: Arc<[u8]> = text.into();
    let ends: Vec<_> = pairs.into_iter().flat_map(|(one, two)| [one, two]).collect();
    let threads: Vec<_> = ends
        .into_iter()
        .flat_map(|end| {
            let (mut reads, mut writes) = (end.try_clone().unwrap(), end);
            let (sent, expected) = (Arc::clone(&text), Arc::clone(&text));
            [
                thread::spawn(move || writes.write_all(&sent).unwrap()),
                thread::spawn(move || expect(&mut reads, &expected)),
            ]
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    server.stop();
}

#[test]
fn no_wake_up_is_lost_over_twenty_thousand_posts_to_a_sleeping_reactor() {
    let server = serve(local().reactors(1), |_| Script::<()>::new());
    let (answer, answers) = channel();
    let begun = Instant::now();
    for n in 0..20_000 {
        let answer = answer.clone();
        assert!(server.poster.post(ReactorId(0), move |_, _| answer.send(n).unwrap()).is_ok());
        assert_eq!(next(&answers), n);
        assert!(begun.elapsed() < 3 * PATIENCE, "{n} in {:?}", begun.elapsed());
    }
    server.stop();
}

#[test]
fn a_broadcast_is_taken_by_all_reactors_or_by_none() {
    let (server, ids) = telling_ids(lines().reactors(2).mailbox(16));
    let (mut one, a) = client(&server, &ids);
    let (mut two, b) = client(&server, &ids);
    assert_ne!(a.reactor(), b.reactor());
    for full in 0..2 {
        let blocked = server.block(full);
        while server.poster.post(ReactorId(full), |_, _| ()).is_ok() {}
        for _ in 0..100 {
            let refused = server.handle.broadcast(Audience::Open, "refused").unwrap_err().0;
            assert_eq!(refused.bytes(), b"refused");
        }
        // The other mailbox has all its places still.
        let other = server.block(1 - full);
        let places = (0..20).filter(|_| server.poster.post(ReactorId(1 - full), |_, _| ()).is_ok()).count();
        assert_eq!(places, 16);
        drop((blocked, other));
        eventually("there is room", || server.handle.broadcast(Audience::Open, "taken").is_ok());
        expect(&mut one, b"taken\n");
        expect(&mut two, b"taken\n");
    }
    server.stop();
}
