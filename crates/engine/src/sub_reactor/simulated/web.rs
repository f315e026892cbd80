//! WebSockets in a world: what those of a listener have in common, and what a peer has in store beside its messages.

use std::time::Duration;

use super::random::Random;
use crate::{Deflate, Framing, WebSocket};

/// What a listener's WebSockets, or those that are dialled alike, have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Web {
    pub(super) max_message: usize,
    pub(super) max_fragments: usize,
    pub(super) max_head: usize,
    pub(super) deflate: Option<Squeeze>,
    pub(super) heartbeat: Option<Beat>,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Squeeze {
    level: u32,
    threshold: usize,
    contexts: usize,
}

/// A heartbeat: how often, and after what silence it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) every: Duration,
    pub(super) timeout: Duration,
}

/// Which end of a WebSocket a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// What a peer has in store beside its messages.
pub(super) struct Talk {
    pub(super) role: Role,
    pub(super) head: Head,
    /// In their order among the messages.
    pub(super) controls: Vec<Control>,
    /// The code with which it closes; 1005 for none.
    pub(super) closes: Option<u16>,
    /// What it is told for the rule that it breaks at its end.
    pub(super) fault: Option<u16>,
}

/// A peer's request, or its answer to ours.
pub(super) struct Head {
    pub(super) asks: Asks,
    /// No answer to it has a body.
    pub(super) is_bodiless: bool,
    /// It offers compression, or agrees to it.
    pub(super) deflates: bool,
    /// A client's: the key that it asks with, as it stands in the request.
    pub(super) key: String,
    /// A server's: where its answer to our key stands, if it knows one.
    pub(super) accept_at: Option<usize>,
    /// A server's: messages that it is sent may not lean on earlier ones.
    pub(super) forgets: bool,
}

impl Head {
    pub(super) fn new(asks: Asks, deflates: bool) -> Head {
        let key = String::new();
        Head { asks, is_bodiless: false, deflates, key, accept_at: None, forgets: false }
    }
}

/// What comes of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// A WebSocket, if the handler wants one; or our WebSocket is granted.
    Socket,
    /// None: who accepts it all the same has this answered.
    Other(u16),
    /// Nobody is asked: this is the answer. From a server: it grants nothing.
    Unreadable(u16),
    /// It ends too early.
    Torn,
}

/// A ping or pong of the peer's.
pub(super) struct Control {
    /// Messages that are whole before it.
    pub(super) before: usize,
    pub(super) is_ping: bool,
    pub(super) data: Vec<u8>,
    /// Where it ends on the wire.
    pub(super) end: usize,
}

impl Web {
    /// `gentle`: nobody has to go for having been silent.
    pub(super) fn draw(random: &mut Random, gentle: bool) -> Web {
        let secs = Duration::from_secs;
        let beats = [(Duration::from_millis(20), Duration::from_millis(50)), (secs(25), secs(45))];
        let heartbeat = match random.below(3) {
            0 if gentle => Some((secs(5), secs(1_000_000))),
            0 => Some(random.pick(&beats)),
            _ => None,
        };
        let deflate = random.one_in(3).then(|| Squeeze {
            level: random.pick(&[1, 6]),
            threshold: random.pick(&[0, 100]),
            contexts: random.pick(&[0, 0, 1]),
        });
        Web {
            max_message: random.pick(&[125, 9_000, 200_000]),
            max_fragments: random.pick(&[1, 3, 1024]),
            max_head: 16 << 10,
            deflate,
            heartbeat: heartbeat.map(|(every, timeout)| Beat { every, timeout }),
        }
    }

    pub(super) fn framing(self) -> Framing {
        let socket = WebSocket::new().max_message(self.max_message).max_fragments(self.max_fragments);
        let socket = socket.max_head(self.max_head);
        Framing::websocket(match self.deflate {
            Some(Squeeze { level, threshold, contexts }) => {
                socket.deflate(Deflate::new().level(level).threshold(threshold).own_contexts(contexts))
            }
            None => socket,
        })
    }
}
