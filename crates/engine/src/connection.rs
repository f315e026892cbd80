mod extras;
mod inbound;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use bitflags::bitflags;
use bytes::Bytes;
use mio::Interest;
use wheelhouse_wheel::TimerKey;

pub(crate) use self::{
    extras::{Dialling, Extras, PutOff, Secure, UnderWay, Upgrade},
    inbound::Inbound,
};
use crate::{clock::Stamp, id::Sequence, outbound::Outbound};

/// One connection, as its reactor keeps it. An idle one owns nothing beside these bytes.
///
/// ```text
/// fd | sequence | flags | phase, profile | last activity | since | deadline | peer | protocol state
///   inbound ──> up to 14 B inside, else a ring from the pool, else linear storage for a large message
///   outbound ─> nothing, or a queue from the reactor's spares
///   extras ───> nothing, or what few connections have: a tag, timers, an IPv6 peer, a message on hold
/// ```
pub(crate) struct Connection {
    pub(crate) fd: Option<OwnedFd>,
    pub(crate) sequence: Sequence,
    pub(crate) flags: Flags,
    pub(crate) phase: Phase,
    /// Which of the reactor's [`Profiles`](crate::profile::Profiles) it follows.
    pub(crate) profile: u16,
    pub(crate) last_activity: Stamp,
    /// When the last ping of a heartbeat went out.
    pub(crate) pinged: Stamp,
    /// When the connection, or the closing of it, began.
    pub(crate) since: Stamp,
    /// The wheel's entry for the nearest of the engine's own deadlines.
    pub(crate) deadline: Option<TimerKey>,
    /// Its protocol's: two words for WebSocket frames, the first one for others.
    pub(crate) protocol_state: [u64; 2],
    pub(crate) peer: Peer,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Option<Box<Outbound>>,
    pub(crate) extras: Option<Box<Extras>>,
}

const _: () = assert!(size_of::<Connection>() <= 88);

/// Where a connection stands; it only ever goes down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Dialled: its name is being resolved, or the peer has not answered yet.
    Connecting,
    /// Accepted from a proxy, whose header has not come yet.
    Proxied,
    /// Before its first message: a WebSocket's request or answer is under way.
    Handshaking,
    Open,
    /// To be taken out of the engine at the end of the turn.
    Detaching,
    /// Asked to finish: what is queued goes out first.
    Finishing,
    /// Our FIN is out; what comes is discarded until the peer's.
    Lingering,
    /// To be closed at the end of the turn.
    Closed,
}

bitflags! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Flags: u32 {
        /// `on_open` was called.
        const OPENED = 1;
        /// Reading is paused by the handler.
        const PAUSED = 1 << 1;
        /// Reading is paused by the engine: the outbound queue is above the high mark.
        const AUTO_PAUSED = 1 << 2;
        /// The handler does not want the engine's pause.
        const NO_AUTO_PAUSE = 1 << 3;
        /// Bytes that came while paused may wait in the kernel, for which no new edge will come.
        const READABLE = 1 << 4;
        /// Kept bytes, or a held message, that the handler has not been offered (again).
        const UNSERVED = 1 << 5;
        /// A short read does not mean drained: read until the kernel has no more.
        const THOROUGH = 1 << 6;
        /// Registered for writing.
        const WRITE_INTEREST = 1 << 7;
        /// On the ready list.
        const IN_READY = 1 << 8;
        /// On the list of those to flush at the end of the turn.
        const IN_DIRTY = 1 << 9;
        /// The peer's FIN was read.
        const EOF = 1 << 10;
        /// Our FIN goes out when the queue is empty.
        const SHUT_WANTED = 1 << 11;
        /// Our FIN is out.
        const SHUT = 1 << 12;
        /// A send was told `Full`; `on_writable` is owed.
        const OWES_WRITABLE = 1 << 13;
        const AUTHENTICATED = 1 << 14;
        const UNIX = 1 << 15;
        /// The descriptor was duplicated: closing ours does not take it out of the epoll set.
        const DUPLICATED = 1 << 16;
        /// Close with a reset.
        const RESET = 1 << 17;
        /// Asked to finish after the peer's FIN: the peer closed first.
        const PEER_FIRST = 1 << 18;
        /// WebSocket frames.
        const FRAMES = 1 << 19;
        /// Pass the idle deadline by: the handler turned it off for this connection.
        const NO_IDLE = 1 << 20;
        /// Its profile has no framing: no look at the profile is needed.
        const RAW = 1 << 21;
        /// Its high mark is below what is gathered in one write: the mark has to be looked up.
        const LOW_MARKS = 1 << 22;
        /// Only what comes is activity.
        const INPUT_COUNTS = 1 << 23;
        /// A ping went out at `pinged`.
        const PINGED = 1 << 24;
        /// Counted for its address.
        const COUNTED = 1 << 25;
        /// To be closed without an `on_close`: it has no session, or a limit was met before it was open.
        const UNTOLD = 1 << 26;
        /// Much was read of it at once: next time those who have little go first.
        const BULKY = 1 << 27;
        /// On the list of those who hold buffer memory.
        const HOLDS = 1 << 28;
        /// The client's end of a WebSocket: it masks.
        const CLIENT = 1 << 29;
        /// What comes and goes is sealed.
        const TLS = 1 << 30;
        /// What is sent may be compressed.
        const DEFLATES = 1 << 31;
    }
}

