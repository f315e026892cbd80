//! What comes in front of a connection's bytes where a proxy speaks first: the PROXY protocol, written out once more and
//! independently of the engine's reader.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::random::Random;

/// The first bytes of a proxied connection.
pub(super) struct Preface {
    pub(super) bytes: Vec<u8>,
    pub(super) says: Says,
}

/// What they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It is this client's.
    Client(SocketAddr),
    /// A whole header that names nobody: the proxy's own address counts.
    Nobody,
    /// No header, and nothing that becomes one.
    Nonsense,
    /// A header that ends too early.
    Torn,
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

impl Preface {
    /// `gentle`: a proxy that keeps the rules.
    pub(super) fn draw(random: &mut Random, client: SocketAddr, gentle: bool) -> Preface {
        if !gentle && random.one_in(8) {
            return Preface { bytes: nonsense(random), says: Says::Nonsense };
        }
        let (bytes, says) = if random.one_in(2) { line(random, client) } else { binary(random, client) };
        if !gentle && random.one_in(10) {
            let bytes = bytes[..random.below(bytes.len())].to_vec();
            return Preface { bytes, says: Says::Torn };
        }
        Preface { bytes, says }
    }
}

/// Version 1 (PROXY protocol, 2.1).
fn line(random: &mut Random, client: SocketAddr) -> (Vec<u8>, Says) {
    if random.one_in(4) {
        let junk = random.below(80);
        let junk = String::from_utf8(random.letters(junk)).unwrap_or_default();
        let line =
            if junk.is_empty() { "PROXY UNKNOWN\r\n".into() } else { format!("PROXY UNKNOWN {junk}\r\n") };
        return (line.into_bytes(), Says::Nobody);
    }
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (ip, to) = (client.ip(), if client.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" });
    let line = format!("PROXY {family} {ip} {to} {} 443\r\n", client.port());
    (line.into_bytes(), Says::Client(client))
}

/// Version 2 (PROXY protocol, 2.2), with more behind the addresses than anybody reads.
fn binary(random: &mut Random, client: SocketAddr) -> (Vec<u8>, Says) {
    const LONGEST: usize = 4096 - 16 - 216;
    let extra = if random.one_in(3) { random.below(LONGEST) } else { random.below(40) };
    let extra = random.letters(extra);
    let port = client.port().to_be_bytes();
    let (command, family, addresses, says) = match random.below(6) {
        0 => (0x20, random.next() as u8, random.letters(8), Says::Nobody),
        // From a Unix socket, and over UDP.
        1 => (0x21, 0x31, vec![0; 216], Says::Nobody),
        2 => (0x21, 0x12, vec![0; 12], Says::Nobody),
        _ => match client {
            SocketAddr::V4(from) => {
                let to = Ipv4Addr::new(192, 0, 2, 1).octets();
                let block = [&from.ip().octets()[..], &to, &port, &[0, 80]].concat();
                (0x21, 0x11, block, Says::Client(client))
            }
            SocketAddr::V6(from) => {
                let to = Ipv6Addr::LOCALHOST.octets();
                let block = [&from.ip().octets()[..], &to, &port, &[0, 80]].concat();
                (0x21, 0x21, block, Says::Client(client))
            }
        },
    };
    let length = ((addresses.len() + extra.len()) as u16).to_be_bytes();
    let bytes = [SIGNATURE, &[command, family], &length, &addresses, &extra].concat();
    (bytes, says)
}

/// What no reader may believe.
fn nonsense(random: &mut Random) -> Vec<u8> {
    let v2 = |rest: &[u8]| [SIGNATURE, rest].concat();
    match random.below(9) {
        0 => b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec(),
        1 => b"PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n".to_vec(),
        2 => b"PROXY TCP6 10.0.0.1 ::1 1 2\r\n".to_vec(),
        3 => b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n".to_vec(),
        4 => [b"PROXY UNKNOWN ", &random.letters(100)[..]].concat(),
        5 => v2(&[0x31, 0x11, 0, 12]),
        6 => v2(&[0x22, 0x11, 0, 12]),
        7 => v2(&[0x21, 0x11, 0x10, 0]),
        _ => v2(&[0x21, 0x11, 0, 11]),
    }
}
