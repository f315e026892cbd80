//! One socket of the kernel in memory: its buffers, its errors, and the edges it owes.

use std::{io, io::ErrorKind, rc::Rc};

use bitflags::bitflags;

use super::{script::Script, seal::Seal, web::Role};
use crate::{ConnId, sub_reactor::Readiness};

bitflags! {
    /// What epoll tells of a socket.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Ready: u8 {
        const IN = 1;
        const OUT = 1 << 1;
        const PRI = 1 << 2;
        const RDHUP = 1 << 3;
        const HUP = 1 << 4;
        const ERR = 1 << 5;
    }
}

impl Ready {
    /// Told whether one asks for it or not.
    const ALWAYS: Ready = Ready::HUP.union(Ready::ERR);
    /// A broken socket is told of with all of it.
    const BROKEN: Ready = Ready::IN.union(Ready::OUT).union(Ready::RDHUP).union(Ready::ALWAYS);

    /// What the reactor makes of it.
    pub(super) fn told(self) -> Readiness {
        let is_closed = self.contains(Ready::HUP) || self.contains(Ready::IN | Ready::RDHUP);
        let is_thorough = is_closed || self.contains(Ready::PRI);
        let told = Readiness::simulated(
            is_thorough || self.contains(Ready::IN),
            self.contains(Ready::OUT),
            is_thorough,
        );
        if self.contains(Ready::ERR) { told.with_error() } else { told }
    }
}

/// A stream socket, the network behind it, and how much of everything went by.
///
/// ```text
/// script: | read ........ | in the receive buffer | on its way | not sent yet |
///                         read                 arrived        sent
/// answers: | received by the peer | in the send buffer: `used` |
/// ```
pub(super) struct Socket {
    pub(super) script: Rc<Script>,
    /// What seals the script, and opens what comes back.
    pub(super) seal: Option<Box<Seal>>,
    pub(super) is_unix: bool,
    pub(super) id: Option<ConnId>,
    pub(super) is_connecting: bool,
    pub(super) sent: usize,
    pub(super) arrived: usize,
    pub(super) read: usize,
    /// A read stops here: at the urgent mark.
    pub(super) mark: Option<usize>,
    pub(super) fin_sent: bool,
    pub(super) fin_arrived: bool,
    /// What has come of the request that the peer waits for, and what it answers to its key.
    pub(super) request: Option<Vec<u8>>,
    pub(super) accept: String,
    /// What the next call, or `SO_ERROR`, tells once.
    pub(super) error: Option<ErrorKind>,
    /// A reset has arrived, or the connect failed.
    pub(super) is_broken: bool,
    /// The send buffer, in bytes.
    pub(super) capacity: usize,
    pub(super) used: usize,
    /// Out of memory for the moment, however much room there is.
    pub(super) is_choked: bool,
    /// Somebody was refused room, and is told when there is some (`SOCK_NOSPACE`).
    lacked_room: bool,
    /// Taken from the reactor since somebody last looked.
    pub(super) taken: Vec<u8>,
    pub(super) taken_in_all: u64,
    pub(super) received: u64,
    /// Our FIN.
    pub(super) fin_said: bool,
    pub(super) closed: Option<Closing>,
    /// On epoll's list: what happens before that is told when it comes onto it.
    pub(super) is_watched: bool,
    watches_room: bool,
    /// On epoll's ready list, and what for.
    pub(super) woken: Ready,
    /// Bytes read in this turn, and by the greatest single read.
    pub(super) read_now: usize,
    pub(super) greatest_read: usize,
}

/// How our side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) with_reset: bool,
    /// Unread input makes a close a reset.
    pub(super) left_unread: bool,
    pub(super) peer_was_done: bool,
}

impl Closing {
    /// The peer gets everything: nothing makes a reset of it, now or later.
    pub(super) fn is_clean(self) -> bool {
        !self.with_reset && !self.left_unread && self.peer_was_done
    }
}

