//! A WebSocket by a client that is not ours, and plain HTTP.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    io::{ErrorKind::Interrupted, Read, Write},
    net::TcpStream,
};

use tungstenite::{
    Bytes, Error, Message, WebSocket, client::IntoClientRequest as _, handshake::client::Response,
    http::HeaderName, protocol::CloseFrame,
};

use crate::common::{address_in, connect};

pub(crate) struct Socket {
    stream: WebSocket<TcpStream>,
}

/// Asks for a WebSocket, with more headers.
pub(crate) fn ask(
    url: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<(Socket, Response), Box<Response>> {
    let mut request = format!("{url}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    match tungstenite::client(request, connect(address_in(url))) {
        Ok((stream, response)) => Ok((Socket { stream }, response)),
        Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => Err(response),
        // A signal of another test: the request is made anew.
        Err(tungstenite::HandshakeError::Failure(Error::Io(error))) if error.kind() == Interrupted => {
            ask(url, path, headers)
        }
        Err(other) => panic!("{other}"),
    }
}

impl Socket {
    pub(crate) fn open(url: &str, path: &str) -> Socket {
        ask(url, path, &[]).unwrap_or_else(|refused| panic!("{}", refused.status())).0
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.send(Message::text(text)).unwrap();
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.send(Message::binary(Bytes::copy_from_slice(bytes))).unwrap();
    }

    /// The next message; pings are passed by.
    pub(crate) fn next(&mut self) -> Message {
        loop {
            match self.stream.read().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                other => return other,
            }
        }
    }

    pub(crate) fn hear(&mut self) -> String {
        match self.next() {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?} is no text"),
        }
    }

    pub(crate) fn hear_bytes(&mut self) -> Vec<u8> {
        match self.next() {
            Message::Binary(bytes) => bytes.to_vec(),
            other => panic!("{other:?} is not binary"),
        }
    }

    /// The code of the close frame that comes next.
    pub(crate) fn hear_close(&mut self) -> Option<u16> {
        match self.next() {
            Message::Close(frame) => frame.map(|CloseFrame { code, .. }| code.into()),
            other => panic!("{other:?} is no close"),
        }
    }

    /// Closes, and waits for the server's part of it.
    pub(crate) fn close(mut self) {
        self.stream.close(None).unwrap();
        while self.stream.read().is_ok() {}
    }
}

/// Everything that is answered to a request, up to the end.
pub(crate) fn http(url: &str, head: &str) -> String {
    let mut stream = connect(address_in(url));
    write!(stream, "{head}\r\nHost: {}\r\n\r\n", address_in(url)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
