//! Whether a request gets its WebSocket (RFC 6455, 4.2.1).

use std::str;

use crate::deflate::extension;
use crate::http::field::{has_member, is_list_of_tokens};
use crate::http::upgrade::{Upgrade, is_key};
use crate::http::{Refused, Request};

impl<'a> Request<'a> {
    /// Whether a WebSocket is asked for and can be had (RFC 6455, 4.2.1): by GET and HTTP/1.1, from a Host,
    /// with `Upgrade: websocket`, a Connection that names it, a key of 16 bytes in base64, version 13, and no
    /// body; and where it offers subprotocols and extensions, known ones or others, by lists that are well-formed.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    ///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// assert!(Request::parse(head, 100)?.is_upgrade());
    /// assert!(!Request::parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 100)?.is_upgrade());
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn is_upgrade(&self) -> bool {
        matches!(self.upgrade, Upgrade::Possible)
    }

    /// The Sec-WebSocket-Key, where it is well-formed.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::{Request, accept_key};
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    /// let request = Request::parse(head, 100)?;
    /// assert_eq!(request.key().map(accept_key), Some(*b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    pub fn key(&self) -> Option<&'a str> {
        str::from_utf8(self.header("Sec-WebSocket-Key")?).ok().filter(|key| is_key(key))
    }

    /// What is to be answered to a request that asks for a WebSocket (`Upgrade: websocket`, by HTTP/1.1) and
    /// cannot have one. None when it asks for none, or can have it.
    ///
    /// ```
    /// # use wheelhouse_websocket::http::Request;
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    ///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n";
    /// let refused = Request::parse(head, 100)?.upgrade_fault().unwrap();
    /// assert_eq!(refused.status, 426);
    /// # Ok::<(), wheelhouse_websocket::http::Refused>(())
    /// ```
    ///
    /// 405: a method other than GET. 426: no version, or one other than 13. 400: anything else.
    pub fn upgrade_fault(&self) -> Option<Refused> {
        match self.upgrade {
            Upgrade::Faulty(refused) => Some(refused),
            Upgrade::Unasked | Upgrade::Possible => None,
        }
    }

    pub(super) fn judge_upgrade(&self) -> Upgrade {
        // RFC 9110, 7.8: an Upgrade in a request of HTTP/1.0 is to be ignored.
        if self.is_http_1_0() || !self.names("Upgrade", "websocket") {
            return Upgrade::Unasked;
        }
        if self.method() != "GET" {
            return Upgrade::Faulty(Refused { status: 405, what: "a WebSocket is asked for by GET" });
        }
        if self.header("Sec-WebSocket-Version") != Some(b"13") {
            return Upgrade::Faulty(Refused { status: 426, what: "the version of WebSocket here is 13" });
        }
        let fault = if !self.names("Connection", "upgrade") {
            "an Upgrade that Connection does not name"
        } else if self.host().is_none() {
            "a WebSocket asked for from no host"
        } else if self.key().is_none() {
            "a Sec-WebSocket-Key that is not 16 bytes in base64"
        } else if self.header(PROTOCOL).is_some() && !is_list_of_tokens(self.headers(PROTOCOL)) {
            "a Sec-WebSocket-Protocol that is no list of tokens"
        } else if self.extensions().next().is_some() && !extension::is_list(self.extensions()) {
            "a Sec-WebSocket-Extensions that is no list of extensions"
        } else if self.has_body() {
            "a body where the frames should begin"
        } else {
            return Upgrade::Possible;
        };
        Upgrade::Faulty(Refused::bad(fault))
    }

    fn names(&self, header: &str, member: &str) -> bool {
        has_member(self.headers(header), member)
    }
}

const PROTOCOL: &str = "Sec-WebSocket-Protocol";
