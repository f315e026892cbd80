//! Where a reactor's connections are read.

use std::ops::Range;

use super::bounds::LITTLE;
use crate::{
    place::{self, SLACK},
    transport::Session as TlsSession,
};

/// The reactor's read buffer, with head-room: what a connection kept is moved in front of what it reads next, so that a
/// protocol always sees one slice.
///
/// ```text
/// | head-room ........ [kept] | [read] ............. | more, for a large message |
///                      ^------frame------^
/// ```
///
/// While large messages come whole they are read with one call: their parts need not be put together.
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    body: usize,
    /// Bytes of an ordinary read.
    size: usize,
    /// Where what can be read at once ends: of frames the second one.
    ends: [usize; 2],
    /// The same for everybody, while a turn lasts long.
    bound: usize,
    scratch: Vec<u8>,
}

impl ReadBuffer {
    /// As much head-room as there is room to read, and for a record of TLS that is not whole. What is never written to takes no
    /// memory.
    pub(crate) fn new(size: usize) -> Self {
        let head_room = size + TlsSession::MAX_LONG_HANDSHAKE;
        let mut bytes = vec![0; head_room + SLACK + size + LITTLE];
        let body = head_room + place::lead(&bytes[head_room..]);
        bytes.truncate(body + size + LITTLE);
        ReadBuffer { bytes, body, size, ends: [body + size; 2], bound: usize::MAX, scratch: Vec::new() }
    }

    /// Room to read.
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.body..self.ends[0].min(self.bound)]
    }

    /// How much is read at once, for now, but for large messages.
    #[inline]
    pub(super) fn most(&self) -> usize {
        self.ends[0].min(self.bound) - self.body
    }

    /// Has no more read at once than so much, until it is unbound.
    pub(super) fn bind(&mut self, most: usize) {
        self.bound = self.body + most;
    }

    /// Has as much read at once as there is room for.
    #[inline]
    pub(super) fn unbind(&mut self) {
        self.bound = usize::MAX;
    }

    /// Whether less is read at once than could be.
    #[inline]
    pub(super) fn is_bound(&self) -> bool {
        self.bound != usize::MAX
    }

    /// The same for bytes that are cut as frames, or not.
    #[inline]
    pub(super) fn room_for(&mut self, is_frames: bool) -> &mut [u8] {
        &mut self.bytes[self.body..self.ends[usize::from(is_frames)].min(self.bound)]
    }

    /// A large message was there when it was read: the next one may be too.
    pub(super) fn widen(&mut self) {
        self.ends[1] = self.bytes.len();
    }

    /// Something of what was read had to be kept: the less of it the better.
    pub(super) fn narrow(&mut self) {
        self.ends[1] = self.ends[0];
    }

    /// How much is read at once, but for large messages; what is kept is no more.
    #[inline]
    pub(super) fn size(&self) -> usize {
        self.size
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_begins_at_the_place_in_a_page_whatever_the_size() {
        for size in [1024, 65_536, 100_000] {
            let mut buffer = ReadBuffer::new(size);
            assert_eq!(place::lead(buffer.room()), 0);
            assert_eq!((buffer.room().len(), buffer.size()), (size, size));
        }
    }

    #[test]
    fn there_is_more_room_for_frames_only_and_only_until_something_is_left() {
        let mut buffer = ReadBuffer::new(1024);
        buffer.widen();
        assert_eq!((buffer.room_for(false).len(), buffer.room_for(true).len()), (1024, 1024 + LITTLE));
        buffer.narrow();
        assert_eq!(buffer.room_for(true).len(), 1024);
    }
}
