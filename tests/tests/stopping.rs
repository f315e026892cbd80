//! Stopping: under load, every connection is told of, every thread ends, and nothing stays open; nor does it after a start
//! that fails.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
};

use fixture::*;
use wheelhouse::{Audience, Builder, CloseReason, Connect, Engine, Error, Handle, On, ReactorId};

fn stops_under_load(reuse_port: bool) {
    let before = descriptors();
    {
        let (told, closes) = channel();
        let (last, stops) = channel();
        let server = serve(local().reactors(2).reuse_port(reuse_port), move |_| {
            let (told, last) = (told.clone(), last.clone());
            Script::<()>::new()
                .close(move |closed, ()| tell(&told, (closed.id(), *closed.reason(), closed.opened())))
                .stop(move |reactor| tell(&last, (reactor.id(), reactor.len())))
        });
        let clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
        eventually("all are open", || server.handle.stats().total().opened == 200);
        let busy: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn(move || {
                        let mut buffer = [0; 1024];
                        // Until the engine ends it, one way or the other: never a hang.
                        while client.write_all(&[1; 1024]).is_ok() {
                            match client.read(&mut buffer) {
                                Ok(0) => return,
                                Ok(_) => {}
                                Err(error) => {
                                    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "a hang");
                                    return;
                                }
                            }
                        }
                    })
                    .unwrap()
            })
            .collect();
        eventually("there is load", || server.handle.stats().total().bytes_in > 1 << 20);
        let handle = server.handle.clone();
        server.stop();
        busy.into_iter().for_each(|client| client.join().unwrap());
        let closes: Vec<_> = closes.try_iter().collect();
        assert_eq!(closes.len(), 200);
        for (id, reason, opened) in closes {
            assert_eq!((reason, opened), (CloseReason::Shutdown, true));
            assert!(!handle.is_open(id));
        }
        let mut stops: Vec<_> = stops.try_iter().collect();
        stops.sort();
        assert_eq!(stops, [(ReactorId(0), 0), (ReactorId(1), 0)]);
        let total = handle.stats().total();
        assert_eq!((total.accepted, total.opened, total.closed, total.connections), (200, 200, 200, 0));
        assert_eq!((total.buffered, handle.count(), handle.connections().count()), (0, 0, 0));
    }
    assert_eq!(descriptors(), before, "every descriptor is closed");
}

#[test]
fn under_load_every_connection_is_told_of_and_nothing_stays_open_after_a_hand_over() {
    alone("under_load_every_connection_is_told_of_and_nothing_stays_open_after_a_hand_over", || {
        stops_under_load(false);
    });
}

#[test]
fn under_load_every_connection_is_told_of_and_nothing_stays_open_with_reuse_port() {
    alone("under_load_every_connection_is_told_of_and_nothing_stays_open_with_reuse_port", || {
        stops_under_load(true);
    });
}

/// An engine on a port that is free again, and nobody's, when it has stopped.
fn fixed() -> Builder {
    Engine::builder().listen(format!("tcp://127.0.0.1:{}", free_port()))
}

/// While clients connect as fast as they can: one that got in before the stop must not hang after it, although somebody
/// keeps a handle.
fn stops_amid_a_storm(reuse_port: bool) {
    let server = serve(fixed().reactors(2).reuse_port(reuse_port), |_| Script::<()>::new());
    let at = server.at();
    let stop = Arc::new(AtomicBool::new(false));
    let storm: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut clients = Vec::new();
                while !stop.load(Ordering::Relaxed) && clients.len() < 300 {
                    match TcpStream::connect(at) {
                        Ok(client) => clients.push(client),
                        Err(_) => break,
                    }
                }
                clients
            })
        })
        .collect();
    eventually("the storm has begun", || server.handle.stats().total().opened > 50);
    let handle = server.handle.clone();
    server.stop();
    stop.store(true, Ordering::Relaxed);
    for mut client in storm.into_iter().flat_map(|thread| thread.join().unwrap()) {
        impatient(&client);
        // A listener that closes may leave the client of a half-made connection untold, by the kernel's doing; what it
        // sends then is answered with a reset. A connection that somebody holds would take it.
        let _ = client.write_all(b"?");
        read_to_end(&mut client);
    }
    assert_eq!(handle.count(), 0, "none is on its way to a reactor that is gone");
    let total = handle.stats().total();
    assert_eq!(total.accepted, total.closed, "those shed at the stop are not accepted ones");
}

