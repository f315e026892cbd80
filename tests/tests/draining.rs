//! Draining: who waits is served, who comes later is refused, who is there goes on, and what is left at the end is closed
//! with a reason.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{ErrorKind, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{Action, Builder, CloseReason, Connect, Engine, Listener, On, ReactorId, Running};
use wheelhouse_tests::blow_up;

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// An engine on a port that is nobody's when it has stopped listening.
fn fixed() -> Builder {
    Engine::builder().listen(format!("tcp://127.0.0.1:{}", free_port()))
}

/// Waits until nobody can connect any more; how many could until then.
fn refuses(at: SocketAddr) -> u64 {
    let mut late = 0;
    eventually("newcomers are refused", || match TcpStream::connect(at) {
        Ok(_) => {
            late += 1;
            false
        }
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    });
    late
}

/// Waits for its threads.
fn ends(running: Running) {
    within("the engine's threads end", move || running.join().unwrap());
}

/// Who has connected and said something before the engine ran, or while its reactors are busy.
fn waiting_clients(at: SocketAddr, count: usize) -> Vec<TcpStream> {
    let clients: Vec<_> = (0..count).map(|_| connect(at)).collect();
    clients.iter().for_each(|client| (&mut &*client).write_all(b"I was here").unwrap());
    clients
}

fn all_are_answered(clients: Vec<TcpStream>) {
    for mut client in clients {
        expect(&mut client, b"I was here");
    }
}

#[test]
fn who_waited_before_the_engine_ran_is_served_and_then_it_stops() {
    let _crowd = crowd();
    for reuse_port in [false, true] {
        let builder = fixed().reactors(2).reuse_port(reuse_port).accept_budget(7);
        let engine = builder.build(|_| Script::<()>::new()).unwrap();
        let (handle, at) = (engine.handle(), tcp(&engine.addresses()[0]));
        let clients = waiting_clients(at, 200);
        handle.drain(HOUR);
        let running = engine.start().unwrap();
        let late = refuses(at);
        all_are_answered(clients);
        ends(running);
        let total = handle.stats().total();
        assert!((200..=200 + late).contains(&total.opened), "{total:?}");
        assert_eq!((total.accepted, total.closed, total.shed), (total.opened, total.opened, 0));
    }
}

#[test]
fn who_waited_for_busy_reactors_is_served_too() {
    let _crowd = crowd();
    for reuse_port in [false, true] {
        let server = serve(fixed().reactors(2).reuse_port(reuse_port), |_| Script::<()>::new());
        let blocked = [server.block(0), server.block(1)];
        let clients = waiting_clients(server.at(), 200);
        server.handle.drain(HOUR);
        drop(blocked);
        let late = refuses(server.at());
        all_are_answered(clients);
        let total = server.handle.stats().total();
        assert!((200..=200 + late).contains(&total.opened) && total.shed == 0, "{total:?}");
        server.stop();
    }
}

/// The usual way to end: whoever is there is finished as soon as the handler is told.
#[test]
fn who_waited_is_served_before_the_handler_is_told_and_finishes_all() {
    let _crowd = crowd();
    for reuse_port in [false, true] {
        let server = serve(fixed().reactors(2).reuse_port(reuse_port), |_| {
            Script::<()>::new().stopping(|reactor, _| {
                reactor.finish_all();
            })
        });
        let blocked = [server.block(0), server.block(1)];
        let clients = waiting_clients(server.at(), 200);
        server.handle.drain(HOUR);
        drop(blocked);
        for mut client in clients {
            let (got, ending) = read_to_end(&mut client);
            assert_eq!((&got[..], ending), (&b"I was here"[..], Ending::Eof));
        }
        server.stop();
    }
}

#[test]
fn who_waited_at_a_unix_socket_is_served_and_its_file_goes_with_the_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let url = format!("unix:{}", path.display());
    let engine = Engine::builder().listen(url).reactors(2).build(|_| Script::<()>::new()).unwrap();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = UnixStream::connect(&path).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(b"I was here").unwrap();
            client
        })
        .collect();
    engine.handle().drain(HOUR);
    let running = engine.start().unwrap();
    for mut client in clients {
        expect(&mut client, b"I was here");
    }
    ends(running);
    assert!(!path.exists());
}

/// What the handlers tell of the end, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Stopping(ReactorId, Instant),
    Close(CloseReason),
    Stop(ReactorId),
    Panic(String),
}

/// Echoes, and tells of the end.
fn telling(builder: Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let server = serve(builder, move |_| {
        let [stopping, closes, stops] = std::array::from_fn(|_| told.clone());
        Script::new()
            .stopping(move |reactor, until| tell(&stopping, Told::Stopping(reactor.id(), until)))
            .close(move |closed, ()| tell(&closes, Told::Close(*closed.reason())))
            .stop(move |reactor| tell(&stops, Told::Stop(reactor.id())))
    });
    (server, events)
}

