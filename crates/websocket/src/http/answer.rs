//! What a server answers when there is no WebSocket to be had.

use crate::http::field::{check_header, is_value, write_field};
use crate::http::{Invalid, reason_phrase};

/// An answer that is the connection's last: status, headers and body.
///
/// ```
/// use wheelhouse_websocket::http::Answer;
///
/// let mut out = Vec::new();
/// Answer::new(200).header("Cache-Control", "no-store")?.body("text/plain", "fine").write(&mut out, false);
/// assert_eq!(
///     String::from_utf8_lossy(&out),
///     "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\
///      Connection: close\r\n\r\nfine"
/// );
/// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
/// ```
///
/// It always says `Connection: close`, and Content-Length wherever that is allowed. This crate knows no clock:
/// who has one gives the [`date`](Answer::date).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    date: Option<String>,
    mime: String,
    body: Vec<u8>,
}

impl Answer {
    /// An answer without a body. A status that cannot be a last answer (below 200 or above 599) becomes 500.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Answer;
    ///
    /// assert_eq!(Answer::new(404).status(), 404);
    /// assert_eq!(Answer::new(101).status(), 500);
    /// ```
    ///
    /// A 426 says by itself what to upgrade to: `Upgrade: websocket` and `Sec-WebSocket-Version: 13`.
    pub fn new(status: u16) -> Answer {
        let status = if matches!(status, 200..=599) { status } else { 500 };
        Answer { status, headers: Vec::new(), date: None, mime: String::new(), body: Vec::new() }
    }

    /// Adds a header; two of one name are both sent.
    ///
    /// ```
    /// use wheelhouse_websocket::http::{Answer, Invalid};
    ///
    /// let answer = Answer::new(401).header("WWW-Authenticate", "Bearer")?;
    /// let mut out = Vec::new();
    /// answer.write(&mut out, false);
    /// assert!(out.starts_with(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n"));
    /// let error = answer.header("Content-Length", "7").unwrap_err();
    /// assert!(matches!(error, Invalid::ReservedHeader { name } if name == "Content-Length"));
    /// # Ok::<(), Invalid>(())
    /// ```
    ///
    /// # Errors
    /// As [`check_header`] has them.
    pub fn header(self, name: &str, value: &str) -> Result<Answer, Invalid> {
        check_header(name, value)?;
        Ok(self.with(name, value))
    }

    /// When it is made, which a server with a clock says in answers of 2xx, 3xx and 4xx (RFC 9110, 6.6.1). A Date
    /// among the headers goes before it, and a text that cannot stand in a header is left out.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Answer;
    ///
    /// let mut out = Vec::new();
    /// Answer::new(404).date("Sun, 06 Nov 1994 08:49:37 GMT").write(&mut out, false);
    /// assert!(out.starts_with(b"HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    /// ```
    pub fn date(mut self, date: &str) -> Answer {
        self.date = is_value(date).then(|| date.to_owned());
        self
    }

    /// The body, and what it is: `text/html; charset=utf-8`. A Content-Type among the headers goes before
    /// `mime`, and one that cannot stand in a header is replaced by `application/octet-stream`.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Answer;
    ///
    /// let mut out = Vec::new();
    /// Answer::new(200).body("text/html", "<p>Hello</p>").write(&mut out, true); // as an answer to HEAD
    /// assert!(out.ends_with(b"\r\nContent-Length: 12\r\nConnection: close\r\n\r\n"));
    /// ```
    pub fn body(mut self, mime: &str, bytes: impl Into<Vec<u8>>) -> Answer {
        let is_fit = !mime.is_empty() && is_value(mime);
        self.mime = if is_fit { mime } else { "application/octet-stream" }.to_owned();
        self.body = bytes.into();
        self
    }

    /// The status: what [`new`](Answer::new) made of the one it was given.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Writes all of it behind what is in `out`. The answer to a HEAD (`is_head`) tells the body's length and
    /// leaves the body out; 204, 205 and 304 never have one.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Answer;
    ///
    /// let page = Answer::new(200).body("text/plain", "fine");
    /// let (mut get, mut head) = (Vec::new(), Vec::new());
    /// page.write(&mut get, false);
    /// page.write(&mut head, true);
    /// assert_eq!(get, [&head[..], b"fine"].concat());
    /// ```
    pub fn write(&self, out: &mut Vec<u8>, is_head: bool) {
        self.write_head(out, self.body.len());
        if !is_head && self.may_have_body() {
            out.extend_from_slice(&self.body);
        }
    }

    /// Writes the head alone, for a body of `length` bytes that is held elsewhere and sent behind it.
    ///
    /// ```
    /// use wheelhouse_websocket::http::Answer;
    ///
    /// let page: &'static [u8] = b"<p>Hello</p>"; // one for all who ask
    /// let mut out = Vec::new();
    /// Answer::new(200).header("Content-Type", "text/html")?.write_head(&mut out, page.len());
    /// assert!(out.ends_with(b"Content-Length: 12\r\nConnection: close\r\n\r\n"));
    /// # Ok::<(), wheelhouse_websocket::http::Invalid>(())
    /// ```
    pub fn write_head(&self, out: &mut Vec<u8>, length: usize) {
        let has_body = length > 0 && self.may_have_body();
        let status = self.status.to_string();
        for part in ["HTTP/1.1 ", &status, " ", reason_phrase(self.status), "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }

        for (name, value) in &self.headers {
            write_field(out, name, value);
        }
        if let Some(date) = self.date.as_ref().filter(|_| !self.has("Date")) {
            write_field(out, "Date", date);
        }
        if self.status == 426 {
            for (name, value) in [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")] {
                if !self.has(name) {
                    write_field(out, name, value);
                }
            }
        }
        if has_body && !self.mime.is_empty() && !self.has("Content-Type") {
            write_field(out, "Content-Type", &self.mime);
        }
        // RFC 9110, 8.6: a 204 must not have a length, and a 304 only that of what it does not send.
        if !matches!(self.status, 204 | 304) {
            write_field(out, "Content-Length", if has_body { length } else { 0 }.to_string());
        }
        // RFC 9110, 7.8: an Upgrade is named by Connection.
        let names_upgrade = self.status == 426 || self.has("Upgrade");
        write_field(out, "Connection", if names_upgrade { "close, Upgrade" } else { "close" });
        out.extend_from_slice(b"\r\n");
    }

    /// Whether a body may follow the head: 204, 205 and 304 never have one. (Nor has the answer to a HEAD.)
    ///
    /// ```
    /// use wheelhouse_websocket::http::Answer;
    ///
    /// assert!(Answer::new(200).may_have_body());
    /// assert!(!Answer::new(304).may_have_body());
    /// ```
    pub fn may_have_body(&self) -> bool {
        !matches!(self.status, 204 | 205 | 304)
    }

    /// Adds a header that is known to be fit.
    pub(super) fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    }
}
