//! What goes over a connection, and what has to come back.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::ValueEnum;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::{PATIENCE_MS, connect};
use crate::websocket::{accept, end_of_head, header, mask};

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Over {
    /// Bytes as they come.
    #[default]
    Tcp,
    /// WebSocket, binary messages.
    Ws,
    /// WebSocket with permessage-deflate, nothing carried over between messages: JSON in text messages.
    WsDeflate,
    /// Bytes as they come, over TLS.
    Tls,
    /// WebSocket over TLS.
    Wss,
}

/// Connections that are on their way in at a time: the shortest backlog of a server here has room for 512.
const BATCH: usize = 256;

impl Over {
    /// Whether it is sealed: then connections are opened by [`super::sealed`].
    #[must_use]
    pub fn is_sealed(self) -> bool {
        self != self.inside()
    }

    /// What is spoken under the seal.
    pub(super) fn inside(self) -> Self {
        match self {
            Over::Tls => Over::Tcp,
            Over::Wss => Over::Ws,
            open => open,
        }
    }

    /// Opens connections that are ready for messages, non-blocking. Upgrades are asked for in batches: one after the
    /// other they take minutes where the machine has other things to do.
    ///
    /// # Errors
    ///
    /// What the system refused, or a server that does not upgrade.
    pub(super) fn open(self, to: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
        if self.is_sealed() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{self:?} is not spoken here")));
        }
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            let begin = sockets.len();
            for index in begin..count.min(begin + BATCH) {
                let socket = connect(to, index)?;
                if self != Over::Tcp {
                    socket.set_nonblocking(false)?;
                    socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into())))?;
                    ask_to_upgrade(&socket, self == Over::WsDeflate)?;
                }
                sockets.push(socket);
            }
            for socket in sockets[begin..].iter().filter(|_| self != Over::Tcp) {
                see_upgraded(socket, self == Over::WsDeflate)?;
                socket.set_nonblocking(true)?;
            }
        }
        Ok(sockets)
    }
}

/// Messages that differ between connections, and from one to the next.
pub(super) struct Wire {
    over: Over,
    /// Written and awaited by turns; one only, where it is stamped anew each time.
    bursts: Vec<Burst>,
}

struct Burst {
    question: Vec<u8>,
    answer: Vec<u8>,
}

/// Masks are not drawn anew for each message: what they cost is the load's alone.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Compressed messages cannot be stamped: connections and bursts take turns with so many.
const VARIANTS: u64 = 61;

impl Wire {
    /// Bursts of `depth` messages of `size` bytes each. What a compressed one comes back as is the server's choice: it
    /// is asked once for each, on a connection of its own, and must then say the same to everyone.
    ///
    /// # Errors
    ///
    /// Those of asking.
    pub(super) fn new(to: SocketAddr, over: Over, size: usize, depth: usize) -> io::Result<Self> {
        let payload: Vec<u8> = (0..size * depth).map(|at| (at % 251) as u8).collect();
        let over = over.inside();
        let bursts = match over {
            Over::Tcp | Over::Tls => vec![Burst { question: payload.clone(), answer: payload }],
            Over::Ws | Over::Wss => {
                let messages = || (0..depth).map(|at| &payload[at * size..(at + 1) * size]);
                let question = messages().flat_map(|message| client_frame(0x82, message)).collect();
                let answer = messages().flat_map(|message| server_frame(0x82, message)).collect();
                vec![Burst { question, answer }]
            }
            Over::WsDeflate => {
                let [socket] = &over.open(to, 1)?[..] else { return Err(io::ErrorKind::NotConnected.into()) };
                socket.set_nonblocking(false)?;
                (0..VARIANTS)
                    .map(|variant| learn(socket, &json(size, variant), depth))
                    .collect::<Result<_, _>>()?
            }
        };
        Ok(Self { over, bursts })
    }

    /// What a burst sends.
    pub(super) fn question(&mut self, connection: usize, burst: u64) -> &[u8] {
        &self.burst(connection, burst).question
    }

