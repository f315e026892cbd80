//! A request's head, as a server reads it.

mod upgrading;

use std::borrow::Cow;
use std::{fmt, str};

use crate::http::Refused;
use crate::http::authority::{self, Authority};
use crate::http::field::{is_token, members, values};
use crate::http::head::count_lines;
use crate::http::target::Target;
use crate::http::upgrade::Upgrade;

/// A request's head: parsed once, lent from the bytes that came.
///
/// ```
/// use wheelhouse_websocket::http::Request;
///
/// let head = b"GET /rooms/7?name=J%C3%B8rn+B HTTP/1.1\r\nHost: example.org\r\nCookie: a=1; id=\"x7\"\r\n\r\n";
/// let request = Request::parse(head, 100)?;
///
/// assert_eq!((request.method(), request.path()), ("GET", "/rooms/7"));
/// assert_eq!(request.query("name").as_deref(), Some("J\u{f8}rn B"));
/// assert_eq!(request.cookie("id"), Some("x7"));
/// assert!(!request.is_upgrade());
/// # Ok::<(), wheelhouse_websocket::http::Refused>(())
/// ```
///
/// Its one allocation is the list of headers, 32 bytes each. `Debug` shows the headers' names without their
/// values, and the path without the query: those hold secrets.
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    parts: Target<'a>,
    is_http_1_0: bool,
    headers: Vec<httparse::Header<'a>>,
    upgrade: Upgrade,
}

impl<'a> Request<'a> {
    /// Parses a head, from its first byte up to and with the empty line
    /// ([`head_end`](crate::http::head_end)); one empty line in front of it is passed by.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Request;
    ///
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
    /// assert!(Request::parse(head, 2).is_ok());
    /// assert_eq!(Request::parse(head, 1).unwrap_err().status, 431);
    /// assert_eq!(Request::parse(b"PRI * HTTP/2.0\r\n\r\n", 1).unwrap_err().status, 505);
    /// ```
    ///
    /// # Errors
    /// - 400: anything malformed or ambiguous, as listed [above](crate::http#what-is-refused).
    /// - 431: more than `max_headers` headers; found before any of them is parsed.
    /// - 501: CONNECT.
    /// - 505: another version than 1.x. A higher minor one is served as 1.1 (RFC 9110, 2.5).
    pub fn parse(head: &'a [u8], max_headers: usize) -> Result<Request<'a>, Refused> {
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        let lines = count_lines(head).ok_or(Refused::bad("a line that ends in a bare LF"))?;
        // All but the request line and the empty one: so the list has the size that it needs.
        let count = lines.saturating_sub(2);
        if count > max_headers {
            return Err(Refused { status: 431, what: "too many headers" });
        }

        let mut headers = vec![httparse::EMPTY_HEADER; count];
        let line = RequestLine::parse(head)?;
        let found = match httparse::parse_headers(&head[line.len..], &mut headers) {
            Ok(httparse::Status::Complete((end, found))) if line.len + end == head.len() => found.len(),
            // Too many: a line less at the end than was counted on.
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                return Err(Refused::bad("a head that does not end with its empty line"));
            }
            Err(error) => return Err(refusal(error)),
        };
        headers.truncate(found);

        let RequestLine { method, target, is_http_1_0, .. } = line;
        let parts = Target::parse(method, target)?;
        let upgrade = Upgrade::Unasked;
        let mut request = Request { method, target, parts, is_http_1_0, headers, upgrade };
        request.check_headers()?;
        request.upgrade = request.judge_upgrade();
        Ok(request)
    }

