use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use crate::{CloseCode, Violation};

/// Decompresses messages (RFC 7692, 7.2.2).
///
/// ```
/// use wheelhouse_websocket::{CloseCode, deflate::Inflator};
///
/// let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
/// let (mut inflator, mut out) = (Inflator::new(15), Vec::new());
/// inflator.inflate(&hello, false, 5, &mut out)?;
/// assert_eq!(out, b"Hello");
///
/// let refused = inflator.inflate(&hello, false, 4, &mut out).unwrap_err();
/// assert_eq!(refused.code, CloseCode::TOO_BIG);
/// assert_eq!(out, b"Hello"); // as it came
/// # Ok::<(), wheelhouse_websocket::Violation>(())
/// ```
///
/// One `Inflator` serves one direction of one connection, or, where no context is kept, any number of
/// connections in turn: after a message whose context is not kept, and after an error, nothing of it is
/// left to refer to.
pub struct Inflator {
    stream: Decompress,
}

impl Inflator {
    /// An inflater for a peer that refers back at most `2^window_bits` bytes (8 to 15, as agreed on).
    ///
    /// ```
    /// use wheelhouse_websocket::deflate::{Deflator, Inflator};
    ///
    /// // One reads what compressors of any window have written.
    /// let mut inflator = Inflator::new(15);
    /// for window_bits in 8..=15 {
    ///     let (mut compressed, mut message) = (Vec::new(), Vec::new());
    ///     Deflator::new(window_bits, 6).deflate(&[b'x'; 40_000], false, &mut compressed);
    ///     inflator.inflate(&compressed, false, 40_000, &mut message).unwrap();
    ///     assert_eq!(message.len(), 40_000);
    /// }
    /// ```
    ///
    /// The bound is not enforced: zlib-rs keeps 32 KiB whatever it is, and a peer that refers back
    /// further than it said finds its own bytes there.
    pub fn new(window_bits: u8) -> Inflator {
        debug_assert!((8..=15).contains(&window_bits));
        // A smaller window would save nothing, and be allocated anew at each reset.
        Inflator { stream: Decompress::new(false) }
    }

    /// Inflates the payload of one message, all its frames together, and appends it to `out`.
    ///
    /// ```
    /// use wheelhouse_websocket::{CloseCode, deflate::{Deflator, Inflator}};
    ///
    /// let mut bomb = Vec::new();
    /// Deflator::new(15, 9).deflate(&[0; 1 << 20], false, &mut bomb); // a megabyte in a kilobyte
    /// let mut out = Vec::new();
    /// let refused = Inflator::new(15).inflate(&bomb, false, 64 << 10, &mut out).unwrap_err();
    /// assert_eq!(refused.code, CloseCode::TOO_BIG);
    /// assert!(bomb.len() < 1100 && out.is_empty() && out.capacity() < 256 << 10); // never inflated whole
    /// ```
    ///
    /// With `keep_context`, the next message may refer to this one; without, what was kept before is
    /// forgotten too. A message may be made of several deflate streams, each ended by a final block.
    ///
    /// `out` grows with what comes, by 16 KiB or to the double, and never holds more than `max` + 1 bytes
    /// of the message. Allocates only where `out` lacks room.
    ///
    /// # Errors
    ///
    /// [`CloseCode::TOO_BIG`] as soon as there are more than `max` bytes; [`CloseCode::INVALID`] for what
    /// is not deflate, or ends within a block. (With `keep_context` zlib does not tell: a peer may contrive
    /// codes with which the next message goes on in that block, but nothing that it did not send comes out.)
    /// `out` is as long then as it was, and the context is forgotten.
    pub fn inflate(
        &mut self,
        payload: &[u8],
        keep_context: bool,
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let start = out.len();
        let room = Room { filled: start, end: start.saturating_add(max), out };
        let inflated = self.run(payload, keep_context, room);
        if inflated.is_err() {
            out.truncate(start);
        }
        if inflated.is_err() || !keep_context {
            self.stream.reset(false);
        }
        inflated
    }

    fn run(&mut self, payload: &[u8], keep_context: bool, mut room: Room<'_>) -> Result<(), Violation> {
        if payload.is_empty() {
            return Ok(()); // without even the `00` of 7.2.3.6, as careless peers send it
        }
        room.grow(payload.len().saturating_mul(8).clamp(LEAST_STEP, STEP));

        // A peer that ends its last stream with its payload needs no tail, though it should send the `00`
        // of one (7.2.3.4).
        if self.feed(payload, &mut room)? != End::OfStream {
            let tail = if keep_context { TAIL_AND_EMPTY } else { TAIL_AND_END };
            let before = room.filled;
            self.feed_tail(tail, &mut room)?;
            // Behind the end of a block none of it is data.
            if room.filled != before {
                return Err(CUT_SHORT);
            }
        }
        room.out.truncate(room.filled);
        Ok(())
    }

