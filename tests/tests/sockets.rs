//! What a connection tells of its socket, what can be set on it, and that the engine's options reach every one of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::{Pid, getgid, getpid, getuid},
};
use socket2::SockRef;
use wheelhouse::{
    Action, Builder, CloseReason, Conn, ConnId, Connect, Engine, Kind, ListenerId, On, PeerCredentials,
    Refusal, Sent, TimerKind,
};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

// ---- who is there

#[test]
fn both_ends_addresses_are_those_that_the_client_sees() {
    let (server, ids) = telling_ids(local().listen("tcp://127.0.0.1:0"));
    for listener in 0..2 {
        let client = connect(tcp(&server.addresses[listener]));
        let seen = server.ask_conn(next(&ids), |conn, ()| {
            (conn.local_addr(), conn.peer_addr(), conn.listener(), conn.peer_credentials())
        });
        let (here, there) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
        assert_eq!(seen, (Some(here), Some(there), Some(ListenerId(listener as u16)), None));
    }
    let (peers, url) = listener();
    server.handle.connect(On::Any, Connect::to(url)).unwrap();
    let peer = accept(&peers);
    let seen = server.ask_conn(next(&ids), |conn, ()| (conn.local_addr(), conn.peer_addr(), conn.listener()));
    assert_eq!(seen, (Some(peer.peer_addr().unwrap()), Some(peers.local_addr().unwrap()), None));
    server.stop();
}

#[test]
fn a_unix_peer_is_known_by_its_process_and_has_no_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known.sock");
    let (server, ids) = telling_ids(Engine::builder().listen(format!("unix:{}", path.display())));
    let _client = UnixStream::connect(&path).unwrap();
    let seen = server
        .ask_conn(next(&ids), |conn, ()| (conn.local_addr(), conn.peer_addr(), conn.peer_credentials()));
    let us = PeerCredentials { pid: getpid().as_raw(), uid: getuid().as_raw(), gid: getgid().as_raw() };
    assert_eq!(seen, (None, None, Some(us)));
    server.stop();
}

#[test]
fn the_reactors_clock_stands_still_during_a_turn_and_never_goes_back() {
    let (server, ids) = telling_ids(local().reactors(1));
    let (_client, id) = client(&server, &ids);
    let mut last = server.ask_conn(id, |conn, ()| conn.now());
    for _ in 0..5 {
        let (first, later, reactors) = server.ask_conn(id, |conn, ()| {
            let first = conn.now();
            thread::sleep(Duration::from_millis(3));
            (first, conn.now(), conn.reactor().now())
        });
        assert_eq!((first, first), (later, reactors));
        assert!((last..=Instant::now()).contains(&first), "{first:?} after {last:?}");
        last = first;
    }
    server.stop();
}

// ---- options

/// What the kernel says of a connection's socket.
#[derive(Debug, PartialEq)]
struct Seen {
    nodelay: bool,
    /// Idle time, interval and probes.
    keep_alive: Option<(Duration, Duration, u32)>,
    user_timeout: Option<Duration>,
    /// As the kernel has doubled them.
    buffers: (usize, usize),
}

fn look(conn: &Conn<'_>) -> Seen {
    let fd = conn.fd().unwrap();
    let socket = SockRef::from(&fd);
    let keeps = socket.keepalive().unwrap().then(|| {
        let (idle, interval) = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        (idle.unwrap(), interval.unwrap(), socket.tcp_keepalive_retries().unwrap())
    });
    Seen {
        nodelay: socket.tcp_nodelay().unwrap(),
        keep_alive: keeps,
        user_timeout: socket.tcp_user_timeout().unwrap().filter(|timeout| !timeout.is_zero()),
        buffers: (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()),
    }
}

/// Of an accepted connection and of a dialled one.
fn seen_with(builder: Builder) -> [Seen; 2] {
    let (server, ids) = telling_ids(builder);
    let (_client, accepted) = client(&server, &ids);
    let (peers, url) = listener();
    server.handle.connect(On::Any, Connect::to(url)).unwrap();
    let (_peer, dialled) = (accept(&peers), next(&ids));
    let seen = [accepted, dialled].map(|id| server.ask_conn(id, |conn, ()| look(conn)));
    server.stop();
    seen
}

