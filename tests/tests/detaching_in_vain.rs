//! Taking a connection out when something else ends it first: then nobody inherits, and `on_close` tells what it was.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use fixture::*;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wheelhouse::{
    Action, Audience, CloseReason, Conn, ConnId, Connect, Detached, Poster, Reactor, ReactorId, Tag,
};
use wheelhouse_tests::{blow_up, linger_zero};

/// What was told, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Request,
    Close(CloseReason),
    Heir,
    Dropped,
    Panic(String),
}

/// Tells when it is dropped.
struct Canary(Sender<Told>);

impl Drop for Canary {
    fn drop(&mut self) {
        tell(&self.0, Told::Dropped);
    }
}

type Request = fn(&mut Conn<'_>, &Poster<Script>, &Sender<Told>) -> Action;

/// An engine whose handler does this at the message `now`, and echoes everything else.
fn scene(request: Request) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let server = serve(local().reactors(1), move |spot| {
        let (poster, told, closes, panics) = (spot.poster(), told.clone(), told.clone(), told.clone());
        Script::new()
            .message(move |conn, (), message| {
                if message.bytes() != b"now" {
                    conn.send(message);
                    return Action::Continue;
                }
                request(conn, &poster, &told)
            })
            .close(move |closed, ()| tell(&closes, Told::Close(*closed.reason())))
            .panic(move |text| tell(&panics, Told::Panic(text.to_owned())))
    });
    (server, events)
}

/// Asks for the connection; what is told of the heir's fate goes the same way as everything else.
fn ask(conn: &mut Conn<'_>, told: &Sender<Told>) -> bool {
    let canary = Canary(told.clone());
    let told = told.clone();
    conn.detach(move |detached| {
        tell(&told, Told::Heir);
        drop((canary, detached));
    })
}

/// Waits until the peer's reset has arrived; nobody is served meanwhile.
fn await_reset(conn: &Conn<'_>) {
    let mut fds = [PollFd::new(conn.fd().unwrap(), PollFlags::empty())];
    let polled = poll(&mut fds, PollTimeout::try_from(PATIENCE).unwrap()).unwrap();
    assert_eq!(polled, 1, "no reset came");
}

fn say_now(server: &Server<Script>) -> TcpStream {
    let mut client = server.connect();
    client.write_all(b"now").unwrap();
    client
}

/// The reactor goes on.
fn is_well(server: &Server<Script>) {
    echo(&mut server.connect(), b"are you well?");
}

#[test]
fn a_reset_that_a_write_meets_comes_before_the_heir() {
    let (server, events) = scene(|conn, _, told| {
        conn.send("on its way at the end of the batch");
        assert!(ask(conn, told));
        tell(told, Told::Request);
        await_reset(conn);
        Action::Continue
    });
    let client = say_now(&server);
    assert_eq!(next(&events), Told::Request);
    linger_zero(&client);
    drop(client);
    assert_eq!(next_n(&events, 2), [Told::Dropped, Told::Close(CloseReason::Io)]);
    is_well(&server);
}

#[test]
fn a_reset_that_nobody_has_met_yet_is_the_heirs() {
    let (server, events) = scene(|conn, _, told| {
        let heirs = told.clone();
        assert!(conn.detach(move |Detached { socket, unread, .. }| {
            assert!(unread.is_empty());
            let error = TcpStream::from(socket).read(&mut [0; 8]).expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            tell(&heirs, Told::Heir);
        }));
        tell(told, Told::Request);
        await_reset(conn);
        Action::Continue
    });
    let client = say_now(&server);
    assert_eq!(next(&events), Told::Request);
    linger_zero(&client);
    drop(client);
    assert_eq!(next_n(&events, 2), [Told::Close(CloseReason::Detached), Told::Heir]);
    is_well(&server);
}

#[test]
fn a_panic_behind_it_takes_the_connection_and_nobody_inherits() {
    let (server, events) = scene(|conn, _, told| {
        assert!(ask(conn, told));
        blow_up("changed my mind")
    });
    let mut client = say_now(&server);
    let told = next_n(&events, 3);
    let expected = [Told::Panic("changed my mind".into()), Told::Dropped, Told::Close(CloseReason::Panic)];
    assert_eq!(told, expected);
    read_to_end(&mut client);
    is_well(&server);
}

#[test]
fn a_panic_of_the_heir_is_told_and_closes_the_socket_it_had() {
    let (server, events) = scene(|conn, _, _| {
        assert!(conn.detach(|_| blow_up("it was too much")));
        Action::Continue
    });
    let mut client = say_now(&server);
    let expected = [Told::Close(CloseReason::Detached), Told::Panic("it was too much".into())];
    assert_eq!(next_n(&events, 2), expected);
    assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
    is_well(&server);
}

