//! What is answered to a request that cannot be served.

use crate::http::Answer;

/// A request that cannot be served as it stands: the status to answer, and which rule it broke.
///
/// ```
/// use wheelhouse_websocket::http::Request;
///
/// let refused = Request::parse(b"GET / HTTP/1.1\nHost: a\n\n", 100).unwrap_err();
/// assert_eq!(refused.status, 400);
/// assert_eq!(refused.to_string(), "a line that ends in a bare LF (400)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({status})")]
pub struct Refused {
    /// The status: 400, 405, 426, 431, 501 or 505, where this crate found the fault.
    pub status: u16,
    /// Which rule, for people.
    pub what: &'static str,
}

impl Refused {
    /// The answer that tells the peer: with the headers that its status asks for, and the rule as its body.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Refused;
    ///
    /// let mut out = Vec::new();
    /// Refused { status: 431, what: "too long a head" }.answer().write(&mut out, false);
    /// assert!(out.starts_with(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"));
    /// assert!(out.ends_with(b"\r\n\r\ntoo long a head\n"));
    /// ```
    pub fn answer(&self) -> Answer {
        let answer = Answer::new(self.status).body("text/plain; charset=utf-8", format!("{}\n", self.what));
        // RFC 9110, 15.5.6: a 405 says what is allowed.
        if self.status == 405 { answer.with("Allow", "GET") } else { answer }
    }

    pub(super) const fn bad(what: &'static str) -> Refused {
        Refused { status: 400, what }
    }
}
