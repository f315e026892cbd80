use std::{fmt, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, crypto::SingleCredential};
use rustls_pki_types::ServerName;

use super::{
    pem::{Pair, Pem},
    provider,
    server::{bad, protocols},
};
use crate::{Error, Result};

/// What dialling a server by TLS needs: whom to trust, and the server's name.
///
/// A clone is the same one. Sessions are resumed: tickets of the 256 servers last seen are kept, shared by all clones and by
/// those made of them for [other names](TlsClient::named).
///
/// ```
/// use wheelhouse::TlsClient;
///
/// # let roots = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate").cert.pem();
/// let client = TlsClient::builder("example.org").roots(roots).alpn(["http/1.1"]).build()?;
/// let other = client.named("www.example.org")?;
/// assert_eq!(other.server_name(), "www.example.org");
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Clone)]
pub struct TlsClient {
    offer: Arc<Offer>,
    pub(super) server: ServerName<'static>,
    name: Arc<str>,
}

/// What is said to servers.
struct Offer {
    config: Arc<ClientConfig>,
    /// What is said where a WebSocket is asked for, unless that is the same.
    web: Option<Arc<Offer>>,
}

impl TlsClient {
    /// Starts with the server's name, or its IP address: the server's certificate must bear it.
    pub fn builder(server_name: impl Into<String>) -> TlsClientBuilder {
        TlsClientBuilder { name: server_name.into(), roots: None, alpn: None, pair: None }
    }

    /// The same for another server.
    ///
    /// ```
    /// use wheelhouse::TlsClient;
    ///
    /// # let roots = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate").cert.pem();
    /// let client = TlsClient::builder("example.org").roots(roots).build()?;
    /// assert_eq!(client.named("192.0.2.1")?.server_name(), "192.0.2.1");
    /// let error = client.named("not a name").unwrap_err().to_string();
    /// assert_eq!(error, "TLS: server name: `not a name` is neither a DNS name nor an IP address");
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadTls`] when it is neither a DNS name nor an IP address.
    pub fn named(&self, server_name: impl Into<String>) -> Result<TlsClient> {
        let name = server_name.into();
        Ok(TlsClient { server: server(&name)?, name: name.into(), ..self.clone() })
    }

    /// The server's name, as given.
    pub fn server_name(&self) -> &str {
        &self.name
    }

    /// The same for asking for a WebSocket.
    pub(crate) fn for_web(&self) -> TlsClient {
        let offer = self.offer.web.as_ref().unwrap_or(&self.offer);
        TlsClient { offer: offer.clone(), ..self.clone() }
    }

    pub(super) fn config(&self) -> &Arc<ClientConfig> {
        &self.offer.config
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("server_name", &self.name)
            .field("alpn", &self.config().alpn_protocols)
            .finish_non_exhaustive()
    }
}

/// What a [`TlsClient`] is made of. Nothing is read or checked before [`build`](TlsClientBuilder::build).
///
/// ```
/// use wheelhouse::TlsClient;
///
/// let nobody_to_trust = TlsClient::builder("example.org").build().unwrap_err();
/// assert_eq!(nobody_to_trust.to_string(), "TLS: roots: none were given");
/// ```
#[derive(Clone, Debug)]
pub struct TlsClientBuilder {
    name: String,
    roots: Option<Pem>,
    /// None where nothing was said.
    alpn: Option<Vec<Vec<u8>>>,
    pair: Option<Pair>,
}

impl TlsClientBuilder {
    /// The certificates (PEM) that servers' must be signed by, or be. Those of the system are in
    /// `/etc/ssl/certs/ca-certificates.crt` on Debian.
    pub fn roots(mut self, roots: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(Pem::Text(roots.into()));
        self
    }

    /// As [`roots`](TlsClientBuilder::roots), from a file.
    ///
    /// ```
    /// use wheelhouse::TlsClient;
    ///
    /// let builder = TlsClient::builder("example.org").roots_file("/nowhere/roots.pem");
    /// let error = builder.build().unwrap_err().to_string(); // not before
    /// assert!(error.contains("/nowhere/roots.pem"), "{error}");
    /// ```
    pub fn roots_file(mut self, roots: impl Into<PathBuf>) -> Self {
        self.roots = Some(Pem::File(roots.into()));
        self
    }

    /// The application protocols offered, the preferred one first. A server may choose none of them, and then
    /// [`TlsInfo::alpn`](crate::TlsInfo::alpn) is none; one that insists on others ends the handshake.
    ///
    /// Where this is not called, WebSockets offer `http/1.1`, as browsers do, and everything else offers nothing. An empty
    /// list offers nothing for WebSockets either. A WebSocket is asked for by HTTP/1.1 whatever was agreed on: do not offer
    /// `h2` with it.
    ///
    /// ```
    /// use wheelhouse::TlsClient;
    ///
    /// # let roots = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate").cert.pem();
    /// let builder = TlsClient::builder("example.org").roots(roots).alpn(["h2", "http/1.1"]);
    /// assert!(builder.clone().build().is_ok());
    /// let error = builder.alpn([""]).build().unwrap_err();
    /// assert_eq!(error.to_string(), "TLS: ALPN: a name of 0 bytes; expected 1 to 255");
    /// ```
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = Some(protocols.into_iter().map(Into::into).collect());
        self
    }

    /// The certificate shown to a server that asks for one, and its key, both PEM.
    pub fn certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.pair = Some(Pair { certificate: Pem::Text(certificate.into()), key: Pem::Text(key.into()) });
        self
    }

    /// As [`certificate`](TlsClientBuilder::certificate), from files.
    pub fn certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.pair = Some(Pair { certificate: Pem::File(certificate.into()), key: Pem::File(key.into()) });
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`Error::BadTls`] says which part cannot be used and why: no roots were given, a file cannot be read, no certificate is
    /// in it, a key is not its certificate's, the server's name is none, a protocol name is empty or longer than 255 bytes.
    pub fn build(self) -> Result<TlsClient> {
        let roots = self.roots.as_ref().ok_or_else(|| bad("roots", "none were given"))?.roots("roots")?;
        let builder = ClientConfig::builder(provider().clone()).with_root_certificates(Arc::new(roots));
        let config = match &self.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_credential_resolver(Arc::new(SingleCredential::from(
                pair.load("client certificate")?,
            ))),
        };
        let mut config = config.map_err(|error| bad("client", error))?;
        config.alpn_protocols = protocols(self.alpn.as_deref().unwrap_or_default())?;
        // Unless told otherwise, a WebSocket is asked for by HTTP/1.1, and says so.
        let web = match self.alpn {
            Some(_) => None,
            None => {
                let mut config = config.clone();
                config.alpn_protocols = protocols(&[b"http/1.1".to_vec()])?;
                Some(Arc::new(Offer { config: Arc::new(config), web: None }))
            }
        };
        let offer = Arc::new(Offer { config: Arc::new(config), web });
        Ok(TlsClient { offer, server: server(&self.name)?, name: self.name.into() })
    }
}

fn server(name: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).map_err(|_| Error::BadTls {
        part: "server name".into(),
        why: format!("`{name}` is neither a DNS name nor an IP address"),
    })
}