impl Flags {
    /// Who keeps the engine from reading.
    pub(crate) const PAUSES: Flags = Flags::PAUSED.union(Flags::AUTO_PAUSED);
    /// How its bytes are cut.
    pub(crate) const CUT: Flags = Flags::RAW.union(Flags::FRAMES);
    /// What its profile says of a connection.
    pub(crate) const OF_PROFILE: Flags = Flags::CUT.union(Flags::LOW_MARKS).union(Flags::INPUT_COUNTS);
}

impl Connection {
    pub(crate) fn new(fd: Option<OwnedFd>, profile: u16, now: Stamp) -> Self {
        Connection {
            fd,
            sequence: Sequence::FIRST,
            flags: Flags::empty(),
            phase: Phase::Open,
            profile,
            last_activity: now,
            pinged: now,
            since: now,
            deadline: None,
            protocol_state: [0; 2],
            peer: Peer::Other,
            inbound: Inbound::EMPTY,
            outbound: None,
            extras: None,
        }
    }

    pub(crate) fn borrow_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Whether a payload may still be queued.
    pub(crate) fn takes_output(&self) -> bool {
        let is_soon_open = self.phase == Phase::Connecting && !self.shakes_hands();
        (self.phase == Phase::Open || is_soon_open)
            && !self.flags.intersects(Flags::SHUT_WANTED | Flags::SHUT)
            && !self.is_securing()
    }

    /// Whether what it is sent goes behind what is gathered for it: nothing waits before that, and no mark has to be looked up.
    #[inline]
    pub(crate) fn may_gather(&self) -> bool {
        let is_special = Flags::SHUT_WANTED.union(Flags::SHUT).union(Flags::LOW_MARKS);
        self.phase == Phase::Open
            && !self.flags.intersects(is_special)
            && self.outbound.is_none()
            && !self.is_securing()
    }

    /// Whether something comes before its first message.
    pub(crate) fn shakes_hands(&self) -> bool {
        self.flags.intersects(Flags::FRAMES.union(Flags::TLS))
    }

    /// Whether it is, or will be, the handler's: not closing.
    pub(crate) fn is_alive(&self) -> bool {
        self.phase <= Phase::Open
    }

    /// Whether input may be read or offered to the handler.
    pub(crate) fn takes_input(&self) -> bool {
        self.phase == Phase::Open && !self.flags.intersects(Flags::PAUSES) && !self.is_securing()
    }

    /// Whether it was open, and nothing is to be read from its socket now.
    pub(crate) fn is_paused(&self) -> bool {
        self.phase == Phase::Open && self.flags.intersects(Flags::PAUSES)
    }

    /// Whether a TLS handshake is under way in mid-life: what came before it is nobody's, and nothing is sent.
    #[inline]
    pub(crate) fn is_securing(&self) -> bool {
        self.flags.contains(Flags::TLS) && self.secure().is_some_and(|secure| secure.since.is_some())
    }

    /// Whether what is kept waits for us, and not for more of it.
    pub(crate) fn keeps_unserved(&self) -> bool {
        !self.takes_input() || self.flags.contains(Flags::UNSERVED)
    }

