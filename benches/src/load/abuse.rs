//! Quiet WebSocket connections twice alone, and beside others that abuse the protocols.
//!
//! The abusers are cheap: what they send was made before, so that the load delays the quiet ones no more than it must. A
//! hello is the same each time, and who sent it leaves with the answer: the signature and the key exchange, which are what a
//! full handshake costs, the server has made by then.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::ValueEnum;
use nix::errno::Errno;
use serde_json::{Value, json};

use super::disturbed;
use super::quiet::Beside;
use super::wire::{client_frame, deflated, request};
use super::{Over, socket};
use crate::secure;

/// What the abusers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One sends pings without end; when it is closed, another does.
    Pings,
    /// One sends messages that are as many fragments as may be, and has them answered.
    Fragments,
    /// One sends a short message that inflates to 10 MB; when it is closed, another does.
    Bombs,
    /// One sends short messages without end that inflate to all that is allowed, and has them answered.
    Zeros,
    /// Many begin a TLS handshake, and never go on.
    Stalls,
    /// Many begin a TLS handshake, and leave with the answer.
    Hellos,
    /// Many send messages as long as they are taken, and never read an answer.
    NeverRead,
    /// Many send the head of a request byte by byte, until they are turned away; then others do.
    Loris,
    /// One sends a head of 1 MiB; when it is turned away, another does.
    Heads,
    /// One sends a head of 10,000 lines; when it is turned away, another does.
    Lines,
    /// One sends a frame without a mask; when it is closed, another does.
    Unmasked,
    /// One announces a message of 2^63 bytes; when it is closed, another does.
    Endless,
    /// Many send the records of a TLS handshake byte by byte, and leave with the answer.
    Bytes,
    /// Many send half a frame, and leave with a reset.
    Resets,
}

/// Traffic to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The quiet connections, over WebSocket, which the abusers disturb.
    pub disturbed: disturbed::Plan,
    /// Where WebSocket is spoken over TLS.
    pub wss: SocketAddr,
    /// What the abusers do.
    pub kind: Kind,
}

/// Those who stall.
const STALLED: usize = 1_000;

/// Those who never read: together they stay below what the server has for buffers.
const UNREADING: usize = 200;

/// Bytes in a message of those who never read.
const UNREAD: usize = 8 << 10;

/// Handshakes at a time.
const AT_ONCE: usize = 16;

/// Fragments of a message, a byte each: nearly as many as the server allows.
const FRAGMENTS: usize = 1_000;

/// Bytes of a head that is too long, and lines of one that has too many.
const HEAD: usize = 1 << 20;
const LINES: usize = 10_000;

/// What a bomb inflates to.
const BLAST: usize = 10 << 20;

/// What a message inflates to that is taken, and how many of them are made.
const MOST: usize = 1 << 20;
const SWOLLEN: usize = 10;

/// What those who never read have of the kernel's buffers, each way.
const RECEIVE_BUFFER: usize = 2 << 10;
const SEND_BUFFER: usize = 16 << 10;

/// Runs the plan; the line the runner reads, with the abusers that came, those that ended, and the bytes taken of them.
///
/// # Errors
///
/// What the system refused, an answer that is not the question or does not come, or abuse that did not happen.
pub fn run(plan: &Plan) -> io::Result<Value> {
    plan.disturbed.run(Over::Ws, |quiet| {
        let mut abusers = Abusers::new(plan)?;
        let abused = quiet.stretch(plan.disturbed.quiet.stretch, Some(&mut abusers))?;
        abusers.check()?;
        Ok((abused, json!({ "came": abusers.came, "ended": abusers.ended, "bytes": abusers.sent })))
    })
}

struct Abusers {
    kind: Kind,
    to: SocketAddr,
    /// What each begins with, and what it then sends without end.
    opening: Vec<u8>,
    chunk: Vec<u8>,
    all: Vec<Option<Abuser>>,
    /// Who is next to go on.
    next: usize,
    inbox: Vec<u8>,
    came: u64,
    ended: u64,
    sent: u64,
    /// Those of whom the server takes no more.
    stuck: usize,
}