#[test]
fn who_is_there_goes_on_and_the_last_one_ends_it() {
    let (server, events) = telling(fixed().reactors(1));
    let mut first = server.connect();
    let mut second = server.connect();
    echo(&mut first, b"before");
    echo(&mut second, b"before");
    let called = Instant::now();
    server.handle.drain(HOUR);
    let Told::Stopping(ReactorId(0), until) = next(&events) else { panic!("not told first") };
    // Counted from the beginning of the turn that heard of it.
    assert!(until + PATIENCE >= called + HOUR && until <= Instant::now() + HOUR);
    refuses(server.at());
    for _ in 0..100 {
        echo(&mut first, b"and on");
    }
    drop(second);
    assert_eq!(next(&events), Told::Close(CloseReason::Peer { code: None }));
    echo(&mut first, b"and on");
    drop(first);
    let rest = [Told::Close(CloseReason::Peer { code: None }), Told::Stop(ReactorId(0))];
    assert_eq!(next_n(&events, 2), rest);
    server.stop();
    assert_eq!(events.try_iter().collect::<Vec<_>>(), []);
}

#[test]
fn every_reactor_is_told_once_and_without_connections_it_stops_at_once() {
    for within in [Duration::ZERO, MS, HOUR, Duration::MAX] {
        let (server, events) = telling(local().reactors(3));
        server.handle.drain(within);
        let mut told = Vec::new();
        while told.len() < 6 {
            told.push(next(&events));
        }
        for reactor in (0..3).map(ReactorId) {
            let is_told = |told: &&Told| matches!(told, Told::Stopping(id, _) if *id == reactor);
            assert_eq!(told.iter().filter(is_told).count(), 1, "{within:?}: {told:?}");
            assert_eq!(told.iter().filter(|told| **told == Told::Stop(reactor)).count(), 1);
        }
        server.stop();
    }
}

#[test]
fn what_is_left_at_the_end_of_the_time_is_closed() {
    for reuse_port in [false, true] {
        let (server, events) = telling(local().reactors(2).reuse_port(reuse_port));
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| echo(client, b"here"));
        let called = Instant::now();
        server.handle.drain(200 * MS);
        for mut client in clients {
            assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
        }
        assert!(called.elapsed() >= 200 * MS);
        let told = next_n(&events, 14);
        assert_eq!(told.iter().filter(|told| **told == Told::Close(CloseReason::Shutdown)).count(), 10);
        server.stop();
    }
}

#[test]
fn the_first_call_counts_and_a_shutdown_may_follow() {
    let (server, events) = telling(local().reactors(1));
    let mut client = server.connect();
    echo(&mut client, b"here");
    server.handle.drain(HOUR);
    server.handle.drain(Duration::ZERO);
    assert!(matches!(next(&events), Told::Stopping(..)));
    thread::sleep(100 * MS);
    echo(&mut client, b"still here");
    server.handle.shutdown();
    assert_eq!(next_n(&events, 2), [Told::Close(CloseReason::Shutdown), Told::Stop(ReactorId(0))]);
    server.handle.drain(HOUR);
    server.stop();
}

#[test]
fn a_handler_that_panics_when_it_is_told_does_not_hold_it_up() {
    let (told, events) = channel();
    let server = serve(local().reactors(1), move |_| {
        let (told, stops) = (told.clone(), told.clone());
        Script::<()>::new()
            .stopping(|_, _| blow_up("not now"))
            .panic(move |text| tell(&told, Told::Panic(text.to_owned())))
            .stop(move |reactor| tell(&stops, Told::Stop(reactor.id())))
    });
    server.handle.drain(HOUR);
    assert_eq!(next_n(&events, 2), [Told::Panic("not now".into()), Told::Stop(ReactorId(0))]);
}

#[test]
fn a_connection_whose_proxy_says_nothing_ends_with_its_handshake() {
    let listener = Listener::new("tcp://127.0.0.1:0").proxy_protocol(["127.0.0.1"]);
    let builder = Engine::builder().listen(listener).reactors(1).handshake_timeout(200 * MS);
    let (server, events) = telling(builder);
    let mut client = server.connect();
    server.handle.drain(HOUR);
    assert!(matches!(next(&events), Told::Stopping(..)));
    assert_eq!(next_n(&events, 2), [Told::Close(CloseReason::Handshake), Told::Stop(ReactorId(0))]);
    read_to_end(&mut client);
}

#[test]
fn connections_that_we_have_dialled_are_waited_for() {
    let (server, events) = telling(Engine::builder().reactors(2));
    let (peer, url) = listener();
    server.handle.connect(On::Reactor(ReactorId(1)), Connect::to(&url)).unwrap();
    let mut accepted = accept(&peer);
    echo(&mut accepted, b"hello");
    server.handle.drain(HOUR);
    assert!(matches!(next_n(&events, 2)[..], [Told::Stopping(..), Told::Stopping(..)]));
    echo(&mut accepted, b"still here");
    drop(accepted);
    assert_eq!(next(&events), Told::Close(CloseReason::Peer { code: None }));
    let mut stops = next_n(&events, 2);
    stops.sort_by_key(|told| matches!(told, Told::Stop(ReactorId(1))));
    assert_eq!(stops, [Told::Stop(ReactorId(0)), Told::Stop(ReactorId(1))]);
}

