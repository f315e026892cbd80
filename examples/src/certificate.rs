//! The certificate of a program that serves `tls://` or `wss://`.

use std::{fs, path::PathBuf};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use wheelhouse::{Listener, Tls};

use crate::{AnyError, BadUsage, is_tls, say};

/// Whom a self-signed certificate is for: everybody who reaches this machine from itself.
const OURSELVES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where it comes from; for a program's options, with `#[command(flatten)]`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Certificate {
    /// Certificate for tls:// and wss://, and those between it and its root; without it one is made at the start
    #[arg(long, value_name = "PEM", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of --cert
    #[arg(long, value_name = "PEM", requires = "cert")]
    key: Option<PathBuf>,
    /// Write the certificate that is made at the start, for clients to trust
    #[arg(long, value_name = "FILE", conflicts_with = "cert")]
    write_cert: Option<PathBuf>,
}

impl Certificate {
    /// What the listeners on these URLs need to speak TLS; nothing where none of them does.
    ///
    /// Without files a self-signed certificate for this machine is made, with a key that is never written anywhere, and
    /// standard output says so in a line.
    ///
    /// # Errors
    /// [`BadUsage`] when a certificate was asked for that nobody would see, what [`TlsBuilder::build`] refuses of the files,
    /// and what the system says when one cannot be written.
    ///
    /// [`TlsBuilder::build`]: wheelhouse::TlsBuilder::build
    pub fn tls(&self, urls: &[impl AsRef<str>]) -> Result<Option<Tls>, AnyError> {
        if !urls.iter().any(|url| is_tls(url.as_ref())) {
            return match self.is_asked_for() {
                true => {
                    Err(BadUsage("--cert, --key and --write-cert: only with tls:// or wss://".to_owned())
                        .into())
                }
                false => Ok(None),
            };
        }
        match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(Tls::builder().certificate_files(certificate, key).build()?))
            }
            _ => self.made_now().map(Some),
        }
    }

    fn is_asked_for(&self) -> bool {
        self.cert.is_some() || self.key.is_some() || self.write_cert.is_some()
    }

    fn made_now(&self) -> Result<Tls, AnyError> {
        let (certificate, key) = self_signed()?;
        let hint = match &self.write_cert {
            Some(path) => {
                fs::write(path, &certificate).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
                format!("written to {}", path.display())
            }
            None => "--write-cert FILE writes it, for clients to trust".to_owned(),
        };
        let [first, rest @ ..] = OURSELVES;
        say(format_args!("certificate: self-signed, for {first}, {}; {hint}", rest.join(" and ")));
        Ok(Tls::new(certificate, key)?)
    }
}

/// A listener on a URL, with TLS where the URL asks for it.
pub fn listener(url: &str, tls: Option<&Tls>) -> Listener {
    match tls {
        Some(tls) if is_tls(url) => Listener::new(url).tls(tls.clone()),
        _ => Listener::new(url),
    }
}

/// A certificate and its key, both PEM.
fn self_signed() -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(OURSELVES.map(String::from))?;
    params.distinguished_name.push(DnType::CommonName, "Wheelhouse example");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}
