//! What a client says first (RFC 6455, 4.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http::authority::Authority;
use crate::http::field::{check_field, is_one_of, is_token, write_field};
use crate::http::offer::Offer;
use crate::http::{Invalid, NotWelcome, Welcome, accept_key};

/// A client's request for a WebSocket: built and checked once, sent as often as one connects.
///
/// ```
/// use wheelhouse_websocket::http::{Hello, NotWelcome, head_end};
///
/// let hello = Hello::new("example.org:9000", "/chat?room=7")?.protocol("json")?.protocol("cbor")?;
/// let nonce = *b"the sample nonce"; // in earnest: 16 bytes from a good random source, new each time
/// let mut out = Vec::new();
/// hello.write(nonce, &mut out);
/// assert!(out.starts_with(b"GET /chat?room=7 HTTP/1.1\r\nHost: example.org:9000\r\n"));
///
/// let came = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: cbor\r\n\r\n";
/// let end = head_end(came, &mut 0).unwrap();
/// let welcome = hello.verify(nonce, &came[..end]).unwrap();
/// assert_eq!(welcome.subprotocol, Some("cbor"));
///
/// let refused = hello.verify(nonce, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
/// assert_eq!(refused.unwrap_err(), NotWelcome::Status(403));
/// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
/// ```
///
/// `Debug` shows the names of the headers that were added without their values, and no query: those hold
/// secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    host: String,
    target: String,
    origin: Option<String>,
    offer: Offer,
    headers: Vec<(String, String)>,
}

