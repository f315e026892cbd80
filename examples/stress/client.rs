//! One connection, as the load keeps it.

use std::collections::VecDeque;

use wheelhouse::ConnId;

use crate::pattern::{Pattern, Wrong};

/// Its stream is this long in either direction, and its messages are due, sent and answered in this order.
pub(crate) struct Client {
    /// Among all connections of the load.
    pub(crate) index: u32,
    pub(crate) id: Option<ConnId>,
    pub(crate) is_open: bool,
    pub(crate) is_full: bool,
    pub(crate) corrupt: Option<Wrong>,
    /// In bytes.
    pub(crate) sent: u64,
    /// In bytes.
    pub(crate) received: u64,
    /// Messages due so far (open loop).
    pub(crate) due: u64,
    /// When the messages under way were sent, and how many each time (closed loop).
    pub(crate) sent_at: VecDeque<(u64, u64)>,
}

impl Client {
    pub(crate) fn new(index: u32) -> Client {
        Client {
            index,
            id: None,
            is_open: false,
            is_full: false,
            corrupt: None,
            sent: 0,
            received: 0,
            due: 0,
            sent_at: VecDeque::new(),
        }
    }

    /// Bytes came back: gives the number of messages of `size` bytes that are complete now. Without a pattern only their
    /// number is looked at.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        size: u64,
        pattern: Option<&Pattern>,
    ) -> Result<u64, Wrong> {
        let expected = (self.sent - self.received).min(bytes.len() as u64) as usize;
        if let Some(pattern) = pattern {
            pattern.check(self.index, self.received, &bytes[..expected])?;
        }
        if let Some(&seen) = bytes.get(expected) {
            return Err(Wrong { position: self.sent, expected: None, seen });
        }
        let before = self.received / size;
        self.received += bytes.len() as u64;
        Ok(self.received / size - before)
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
