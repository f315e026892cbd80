//! How the connections of a client come, what comes over them, and how they go.

use std::{
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use mio::{Interest, Token, unix::SourceFd};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, send},
};

use super::{Holder, REPORT, State};
use crate::{
    dial::Refused,
    machine::now,
    secure::Secure,
    wire::{ANNOUNCEMENT, Event},
};

/// A connection that is not open after so long begins anew, from another port.
const PATIENCE: Duration = Duration::from_secs(5);

/// After a failure nothing is tried for so long, or a server that refuses would be asked in a busy loop.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// Connections closed before something else is looked at.
const SLICE: usize = 256;

impl Holder {
    // ---- connections come

    pub(super) fn open_more(&mut self) {
        if self.pause_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.pause_until = None;
        while self.under_way.len() < self.window
            && self.status.open + (self.under_way.len() as u64) < self.target
        {
            let fd = match self.dial.begin() {
                Ok(fd) => fd,
                Err(Refused::Ever(errno)) => return self.get_stuck(&errno.to_string()),
                Err(refused) => return self.retry(&refused.errno().to_string()),
            };
            let slot = self.vacant.pop().unwrap_or_else(|| {
                self.sockets.push(None);
                self.states.push(State::Vacant);
                self.sessions.extend(self.trust.is_some().then_some(None));
                self.sockets.len() as u32 - 1
            });
            self.under_way.insert(slot, Instant::now());
            self.states[slot as usize] = State::Connecting;
            let fd = self.sockets[slot as usize].insert(fd).as_raw_fd();
            // Before it is watched: what is done by then needs no event.
            self.greet(slot);
            let interest = match self.states[slot as usize] {
                // It has failed, and nothing is tried for a while.
                State::Vacant => return,
                State::Connecting => Interest::READABLE | Interest::WRITABLE,
                State::Greeting | State::Open => Interest::READABLE,
            };
            if let Err(error) =
                self.poll.registry().register(&mut SourceFd(&fd), Token(slot as usize), interest)
            {
                self.failed(slot, &error.to_string());
                if error.raw_os_error() == Some(Errno::ENOSPC as i32) {
                    self.get_stuck("no more epoll watches (fs.epoll.max_user_watches)");
                }
                return;
            }
        }
    }

    /// This process can have no more, whoever is asked.
    fn get_stuck(&mut self, why: &str) {
        self.status.stuck = Some(format!("{why} after {} connections", self.status.open));
        self.target = 0;
        self.say_status();
    }

