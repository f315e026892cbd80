use rustls::{
    ConnectionOutputs, HandshakeKind,
    crypto::Identity,
    enums::{ApplicationProtocol, ProtocolVersion},
};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// What a handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsInfo<'a> {
    version: TlsVersion,
    server_name: Option<&'a str>,
    outputs: &'a ConnectionOutputs,
}

impl<'a> TlsInfo<'a> {
    /// Nothing before the version is agreed.
    pub(super) fn new(outputs: &'a ConnectionOutputs, server_name: Option<&'a str>) -> Option<Self> {
        let version = match outputs.protocol_version()? {
            ProtocolVersion::TLSv1_2 => TlsVersion::Tls12,
            ProtocolVersion::TLSv1_3 => TlsVersion::Tls13,
            _ => return None,
        };
        Some(TlsInfo { version, server_name, outputs })
    }

    /// The version agreed on.
    pub fn version(&self) -> TlsVersion {
        self.version
    }

    /// The application protocol agreed on (ALPN), such as `http/1.1`.
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.outputs.alpn_protocol().map(ApplicationProtocol::as_ref)
    }

    /// The name the client asked for, in lower case: of a server's connection what came (SNI), of a client's what was dialled.
    pub fn server_name(&self) -> Option<&'a str> {
        self.server_name
    }

    /// The certificates the peer showed, in DER, its own first. They have been verified.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let chain = self.outputs.peer_identity().and_then(|identity| match &**identity {
            Identity::X509(chain) => Some(chain),
            _ => None,
        });
        chain.into_iter().flat_map(|chain| {
            std::iter::once(&chain.end_entity)
                .chain(&chain.intermediates)
                .map(|certificate| certificate.as_ref())
        })
    }

    /// Whether an earlier session was resumed: no certificates were sent, and no signature made.
    pub fn is_resumed(&self) -> bool {
        matches!(
            self.outputs.handshake_kind(),
            Some(HandshakeKind::Resumed | HandshakeKind::ResumedWithHelloRetryRequest)
        )
    }
}
