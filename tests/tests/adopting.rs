//! Sockets that somebody else opened: served like any other, their unread input first; what cannot be served comes back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    fs::File,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::{UnixDatagram, UnixStream},
    },
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use fixture::*;
use socket2::{Domain, Socket, Type};
use wheelhouse::{
    Adopt, CloseReason, ConnId, Engine, Error, Framing, ListenerId, NotTaken, On, Policy, ReactorId, Tag,
};
use wheelhouse_tests::linger_zero;

/// What is told of a connection, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Enter(&'static str),
    Leave(&'static str),
    Open(Tag, Option<ListenerId>, Option<SocketAddr>),
    Message(Vec<u8>),
    Eof,
    Close(Tag, CloseReason, bool),
}

/// An echo server without a listener that tells everything.
fn telling(builder: wheelhouse::Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let server = serve(builder, move |_| {
        let [opens, messages, eofs, closes] = std::array::from_fn(|_| told.clone());
        Script::new()
            .open(move |conn, ()| {
                tell(&opens, Told::Open(conn.tag(), conn.listener(), conn.peer_addr()));
                wheelhouse::Action::Continue
            })
            .message(move |conn, (), message| {
                tell(&messages, Told::Message(message.bytes().to_vec()));
                conn.send(message);
                wheelhouse::Action::Continue
            })
            .eof(move |_, ()| {
                tell(&eofs, Told::Eof);
                wheelhouse::Action::Finish
            })
            .close(move |closed, ()| {
                tell(&closes, Told::Close(closed.tag(), *closed.reason(), closed.opened()));
            })
    });
    (server, events)
}

fn engine() -> wheelhouse::Builder {
    Engine::builder().reactors(1)
}

/// Both ends of a TCP connection, the second blocking as `accept` makes it.
fn pair() -> (TcpStream, TcpStream) {
    let (listener, _) = listener();
    let client = connect(listener.local_addr().unwrap());
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_tcp_socket_is_served_like_any_other() {
    let (server, events) = telling(engine());
    let (mut client, ours) = pair();
    let peer = client.local_addr().unwrap();
    server.handle.adopt(On::Any, Adopt::new(ours).tag(Tag(7))).unwrap();
    assert_eq!(next(&events), Told::Open(Tag(7), None, Some(peer)));
    echo(&mut client, b"hello");
    assert_eq!(next(&events), Told::Message(b"hello".to_vec()));
    let total = server.handle.stats().total();
    assert_eq!((total.adopted, total.opened, total.accepted, total.dialled), (1, 1, 0, 0));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next(&events), Told::Eof);
    assert_eq!(next(&events), Told::Close(Tag(7), CloseReason::Peer { code: None }, true));
    assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
    assert_eq!(server.handle.count(), 0);
}

#[test]
fn a_unix_socket_is_served_and_its_peer_known() {
    let (server, events) = telling(engine());
    let (mut client, ours) = UnixStream::pair().unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    server.handle.adopt(On::Reactor(ReactorId(0)), ours).unwrap();
    assert_eq!(next(&events), Told::Open(Tag::default(), None, None));
    echo(&mut client, b"hello");
    let id = server.handle.connections().next().unwrap();
    let credentials = server.ask_conn(id, |conn, _| conn.peer_credentials()).unwrap();
    assert_eq!(credentials.pid, std::process::id() as i32);
}

#[test]
fn unread_input_comes_first_and_on_open_before_it() {
    // Inside the connection, in a ring, in storage of its own.
    for size in [1, 20, 3 << 10, 200 << 10] {
        let (server, events) = telling(engine());
        let (mut client, ours) = pair();
        client.write_all(b"then this\n").unwrap();
        let mut unread = vec![b'x'; size];
        unread[size / 2] = b'\n';
        let adopt = Adopt::new(ours).framing(Framing::lines(1 << 20)).unread(unread.clone());
        server.handle.adopt(On::Any, adopt).unwrap();
        assert!(matches!(next(&events), Told::Open(..)));
        assert_eq!(next(&events), Told::Message(unread[..size / 2].to_vec()), "{size}");
        let rest = [&unread[size / 2 + 1..], b"then this"].concat();
        assert_eq!(next(&events), Told::Message(rest));
        expect(&mut client, &[&unread[..], b"then this\n"].concat());
    }
}

/// The limit is on what waits for the rest of its message, and these are whole.
#[test]
fn unread_input_of_many_messages_may_exceed_the_limit_of_one() {
    let (server, events) = telling(engine().inbound_limit(1000));
    let (mut client, ours) = pair();
    let unread = b"twenty bytes a line\n".repeat(10_000);
    server
        .handle
        .adopt(On::Any, Adopt::new(ours).framing(Framing::lines(80)).unread(unread.clone()))
        .unwrap();
    expect(&mut client, &unread);
    echo(&mut client, b"and on\n");
    drop(client);
    let closed = events.iter().find(|told| matches!(told, Told::Close(..)));
    assert_eq!(closed, Some(Told::Close(Tag::default(), CloseReason::Peer { code: None }, true)));
}