    /// The method, in the case in which it came: `GET`.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::{Answer, Request};
    /// let request = Request::parse(b"HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n", 100)?;
    /// let mut out = Vec::new();
    /// Answer::new(200).body("text/plain", "fine").write(&mut out, request.method() == "HEAD");
    /// assert!(out.ends_with(b"\r\n\r\n")); // the head alone
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// What is asked for, as it came: path and query, or a whole URI.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let request = Request::parse(b"GET /rooms/%37?name=Ann HTTP/1.1\r\nHost: a\r\n\r\n", 100)?;
    /// assert_eq!(request.target(), "/rooms/%37?name=Ann");
    /// assert_eq!(request.path(), "/rooms/%37");
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path, as it came: not percent-decoded, without the query, never empty. It begins with `/`, but
    /// for the `*` of an OPTIONS.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let request = Request::parse(b"GET http://a.example?x HTTP/1.1\r\nHost: b\r\n\r\n", 100)?;
    /// assert_eq!(request.path(), "/");
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn path(&self) -> &'a str {
        self.parts.path
    }

    /// The first value of this name in the query, percent-decoded, `+` as a space; empty where the name
    /// stands alone.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let request = Request::parse(b"GET /?to=a%26b&now&to=c HTTP/1.1\r\nHost: a\r\n\r\n", 100)?;
    /// assert_eq!(request.query("to").as_deref(), Some("a&b"));
    /// assert_eq!(request.query("now").as_deref(), Some(""));
    /// assert_eq!(request.query("from"), None);
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    ///
    /// A `%` without two hexadecimal digits behind it is kept; bytes that are not UTF-8 become U+FFFD.
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        self.parts.value(name)
    }

    /// Whether the version is 1.0: to be answered, never upgraded.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nHost: a\r\n\
    ///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// let request = Request::parse(head, 100)?;
    /// assert!(request.is_http_1_0() && !request.is_upgrade());
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn is_http_1_0(&self) -> bool {
        self.is_http_1_0
    }

    /// The first header of this name, in any case: its value without the spaces around it.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let request = Request::parse(b"GET / HTTP/1.1\r\nhost:  a \r\n\r\n", 100)?;
    /// assert_eq!(request.header("Host"), Some(&b"a"[..]));
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers(name).next()
    }

    /// The values of all headers of this name, in any case, in their order.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 first\r\nvia: 1.1 second\r\n\r\n";
    /// let request = Request::parse(head, 100)?;
    /// assert_eq!(request.headers("Via").collect::<Vec<_>>(), [&b"1.1 first"[..], b"1.1 second"]);
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        values(&self.headers, name)
    }

    /// The first cookie of this name, which is the one of the longest path; without the quotes around it.
    /// None when it is not UTF-8. Names are told apart by case.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ID=1; id=\"2\"; id=3\r\n\r\n";
    /// let request = Request::parse(head, 100)?;
    /// assert_eq!((request.cookie("id"), request.cookie("session")), (Some("2"), None));
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        let pairs = self.headers("Cookie").flat_map(|value| value.split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| {
            let equals = memchr::memchr(b'=', pair)?;
            (pair[..equals].trim_ascii() == name.as_bytes()).then(|| pair[equals + 1..].trim_ascii())
        });
        let value = values.next()?;
        let unquoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        str::from_utf8(unquoted.unwrap_or(value)).ok()
    }

    /// Where the page came from that asks, as browsers tell: `https://example.org`, or `null`. Also none
    /// when it is not UTF-8: to let only your own pages in, ask [`is_same_origin`](Request::is_same_origin),
    /// or those of others [`origin_is_one_of`](Request::origin_is_one_of), which are not fooled by that.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"GET / HTTP/1.1\r\nHost: a.example\r\nOrigin: https://b.example\r\n\r\n";
    /// let request = Request::parse(head, 100)?;
    /// assert_eq!(request.origin(), Some("https://b.example"));
    /// assert!(!request.is_same_origin(true));
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn origin(&self) -> Option<&'a str> {
        str::from_utf8(self.header("Origin")?).ok()
    }

    /// The host that is asked, with the port where one is given: that of an absolute target, or else the
    /// Host header's. None when it is empty, and in HTTP/1.0 when there is none.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let request = Request::parse(b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", 100)?;
    /// assert_eq!(request.host(), Some("a.example:8080"));
    /// let request = Request::parse(b"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 100)?;
    /// assert_eq!(request.host(), Some("b.example"));
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn host(&self) -> Option<&'a str> {
        if self.parts.host.is_some() {
            return self.parts.host;
        }
        str::from_utf8(self.header("Host")?).ok().filter(|host| !host.is_empty())
    }

    /// Whether there is no Origin (no browser), or its scheme is ours and its host and port are the
    /// [`host`](Request::host)'s, with the default port filled in (RFC 6454, 5).
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"GET / HTTP/1.1\r\nHost: a.example\r\nOrigin: https://A.example:443\r\n\r\n";
    /// let request = Request::parse(head, 100)?;
    /// assert!(request.is_same_origin(true));
    /// assert!(!request.is_same_origin(false)); // https is not http
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    ///
    /// `is_tls` says how the browser came: behind a proxy that ends TLS, it is true though the
    /// connection here is plain. An Origin of `null`, or one that cannot be read, is another one.
    pub fn is_same_origin(&self, is_tls: bool) -> bool {
        let Some(origin) = self.header("Origin") else { return true };
        let (Ok(origin), Some(host)) = (str::from_utf8(origin), self.host()) else { return false };
        authority::is_same_origin(origin, host, is_tls)
    }

    /// Whether there is no Origin (no browser), or it is one of these: `https://example.org`, compared as
    /// [`is_same_origin`](Request::is_same_origin) compares.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"GET / HTTP/1.1\r\nHost: api.example\r\nOrigin: https://A.example:443\r\n\r\n";
    /// let request = Request::parse(head, 100)?;
    /// assert!(request.origin_is_one_of(&["https://b.example", "https://a.example"]));
    /// assert!(!request.origin_is_one_of(&["http://a.example", "https://example"]));
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    ///
    /// An Origin of `null`, or one that cannot be read, is none of them, whatever they are; so is whatever is
    /// compared with something that is no origin, such as one with a path or a lone `/` at its end.
    pub fn origin_is_one_of(&self, allowed: &[impl AsRef<str>]) -> bool {
        let Some(origin) = self.header("Origin") else { return true };
        let Ok(origin) = str::from_utf8(origin) else { return false };
        allowed.iter().any(|allowed| authority::are_same_origins(origin, allowed.as_ref()))
    }

    /// The subprotocols that the client offers, its favourite first; several headers are one list. What is
    /// not a token is passed by; a WebSocket is not to be had then ([`is_upgrade`](Request::is_upgrade)).
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: cbor, json\r\n\
    ///     Sec-WebSocket-Protocol: xml\r\n\r\n";
    /// let request = Request::parse(head, 100)?;
    /// assert_eq!(request.protocols().collect::<Vec<_>>(), ["cbor", "json", "xml"]);
    /// assert_eq!(request.protocols().find(|name| ["json", "xml"].contains(name)), Some("json"));
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> {
        let offered = self.headers("Sec-WebSocket-Protocol").flat_map(members);
        offered.filter(|name| is_token(name)).filter_map(|name| str::from_utf8(name).ok())
    }

    /// The values of Sec-WebSocket-Extensions, as they came.
    ///
    /// ```
    /// # use wheelhouse_websocket::{deflate::Config, http::Request};
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    /// let request = Request::parse(head, 100)?;
    /// let (agreed, _) = Config::default().answer(request.extensions()).unwrap();
    /// assert_eq!(agreed.server_max_window_bits, 15);
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn extensions(&self) -> impl Iterator<Item = &'a [u8]> {
        self.headers("Sec-WebSocket-Extensions")
    }

    /// Whether a body follows the head.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n";
    /// assert!(Request::parse(head, 100)?.has_body());
    /// assert!(!Request::parse(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 100)?.has_body());
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn has_body(&self) -> bool {
        let length = self.header("Content-Length").unwrap_or_default();
        self.header("Transfer-Encoding").is_some() || length.iter().any(|digit| *digit != b'0')
    }

    /// What must hold of the headers of any request, so that no one between us and the client can have
    /// understood it differently (RFC 9112, 3.2 and 6.3; RFC 9110, 8.6).
    fn check_headers(&self) -> Result<(), Refused> {
        for (name, what) in SINGLE {
            if self.headers(name).nth(1).is_some() {
                return Err(Refused::bad(what));
            }
        }

        match self.header("Host") {
            None if !self.is_http_1_0 => return Err(Refused::bad("a request without a Host")),
            None | Some([]) => {}
            Some(host) if str::from_utf8(host).is_ok_and(|host| Authority::parse(host).is_some()) => {}
            Some(_) => return Err(Refused::bad("a malformed Host")),
        }

        let length = self.header("Content-Length");
        if length.is_some_and(|digits| digits.is_empty() || !digits.iter().all(u8::is_ascii_digit)) {
            return Err(Refused::bad("a Content-Length that is not a number"));
        }
        if self.header("Transfer-Encoding").is_some() {
            if length.is_some() {
                return Err(Refused::bad("Content-Length beside Transfer-Encoding"));
            }
            if self.is_http_1_0 {
                return Err(Refused::bad("Transfer-Encoding in HTTP/1.0"));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.headers.iter().map(|header| header.name);
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("headers", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

fn refusal(error: httparse::Error) -> Refused {
    match error {
        httparse::Error::HeaderName => Refused::bad("a malformed header name, or a folded line"),
        _ => Refused::bad("a malformed header value"),
    }
}

/// A request's first line (RFC 9112, 3).
struct RequestLine<'a> {
    method: &'a str,
    target: &'a str,
    is_http_1_0: bool,
    /// With its line end.
    len: usize,
}

impl<'a> RequestLine<'a> {
    fn parse(head: &'a [u8]) -> Result<RequestLine<'a>, Refused> {
        const BAD: Refused = Refused::bad("a malformed request line");
        let end = memchr::memchr(b'\r', head).filter(|end| head.get(end + 1) == Some(&b'\n')).ok_or(BAD)?;
        let mut words = head[..end].split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BAD);
        };
        let is_http_1_0 = match version.strip_prefix(b"HTTP/") {
            Some(b"1.0") => true,
            Some([b'1', b'.', b'1'..=b'9']) => false,
            // As in the preface of RFC 9113, 3.4.
            Some([b'0'..=b'9', b'.', b'0'..=b'9']) => {
                return Err(Refused { status: 505, what: "a version of HTTP other than 1.x" });
            }
            _ => return Err(BAD),
        };
        if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
            return Err(BAD);
        }
        let text = |bytes| str::from_utf8(bytes).map_err(|_| BAD);
        Ok(RequestLine { method: text(method)?, target: text(target)?, is_http_1_0, len: end + 2 })
    }
}

/// Headers of which there is at most one.
const SINGLE: [(&str, &str); 5] = [
    ("Host", "more than one Host"),
    ("Content-Length", "more than one Content-Length"),
    ("Origin", "more than one Origin"),
    ("Sec-WebSocket-Key", "more than one Sec-WebSocket-Key"),
    ("Sec-WebSocket-Version", "more than one Sec-WebSocket-Version"),
];
