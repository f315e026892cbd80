//! TLS 1.2 and 1.3 by rustls: bytes in, bytes out, no sockets.
//!
//! rustls' types stay within this directory: the engine and its users see only ours.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

mod certificates;
mod client;
mod der;
mod failure;
mod info;
mod link;
mod opening;
mod pem;
mod server;
mod session;

pub use self::{
    client::{TlsClient, TlsClientBuilder},
    failure::TlsError,
    info::{TlsInfo, TlsVersion},
    server::{Tls, TlsBuilder},
    session::{Phase, Received, Session},
};

/// aws-lc-rs, not ring: half the time for an RSA signature, a sixth less for 16 KiB, and the key exchange that keeps what
/// is recorded today from the quantum computers of tomorrow; 200 bytes a connection more.
fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls_aws_lc_rs::DEFAULT_PROVIDER))
}
