//! What a client makes of the server's answer (RFC 6455, 4.1).

use std::str;

use crate::http::field::{has_member, members, values};
use crate::http::head::count_lines;
use crate::http::offer::Offer;

/// What the server chose of what a [`Hello`](crate::http::Hello) offered.
///
/// ```
/// use wheelhouse_websocket::{deflate::Config, http::Hello};
///
/// let deflate = Config::default();
/// let hello = Hello::new("example.org", "/")?.extensions(&deflate.offer())?;
/// let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
///     Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n";
/// let welcome = hello.verify(*b"the sample nonce", head).unwrap();
/// assert_eq!(welcome.subprotocol, None);
/// let agreed = deflate.verify(welcome.extensions.into_iter()).unwrap();
/// assert!(agreed.is_some_and(|agreed| agreed.server_no_context_takeover));
/// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// One of the subprotocols that were offered, or none.
    pub subprotocol: Option<&'a str>,
    /// The values of Sec-WebSocket-Extensions, as they came; empty when the server chose none. That each of
    /// them was offered is for those who know the extension to see.
    pub extensions: Vec<&'a [u8]>,
}

/// Why an answer opens no WebSocket.
///
/// ```
/// use wheelhouse_websocket::http::{Hello, NotWelcome};
///
/// let hello = Hello::new("example.org", "/")?;
/// let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Accept: c29tZXRoaW5nIGVsc2U=\r\n\r\n";
/// let error = hello.verify([7; 16], head).unwrap_err();
/// assert!(matches!(error, NotWelcome::WrongAccept { .. }));
/// assert_eq!(error.to_string(), "the server's Sec-WebSocket-Accept is \"c29tZXRoaW5nIGVsc2U=\", not this key's");
/// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotWelcome {
    /// The answer is not a head of HTTP/1.1; which rule it broke.
    #[error("the server's answer is malformed: {0}")]
    Malformed(&'static str),
    /// A status other than 101.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// No Upgrade, or one to something else.
    #[error("the server does not upgrade to websocket")]
    NoUpgrade,
    /// No Connection that names the Upgrade.
    #[error("the server's Connection header does not name Upgrade")]
    NoConnection,
    /// No Sec-WebSocket-Accept, or several.
    #[error("the server's answer has not exactly one Sec-WebSocket-Accept")]
    NoAccept,
    /// A Sec-WebSocket-Accept that is not of this key: an old answer, or no WebSocket server at all.
    #[error("the server's Sec-WebSocket-Accept is {accept:?}, not this key's")]
    WrongAccept {
        /// What it says.
        accept: String,
    },
    /// A subprotocol that was not asked for, or several.
    #[error("the server chose the subprotocol {chosen:?}, which was not asked for")]
    Subprotocol {
        /// What it says.
        chosen: String,
    },
    /// An extension where none was asked for.
    #[error("the server chose the extensions {chosen:?}, and none was asked for")]
    Extensions {
        /// What it says.
        chosen: String,
    },
}

impl NotWelcome {
    /// Whether this was not the answer yet: a 100 or a 103, behind whose head the next one begins (RFC 9110,
    /// 15.2). How many of them to bear is the caller's limit.
    ///
    /// ```
    /// use wheelhouse_websocket::http::NotWelcome;
    ///
    /// assert!(NotWelcome::Status(103).is_interim());
    /// assert!(!NotWelcome::Status(403).is_interim());
    /// ```
    pub fn is_interim(&self) -> bool {
        matches!(self, NotWelcome::Status(100..=199))
    }
}

impl<'a> Welcome<'a> {
    pub(super) fn parse(offer: &Offer, accept: &[u8], head: &'a [u8]) -> Result<Welcome<'a>, NotWelcome> {
        let headers = parse_head(head)?;
        let values = |name| values(&headers, name);

        let mut upgrades = values("Upgrade").flat_map(members).peekable();
        let is_offered = upgrades.peek().is_some();
        if !is_offered || !upgrades.all(|to| to.eq_ignore_ascii_case(b"websocket")) {
            return Err(NotWelcome::NoUpgrade);
        }
        if !has_member(values("Connection"), "upgrade") {
            return Err(NotWelcome::NoConnection);
        }
        match *values("Sec-WebSocket-Accept").collect::<Vec<_>>() {
            [given] if given == accept => {}
            [given] => return Err(NotWelcome::WrongAccept { accept: shown(given) }),
            _ => return Err(NotWelcome::NoAccept),
        }

        let chosen: Vec<_> = values("Sec-WebSocket-Protocol").collect();
        let subprotocol = match *chosen {
            [] => None,
            [one] => str::from_utf8(one).ok().filter(|name| offer.has_protocol(name)),
            _ => None,
        };
        if subprotocol.is_none() && !chosen.is_empty() {
            return Err(NotWelcome::Subprotocol { chosen: shown(&chosen.join(&b", "[..])) });
        }

        let extensions: Vec<_> =
            values("Sec-WebSocket-Extensions").filter(|value| !value.is_empty()).collect();
        if !offer.has_extensions() && !extensions.is_empty() {
            return Err(NotWelcome::Extensions { chosen: shown(&extensions.join(&b", "[..])) });
        }
        Ok(Welcome { subprotocol, extensions })
    }
}

/// The headers of a 101 of HTTP/1.1.
fn parse_head(head: &[u8]) -> Result<Vec<httparse::Header<'_>>, NotWelcome> {
    let lines = count_lines(head).ok_or(NotWelcome::Malformed("a line ends in a bare LF"))?;
    let count = lines.saturating_sub(2);
    if count > MAX_HEADERS {
        return Err(NotWelcome::Malformed("too many headers"));
    }
    let mut headers = vec![httparse::EMPTY_HEADER; count];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(end)) if end == head.len() => {}
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Err(NotWelcome::Malformed("the head does not end with its empty line"));
        }
        Err(httparse::Error::Version) => return Err(NotWelcome::Malformed("this is not HTTP/1.1")),
        Err(httparse::Error::Status) => return Err(NotWelcome::Malformed("the status line is malformed")),
        Err(_) => return Err(NotWelcome::Malformed("a header is malformed")),
    }
    match (parsed.code, parsed.version) {
        (Some(101), Some(1)) => {}
        // RFC 9110, 15.2: HTTP/1.0 knows none of them.
        (Some(100..=199), Some(0)) => return Err(NotWelcome::Malformed("a 1xx of HTTP/1.0")),
        (status, _) => return Err(NotWelcome::Status(status.unwrap_or_default())),
    }
    let found = parsed.headers.len();
    headers.truncate(found);
    Ok(headers)
}

/// As much of what a server sent as an error needs to show.
fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(SHOWN)]).into_owned()
}

const MAX_HEADERS: usize = 100;
const SHOWN: usize = 128;
