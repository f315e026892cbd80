use rustls::error::{Error as RustlsError, InvalidMessage, PeerMisbehaved};

/// Why a TLS connection failed: what the peer did wrong, or what we could not do for it.
///
/// ```
/// use wheelhouse::TlsError;
///
/// assert_eq!(TlsError::PlainHttp.to_string(), "plain HTTP where TLS is expected");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer speaks HTTP without TLS.
    #[error("plain HTTP where TLS is expected")]
    PlainHttp,
    /// The first byte the peer sent begins no TLS record.
    #[error("not TLS: the first byte is {first:#04x}, not 0x16")]
    NotTls {
        /// The byte.
        first: u8,
    },
    /// The peer gave up and said why: it does not trust our certificate, for instance.
    #[error("the peer {what} (alert {code})")]
    Alert {
        /// The alert's number (RFC 8446, 6).
        code: u8,
        /// What it means.
        what: String,
    },
    /// The peer offered application protocols (ALPN), and none of ours is among them.
    #[error("no application protocol in common")]
    NoCommonProtocol,
    /// No version, cipher suite, key exchange or signature in common.
    #[error("nothing in common with the peer: {what}")]
    Incompatible {
        /// What is missing, in rustls' words.
        what: String,
    },
    /// The peer showed no certificate where one is required, or one that does not hold.
    #[error("the peer's certificate: {why}")]
    PeerCertificate {
        /// Missing, expired, of an unknown issuer, for another name.
        why: String,
    },
    /// A record was altered on the way, or sealed with another key.
    #[error("a record is not authentic")]
    NotAuthentic,
    /// A record or a handshake is larger than its bound.
    #[error("{what} of more than {limit} bytes")]
    TooLarge {
        /// Which.
        what: &'static str,
        /// Its bound.
        limit: usize,
    },
    /// The peer broke another rule of the protocol.
    #[error("the peer broke the protocol: {what}")]
    Violation {
        /// Which one, in rustls' words.
        what: String,
    },
    /// Nothing can be sent before the handshake is done.
    #[error("the handshake is not done")]
    NotReady,
    /// Nothing can be sent after `close_notify`.
    #[error("close_notify has been sent")]
    Closed,
    /// We could not go on; no fault of the peer's.
    #[error("cannot go on: {why}")]
    Internal {
        /// Why.
        why: String,
    },
}

/// A record's most plaintext (RFC 8446, 5.1).
const MAX_PLAINTEXT: usize = 16 * 1024;

impl From<RustlsError> for TlsError {
    fn from(error: RustlsError) -> Self {
        match error {
            RustlsError::AlertReceived(alert) => TlsError::Alert { code: alert.0, what: alert.to_string() },
            RustlsError::NoApplicationProtocol => TlsError::NoCommonProtocol,
            RustlsError::PeerIncompatible(what) => TlsError::Incompatible { what: format!("{what:?}") },
            RustlsError::InvalidCertificate(why) => TlsError::PeerCertificate { why: why.to_string() },
            RustlsError::PeerMisbehaved(PeerMisbehaved::NoCertificatesPresented) => {
                TlsError::PeerCertificate { why: "none was shown, and one is required".into() }
            }
            RustlsError::DecryptError => TlsError::NotAuthentic,
            RustlsError::PeerSentOversizedRecord
            | RustlsError::InvalidMessage(InvalidMessage::MessageTooLarge) => {
                TlsError::TooLarge { what: "a record", limit: MAX_PLAINTEXT }
            }
            error @ (RustlsError::InvalidMessage(_)
            | RustlsError::PeerMisbehaved(_)
            | RustlsError::InappropriateMessage { .. }
            | RustlsError::InappropriateHandshakeMessage { .. }) => {
                TlsError::Violation { what: error.to_string() }
            }
            other => TlsError::Internal { why: other.to_string() },
        }
    }
}
