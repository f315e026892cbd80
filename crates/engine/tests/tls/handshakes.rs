//! Versions, names, protocols, resumption, and handshakes in pieces.

use rustls_stable::{
    ALL_VERSIONS, AlertDescription, Error as StableError, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use wheelhouse::{
    Tls, TlsClient, TlsError, TlsVersion,
    internals::{Phase, TlsSession},
};

use crate::{
    ends::{Ours, Theirs, carry, carry_ours, client_config, der, server_config},
    pki::Authority,
};

const VERSIONS: [(&SupportedProtocolVersion, TlsVersion); 2] =
    [(&TLS12, TlsVersion::Tls12), (&TLS13, TlsVersion::Tls13)];

#[test]
fn a_client_of_either_version_is_served() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(own.certificate, own.key).unwrap();
    for (version, expected) in VERSIONS {
        let mut server = Ours::server(&tls);
        let config = client_config(&authority, &[version], None, &[]);
        let mut client = Theirs::client(config, "localhost");
        assert!(server.session.info().is_none());
        carry(&mut server, &mut client);
        assert_eq!(server.phase, Phase::Open);
        let info = server.session.info().unwrap();
        assert_eq!((info.version(), info.server_name(), info.alpn()), (expected, Some("localhost"), None));
        assert_eq!(info.peer_certificates().count(), 0);
        assert!(!info.is_resumed());

        client.send(b"ping");
        carry(&mut server, &mut client);
        assert_eq!(server.plain, b"ping");
        server.send(b"pong");
        carry(&mut server, &mut client);
        assert_eq!(client.plain, b"pong");
    }
}

#[test]
fn a_server_of_either_version_can_be_dialled() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost", "127.0.0.1"]);
    for (version, expected) in VERSIONS {
        for name in ["localhost", "127.0.0.1"] {
            let client = TlsClient::builder(name).roots(authority.certificate()).build().unwrap();
            let mut client = Ours::client(&client);
            let mut server = Theirs::server(server_config(&own, &[version], None));
            carry(&mut client, &mut server);
            assert_eq!(client.phase, Phase::Open);
            let info = client.session.info().unwrap();
            assert_eq!((info.version(), info.server_name()), (expected, Some(name)));
            assert_eq!(info.peer_certificates().collect::<Vec<_>>(), [der(&own.certificate).as_ref()]);

            client.send(b"ping");
            server.send(b"pong");
            carry(&mut client, &mut server);
            assert_eq!((&client.plain[..], &server.plain[..]), (&b"pong"[..], &b"ping"[..]));
        }
    }
}

#[test]
fn a_handshake_byte_by_byte_is_the_same_handshake() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(&*own.certificate, &*own.key).unwrap();
    for (version, _) in VERSIONS {
        let mut server = Ours::server(&tls);
        let config = client_config(&authority, &[version], None, &[]);
        let mut client = Theirs::client(config, "localhost");
        for _ in 0..4 {
            for byte in client.take_out() {
                server.give(&[byte]);
            }
            client.give(&server.take_out());
        }
        assert_eq!(server.phase, Phase::Open);

        // The way back, with ours as the client.
        let client = TlsClient::builder("localhost").roots(authority.certificate()).build().unwrap();
        let mut client = Ours::client(&client);
        let mut server = Theirs::server(server_config(&own, &[version], None));
        for _ in 0..4 {
            server.give(&client.take_out());
            for byte in server.take_out() {
                client.give(&[byte]);
            }
        }
        assert_eq!(client.phase, Phase::Open);
    }
}

#[test]
fn data_in_the_same_bytes_as_the_end_of_the_handshake_is_not_lost() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(own.certificate, own.key).unwrap();
    let mut server = Ours::server(&tls);
    let mut client = Theirs::client(client_config(&authority, &[&TLS13], None, &[]), "localhost");
    server.give(&client.take_out());
    client.give(&server.take_out());
    let body = vec![5; 60_000];
    client.send(&body);
    server.give(&client.take_out());
    assert_eq!(server.phase, Phase::Open);
    assert!(server.plain == body);
}

