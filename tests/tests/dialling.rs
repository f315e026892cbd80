//! Dialling: the engine as a client of plain listeners, and every way in which that can fail, told by `on_close` once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::SocketAddr,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use fixture::*;
use nix::libc;
use wheelhouse::{
    Action, Builder, CloseReason, Conn, ConnId, Connect, Engine, Error, Framing, Handle, On, Policy,
    ReactorId, Tag,
};

/// What a dialled connection's callbacks told.
#[derive(Debug, PartialEq)]
enum Told {
    Open {
        id: ConnId,
        tag: Tag,
        peer: Option<SocketAddr>,
        from_listener: bool,
    },
    Message(Vec<u8>),
    Close {
        id: ConnId,
        tag: Tag,
        reason: CloseReason,
        opened: bool,
        errno: Option<i32>,
        error: bool,
        session: u32,
    },
}

fn telling(builder: Builder) -> (Server<Script<u32>>, Receiver<Told>) {
    let (told, heard) = channel();
    let server = serve(builder, move |_| {
        let (open, message, close) = (told.clone(), told.clone(), told.clone());
        Script::<u32>::new()
            .open(move |conn, session| {
                *session += 1;
                let (id, tag, peer) = (conn.id(), conn.tag(), conn.peer_addr());
                tell(&open, Told::Open { id, tag, peer, from_listener: conn.listener().is_some() });
                Action::Continue
            })
            .message(move |_, _, got| {
                tell(&message, Told::Message(got.bytes().to_vec()));
                Action::Continue
            })
            .close(move |closed, session| {
                let (id, tag, reason, opened) =
                    (closed.id(), closed.tag(), *closed.reason(), closed.opened());
                let errno = closed.error().and_then(std::io::Error::raw_os_error);
                let error = closed.error().is_some();
                tell(&close, Told::Close { id, tag, reason, opened, errno, error, session });
            })
    });
    (server, heard)
}

/// An engine that only dials.
fn dialler() -> (Server<Script<u32>>, Receiver<Told>) {
    telling(Engine::builder().reactors(2))
}

/// An address that nobody listens on.
fn nobody() -> String {
    format!("tcp://127.0.0.1:{}", free_port())
}

fn dial(handle: &Handle, to: Connect) {
    handle.connect(On::Any, to).unwrap();
}

