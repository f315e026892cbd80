//! Listeners: every kind of address serves, several at once, and a bad one is one clear error with nothing half-started.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    fs,
    io::{Read, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{SocketAddr as UnixAddr, UnixListener, UnixStream},
        },
    },
    path::Path,
    process::Command,
    sync::mpsc::channel,
    time::Duration,
};

use fixture::*;
use wheelhouse::{Action, Address, Connect, Engine, Error, Framing, LengthDelimited, Listener, On};

/// Greets each connection with the number of its listener.
fn greeter() -> Script {
    Script::new().open(|conn, _| {
        conn.send(vec![conn.listener().unwrap().0 as u8]);
        Action::Continue
    })
}

fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: this machine has no IPv6");
    }
    has
}

#[test]
fn port_zero_becomes_the_real_port_and_serves() {
    let server = serve(local(), |_| Script::<()>::new());
    assert_ne!(server.at().port(), 0);
    assert_eq!(server.at().ip(), "127.0.0.1".parse::<IpAddr>().unwrap());
    echo(&mut server.connect(), b"hello");
    server.stop();
}

#[test]
fn several_listeners_of_different_kinds_serve_at_once_each_under_its_own_id() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let name = format!("wheelhouse-several-{}", std::process::id());
    let mut builder = local().listen("tcp://127.0.0.1:0").listen(format!("unix:{}", path.display()));
    builder = builder.listen(format!("unix:@{name}"));
    if has_ipv6() {
        builder = builder.listen("tcp://[::1]:0");
    }
    let server = serve(builder.reactors(2), |_| greeter());
    assert_eq!(server.addresses[2], Address::Unix(path.clone()));
    assert_eq!(server.addresses[3], Address::Abstract(name.clone().into_bytes()));
    for index in [0_u8, 1, 4].into_iter().take(server.addresses.len() - 2) {
        let mut stream = connect(tcp(&server.addresses[usize::from(index)]));
        expect(&mut stream, &[index]);
        echo(&mut stream, b"over tcp");
    }
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    expect(&mut stream, &[2]);
    echo(&mut stream, b"over a path");
    let mut stream = UnixStream::connect_addr(&UnixAddr::from_abstract_name(&name).unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    expect(&mut stream, &[3]);
    echo(&mut stream, b"over a name");
    server.stop();
}

#[test]
fn a_dual_stack_listener_serves_both_and_names_each_peer() {
    if !has_ipv6() {
        return;
    }
    for url in ["tcp://[::]:0", "tcp://*:0"] {
        let (told, peers) = channel();
        let server = serve(Engine::builder().listen(url), move |_| {
            let told = told.clone();
            Script::<()>::new().open(move |conn, _| {
                told.send(conn.peer_addr()).unwrap();
                Action::Continue
            })
        });
        let port = server.at().port();
        for at in [
            SocketAddr::new("127.0.0.1".parse().unwrap(), port),
            SocketAddr::new("::1".parse().unwrap(), port),
        ] {
            let mut client = connect(at);
            echo(&mut client, b"hello");
            let peer = next(&peers).expect("the peer has an address");
            assert_eq!(peer.ip().to_canonical(), at.ip());
            assert_eq!(peer.port(), client.local_addr().unwrap().port());
        }
        server.stop();
    }
}

#[test]
fn a_scheme_means_the_same_in_any_case() {
    let builder = Engine::builder().listen("Tcp://127.0.0.1:0").listen("WS://127.0.0.1:0");
    let server = serve(builder, |_| Script::<()>::new());
    echo(&mut server.connect(), b"hello");
    let Address::Tcp(web) = server.addresses[1] else { panic!("{:?}", server.addresses) };
    let mut asks = connect(web);
    asks.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    expect(&mut asks, b"HTTP/1.1 426 ");
    server.stop();
}

#[test]
fn a_url_of_a_websocket_takes_no_other_framing_be_it_raw() {
    for framing in [Framing::raw(), Framing::lines(80), Framing::length_delimited(LengthDelimited::u16_be())]
    {
        for url in ["ws://127.0.0.1:0", "WS://127.0.0.1:0"] {
            let listener = Listener::new(url).framing(framing.clone());
            let error = Engine::builder().listen(listener).build(|_| Script::<()>::new()).err();
            let told = |error: Option<Error>| match error {
                Some(Error::BadOption { option: "framing", value, .. }) => {
                    assert!(value.contains(url), "{value}")
                }
                other => panic!("{framing:?} on {url}: {other:?}"),
            };
            told(error);
            let server = serve(local(), |_| Script::<()>::new());
            told(server.handle.connect(On::Any, Connect::to(url).framing(framing.clone())).err());
            server.stop();
        }
    }
    // Where none is given it is a WebSocket's.
    let builder = Engine::builder().listen("ws://127.0.0.1:0");
    assert!(builder.build(|_| Script::<()>::new()).is_ok());
}

