//! The other end: rustls of another version than the engine's, over plain sockets.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls_stable::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};

use crate::{
    fixture::{PATIENCE, connect, impatient},
    pki::{Authority, Pem, authority},
};

pub(crate) type Client<S = TcpStream> = StreamOwned<ClientConnection, S>;
pub(crate) type Server = StreamOwned<ServerConnection, TcpStream>;

pub(crate) const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A client's configuration, before it is shared.
pub(crate) fn config() -> ClientConfig {
    config_with(&BOTH, None)
}

pub(crate) fn config_with(versions: &[&'static SupportedProtocolVersion], own: Option<&Pem>) -> ClientConfig {
    trusting(&authority().certificate(), versions, own)
}

pub(crate) fn trusting(
    root: &str,
    versions: &[&'static SupportedProtocolVersion],
    own: Option<&Pem>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(der(root)).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_auth_cert(vec![der(&own.certificate)], key(own)).unwrap(),
    }
}

/// A server's, for those that the engine dials.
pub(crate) fn server_config(own: &Pem) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&BOTH).unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![der(&own.certificate)], key(own)).unwrap())
}

pub(crate) fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn key(own: &Pem) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap()
}

/// A strange authority's certificate is of no use.
pub(crate) fn strangers() -> Pem {
    Authority::new().signs("localhost")
}

/// Connects, and shakes hands.
#[track_caller]
pub(crate) fn secure(to: SocketAddr) -> Client {
    over(connect(to), config())
}

/// Shakes hands on a connection that is there.
#[track_caller]
pub(crate) fn over<S: Read + Write>(socket: S, config: impl Into<Arc<ClientConfig>>) -> Client<S> {
    named("localhost", socket, config)
}

#[track_caller]
pub(crate) fn named<S: Read + Write>(
    name: &'static str,
    mut socket: S,
    config: impl Into<Arc<ClientConfig>>,
) -> Client<S> {
    let mut session = session(name, config);
    session.complete_io(&mut socket).expect("the handshake");
    StreamOwned::new(session, socket)
}

/// A client without a socket.
pub(crate) fn session(name: &'static str, config: impl Into<Arc<ClientConfig>>) -> ClientConnection {
    let mut session = ClientConnection::new(config.into(), ServerName::try_from(name).unwrap()).unwrap();
    session.set_buffer_limit(None);
    session
}

/// What a client says first.
pub(crate) fn hello() -> Vec<u8> {
    out_of(&mut session("localhost", config()))
}

/// The server's part on a connection that was accepted.
#[track_caller]
pub(crate) fn served(mut socket: TcpStream, config: Arc<ServerConfig>) -> Server {
    impatient(&socket);
    let mut session = ServerConnection::new(config).unwrap();
    session.complete_io(&mut socket).expect("the handshake");
    StreamOwned::new(session, socket)
}

/// All that a session wants written.
pub(crate) fn out_of(session: &mut ClientConnection) -> Vec<u8> {
    let mut out = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut out).unwrap();
    }
    out
}

/// These bytes as records, to be cut and written by hand.
pub(crate) fn sealed<S: Read + Write>(client: &mut Client<S>, plain: &[u8]) -> Vec<u8> {
    client.conn.writer().write_all(plain).unwrap();
    out_of(&mut client.conn)
}

/// Says goodbye, and reads what comes until the other side has said it too.
pub(crate) fn goodbye(client: &mut Client) -> Vec<u8> {
    client.conn.send_close_notify();
    client.flush().unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("the other side's close_notify");
    rest
}

/// The same for one who was dialled, and has read all.
pub(crate) fn goodbye_of(server: &mut Server) {
    server.conn.send_close_notify();
    server.flush().unwrap();
}

/// Writes all of it, and reads meanwhile until so many bytes have come: neither side waits for the other.
#[track_caller]
pub(crate) fn exchange(client: &mut Client, bytes: &[u8], expected: usize) -> Vec<u8> {
    client.sock.set_nonblocking(true).unwrap();
    client.conn.set_buffer_limit(Some(64 << 10));
    let until = Instant::now() + 2 * PATIENCE;
    let (mut sent, mut received) = (0, Vec::new());
    while sent < bytes.len() || received.len() < expected || client.conn.wants_write() {
        assert!(
            Instant::now() < until,
            "{sent} of {} went, {} of {expected} came",
            bytes.len(),
            received.len()
        );
        sent += client.conn.writer().write(&bytes[sent..]).unwrap();
        let written = client.conn.wants_write() && progress(client.conn.write_tls(&mut client.sock));
        let read = progress(client.conn.read_tls(&mut client.sock));
        if read {
            let state = client.conn.process_new_packets().unwrap();
            let at = received.len();
            received.resize(at + state.plaintext_bytes_to_read(), 0);
            client.conn.reader().read_exact(&mut received[at..]).unwrap();
        }
        if !written && !read {
            thread::sleep(Duration::from_micros(100));
        }
    }
    client.sock.set_nonblocking(false).unwrap();
    received
}

#[track_caller]
fn progress(moved: std::io::Result<usize>) -> bool {
    match moved {
        Ok(0) => panic!("the connection ended"),
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}
