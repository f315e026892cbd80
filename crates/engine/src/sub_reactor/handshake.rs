//! What comes between a connection's accept and its `on_open`: the header of a proxy.

use std::io;

use super::{Core, read::Step, read_buffer::ReadBuffer, stage::Stage};
use crate::{
    CloseReason, ConnId, Handler,
    connection::{Connection, Flags, Inbound, Phase},
    id::Key,
    proxy_protocol::{self, Header, MAX_HEADER},
    transport::Session,
};

// What has come of a header that is not whole fits in front of what is read next, however small the read buffer is.
const _: () = assert!(MAX_HEADER <= Session::MAX_LONG_HANDSHAKE);

impl<H: Handler> Stage<H> {
    /// Reads the header; what follows it in the same read is the connection's first input.
    pub(super) fn read_header(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Step {
        let (kept, n) = match self.read_early(id, buffer) {
            Ok(read) => read,
            Err(step) => return step,
        };
        let (key, most) = (id.key(), buffer.most());
        let (frame, _) = buffer.frame(kept, n);
        let len = match proxy_protocol::parse(frame) {
            Ok(Header::Incomplete) => {
                self.core.keep_header(key, frame);
                return self.after(id, n, most);
            }
            Err(error) => return self.refuse_header(key, error),
            Ok(Header::Complete { len, client }) => {
                if let Some(client) = client
                    && !self.core.stands_for(key, client)
                {
                    return Step::Done;
                }
                len
            }
        };
        if self.core.connections.get(key).is_some_and(Connection::shakes_hands) {
            self.core.begin_handshake(key);
            let span = buffer.body() - kept + len..buffer.body() + n;
            if !span.is_empty() {
                self.offer_handshake(id, span, buffer);
            }
            return self.after(id, n, most);
        }
        self.core.finish_handshake(key);
        self.open(id);
        // `open` has served the connection as a batch of its own; this one goes on.
        self.core.cork(key);
        self.offer_part(id, buffer.body() - kept + len..buffer.body() + n, true, buffer);
        self.after(id, n, most)
    }

    /// Reads what comes before `on_open`: how much was kept, and is in front of it now, and how much came.
    pub(super) fn read_early(&mut self, id: ConnId, buffer: &mut ReadBuffer) -> Result<(usize, usize), Step> {
        let key = id.key();
        let Some(connection) = self.core.connections.get_mut(key) else { return Err(Step::Done) };
        let n = match self.core.io.receive(connection, buffer.room()) {
            Ok(0) => {
                self.core.doom(key, CloseReason::Peer { code: None }, None, 0);
                return Err(Step::Done);
            }
            Ok(n) => n,
            refused => return Err(self.end_of_input(id, refused)),
        };
        connection.last_activity = self.core.clock.stamp();
        self.core.stats.bytes_in += n as u64;
        Ok((self.core.move_kept(key, buffer.body(), buffer), n))
    }

    fn refuse_header(&mut self, key: Key, error: io::Error) -> Step {
        let id = self.core.connections.id(key).map(tracing::field::display);
        tracing::debug!(id, %error, "no PROXY header");
        self.core.doom(key, CloseReason::Protocol, Some(error), 0);
        Step::Done
    }
}

impl Core {
    pub(super) fn keep_header(&mut self, key: Key, header: &[u8]) {
        if header.len() > Inbound::INLINE {
            return self.keep_in_ring(key, header);
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.inbound = Inbound::inline(header);
    }

    /// The connection is the client's from now on; false when the client has as many as it may.
    fn stands_for(&mut self, key: Key, client: std::net::SocketAddr) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        connection.set_peer(Some(client));
        let Some(counts) = &self.shared.per_address else { return true };
        if counts.enter(client.ip()) {
            connection.flags |= Flags::COUNTED;
            return true;
        }
        connection.flags |= Flags::UNTOLD;
        self.stats.shed += 1;
        self.doom(key, CloseReason::Local, None, 0);
        false
    }

    /// The proxy has spoken, and now it is the client's turn.
    fn begin_handshake(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.phase = Phase::Handshaking;
        }
    }

    pub(super) fn finish_handshake(&mut self, key: Key) {
        let stamp = self.clock.stamp();
        if let Some(connection) = self.connections.get_mut(key) {
            connection.phase = Phase::Open;
            // An answer that was put off may have kept the peer waiting: it was not idle.
            connection.last_activity = stamp;
        }
        self.disarm_deadline(key);
    }
}