/// Of reactors whose last connections go at the same time one finds out.
#[test]
fn it_ends_whichever_reactor_has_the_last_one() {
    for round in 0..200 {
        let engine = local().reactors(2).build(|_| Script::<()>::new()).unwrap();
        let (handle, at) = (engine.handle(), tcp(&engine.addresses()[0]));
        let running = engine.start().unwrap();
        let mut clients = [connect(at), connect(at)];
        clients.iter_mut().for_each(|client| echo(client, b"x"));
        if round % 2 == 0 {
            handle.drain(HOUR);
        }
        let [one, two] = clients.map(|client| thread::spawn(move || drop(client)));
        if round % 2 == 1 {
            handle.drain(HOUR);
        }
        one.join().unwrap();
        two.join().unwrap();
        ends(running);
    }
}

/// Lines in, lines out, by as many clients as there are; each says how many answers it got.
fn talkers(at: SocketAddr, count: usize) -> Vec<thread::JoinHandle<(String, u64)>> {
    let talk = move || {
        let mut client = connect(at);
        let name = client.local_addr().unwrap().to_string();
        let mut lines = std::io::BufReader::new(client.try_clone().unwrap());
        let mut answers = 0;
        loop {
            let asked = client.write_all(b"one\ntwo\nthree\n").is_ok();
            for expected in ["one\n", "two\n", "three\n"] {
                let mut line = String::new();
                match std::io::BufRead::read_line(&mut lines, &mut line) {
                    Ok(n) if n > 0 => {
                        assert_eq!(line, expected);
                        answers += 1;
                    }
                    Ok(_) => return (name, answers),
                    Err(error) => {
                        assert_ne!(error.kind(), ErrorKind::WouldBlock, "a hang");
                        return (name, answers);
                    }
                }
            }
            if !asked {
                return (name, answers);
            }
        }
    };
    (0..count).map(|_| thread::Builder::new().stack_size(128 << 10).spawn(talk).unwrap()).collect()
}

/// Drains while everybody talks; what each handler took, and each client got.
fn drains_under_load(reuse_port: bool, finish: bool, within_time: Duration) {
    let before = descriptors();
    let (told, closes) = channel();
    let listener =
        Listener::new(format!("tcp://127.0.0.1:{}", free_port())).framing(wheelhouse::Framing::lines(80));
    let builder = Engine::builder().listen(listener).reactors(2).reuse_port(reuse_port);
    let server = serve(builder, move |_| {
        let told = told.clone();
        Script::<u64>::new()
            .message(|conn, accepted, message| {
                *accepted += 1;
                assert!(!conn.send(message).is_refused());
                Action::Continue
            })
            .stopping(move |reactor, _| {
                if finish {
                    reactor.finish_all();
                }
            })
            .close(move |closed, accepted| {
                let peer = closed.peer_addr().unwrap().to_string();
                tell(&told, (peer, accepted, *closed.reason(), closed.unsent()));
            })
    });
    let talkers = talkers(server.at(), 100);
    eventually("all of them talk", || {
        let total = server.handle.stats().total();
        total.opened == 100 && total.messages_in > 20_000
    });
    server.handle.drain(within_time);
    let late = refuses(server.at());
    let heard: std::collections::HashMap<_, _> =
        talkers.into_iter().map(|talker| talker.join().unwrap()).collect();
    let handle = server.handle.clone();
    server.stop();
    let closes: Vec<_> = closes.try_iter().collect();
    assert!((100..=100 + late).contains(&(closes.len() as u64)) && heard.len() == 100);
    for (peer, accepted, reason, unsent) in closes {
        let Some(&answers) = heard.get(&peer) else {
            assert_eq!(accepted, 0, "one that only looked whether it is let in");
            continue;
        };
        match (finish, reason) {
            // Each message that was taken has been answered.
            (true, CloseReason::Local) => assert_eq!((answers, unsent), (accepted, 0), "{peer}"),
            (false, CloseReason::Shutdown) => assert!(answers <= accepted, "{peer}"),
            other => panic!("{peer}: {other:?}"),
        }
    }
    assert_eq!(handle.count(), 0);
    drop(handle);
    assert_eq!(descriptors(), before, "every descriptor is closed");
    assert_eq!(engine_threads(), 0, "every thread has ended");
}

#[test]
fn under_load_every_message_that_was_taken_is_answered_when_all_are_finished() {
    alone("under_load_every_message_that_was_taken_is_answered_when_all_are_finished", || {
        drains_under_load(false, true, HOUR);
        drains_under_load(true, true, HOUR);
    });
}

#[test]
fn under_load_that_does_not_end_all_are_closed_with_a_reason() {
    alone("under_load_that_does_not_end_all_are_closed_with_a_reason", || {
        drains_under_load(false, false, 100 * MS);
        drains_under_load(true, false, 100 * MS);
    });
}
