//! What an embedder may not put into a head.

/// What was to be written into a head and cannot stand there.
///
/// ```
/// use wheelhouse_websocket::http::{Answer, Invalid};
///
/// let invalid = Answer::new(302).header("Location", "/a\r\nSet-Cookie: b").unwrap_err();
/// assert!(matches!(invalid, Invalid::HeaderValue { .. }));
/// assert_eq!(invalid.to_string(), r#"header Location cannot have the value "/a\r\nSet-Cookie: b""#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A header's name that is not a token (RFC 9110, 5.6.2).
    #[error("no header can have the name {name:?}")]
    HeaderName {
        /// The name.
        name: String,
    },
    /// A header's value with CR, LF, NUL or another control character.
    #[error("header {name} cannot have the value {value:?}")]
    HeaderValue {
        /// The header's name.
        name: String,
        /// The value.
        value: String,
    },
    /// A header that is written by this crate alone, because the framing or the handshake depends on it.
    #[error("header {name} is written by the engine itself")]
    ReservedHeader {
        /// The header's name.
        name: String,
    },
    /// A host that is no `name`, `name:port`, `[v6]` or `[v6]:port`.
    #[error("{host:?} is not a host with or without a port")]
    Host {
        /// What was given.
        host: String,
    },
    /// A target that does not begin with `/`, or has a space, a fragment, a control or non-ASCII character.
    #[error("{target:?} is not a path and query that can be asked for")]
    Target {
        /// What was given.
        target: String,
    },
    /// A subprotocol that is not a token (RFC 6455, 4.1).
    #[error("{protocol:?} is not a subprotocol's name")]
    Protocol {
        /// What was given.
        protocol: String,
    },
    /// A subprotocol that is asked for twice (RFC 6455, 4.1).
    #[error("subprotocol {protocol} is asked for twice")]
    RepeatedProtocol {
        /// Which.
        protocol: String,
    },
}
