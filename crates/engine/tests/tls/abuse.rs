//! Peers that speak something else, or too much.

use rustls_stable::{
    ALL_VERSIONS,
    version::{TLS12, TLS13},
};
use wheelhouse::{
    Tls, TlsError,
    internals::{Phase, TlsSession},
};

use crate::{
    ends::{Ours, Theirs, client_config},
    pki::Authority,
    records::open,
};

fn server() -> (Authority, Ours) {
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(own.certificate, own.key).unwrap();
    (authority, Ours::server(&tls))
}

/// A fatal alert in the clear, whatever its reason.
fn is_fatal_alert(out: &[u8]) -> bool {
    matches!(out, [21, 3, _, 0, 2, 2, _])
}

#[test]
fn plain_http_is_called_by_its_name() {
    for step in [1, 3, 1_000] {
        let (_, mut server) = server();
        for piece in b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".chunks(step) {
            server.give(piece);
        }
        assert_eq!(server.failure(), &TlsError::PlainHttp);
        assert!(is_fatal_alert(&server.out), "{:?}", server.out);
        assert!(server.session.info().is_none());
    }
}

#[test]
fn garbage_instead_of_a_hello_is_refused_with_an_alert() {
    for garbage in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], &[0; 40], &[0x80, 0x2e, 1, 3, 1], &[23, 3, 3, 0, 1, 0]] {
        let (_, mut server) = server();
        server.give(garbage);
        assert_eq!(server.failure(), &TlsError::NotTls { first: garbage[0] });
        assert!(is_fatal_alert(&server.out), "{:?}", server.out);
    }
    let records: [&[u8]; 3] = [
        b"\x16\x03\x01\x00\x05hello",            // no message of that kind
        b"\x16\x03\x01\x00\x04\x0e\x00\x00\x00", // ServerHelloDone, from a client
        b"\x16\x09\x09\x00\x04\x01\x00\x00\x00", // no such version
    ];
    for record in records {
        let (_, mut server) = server();
        server.give(record);
        assert!(matches!(server.failure(), TlsError::Violation { .. }), "{:?}", server.phase);
        assert!(is_fatal_alert(&server.out), "{:?}", server.out);
    }
}

#[test]
fn a_client_with_nothing_in_common_is_told_so() {
    let (authority, mut server) = server();
    let mut client = Theirs::client(client_config(&authority, &[&TLS12], None, &[]), "localhost");
    let mut hello = client.take_out();
    // Its cipher suites, overwritten: record header 5, message header 4, version 2, random 32, session id.
    let at = 5 + 4 + 2 + 32 + 1 + usize::from(hello[43]);
    let suites = usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    hello[at + 2..at + 2 + suites].fill(0x0a);
    server.give(&hello);
    assert!(matches!(server.failure(), TlsError::Incompatible { .. }), "{:?}", server.phase);
    assert!(is_fatal_alert(&server.out));
}

#[test]
fn a_record_beyond_the_maximum_is_refused_by_its_header() {
    for version in [&TLS12, &TLS13] {
        let (mut server, _) = open(version);
        server.give(&[23, 3, 3, 0xff, 0xff]);
        assert!(
            matches!(server.failure(), TlsError::TooLarge { what: "a record", .. }),
            "{:?}",
            server.phase
        );
        assert!(!server.out.is_empty());
    }
    let (_, mut server) = server();
    server.give(&[22, 3, 1, 0xff, 0xff]);
    assert!(matches!(server.failure(), TlsError::TooLarge { .. }), "{:?}", server.phase);
}

/// A ClientHello of `len` bytes in records of `piece` bytes, each of them well-formed.
fn long_hello(len: usize, piece: usize) -> Vec<u8> {
    let mut message = vec![1];
    message.extend_from_slice(&(len as u32).to_be_bytes()[1..]);
    message.resize(4 + len, 0);
    message
        .chunks(piece)
        .flat_map(|piece| [&[22, 3, 1][..], &(piece.len() as u16).to_be_bytes(), piece].concat())
        .collect()
}

#[test]
fn a_hello_beyond_the_bound_is_refused_however_it_is_cut() {
    for piece in [100, 16_384] {
        let hello = long_hello(60_000, piece);
        for step in [500, 10_000, hello.len()] {
            let (_, mut server) = server();
            let mut given = 0;
            for bytes in hello.chunks(step) {
                server.give(bytes);
                given += bytes.len();
                if server.phase != Phase::Handshaking {
                    break;
                }
                assert!(server.left.len() <= TlsSession::MAX_HANDSHAKE);
            }
            let limit = TlsSession::MAX_HANDSHAKE;
            assert_eq!(
                server.failure(),
                &TlsError::TooLarge { what: "a handshake", limit },
                "{piece} {step}"
            );
            assert!(given <= limit + step);
            assert!(!server.out.is_empty());
        }
    }
}

#[test]
fn what_is_kept_of_a_record_is_bounded_by_the_largest_there_can_be() {
    let (mut server, _) = open(&TLS12);
    let mut record = vec![23, 3, 3, 0x47, 0xff];
    record.resize(5 + 0x47ff - 1, 0);
    server.give(&record);
    assert_eq!((&server.phase, server.left.len()), (&Phase::Open, record.len()));
    assert!(record.len() < TlsSession::MAX_LEFT);
    server.give(&[0]);
    assert_eq!((server.failure(), server.left.len()), (&TlsError::NotAuthentic, 0));
}

#[test]
fn a_probe_that_only_connects_leaves_nothing_behind() {
    let (_, mut server) = server();
    server.give(&[]);
    assert_eq!((&server.phase, server.out.len()), (&Phase::Handshaking, 0));
    server.session.close_notify(&mut server.out);
    assert_eq!(server.out, [21, 3, 3, 0, 2, 1, 0]);
}

#[test]
fn an_alert_instead_of_an_answer_is_reported() {
    let (authority, mut server) = server();
    let mut client = Theirs::client(client_config(&authority, ALL_VERSIONS, None, &[]), "localhost");
    server.give(&client.take_out());
    server.give(&[21, 3, 3, 0, 2, 2, 48]);
    assert!(matches!(server.failure(), TlsError::Alert { code: 48, .. }), "{:?}", server.phase);
    assert!(server.failure().to_string().contains("alert 48"));
}

#[test]
fn a_bit_flipped_anywhere_in_a_handshake_ends_in_an_error_and_never_in_plaintext() {
    // A fixed seed: the same faults each time.
    let mut seed = 0x9e37_79b9_u32;
    let mut next = move |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let authority = Authority::new();
    let own = authority.signs(&["localhost"]);
    let tls = Tls::new(own.certificate, own.key).unwrap();
    for version in [&TLS12, &TLS13] {
        let config = client_config(&authority, &[version], None, &[]);
        for _ in 0..200 {
            let (mut server, mut client) = (Ours::server(&tls), Theirs::client(config.clone(), "localhost"));
            let broken = next(2);
            for flight in 0..4 {
                let mut wire = client.take_out();
                if flight == broken && !wire.is_empty() {
                    let at = next(wire.len());
                    wire[at] ^= 1 << next(8);
                }
                for piece in wire.chunks(1 + next(600)) {
                    server.give(piece);
                }
                client.give(&server.take_out());
            }
            assert!(server.plain.is_empty() && client.plain.is_empty());
            // Nothing covers the version in a record's header, and a longer record is waited for; all else is noticed.
            if let Phase::Failed(error) = &server.phase {
                assert!(!matches!(error, TlsError::Internal { .. }), "{error}");
            }
        }
    }
}
