//! A client that writes what it likes: requests, frames right and wrong; written after RFC 6455 and not after the engine.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::fixture::{self, Ending, connect, read_to_end, within};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A request for a WebSocket, with more header lines.
pub(crate) fn request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// An answer, or the head of one.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", bytes.escape_ascii()));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    /// The values of all headers of that name.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// Whole, and the last: its length is announced and right, and the end of the connection too.
    pub(crate) fn assert_is_last(&self) {
        // A 426 names Upgrade as well (RFC 9110, 7.8).
        let says_close =
            self.header("Connection").is_some_and(|value| value.split(", ").any(|what| what == "close"));
        assert!(says_close, "{}", self.head);
        let length: usize = self.header("Content-Length").unwrap().parse().unwrap();
        assert_eq!(length, self.body.len(), "{}", self.head);
    }
}

/// Writes all that, whoever reads it, and tells what came back until the end, which must not be a reset.
pub(crate) fn ask(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = connect(to);
    let writer = thread::spawn({
        let (mut stream, bytes) = (stream.try_clone().unwrap(), bytes.to_vec());
        move || stream.write_all(&bytes)
    });
    let (answer, ending) = read_to_end(&mut stream);
    assert_eq!(ending, Ending::Eof, "after {}", answer.escape_ascii());
    let answer = Answer::parse(&answer);
    answer.assert_is_last();
    drop(stream);
    // It may have been cut short by the end, but must not hang.
    let _ = within("the rest is written", move || writer.join().unwrap());
    answer
}

/// A frame as a client writes it, masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    let key = [0x3a, 0x5c, 0x91, 0x07];
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The header of a masked frame up to its key.
pub(crate) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..126 => header.push(0x80 | len as u8),
        126..0x1_0000 => {
            header.push(0x80 | 126);
            header.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend_from_slice(&len.to_be_bytes());
        }
    }
    header
}

/// A whole text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(0x80 | TEXT, text.as_bytes())
}

/// A close with a code.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(0x80 | CLOSE, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// A client whose WebSocket is open.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn open(to: SocketAddr) -> Client {
        Client::open_over(connect(to), "")
    }

    pub(crate) fn open_with(to: SocketAddr, headers: &str) -> Client {
        Client::open_over(connect(to), headers)
    }

    pub(crate) fn open_over(mut stream: TcpStream, headers: &str) -> Client {
        stream.write_all(request("/", headers).as_bytes()).unwrap();
        let answer = read_head(&mut stream);
        assert_eq!(answer.status, 101, "{}", answer.head);
        // RFC 6455, 1.3: this key has this answer.
        assert_eq!(answer.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Client { stream }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame, which must not be masked: its first byte and its payload. None at the end.
    pub(crate) fn try_read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            Err(error) => panic!("no frame came: {error}"),
        }
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let len = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.read_array())),
            127 => u64::from_be_bytes(self.read_array()),
            len => u64::from(len),
        };
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        Some((head[0], payload))
    }

    fn read_array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn read(&mut self) -> (u8, Vec<u8>) {
        self.try_read().expect("the connection ended")
    }

    pub(crate) fn expect_text(&mut self, text: &str) {
        let (first, payload) = self.read();
        assert_eq!((first, &*String::from_utf8_lossy(&payload)), (0x80 | TEXT, text));
    }

    pub(crate) fn echo(&mut self, said: &str) {
        self.write(&text(said));
        self.expect_text(said);
    }

    /// Reads up to the close frame; its code, how many frames came before it, and that nothing follows it but FIN.
    pub(crate) fn read_close(&mut self) -> (u16, usize) {
        for before in 0.. {
            let (first, payload) = self.read();
            if first == 0x80 | CLOSE {
                let code = match payload.len() {
                    0 => 1005,
                    _ => u16::from_be_bytes([payload[0], payload[1]]),
                };
                let rest = read_to_end(&mut self.stream);
                assert_eq!(rest, (Vec::new(), Ending::Eof), "after the close");
                return (code, before);
            }
        }
        unreachable!("the loop has no end of its own")
    }

    /// Is told this code at once.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) {
        assert_eq!(self.read_close(), (code, 0));
    }
}

/// The head of an answer, byte by byte: what follows stays in the socket.
pub(crate) fn read_head(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {}", bytes.escape_ascii()));
        bytes.push(byte[0]);
    }
    Answer::parse(&bytes)
}

/// A client of the same reactor that goes on talking while something happens to it.
pub(crate) struct Quiet {
    thread: thread::JoinHandle<usize>,
    is_over: Arc<AtomicBool>,
}

impl Quiet {
    pub(crate) fn talk(to: SocketAddr) -> Quiet {
        let is_over = Arc::new(AtomicBool::new(false));
        let (seen, mut client) = (is_over.clone(), Client::open(to));
        client.echo("before");
        let thread = thread::spawn(move || {
            let mut echoes = 0;
            loop {
                client.echo("quiet");
                echoes += 1;
                if seen.load(Ordering::Relaxed) {
                    break;
                }
            }
            // Once more, after it.
            client.echo("after");
            client.write(&close(1000, ""));
            assert_eq!(client.read_close(), (1000, 0));
            echoes
        });
        Quiet { thread, is_over }
    }

    /// Every message of it was answered meanwhile, and it had its turns.
    #[track_caller]
    pub(crate) fn was_served(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let echoes = within("the quiet one ends", move || self.thread.join().expect("it was not served"));
        assert!(echoes > 0);
    }
}

/// The most memory that this process has had so far, in bytes.
pub(crate) fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes << 10
}

/// Waits until the engine has no connections any more.
pub(crate) fn wait_until_empty(handle: &wheelhouse::Handle) {
    fixture::eventually("all are gone", || handle.count() == 0);
}
