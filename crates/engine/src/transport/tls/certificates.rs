use std::collections::HashMap;

use rustls::{
    crypto::{Credentials, Identity, SelectedCredential},
    error::{Error as RustlsError, PeerIncompatible},
    server::{ClientHello, ServerCredentialResolver},
};

/// A server's certificates, found by the name a client asks for.
///
/// The names are the certificates' own (their DNS names, wildcards too); several may have the same, one with an RSA key and
/// one with an ECDSA key, say. A client that asks for none, or for one that nobody has, gets the first certificate.
#[derive(Debug)]
pub(super) struct Certificates {
    all: Vec<Credentials>,
    by_name: HashMap<Box<str>, Vec<usize>>,
    /// `*.example.org` under `example.org`.
    by_parent: HashMap<Box<str>, Vec<usize>>,
}

impl Certificates {
    pub(super) fn new(all: Vec<Credentials>) -> Self {
        let (mut by_name, mut by_parent) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (index, credentials) in all.iter().enumerate() {
            for name in names_of(&credentials.identity) {
                match name.strip_prefix("*.") {
                    Some(parent) => by_parent.entry(parent.into()).or_default().push(index),
                    None => by_name.entry(name.into()).or_default().push(index),
                }
            }
        }
        Certificates { all, by_name, by_parent }
    }

    /// Those that bear the name, the most exact first.
    fn named(&self, name: &str) -> impl Iterator<Item = usize> {
        let exact = self.by_name.get(name);
        let wild = name.split_once('.').and_then(|(_, parent)| self.by_parent.get(parent));
        exact.into_iter().chain(wild).flatten().copied()
    }
}

impl ServerCredentialResolver for Certificates {
    fn resolve(&self, hello: &ClientHello<'_>) -> Result<SelectedCredential, RustlsError> {
        let name = hello.server_name().map(|name| name.as_ref());
        name.into_iter()
            .flat_map(|name| self.named(name))
            .chain(0..self.all.len())
            .find_map(|index| self.all[index].signer(hello.signature_schemes()))
            .ok_or(PeerIncompatible::NoSignatureSchemesInCommon.into())
    }
}

/// The DNS names of a certificate, in lower case; of one that cannot be read, none.
fn names_of(identity: &Identity<'_>) -> Vec<String> {
    let Identity::X509(chain) = identity else { return Vec::new() };
    match webpki::EndEntityCert::try_from(&chain.end_entity) {
        Ok(certificate) => certificate.valid_dns_names().map(str::to_ascii_lowercase).collect(),
        Err(_) => Vec::new(),
    }
}
