//! What a client offers, and a server may choose of (RFC 6455, 4.1).

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// Subprotocols, the favourite first.
    pub(super) protocols: Vec<String>,
    /// The value of Sec-WebSocket-Extensions, if there is one.
    pub(super) extensions: Option<String>,
}

impl Offer {
    pub(super) fn has_protocol(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|offered| offered == protocol)
    }

    pub(super) fn has_extensions(&self) -> bool {
        self.extensions.is_some()
    }
}