#[test]
fn an_ipv6_listener_told_to_leaves_ipv4_alone() {
    if !has_ipv6() {
        return;
    }
    // The same port of IPv4 may be taken by somebody else already; not twenty times.
    let is_left = (0..20).any(|_| {
        let server =
            serve(Engine::builder().listen(Listener::new("tcp://[::]:0").only_v6(true)), |_| greeter());
        let port = server.at().port();
        expect(&mut connect(SocketAddr::new("::1".parse().unwrap(), port)), &[0]);
        let is_left = TcpListener::bind(("127.0.0.1", port)).is_ok();
        server.stop();
        is_left
    });
    assert!(is_left, "the IPv4 port is somebody else's to take");
}

/// The kernel forgets the peer with the reset, so it must have been kept from the accept.
#[test]
fn the_peers_address_is_known_even_when_it_reset_before_its_reactor_saw_it() {
    let mut urls = vec!["tcp://127.0.0.1:0"];
    if has_ipv6() {
        urls.extend(["tcp://[::1]:0", "tcp://[::]:0"]);
    }
    for url in urls {
        let (told, peers) = channel();
        let server = serve(Engine::builder().listen(url).reactors(1), move |_| {
            let (told, also) = (told.clone(), told.clone());
            Script::<()>::new()
                .open(move |conn, _| {
                    told.send(conn.peer_addr()).unwrap();
                    Action::Continue
                })
                .close(move |closed, ()| also.send(closed.peer_addr()).unwrap())
        });
        let blocked = server.block(0);
        let mut at = server.at();
        if at.ip().is_unspecified() {
            at.set_ip("127.0.0.1".parse().unwrap());
        }
        let client = connect(at);
        let name = client.local_addr().unwrap();
        eventually("the main reactor has accepted", || server.handle.count() == 1);
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        drop(blocked);
        for callback in ["on_open", "on_close"] {
            let peer = next(&peers).unwrap_or_else(|| panic!("{url}: unknown in {callback}"));
            assert_eq!((peer.ip().to_canonical(), peer.port()), (name.ip(), name.port()));
        }
        server.stop();
    }
}

#[test]
fn a_unix_sockets_file_has_the_mode_asked_for_and_goes_when_the_engine_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mode.sock");
    let listener = Listener::new(format!("unix:{}", path.display())).unix_mode(0o640);
    let server = serve(Engine::builder().listen(listener), |_| Script::<()>::new());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    echo(&mut UnixStream::connect(&path).unwrap(), b"hello");
    server.stop();
    assert!(!path.exists());
}

#[test]
fn the_socket_file_of_an_engine_that_never_ran_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("never.sock");
    let engine = Engine::builder().listen(format!("unix:{}", path.display())).build(|_| Script::<()>::new());
    assert!(path.exists());
    drop(engine);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stale.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    // A child that another test starts holds our descriptors until it is another program.
    eventually("nobody holds it", || UnixStream::connect(&path).is_err());
    let server = serve(Engine::builder().listen(format!("unix:{}", path.display())), |_| Script::<()>::new());
    echo(&mut UnixStream::connect(&path).unwrap(), b"hello");
    server.stop();
}

#[test]
fn a_live_socket_in_the_way_is_refused_and_goes_on_living() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.sock");
    let live = UnixListener::bind(&path).unwrap();
    let url = format!("unix:{}", path.display());
    let error = refusal(Engine::builder().listen(url.as_str()));
    assert!(matches!(&error, Error::CannotListen { address, .. } if *address == url), "{error}");
    assert!(error.to_string().contains("live"), "{error}");
    UnixStream::connect(&path).unwrap();
    drop(live);
}

#[test]
fn a_file_in_the_way_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "precious").unwrap();
    let url = format!("unix:{}", path.display());
    let error = refusal(Engine::builder().listen(url.as_str()));
    assert!(matches!(&error, Error::CannotListen { address, .. } if *address == url), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_taken_port_is_refused_by_name_and_what_was_opened_before_is_free_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("first.sock");
    let (first, taken) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("tcp://{}", taken.local_addr().unwrap());
    for reuse in [false, true] {
        let mut builder = Engine::builder().listen(format!("tcp://127.0.0.1:{first}"));
        if !reuse {
            builder = builder.listen(format!("unix:{}", path.display()));
        }
        let error = refusal(builder.listen(url.as_str()).reuse_port(reuse));
        assert!(matches!(&error, Error::CannotListen { address, .. } if *address == url), "{error}");
        assert!(error.to_string().contains("taken"), "{error}");
        TcpListener::bind(("127.0.0.1", first)).expect("the first listener's port is free again");
        assert!(!path.exists(), "the first socket's file is gone");
    }
}

