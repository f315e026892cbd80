//! The two ends of a connection in memory, and what lies between them.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use rustls_stable::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use wheelhouse::{
    Tls, TlsClient, TlsError,
    internals::{Phase, TlsSession},
};

use crate::pki::{Authority, Pem};

/// Our end, as the engine drives it: what is left of one read is put in front of the next.
pub(crate) struct Ours {
    pub(crate) session: TlsSession,
    pub(crate) left: Vec<u8>,
    pub(crate) plain: Vec<u8>,
    pub(crate) out: Vec<u8>,
    pub(crate) phase: Phase,
}

impl Ours {
    pub(crate) fn server(tls: &Tls) -> Self {
        Ours::of(TlsSession::server(tls).unwrap(), Vec::new())
    }

    pub(crate) fn client(client: &TlsClient) -> Self {
        let mut out = Vec::new();
        Ours::of(TlsSession::client(client, &mut out).unwrap(), out)
    }

    fn of(session: TlsSession, out: Vec<u8>) -> Self {
        Ours { session, left: Vec::new(), plain: Vec::new(), out, phase: Phase::Handshaking }
    }

    pub(crate) fn give(&mut self, bytes: &[u8]) {
        let mut all = [&self.left, bytes].concat();
        let received = self.session.receive(&mut all, &mut self.out);
        assert!(received.plain.end <= received.left.start && received.left.end == all.len(), "{received:?}");
        assert_eq!(received.missing == 0, received.left.is_empty(), "{received:?}");
        self.plain.extend_from_slice(&all[received.plain]);
        self.left = all[received.left].to_vec();
        self.phase = received.phase;
    }

    pub(crate) fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn send(&mut self, plain: &[u8]) {
        self.session.send(&[plain], &mut self.out).unwrap();
    }

    pub(crate) fn failure(&self) -> &TlsError {
        match &self.phase {
            Phase::Failed(error) => error,
            other => panic!("it did not fail: {other:?}"),
        }
    }
}

/// The other end: rustls of another version, with buffers of its own.
pub(crate) struct Theirs {
    pub(crate) conn: Connection,
    pub(crate) plain: Vec<u8>,
    /// `close_notify` came.
    pub(crate) is_closed: bool,
    pub(crate) error: Option<rustls_stable::Error>,
}

impl Theirs {
    pub(crate) fn client(config: Arc<ClientConfig>, name: &'static str) -> Self {
        Theirs::of(ClientConnection::new(config, ServerName::try_from(name).unwrap()).unwrap().into())
    }

    pub(crate) fn server(config: Arc<ServerConfig>) -> Self {
        Theirs::of(ServerConnection::new(config).unwrap().into())
    }

    fn of(mut conn: Connection) -> Self {
        conn.set_buffer_limit(None);
        Theirs { conn, plain: Vec::new(), is_closed: false, error: None }
    }

    pub(crate) fn give(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.error.is_none() && !self.is_closed {
            self.conn.read_tls(&mut bytes).unwrap();
            match self.conn.process_new_packets() {
                Ok(state) => {
                    let at = self.plain.len();
                    self.plain.resize(at + state.plaintext_bytes_to_read(), 0);
                    self.conn.reader().read_exact(&mut self.plain[at..]).unwrap();
                    self.is_closed = state.peer_has_closed();
                }
                Err(error) => {
                    // What came in front of an alert.
                    let _ = self.conn.reader().read_to_end(&mut self.plain);
                    self.error = Some(error);
                }
            }
        }
    }

    pub(crate) fn take_out(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut out).unwrap();
        }
        out
    }

    pub(crate) fn send(&mut self, plain: &[u8]) {
        self.conn.writer().write_all(plain).unwrap();
    }

    pub(crate) fn was_resumed(&self) -> bool {
        self.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        &self.conn.peer_certificates().unwrap()[0]
    }
}

/// Carries what each has to say to the other until both are silent.
pub(crate) fn carry(ours: &mut Ours, theirs: &mut Theirs) {
    loop {
        let (to_ours, to_theirs) = (theirs.take_out(), ours.take_out());
        if to_ours.is_empty() && to_theirs.is_empty() {
            return;
        }
        theirs.give(&to_theirs);
        if !to_ours.is_empty() {
            ours.give(&to_ours);
        }
    }
}

/// The same between two of ours.
pub(crate) fn carry_ours(a: &mut Ours, b: &mut Ours) {
    while !(a.out.is_empty() && b.out.is_empty()) {
        let (to_a, to_b) = (b.take_out(), a.take_out());
        if !to_a.is_empty() {
            a.give(&to_a);
        }
        if !to_b.is_empty() {
            b.give(&to_b);
        }
    }
}

pub(crate) fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(der(&authority.certificate())).unwrap();
    Arc::new(roots)
}

/// A foreign client that trusts the authority and shows a certificate if it has one.
pub(crate) fn client_config(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    own: Option<&Pem>,
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots(authority));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_auth_cert(vec![der(&own.certificate)], key(own)).unwrap(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A foreign server, which may ask for a client's certificate.
pub(crate) fn server_config(
    own: &Pem,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<&Authority>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(roots(authority), provider).build().unwrap(),
        ),
    };
    Arc::new(builder.with_single_cert(vec![der(&own.certificate)], key(own)).unwrap())
}

fn key(own: &Pem) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap()
}
