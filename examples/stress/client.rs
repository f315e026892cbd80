//! One connection, as the load keeps it.

use std::collections::VecDeque;

use wheelhouse::{Conn, ConnId, Sent};

use crate::{
    frames::{Event, Reader},
    handshake::Answer,
    pattern::{Pattern, Wrong},
    secure::Secure,
};

/// Its stream is this long in either direction, and its messages are due, sent and answered in this order.
pub(crate) struct Client {
    /// Among all connections of the load.
    pub(crate) index: u32,
    pub(crate) id: Option<ConnId>,
    /// Messages can be sent: TLS and a WebSocket have been agreed to, where they are spoken.
    pub(crate) is_open: bool,
    pub(crate) is_full: bool,
    /// Under the wire, where TLS is spoken.
    pub(crate) secure: Option<Box<Secure>>,
    pub(crate) wire: Wire,
    pub(crate) fault: Option<Fault>,
    /// Bytes of messages.
    pub(crate) sent: u64,
    /// Bytes of messages.
    pub(crate) received: u64,
    /// Messages due so far (open loop).
    pub(crate) due: u64,
    /// Messages sent.
    pub(crate) asked: u64,
    /// Messages that have come back whole.
    pub(crate) answered: u64,
    /// When the messages under way were sent, and how many each time (closed loop).
    pub(crate) sent_at: VecDeque<(u64, u64)>,
}

/// What is spoken: bytes as they are, or a WebSocket and how far that is.
pub(crate) enum Wire {
    Plain,
    /// The request has been sent, with that nonce.
    Asked(u128, Answer),
    Frames(Box<Reader>),
    /// The server has sent its close frame.
    Closed,
}

/// What a server did wrong.
pub(crate) enum Fault {
    Wrong(Wrong),
    /// In words.
    Broke(String),
}

impl From<Wrong> for Fault {
    fn from(wrong: Wrong) -> Fault {
        Fault::Wrong(wrong)
    }
}

/// What one read brought.
#[derive(Default)]
pub(crate) struct Heard {
    /// The WebSocket was agreed to.
    pub(crate) agreed: bool,
    /// Messages that are whole now.
    pub(crate) messages: u64,
    /// Bytes of messages.
    pub(crate) bytes: u64,
    pub(crate) pings: Vec<Vec<u8>>,
    /// A close frame, with its code where it has one.
    pub(crate) close: Option<Option<u16>>,
}

impl Client {
    pub(crate) fn new(index: u32) -> Client {
        Client {
            index,
            id: None,
            is_open: false,
            is_full: false,
            secure: None,
            wire: Wire::Plain,
            fault: None,
            sent: 0,
            received: 0,
            due: 0,
            asked: 0,
            answered: 0,
            sent_at: VecDeque::new(),
        }
    }

    /// Sends bytes of the wire: as they are, or sealed by way of `sealed`, which is any buffer.
    pub(crate) fn send(&mut self, conn: &mut Conn<'_>, bytes: &[u8], sealed: &mut Vec<u8>) -> Sent {
        match &mut self.secure {
            None => conn.send(bytes),
            Some(secure) => secure.send(conn, bytes, sealed),
        }
    }

    /// Says that nothing more will be sent, where TLS has a word for it.
    pub(crate) fn end(&mut self, conn: &mut Conn<'_>, sealed: &mut Vec<u8>) {
        if let Some(secure) = &mut self.secure {
            secure.end();
            secure.flush(conn, sealed);
        }
    }

    /// Bytes came, of messages of `size` bytes. Without a pattern only their number is looked at.
    pub(crate) fn hear(
        &mut self,
        bytes: &[u8],
        size: u64,
        pattern: Option<&Pattern>,
        heard: &mut Heard,
    ) -> Result<(), Fault> {
        match &mut self.wire {
            Wire::Plain => {
                heard.bytes += bytes.len() as u64;
                self.receive(bytes, pattern)?;
                heard.messages = self.received / size - self.answered;
                self.answered += heard.messages;
                Ok(())
            }
            Wire::Asked(nonce, answer) => match answer.take(bytes, *nonce) {
                Ok(None) => Ok(()),
                Ok(Some(rest)) => {
                    heard.agreed = true;
                    self.hear_frames(Box::default(), &rest, size, pattern, heard)
                }
                Err(what) => Err(Fault::Broke(format!("no WebSocket: {what}"))),
            },
            Wire::Frames(reader) => {
                let reader = std::mem::take(reader);
                self.hear_frames(reader, bytes, size, pattern, heard)
            }
            Wire::Closed => Ok(()),
        }
    }

    fn hear_frames(
        &mut self,
        mut reader: Box<Reader>,
        mut bytes: &[u8],
        size: u64,
        pattern: Option<&Pattern>,
        heard: &mut Heard,
    ) -> Result<(), Fault> {
        let broke = |what: &str| Fault::Broke(format!("WebSocket: {what}"));
        while let Some(event) = reader.next(&mut bytes).map_err(broke)? {
            match event {
                Event::Piece(piece) => {
                    heard.bytes += piece.len() as u64;
                    self.receive(piece, pattern)?;
                    if self.received > (self.answered + 1) * size {
                        return Err(broke("a message longer than it was sent"));
                    }
                }
                Event::End => {
                    if self.answered == self.asked {
                        return Err(broke("a message that was never sent"));
                    }
                    self.answered += 1;
                    heard.messages += 1;
                    if self.received < self.answered * size {
                        return Err(broke("a message shorter than it was sent"));
                    }
                }
                Event::Ping(data) => heard.pings.push(data),
                Event::Close(code) => heard.close = Some(code),
            }
        }
        self.wire = if heard.close.is_some() { Wire::Closed } else { Wire::Frames(reader) };
        Ok(())
    }

    /// Bytes of messages came back.
    fn receive(&mut self, bytes: &[u8], pattern: Option<&Pattern>) -> Result<(), Wrong> {
        let expected = (self.sent - self.received).min(bytes.len() as u64) as usize;
        if let Some(pattern) = pattern {
            pattern.check(self.index, self.received, &bytes[..expected])?;
        }
        if let Some(&seen) = bytes.get(expected) {
            return Err(Wrong { position: self.sent, expected: None, seen });
        }
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// When the oldest messages under way were sent, and how many of them, up to `most`; they are answered now.
    pub(crate) fn take_sent(&mut self, most: u64) -> Option<(u64, u64)> {
        let (sent_at, count) = self.sent_at.front_mut()?;
        let taken = (*sent_at, most.min(*count));
        *count -= taken.1;
        if *count == 0 {
            self.sent_at.pop_front();
        }
        Some(taken)
    }
}