impl Socket {
    pub(super) fn new(script: Rc<Script>, is_unix: bool, is_dialled: bool, capacity: usize) -> Socket {
        let waits = script.talk.as_ref().is_some_and(|talk| talk.role == Role::Server);
        Socket {
            request: waits.then(Vec::new),
            accept: String::new(),
            seal: None,
            script,
            is_unix,
            id: None,
            is_connecting: is_dialled,
            sent: 0,
            arrived: 0,
            read: 0,
            mark: None,
            fin_sent: false,
            fin_arrived: false,
            error: None,
            is_broken: false,
            capacity,
            used: 0,
            is_choked: false,
            lacked_room: false,
            taken: Vec::new(),
            taken_in_all: 0,
            received: 0,
            fin_said: false,
            closed: None,
            is_watched: false,
            watches_room: false,
            woken: Ready::empty(),
            read_now: 0,
            greatest_read: 0,
        }
    }

    // ---- what is so

    pub(super) fn unread(&self) -> usize {
        self.arrived - self.read
    }

    /// As poll(2) would say: whatever was told before.
    pub(super) fn level(&self) -> Ready {
        let mut level = Ready::empty();
        level.set(Ready::IN, self.unread() > 0 || self.fin_arrived || self.is_broken);
        level.set(Ready::OUT, !self.is_connecting && (self.has_room() || self.fin_said || self.is_broken));
        level.set(Ready::PRI, self.mark.is_some_and(|mark| mark < self.arrived));
        level.set(Ready::RDHUP, self.fin_arrived || self.is_broken);
        level.set(Ready::HUP, (self.fin_arrived && self.fin_said) || self.is_broken);
        level.set(Ready::ERR, self.error.is_some());
        level
    }

    /// Worth telling of: a third of the buffer is free.
    fn has_room(&self) -> bool {
        !self.is_choked && self.free() > 0 && 2 * self.free() >= self.used
    }

    fn free(&self) -> usize {
        if self.is_choked { 0 } else { self.capacity.saturating_sub(self.used) }
    }

    /// Whether it has an edge that is to be told of.
    pub(super) fn is_woken(&self) -> bool {
        self.is_watched && !self.woken.is_empty()
    }

    pub(super) fn watches_room(&self) -> bool {
        self.watches_room
    }

    fn interest(&self) -> Ready {
        let interest = Ready::IN | Ready::PRI | Ready::RDHUP | Ready::ALWAYS;
        if self.watches_room { interest | Ready::OUT } else { interest }
    }

    /// Something happened: an edge, if it is one that was asked for.
    pub(super) fn wake(&mut self, what: Ready) {
        if self.closed.is_none() && self.is_watched {
            self.woken |= what & self.interest();
        }
    }

    /// Takes it off the ready list: what epoll tells. What came is told unless it is gone by now; what else is so may be
    /// told with it, as `also` says, but is no reason to tell anything.
    pub(super) fn tell(&mut self, also: bool) -> Ready {
        let so = self.level() & self.interest();
        let told = self.woken & so;
        self.woken = Ready::empty();
        if told.is_empty() {
            return told;
        }
        // A mark, a FIN, a hang-up and an error cannot be hidden while they last.
        let lasting = Ready::PRI | Ready::RDHUP | Ready::ALWAYS;
        let more = if also || so.intersects(lasting) { so } else { told };
        told | more
    }

    // ---- what the reactor does