    /// What has to come back.
    pub(super) fn answer(&mut self, connection: usize, burst: u64) -> &[u8] {
        &self.burst(connection, burst).answer
    }

    /// The longest answer, in bytes.
    pub(super) fn longest_answer(&self) -> usize {
        self.bursts.iter().map(|burst| burst.answer.len()).max().unwrap_or(0)
    }

    /// Each says which connection's and which burst it is: an answer meant for another one or sent twice is found out.
    fn burst(&mut self, connection: usize, number: u64) -> &Burst {
        let stamp = (connection as u64) << 40 | number;
        let which = match self.over {
            Over::Tcp | Over::Ws | Over::Tls | Over::Wss => 0,
            Over::WsDeflate => (connection as u64 + number) % VARIANTS,
        };
        let burst = &mut self.bursts[which as usize];
        match self.over {
            Over::Tcp | Over::Tls => {
                stamp_at(0, &mut burst.question, stamp, [0; 4]);
                stamp_at(0, &mut burst.answer, stamp, [0; 4]);
            }
            Over::Ws | Over::Wss => {
                let head = server_head_length(burst.answer[1]);
                stamp_at(head + 4, &mut burst.question, stamp, MASK);
                stamp_at(head, &mut burst.answer, stamp, [0; 4]);
            }
            Over::WsDeflate => {}
        }
        burst
    }
}

fn stamp_at(at: usize, bytes: &mut [u8], stamp: u64, masked: [u8; 4]) {
    let room = bytes.len().saturating_sub(at).min(8);
    let mut stamp = stamp.to_le_bytes();
    mask(&mut stamp, masked);
    bytes[at..at + room].copy_from_slice(&stamp[..room]);
}

/// A record such as a service would send: names that repeat, figures that do not.
fn json(size: usize, variant: u64) -> Vec<u8> {
    let mut text = String::from("{\"events\":[");
    let mut state = variant + 1;
    while text.len() + 100 < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (user, price) = (state >> 40, state >> 20 & 0xffff);
        text += &format!("{{\"user\":{user},\"kind\":\"order\",\"price\":{price},\"currency\":\"EUR\"}},");
    }
    let room = size.saturating_sub(text.len() + "{\"pad\":\"\"}]}".len());
    text += &format!("{{\"pad\":\"{}\"}}]}}", ".".repeat(room));
    text.into_bytes()
}

/// Asks once; what came back, if it means the same, is what must always come back.
fn learn(mut socket: &TcpStream, message: &[u8], depth: usize) -> io::Result<Burst> {
    let question = client_frame(0xc1, &deflated(message)?);
    socket.write_all(&question)?;
    let answer = read_frame(socket)?;
    let payload = &answer[server_head_length(answer[1])..];
    let means_the_same = match answer[0] {
        0xc1 => inflated(payload, message.len())? == message,
        0x81 => payload == message,
        _ => false,
    };
    if !means_the_same {
        return Err(invalid("the answer is not the question"));
    }
    Ok(Burst { question: question.repeat(depth), answer: answer.repeat(depth) })
}

/// As RFC 7692 wants it (7.2.1): raw, and without the four bytes at the end of a flush.
pub(super) fn deflated(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len() + 64);
    Compress::new(Compression::default(), false).compress_vec(message, &mut out, FlushCompress::Sync)?;
    match out.strip_suffix(&[0, 0, 0xff, 0xff]) {
        Some(out) => Ok(out.to_vec()),
        None => Err(invalid("a flush has no end")),
    }
}

fn inflated(payload: &[u8], expected: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(expected + 64);
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&whole, &mut out, FlushDecompress::Sync)?;
    Ok(out)
}

/// A masked frame (RFC 6455, 5.2).
pub(super) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len());
    frame[1] |= 0x80;
    frame.extend_from_slice(&MASK);
    let begin = frame.len();
    frame.extend_from_slice(payload);
    mask(&mut frame[begin..], MASK);
    frame
}

/// The same as a server sends it.
pub(super) fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len());
    frame.extend_from_slice(payload);
    frame
}