    /// Whether the next read goes into the shared buffer and to the handler, as nearly all do.
    #[inline]
    pub(crate) fn reads_plainly(&self) -> bool {
        const SPECIAL: Flags = Flags::PAUSES.union(Flags::EOF).union(Flags::TLS).union(Flags::UNSERVED);
        self.phase == Phase::Open
            && !self.flags.intersects(SPECIAL)
            && !matches!(self.inbound, Inbound::Linear(_))
    }

    /// The same of one whose bytes are sealed.
    #[inline]
    pub(crate) fn reads_sealed(&self) -> bool {
        self.phase == Phase::Open
            && !self.flags.intersects(Flags::PAUSES.union(Flags::EOF))
            && self.secure().is_some_and(Secure::is_at_ease)
    }

    /// The kernel took some of what is sent.
    #[inline]
    pub(crate) fn output_taken(&mut self, now: Stamp) {
        if !self.flags.contains(Flags::INPUT_COUNTS) {
            self.last_activity = now;
        }
    }

    /// Storage held outside the connection, which the reactor's account of buffer memory holds too.
    pub(crate) fn storage(&self) -> usize {
        let queue = self.outbound.as_ref().map_or(0, |queue| queue.capacity());
        let held = self.under_way().and_then(|way| way.held.as_ref()).map_or(0, |(_, body)| body.len());
        let sealed = self.secure().map_or(0, |secure| secure.left.len());
        self.inbound.capacity() + queue + held + sealed + self.unsealed()
    }

    /// Bytes of an answer's body that are still to be sealed.
    pub(crate) fn unsealed(&self) -> usize {
        self.under_way().and_then(|way| way.unsealed.as_ref()).map_or(0, Bytes::len)
    }

    pub(crate) fn secure(&self) -> Option<&Secure> {
        self.extras.as_ref()?.tls.as_ref()
    }

    pub(crate) fn secure_mut(&mut self) -> Option<&mut Secure> {
        self.extras.as_mut()?.tls.as_mut()
    }

    /// As [`storage`](Connection::storage), with what its queue shares with others: it may be the last to hold it.
    pub(crate) fn weight(&self) -> usize {
        let shared = self.outbound.as_ref().map_or(0, |queue| queue.weight() - queue.capacity());
        self.storage() + shared
    }

    pub(crate) fn queued(&self) -> usize {
        self.outbound.as_ref().map_or(0, |queue| queue.len()) + self.unsealed()
    }

    /// What to register for: reading and urgent data always, writing while the kernel is full.
    pub(crate) fn interest(&self) -> Interest {
        let interest = Interest::READABLE | Interest::PRIORITY;
        if self.flags.contains(Flags::WRITE_INTEREST) { interest | Interest::WRITABLE } else { interest }
    }

    /// Remembers whom it is with: IPv4 inside the connection, mapped into IPv6 or not, another among the extras.
    pub(crate) fn set_peer(&mut self, peer: Option<SocketAddr>) {
        match peer.map(|peer| (peer.ip().to_canonical(), peer.port())) {
            Some((IpAddr::V4(ip), port)) => self.peer = Peer::V4(ip, port),
            Some(_) => {
                self.peer = Peer::Other;
                self.extras().peer = peer.map(Box::new);
            }
            None => {}
        }
    }

    pub(crate) fn under_way(&self) -> Option<&UnderWay> {
        self.extras.as_ref()?.under_way.as_deref()
    }

    pub(crate) fn under_way_mut(&mut self) -> Option<&mut UnderWay> {
        self.extras.as_mut()?.under_way.as_deref_mut()
    }

    /// Gives the extras back when there is nothing in them any more.
    pub(crate) fn drop_idle_extras(&mut self) {
        if let Some(extras) = &mut self.extras
            && extras.under_way.as_ref().is_some_and(|way| way.is_over())
        {
            extras.under_way = None;
        }
        if self.extras.as_ref().is_some_and(|extras| extras.is_idle()) {
            self.extras = None;
        }
    }

    pub(crate) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_with(Box::default)
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self.peer {
            Peer::V4(ip, port) => Some((ip, port).into()),
            Peer::Other => self.extras.as_ref().and_then(|extras| extras.peer.as_deref().copied()),
        }
    }
}

/// Whom the connection is with: kept, for the kernel forgets it after a reset. An IPv6 address is among the extras.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    V4(Ipv4Addr, u16),
    Other,
}