#[test]
fn every_socket_has_the_engines_options_accepted_or_dialled() {
    for reuse_port in [false, true] {
        let plain = || local().reactors(2).reuse_port(reuse_port);
        for seen in seen_with(plain()) {
            assert_eq!((seen.nodelay, seen.keep_alive, seen.user_timeout), (true, None, None));
        }
        let all = plain()
            .nodelay(false)
            .keep_alive(seconds(77), seconds(7), 5)
            .tcp_user_timeout(Duration::from_millis(12_345))
            .receive_buffer(20_000)
            .send_buffer(30_000);
        for seen in seen_with(all) {
            let expected = Seen {
                nodelay: false,
                keep_alive: Some((seconds(77), seconds(7), 5)),
                user_timeout: Some(Duration::from_millis(12_345)),
                buffers: (40_000, 60_000),
            };
            assert_eq!(seen, expected, "reuse_port: {reuse_port}");
        }
    }
}

#[test]
fn one_connections_options_are_its_own() {
    let (server, ids) = telling_ids(local().reactors(1));
    let (_client, id) = client(&server, &ids);
    let (_other, others) = client(&server, &ids);
    let before = server.ask_conn(others, |conn, ()| look(conn));
    let seen = server.ask_conn(id, |conn, ()| {
        conn.set_nodelay(false).unwrap();
        conn.set_keep_alive(seconds(90), seconds(9), 4).unwrap();
        conn.set_kernel_buffers(10_000, 15_000).unwrap();
        look(conn)
    });
    let keep_alive = Some((seconds(90), seconds(9), 4));
    let expected = Seen { nodelay: false, keep_alive, user_timeout: None, buffers: (20_000, 30_000) };
    assert_eq!(seen, expected);
    assert!(server.ask_conn(id, |conn, ()| {
        conn.set_nodelay(true).unwrap();
        look(conn).nodelay
    }));
    assert_eq!(server.ask_conn(others, |conn, ()| look(conn)), before, "the other one's are as they were");
    server.stop();
}

#[test]
fn the_queue_of_a_listener_is_as_long_as_the_backlog() {
    for backlog in [1, 6] {
        // Nobody accepts: the engine is not started.
        let engine = local().backlog(backlog).build(|_| Script::<()>::new()).unwrap();
        // The kernel takes one more than it is told.
        assert_eq!(fill(tcp(&engine.addresses()[0]), 100).len(), backlog + 1);
    }
}

#[test]
fn pinned_reactors_stay_on_one_core_each_and_others_are_free() {
    let cores = |allowed: CpuSet| -> Vec<usize> {
        (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap()).collect()
    };
    let this = || sched_getaffinity(Pid::from_raw(0)).unwrap();
    let all = cores(this());
    for pin in [false, true] {
        let server = serve(local().reactors(all.len() + 1).pin(pin), |_| Script::<()>::new());
        let reactors = 0..=all.len() as u16;
        let seen: Vec<_> = reactors.map(|reactor| cores(server.ask(reactor, move |_, _| this()))).collect();
        match pin {
            false => assert!(seen.iter().all(|cores| *cores == all), "{seen:?}"),
            true => {
                assert!(seen.iter().all(|cores| cores.len() == 1), "{seen:?}");
                // One after the other, and round again when there are more reactors than cores.
                let mut first: Vec<usize> = seen[..all.len()].concat();
                first.sort_unstable();
                assert_eq!(first, all);
            }
        }
        server.stop();
    }
}

// ---- one that is closing

