use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    enums::ApplicationProtocol,
    server::{NoServerSessionStorage, Tls13Tickets, WebPkiClientVerifier},
};

use super::{
    certificates::Certificates,
    pem::{Pair, Pem},
    provider,
};
use crate::{Error, Result};

/// What a listener needs to speak TLS 1.2 and 1.3: certificates with their keys, and what else is asked of clients.
///
/// A clone is the same one: [`reload`](Tls::reload) on any of them changes what all of them do. It costs no lock but for one
/// read at the start of each handshake.
///
/// Sessions are resumed by tickets that only this value can open, for 6 to 12 hours; nothing is kept for them. Data before
/// the handshake's end (0-RTT) is not taken, and renegotiation is refused.
///
/// ```
/// use wheelhouse::Tls;
///
/// # let (site, site_key) = certificate("example.org");
/// # let (shop, shop_key) = certificate("*.shop.example.org");
/// let tls = Tls::builder()
///     .certificate(site, site_key)
///     .certificate(shop, shop_key)
///     .alpn(["http/1.1"])
///     .build()?;
///
/// // Later, in any thread: handshakes from now on use the new one.
/// # let (renewed, renewed_key) = certificate("example.org");
/// tls.reload(&Tls::new(renewed, renewed_key)?);
/// # fn certificate(name: &str) -> (String, String) {
/// #     let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
/// #     (made.cert.pem(), made.signing_key.serialize_pem())
/// # }
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    current: Arc<RwLock<Identity>>,
}

/// What a handshake begins with.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) config: Arc<ServerConfig>,
    /// The same for a listener of WebSockets, where no application protocols were named.
    pub(super) web: Arc<ServerConfig>,
    /// Client certificates make a handshake long, and one step more of it expensive.
    pub(super) asks_for_certificates: bool,
}

impl Tls {
    /// One certificate for every name, and nothing asked of clients.
    ///
    /// ```
    /// use wheelhouse::Tls;
    ///
    /// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate");
    /// # let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    /// # let other = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate");
    /// # let key_of_another = other.signing_key.serialize_pem();
    /// assert!(Tls::new(&*certificate, key).is_ok());
    /// let error = Tls::new(certificate, key_of_another).unwrap_err().to_string();
    /// assert!(error.starts_with("TLS: certificate 1: "), "{error}");
    /// ```
    ///
    /// # Errors
    /// As [`TlsBuilder::build`].
    pub fn new(certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Result<Tls> {
        Tls::builder().certificate(certificate, key).build()
    }

    /// Everything that can be chosen.
    pub fn builder() -> TlsBuilder {
        TlsBuilder { pairs: Vec::new(), alpn: Vec::new(), clients: None }
    }

    /// Takes over everything `from` is now: handshakes that begin later use it, connections go on as they are.
    ///
    /// ```
    /// use wheelhouse::Tls;
    ///
    /// # fn certificate() -> (String, String) {
    /// #     let made = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate");
    /// #     (made.cert.pem(), made.signing_key.serialize_pem())
    /// # }
    /// # let ((site, key), (renewed, renewed_key)) = (certificate(), certificate());
    /// let tls = Tls::builder().certificate(site, key).alpn(["http/1.1"]).build()?;
    /// let (listener_has, before) = (tls.clone(), format!("{tls:?}"));
    /// tls.reload(&Tls::builder().certificate(renewed, renewed_key).alpn(["h2"]).build()?);
    /// assert_ne!(format!("{listener_has:?}"), before); // a clone is the same one
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// Tickets given out before are not opened any more, so that a client that would no longer be let in does not come back
    /// with one.
    pub fn reload(&self, from: &Tls) {
        let new = from.identity();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    pub(super) fn identity(&self) -> Identity {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Shows no key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.identity();
        f.debug_struct("Tls")
            .field("alpn", &identity.config.alpn_protocols)
            .field("asks_for_certificates", &identity.asks_for_certificates)
            .finish_non_exhaustive()
    }
}

/// What a [`Tls`] is made of. Nothing is read or checked before [`build`](TlsBuilder::build).
///
/// ```
/// use wheelhouse::Tls;
///
/// let error = Tls::builder().certificate("no PEM", "either").build().unwrap_err().to_string();
/// assert!(error.starts_with("TLS: certificate 1: "), "{error}");
/// assert_eq!(Tls::builder().build().unwrap_err().to_string(), "TLS: certificate: none was given");
/// ```
#[derive(Clone, Debug)]
pub struct TlsBuilder {
    pairs: Vec<Pair>,
    alpn: Vec<Vec<u8>>,
    clients: Option<Clients>,
}

#[derive(Clone, Debug)]
struct Clients {
    roots: Pem,
    are_required: bool,
}

impl TlsBuilder {
    /// Adds a certificate and its key, both PEM: the server's own certificate first, then those between it and the root.
    ///
    /// With several, a client gets the one that bears the name it asks for, or else the first.
    pub fn certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.pairs.push(Pair { certificate: Pem::Text(certificate.into()), key: Pem::Text(key.into()) });
        self
    }

    /// As [`certificate`](TlsBuilder::certificate), from files.
    ///
    /// ```
    /// use wheelhouse::Tls;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()])?;
    /// let (certificate, key) = (directory.path().join("site.pem"), directory.path().join("site.key"));
    /// # std::fs::write(&certificate, made.cert.pem())?;
    /// # std::fs::write(&key, made.signing_key.serialize_pem())?;
    /// let builder = Tls::builder().certificate_files(&certificate, &key);
    /// assert!(builder.clone().build().is_ok());
    /// std::fs::remove_file(&key)?;
    /// let error = builder.build().unwrap_err().to_string();
    /// assert!(error.contains("site.key"), "{error}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.pairs.push(Pair { certificate: Pem::File(certificate.into()), key: Pem::File(key.into()) });
        self
    }

