//! Behind a proxy: the first bytes of a connection say whose it is, and everything that is the client's follows them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write,
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use fixture::*;
use wheelhouse::{
    Action, Address, Builder, CloseReason, ConnId, Detached, Engine, Error, Framing, Listener, ReactorId,
};
use wheelhouse_tests::{blow_up, linger_zero};

const MS: Duration = Duration::from_millis(1);
const CLIENT: &str = "203.0.113.7:5000";
const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 5000 80\r\n";

fn behind(networks: &[&str]) -> Listener {
    Listener::new("tcp://127.0.0.1:0").proxy_protocol(networks.iter().copied())
}

/// A header of version 2: command and family as their bytes say, and the rest behind its length.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let head = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &(rest.len() as u16).to_be_bytes()];
    [&head.concat()[..], rest].concat()
}

/// One of version 2 for `CLIENT`, with so many bytes in all.
fn binary_of(len: usize) -> Vec<u8> {
    let mut rest = vec![203, 0, 113, 7, 192, 0, 2, 1, 0x13, 0x88, 0, 80];
    let tlv = len - 16 - rest.len();
    if tlv > 0 {
        rest.push(0xe0);
        rest.extend_from_slice(&((tlv - 3) as u16).to_be_bytes());
        rest.resize(rest.len() + tlv - 3, b'x');
    }
    binary(0x21, 0x11, &rest)
}

/// What is told of a connection, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Open(Option<SocketAddr>),
    Close { opened: bool, reason: CloseReason, error: String },
}

fn closed(reason: CloseReason) -> Told {
    Told::Close { opened: false, reason, error: String::new() }
}

/// Says whose the connection is as soon as it is open, and echoes.
fn telling(builder: Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let server = serve(builder, move |_| {
        let (told, closes) = (told.clone(), told.clone());
        Script::new()
            .open(move |conn, ()| {
                let peer = conn.peer_addr();
                tell(&told, Told::Open(peer));
                conn.send(peer.map_or("nobody ".into(), |peer| format!("{peer} ")));
                Action::Continue
            })
            .close(move |closed, ()| {
                let error = closed.error().map(ToString::to_string).unwrap_or_default();
                tell(&closes, Told::Close { opened: closed.opened(), reason: *closed.reason(), error });
            })
    });
    (server, events)
}

fn one(listener: Listener) -> Builder {
    Engine::builder().listen(listener).reactors(1)
}

/// Waits until the engine has read so many bytes in all.
fn read_so_far(server: &Server<Script>, bytes: u64) {
    eventually("it was read", || server.handle.stats().total().bytes_in == bytes);
}

#[test]
fn either_header_names_the_client_wherever_it_is_split_and_data_may_follow_at_once() {
    for header in [LINE.to_vec(), binary_of(28), binary_of(60)] {
        let says = [&header[..], b"hello"].concat();
        let hears = format!("{CLIENT} hello");
        let (server, events) = telling(one(behind(&["127.0.0.1"])));
        for at in 0..says.len() {
            let before = server.handle.stats().total().bytes_in;
            let mut client = server.connect();
            client.write_all(&says[..at]).unwrap();
            read_so_far(&server, before + at as u64);
            assert_eq!(events.try_recv().is_ok(), at >= header.len(), "on_open before {at} bytes");
            client.write_all(&says[at..]).unwrap();
            expect(&mut client, hears.as_bytes());
            if at < header.len() {
                assert_eq!(next(&events), Told::Open(Some(CLIENT.parse().unwrap())));
            }
            read_so_far(&server, before + says.len() as u64);
            drop(client);
            assert!(matches!(next(&events), Told::Close { opened: true, .. }));
        }
        let mut client = server.connect();
        for byte in &says {
            let before = server.handle.stats().total().bytes_in;
            client.write_all(&[*byte]).unwrap();
            read_so_far(&server, before + 1);
        }
        expect(&mut client, hears.as_bytes());
    }
}

