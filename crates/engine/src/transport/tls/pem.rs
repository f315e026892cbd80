use std::{fmt, fs, path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::{Credentials, Identity, InconsistentKeys},
    error::Error as RustlsError,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::provider;
use crate::{Error, Result};

/// PEM text, or the file it is read from when it is needed.
#[derive(Clone)]
pub(super) enum Pem {
    Text(Vec<u8>),
    File(PathBuf),
}

/// A chain and its key, as given.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: Pem,
    pub(super) key: Pem,
}

impl Pair {
    /// Reads both; `part` names the pair in errors.
    pub(super) fn load(&self, part: &str) -> Result<Credentials> {
        let chain = self.certificate.certificates(part)?;
        let key_part = self.key.named(&format!("key of {part}"));
        let bad_key = |why: String| Error::BadTls { part: key_part.clone(), why };
        let key =
            PrivateKeyDer::from_pem_slice(&self.key.read(&format!("key of {part}"))?).map_err(|error| {
                bad_key(match error {
                    pem::Error::NoItemsFound => {
                        "no private key in it; expected PEM: PKCS#8, PKCS#1 or SEC1, not encrypted".into()
                    }
                    other => format!("not PEM: {other}"),
                })
            })?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| bad_key(format!("not a key of RSA, ECDSA or Ed25519: {error}")))?;
        let bad = |why: String| Error::BadTls { part: self.certificate.named(part), why };
        let identity = Identity::from_cert_chain(chain).map_err(|_| bad("no certificate in it".into()))?;
        Credentials::new(Arc::new(identity), key).map_err(|error| match error {
            RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                bad("the key is not this certificate's; the first certificate must be the server's own"
                    .into())
            }
            other => bad(other.to_string()),
        })
    }
}

impl Pem {
    /// All certificates in it; at least one.
    pub(super) fn certificates(&self, part: &str) -> Result<Vec<CertificateDer<'static>>> {
        let bad = |why: String| Error::BadTls { part: self.named(part), why };
        let text = self.read(part)?;
        let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| bad(format!("not PEM: {error}")))?;
        if found.is_empty() {
            return Err(bad("no certificate in it; expected PEM, `-----BEGIN CERTIFICATE-----`".into()));
        }
        Ok(found)
    }

    /// The certificates as those that others are checked against.
    pub(super) fn roots(&self, part: &str) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates(part)?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| Error::BadTls {
                part: self.named(part),
                why: format!("certificate {} of it: {error}", index + 1),
            })?;
        }
        Ok(roots)
    }

    fn read(&self, part: &str) -> Result<Vec<u8>> {
        match self {
            Pem::Text(text) => Ok(text.clone()),
            Pem::File(path) => fs::read(path).map_err(|error| Error::BadTls {
                part: self.named(part),
                why: format!("cannot be read: {error}"),
            }),
        }
    }

    fn named(&self, part: &str) -> String {
        match self {
            Pem::Text(_) => part.to_owned(),
            Pem::File(path) => format!("{part} ({})", path.display()),
        }
    }
}

/// Says where it is, not what it is: keys stay out of logs.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::Text(text) => write!(f, "{} bytes of PEM", text.len()),
            Pem::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.certificate)
    }
}