    /// Inflates all of `input`, stream after stream.
    fn feed(&mut self, mut input: &[u8], room: &mut Room<'_>) -> Result<End, Violation> {
        loop {
            let status = self.step(&mut input, room)?;
            let is_full = room.is_full();
            match status {
                Status::StreamEnd => {
                    self.stream.reset(false);
                    if input.is_empty() {
                        return Ok(End::OfStream);
                    }
                }
                // What filled the room may go on without further input.
                _ if is_full => {}
                _ if input.is_empty() => return Ok(End::OfInput),
                _ => return Err(CORRUPT),
            }
            if is_full {
                room.grow(STEP);
            }
        }
    }

    fn feed_tail(&mut self, tail: &[u8], room: &mut Room<'_>) -> Result<(), Violation> {
        let mut input = tail;
        loop {
            let status = self.step(&mut input, room)?;
            match status {
                Status::StreamEnd => {
                    self.stream.reset(false);
                    // The stream ended with the block that the tail completes, or with the probe.
                    let is_probe = tail == TAIL_AND_END && input.is_empty();
                    let is_whole = is_probe || tail.len() - input.len() == TAIL.len();
                    return if is_whole { Ok(()) } else { Err(CORRUPT) };
                }
                _ if room.is_full() => room.grow(STEP),
                _ if tail == TAIL_AND_EMPTY => return Ok(()),
                _ => return Err(CUT_SHORT),
            }
        }
    }

    fn step(&mut self, input: &mut &[u8], room: &mut Room<'_>) -> Result<Status, Violation> {
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        let status = self
            .stream
            .decompress(input, &mut room.out[room.filled..], FlushDecompress::Sync)
            .map_err(|_| CORRUPT)?;
        *input = &input[(self.stream.total_in() - read) as usize..];
        room.filled += (self.stream.total_out() - written) as usize;
        if room.filled > room.end { Err(TOO_BIG) } else { Ok(status) }
    }
}

impl fmt::Debug for Inflator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflator").finish_non_exhaustive()
    }
}

/// ```text
/// | before | of this message | zeroed      | capacity |
///          ^ start           ^ filled      ^ out.len()
/// ```
struct Room<'a> {
    out: &'a mut Vec<u8>,
    filled: usize,
    /// Where a message of the maximum ends. One byte more is given room, so that a message that exceeds it
    /// is told from one that just reaches it.
    end: usize,
}

impl Room<'_> {
    fn is_full(&self) -> bool {
        self.filled == self.out.len()
    }

    /// Makes room for `step` bytes beyond what is filled, but for no more than one beyond the maximum.
    fn grow(&mut self, step: usize) {
        let most = self.end.saturating_add(1);
        let len = self.filled.saturating_add(step).min(most);
        let capacity = self.out.capacity();
        if len > capacity {
            // Doubled as Vec would, but not past the maximum.
            let capacity = capacity.saturating_mul(2).min(most).max(len);
            self.out.reserve_exact(capacity - self.out.len());
        }
        self.out.resize(len, 0);
    }
}

#[derive(PartialEq, Eq)]
enum End {
    OfStream,
    OfInput,
}

/// What the sender took away (RFC 7692, 7.2.2).
const TAIL: &[u8] = &[0x00, 0x00, 0xff, 0xff];

/// The same, and an empty block more: nothing where no other block is open, and else most likely data or corrupt.
const TAIL_AND_EMPTY: &[u8] = &[0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff];

/// The same, and an empty final block: the stream ends with it exactly if no other block is open.
const TAIL_AND_END: &[u8] = &[0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

const STEP: usize = 16 * 1024;
const LEAST_STEP: usize = 1024;

const TOO_BIG: Violation =
    Violation { code: CloseCode::TOO_BIG, what: "a compressed message inflates to more than is allowed" };
const CORRUPT: Violation = Violation { code: CloseCode::INVALID, what: "a compressed message is corrupt" };
const CUT_SHORT: Violation =
    Violation { code: CloseCode::INVALID, what: "a compressed message is cut short" };