#[test]
fn a_bad_address_is_refused_by_name_before_anything_is_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    for (url, wrong) in [
        ("gopher://127.0.0.1:70", "unknown scheme `gopher`"),
        ("127.0.0.1:70", "scheme"),
        ("tcp://127.0.0.1:65536", "bad port `65536`"),
        ("tcp://127.0.0.1:http", "bad port `http`"),
        ("tcp://127.0.0.1", "no port"),
        ("tcp://127.0.0.1:-1", "bad port"),
        ("unix:", "no path"),
        ("", "scheme"),
    ] {
        // The taken port would be refused too, had it been tried before all addresses were read.
        let error = refusal(Engine::builder().listen(taken.as_str()).listen(url));
        assert!(matches!(&error, Error::BadAddress { address, .. } if address == url), "{error}");
        assert!(error.to_string().contains(wrong), "{url}: {error}");
    }
}

#[test]
fn a_host_without_an_address_is_refused_by_name() {
    let url = "tcp://no-such-host.invalid:80";
    let error = refusal(Engine::builder().listen(url));
    assert!(matches!(&error, Error::Unresolvable { address, .. } if address == url), "{error}");
}

/// In a process of its own, which root leaves to nobody.
#[test]
fn a_privileged_port_is_refused_by_name() {
    alone("a_privileged_port_is_refused_by_name", || {
        let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
        if first.trim() == "0" {
            eprintln!("skipped: on this machine everybody may listen on every port");
            return;
        }
        if nix::unistd::geteuid().is_root() {
            nix::unistd::setuid(nix::unistd::Uid::from_raw(65_534)).unwrap();
        }
        let (url, free) = ("tcp://127.0.0.1:1", free_port());
        let error = refusal(Engine::builder().listen(format!("tcp://127.0.0.1:{free}")).listen(url));
        assert!(matches!(&error, Error::CannotListen { address, .. } if address == url), "{error}");
        assert!(error.to_string().contains("not permitted"), "{error}");
        TcpListener::bind(("127.0.0.1", free)).expect("nothing is half-started");
    });
}

#[test]
fn an_inherited_socket_that_was_not_passed_is_refused_by_name() {
    let error = refusal(Engine::builder().listen("inherited:7"));
    assert!(matches!(&error, Error::CannotListen { address, .. } if address == "inherited:7"), "{error}");
}

/// The service manager's part is played by a shell that puts two listening sockets where `LISTEN_FDS` says.
#[test]
fn inherited_sockets_serve_under_their_own_addresses() {
    let name = "inherited_sockets_serve_under_their_own_addresses";
    if is_child(name) {
        return serve_inherited();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inherited.sock");
    let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
    let at = tcp.local_addr().unwrap();
    let (key, value) = child_environment(name);
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(child_arguments(name))
        .env(key, value)
        .stdin(OwnedFd::from(tcp))
        .stdout(OwnedFd::from(unix));
    let clients = std::thread::spawn(move || talk_to_inherited(at, &path));
    finish(shell);
    clients.join().unwrap();
}

fn talk_to_inherited(at: SocketAddr, path: &Path) {
    let mut tcp = TcpStream::connect(at).unwrap();
    let mut unix = UnixStream::connect(path).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = Vec::new();
    tcp.read_to_end(&mut greeting).unwrap();
    assert_eq!(String::from_utf8_lossy(&greeting), format!("1 tcp://{at}"));
    greeting.clear();
    unix.read_to_end(&mut greeting).unwrap();
    assert_eq!(String::from_utf8_lossy(&greeting), format!("0 unix:{}", path.display()));
}

/// Tells each of two connections its listener and that one's address, and ends.
fn serve_inherited() {
    let engine = Engine::builder()
        .listen("inherited:1")
        .listen("inherited:0")
        .reactors(1)
        .build(|spot| {
            let (handle, mut left) = (spot.handle(), 2);
            Script::<()>::new().message(|_, _, _| Action::Continue).close(move |_, ()| {
                left -= 1;
                if left == 0 {
                    handle.shutdown();
                }
            })
        })
        .unwrap();
    let addresses = engine.addresses().to_vec();
    let poster = engine.poster();
    for reactor in 0..engine.handle().reactors() as u16 {
        let addresses = addresses.clone();
        let posted = poster.post(wheelhouse::ReactorId(reactor), move |script, _| {
            let old = std::mem::replace(script, Script::new());
            *script = old.open(move |conn, _| {
                let listener = conn.listener().unwrap().0;
                conn.send(format!("{listener} {}", addresses[usize::from(listener)]));
                Action::Finish
            });
        });
        assert!(posted.is_ok());
    }
    engine.run().unwrap();
}
