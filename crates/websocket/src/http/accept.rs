//! How a server says yes (RFC 6455, 4.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::http::Invalid;
use crate::http::field::{check_header, is_one_of, is_token, is_value, write_field};

/// Writes the answer that opens a WebSocket, behind what is in `out`. `key` is the request's
/// [`key`](crate::http::Request::key).
///
/// ```
/// use wheelhouse_websocket::http::write_accept;
///
/// let mut out = Vec::new();
/// write_accept(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", Some("chat"), None, &[("X-Room".into(), "7".into())]);
/// assert_eq!(
///     String::from_utf8_lossy(&out),
///     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\nX-Room: 7\r\n\r\n"
/// );
/// ```
///
/// `subprotocol` must be one of those that the request offers: that is for the caller to see to, who may
/// answer long after the request is gone.
///
/// Nothing is written that would break the head: a subprotocol that is not a token, extensions that are no
/// value, a header that [`check_accept_header`] refuses, are left out. Check them where they are given, to tell
/// who gives them.
pub fn write_accept(
    out: &mut Vec<u8>,
    key: &str,
    subprotocol: Option<&str>,
    extensions: Option<&str>,
    headers: &[(String, String)],
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    write_field(out, "Sec-WebSocket-Accept", accept_key(key));
    if let Some(name) = subprotocol.filter(|name| is_token(name.as_bytes())) {
        write_field(out, "Sec-WebSocket-Protocol", name);
    }
    if let Some(agreed) = extensions.filter(|agreed| !agreed.is_empty() && is_value(agreed)) {
        write_field(out, "Sec-WebSocket-Extensions", agreed);
    }
    for (name, value) in headers {
        if check_accept_header(name, value).is_ok() {
            write_field(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a header may be given to [`write_accept`].
///
/// ```
/// use wheelhouse_websocket::http::{Invalid, check_accept_header};
///
/// assert!(check_accept_header("Set-Cookie", "a=b").is_ok());
/// let refused = check_accept_header("upgrade", "h2c");
/// assert!(matches!(refused, Err(Invalid::ReservedHeader { name }) if name == "upgrade"));
/// ```
///
/// # Errors
/// As [`check_header`] has them; Upgrade, which it writes itself, and Sec-WebSocket-Version, which tells who is
/// refused what to ask for.
pub fn check_accept_header(name: &str, value: &str) -> Result<(), Invalid> {
    check_header(name, value)?;
    match is_one_of(name, &["Upgrade", "Sec-WebSocket-Version"]) {
        true => Err(Invalid::ReservedHeader { name: name.to_owned() }),
        false => Ok(()),
    }
}

/// What a server makes of a client's key, to show that it read it.
///
/// ```
/// use wheelhouse_websocket::http::accept_key;
///
/// assert_eq!(&accept_key("dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(28), "20 bytes are 28 digits");
    accept
}

/// RFC 6455, 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
