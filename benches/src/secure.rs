//! TLS as the programs here speak it: a certificate that is made at the start, and a client that trusts anybody.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_stable::client::Resumption;
use rustls_stable::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_stable::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls_stable::pki_types::pem::PemObject;
use rustls_stable::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls_stable::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme, version,
};
use wheelhouse::Tls;

/// A certificate for `localhost`, signed by itself, and its key (ECDSA P-256), as PEM.
///
/// # Errors
///
/// What making the key came to.
pub fn certificate() -> io::Result<(String, String)> {
    let made = || {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
        Ok::<_, rcgen::Error>((certificate.pem(), key.serialize_pem()))
    };
    made().map_err(io::Error::other)
}

/// The same as bytes.
///
/// # Errors
///
/// As [`certificate`].
pub fn certificate_bytes() -> io::Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let (certificate, key) = certificate()?;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(io::Error::other)?;
    Ok((certificate, PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?))
}

/// What the engine's listeners take.
///
/// # Errors
///
/// As [`certificate`].
pub fn tls() -> io::Result<Tls> {
    let (certificate, key) = certificate()?;
    Tls::new(certificate, key).map_err(io::Error::other)
}

/// A server of rustls 0.23 as it comes.
///
/// # Errors
///
/// As [`certificate`].
pub fn server() -> io::Result<Arc<ServerConfig>> {
    let (certificate, key) = certificate_bytes()?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Ok(Arc::new(config.map_err(io::Error::other)?))
}

/// What the engine's listeners make of such a certificate, for rustls as the engine has it.
///
/// # Errors
///
/// As [`certificate`].
pub fn engine_config() -> io::Result<Arc<rustls::ServerConfig>> {
    let (certificate, key) = certificate_bytes()?;
    let provider = Arc::new(rustls_aws_lc_rs::DEFAULT_PROVIDER);
    let ticketer = provider.ticketer_factory.ticketer().map_err(io::Error::other)?;
    let identity = rustls::crypto::Identity::from_cert_chain(vec![certificate]).map_err(io::Error::other)?;
    let mut config = rustls::ServerConfig::builder(provider)
        .with_no_client_auth()
        .with_single_cert(Arc::new(identity), key)
        .map_err(io::Error::other)?;
    config.ticketer = Some(ticketer);
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = rustls::server::Tls13Tickets { default: 1, max: 2 };
    Ok(Arc::new(config))
}

/// Makes connections of TLS 1.3, each by a full handshake, to anybody who has the key of the certificate he shows.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// # Errors
    ///
    /// What rustls refuses of its own defaults.
    pub fn new() -> io::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config) })
    }

    /// A connection whose first message is ready to be written.
    ///
    /// # Errors
    ///
    /// What drawing random bytes came to.
    pub fn begin(&self) -> io::Result<ClientConnection> {
        let begin = || -> Result<_, Box<dyn Error + Send + Sync>> {
            Ok(ClientConnection::new(Arc::clone(&self.config), ServerName::try_from("localhost")?)?)
        };
        begin().map_err(io::Error::other)
    }
}

/// Asks nobody who he is, but still that he has the key of the certificate he shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls_stable::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls_stable::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls_stable::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
