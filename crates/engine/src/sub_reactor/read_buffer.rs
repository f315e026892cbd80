//! Where a reactor's connections are read.

use std::ops::Range;

use crate::{
    place::{self, SLACK},
    transport::Session as TlsSession,
};

/// The reactor's read buffer, with head-room: what a connection kept is moved in front of what it reads next, so that a
/// protocol always sees one slice.
///
/// ```text
/// | head-room ........ [kept] | [read] ............. |
///                      ^------frame------^
/// ```
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    body: usize,
    /// Where the room to read ends, for now.
    end: usize,
    scratch: Vec<u8>,
}

impl ReadBuffer {
    /// As much head-room as there is room to read, and for a record of TLS that is not whole.
    pub(crate) fn new(size: usize) -> Self {
        let head_room = size + TlsSession::MAX_LONG_HANDSHAKE;
        let mut bytes = vec![0; head_room + SLACK + size];
        let body = head_room + place::lead(&bytes[head_room..]);
        bytes.truncate(body + size);
        ReadBuffer { bytes, body, end: body + size, scratch: Vec::new() }
    }

    /// Room to read.
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.body..self.end]
    }

    /// How much is read at once, for now.
    #[inline]
    pub(super) fn most(&self) -> usize {
        self.end - self.body
    }

    /// Has no more read at once than so much, until it is widened.
    pub(super) fn narrow(&mut self, most: usize) {
        self.end = self.bytes.len().min(self.body + most);
    }

    /// Has as much read at once as there is room for.
    #[inline]
    pub(super) fn widen(&mut self) {
        self.end = self.bytes.len();
    }

    /// Whether less is read at once than could be.
    #[inline]
    pub(super) fn is_narrow(&self) -> bool {
        self.end < self.bytes.len()
    }

    /// How much can be read at once.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() - self.body
    }

    /// Where what is read begins.
    pub(super) fn body(&self) -> usize {
        self.body
    }

    /// The `len` bytes in front of a place.
    pub(super) fn before(&mut self, place: usize, len: usize) -> &mut [u8] {
        &mut self.bytes[place - len..place]
    }

    /// The place for what a protocol inflates or joins.
    pub(super) fn scratch(&mut self) -> &mut Vec<u8> {
        &mut self.scratch
    }

    /// A part of it, and that place.
    pub(super) fn part(&mut self, span: Range<usize>) -> (&mut [u8], &mut Vec<u8>) {
        (&mut self.bytes[span], &mut self.scratch)
    }

    /// The last so many bytes that were kept, and those that were read.
    #[inline]
    pub(super) fn frame(&mut self, kept: usize, read: usize) -> (&mut [u8], &mut Vec<u8>) {
        (&mut self.bytes[self.body - kept..self.body + read], &mut self.scratch)
    }
}