    pub(super) fn receive(&mut self, buffer: &mut [u8], most: usize) -> io::Result<usize> {
        let n = self.unread().min(buffer.len()).min(most);
        if n == 0 {
            return match self.error.take_if(|_| !self.fin_arrived) {
                Some(error) => Err(error.into()),
                None if self.is_broken || self.fin_arrived => Ok(0),
                None => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let n = match self.mark {
            Some(mark) if mark > self.read => n.min(mark - self.read),
            _ => n,
        };
        match &self.seal {
            Some(seal) => buffer[..n].copy_from_slice(&seal.stream[self.read..self.read + n]),
            None => buffer[..n].copy_from_slice(&self.said(self.read, n)),
        }
        self.read += n;
        self.mark = self.mark.filter(|&mark| mark >= self.read);
        self.read_now += n;
        self.greatest_read = self.greatest_read.max(n);
        Ok(n)
    }

    /// Takes as much of that as there is room for, and memory (`most`).
    pub(super) fn send(&mut self, pieces: &[io::IoSlice<'_>], most: usize) -> io::Result<usize> {
        if self.is_broken {
            return Err(self.error.take().unwrap_or(ErrorKind::BrokenPipe).into());
        }
        let mut room = self.free().min(most);
        let before = self.taken.len();
        // What is sealed is heard when the peer reads it.
        for piece in pieces {
            let fits = piece.len().min(room);
            self.taken.extend_from_slice(&piece[..fits]);
            room -= fits;
            if fits < piece.len() {
                self.lacked_room = true;
                // What made it stop lasts until somebody is told that it is over.
                self.is_choked |= most < self.free();
            }
        }
        let n = self.taken.len() - before;
        let new = self.taken.split_off(before);
        match &mut self.seal {
            Some(seal) => seal.put(&new),
            None => self.hear(&new),
        }
        self.used += n;
        self.taken_in_all += n as u64;
        if n == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        if self.is_broken {
            return Err(ErrorKind::NotConnected.into());
        }
        self.fin_said = true;
        if self.fin_arrived {
            self.wake(Ready::HUP);
        }
        Ok(())
    }

    /// Room is told of from now on, at once when there is some; or no longer. A change of interest may look at the input
    /// too (`again`), as Linux does.
    pub(super) fn watch_room(&mut self, on: bool, again: bool) {
        self.watches_room = on;
        if !on {
            self.woken.remove(Ready::OUT);
        } else if self.level().contains(Ready::OUT) {
            self.wake(Ready::OUT);
        } else {
            self.lacked_room = true;
        }
        if again {
            self.wake(self.level());
        }
    }

    /// It comes onto epoll's list, for room too or not, and what is so is told at once.
    pub(super) fn watch(&mut self, for_room: bool) {
        (self.is_watched, self.watches_room) = (true, for_room);
        self.wake(self.level());
    }

    pub(super) fn unwatch(&mut self) {
        self.is_watched = false;
        self.woken = Ready::empty();
    }

    pub(super) fn close(&mut self, with_reset: bool) {
        let left_unread = self.unread() > 0;
        // Behind its goodbye nothing comes but the FIN.
        let has_parted = self.seal.as_ref().is_some_and(|seal| seal.said_goodbye) && self.is_read_through();
        let peer_was_done = self.fin_arrived || has_parted;
        self.closed = Some(Closing { with_reset, left_unread, peer_was_done });
        self.woken = Ready::empty();
    }

    // ---- what the network does

    pub(super) fn arrive(&mut self, n: usize) {
        if n > 0 && !self.is_broken {
            self.arrived += n;
            let urgent = self.mark.is_some_and(|mark| mark < self.arrived);
            self.wake(if urgent { Ready::IN | Ready::PRI } else { Ready::IN });
        }
    }

    pub(super) fn arrive_fin(&mut self) {
        self.fin_arrived = true;
        self.wake(Ready::IN | Ready::RDHUP | Ready::HUP);
    }

    pub(super) fn break_down(&mut self, error: ErrorKind) {
        // Behind a FIN there is nothing to read, not even an error.
        self.error = Some(if self.fin_arrived { ErrorKind::BrokenPipe } else { error });
        self.is_broken = true;
        self.is_connecting = false;
        self.used = 0;
        self.wake(Ready::BROKEN);
    }

    pub(super) fn connected(&mut self) {
        self.is_connecting = false;
        self.wake(Ready::OUT);
    }

    /// The peer reads so much: there is room again.
    pub(super) fn acknowledge(&mut self, n: usize) {
        self.open(n);
        self.used -= n;
        self.received += n as u64;
        self.tell_of_room();
    }

    pub(super) fn unchoke(&mut self) {
        self.is_choked = false;
        self.tell_of_room();
    }

    fn tell_of_room(&mut self) {
        if self.lacked_room && self.has_room() {
            self.lacked_room = false;
            self.wake(Ready::OUT);
        }
    }
}
