//! Messages compressed and framed for WebSockets, and expanded.

use wheelhouse_websocket::{
    CloseCode, Header, Opcode, State, Violation,
    deflate::{Agreement, Config, Deflator, Inflator},
    mask,
};

use super::{
    Core,
    bounds::MUCH,
    workshop::{Contexts, Kindred},
};
use crate::{
    Payload,
    connection::{Connection, Flags, Upgrade},
    id::Key,
};

impl Connection {
    pub(super) fn kindred(&self) -> Kindred {
        Kindred {
            is_client: self.flags.contains(Flags::CLIENT),
            window: (self.protocol_state[1] >> WINDOW & 0xf) as u8,
            has_contexts: self.extras.as_ref().is_some_and(|extras| extras.contexts.is_some()),
        }
    }

    /// Frames begin; what is sent is compressed with a window of so many bits, or not at all (0).
    fn begin_frame_state(&mut self, window: u8) {
        self.protocol_state = State::new(window > 0).to_words();
        self.protocol_state[1] |= u64::from(window) << WINDOW;
        self.flags.set(Flags::DEFLATES, window > 0);
    }

    pub(super) fn set_frame_state(&mut self, state: State) {
        let ours = self.protocol_state[1] & (0xff << WINDOW);
        self.protocol_state = state.to_words();
        self.protocol_state[1] |= ours;
    }
}

/// Where the window stands in the second word, and behind it the subprotocol's number, counted from 1: four bits each, for a
/// state takes 56.
const WINDOW: u32 = 56;
const SUBPROTOCOL: u32 = 60;
/// More than these are kept with their connections.
const MOST_NUMBERED: usize = 15;

impl Core {
    /// How one more connection is to be compressed; none when it is not.
    pub(super) fn deflate_config(&self, key: Key) -> Option<Config> {
        let deflate = self.frames_of(key)?.deflate()?;
        Some(deflate.config(self.workshop.contexts < deflate.most_contexts()))
    }

    /// The handshake is done: frames begin, compressed as was agreed.
    pub(super) fn begin_deflate(&mut self, key: Key, agreed: Option<Agreement>) {
        let level = self.frames_of(key).and_then(|frames| frames.deflate()).map_or(1, |d| d.level_of());
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(agreed) = agreed else { return connection.begin_frame_state(0) };
        let of_server = (agreed.server_max_window_bits, !agreed.server_no_context_takeover);
        let of_client = (agreed.client_max_window_bits, !agreed.client_no_context_takeover);
        let is_client = connection.flags.contains(Flags::CLIENT);
        let (ours, theirs) = if is_client { (of_client, of_server) } else { (of_server, of_client) };
        connection.begin_frame_state(ours.0);
        if ours.1 || theirs.1 {
            connection.extras().contexts = Some(Box::new(Contexts {
                ours: Deflator::new(ours.0, level),
                theirs: Inflator::new(theirs.0),
                keeps_ours: ours.1,
                keeps_theirs: theirs.1,
            }));
            self.workshop.contexts += 1;
        }
    }

    /// Keeps the subprotocol that was agreed on.
    pub(super) fn set_subprotocol(&mut self, key: Key, name: &str) {
        let known = &mut self.workshop.subprotocols;
        let at = match known.iter().position(|known| &**known == name) {
            None if known.len() < MOST_NUMBERED => {
                known.push(name.into());
                Some(known.len() - 1)
            }
            found => found,
        };
        let Some(connection) = self.connections.get_mut(key) else { return };
        match at {
            Some(at) => connection.protocol_state[1] |= (at as u64 + 1) << SUBPROTOCOL,
            None => connection.extras().subprotocol = Some(name.into()),
        }
    }

    /// The subprotocol of a WebSocket, where one was agreed on.
    pub(crate) fn subprotocol(&self, key: Key) -> Option<&str> {
        let connection = self.connections.get(key).filter(|c| c.flags.contains(Flags::FRAMES))?;
        if let Some(name) = connection.extras.as_ref().and_then(|extras| extras.subprotocol.as_deref()) {
            return Some(name);
        }
        let number = (connection.protocol_state[1] >> SUBPROTOCOL) as usize;
        self.workshop.subprotocols.get(number.checked_sub(1)?).map(|name| &**name)
    }

