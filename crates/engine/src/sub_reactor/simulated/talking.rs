//! What a socket's peer says and hears: its script and our answers, as they are or sealed.

use super::{
    head::{accept_of, key_of},
    seal::Manner,
    socket::Socket,
};

impl Socket {
    /// Whether the peer waits for what it is to answer.
    pub(super) fn is_waited_for(&self) -> bool {
        self.request.is_some() && !self.seal.as_ref().is_some_and(|seal| seal.manner == Manner::Plain)
    }

    /// Bytes of the script from there on, with the answer to our key where it belongs.
    pub(super) fn said(&self, from: usize, n: usize) -> Vec<u8> {
        let mut bytes = self.script.bytes[from..from + n].to_vec();
        let Some(at) = self.script.talk.as_ref().and_then(|talk| talk.head.accept_at) else { return bytes };
        for (place, letter) in (at..).zip(self.accept.bytes()) {
            if let Some(byte) = place.checked_sub(from).and_then(|place| bytes.get_mut(place)) {
                *byte = letter;
            }
        }
        bytes
    }

    /// Whether the peer will send no more than it has.
    pub(super) fn has_said_all(&self) -> bool {
        match &self.seal {
            Some(seal) => {
                let is_done = seal.given == self.script.bytes.len() && seal.is_ready();
                is_done || seal.manner == Manner::Leaves
            }
            // Behind our FIN it waits for TLS no longer.
            None if self.script.gate == Some(self.sent) => self.fin_said,
            None => self.sent == self.script.bytes.len(),
        }
    }

    /// Whether all was read that the peer will ever have sent.
    pub(super) fn is_read_through(&self) -> bool {
        match &self.seal {
            Some(seal) => self.has_said_all() && self.read == seal.stream.len(),
            None if self.fin_said && self.script.gate == Some(self.read) => true,
            None => self.read == self.script.bytes.len(),
        }
    }

    /// The peer says up to so many bytes more.
    pub(super) fn say(&mut self, n: usize) {
        let all = self.script.bytes.len();
        // It answers when it is asked.
        let n = if self.is_waited_for() { 0 } else { n };
        let Some(seal) = &self.seal else {
            let most = self.script.gate.unwrap_or(all);
            return self.sent += n.min(most - self.sent);
        };
        if seal.is_ready() && !self.fin_sent {
            let bytes = self.said(seal.given, n.min(all - seal.given));
            if let Some(seal) = &mut self.seal {
                if !bytes.is_empty() {
                    seal.say(&bytes);
                }
                seal.garble(all);
            }
        }
        self.keep_up();
    }

    /// It sends no more.
    pub(super) fn say_fin(&mut self) {
        if let Some(seal) = &mut self.seal {
            seal.say_goodbye();
        }
        self.keep_up();
        self.fin_sent = true;
    }

    /// What its TLS has to say goes out, unless it has ended.
    fn keep_up(&mut self) {
        if let Some(seal) = self.seal.as_ref().filter(|_| !self.fin_sent) {
            self.sent = seal.stream.len();
        }
    }

    /// The peer has these bytes, as they were before they were sealed.
    pub(super) fn hear(&mut self, plain: &[u8]) {
        self.taken.extend_from_slice(plain);
        if let Some(request) = &mut self.request {
            request.extend_from_slice(plain);
            if let Some(key) = key_of(request) {
                self.accept = accept_of(&key);
                self.request = None;
            }
        }
    }

    /// So many sealed bytes come to the peer, or all there are.
    pub(super) fn open(&mut self, n: usize) {
        let answers = !self.fin_sent && self.closed.is_none();
        let Some(seal) = &mut self.seal else { return };
        let plain = seal.open(n, answers);
        self.hear(&plain);
        self.keep_up();
    }
}