#[test]
fn nobody_who_came_during_the_stop_is_left_hanging() {
    let _crowd = crowd();
    for round in 0..20 {
        stops_amid_a_storm(round % 2 == 1);
    }
}

#[test]
fn an_engine_told_to_stop_before_it_ran_stops_at_once() {
    let engine = local().reactors(2).build(|_| Script::<()>::new()).unwrap();
    engine.handle().shutdown();
    within("it stops", move || engine.run().unwrap());
}

#[test]
fn a_running_engine_that_is_dropped_stops() {
    let engine = fixed().reactors(2).build(|_| Script::<()>::new()).unwrap();
    let at = tcp(&engine.addresses()[0]);
    let running = engine.start().unwrap();
    let mut client = connect(at);
    echo(&mut client, b"alive");
    within("it stops", move || drop(running));
    read_to_end(&mut client);
    assert!(TcpStream::connect(at).is_err());
}

#[test]
fn after_the_stop_a_handle_answers_and_asks_nothing() {
    let server = serve(local().reactors(2).mailbox(16), |_| Script::<()>::new());
    let mut client = server.connect();
    echo(&mut client, b"alive");
    let id = server.handle.connections().next().unwrap();
    let (handle, poster, at) = (server.handle.clone(), server.poster.clone(), server.at());
    server.stop();
    assert!(!handle.is_open(id));
    assert_eq!((handle.count(), handle.connections().count()), (0, 0));
    // More often than a mailbox has places.
    for _ in 0..100 {
        handle.send(id, "late").unwrap();
        handle.send_many(&[id], "late").unwrap();
        handle.broadcast(Audience::Open, "late").unwrap();
    }
    handle.close(id);
    handle.shutdown();
    assert!(poster.post(ReactorId(0), |_, _| panic!("it has stopped")).is_ok());
    assert!(poster.post_to(id, |_, _, _| panic!("it has stopped")).is_ok());
    let dialled = handle.connect(On::Any, Connect::to(format!("tcp://{at}")));
    assert!(matches!(dialled, Err(Error::Stopping)), "{dialled:?}");
    read_to_end(&mut client);
}

/// Asks something of its engine when it is dropped, and tells.
struct LastWish {
    handle: Handle,
    told: Sender<bool>,
    panics: bool,
}

impl Drop for LastWish {
    fn drop(&mut self) {
        let is_refused = self.handle.broadcast(Audience::Open, "farewell").is_err();
        tell(&self.told, is_refused);
        if self.panics {
            std::panic::resume_unwind(Box::new("a last wish that fails"));
        }
    }
}

#[test]
fn what_is_posted_too_late_is_dropped_and_may_still_ask_of_its_engine_and_panic() {
    let (told, wishes) = channel();
    let server = serve(local().reactors(2), move |spot| {
        let (poster, told) = (spot.poster(), told.clone());
        Script::<()>::new().stop(move |reactor| {
            for panics in [false, true, false] {
                let wish = LastWish { handle: Handle::clone(&poster), told: told.clone(), panics };
                assert!(poster.post(reactor.id(), move |_, _| drop(wish)).is_ok());
            }
        })
    });
    let client = server.connect();
    eventually("it is open", || server.handle.count() == 1);
    server.stop();
    drop(client);
    assert_eq!(next_n(&wishes, 6), [false; 6]);
}