    /// Sends the greeting, if the connection is there; with TLS its hello, which is made anew when it is not.
    fn greet(&mut self, slot: u32) {
        self.out.clear();
        match self.trust.as_ref().map(Secure::begin) {
            None => self.out.extend_from_slice(self.wire.greeting()),
            Some(Ok(mut session)) => {
                session.put_waiting(&mut self.out);
                self.sessions[slot as usize] = Some(Box::new(session));
            }
            Some(Err(why)) => return self.failed(slot, &why),
        }
        let Some(socket) = &self.sockets[slot as usize] else { return };
        match send(socket.as_raw_fd(), &self.out, MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) if sent == self.out.len() => self.states[slot as usize] = State::Greeting,
            Ok(_) => self.failed(slot, "no room for a greeting"),
            Err(Errno::EAGAIN | Errno::ENOTCONN | Errno::EINTR) => {}
            Err(errno) => self.failed(slot, &errno.to_string()),
        }
    }

    pub(super) fn give_up_late(&mut self) {
        if self.under_way.is_empty() || self.told.elapsed() < REPORT {
            return;
        }
        let late: Vec<u32> = self
            .under_way
            .iter()
            .filter(|(_, began)| began.elapsed() > PATIENCE)
            .map(|(slot, _)| *slot)
            .collect();
        for slot in late {
            self.failed(slot, "no answer in time");
        }
    }

    /// The attempt came to nothing: another one follows.
    fn failed(&mut self, slot: u32, why: &str) {
        self.drop_slot(slot);
        self.retry(why);
    }

    fn retry(&mut self, why: &str) {
        *self.status.retries.entry(why.to_owned()).or_default() += 1;
        self.pause_until = Some(Instant::now() + PAUSE);
    }

    fn opened(&mut self, slot: u32) {
        self.under_way.remove(&slot);
        self.states[slot as usize] = State::Open;
        self.status.open += 1;
        if self.status.open == self.target {
            self.say_status();
        }
    }

    /// Nothing more is opened, and what is under way is dropped.
    pub(super) fn stop(&mut self) {
        self.target = 0;
        for slot in self.under_way.keys().copied().collect::<Vec<_>>() {
            self.drop_slot(slot);
        }
    }

    // ---- what comes

    pub(super) fn ready(&mut self, slot: u32, is_writable: bool) {
        if is_writable && self.states.get(slot as usize) == Some(&State::Connecting) {
            self.greet(slot);
        }
        let mut received = std::mem::take(&mut self.received);
        while let Some(Some(socket)) = self.sockets.get(slot as usize) {
            match recv(socket.as_raw_fd(), &mut received, MsgFlags::empty()) {
                Ok(0) => self.gone(slot, "closed by the server"),
                Ok(n) => {
                    self.open(slot, &received[..n]);
                    if n < received.len() {
                        break;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOTCONN) => break,
                Err(errno) => self.gone(slot, &errno.to_string()),
            }
        }
        self.received = received;
    }

    /// Takes what came, opened first where it is sealed; when the handshake is over, the greeting follows.
    fn open(&mut self, slot: u32, new: &[u8]) {
        let Some(Some(session)) = self.sessions.get_mut(slot as usize) else { return self.take(slot, new) };
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let was_handshaking = session.is_handshaking();
        let opened = session.open(new, &mut plain);
        if was_handshaking && !session.is_handshaking() {
            session.seal(self.wire.greeting());
        }
        self.out.clear();
        session.put_waiting(&mut self.out);
        match opened {
            Err(why) => self.wrong(slot, &why),
            Ok(()) if !self.send_as_it_is(slot) => self.gone(slot, "no room for an answer"),
            Ok(()) if !plain.is_empty() => self.take(slot, &plain),
            Ok(()) => {}
        }
        self.plain = plain;
    }

    fn take(&mut self, slot: u32, new: &[u8]) {
        let whole;
        let mut bytes = match self.pieces.remove(&slot) {
            Some(mut piece) => {
                piece.extend_from_slice(new);
                whole = piece;
                &whole[..]
            }
            None => new,
        };
        if self.states[slot as usize] == State::Greeting {
            match self.wire.answer(bytes) {
                Ok(Some(length)) => {
                    bytes = &bytes[length..];
                    self.opened(slot);
                }
                Ok(None) => return self.keep(slot, bytes),
                Err(why) => return self.wrong(slot, &why),
            }
        }
        while !bytes.is_empty() {
            let (event, length) = match self.wire.next(bytes) {
                Ok(Some(next)) => next,
                Ok(None) => return self.keep(slot, bytes),
                Err(why) => return self.wrong(slot, &why),
            };
            match event {
                Event::Data(data) if self.is_expecting => {
                    if data.len() < ANNOUNCEMENT.len() {
                        return self.keep(slot, bytes);
                    }
                    if data != ANNOUNCEMENT {
                        return self.wrong(slot, "something else than the announcement");
                    }
                    self.status.delivered += 1;
                    self.status.last_delivery_ns = now();
                    if self.status.delivered == self.status.open {
                        self.say_status();
                    }
                }
                Event::Data(data) => {
                    let (connection, pattern) = (self.first + slot, &self.pattern);
                    let Some(talk) = &mut self.talk else {
                        return self.wrong(slot, &format!("{} bytes that nobody asked for", data.len()));
                    };
                    if let Err(why) = talk.take(slot, connection, data, pattern, now()) {
                        return self.wrong(slot, &why);
                    }
                }
                Event::Ping(data) => {
                    self.out.clear();
                    self.wire.put_pong(&mut self.out, data);
                    self.status.pings += u64::from(self.send_out(slot));
                }
                Event::Close => return self.gone(slot, "closed by the server, with a close frame"),
            }
            bytes = &bytes[length..];
        }
    }

    fn keep(&mut self, slot: u32, bytes: &[u8]) {
        self.pieces.insert(slot, bytes.to_vec());
    }

    /// What is in `out`, in one piece: these connections have nothing else queued.
    pub(super) fn send_out(&mut self, slot: u32) -> bool {
        if let Some(Some(session)) = self.sessions.get_mut(slot as usize) {
            session.seal(&self.out);
            self.out.clear();
            session.put_waiting(&mut self.out);
        }
        self.send_as_it_is(slot)
    }

    fn send_as_it_is(&self, slot: u32) -> bool {
        if self.out.is_empty() {
            return true;
        }
        let Some(Some(socket)) = self.sockets.get(slot as usize) else { return false };
        send(socket.as_raw_fd(), &self.out, MsgFlags::MSG_NOSIGNAL) == Ok(self.out.len())
    }

    /// What came is not what was to come; the connection counts as lost.
    fn wrong(&mut self, slot: u32, why: &str) {
        self.status.wrong += 1;
        self.status.first_wrong.get_or_insert_with(|| format!("connection {}: {why}", self.first + slot));
        self.gone(slot, "wrong bytes");
    }

    // ---- connections go

    fn gone(&mut self, slot: u32, why: &str) {
        match self.states[slot as usize] {
            State::Vacant => {}
            State::Connecting | State::Greeting => self.failed(slot, why),
            State::Open => {
                *self.status.lost.entry(why.to_owned()).or_default() += 1;
                self.status.open -= 1;
                self.drop_slot(slot);
            }
        }
    }

    pub(super) fn drop_slot(&mut self, slot: u32) {
        self.under_way.remove(&slot);
        self.pieces.remove(&slot);
        if let Some(session) = self.sessions.get_mut(slot as usize) {
            *session = None;
        }
        self.states[slot as usize] = State::Vacant;
        // Closing it ends its being watched.
        self.sockets[slot as usize] = None;
        self.vacant.push(slot);
    }

    /// A slice of those that are to go, from the first on: the last ones stay.
    pub(super) fn close_some(&mut self) {
        let Some((keep, from)) = self.closing else { return };
        let mut at = from;
        let mut closed = 0;
        while at < self.states.len() && self.status.open > keep && closed < SLICE {
            if self.states[at] == State::Open {
                self.status.open -= 1;
                self.drop_slot(at as u32);
                closed += 1;
            }
            at += 1;
        }
        self.closing = (self.status.open > keep && at < self.states.len()).then_some((keep, at));
        if self.closing.is_none() {
            self.say_status();
        }
    }
}
