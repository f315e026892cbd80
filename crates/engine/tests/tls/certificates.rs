//! Which certificate a client sees, which of its own it must show, and reloading.

use rustls_stable::{
    ALL_VERSIONS, AlertDescription, CertificateError, ClientConfig, Error as StableError,
    version::{TLS12, TLS13},
};
use std::sync::Arc;
use wheelhouse::{Tls, TlsClient, TlsError, internals::Phase};

use crate::{
    ends::{Ours, Theirs, carry, client_config, der, server_config},
    pki::{Authority, Pem},
};

/// The certificate that a client sees who asks for `name`.
fn seen(tls: &Tls, config: &Arc<ClientConfig>, name: &'static str) -> Vec<u8> {
    let (mut server, mut client) = (Ours::server(tls), Theirs::client(config.clone(), name));
    carry(&mut server, &mut client);
    // Whether or not the client likes what it saw.
    client.conn.peer_certificates().map_or_else(Vec::new, |chain| chain[0].to_vec())
}

#[test]
fn each_client_gets_the_certificate_with_the_name_it_asks_for() {
    let authority = Authority::new();
    let site = authority.signs(&["example.org", "www.example.org"]);
    let shops = authority.signs(&["*.shop.example.org"]);
    let one_shop = authority.signs(&["Special.Shop.example.org"]);
    let tls = Tls::builder()
        .certificate(&*site.certificate, site.key)
        .certificate(&*shops.certificate, shops.key)
        .certificate(&*one_shop.certificate, one_shop.key)
        .build()
        .unwrap();
    let config = client_config(&authority, ALL_VERSIONS, None, &[]);
    for (name, expected) in [
        ("example.org", &site.certificate),
        ("www.example.org", &site.certificate),
        ("a.shop.example.org", &shops.certificate),
        ("special.shop.example.org", &one_shop.certificate),
    ] {
        assert_eq!(seen(&tls, &config, name), der(expected).as_ref(), "{name}");
    }
}

#[test]
fn a_name_that_nobody_bears_gets_the_first_certificate() {
    let authority = Authority::new();
    let (first, second) =
        (authority.signs(&["example.org", "127.0.0.1"]), authority.signs(&["*.example.net"]));
    let tls = Tls::builder()
        .certificate(&*first.certificate, first.key)
        .certificate(second.certificate, second.key)
        .build()
        .unwrap();
    let config = client_config(&authority, ALL_VERSIONS, None, &[]);
    // An address is not sent as a name at all.
    assert_eq!(seen(&tls, &config, "127.0.0.1"), der(&first.certificate).as_ref());
    // A wildcard stands for one label; the client refuses what it gets, and we hear why.
    for name in ["unknown.example", "two.labels.example.net"] {
        let (mut server, mut client) = (Ours::server(&tls), Theirs::client(config.clone(), name));
        carry(&mut server, &mut client);
        let refused = matches!(
            client.error,
            Some(StableError::InvalidCertificate(CertificateError::NotValidForNameContext { .. }))
        );
        assert!(refused, "{:?}", client.error);
        assert!(matches!(server.failure(), TlsError::Alert { code: 42, .. }), "{:?}", server.phase);
    }
}

#[test]
fn of_two_certificates_for_a_name_a_client_gets_the_one_whose_key_it_knows() {
    let authority = Authority::new();
    let (modern, old) = (authority.signs(&["localhost"]), authority.signs_rsa(&["localhost"]));
    let tls = Tls::builder()
        .certificate(&*modern.certificate, modern.key)
        .certificate(&*old.certificate, old.key)
        .build()
        .unwrap();
    let config = client_config(&authority, &[&TLS12], None, &[]);
    assert_eq!(seen(&tls, &config, "localhost"), der(&modern.certificate).as_ref());

    let mut only_rsa = (**config.crypto_provider()).clone();
    only_rsa.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains("ECDHE_RSA"));
    let mut roots = rustls_stable::RootCertStore::empty();
    roots.add(der(&authority.certificate())).unwrap();
    let config = ClientConfig::builder_with_provider(only_rsa.into())
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert_eq!(seen(&tls, &Arc::new(config), "localhost"), der(&old.certificate).as_ref());
}

fn asking(own: &Pem, clients: &Authority, required: bool) -> Tls {
    Tls::builder()
        .certificate(&*own.certificate, &*own.key)
        .client_certificates(clients.certificate(), required)
        .build()
        .unwrap()
}