    /// A connection is gone.
    pub(super) fn forget_contexts(&mut self, connection: &Connection) {
        let upgrade = connection.under_way().and_then(|way| way.upgrade.as_deref());
        let would_have = matches!(upgrade, Some(Upgrade::Hello(_, _, true)));
        self.leave_context(would_have || connection.kindred().has_contexts);
    }

    /// Takes one of so many places for contexts of one's own, where one is free.
    pub(super) fn enter_context(&mut self, most: usize) -> bool {
        let has_room = self.workshop.contexts < most;
        self.workshop.contexts += usize::from(has_room);
        has_room
    }

    /// Gives back the place that was taken, if one was.
    pub(super) fn leave_context(&mut self, has_place: bool) {
        self.workshop.contexts -= usize::from(has_place);
    }

    /// Inflates a message into `scratch`.
    pub(super) fn inflate(
        &mut self,
        key: Key,
        is_text: bool,
        payload: &[u8],
        max: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        scratch.clear();
        let extras = self.connections.get_mut(key).and_then(|connection| connection.extras.as_mut());
        match extras.and_then(|extras| extras.contexts.as_mut()) {
            Some(own) => own.theirs.inflate(payload, own.keeps_theirs, max, scratch)?,
            None => {
                let inflator = self.workshop.inflator.get_or_insert_with(|| Inflator::new(15));
                inflator.inflate(payload, false, max, scratch)?;
            }
        }
        self.inflatable = self.inflatable.saturating_sub(scratch.len());
        if is_text && simdutf8::basic::from_utf8(scratch).is_err() {
            return Err(Violation { code: CloseCode::INVALID, what: "text that is not UTF-8" });
        }
        Ok(())
    }

    /// Appends a message as a frame of its own, as a connection of that kind gets it.
    pub(super) fn write_frame(
        &mut self,
        key: Key,
        kind: Kindred,
        opcode: Opcode,
        payload: &Payload<'_>,
        out: &mut Vec<u8>,
    ) {
        let key_of_mask = kind.is_client.then(|| self.workshop.masks.next());
        let mut bytes = payload.bytes();
        let mut deflated = std::mem::take(&mut self.workshop.deflated);
        let is_compressed = self.deflate(key, kind, payload, &mut deflated);
        if is_compressed {
            bytes = &deflated;
        }
        let header = Header::new(opcode, bytes.len(), key_of_mask);
        let header = if is_compressed { header.compressed() } else { header };
        out.extend_from_slice(header.bytes());
        let body = out.len();
        out.extend_from_slice(bytes);
        if let Some(key_of_mask) = key_of_mask {
            mask(&mut out[body..], key_of_mask);
        }
        // A vector cannot become smaller than what is in it.
        deflated.clear();
        deflated.shrink_to(MUCH);
        self.workshop.deflated = deflated;
    }

    /// Compresses a payload, where it is worth while; false when it goes as it is.
    fn deflate(&mut self, key: Key, kind: Kindred, payload: &Payload<'_>, deflated: &mut Vec<u8>) -> bool {
        let bytes = payload.bytes();
        let Some(deflate) = self.frames_of(key).and_then(|frames| frames.deflate()) else { return false };
        if kind.window == 0 || payload.is_incompressible() || !deflate.is_worth(bytes.len()) {
            return false;
        }
        let level = deflate.level_of();
        deflated.clear();
        let extras = self.connections.get_mut(key).and_then(|connection| connection.extras.as_mut());
        match extras.and_then(|extras| extras.contexts.as_mut()).filter(|_| kind.has_contexts) {
            Some(own) => {
                own.ours.deflate(bytes, own.keeps_ours, deflated);
                let is_smaller = deflated.len() < bytes.len();
                // It is in our window now, and the peer's has to have it too, or ours be emptied: any message may go as it is
                // (RFC 7692, 6.1). One that fills the window has driven out all before it, so that nothing is lost; behind a
                // shorter one what is remembered is worth more than the few bytes that it has grown by.
                if !is_smaller && own.keeps_ours && bytes.len() >> kind.window > 0 {
                    own.ours.forget();
                    return false;
                }
                is_smaller || own.keeps_ours
            }
            None => {
                self.workshop.deflator(level, kind.window).deflate(bytes, false, deflated);
                deflated.len() < bytes.len()
            }
        }
    }
}