/// A connection that is closing takes no call, and says so wherever there is an answer.
#[test]
fn calls_on_a_connection_that_is_closing_do_nothing_and_say_so() {
    type How = fn(&mut Conn<'_>);
    let ways: [How; 4] = [
        |conn| conn.close(),
        |conn| conn.finish(),
        |conn| conn.reset(),
        |conn| {
            conn.finish();
            conn.close();
        },
    ];
    let (fired, timers) = channel();
    let (opened, ids) = channel::<ConnId>();
    let server = serve(local().reactors(1), move |_| {
        let (fired, opened) = (fired.clone(), opened.clone());
        Script::<()>::new()
            .open(move |conn, ()| {
                tell(&opened, conn.id());
                Action::Continue
            })
            .timer(move |_, (), kind| {
                tell(&fired, kind);
                Action::Continue
            })
            .message(|_, (), _| panic!("it is closing"))
    });
    for (n, how) in ways.into_iter().enumerate() {
        let mut client = server.connect();
        let id = next(&ids);
        server.ask_conn(id, move |conn, ()| {
            conn.set_timer(TimerKind(1), Duration::from_millis(1));
            conn.send("before");
            let queued = conn.buffered().1;
            how(conn);
            let refused = Sent::Refused(Refusal::Closing);
            assert_eq!((conn.id(), conn.is_open()), (id, false), "way {n}");
            assert_eq!(conn.send("after"), refused);
            assert_eq!(conn.send(vec![0; 100_000]), refused);
            assert_eq!(conn.send_vectored(Kind::BINARY, &[b"after", b"wards"]), refused);
            assert!(conn.buffered().1 <= queued, "nothing is queued");
            conn.set_timer(TimerKind(2), Duration::ZERO);
            assert!(!conn.cancel_timer(TimerKind(2)), "it was not set");
            conn.shutdown_write();
            conn.authenticated();
            conn.set_idle_timeout(Some(Duration::from_millis(1)));
            conn.set_auto_pause(false);
            conn.pause();
            conn.resume();
            how(conn);
            assert!(!conn.is_open());
        });
        // The same through a handle: counted as late.
        let late = server.handle.stats().total().late_commands;
        server.handle.send(id, "after").unwrap();
        eventually("it came too late", || server.handle.stats().total().late_commands > late);
        if n != 2 {
            // What it is sent meets nobody. (Of a reset, the write would take the news from the read.)
            let _ = client.write_all(b"?");
        }
        let (got, ending) = read_to_end(&mut client);
        match n {
            2 => assert_eq!((&got[..], ending), (&b""[..], Ending::Reset)),
            _ => assert_eq!(got, b"before", "way {n}"),
        }
        drop(client);
        eventually("it is gone", || server.handle.count() == 0);
    }
    assert!(timers.try_recv().is_err(), "no timer of theirs has fired");
    assert_eq!(server.handle.stats().total().panics, 0);
    server.stop();
}

/// One that is still being dialled by name has no socket, and says so.
#[test]
fn calls_that_need_a_socket_say_that_there_is_none() {
    let server = serve(Engine::builder().reactors(1), |_| Script::<()>::new());
    let url = format!("tcp://localhost:{}", free_port());
    let kinds = server.ask(0, move |_, reactor| {
        let id = reactor.connect(Connect::to(url)).unwrap();
        let mut conn = reactor.conn(id).unwrap();
        assert!(conn.fd().is_none() && conn.local_addr().is_none() && conn.peer_credentials().is_none());
        [
            conn.set_nodelay(true).unwrap_err().kind(),
            conn.set_keep_alive(seconds(1), seconds(1), 1).unwrap_err().kind(),
            conn.set_kernel_buffers(4096, 4096).unwrap_err().kind(),
            conn.duplicate_fd().unwrap_err().kind(),
        ]
    });
    assert_eq!(kinds, [std::io::ErrorKind::NotConnected; 4]);
    server.stop();
}

/// One that has said its FIN and waits for the peer's is closing too, for the others of its reactor.
#[test]
fn what_others_ask_of_a_connection_that_waits_for_its_peers_end_does_not_hold_it_up() {
    let (told, closes) = channel();
    let (opened, ids) = channel::<ConnId>();
    let server = serve(local().reactors(1), move |_| {
        let (told, opened) = (told.clone(), opened.clone());
        Script::<()>::new()
            .open(move |conn, ()| {
                tell(&opened, conn.id());
                Action::Continue
            })
            .close(move |closed, ()| tell(&told, *closed.reason()))
    });
    let (mut client, id) = (server.connect(), next(&ids));
    let (_other, others) = (server.connect(), next(&ids));
    server.handle.finish(id);
    assert_eq!(read_to_end(&mut client), (b"".to_vec(), Ending::Eof));
    server.ask_conn(others, move |conn, ()| {
        let mut other = conn.other(id).expect("it is closing, and here");
        other.pause();
        other.set_idle_timeout(Some(seconds(3600)));
        other.shutdown_write();
        assert!(other.send("too late").is_refused() && !other.is_open());
    });
    client.write_all(b"?").unwrap();
    drop(client);
    assert_eq!(next(&closes), CloseReason::Local);
    server.stop();
}