#[test]
fn what_an_heir_had_captured_may_panic_when_it_is_dropped() {
    struct Grumbler;
    impl Drop for Grumbler {
        fn drop(&mut self) {
            blow_up("nobody called me");
        }
    }
    let (server, events) = scene(|conn, _, _| {
        let grumbler = Grumbler;
        assert!(conn.detach(move |_| drop(grumbler)));
        blow_up("first")
    });
    let mut client = say_now(&server);
    let expected = [
        Told::Panic("first".into()),
        Told::Panic("nobody called me".into()),
        Told::Close(CloseReason::Panic),
    ];
    assert_eq!(next_n(&events, 3), expected);
    read_to_end(&mut client);
    is_well(&server);
}

#[test]
fn a_connection_that_is_closing_is_not_given_away() {
    let ways: [Request; 3] = [
        |conn, _, told| {
            conn.finish();
            assert!(!ask(conn, told));
            Action::Continue
        },
        |conn, _, told| {
            conn.close();
            assert!(!ask(conn, told));
            Action::Continue
        },
        |conn, _, told| {
            conn.reset();
            assert!(!ask(conn, told));
            Action::Continue
        },
    ];
    for way in ways {
        let (server, events) = scene(way);
        let mut client = say_now(&server);
        assert_eq!(next(&events), Told::Dropped);
        read_to_end(&mut client);
        drop(client);
        assert_eq!(next(&events), Told::Close(CloseReason::Local));
        is_well(&server);
    }
}

#[test]
fn a_connection_that_is_being_dialled_is_not_given_away() {
    let (server, events) = scene(|_, _, _| Action::Continue);
    let (listener, url) = listener();
    let (told, dropped) = channel();
    let id: ConnId = server.ask(0, move |_, reactor: &mut Reactor<'_>| {
        let id = reactor.connect(Connect::to(url).tag(Tag(9))).unwrap();
        assert!(!ask(&mut reactor.conn(id).unwrap(), &told));
        id
    });
    assert_eq!(next(&dropped), Told::Dropped);
    let _peer = accept(&listener);
    eventually("it has opened all the same", || server.handle.stats().total().opened == 1);
    assert!(server.handle.is_open(id));
    server.stop();
    assert_eq!(next(&events), Told::Close(CloseReason::Shutdown));
}

#[test]
fn a_broadcast_before_it_is_heard_and_one_behind_it_is_not() {
    let (heir, inherited) = channel();
    let (told, ids) = channel();
    let server = serve(local().reactors(1), move |spot| {
        let (handle, heir, told) = (spot.handle(), heir.clone(), told.clone());
        Script::<()>::new()
            .open(move |conn, _| {
                tell(&told, conn.id());
                Action::Continue
            })
            .message(move |conn, _, _| {
                handle.broadcast(Audience::Open, "before, ").unwrap();
                let heir = heir.clone();
                assert!(conn.detach(move |detached| tell(&heir, detached)));
                handle.broadcast(Audience::Open, "behind").unwrap();
                Action::Continue
            })
    });
    let mut bystander = server.connect();
    next(&ids);
    let mut client = server.connect();
    next(&ids);
    client.write_all(b"out").unwrap();
    let detached = next(&inherited);
    assert!(detached.unsent.is_empty() && detached.unread.is_empty());
    let mut stream = TcpStream::from(detached.socket);
    stream.write_all(b"mine").unwrap();
    drop(stream);
    assert_eq!(read_to_end(&mut client).0, b"before, mine");
    expect(&mut bystander, b"before, behind");
}

#[test]
fn a_shutdown_in_the_same_turn_gives_it_away_all_the_same() {
    let ways: [Request; 2] = [
        |conn, poster, told| {
            poster.shutdown();
            assert!(ask(conn, told));
            Action::Continue
        },
        |conn, poster, told| {
            assert!(ask(conn, told));
            poster.shutdown();
            Action::Continue
        },
    ];
    for way in ways {
        let (server, events) = scene(way);
        let mut client = say_now(&server);
        let expected = [Told::Close(CloseReason::Detached), Told::Heir, Told::Dropped];
        assert_eq!(next_n(&events, 3), expected);
        read_to_end(&mut client);
        server.stop();
    }
}

#[test]
fn a_drain_waits_for_no_connection_that_was_taken_out() {
    let (server, events) = scene(|conn, poster, told| {
        assert!(ask(conn, told));
        poster.drain(Duration::from_secs(3600));
        Action::Continue
    });
    let _client = say_now(&server);
    let expected = [Told::Close(CloseReason::Detached), Told::Heir, Told::Dropped];
    assert_eq!(next_n(&events, 3), expected);
    let poster = server.poster.clone();
    eventually("it has stopped", || poster.post(ReactorId(0), |_, _| ()).is_ok() && has_stopped(&poster));
}

/// Whether nobody answers any more.
fn has_stopped(poster: &Poster<Script>) -> bool {
    matches!(
        poster.connect(wheelhouse::On::Any, Connect::to("tcp://127.0.0.1:1")),
        Err(wheelhouse::Error::Stopping)
    )
}