#[test]
fn a_plain_listener_is_reached_by_ip_name_path_and_abstract_name() {
    let (server, heard) = dialler();
    let (tcp, url) = listener();
    let port = tcp.local_addr().unwrap().port();
    for (n, url) in [url, format!("tcp://localhost:{port}")].into_iter().enumerate() {
        dial(&server.handle, Connect::to(url).tag(Tag(n as u64)));
        let mut peer = accept(&tcp);
        let Told::Open { id, tag, peer: addr, from_listener } = next(&heard) else { panic!("it opens") };
        assert_eq!((tag, addr, from_listener), (Tag(n as u64), Some(tcp.local_addr().unwrap()), false));
        talk(&server, &heard, id, &mut peer);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dialled.sock");
    let name = format!("wheelhouse-dialled-{}", std::process::id());
    let by_path = UnixListener::bind(&path).unwrap();
    let by_name = UnixListener::bind_addr(&UnixAddr::from_abstract_name(&name).unwrap()).unwrap();
    for (unix, url) in [(by_path, format!("unix:{}", path.display())), (by_name, format!("unix:@{name}"))] {
        dial(&server.handle, Connect::to(url).tag(Tag(7)));
        let Told::Open { id, tag: Tag(7), peer: None, .. } = next(&heard) else { panic!("it opens") };
        let (mut peer, _) = unix.accept().unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        talk(&server, &heard, id, &mut peer);
    }
    server.stop();
}

/// Both directions, and the end.
fn talk(server: &Server<Script<u32>>, heard: &Receiver<Told>, id: ConnId, peer: &mut (impl Read + Write)) {
    server.handle.send(id, "from the engine").unwrap();
    expect(peer, b"from the engine");
    peer.write_all(b"to the engine").unwrap();
    assert_eq!(next(heard), Told::Message(b"to the engine".to_vec()));
    server.handle.close(id);
    read_to_end(peer);
    assert!(
        matches!(next(heard), Told::Close { reason: CloseReason::Local, opened: true, session: 1, .. }),
        "closed once, with its session"
    );
}

#[test]
fn the_local_address_asked_for_is_dialled_from() {
    let (server, heard) = dialler();
    let (tcp, url) = listener();
    let port = free_port();
    for from in ["127.0.0.9:0".to_owned(), format!("127.0.0.5:{port}")] {
        let from: SocketAddr = from.parse().unwrap();
        dial(&server.handle, Connect::to(&*url).from_addr(from));
        let stream = accept(&tcp);
        let peer = stream.peer_addr().unwrap();
        assert_eq!(peer.ip(), from.ip());
        assert!(from.port() == 0 || peer.port() == from.port(), "{peer} for {from}");
        assert!(matches!(next(&heard), Told::Open { .. }));
        drop(stream);
        assert!(matches!(next(&heard), Told::Close { .. }));
    }
    server.stop();
}

#[test]
fn what_is_sent_before_it_opens_waits_and_comes_first() {
    let server = serve(Engine::builder().reactors(1), |_| {
        Script::<()>::new().open(|conn, _| {
            conn.send("and this from on_open.");
            Action::Continue
        })
    });
    let (tcp, url) = listener();
    let port = tcp.local_addr().unwrap().port();
    for url in [url, format!("tcp://localhost:{port}")] {
        let id = server.ask(0, move |_, reactor| {
            let id = reactor.connect(Connect::to(url)).unwrap();
            let mut conn = reactor.conn(id).expect("it is known at once");
            assert!(!conn.send("early, ").is_refused());
            assert!(!conn.send(vec![b'.'; 10_000]).is_refused());
            assert_eq!(conn.id(), id);
            id
        });
        let mut peer = accept(&tcp);
        expect(&mut peer, b"early, ");
        expect(&mut peer, &[b'.'; 10_000]);
        expect(&mut peer, b"and this from on_open.");
        assert!(server.handle.is_open(id));
    }
    server.stop();
}

/// The one close of a connection that was never opened.
fn failure(heard: &Receiver<Told>) -> (CloseReason, Option<i32>) {
    match next(heard) {
        Told::Close { reason, opened, errno, error, session, tag, .. } => {
            assert!(!opened);
            assert_eq!((session, tag), (0, Tag(5)), "a session by default, and its tag");
            assert!(error || reason != CloseReason::ConnectFailed, "what the system said");
            (reason, errno)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_connect_is_told_with_what_the_system_said() {
    let (server, heard) = dialler();
    dial(&server.handle, Connect::to(nobody()).tag(Tag(5)));
    assert_eq!(failure(&heard), (CloseReason::ConnectFailed, Some(libc::ECONNREFUSED)));
    let by_name = nobody().replace("127.0.0.1", "localhost");
    dial(&server.handle, Connect::to(by_name).tag(Tag(5)));
    assert_eq!(failure(&heard), (CloseReason::ConnectFailed, Some(libc::ECONNREFUSED)));
    dial(&server.handle, Connect::to("unix:/nowhere/at/all.sock").tag(Tag(5)));
    assert_eq!(failure(&heard), (CloseReason::ConnectFailed, Some(libc::ENOENT)));
    dial(&server.handle, Connect::to("unix:@nobody-has-this-name").tag(Tag(5)));
    assert_eq!(failure(&heard), (CloseReason::ConnectFailed, Some(libc::ECONNREFUSED)));
    eventually("they are gone", || server.handle.count() == 0);
    let total = server.handle.stats().total();
    assert_eq!((total.dialled, total.opened, total.closed), (4, 0, 4));
    server.stop();
}

#[test]
fn a_name_without_an_address_is_told_as_a_failed_connect() {
    let (server, heard) = dialler();
    dial(&server.handle, Connect::to("tcp://no-such-host.invalid:80").tag(Tag(5)));
    assert_eq!(failure(&heard).0, CloseReason::ConnectFailed);
    server.stop();
}

/// More names than may wait for the resolver: those beyond it fail at once, and nobody is forgotten.
#[test]
fn each_of_three_thousand_names_dialled_at_once_is_told() {
    let (server, heard) = dialler();
    let url = nobody().replace("127.0.0.1", "localhost");
    server.ask(0, move |_, reactor| {
        for _ in 0..3000 {
            reactor.connect(Connect::to(&*url).tag(Tag(5))).unwrap();
        }
    });
    let reasons: Vec<_> = (0..3000).map(|_| failure(&heard).0).collect();
    assert!(reasons.iter().all(|reason| *reason == CloseReason::ConnectFailed));
    eventually("they are gone", || server.handle.count() == 0);
    assert_eq!(server.handle.stats().total().closed, 3000);
    server.stop();
}

/// A broadcast address answers to nobody, wherever this machine's routes lead.
#[test]
fn an_unreachable_address_is_told_with_what_the_system_said() {
    let (server, heard) = dialler();
    dial(&server.handle, Connect::to("tcp://255.255.255.255:9").tag(Tag(5)));
    assert_eq!(failure(&heard), (CloseReason::ConnectFailed, Some(libc::ENETUNREACH)));
    server.stop();
}

#[test]
fn a_connect_that_nobody_answers_times_out_and_not_early() {
    let (server, heard) = dialler();
    let full = Full::start();
    let timeout = Duration::from_millis(300);
    let begun = Instant::now();
    dial(&server.handle, Connect::to(format!("tcp://{}", full.at)).timeout(timeout).tag(Tag(5)));
    assert_eq!(failure(&heard).0, CloseReason::ConnectTimeout);
    assert!(begun.elapsed() >= timeout, "after {:?}", begun.elapsed());
    server.stop();
}

#[test]
fn a_connection_closed_while_it_connects_is_told_once_as_never_opened() {
    let (server, heard) = dialler();
    let full = Full::start();
    type How = fn(&mut Conn<'_>);
    let from_inside: [How; 3] = [|conn| conn.close(), |conn| conn.finish(), |conn| conn.reset()];
    let from_outside = [Handle::close, Handle::finish, Handle::reset];
    for n in 0..6 {
        let to = Connect::to(format!("tcp://{}", full.at)).tag(Tag(5));
        let id = server.ask(0, move |_, reactor| {
            let id = reactor.connect(to).unwrap();
            if let Some(how) = from_inside.get(n) {
                how(&mut reactor.conn(id).unwrap());
            }
            id
        });
        if n >= 3 {
            from_outside[n - 3](&server.handle, id);
        }
        assert_eq!(failure(&heard).0, CloseReason::Local);
        eventually("it is gone", || !server.handle.is_open(id));
    }
    // The queue has room now: had one of them gone on connecting, it would open.
    for _ in &full.queue {
        full.listener.accept().unwrap();
    }
    assert!(heard.recv_timeout(Duration::from_millis(1500)).is_err(), "nothing after on_close");
    server.stop();
}

#[test]
fn a_stop_closes_what_is_still_connecting() {
    let (server, heard) = dialler();
    let full = Full::start();
    dial(&server.handle, Connect::to(format!("tcp://{}", full.at)).tag(Tag(5)));
    eventually("it is on its way", || server.handle.count() == 1);
    server.stop();
    assert_eq!(failure(&heard).0, CloseReason::Shutdown);
}

#[test]
fn the_reactor_that_dials_is_the_one_asked_for() {
    let (server, heard) = telling(Engine::builder().reactors(3));
    let (tcp, url) = listener();
    let mut peers = Vec::new();
    let mut dialled_on = |on: On| {
        server.handle.connect(on, Connect::to(&*url)).unwrap();
        peers.push(accept(&tcp));
        match next(&heard) {
            Told::Open { id, .. } => id,
            other => panic!("{other:?}"),
        }
    };
    for reactor in [2, 0, 1] {
        let id = dialled_on(On::Reactor(ReactorId(reactor)));
        assert_eq!(id.reactor(), ReactorId(reactor));
        assert_eq!(dialled_on(On::Owner(id)).reactor(), ReactorId(reactor));
    }
    let any: HashSet<_> = (0..3).map(|_| dialled_on(On::Any).reactor()).collect();
    assert_eq!(any.len(), 3, "one after the other");
    let error = server.handle.connect(On::Reactor(ReactorId(3)), Connect::to(&*url)).unwrap_err();
    assert!(
        matches!(&error, Error::BadOption { value, allowed, .. } if value.contains('3') && allowed == "0 to 2")
    );
    server.stop();
}

#[test]
fn what_cannot_be_dialled_is_refused_at_once_by_name() {
    let (server, _heard) = dialler();
    let v6 = "[::1]:0".parse().unwrap();
    let refusal = |to: Connect| {
        let from_outside = server.handle.connect(On::Any, to.clone()).unwrap_err().to_string();
        let from_inside = server.ask(0, move |_, reactor| reactor.connect(to).unwrap_err().to_string());
        assert_eq!(from_inside, from_outside);
        from_outside
    };
    for url in
        ["gopher://127.0.0.1:70", "tcp://127.0.0.1:0", "tcp://localhost:0", "inherited:0", "tcp://127.0.0.1"]
    {
        let error = refusal(Connect::to(url));
        assert!(error.contains(url), "{error}");
    }
    let to = || Connect::to("tcp://127.0.0.1:9");
    assert!(refusal(to().from_addr(v6)).contains("tcp://127.0.0.1:9"));
    for timeout in [Duration::ZERO, Duration::from_secs(25 * 24 * 3600), Duration::MAX] {
        let error = refusal(to().timeout(timeout));
        assert!(error.contains("`timeout`") && error.contains(&format!("{timeout:?}")), "{error}");
    }
    assert!(refusal(to().water_marks(3, 2, 4)).contains("`water_marks`"));
    assert!(refusal(to().policy(Policy::DropMessage)).contains("`policy`"));
    assert_eq!(server.handle.count(), 0);
    assert_eq!(server.handle.stats().total().dialled, 0);
    server.stop();
}

#[test]
fn dialling_through_a_full_mailbox_is_refused() {
    let (server, _heard) = telling(Engine::builder().reactors(1).mailbox(16));
    let blocked = server.block(0);
    while server.poster.post(ReactorId(0), |_, _| ()).is_ok() {}
    let error = server.handle.connect(On::Any, Connect::to(nobody())).unwrap_err();
    assert!(matches!(&error, Error::MailboxFull { .. }) && error.to_string().contains("full"), "{error}");
    drop(blocked);
    server.stop();
}

#[test]
fn a_dialled_connection_has_the_framing_it_was_dialled_with() {
    let (server, heard) = dialler();
    let (tcp, url) = listener();
    dial(&server.handle, Connect::to(url).framing(Framing::lines(80)));
    let mut peer = accept(&tcp);
    let Told::Open { id, .. } = next(&heard) else { panic!("it opens") };
    peer.write_all(b"one\r\ntw").unwrap();
    assert_eq!(next(&heard), Told::Message(b"one".to_vec()));
    peer.write_all(b"o\n").unwrap();
    assert_eq!(next(&heard), Told::Message(b"two".to_vec()));
    server.handle.send(id, "three").unwrap();
    expect(&mut peer, b"three\n");
    server.stop();
}

#[test]
fn a_refused_one_may_dial_again_from_its_own_close() {
    for url in [nobody(), "unix:/nowhere/at/all.sock".to_owned()] {
        let (told, heard) = channel();
        let server = serve(Engine::builder().reactors(1), move |_| {
            let (told, url, mut left) = (told.clone(), url.clone(), 20);
            Script::<()>::new().close(move |closed, ()| {
                assert_eq!(closed.reason(), &CloseReason::ConnectFailed);
                left -= 1;
                tell(&told, (closed.id(), left));
                if left > 0 {
                    closed.reactor().connect(Connect::to(&*url)).unwrap();
                }
            })
        });
        dial(&server.handle, Connect::to("unix:/nowhere/either.sock"));
        let closes = next_n(&heard, 20);
        assert_eq!(closes.iter().map(|(id, _)| id).collect::<HashSet<_>>().len(), 20, "each with its own id");
        eventually("they are gone", || server.handle.count() == 0);
        server.stop();
    }
}

#[test]
fn a_hundred_dialled_at_once_all_open() {
    let _crowd = crowd();
    let (server, heard) = dialler();
    let (tcp, url) = listener();
    let mut peers = Vec::new();
    // A plain listener's queue holds 128; the kernel may forget whom it finds no place for.
    for wave in 0..3 {
        for n in 0..100 {
            dial(&server.handle, Connect::to(&*url).tag(Tag(wave * 100 + n)));
        }
        peers.extend((0..100).map(|_| accept(&tcp)));
    }
    let mut tags = HashSet::new();
    for told in next_n(&heard, 300) {
        let Told::Open { tag, .. } = told else { panic!("{told:?}") };
        tags.insert(tag);
    }
    assert_eq!(tags.len(), 300);
    drop(peers);
    eventually("all are closed", || server.handle.stats().total().closed == 300);
    server.stop();
}