    /// The application protocols served, the preferred one first. A client that names some, and none of these, is refused;
    /// one that names none is served. Where this is not called, a listener of WebSockets serves `http/1.1`, and others look at
    /// no client's names.
    ///
    /// ```
    /// use wheelhouse::Tls;
    ///
    /// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate");
    /// # let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    /// let builder = Tls::builder().certificate(certificate, key).alpn(["h2", "http/1.1"]);
    /// assert!(builder.clone().build().is_ok());
    /// let error = builder.alpn(["x".repeat(256)]).build().unwrap_err();
    /// assert_eq!(error.to_string(), "TLS: ALPN: a name of 256 bytes; expected 1 to 255");
    /// ```
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Asks clients for certificates, to be signed by one of these (PEM). One that does not hold is refused in any case; none
    /// at all is refused when they are `required`.
    ///
    /// ```
    /// use wheelhouse::Tls;
    ///
    /// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate");
    /// # let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    /// # let staff = rcgen::generate_simple_self_signed(["staff".to_owned()]).expect("a certificate").cert.pem();
    /// let site = Tls::builder().certificate(certificate, key);
    /// assert!(site.clone().client_certificates(staff, true).build().is_ok());
    /// let error = site.client_certificates("no PEM", true).build().unwrap_err().to_string();
    /// assert!(error.starts_with("TLS: client certificates"), "{error}");
    /// ```
    pub fn client_certificates(mut self, roots: impl Into<Vec<u8>>, required: bool) -> Self {
        self.clients = Some(Clients { roots: Pem::Text(roots.into()), are_required: required });
        self
    }

    /// As [`client_certificates`](TlsBuilder::client_certificates), from a file.
    pub fn client_certificates_file(mut self, roots: impl Into<PathBuf>, required: bool) -> Self {
        self.clients = Some(Clients { roots: Pem::File(roots.into()), are_required: required });
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`Error::BadTls`] says which part cannot be used and why: a file that cannot be read, no certificate or no key in it, a
    /// key that is not the certificate's, a protocol name that is empty or longer than 255 bytes.
    pub fn build(self) -> Result<Tls> {
        if self.pairs.is_empty() {
            return Err(bad("certificate", "none was given"));
        }
        let load = |(index, pair): (usize, &Pair)| pair.load(&format!("certificate {}", index + 1));
        let all = self.pairs.iter().enumerate().map(load).collect::<Result<Vec<_>>>()?;
        let builder = ServerConfig::builder(provider().clone());
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let roots = clients.roots.roots("client certificates")?;
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots), provider());
                let verifier =
                    if clients.are_required { verifier } else { verifier.allow_unauthenticated() }.build();
                builder
                    .with_client_cert_verifier(Arc::new(verifier.map_err(|e| bad("client certificates", e))?))
            }
        };
        let mut config = builder
            .with_server_credential_resolver(Arc::new(Certificates::new(all)))
            .map_err(|error| bad("certificate", error))?;
        config.alpn_protocols = protocols(&self.alpn)?;
        // A ticket holds the session, so that we need not. One is what a client needs to come back; browsers, which come
        // back several times at once, may ask for two.
        let ticketer =
            provider().ticketer_factory.ticketer().map_err(|error| bad("session tickets", error))?;
        config.ticketer = Some(ticketer);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = Tls13Tickets { default: 1, max: 2 };
        let config = Arc::new(config);
        let mut web = config.clone();
        if self.alpn.is_empty() {
            Arc::make_mut(&mut web).alpn_protocols = protocols(&[b"http/1.1".to_vec()])?;
        }
        let identity = Identity { config, web, asks_for_certificates: self.clients.is_some() };
        Ok(Tls { current: Arc::new(RwLock::new(identity)) })
    }
}

/// Names of application protocols, checked: 1 to 255 bytes each (RFC 7301, 3.1).
pub(super) fn protocols(names: &[Vec<u8>]) -> Result<Vec<ApplicationProtocol<'static>>> {
    let checked = names.iter().map(|name| match name.len() {
        1..=255 => Ok(ApplicationProtocol::from(name.as_slice()).to_owned()),
        len => Err(bad("ALPN", format_args!("a name of {len} bytes; expected 1 to 255"))),
    });
    checked.collect()
}

pub(super) fn bad(part: &str, why: impl fmt::Display) -> Error {
    Error::BadTls { part: part.to_owned(), why: why.to_string() }
}
