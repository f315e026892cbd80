//! Certificates, made once for all tests.

use std::sync::{LazyLock, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256};
use wheelhouse::{Tls, TlsClient};

/// A certificate and its key, both PEM.
pub(crate) struct Pem {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// One that signs others.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Signed for a key on P-256.
    pub(crate) fn signs(&self, name: &str) -> Pem {
        self.signs_key(name, KeyPair::generate().unwrap())
    }

    fn signs_key(&self, name: &str, key: KeyPair) -> Pem {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pem { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// The authority that all trust.
pub(crate) fn authority() -> &'static Authority {
    static ONE: LazyLock<Authority> = LazyLock::new(Authority::new);
    &ONE
}

/// Its certificate for `localhost`.
pub(crate) fn localhost() -> &'static Pem {
    static ONE: LazyLock<Pem> = LazyLock::new(|| authority().signs("localhost"));
    &ONE
}

/// The same for a key of RSA, 2,048 bits: a signature with it takes most of a millisecond.
pub(crate) fn localhost_rsa() -> &'static Pem {
    static ONE: OnceLock<Pem> = OnceLock::new();
    ONE.get_or_init(|| authority().signs_key("localhost", KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()))
}

/// The engine's end, as the listeners of these tests have it.
pub(crate) fn tls() -> Tls {
    tls_of(localhost())
}

pub(crate) fn tls_of(own: &Pem) -> Tls {
    Tls::builder().certificate(&*own.certificate, &*own.key).alpn(["http/1.1"]).build().unwrap()
}

/// The engine's end where it dials.
pub(crate) fn tls_client() -> TlsClient {
    TlsClient::builder("localhost").roots(authority().certificate()).build().unwrap()
}
