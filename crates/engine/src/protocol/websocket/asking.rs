//! What one who dials asks the server for.

use wheelhouse_websocket::http::{Hello, Invalid};

use super::WebSocket;
use crate::{Error, Result};

/// # What one who dials asks for
impl WebSocket {
    /// The page it comes from (`Origin`); none by default.
    ///
    /// ```
    /// use wheelhouse::{Connect, Framing, On, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let socket = Framing::websocket(WebSocket::new().origin("https://example.org"));
    /// bench.handle().connect(On::Any, Connect::to("ws://192.0.2.1/news").framing(socket))?;
    /// let id = bench.dialled()[0].id;
    /// bench.connected(id);
    /// let request = String::from_utf8(bench.output(id)).expect("headers");
    /// assert!(request.contains("\r\nOrigin: https://example.org\r\n"));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// A subprotocol that is spoken here, the preferred one first; [`Conn::subprotocol`](crate::Conn::subprotocol) tells which
    /// one the server chose.
    ///
    /// ```
    /// use wheelhouse::{Connect, Framing, On, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let socket = Framing::websocket(WebSocket::new().subprotocol("cbor").subprotocol("json"));
    /// bench.handle().connect(On::Any, Connect::to("ws://192.0.2.1/news").framing(socket))?;
    /// let id = bench.dialled()[0].id;
    /// bench.connected(id);
    /// let request = String::from_utf8(bench.output(id)).expect("headers");
    /// assert!(request.contains("\r\nSec-WebSocket-Protocol: cbor, json\r\n"));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// One more header of the request.
    ///
    /// ```
    /// use wheelhouse::{Connect, Error, Framing, On, WebSocket, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let dial = |name: &str, value: &str| {
    ///     let socket = Framing::websocket(WebSocket::new().header(name, value));
    ///     bench.handle().connect(On::Any, Connect::to("ws://192.0.2.1/news").framing(socket))
    /// };
    /// assert!(dial("Authorization", "Bearer 8x3").is_ok());
    /// assert!(matches!(dial("Host", "another.example"), Err(Error::BadOption { .. }))); // the engine's own
    /// let id = bench.dialled()[0].id;
    /// bench.connected(id);
    /// assert!(bench.output(id).ends_with(b"\r\nAuthorization: Bearer 8x3\r\n\r\n"));
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl WebSocket {
    /// What a client asks the server of that name for.
    pub(crate) fn hello(&self, host: &str, target: &str) -> Result<Hello> {
        let mut hello = Hello::new(host, target).map_err(not_carried)?;
        if let Some(origin) = &self.origin {
            hello = hello.origin(origin).map_err(not_carried)?;
        }
        for name in &self.subprotocols {
            hello = hello.protocol(name).map_err(not_carried)?;
        }
        for (name, value) in &self.headers {
            hello = hello.header(name, value).map_err(not_carried)?;
        }
        if let Some(deflate) = &self.deflate {
            // Contexts are offered where there is a place for them when the request leaves.
            hello = hello.extensions(&deflate.config(false).offer()).map_err(not_carried)?;
        }
        Ok(hello)
    }
}

fn not_carried(invalid: Invalid) -> Error {
    let value = match invalid {
        Invalid::HeaderName { name } => format!("a header named {name:?}"),
        Invalid::HeaderValue { name, value } => format!("header {name} with {value:?}"),
        Invalid::ReservedHeader { name } => format!("header {name}, which the engine writes itself,"),
        Invalid::Protocol { protocol } => format!("a subprotocol named {protocol:?}"),
        Invalid::RepeatedProtocol { protocol } => format!("subprotocol {protocol} a second time"),
        other => format!("what was given ({other})"),
    };
    let allowed = "what a request can carry: tokens, and values without line ends".into();
    Error::BadOption { option: "websocket", value, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_request_can_carry_is_told_in_a_sentence() {
        let ask = WebSocket::new;
        for (wrong, told) in [
            (ask().header("a b", "c"), r#"a header named "a b" is not allowed"#),
            (ask().header("a", "b\r\nc"), r#"header a with "b\r\nc" is not allowed"#),
            (ask().header("Host", "a"), "header Host, which the engine writes itself, is not allowed"),
            (ask().origin("a\nb"), r#"header Origin with "a\nb" is not allowed"#),
            (ask().subprotocol("a b"), r#"a subprotocol named "a b" is not allowed"#),
            (ask().subprotocol("a").subprotocol("a"), "subprotocol a a second time is not allowed"),
        ] {
            let error = wrong.validate().unwrap_err().to_string();
            assert!(error.starts_with(&format!("option `websocket`: {told}; allowed: ")), "{error}");
        }
    }
}
