//! What few connections have, and what a connection has for a while.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use wheelhouse_websocket::http::Hello;
use wheelhouse_wheel::{Tick, TimerKey};

use crate::{
    CloseReason, Detached, Kind, Tag, TimerKind,
    clock::Stamp,
    outbound::Pace,
    reply::Asked,
    sub_reactor::Contexts,
    transport::{Session, TlsClient},
};

/// What few connections have. Those with TLS all have it: what passes is apart.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) tag: Tag,
    pub(crate) peer: Option<Box<SocketAddr>>,
    pub(crate) idle: Option<Duration>,
    pub(crate) timers: Vec<(TimerKind, TimerKey)>,
    /// What seals its bytes.
    pub(crate) tls: Option<Secure>,
    /// Its own compression, where it has one.
    pub(crate) contexts: Option<Box<Contexts>>,
    /// The subprotocol that was agreed on, where it has no number.
    pub(crate) subprotocol: Option<Box<str>>,
    pub(super) under_way: Option<Box<UnderWay>>,
}

const _: () = assert!(size_of::<Extras>() <= 152);

/// What a connection has for a while.
#[derive(Default)]
pub(crate) struct UnderWay {
    pub(crate) held: Option<(Kind, Vec<u8>)>,
    pub(crate) dialling: Option<Dialling>,
    /// How fast an unfinished message is coming, where a minimum rate is set.
    pub(crate) pace: Option<Pace>,
    /// To be called with what is left of the connection when it has been taken out.
    pub(crate) heir: Option<Box<dyn FnOnce(Detached)>>,
    /// Why it is closing gracefully, where that is more than `Local`.
    pub(crate) closing: Option<(CloseReason, Option<io::Error>)>,
    /// The WebSocket that is being asked for.
    pub(crate) upgrade: Option<Box<Upgrade>>,
    /// What is left of an answer's body that is sealed as it leaves.
    pub(crate) unsealed: Option<Bytes>,
}

impl Extras {
    pub(crate) fn under_way(&mut self) -> &mut UnderWay {
        self.under_way.get_or_insert_with(Box::default)
    }

    /// Bytes that the allocator gets back with them, about.
    pub(crate) fn weight(&self) -> usize {
        let session = self.tls.as_ref().map_or(0, |_| Session::ABOUT);
        let contexts = self.contexts.as_ref().map_or(0, |_| Contexts::ABOUT);
        size_of::<Extras>() + session + contexts
    }

    pub(super) fn is_idle(&self) -> bool {
        let Extras { tag, peer, idle, timers, tls, contexts, subprotocol, under_way } = self;
        let has_own = *tag != Tag::default() || peer.is_some() || idle.is_some() || !timers.is_empty();
        let has_socket = tls.is_some() || contexts.is_some() || subprotocol.is_some();
        !(has_own || has_socket || under_way.is_some())
    }
}

impl UnderWay {
    pub(super) fn is_over(&self) -> bool {
        let UnderWay { held, dialling, pace, heir, closing, upgrade, unsealed } = self;
        let is_coming = held.is_some() || dialling.is_some() || pace.is_some() || upgrade.is_some();
        !(is_coming || heir.is_some() || closing.is_some() || unsealed.is_some())
    }
}

/// A connection's TLS.
pub(crate) struct Secure {
    pub(crate) session: Session,
    /// Ciphertext of a record that is not whole yet.
    pub(crate) left: Vec<u8>,
    /// When a handshake in mid-life began.
    pub(crate) since: Option<Stamp>,
    /// What it waits for before it is served again: handshakes have a budget.
    pub(crate) put_off: PutOff,
    /// `close_notify` came.
    pub(crate) is_closed: bool,
    /// It failed, and an alert said why: nothing follows that (RFC 8446, 6.2).
    pub(crate) is_broken: bool,
}

impl Secure {
    /// Whether its bytes are messages', and nothing has to be thought of before they are read.
    #[inline]
    pub(super) fn is_at_ease(&self) -> bool {
        self.put_off == PutOff::No && !self.is_closed && !self.session.is_handshaking()
    }
}

/// A step of a handshake that waits for its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PutOff {
    #[default]
    No,
    /// What came is in the kernel.
    Unread,
    /// It has been read, and is among what is left.
    Unopened,
}

/// A WebSocket's handshake under way.
pub(crate) enum Upgrade {
    /// The server's end: the handler has put its answer off until then.
    Asked(Asked, Tick),
    /// The client's: what is asked for, the nonce in it, and whether it holds a place for contexts of its own.
    Hello(Hello, [u8; 16], bool),
}

/// A connection on its way out.
pub(crate) struct Dialling {
    pub(crate) deadline: Tick,
    pub(crate) from: Option<SocketAddr>,
    /// The addresses not tried yet, last first.
    pub(crate) left: Vec<SocketAddr>,
    /// How to seal what is sent, where that is wanted.
    pub(crate) tls: Option<TlsClient>,
}