#[test]
fn the_protocol_we_prefer_is_chosen_of_those_offered() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls =
        Tls::builder().certificate(own.certificate, own.key).alpn(["http/1.1", "chat"]).build().unwrap();
    let cases: [(&[&str], Option<&str>); 3] =
        [(&["chat", "http/1.1"], Some("http/1.1")), (&["h2", "chat"], Some("chat")), (&[], None)];
    for (offered, chosen) in cases {
        let mut server = Ours::server(&tls);
        let mut client = Theirs::client(client_config(&authority, ALL_VERSIONS, None, offered), "localhost");
        carry(&mut server, &mut client);
        assert_eq!(server.session.info().unwrap().alpn(), chosen.map(str::as_bytes));
        assert_eq!(client.conn.alpn_protocol(), chosen.map(str::as_bytes));
    }
}

#[test]
fn a_client_that_offers_no_protocol_of_ours_is_refused() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::builder().certificate(own.certificate, own.key).alpn(["http/1.1"]).build().unwrap();
    for (version, _) in VERSIONS {
        let mut server = Ours::server(&tls);
        let mut client = Theirs::client(client_config(&authority, &[version], None, &["h2"]), "localhost");
        carry(&mut server, &mut client);
        assert_eq!(server.failure(), &TlsError::NoCommonProtocol);
        assert_eq!(client.error, Some(StableError::AlertReceived(AlertDescription::NoApplicationProtocol)));
    }
}

#[test]
fn a_client_that_comes_back_is_resumed() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(own.certificate, own.key).unwrap();
    for (version, _) in VERSIONS {
        let config = client_config(&authority, &[version], None, &[]);
        for is_again in [false, true] {
            let mut server = Ours::server(&tls);
            let mut client = Theirs::client(config.clone(), "localhost");
            carry(&mut server, &mut client);
            assert_eq!(client.was_resumed(), is_again);
            assert_eq!(server.session.info().unwrap().is_resumed(), is_again);
        }
    }
}

#[test]
fn our_client_resumes_too() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    for (version, _) in VERSIONS {
        let config = server_config(&own, &[version], None);
        let client = TlsClient::builder("localhost").roots(authority.certificate()).build().unwrap();
        for is_again in [false, true] {
            let mut client = Ours::client(&client.clone());
            let mut server = Theirs::server(config.clone());
            carry(&mut client, &mut server);
            // A ticket of TLS 1.3 comes behind the handshake.
            assert_eq!(client.session.info().unwrap().is_resumed(), is_again);
            assert_eq!(server.was_resumed(), is_again);
        }
    }
}

#[test]
fn only_the_steps_that_cost_much_are_called_expensive() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(own.certificate, own.key).unwrap();
    let client = TlsClient::builder("localhost").roots(authority.certificate()).build().unwrap();
    let (mut server, mut client) = (Ours::server(&tls), Ours::client(&client));
    let hello = client.take_out();
    assert!(server.session.is_expensive_next(), "it agrees on keys and signs");
    server.give(&hello);
    let answer = server.take_out();
    assert!(client.session.is_expensive_next(), "it checks signatures");
    client.give(&answer);
    let finished = client.take_out();
    assert!(!server.session.is_expensive_next(), "it compares two hashes");
    server.give(&finished);
    carry_ours(&mut server, &mut client);
    client.send(b"ping");
    assert!(!server.session.is_expensive_next());
}

#[test]
fn no_more_is_left_unopened_than_a_handshake_may_come_to() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(own.certificate.clone(), own.key.clone()).unwrap();
    let mut server = Ours::server(&tls);
    assert_eq!(server.session.most_unopened(), Some(TlsSession::MAX_HANDSHAKE));
    let mut client = Theirs::client(client_config(&authority, ALL_VERSIONS, None, &[]), "localhost");
    carry(&mut server, &mut client);
    assert_eq!(server.session.most_unopened(), None, "the handshake is over");

    let asking = Tls::builder().certificate(own.certificate, own.key);
    let asking = asking.client_certificates(authority.certificate(), true).build().unwrap();
    assert_eq!(Ours::server(&asking).session.most_unopened(), Some(TlsSession::MAX_LONG_HANDSHAKE));
    let client = TlsClient::builder("localhost").roots(authority.certificate()).build().unwrap();
    assert_eq!(Ours::client(&client).session.most_unopened(), Some(TlsSession::MAX_LONG_HANDSHAKE));
}
