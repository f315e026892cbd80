//! TLS between a client and its socket: bytes in, bytes out. By another version of rustls than the engine's, and not by the
//! engine, so that the load and an engine under load do not share their mistakes.

use std::io::{Read as _, Write as _};

use rustls_stable::ClientConnection;
use wheelhouse::{Conn, Sent};

use crate::trust::{Trust, told};

/// One connection's session.
pub(crate) struct Secure(ClientConnection);

impl Secure {
    /// What `bytes` of a message may be longer on the wire: a header and a tag for each record, of at most 16 KiB, and for
    /// each piece that is sent by itself.
    pub(crate) const fn overhead(bytes: usize) -> usize {
        const RECORD: usize = 5 + 8 + 1 + 16;
        (bytes / (16 << 10) + bytes / (32 << 10) + 2) * RECORD
    }

    /// Its hello waits for [`flush`](Secure::flush).
    pub(crate) fn begin(trust: &Trust) -> Result<Secure, String> {
        let mut session = trust.begin().map_err(|error| told(&error))?;
        // The engine's queue has the bound: what is sealed goes there at once.
        session.set_buffer_limit(None);
        Ok(Secure(session))
    }

    /// No message can be sent yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Opens what came, and adds what was in it to `plain`. An answer to it, also when it fails, waits for
    /// [`flush`](Secure::flush).
    pub(crate) fn open(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        // Nothing is read behind the server's close_notify.
        while !bytes.is_empty() && self.0.read_tls(&mut bytes).map_err(|e| format!("TLS: {e}"))? > 0 {
            let state = self.0.process_new_packets().map_err(|error| told(&error))?;
            let from = plain.len();
            plain.resize(from + state.plaintext_bytes_to_read(), 0);
            self.0.reader().read_exact(&mut plain[from..]).map_err(|e| format!("TLS: {e}"))?;
        }
        Ok(())
    }

    /// Nothing will be sent any more; the server is told by [`flush`](Secure::flush).
    pub(crate) fn end(&mut self) {
        self.0.send_close_notify();
    }

    /// Sends what waits, by way of `sealed`, which is any buffer.
    pub(crate) fn flush(&mut self, conn: &mut Conn<'_>, sealed: &mut Vec<u8>) -> Sent {
        sealed.clear();
        self.put_waiting(sealed);
        if sealed.is_empty() { Sent::Accepted } else { conn.send(&*sealed) }
    }

    /// Seals bytes and sends them, by way of `sealed`, which is any buffer.
    pub(crate) fn send(&mut self, conn: &mut Conn<'_>, bytes: &[u8], sealed: &mut Vec<u8>) -> Sent {
        self.seal(bytes);
        self.flush(conn, sealed)
    }

    /// Seals bytes, which then wait.
    pub(crate) fn seal(&mut self, bytes: &[u8]) {
        // Into memory without a bound: it cannot fail.
        let _ = self.0.writer().write_all(bytes);
    }

    /// Adds what waits to `sealed`.
    pub(crate) fn put_waiting(&mut self, sealed: &mut Vec<u8>) {
        // Into memory: it cannot fail.
        while self.0.wants_write() && self.0.write_tls(sealed).is_ok() {}
    }
}