fn head(first: u8, length: usize) -> Vec<u8> {
    match length {
        0..126 => vec![first, length as u8],
        126..65_536 => [&[first, 126], &(length as u16).to_be_bytes()[..]].concat(),
        _ => [&[first, 127], &(length as u64).to_be_bytes()[..]].concat(),
    }
}

fn server_head_length(second: u8) -> usize {
    match second {
        127 => 10,
        126 => 4,
        _ => 2,
    }
}

/// One frame of less than 64 KiB, whole.
fn read_frame(mut socket: &TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    socket.read_exact(&mut frame)?;
    let length = match frame[1] {
        short @ 0..126 => usize::from(short),
        126 => {
            let mut long = [0; 2];
            socket.read_exact(&mut long)?;
            frame.extend_from_slice(&long);
            usize::from(u16::from_be_bytes(long))
        }
        _ => return Err(invalid("a frame that is too long, or masked")),
    };
    let begin = frame.len();
    frame.resize(begin + length, 0);
    socket.read_exact(&mut frame[begin..])?;
    Ok(frame)
}

/// What a key is does not matter to a server, only that it answers to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The handshake of a client (RFC 6455, 4.1).
pub(super) fn ask_to_upgrade(mut socket: impl Write, deflate: bool) -> io::Result<()> {
    socket.write_all(request(deflate).as_bytes())
}

pub(super) fn request(deflate: bool) -> String {
    let offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let extensions = if deflate { format!("Sec-WebSocket-Extensions: {offer}\r\n") } else { String::new() };
    format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extensions}\r\n"
    )
}

pub(super) fn see_upgraded(mut socket: impl Read, deflate: bool) -> io::Result<()> {
    let mut answer = Vec::new();
    while end_of_head(&answer).is_none() {
        let mut more = [0; 1024];
        match socket.read(&mut more)? {
            0 => return Err(invalid("the server closed instead of upgrading")),
            read => answer.extend_from_slice(&more[..read]),
        }
    }
    // A server has nothing to say before it is asked: bytes behind the head are an error too.
    let is_upgraded = answer.starts_with(b"HTTP/1.1 101 ")
        && end_of_head(&answer) == Some(answer.len())
        && header(&answer, "sec-websocket-accept") == Some(&accept(KEY));
    let agreed = header(&answer, "sec-websocket-extensions").unwrap_or_default();
    let is_agreed = !deflate && agreed.is_empty()
        || deflate
            && agreed.starts_with("permessage-deflate")
            && agreed.contains("server_no_context_takeover");
    match is_upgraded && is_agreed {
        true => Ok(()),
        false => Err(invalid(&format!("no upgrade: {:?}", String::from_utf8_lossy(&answer)))),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_each_length_have_the_head_of_the_rfc() {
        assert_eq!(client_frame(0x81, b"Hello"), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        assert_eq!(server_frame(0x82, &[7; 256])[..5], [0x82, 126, 1, 0, 7]);
        assert_eq!(server_frame(0x82, &[7; 65_536])[..11], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, 7]);
    }

    #[test]
    fn an_answer_to_another_connection_or_to_an_earlier_burst_is_not_the_one_awaited() {
        for over in [Over::Tcp, Over::Ws] {
            let mut wire = Wire::new("127.0.0.1:9".parse().unwrap(), over, 64, 2).unwrap();
            let answers = [(1, 1), (1, 2), (2, 1)].map(|(index, burst)| wire.answer(index, burst).to_vec());
            assert!(answers[0] != answers[1] && answers[0] != answers[2] && answers[1] != answers[2]);
            assert_eq!(wire.question(1, 1).len(), answers[0].len() + if over == Over::Ws { 8 } else { 0 });
        }
    }

    #[test]
    fn json_is_as_long_as_asked_for_and_comes_back_from_deflate() {
        for variant in 0..VARIANTS {
            let text = json(1024, variant);
            assert_eq!(text.len(), 1024);
            let packed = deflated(&text).unwrap();
            assert!(packed.len() < 700, "{}", packed.len());
            assert_eq!(inflated(&packed, 1024).unwrap(), text);
        }
        assert_ne!(json(1024, 1), json(1024, 2));
    }
}
