//! What cannot be used is refused when it is given, and named.

use std::fs;

use wheelhouse::{Error, Tls, TlsClient};

use crate::pki::Authority;

fn said(result: Result<impl Sized, Error>) -> String {
    match result.err().expect("it was taken") {
        error @ Error::BadTls { .. } => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_part_that_cannot_be_used_is_named_with_the_reason() {
    let authority = Authority::new();
    let (own, other) = (authority.signs(&["localhost"]), authority.signs(&["localhost"]));
    let (certificate, key) = (own.certificate.as_str(), own.key.as_str());
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cases = [
        (said(Tls::builder().build()), "TLS: certificate: none was given"),
        (said(Tls::new("", key)), "TLS: certificate 1: no certificate in it"),
        (said(Tls::new(key, key)), "TLS: certificate 1: no certificate in it"),
        (said(Tls::new(certificate, "")), "TLS: key of certificate 1: no private key in it"),
        (said(Tls::new(certificate, certificate)), "TLS: key of certificate 1: no private key in it"),
        (said(Tls::new(certificate, &*other.key)), "TLS: certificate 1: the key is not this certificate's"),
        (said(Tls::new(garbage, key)), "TLS: certificate 1: certificate 1 in it is none that can be read"),
        (said(Tls::new("-----BEGIN CERTIFICATE-----\nAAAA\n", key)), "TLS: certificate 1: not PEM"),
        (
            said(Tls::builder().certificate(certificate, key).certificate(certificate, &*other.key).build()),
            "TLS: certificate 2: the key is not",
        ),
        (
            said(Tls::builder().certificate(certificate, key).client_certificates("", true).build()),
            "TLS: client certificates: no certificate in it",
        ),
        (
            said(Tls::builder().certificate(certificate, key).client_certificates(garbage, true).build()),
            "TLS: client certificates: certificate 1 in it",
        ),
        (
            said(Tls::builder().certificate(certificate, key).alpn([""]).build()),
            "TLS: ALPN: a name of 0 bytes; expected 1 to 255",
        ),
        (said(TlsClient::builder("localhost").build()), "TLS: roots: none were given"),
        (said(TlsClient::builder("localhost").roots("").build()), "TLS: roots: no certificate in it"),
        (said(TlsClient::builder("not a name").roots(certificate).build()), "TLS: server name: `not a name`"),
        (
            said(TlsClient::builder("x").roots(certificate).certificate(certificate, &*other.key).build()),
            "TLS: client certificate: the key is not",
        ),
    ];
    for (said, expected) in cases {
        assert!(said.starts_with(expected), "{said}, not {expected}");
    }
}

#[test]
fn files_are_read_when_built_and_named_when_they_cannot_be() {
    let own = Authority::new().signs(&["localhost"]);
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("site.pem"), dir.path().join("site.key"));
    let builder = Tls::builder().certificate_files(&certificate, &key);
    let error = said(builder.clone().build());
    assert!(
        error.starts_with(&format!("TLS: certificate 1 ({}): cannot be read", certificate.display())),
        "{error}"
    );

    fs::write(&certificate, &own.certificate).unwrap();
    let error = said(builder.clone().build());
    assert!(
        error.starts_with(&format!("TLS: key of certificate 1 ({}): cannot be read", key.display())),
        "{error}"
    );

    fs::write(&key, &own.key).unwrap();
    builder.build().unwrap();
}

#[test]
fn no_key_is_shown_by_debug() {
    let own = Authority::new().signs(&["localhost"]);
    let builder = Tls::builder().certificate(own.certificate, &*own.key).alpn(["http/1.1"]);
    let body = own.key.lines().nth(1).unwrap();
    let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    assert!(shown.contains("bytes of PEM") && !shown.contains(body) && !shown.contains("PRIVATE"), "{shown}");
}