#[test]
fn whatever_the_header_can_name_is_the_peer() {
    let six: Vec<u8> = ["2001:db8::7", "2001:db8::1"]
        .iter()
        .flat_map(|ip| ip.parse::<std::net::Ipv6Addr>().unwrap().octets())
        .chain([0x13, 0x88, 0, 80])
        .collect();
    let cases = [
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 80\r\n".to_vec(), Some("[2001:db8::7]:5000")),
        (binary(0x21, 0x21, &six), Some("[2001:db8::7]:5000")),
        // Nobody is named: the proxy's own address counts.
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (binary(0x20, 0x00, &[]), None),
        (binary(0x21, 0x31, &[0; 216]), None),
    ];
    let (server, events) = telling(one(behind(&["127.0.0.0/8"])));
    for (header, named) in cases {
        let mut client = server.connect();
        client.write_all(&header).unwrap();
        let peer = named.map_or(client.local_addr().unwrap(), |named| named.parse().unwrap());
        assert_eq!(next(&events), Told::Open(Some(peer)));
        expect(&mut client, format!("{peer} ").as_bytes());
        echo(&mut client, b"hello");
        drop(client);
        assert!(matches!(next(&events), Told::Close { opened: true, .. }));
    }
}

#[test]
fn messages_follow_the_header_in_the_listeners_framing() {
    let (server, events) = telling(one(behind(&["127.0.0.1"]).framing(Framing::lines(80))));
    let mut client = server.connect();
    client.write_all(&[LINE, b"one\ntwo\nthr"].concat()).unwrap();
    expect(&mut client, format!("{CLIENT} \none\ntwo\n").as_bytes());
    client.write_all(b"ee\n").unwrap();
    expect(&mut client, b"three\n");
    assert!(matches!(next(&events), Told::Open(_)));
}

#[test]
fn a_source_that_is_not_trusted_is_nobodys_proxy() {
    let (server, events) = telling(one(behind(&["127.0.0.1"])));
    let mut client = connect_from("127.0.0.2", server.at());
    let own = client.local_addr().unwrap();
    assert_eq!(next(&events), Told::Open(Some(own)));
    expect(&mut client, format!("{own} ").as_bytes());
    echo(&mut client, LINE);
    echo(&mut client, &binary_of(28));
}

#[test]
fn what_is_no_header_ends_the_connection_before_it_is_open() {
    let (server, events) = telling(one(behind(&["127.0.0.1"])));
    let bad: [(&[u8], &str); 7] = [
        (b"GET / HTTP/1.1\r\n", "begins with neither"),
        (b"PROXY UDP4 203.0.113.7 192.0.2.1 5000 80\r\n", "family"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 5000 99999\r\n", "port"),
        (b"PROXY TCP4 2001:db8::7 192.0.2.1 5000 80\r\n", "source"),
        (&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 107]].concat(), "107"),
        (&binary(0x11, 0x11, &[0; 12]), "version"),
        (&binary(0x21, 0x11, &[0; 11]), "11 B"),
    ];
    for (bytes, why) in bad {
        let mut client = server.connect();
        client.write_all(bytes).unwrap();
        assert_eq!(read_to_end(&mut client).0, b"", "no word to {bytes:?}");
        let Told::Close { opened: false, reason: CloseReason::Protocol, error } = next(&events) else {
            panic!("{bytes:?}");
        };
        assert!(error.contains("PROXY header") && error.contains(why), "{error}");
    }
    assert_eq!(server.handle.count(), 0);
}

#[test]
fn a_header_that_does_not_come_in_time_is_not_waited_for() {
    let builder = one(behind(&["127.0.0.1"])).handshake_timeout(100 * MS);
    let (server, events) = telling(builder);
    let mut silent = server.connect();
    assert_eq!(read_to_end(&mut silent), (vec![], Ending::Eof));
    assert_eq!(next(&events), closed(CloseReason::Handshake));
    let mut begun = server.connect();
    begun.write_all(&LINE[..20]).unwrap();
    read_to_end(&mut begun);
    assert_eq!(next(&events), closed(CloseReason::Handshake));
    // In time it is no matter how long the connection stays.
    let mut good = server.connect();
    good.write_all(LINE).unwrap();
    assert!(matches!(next(&events), Told::Open(_)));
    std::thread::sleep(200 * MS);
    expect(&mut good, format!("{CLIENT} ").as_bytes());
    echo(&mut good, b"still here");
}

