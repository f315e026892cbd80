//! How a connection ends: `close_notify` either way, or without.

use rustls_stable::{
    AlertDescription, Error as StableError,
    version::{TLS12, TLS13},
};
use wheelhouse::{TlsError, internals::Phase};

use crate::{ends::carry, records::open};

#[test]
fn close_notify_of_the_peer_closes_its_way_only() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        client.send(b"last words");
        client.conn.send_close_notify();
        server.give(&client.take_out());
        assert_eq!((&server.plain[..], &server.phase), (&b"last words"[..], &Phase::Closed));
        server.send(b"an answer");
        carry(&mut server, &mut client);
        assert_eq!(client.plain, b"an answer");
    }
}

#[test]
fn nothing_after_close_notify_is_plaintext() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        client.send(b"before");
        client.conn.send_close_notify();
        let mut wire = client.take_out();
        wire.extend_from_slice(b"\x17\x03\x03\x00\x10GET / HTTP/1.1\r\n");
        server.give(&wire);
        server.give(b"anything at all");
        assert_eq!((&server.plain[..], &server.phase), (&b"before"[..], &Phase::Closed));
        assert!(server.left.is_empty() && server.out.is_empty());
    }
}

#[test]
fn our_close_notify_reaches_the_peer_once_and_ends_sending() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        server.send(b"bye");
        server.session.close_notify(&mut server.out);
        let len = server.out.len();
        server.session.close_notify(&mut server.out);
        assert_eq!(server.out.len(), len, "once");
        assert_eq!(server.session.send(&[b"more"], &mut server.out), Err(TlsError::Closed));
        client.give(&server.take_out());
        assert_eq!((&client.plain[..], client.is_closed), (&b"bye"[..], true));

        client.send(b"still talking");
        server.give(&client.take_out());
        assert_eq!((&server.plain[..], &server.phase), (&b"still talking"[..], &Phase::Open));
    }
}

#[test]
fn a_stream_that_ends_without_close_notify_never_says_closed() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        client.send(b"whole");
        client.send(b"cut off");
        let wire = client.take_out();
        server.give(&wire[..wire.len() - 1]);
        assert_eq!((&server.plain[..], &server.phase), (&b"whole"[..], &Phase::Open));
        assert!(!server.left.is_empty());
    }
}

#[test]
fn the_plaintext_before_a_fault_is_delivered_with_it() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        client.send(b"good");
        let mut wire = client.take_out();
        client.send(b"forged");
        let mut forged = client.take_out();
        *forged.last_mut().unwrap() ^= 1;
        wire.append(&mut forged);
        server.give(&wire);
        assert_eq!((&server.plain[..], server.failure()), (&b"good"[..], &TlsError::NotAuthentic));
        assert!(!server.out.is_empty(), "the peer is told");
        assert_eq!(server.session.send(&[b"more"], &mut server.out), Err(TlsError::NotAuthentic));
        let told = server.take_out();
        server.give(b"anything");
        assert_eq!(server.failure(), &TlsError::NotAuthentic);
        assert!(server.out.is_empty(), "and told once");
        client.give(&told);
        assert_eq!(client.error, Some(StableError::AlertReceived(AlertDescription::BadRecordMac)));
    }
}