struct Abuser {
    socket: TcpStream,
    sent: usize,
    is_stuck: bool,
}

impl Abusers {
    fn new(plan: &Plan) -> io::Result<Self> {
        let upgrade = |deflate| request(deflate).into_bytes();
        let (opening, chunk, at_once) = match plan.kind {
            Kind::Pings => (upgrade(false), client_frame(0x89, b"ping").repeat(1_600), 1),
            Kind::Fragments => (upgrade(false), fragments(), 1),
            Kind::Bombs => (upgrade(true), client_frame(0xc2, &deflated(&vec![0; BLAST])?), 1),
            Kind::Zeros => (upgrade(true), client_frame(0xc2, &deflated(&vec![0; MOST])?).repeat(SWOLLEN), 1),
            Kind::Stalls => {
                let mut hello = hello()?;
                hello.truncate(hello.len() / 2);
                (hello, Vec::new(), STALLED)
            }
            Kind::Hellos => (hello()?, Vec::new(), AT_ONCE),
            Kind::NeverRead => (upgrade(false), client_frame(0x82, &[b'?'; UNREAD]), UNREADING),
            Kind::Loris => (head(&format!("X-Slow: {}\r\n", "?".repeat(HEAD))), Vec::new(), STALLED),
            Kind::Heads => (head(&format!("X-Long: {}\r\n", "?".repeat(HEAD))), Vec::new(), 1),
            Kind::Lines => (head(&"X-Many: ?\r\n".repeat(LINES)), Vec::new(), 1),
            Kind::Unmasked => (upgrade(false), b"\x82\x01?".to_vec(), 1),
            Kind::Endless => (upgrade(false), ENDLESS.to_vec(), 1),
            Kind::Bytes => (hello()?, Vec::new(), AT_ONCE),
            Kind::Resets => (upgrade(false), b"\x82\xfe\x10\x00".to_vec(), AT_ONCE),
        };
        let is_tls = matches!(plan.kind, Kind::Stalls | Kind::Hellos | Kind::Bytes);
        let to = if is_tls { plan.wss } else { plan.disturbed.quiet.to };
        let all = (0..at_once).map(|_| None).collect();
        let inbox = vec![0; 16 << 10];
        Ok(Self {
            kind: plan.kind,
            to,
            opening,
            chunk,
            all,
            next: 0,
            inbox,
            came: 0,
            ended: 0,
            sent: 0,
            stuck: 0,
        })
    }