#[test]
fn one_that_ends_amid_the_header_was_never_open() {
    let (server, events) = telling(one(behind(&["127.0.0.1"])));
    for at in [0, 1, 13, 20] {
        let mut client = server.connect();
        client.write_all(&LINE[..at]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
        assert_eq!(next(&events), closed(CloseReason::Peer { code: None }));
        let mut client = server.connect();
        client.write_all(&LINE[..at]).unwrap();
        eventually("it has come", || server.handle.count() == 1);
        linger_zero(&client);
        drop(client);
        let told = next(&events);
        assert!(matches!(told, Told::Close { opened: false, reason: CloseReason::Io, .. }), "{told:?}");
    }
    eventually("nothing is left of them", || {
        let total = server.handle.stats().total();
        (total.connections, total.buffered) == (0, 0)
    });
}

#[test]
fn whoever_wants_it_closed_need_not_wait_for_the_header() {
    let (server, events) = telling(one(behind(&["127.0.0.1"])));
    for (way, reason) in [
        (wheelhouse::Handle::close as fn(&_, ConnId), CloseReason::Local),
        (wheelhouse::Handle::finish, CloseReason::Local),
        (wheelhouse::Handle::reset, CloseReason::Local),
        (|handle: &wheelhouse::Handle, _| handle.shutdown(), CloseReason::Shutdown),
    ] {
        let mut client = server.connect();
        client.write_all(&LINE[..20]).unwrap();
        eventually("it is there", || server.handle.connections().count() == 1);
        let id = server.handle.connections().next().unwrap();
        assert!(server.handle.is_open(id), "it has a name already");
        // What is sent to it meanwhile comes too early.
        server.handle.send(id, "too early").unwrap();
        way(&server.handle, id);
        assert_eq!(next(&events), closed(reason));
        assert_eq!(read_to_end(&mut client).0, b"");
    }
}

#[test]
fn every_peer_of_a_unix_listener_is_a_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("unix:{}", directory.path().join("socket").display());
    let (server, events) = telling(one(Listener::new(url).proxy_protocol(["192.0.2.0/24"])));
    let Address::Unix(path) = &server.addresses[0] else { panic!() };
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&[LINE, b"hello"].concat()).unwrap();
    expect(&mut client, format!("{CLIENT} hello").as_bytes());
    assert_eq!(next(&events), Told::Open(Some(CLIENT.parse().unwrap())));
}

#[test]
fn a_header_may_be_large_but_not_larger_than_it_may_be_and_the_read_buffer_may_be_small() {
    let (server, events) = telling(one(behind(&["127.0.0.1"])));
    let refused = |server: &Server<Script>, events: &Receiver<Told>, header: &[u8], why: &str| {
        let blocked = server.block(0);
        let mut client = server.connect();
        client.write_all(header).unwrap();
        drop(blocked);
        read_to_end(&mut client);
        let Told::Close { opened: false, reason: CloseReason::Protocol, error } = next(events) else {
            panic!("{why}");
        };
        assert!(error.contains(why), "{error}");
    };
    let taken = |server: &Server<Script>, events: &Receiver<Told>, len| {
        let blocked = server.block(0);
        let mut client = server.connect();
        client.write_all(&[&binary_of(len)[..], b"hello"].concat()).unwrap();
        drop(blocked);
        expect(&mut client, format!("{CLIENT} hello").as_bytes());
        assert!(matches!(next(events), Told::Open(_)));
        drop(client);
        assert!(matches!(next(events), Told::Close { opened: true, .. }));
    };
    taken(&server, &events, 4096);
    refused(&server, &events, &binary_of(4097), "at most 4096 B");
    let (server, events) = telling(one(behind(&["127.0.0.1"])).read_buffer(1024));
    for len in [1024, 1500, 4096] {
        taken(&server, &events, len);
    }
    refused(&server, &events, &binary_of(4097), "at most 4096 B");
}