#[test]
fn unread_input_beyond_the_limit_of_a_message_is_an_overflow() {
    let (server, events) = telling(engine().inbound_limit(1000));
    let (mut client, ours) = pair();
    let adopt = Adopt::new(ours).framing(Framing::lines(5000)).unread(vec![b'x'; 1001]);
    server.handle.adopt(On::Any, adopt).unwrap();
    assert!(matches!(next(&events), Told::Open(..)));
    assert_eq!(next(&events), Told::Close(Tag::default(), CloseReason::InboundOverflow, true));
    assert_eq!(read_to_end(&mut client).1, Ending::Reset);
}

#[test]
fn what_is_no_connected_stream_socket_comes_back_with_its_descriptor_named() {
    let (server, events) = telling(engine());
    let unconnected = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let packets = || Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap().0;
    let bad: [(&str, OwnedFd); 6] = [
        ("no stream socket", UdpSocket::bind("127.0.0.1:0").unwrap().into()),
        ("no stream socket", UnixDatagram::unbound().unwrap().into()),
        ("no stream socket", packets().into()),
        ("not connected", TcpListener::bind("127.0.0.1:0").unwrap().into()),
        ("not connected", unconnected().into()),
        ("no socket", File::open("/proc/self/exe").unwrap().into()),
    ];
    for (why, fd) in bad {
        let raw = fd.as_raw_fd();
        let back = server.handle.adopt(On::Any, fd).unwrap_err();
        check_refusal(&back, raw, why);
        // And on the reactor itself.
        let back = server.ask(0, move |_, reactor| reactor.adopt(back.what).unwrap_err());
        check_refusal(&back, raw, why);
    }
    server.stop();
    assert_eq!(events.try_iter().collect::<Vec<_>>(), []);
}

#[track_caller]
fn check_refusal(back: &NotTaken<Adopt>, raw: i32, why: &str) {
    let error = back.error.to_string();
    assert!(matches!(back.error, Error::CannotAdopt { fd, .. } if fd == raw), "{error}");
    assert!(error.contains(&format!("descriptor {raw}:")) && error.contains(why), "{error}");
}

#[test]
fn options_that_cannot_be_are_refused_and_the_socket_is_still_good() {
    let (server, events) = telling(engine());
    type Change = fn(Adopt) -> Adopt;
    let bad: [(&str, Change); 5] = [
        ("policy", |adopt| adopt.policy(Policy::DropMessage)),
        ("lines", |adopt| adopt.framing(Framing::lines(0))),
        ("heartbeat", |adopt| adopt.heartbeat(Duration::from_secs(1), Duration::from_secs(3))),
        ("water_marks", |adopt| adopt.water_marks(3, 2, 1)),
        ("on", |adopt| adopt),
    ];
    for (wrong, change) in bad {
        let (mut client, ours) = pair();
        let on = if wrong == "on" { On::Reactor(ReactorId(9)) } else { On::Any };
        let back = server.handle.adopt(on, change(Adopt::new(ours))).unwrap_err();
        let error = back.error.to_string();
        assert!(matches!(back.error, Error::BadOption { option, .. } if option == wrong), "{error}");
        let good = match wrong {
            "on" => back.what,
            _ => back.what.framing(Framing::raw()).policy(Policy::Refuse).water_marks(1, 2, 3000),
        };
        if wrong != "heartbeat" {
            server.handle.adopt(On::Any, good).unwrap();
            assert!(matches!(next(&events), Told::Open(..)), "{wrong}");
            echo(&mut client, b"good");
            assert_eq!(next(&events), Told::Message(b"good".to_vec()));
            drop(client);
            assert_eq!(next(&events), Told::Eof);
            assert!(matches!(next(&events), Told::Close(..)));
        }
    }
}

#[test]
fn a_full_mailbox_and_an_engine_that_stops_give_the_socket_back() {
    let (server, _events) = telling(engine().mailbox(16));
    let blocked = server.block(0);
    for _ in 0..16 {
        assert!(server.poster.post(ReactorId(0), |_, _| ()).is_ok());
    }
    let (mut client, ours) = pair();
    let back = server.handle.adopt(On::Any, ours).unwrap_err();
    assert!(matches!(back.error, Error::MailboxFull { reactor: ReactorId(0) }), "{back}");
    drop(blocked);
    server.handle.shutdown();
    let back = server.handle.adopt(On::Any, back.what).unwrap_err();
    assert!(matches!(back.error, Error::Stopping), "{back}");
    server.stop();
    drop(back);
    assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
}

#[test]
fn one_that_was_taken_and_then_meets_a_stop_is_closed() {
    for _ in 0..20 {
        let (server, events) = telling(engine());
        let blocked = server.block(0);
        let (mut client, ours) = pair();
        server.handle.adopt(On::Any, Adopt::new(ours).tag(Tag(1))).unwrap();
        server.handle.shutdown();
        drop(blocked);
        server.stop();
        read_to_end(&mut client);
        let closes = events.try_iter().filter(|told| matches!(told, Told::Close(..))).collect::<Vec<_>>();
        assert_eq!(closes, [Told::Close(Tag(1), CloseReason::Shutdown, true)]);
    }
}

