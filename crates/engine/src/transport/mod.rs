//! What lies between the socket's bytes and the protocol's: nothing (a plain socket), or TLS.

mod tls;

pub use self::tls::{
    Phase, Received, Session, Tls, TlsBuilder, TlsClient, TlsClientBuilder, TlsError, TlsInfo, TlsVersion,
};
