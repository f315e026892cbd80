//! Certificates made for a test.

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256};

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
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each has a name of its own: issuers are looked up by it.
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Signed with ECDSA P-256.
    pub(crate) fn signs(&self, names: &[&str]) -> Pem {
        self.signs_key(names, KeyPair::generate().unwrap())
    }

    fn signs_key(&self, names: &[&str], key: KeyPair) -> Pem {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        Pem { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The same with RSA, 2,048 bits.
    pub(crate) fn signs_rsa(&self, names: &[&str]) -> Pem {
        self.signs_key(names, KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap())
    }
}