#[test]
fn from_a_callback_the_id_is_known_at_once_and_on_open_waits_for_the_callbacks_end() {
    let (told, events) = channel();
    let (given, sockets) = channel::<TcpStream>();
    let sockets = std::sync::Mutex::new(Some(sockets));
    let server = serve(local().reactors(1), move |_| {
        let [opens, closes, first] = std::array::from_fn(|_| told.clone());
        let sockets = sockets.lock().unwrap().take().unwrap();
        let sockets = std::rc::Rc::new(sockets);
        let (of_open, of_close) = (std::rc::Rc::clone(&sockets), sockets);
        Script::<()>::new()
            .open(move |conn, ()| {
                if conn.tag() != Tag::default() {
                    tell(&opens, Told::Open(conn.tag(), conn.listener(), None));
                    return wheelhouse::Action::Continue;
                }
                tell(&first, Told::Enter("on_open"));
                let adopt = Adopt::new(next(&of_open)).tag(Tag(1));
                let id = conn.reactor().adopt(adopt).unwrap();
                assert!(!conn.other(id).unwrap().send("sent before it was open").is_refused());
                tell(&first, Told::Leave("on_open"));
                wheelhouse::Action::Continue
            })
            .close(move |closed, ()| {
                if closed.tag() == Tag::default() {
                    tell(&closes, Told::Enter("on_close"));
                    closed.reactor().adopt(Adopt::new(next(&of_close)).tag(Tag(2))).unwrap();
                    tell(&closes, Told::Leave("on_close"));
                }
            })
    });
    let ((mut first, one), (mut second, two)) = (pair(), pair());
    given.send(one).unwrap();
    given.send(two).unwrap();
    let client = server.connect();
    let expected = [Told::Enter("on_open"), Told::Leave("on_open"), Told::Open(Tag(1), None, None)];
    assert_eq!(next_n(&events, 3), expected);
    expect(&mut first, b"sent before it was open");
    drop(client);
    let expected = [Told::Enter("on_close"), Told::Leave("on_close"), Told::Open(Tag(2), None, None)];
    assert_eq!(next_n(&events, 3), expected);
    echo(&mut first, b"one");
    echo(&mut second, b"two");
}

#[test]
fn one_whose_peer_has_said_everything_already_is_heard_to_the_end() {
    let (server, events) = telling(engine());
    let (mut client, ours) = pair();
    client.write_all(b" world").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let adopt = Adopt::new(ours).framing(Framing::raw()).unread(*b"hello");
    server.handle.adopt(On::Any, adopt).unwrap();
    assert_eq!(read_to_end(&mut client), (b"hello world".to_vec(), Ending::Eof));
    assert!(matches!(next(&events), Told::Open(..)));
    let heard = events.iter().map_while(|told| match told {
        Told::Message(bytes) => Some(bytes),
        told => {
            assert_eq!(told, Told::Eof);
            None
        }
    });
    assert_eq!(heard.collect::<Vec<_>>().concat(), b"hello world");
    assert_eq!(next(&events), Told::Close(Tag::default(), CloseReason::Peer { code: None }, true));
}

#[test]
fn one_whose_peer_has_gone_comes_back_or_is_told_of_and_never_vanishes() {
    let (server, events) = telling(engine());
    let (client, mut ours) = pair();
    linger_zero(&client);
    drop(client);
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(ours.read(&mut [0; 1]).is_err(), "the reset has come");
    let raw = ours.as_raw_fd();
    let back = server.handle.adopt(On::Any, ours).unwrap_err();
    check_refusal(&back, raw, "not connected");
    // It goes while the command is on its way.
    let blocked = server.block(0);
    let (client, ours) = pair();
    let watch = ours.try_clone().unwrap();
    server.handle.adopt(On::Any, Adopt::new(ours).tag(Tag(3))).unwrap();
    linger_zero(&client);
    drop(client);
    eventually("the reset has come", || watch.peer_addr().is_err());
    drop(blocked);
    let mut told = next(&events);
    if matches!(told, Told::Open(..)) {
        told = next(&events);
    }
    assert!(matches!(told, Told::Close(Tag(3), CloseReason::Io, _)), "{told:?}");
}

#[test]
fn taken_over_from_the_handlers_start_it_is_served_in_the_first_turn() {
    let (mut client, ours) = pair();
    let ours = std::sync::Mutex::new(Some(ours));
    let server = serve(engine(), move |_| {
        let ours = ours.lock().unwrap().take();
        let mut ours = ours.map(Adopt::new);
        Script::<()>::new().start(move |reactor| {
            let id: ConnId = reactor.adopt(ours.take().unwrap()).unwrap();
            assert_eq!(reactor.connections(), [id]);
        })
    });
    echo(&mut client, b"hello");
    drop(server);
}