#[test]
fn what_on_open_does_holds_for_the_first_data_too() {
    let (told, events) = channel();
    let server = serve(one(behind(&["127.0.0.1"])), move |_| {
        let (told, panics) = (told.clone(), told.clone());
        Script::<()>::new()
            .open(move |conn, ()| {
                match conn.peer_addr().unwrap().port() {
                    1 => conn.pause(),
                    2 => {
                        let told = told.clone();
                        conn.detach(move |Detached { unread, .. }| {
                            tell(&told, (None, String::from_utf8(unread).unwrap()));
                        });
                    }
                    3 => conn.set_framing(&Framing::lines(80)).unwrap(),
                    4 => return Action::Finish,
                    5 => blow_up("at the door"),
                    _ => unreachable!(),
                }
                tell(&told, (Some(conn.id()), "open".to_owned()));
                Action::Continue
            })
            .panic(move |text| tell(&panics, (None, text.to_owned())))
    });
    let enter = |port: u16| {
        let mut client = server.connect();
        let header = format!("PROXY TCP4 203.0.113.7 192.0.2.1 {port} 80\r\n");
        client.write_all(&[header.as_bytes(), b"one\ntwo"].concat()).unwrap();
        client
    };
    let mut paused = enter(1);
    let (id, _) = next(&events);
    assert_eq!(server.ask_conn(id.unwrap(), |conn, _| conn.buffered().0), 7);
    server.handle.resume(id.unwrap());
    expect(&mut paused, b"one\ntwo");
    let _detached = enter(2);
    next(&events);
    assert_eq!(next(&events).1, "one\ntwo");
    let mut lines = enter(3);
    next(&events);
    expect(&mut lines, b"one\n");
    echo_rest(&mut lines);
    let mut finished = enter(4);
    assert_eq!(read_to_end(&mut finished), (vec![], Ending::Eof));
    let mut panicked = enter(5);
    assert_eq!(next(&events).1, "at the door");
    assert_eq!(read_to_end(&mut panicked).0, b"");
}

fn echo_rest(lines: &mut TcpStream) {
    lines.write_all(b" and a half\n").unwrap();
    expect(lines, b"two and a half\n");
}

#[test]
fn reactors_that_listen_for_themselves_read_it_too() {
    let (server, events) =
        telling(Engine::builder().listen(behind(&["127.0.0.1"])).reactors(2).reuse_port(true));
    for _ in 0..20 {
        let mut client = server.connect();
        client.write_all(LINE).unwrap();
        expect(&mut client, format!("{CLIENT} ").as_bytes());
        assert_eq!(next(&events), Told::Open(Some(CLIENT.parse().unwrap())));
        drop(client);
        assert!(matches!(next(&events), Told::Close { opened: true, .. }));
    }
    assert_eq!(server.ask(0, |_, reactor| reactor.id()), ReactorId(0));
}

#[test]
fn a_proxy_that_comes_by_ipv4_is_known_at_a_dual_stack_listener() {
    let listener = Listener::new("tcp://[::]:0").proxy_protocol(["127.0.0.1"]);
    let (server, events) = telling(one(listener));
    let at = SocketAddr::from(([127, 0, 0, 1], server.at().port()));
    let mut client = connect(at);
    client.write_all(LINE).unwrap();
    expect(&mut client, format!("{CLIENT} ").as_bytes());
    assert_eq!(next(&events), Told::Open(Some(CLIENT.parse().unwrap())));
    let mut stranger = connect_from("127.0.0.2", at);
    let own = stranger.local_addr().unwrap();
    expect(&mut stranger, format!("{own} ").as_bytes());
}

#[test]
fn networks_that_are_none_are_refused_before_a_socket_is_opened() {
    for bad in [&[][..], &["10.1.2.3/8"], &["nonsense"], &["127.0.0.1", "10.0.0.0/33"], &[""]] {
        let error = refusal(one(behind(bad)));
        assert!(matches!(error, Error::BadOption { option: "proxy_protocol", .. }), "{error}");
    }
}
