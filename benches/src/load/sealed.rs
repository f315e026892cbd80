//! Connections over TLS, by another version of rustls than the engine's.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls_stable::{ClientConnection, Stream};

use super::wire::{ask_to_upgrade, see_upgraded};
use super::{Over, PATIENCE_MS, connect};
use crate::secure;

/// A connection whose handshakes are over.
pub struct Client {
    pub(super) socket: TcpStream,
    tls: ClientConnection,
}

impl Client {
    /// Opens connections one after the other, each ready for messages and blocking.
    ///
    /// # Errors
    ///
    /// What the system or rustls refused, or a server that does not upgrade.
    pub(super) fn open(to: SocketAddr, over: Over, count: usize) -> io::Result<Vec<Self>> {
        let tls = secure::Client::new()?;
        (0..count).map(|index| Self::begin(connect(to, index)?, tls.begin()?, over)).collect()
    }

    fn begin(socket: TcpStream, tls: ClientConnection, over: Over) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into())))?;
        let mut client = Self { socket, tls };
        client.tls.complete_io(&mut client.socket)?;
        if over == Over::Wss {
            ask_to_upgrade(client.stream(), false)?;
            see_upgraded(client.stream(), false)?;
        }
        Ok(client)
    }

    /// Asks and awaits the answer; blocking.
    ///
    /// # Errors
    ///
    /// What the system refused, or an answer that is not this one.
    pub(super) fn ask(&mut self, question: &[u8], answer: &[u8]) -> io::Result<()> {
        self.stream().write_all(question)?;
        let mut came = vec![0; answer.len()];
        self.stream().read_exact(&mut came)?;
        if came == answer { Ok(()) } else { Err(io::Error::other("the answer is not the question")) }
    }

    /// Seals plaintext into records of its own for each message of it, at most 16 KiB long; appends them.
    pub(super) fn seal(&mut self, plain: &[u8], messages: usize, out: &mut Vec<u8>) -> io::Result<()> {
        for message in plain.chunks((plain.len() / messages).max(1)) {
            self.tls.writer().write_all(message)?;
            while self.tls.wants_write() {
                self.tls.write_tls(out)?;
            }
        }
        Ok(())
    }

    /// Opens whole records, and appends what was in them.
    pub(super) fn open_records(&mut self, mut records: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        while !records.is_empty() {
            self.tls.read_tls(&mut records)?;
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let begin = plain.len();
            plain.resize(begin + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut plain[begin..])?;
        }
        Ok(())
    }

    fn stream(&mut self) -> Stream<'_, ClientConnection, TcpStream> {
        Stream::new(&mut self.tls, &mut self.socket)
    }
}

/// How much plaintext has come in whole records of TLS 1.3, before it is opened.
#[derive(Debug, Default)]
pub(super) struct Records {
    at: usize,
    /// Bytes of plaintext, where every record is application data and none is padded.
    pub(super) plain: usize,
}

/// A header, and what a record of TLS 1.3 has behind its plaintext: its type and a tag (RFC 8446, 5.2).
const HEADER: usize = 5;
const BEHIND: usize = 17;

impl Records {
    /// Counts the records that have become whole since the last look.
    pub(super) fn count(&mut self, bytes: &[u8]) {
        while let Some([_, _, _, high, low]) = bytes.get(self.at..self.at + HEADER) {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if bytes.len() < self.at + HEADER + length {
                return;
            }
            self.at += HEADER + length;
            self.plain += length.saturating_sub(BEHIND);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_once_it_is_whole() {
        let bytes = [&[23, 3, 3, 0, 20][..], &[0; 20], &[23, 3, 3, 0, 18], &[0; 18]].concat();
        let mut records = Records::default();
        for (end, plain) in [(4, 0), (24, 0), (25, 3), (47, 3), (48, 4)] {
            records.count(&bytes[..end]);
            assert_eq!(records.plain, plain, "{end}");
        }
    }
}