#[test]
fn what_a_handler_that_never_ran_has_posted_is_dropped_and_may_ask_of_its_engine() {
    let (told, wishes) = channel();
    let engine = local().reactors(2).build(move |spot| {
        let wish = LastWish { handle: spot.handle(), told: told.clone(), panics: true };
        assert!(spot.poster().post(spot.reactor(), move |_, _| drop(wish)).is_ok());
        assert_ne!(spot.reactor(), ReactorId(1), "it cannot be made");
        Script::<()>::new()
    });
    let error = within("the start fails", move || engine.unwrap().start().err()).unwrap();
    assert!(matches!(error, Error::FactoryPanicked { .. }), "{error}");
    assert_eq!(next_n(&wishes, 2), [false; 2]);
}

#[test]
fn an_engine_that_never_ran_is_gone_for_its_handles_too() {
    let (told, wishes) = channel();
    let engine = local().reactors(2).mailbox(16).build(|_| Script::<()>::new()).unwrap();
    let (handle, poster) = (engine.handle(), engine.poster());
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    handle.adopt(On::Any, ours).unwrap();
    let wish = LastWish { handle: handle.clone(), told, panics: false };
    assert!(poster.post(ReactorId(1), move |_, _| drop(wish)).is_ok());
    drop(engine);
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "the socket was closed");
    assert!(!next(&wishes));
    for _ in 0..100 {
        assert!(poster.post(ReactorId(0), |_, _| panic!("it never runs")).is_ok());
    }
    let dialled = handle.connect(On::Any, Connect::to("tcp://127.0.0.1:1"));
    assert!(matches!(dialled, Err(Error::Stopping)), "{dialled:?}");
    assert_eq!(handle.count(), 0);
}

#[test]
fn whoever_drops_or_awaits_the_engine_on_its_own_thread_stops_it_and_waits_for_nobody() {
    for awaits in [false, true] {
        let engine = local().reactors(2).build(|_| Script::<()>::new()).unwrap();
        let (handle, poster) = (engine.handle(), engine.poster());
        let running = engine.start().unwrap();
        let (told, outcome) = channel();
        let posted = poster.post(ReactorId(0), move |_, _| {
            let error = if awaits { running.join().err() } else { None };
            tell(&told, error.map(|error| error.to_string()));
        });
        assert!(posted.is_ok());
        let expected = "cannot wait for the engine on a thread of its own: deadlock";
        assert_eq!(next(&outcome).as_deref(), awaits.then_some(expected));
        eventually("it stops", || handle.connect(On::Any, Connect::to("tcp://127.0.0.1:1")).is_err());
        assert_eq!(handle.stats().total().panics, 0);
    }
}

#[test]
fn a_handler_can_stop_the_engine() {
    let engine = Engine::builder().listen("tcp://127.0.0.1:0").reactors(2).build(|spot| {
        let handle = spot.handle();
        Script::<()>::new().message(move |conn, _, _| {
            conn.send("bye");
            handle.shutdown();
            wheelhouse::Action::Continue
        })
    });
    let engine = engine.unwrap();
    let mut client = connect(tcp(&engine.addresses()[0]));
    client.write_all(b"stop").unwrap();
    within("it stops", move || engine.run().unwrap());
    let (got, _) = read_to_end(&mut client);
    assert_eq!(got, b"bye");
}

#[test]
fn a_factory_that_panics_fails_the_start_and_leaves_nothing_running() {
    alone("a_factory_that_panics_fails_the_start_and_leaves_nothing_running", || {
        let before = descriptors();
        let made = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&made);
        let engine = fixed().reactors(4).build(move |_| {
            assert!(counted.fetch_add(1, Ordering::SeqCst) < 3, "no fourth one");
            Script::<()>::new()
        });
        let engine = engine.unwrap();
        let at = tcp(&engine.addresses()[0]);
        let error = within("the start fails", move || engine.start().err()).unwrap();
        assert!(
            matches!(&error, Error::FactoryPanicked { message, .. } if message == "no fourth one"),
            "{error}"
        );
        assert!(TcpStream::connect(at).is_err(), "nobody listens");
        assert_eq!(descriptors(), before);
        // A thread that has been joined may be on the kernel's list for a moment longer.
        eventually("no thread of the engine's is left", || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
            names.filter(|name| name.starts_with("wheelhouse")).count() == 0
        });
    });
}
