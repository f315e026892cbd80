use std::{ops::Range, sync::Arc};

use rustls::{ClientSide, Connection, ServerConfig, ServerSide, Tcp};

use super::{
    Tls, TlsClient, TlsError, TlsInfo,
    link::{HEADER, Link},
    opening::{Opening, UNEXPECTED, opening},
};

/// One connection's TLS, of either side: ciphertext in, plaintext out, and the other way round. It keeps no bytes.
///
/// The state that a connection needs is boxed, so that this is two words wide.
#[derive(Debug)]
pub struct Session(Side);

#[derive(Debug)]
enum Side {
    /// Accepted; whether it has begun to speak TLS.
    Server(Box<Link<ServerSide>>, bool),
    /// Dialled, and by which name.
    Client(Box<Link<ClientSide>>, Arc<str>),
}

/// What [`Session::receive`] made of the bytes it was given. Ranges are of those bytes; what lies outside both is garbage.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// The plaintext, of all records that were whole, in one piece.
    pub plain: Range<usize>,
    /// Ciphertext to be given again, unchanged, with more behind it. Always the end of the bytes.
    pub left: Range<usize>,
    /// How many bytes more make the record in `left` whole: exact where that is known, else 1; 0 where nothing is left.
    pub missing: usize,
    /// How the connection stands after these bytes.
    pub phase: Phase,
}

/// How a connection stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Phase {
    /// The handshake goes on: nothing can be sent.
    Handshaking,
    /// Both ways are open.
    Open,
    /// `close_notify` came: the peer sends nothing more. Without it, the stream's end is a truncation.
    Closed,
    /// No more can be received or sent; an alert for the peer has been put out. The plaintext beside it came before and is good.
    Failed(TlsError),
}

impl Session {
    /// A session for a connection that was accepted.
    ///
    /// # Errors
    /// [`TlsError::Internal`].
    pub fn server(tls: &Tls) -> Result<Session, TlsError> {
        let identity = tls.identity();
        Session::accepted(identity.config, identity.asks_for_certificates)
    }

    /// The same for one that is to carry a WebSocket: `http/1.1` is spoken where no application protocols were named.
    ///
    /// # Errors
    /// [`TlsError::Internal`].
    pub fn web_server(tls: &Tls) -> Result<Session, TlsError> {
        let identity = tls.identity();
        Session::accepted(identity.web, identity.asks_for_certificates)
    }

    fn accepted(config: Arc<ServerConfig>, asks_for_certificates: bool) -> Result<Session, TlsError> {
        let conn = Connection::<ServerSide, Tcp>::new(config)?;
        Ok(Session(Side::Server(Box::new(Link::new(conn, asks_for_certificates)), false)))
    }

    /// A session for a connection that was dialled; the first message of the handshake is put out.
    ///
    /// # Errors
    /// [`TlsError::Internal`].
    pub fn client(client: &TlsClient, out: &mut Vec<u8>) -> Result<Session, TlsError> {
        let conn = client.config().connect(client.server.clone()).build(out)?;
        Ok(Session(Side::Client(Box::new(Link::new(conn, true)), client.shared_name())))
    }

    /// Takes ciphertext: what was left the last time, unchanged, and what came since. Records are opened in place and their
    /// plaintext moved together. What the peer must hear (the handshake's answers, alerts) is appended to `out`.
    ///
    /// At most [`MAX_LEFT`](Session::MAX_LEFT) bytes are left, and before the handshake's end [`MAX_HANDSHAKE`] (with client
    /// certificates, and on the client's side, [`MAX_LONG_HANDSHAKE`]). The same bytes give the same result, however cut.
    ///
    /// [`MAX_HANDSHAKE`]: Session::MAX_HANDSHAKE
    /// [`MAX_LONG_HANDSHAKE`]: Session::MAX_LONG_HANDSHAKE
    pub fn receive(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> Received {
        let len = bytes.len();
        match &mut self.0 {
            Side::Server(link, has_begun) if !*has_begun => match opening(bytes) {
                Opening::Tls => {
                    *has_begun = true;
                    link.receive(bytes, out)
                }
                Opening::Unclear => {
                    Received { plain: 0..0, left: 0..len, missing: len.min(1), phase: Phase::Handshaking }
                }
                Opening::Other(error) => {
                    out.extend_from_slice(&UNEXPECTED);
                    *has_begun = true;
                    link.fail(0..0, len, error)
                }
            },
            Side::Server(link, _) => link.receive(bytes, out),
            Side::Client(link, _) => link.receive(bytes, out),
        }
    }

    /// Whether the next [`receive`](Session::receive) may make a signature, check one, or agree on keys: tens to hundreds of
    /// microseconds rather than one.
    pub fn is_expensive_next(&self) -> bool {
        match &self.0 {
            Side::Server(link, _) => {
                let has_keys = link.conn.negotiated_key_exchange_group().is_some();
                link.is_handshaking() && (!has_keys || link.is_long)
            }
            Side::Client(link, _) => link.is_handshaking(),
        }
    }

    /// How many unopened bytes may wait for [`receive`](Session::receive): while the handshake goes on no more than it may come
    /// to, `None` once it is over.
    pub fn most_unopened(&self) -> Option<usize> {
        match &self.0 {
            _ if !self.is_handshaking() => None,
            Side::Server(link, _) => Some(link.limit()),
            Side::Client(link, _) => Some(link.limit()),
        }
    }

    /// Seals plaintext, given in pieces, into records of at most 16 KiB, appended to `out`. Nothing makes nothing.
    ///
    /// A record costs 22 bytes of TLS 1.3 and 29 of TLS 1.2; nothing is allocated but what `out` lacks.
    ///
    /// # Errors
    /// [`TlsError::NotReady`] before the handshake's end, [`TlsError::Closed`] after [`close_notify`](Session::close_notify),
    /// and what ended the session. Nothing is put out then, unless the keys are used up, where `close_notify` is.
    pub fn send(&mut self, plain: &[&[u8]], out: &mut Vec<u8>) -> Result<(), TlsError> {
        match &mut self.0 {
            Side::Server(link, _) => link.send(plain, out),
            Side::Client(link, _) => link.send(plain, out),
        }
    }

    /// Puts out that no more will be sent, once. What comes can still be received.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        match &mut self.0 {
            Side::Server(link, _) => link.close_notify(out),
            Side::Client(link, _) => link.close_notify(out),
        }
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        match &self.0 {
            Side::Server(link, _) => link.is_handshaking(),
            Side::Client(link, _) => link.is_handshaking(),
        }
    }

    /// What was agreed on; nothing before the handshake's end.
    pub fn info(&self) -> Option<TlsInfo<'_>> {
        if self.is_handshaking() {
            return None;
        }
        match &self.0 {
            Side::Server(link, _) => {
                TlsInfo::new(&link.conn, link.conn.side().server_name().map(|name| name.as_ref()))
            }
            Side::Client(link, name) => TlsInfo::new(&link.conn, Some(name)),
        }
    }

    /// The most that is left of a record that is not whole (RFC 5246, 6.2.3; records of TLS 1.3 are smaller).
    pub const MAX_LEFT: usize = HEADER + 16 * 1024 + 2 * 1024;
    /// Bytes that one takes when its handshake is over, about, whoever holds them.
    pub const ABOUT: usize = 3 * 1024;
    /// The most that a client's handshake may come to.
    pub const MAX_HANDSHAKE: usize = 18 * 1024;
    /// The same where certificates are to be expected in it.
    pub const MAX_LONG_HANDSHAKE: usize = 66 * 1024;
}
