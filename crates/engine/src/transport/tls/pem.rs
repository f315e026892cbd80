use std::{fmt, fs, ops::RangeInclusive, path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::{Credentials, Identity, InconsistentKeys},
    error::Error as RustlsError,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::{der, provider};
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
        let text = self.key.read(&format!("key of {part}"))?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            bad_key(match error {
                _ if is_encrypted(&text) => "the key is encrypted; expected it in plain PEM".into(),
                pem::Error::NoItemsFound => {
                    "no private key in it; expected PEM: PKCS#8, PKCS#1 or SEC1, not encrypted".into()
                }
                other => not_pem(&other),
            })
        })?;
        let bits = der::rsa_bits(&key);
        let key = provider().key_provider.load_private_key(key).map_err(|_| {
            bad_key(match bits {
                Some(bits) if !RSA_BITS.contains(&bits) => {
                    let (least, most) = RSA_BITS.into_inner();
                    format!("a key of RSA with {bits} bits; expected {least} to {most}")
                }
                Some(_) => "a key of RSA that is broken".into(),
                None => "not a key of RSA, ECDSA or Ed25519, or a broken one".into(),
            })
        })?;
        let bad = |why: String| Error::BadTls { part: self.certificate.named(part), why };
        let identity = Identity::from_cert_chain(chain).map_err(|_| bad("no certificate in it".into()))?;
        Credentials::new(Arc::new(identity), key).map_err(|error| match error {
            RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                bad("the key is not this certificate's; the first certificate must be the server's own"
                    .into())
            }
            RustlsError::InvalidCertificate(why) => bad(unreadable(1, why)),
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
            .map_err(|error| bad(not_pem(&error)))?;
        if found.is_empty() {
            return Err(bad("no certificate in it; expected PEM, `-----BEGIN CERTIFICATE-----`".into()));
        }
        match found.iter().position(|certificate| !der::is_sequence(certificate)) {
            Some(index) => Err(bad(unreadable(index + 1, "something else stands between its PEM lines"))),
            None => Ok(found),
        }
    }

    /// The certificates as those that others are checked against.
    pub(super) fn roots(&self, part: &str) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates(part)?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| Error::BadTls {
                part: self.named(part),
                why: match error {
                    RustlsError::InvalidCertificate(why) => unreadable(index + 1, why),
                    other => format!("certificate {} in it: {other}", index + 1),
                },
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

/// What is wrong with the PEM around a key or a certificate; nothing of what is in it.
fn not_pem(error: &pem::Error) -> String {
    match error {
        pem::Error::Base64Decode(_) => "not PEM: what stands between its lines is not base64".into(),
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("not PEM: no line `-----END {}-----` ends it", String::from_utf8_lossy(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("not PEM: `{}` begins nothing", String::from_utf8_lossy(line).trim_end())
        }
        other => format!("not PEM: {other}"),
    }
}

/// The certificate of that number in a file, counted from 1, is none.
fn unreadable(number: usize, why: impl fmt::Display) -> String {
    format!("certificate {number} in it is none that can be read: {why}")
}

/// By PKCS#8, or as OpenSSL did it before (RFC 1421, 4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    let holds = |what: &[u8]| text.windows(what.len()).any(|part| part == what);
    holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED")
}

/// Sizes of keys of RSA that the provider takes.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

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