#[test]
fn a_client_shows_its_certificate_and_keeps_it_when_it_comes_back() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (own, card) = (authority.signs(&["localhost"]), clients.signs(&["alice"]));
    for version in [&TLS12, &TLS13] {
        for required in [false, true] {
            let tls = asking(&own, &clients, required);
            let config = client_config(&authority, &[version], Some(&card), &[]);
            for is_again in [false, true] {
                let (mut server, mut client) =
                    (Ours::server(&tls), Theirs::client(config.clone(), "localhost"));
                carry(&mut server, &mut client);
                let info = server.session.info().unwrap();
                assert_eq!(info.is_resumed(), is_again);
                assert_eq!(info.peer_certificates().collect::<Vec<_>>(), [der(&card.certificate).as_ref()]);
            }
        }
    }
}

#[test]
fn a_client_without_a_certificate_passes_only_where_none_is_required() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let own = authority.signs(&["localhost"]);
    for version in [&TLS12, &TLS13] {
        let config = client_config(&authority, &[version], None, &[]);
        let (mut server, mut client) =
            (Ours::server(&asking(&own, &clients, false)), Theirs::client(config.clone(), "localhost"));
        carry(&mut server, &mut client);
        assert_eq!(server.phase, Phase::Open);
        assert_eq!(server.session.info().unwrap().peer_certificates().count(), 0);

        let (mut server, mut client) =
            (Ours::server(&asking(&own, &clients, true)), Theirs::client(config, "localhost"));
        carry(&mut server, &mut client);
        assert!(matches!(server.failure(), TlsError::PeerCertificate { why } if why.contains("required")));
        assert!(matches!(client.error, Some(StableError::AlertReceived(_))), "{:?}", client.error);
    }
}

#[test]
fn a_clients_certificate_of_an_unknown_issuer_is_refused_even_where_none_is_required() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let (own, card) = (authority.signs(&["localhost"]), strangers.signs(&["mallory"]));
    let config = client_config(&authority, ALL_VERSIONS, Some(&card), &[]);
    for required in [false, true] {
        let (mut server, mut client) =
            (Ours::server(&asking(&own, &clients, required)), Theirs::client(config.clone(), "localhost"));
        carry(&mut server, &mut client);
        assert!(matches!(server.failure(), TlsError::PeerCertificate { .. }), "{:?}", server.phase);
        assert_eq!(client.error, Some(StableError::AlertReceived(AlertDescription::UnknownCA)));
    }
}

#[test]
fn our_client_shows_its_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (own, card) = (authority.signs(&["localhost"]), clients.signs(&["alice"]));
    let client = TlsClient::builder("localhost")
        .roots(authority.certificate())
        .certificate(&*card.certificate, card.key)
        .build()
        .unwrap();
    let (mut client, mut server) =
        (Ours::client(&client), Theirs::server(server_config(&own, &[&TLS13], Some(&clients))));
    carry(&mut client, &mut server);
    assert_eq!(server.certificate(), der(&card.certificate).as_ref());
}

#[test]
fn our_client_trusts_neither_strangers_nor_other_names() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    for (issuer, name) in [(&strangers, "localhost"), (&authority, "elsewhere.example")] {
        let own = issuer.signs(&[name]);
        let client = TlsClient::builder("localhost").roots(authority.certificate()).build().unwrap();
        let (mut client, mut server) =
            (Ours::client(&client), Theirs::server(server_config(&own, ALL_VERSIONS, None)));
        carry(&mut client, &mut server);
        assert!(matches!(client.failure(), TlsError::PeerCertificate { .. }), "{:?}", client.phase);
        assert!(
            matches!(server.error, Some(StableError::AlertReceived(_))),
            "the alert comes: {:?}",
            server.error
        );
    }
}

#[test]
fn a_reload_changes_what_later_clients_see_and_disturbs_no_connection() {
    let authority = Authority::new();
    let (old, new) = (authority.signs(&["localhost"]), authority.signs(&["localhost"]));
    let tls = Tls::new(&*old.certificate, old.key).unwrap();
    let of_a_listener = tls.clone();
    let config = client_config(&authority, ALL_VERSIONS, None, &[]);
    let (mut before, mut client) =
        (Ours::server(&of_a_listener), Theirs::client(config.clone(), "localhost"));
    let (mut half_way, mut late) =
        (Ours::server(&of_a_listener), Theirs::client(config.clone(), "localhost"));
    carry(&mut before, &mut client);
    half_way.give(&late.take_out()[..40]);

    tls.reload(&Tls::new(&*new.certificate, new.key).unwrap());
    client.send(b"still here");
    carry(&mut before, &mut client);
    assert_eq!(before.plain, b"still here");
    assert_eq!(client.certificate(), der(&old.certificate).as_ref());

    let (mut after, mut again) = (Ours::server(&of_a_listener), Theirs::client(config, "localhost"));
    carry(&mut after, &mut again);
    assert_eq!(again.certificate(), der(&new.certificate).as_ref());
    assert!(!again.was_resumed(), "tickets of before are not opened");
}
