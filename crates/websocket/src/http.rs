//! The opening handshake (RFC 6455, 4) and as much of HTTP/1.1 (RFC 9112) as stands around it.
//!
//! A server looks for the end of the head, parses it once, and answers:
//!
//! ```
//! use wheelhouse_websocket::http::{Answer, Request, head_end, write_accept};
//!
//! let came = b"GET /chat?room=7 HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n<the first frame>";
//! let mut searched = 0;
//! let mut out = Vec::new();
//!
//! let end = head_end(came, &mut searched).unwrap(); // none: read on, and give up at your limit with 431
//! match Request::parse(&came[..end], 100) {
//!     Ok(request) => match request.key().filter(|_| request.is_upgrade()) {
//!         Some(key) => write_accept(&mut out, key, None, None, &[]),
//!         None => Answer::new(426).write(&mut out, request.method() == "HEAD"),
//!     },
//!     Err(refused) => refused.answer().write(&mut out, false),
//! }
//! assert!(out.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! assert_eq!(&came[end..], b"<the first frame>");
//! ```
//!
//! A client writes a [`Hello`] and verifies what comes back.
//!
//! # What is refused
//!
//! Whatever two readers could understand differently is 400: bare LF, folded lines, a space before a
//! colon, Content-Length beside Transfer-Encoding, and a second Host, Origin, Content-Length,
//! Sec-WebSocket-Key or Sec-WebSocket-Version. So is a request of HTTP/1.1 without a Host (RFC 9112, 3.2).
//! And so is a target with what is not ASCII: browsers percent-encode it. A request of HTTP/1.0 is parsed
//! and to be answered, but never upgraded. Bodies are never read: the answer says `Connection: close`, and
//! what follows is to be discarded.

mod accept;
mod answer;
mod authority;
mod field;
mod head;
mod hello;
mod invalid;
mod offer;
mod refused;
mod request;
mod status;
mod target;
mod upgrade;
mod welcome;

pub(crate) use self::field::is_token;

pub use self::accept::{accept_key, check_accept_header, write_accept};
pub use self::answer::Answer;
pub use self::field::check_header;
pub use self::head::head_end;
pub use self::hello::Hello;
pub use self::invalid::Invalid;
pub use self::refused::Refused;
pub use self::request::Request;
pub use self::status::reason_phrase;
pub use self::welcome::{NotWelcome, Welcome};
