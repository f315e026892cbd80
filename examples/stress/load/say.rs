//! What the load says: bytes as they are, or a WebSocket's frames around them.

use wheelhouse::{Conn, Sent};

use super::{Load, Stage};
use crate::{
    client::{Fault, Heard, Wire},
    frames,
    handshake::{self, Answer},
    pattern::split_mix,
};

impl Load {
    /// Asks for a WebSocket.
    pub(super) fn say_hello(&mut self, conn: &mut Conn<'_>, slot: usize) {
        let Some((host, path)) = &self.plan.target.websocket else { return };
        let mut half = || u128::from(split_mix(&mut self.random));
        let nonce = half() << 64 | half();
        let client = &mut self.clients[slot];
        client.wire = Wire::Asked(nonce, Answer::default());
        client.send(conn, handshake::request(host, path, nonce).as_bytes(), &mut self.sealed);
    }

    /// One message in one frame.
    pub(super) fn send_message(&mut self, conn: &mut Conn<'_>, slot: usize) {
        let (size, mask) = (u64::from(self.plan.options.size), self.mask());
        self.frame.clear();
        frames::put_message(&mut self.frame, size, mask);
        match size {
            0 => _ = self.clients[slot].send(conn, &self.frame, &mut self.sealed),
            _ => self.send_bytes(conn, slot, size, Some(mask)),
        }
    }

    /// The next bytes of the stream; masked they follow the header that waits in `frame`.
    pub(super) fn send_bytes(&mut self, conn: &mut Conn<'_>, slot: usize, count: u64, mask: Option<[u8; 4]>) {
        let client = &mut self.clients[slot];
        let begin = client.sent;
        while client.sent < begin + count {
            let at = client.sent;
            let piece = self.plan.pattern.piece(client.index, at, begin + count - at);
            client.sent += piece.len() as u64;
            let sent = match mask {
                None => client.send(conn, piece, &mut self.sealed),
                Some(mask) => {
                    frames::put_masked(&mut self.frame, piece, mask, at - begin);
                    let sent = client.send(conn, &self.frame, &mut self.sealed);
                    self.frame.clear();
                    sent
                }
            };
            match sent {
                Sent::Accepted => self.tally.bytes_sent += piece.len() as u64,
                Sent::Full => {
                    client.is_full = true;
                    self.tally.bytes_sent += piece.len() as u64;
                }
                // Closing: `on_close` will tell why. It is never full, for the limit has room for all of this.
                Sent::Refused(_) => {}
            }
        }
    }

    pub(super) fn send_close(&mut self, conn: &mut Conn<'_>, slot: usize) {
        self.frame.clear();
        let mask = self.mask();
        frames::put_close(&mut self.frame, mask);
        self.clients[slot].send(conn, &self.frame, &mut self.sealed);
    }

    fn mask(&mut self) -> [u8; 4] {
        (split_mix(&mut self.random) as u32).to_ne_bytes()
    }

    /// What came beside messages; whether that was the last.
    pub(super) fn answer(&mut self, conn: &mut Conn<'_>, slot: usize, heard: &Heard) -> bool {
        for data in &heard.pings {
            self.frame.clear();
            let mask = self.mask();
            frames::put_pong(&mut self.frame, data, mask);
            self.clients[slot].send(conn, &self.frame, &mut self.sealed);
        }
        let Some(code) = heard.close else { return false };
        if self.stage != Stage::Close {
            let code = code.map_or("no code".to_owned(), |code| format!("code {code}"));
            self.clients[slot].fault = Some(Fault::Broke(format!("WebSocket: closed by the server, {code}")));
            self.send_close(conn, slot);
        }
        self.clients[slot].end(conn, &mut self.sealed);
        true
    }
}
