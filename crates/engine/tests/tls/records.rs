//! Records: several in one piece, in pieces, large, empty, renewed keys.

use rustls_stable::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use wheelhouse::{
    Tls, TlsError,
    internals::{Phase, TlsSession},
};

use crate::{
    ends::{Ours, Theirs, carry, client_config},
    pki::Authority,
};

pub(crate) fn open(version: &'static SupportedProtocolVersion) -> (Ours, Theirs) {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(own.certificate, own.key).unwrap();
    let config = client_config(&authority, &[version], None, &[]);
    let (mut server, mut client) = (Ours::server(&tls), Theirs::client(config, "localhost"));
    carry(&mut server, &mut client);
    assert_eq!(server.phase, Phase::Open);
    (server, client)
}

fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

#[test]
fn the_plaintext_of_many_records_comes_as_one_slice() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        let body = numbered(200_000);
        let mut sent = 0;
        for len in [1, 2, 16_384, 0, 3, 100_000, 64, 40_000] {
            client.send(&body[sent..sent + len]);
            sent += len;
        }
        let mut wire = client.take_out();
        let whole = wire.len();
        wire.extend_from_slice(&[23, 3, 3, 0x40, 0, 1, 2]);
        let received = server.session.receive(&mut wire, &mut server.out);
        assert!(wire[received.plain] == body[..sent]);
        assert_eq!((received.left, received.missing), (whole..whole + 7, 0x4000 - 2));
        assert_eq!((received.phase, server.out.len()), (Phase::Open, 0));
    }
}

#[test]
fn records_cut_anywhere_give_the_same_plaintext() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        let body = numbered(50_000);
        for step in [1, 7, 1_000, 16_000, 17_000, 40_000] {
            let sent = if step < 7 { &body[..2_000] } else { &body[..] };
            for piece in sent.chunks(10_000) {
                client.send(piece);
                for cut in client.take_out().chunks(step) {
                    server.give(cut);
                    assert!(server.left.len() < TlsSession::MAX_LEFT);
                }
            }
            assert!(std::mem::take(&mut server.plain) == sent, "steps of {step}");
            assert_eq!(server.phase, Phase::Open);
        }
    }
}

#[test]
fn what_is_missing_of_a_record_is_told_exactly() {
    let (mut server, mut client) = open(&TLS13);
    client.send(&numbered(1_000));
    let wire = client.take_out();
    for len in 0..wire.len() {
        let received = server.session.receive(&mut wire[..len].to_vec(), &mut server.out);
        let expected = match len {
            0 => 0,
            1..5 => 5 - len,
            _ => wire.len() - len,
        };
        assert_eq!((received.missing, received.left), (expected, 0..len));
    }
    server.give(&wire);
    assert_eq!(server.plain.len(), 1_000);
}

#[test]
fn pieces_of_any_size_are_sealed_as_one_message() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        let body = numbered(100_000);
        let pieces = [&body[..2], &[], &body[2..14], &body[14..70_000], &body[70_000..]];
        server.session.send(&pieces, &mut server.out).unwrap();
        carry(&mut server, &mut client);
        assert!(client.plain == body);

        server.session.send(&[], &mut server.out).unwrap();
        server.session.send(&[&[], &[]], &mut server.out).unwrap();
        assert!(server.out.is_empty(), "nothing makes no record");
    }
}

#[test]
fn keys_renewed_by_the_peer_are_followed_and_answered() {
    let (mut server, mut client) = open(&TLS13);
    for round in 0..10_u8 {
        client.conn.refresh_traffic_keys().unwrap();
        client.send(&[round]);
        carry(&mut server, &mut client);
        server.send(&[round]);
        carry(&mut server, &mut client);
        assert_eq!(std::mem::take(&mut client.plain), [round]);
    }
    assert_eq!(server.plain, (0..10).collect::<Vec<_>>());
}

#[test]
fn nothing_is_sent_before_the_handshake_is_done() {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(own.certificate, own.key).unwrap();
    let mut server = Ours::server(&tls);
    assert_eq!(server.session.send(&[b"early"], &mut server.out), Err(TlsError::NotReady));
    assert!(server.out.is_empty());
}