    /// Whether it was the abuse it is called.
    fn check(&self) -> io::Result<()> {
        let stuck = self.stuck;
        let happened = match self.kind {
            Kind::Pings | Kind::Bombs => self.ended > 0,
            Kind::Fragments => self.ended == 0 && self.sent > 100 * self.chunk.len() as u64,
            Kind::Zeros => self.ended == 0 && self.sent > 10 * self.chunk.len() as u64,
            Kind::Stalls => self.ended == STALLED as u64,
            Kind::Loris => self.ended > 0 && self.sent > 100 * self.ended,
            Kind::Hellos
            | Kind::Heads
            | Kind::Lines
            | Kind::Unmasked
            | Kind::Endless
            | Kind::Bytes
            | Kind::Resets => self.ended > 100,
            Kind::NeverRead => self.ended == 0 && stuck == UNREADING,
        };
        match happened {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{:?}: {} came, {} ended, {stuck} are stuck, {} bytes were taken",
                self.kind, self.came, self.ended, self.sent
            ))),
        }
    }

    fn connect(&mut self) -> io::Result<Abuser> {
        let socket = socket(self.to, self.came as usize)?;
        match self.kind {
            Kind::NeverRead => {
                socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
                socket.set_send_buffer_size(SEND_BUFFER)?;
            }
            Kind::Loris | Kind::Bytes => socket.set_tcp_nodelay(true)?,
            Kind::Resets => socket.set_linger(Some(Duration::ZERO))?,
            _ => {}
        }
        match socket.connect(&self.to.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
            _ => {}
        }
        self.came += 1;
        Ok(Abuser { socket: socket.into(), sent: 0, is_stuck: false })
    }

    /// Lets one send what the kernel takes, and forget what came; whether it is still there.
    fn go_on_as(&mut self, abuser: &mut Abuser) -> bool {
        let rest = match abuser.sent.checked_sub(self.opening.len()) {
            None => &self.opening[abuser.sent..],
            Some(_) if self.chunk.is_empty() => &[],
            Some(sent) => &self.chunk[sent % self.chunk.len()..],
        };
        let rest =
            if matches!(self.kind, Kind::Loris | Kind::Bytes) { &rest[..rest.len().min(1)] } else { rest };
        if !rest.is_empty() {
            self.stuck -= usize::from(abuser.is_stuck);
            match abuser.socket.write(rest) {
                Ok(sent) => {
                    abuser.sent += sent;
                    abuser.is_stuck = false;
                    self.sent += sent as u64;
                }
                Err(error) if is_for_later(&error) => abuser.is_stuck = true,
                Err(_) => return false,
            }
            self.stuck += usize::from(abuser.is_stuck);
        }
        if self.kind == Kind::NeverRead {
            return true;
        }
        match abuser.socket.read(&mut self.inbox) {
            Ok(0) => false,
            // Who has the server's part of a handshake leaves.
            Ok(_) => !matches!(self.kind, Kind::Hellos | Kind::Bytes | Kind::Resets),
            Err(error) => is_for_later(&error),
        }
    }
}

impl Beside for Abusers {
    fn go_on(&mut self, pours: bool) -> io::Result<()> {
        let index = self.next;
        self.next = (index + 1) % self.all.len();
        match self.all[index].take() {
            Some(mut abuser) => match self.go_on_as(&mut abuser) {
                true => self.all[index] = Some(abuser),
                false => self.ended += 1,
            },
            None => {
                let once = matches!(self.kind, Kind::Stalls | Kind::NeverRead);
                if pours && !(once && self.came >= self.all.len() as u64) {
                    self.all[index] = Some(self.connect()?);
                }
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        match self.kind {
            Kind::Stalls => self.ended >= STALLED as u64,
            Kind::NeverRead => self.stuck == UNREADING,
            _ => true,
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

/// The most that a length may be (RFC 6455, 5.2), and one more: its first bit is set.
const ENDLESS: &[u8] = &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A request that never ends.
fn head(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: here\r\n{fields}").into_bytes()
}

/// A message in fragments of one byte (RFC 6455, 5.4).
fn fragments() -> Vec<u8> {
    let middle = client_frame(0x00, b"?").repeat(FRAGMENTS - 2);
    [client_frame(0x02, b"?"), middle, client_frame(0x80, b"?")].concat()
}

/// What a client begins a handshake with.
fn hello() -> io::Result<Vec<u8>> {
    let (mut tls, mut hello) = (secure::Client::new()?.begin()?, Vec::new());
    while tls.wants_write() {
        tls.write_tls(&mut hello)?;
    }
    Ok(hello)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_fragments_begins_once_and_ends_once() {
        let fragments = fragments();
        let firsts: Vec<u8> = fragments.chunks(7).map(|frame| frame[0]).collect();
        assert_eq!(firsts.len(), FRAGMENTS);
        assert_eq!((firsts[0], firsts[1], firsts[FRAGMENTS - 1]), (0x02, 0x00, 0x80));
    }

    #[test]
    fn a_bomb_is_small_and_a_hello_is_a_record_of_a_handshake() {
        assert!(deflated(&vec![0; BLAST]).unwrap().len() < 16 << 10);
        assert_eq!(hello().unwrap()[0], 22);
    }
}