impl Hello {
    /// Asks `host` (with its port, unless that is the scheme's own: 80, or 443 with TLS) for `target`: path
    /// and query; an empty one is `/`.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Hello;
    ///
    /// assert!(Hello::new("[::1]:9000", "/").is_ok());
    /// assert_eq!(
    ///     Hello::new("example.org", "/a b").unwrap_err().to_string(),
    ///     r#""/a b" is not a path and query that can be asked for"#
    /// );
    /// ```
    ///
    /// # Errors
    /// The host is malformed; or the target does not begin with `/`, or holds what must be percent-encoded: a
    /// space, a control or non-ASCII character; or a fragment.
    pub fn new(host: &str, target: &str) -> Result<Hello, Invalid> {
        if Authority::parse(host).is_none() {
            return Err(Invalid::Host { host: host.to_owned() });
        }
        let target = if target.is_empty() { "/" } else { target };
        if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(Invalid::Target { target: target.to_owned() });
        }
        Ok(Hello {
            host: host.to_owned(),
            target: target.to_owned(),
            origin: None,
            offer: Offer::default(),
            headers: Vec::new(),
        })
    }

    /// The Origin, for servers that ask for one: `https://example.org`.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Hello;
    ///
    /// let mut out = Vec::new();
    /// Hello::new("example.org", "/")?.origin("https://example.org")?.write([7; 16], &mut out);
    /// assert!(String::from_utf8_lossy(&out).contains("\r\nOrigin: https://example.org\r\n"));
    /// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
    /// ```
    ///
    /// # Errors
    /// It holds a control character.
    pub fn origin(mut self, origin: &str) -> Result<Hello, Invalid> {
        check_field("Origin", origin)?;
        self.origin = Some(origin.to_owned());
        Ok(self)
    }

    /// Offers one more subprotocol; the first is the favourite.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Hello;
    ///
    /// let hello = Hello::new("example.org", "/")?.protocol("mqtt")?.protocol("json")?;
    /// let mut out = Vec::new();
    /// hello.write([7; 16], &mut out);
    /// assert!(String::from_utf8_lossy(&out).contains("\r\nSec-WebSocket-Protocol: mqtt, json\r\n"));
    /// assert_eq!(hello.protocol("json").unwrap_err().to_string(), "subprotocol json is asked for twice");
    /// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
    /// ```
    ///
    /// # Errors
    /// It is not a token, or was offered already.
    pub fn protocol(mut self, protocol: &str) -> Result<Hello, Invalid> {
        if !is_token(protocol.as_bytes()) {
            return Err(Invalid::Protocol { protocol: protocol.to_owned() });
        }
        if self.offer.has_protocol(protocol) {
            return Err(Invalid::RepeatedProtocol { protocol: protocol.to_owned() });
        }
        self.offer.protocols.push(protocol.to_owned());
        Ok(self)
    }

    /// The value of Sec-WebSocket-Extensions: what the client can do, and how. The last one given holds;
    /// an empty one takes the offer back.
    ///
    /// ```
    /// use wheelhouse_websocket::{deflate::Config, http::Hello};
    ///
    /// let offer = Config { own_contexts: true, ..Config::default() }.offer();
    /// let mut out = Vec::new();
    /// Hello::new("example.org", "/")?.extensions(&offer)?.write([7; 16], &mut out);
    /// let sent = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    /// assert!(String::from_utf8_lossy(&out).contains(sent));
    /// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
    /// ```
    ///
    /// # Errors
    /// It holds a control character.
    pub fn extensions(mut self, extensions: &str) -> Result<Hello, Invalid> {
        check_field("Sec-WebSocket-Extensions", extensions)?;
        self.offer.extensions = Some(extensions.to_owned()).filter(|offer| !offer.is_empty());
        Ok(self)
    }

    /// Adds a header: `Authorization`, `Cookie`, `User-Agent`.
    ///
    /// ```
    /// use wheelhouse_websocket::http::{Hello, Invalid};
    ///
    /// let hello = Hello::new("example.org", "/")?.header("Authorization", "Bearer 8x3")?;
    /// let mut out = Vec::new();
    /// hello.write([7; 16], &mut out);
    /// assert!(out.ends_with(b"\r\nAuthorization: Bearer 8x3\r\n\r\n"));
    /// assert!(matches!(hello.header("Upgrade", "h2c"), Err(Invalid::ReservedHeader { .. })));
    /// # Ok::<(), Invalid>(())
    /// ```
    ///
    /// # Errors
    /// The name is not a token, the value holds a control character, or the header is one that is written
    /// anyway, has a method of its own here, or would announce a body.
    pub fn header(mut self, name: &str, value: &str) -> Result<Hello, Invalid> {
        check_field(name, value)?;
        if is_one_of(name, &WRITTEN_HERE) {
            return Err(Invalid::ReservedHeader { name: name.to_owned() });
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Writes the request behind what is in `out`. `nonce` is of this connection alone, and random.
    ///
    /// ```
    /// use wheelhouse_websocket::http::{Hello, Request};
    ///
    /// let mut out = Vec::new();
    /// Hello::new("example.org", "/chat")?.write(*b"the sample nonce", &mut out);
    /// let request = Request::parse(&out, 100).unwrap();
    /// assert_eq!((request.path(), request.key()), ("/chat", Some("dGhlIHNhbXBsZSBub25jZQ==")));
    /// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
    /// ```
    pub fn write(&self, nonce: [u8; 16], out: &mut Vec<u8>) {
        for part in ["GET ", &self.target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        write_field(out, "Host", &self.host);
        write_field(out, "Upgrade", "websocket");
        write_field(out, "Connection", "Upgrade");
        write_field(out, "Sec-WebSocket-Key", STANDARD.encode(nonce));
        write_field(out, "Sec-WebSocket-Version", "13");
        if let Some(origin) = &self.origin {
            write_field(out, "Origin", origin);
        }
        if !self.offer.protocols.is_empty() {
            write_field(out, "Sec-WebSocket-Protocol", self.offer.protocols.join(", "));
        }
        if let Some(extensions) = &self.offer.extensions {
            write_field(out, "Sec-WebSocket-Extensions", extensions);
        }
        for (name, value) in &self.headers {
            write_field(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Looks at the server's answer: its head, up to and with the empty line
    /// ([`head_end`](crate::http::head_end)). What follows the head are frames already.
    ///
    /// ```
    /// use wheelhouse_websocket::http::{Hello, Request, write_accept};
    ///
    /// let (hello, nonce) = (Hello::new("example.org", "/")?, [7; 16]);
    /// let (mut asked, mut answered) = (Vec::new(), Vec::new());
    /// hello.write(nonce, &mut asked);
    /// write_accept(&mut answered, Request::parse(&asked, 100).unwrap().key().unwrap(), None, None, &[]);
    /// assert!(hello.verify(nonce, &answered).is_ok());
    /// assert!(hello.verify([8; 16], &answered).is_err()); // an answer to somebody else
    /// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
    /// ```
    ///
    /// # Errors
    /// The server declined, or did not answer as RFC 6455, 4.1 wants it; the connection is to be closed, but
    /// for an [interim](NotWelcome::is_interim) answer.
    pub fn verify<'a>(&self, nonce: [u8; 16], head: &'a [u8]) -> Result<Welcome<'a>, NotWelcome> {
        Welcome::parse(&self.offer, &accept_key(&STANDARD.encode(nonce)), head)
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        let names = self.headers.iter().map(|(name, _)| name);
        f.debug_struct("Hello")
            .field("host", &self.host)
            .field("path", &path)
            .field("protocols", &self.offer.protocols)
            .field("extensions", &self.offer.extensions)
            .field("headers", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

const WRITTEN_HERE: [&str; 11] = [
    "Connection",
    "Content-Length",
    "Host",
    "Origin",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Transfer-Encoding",
    "Upgrade",
];
