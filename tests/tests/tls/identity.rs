//! What both ends know of each other: versions, names, certificates, sessions that are resumed, certificates that change.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
};

use rustls_stable::{
    HandshakeKind,
    version::{TLS12, TLS13},
};
use wheelhouse::{Action, Builder, CloseReason, Engine, Framing, Listener, ListenerId, Tls, TlsVersion};

use crate::{
    fixture::{Script, Server, connect, echo, next, serve, tell},
    peer::{config, config_with, der, named, over, secure, strangers},
    pki::{authority, localhost, tls, tls_of},
    site::{ended, engine, opened, start},
};

/// What `on_open` sees of a connection's TLS.
#[derive(Debug, PartialEq)]
struct Seen {
    version: TlsVersion,
    alpn: Option<String>,
    name: Option<String>,
    certificates: Vec<Vec<u8>>,
    is_resumed: bool,
}

fn seeing(builder: Builder) -> (Server<Script>, Receiver<Option<Seen>>) {
    let (told, seen) = channel();
    let server = serve(builder, move |_| {
        let told = told.clone();
        Script::new().open(move |conn, _| {
            let seen = conn.tls().map(|info| Seen {
                version: info.version(),
                alpn: info.alpn().map(|name| String::from_utf8_lossy(name).into_owned()),
                name: info.server_name().map(str::to_owned),
                certificates: info.peer_certificates().map(<[u8]>::to_vec).collect(),
                is_resumed: info.is_resumed(),
            });
            tell(&told, seen);
            Action::Continue
        })
    });
    (server, seen)
}

fn listening(tls: Tls) -> Builder {
    Engine::builder().listen(Listener::new("tls://127.0.0.1:0").tls(tls)).reactors(1)
}

#[test]
fn on_open_sees_what_was_agreed_on() {
    let (server, seen) = seeing(engine());
    for (version, expected) in [(&TLS12, TlsVersion::Tls12), (&TLS13, TlsVersion::Tls13)] {
        let mut config = config_with(&[version], None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut client = over(connect(server.at()), config);
        echo(&mut client, b"hello");
        let expected = Seen {
            version: expected,
            alpn: Some("http/1.1".into()),
            name: Some("localhost".into()),
            certificates: vec![],
            is_resumed: false,
        };
        assert_eq!(next(&seen), Some(expected));
    }
}

#[test]
fn without_tls_there_is_nothing_to_see() {
    let (server, seen) = seeing(crate::fixture::local());
    let _client = server.connect();
    assert_eq!(next(&seen), None);
}

#[test]
fn each_client_gets_the_certificate_for_its_name() {
    let (one, two) = (authority().signs("one.example"), authority().signs("two.example"));
    let tls = Tls::builder()
        .certificate(&*one.certificate, &*one.key)
        .certificate(&*two.certificate, &*two.key)
        .build()
        .unwrap();
    let (server, seen) = seeing(listening(tls));
    for (name, pem) in [("two.example", &two), ("one.example", &one)] {
        let mut client = named(name, connect(server.at()), config());
        assert_eq!(client.conn.peer_certificates().unwrap()[0], der(&pem.certificate));
        echo(&mut client, b"hello");
        assert_eq!(next(&seen).unwrap().name.as_deref(), Some(name));
    }
}

fn asking_for_certificates() -> Tls {
    let own = localhost();
    Tls::builder()
        .certificate(&*own.certificate, &*own.key)
        .client_certificates(authority().certificate(), true)
        .build()
        .unwrap()
}

#[test]
fn a_clients_certificate_is_there_in_on_open() {
    let (server, seen) = seeing(listening(asking_for_certificates()));
    let own = authority().signs("a client");
    for version in [&TLS12, &TLS13] {
        let mut client = over(connect(server.at()), config_with(&[version], Some(&own)));
        echo(&mut client, b"hello");
        assert_eq!(next(&seen).unwrap().certificates, [der(&own.certificate).to_vec()]);
    }
}

#[test]
fn a_client_without_the_certificate_is_told_by_an_alert_and_never_opened() {
    let (server, events) = start(listening(asking_for_certificates()));
    let strange = strangers();
    for own in [None, Some(&strange)] {
        // In 1.3 the client is done before the server has seen its certificate.
        let mut client = over(connect(server.at()), config_with(&[&TLS13], own));
        let _ = client.write_all(b"let me in");
        let error = client.read(&mut [0; 100]).unwrap_err();
        assert!(
            error.to_string().contains("AlertReceived") || error.to_string().contains("fatal alert"),
            "{error}"
        );
        drop(client);
        let ended = ended(&events);
        assert_eq!((ended.reason, ended.opened), (CloseReason::Handshake, false));
        ended.says("the peer's certificate");
    }
}

#[test]
fn a_client_that_comes_back_is_resumed_and_both_know() {
    let (server, seen) = seeing(engine());
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(config_with(&[version], None));
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut client = over(connect(server.at()), config.clone());
            echo(&mut client, b"hello"); // and the ticket has come
            assert_eq!(client.conn.handshake_kind(), Some(expected), "{version:?}");
            assert_eq!(next(&seen).unwrap().is_resumed, expected == HandshakeKind::Resumed);
        }
    }
}

#[test]
fn new_certificates_are_for_those_who_come_later() {
    let (server, events) = start(engine());
    let mut before = secure(server.at());
    echo(&mut before, b"hello");
    opened(&events);
    let renewed = authority().signs("localhost");
    server.handle.reload_tls(ListenerId(0), &tls_of(&renewed)).unwrap();
    let mut after = secure(server.at());
    opened(&events);
    assert_eq!(before.conn.peer_certificates().unwrap()[0], der(&localhost().certificate));
    assert_eq!(after.conn.peer_certificates().unwrap()[0], der(&renewed.certificate));
    for round in 0..3 {
        echo(&mut before, format!("as ever, {round}").as_bytes());
        echo(&mut after, format!("from now on, {round}").as_bytes());
    }
    assert!(server.handle.reload_tls(ListenerId(1), &tls()).is_err());
}

#[test]
fn a_proxys_header_comes_before_the_handshake() {
    let listener = Listener::new("tls://127.0.0.1:0")
        .tls(tls())
        .framing(Framing::lines(100))
        .proxy_protocol(["127.0.0.0/8"]);
    let server = serve(Engine::builder().listen(listener).reactors(1), |_| {
        Script::<()>::new().message(|conn, _, _| {
            conn.send(conn.peer_addr().unwrap().to_string());
            Action::Continue
        })
    });
    let header = b"PROXY TCP4 192.0.2.1 10.0.0.1 1234 443\r\n";
    // Behind a header of its own, and with the client's first words in the same segment.
    let mut socket = connect(server.at());
    socket.write_all(header).unwrap();
    let mut client = over(socket, config());
    client.write_all(b"who am I?\n").unwrap();
    crate::fixture::expect(&mut client, b"192.0.2.1:1234\n");
    let mut session = crate::peer::session("localhost", config());
    let mut socket = connect(server.at());
    socket.write_all(&[&header[..], &crate::peer::out_of(&mut session)].concat()).unwrap();
    session.complete_io(&mut socket).unwrap();
    let mut client = crate::peer::Client::new(session, socket);
    client.write_all(b"who am I?\n").unwrap();
    crate::fixture::expect(&mut client, b"192.0.2.1:1234\n");
}
