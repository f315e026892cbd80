use std::fmt;

use flate2::{Compress, Compression, FlushCompress};

/// Compresses messages (RFC 7692, 7.2.1).
///
/// ```
/// use wheelhouse_websocket::deflate::Deflator;
///
/// let mut deflator = Deflator::new(15, 1);
/// let (mut first, mut second) = (Vec::new(), Vec::new());
/// deflator.deflate(b"Hello", true, &mut first);
/// deflator.deflate(b"Hello", true, &mut second); // found in what was kept of the first
/// assert_eq!((first.len(), second.len()), (7, 4));
/// ```
///
/// One `Deflator` serves one direction of one connection, or, where no context is kept, any number of
/// connections in turn: after a message whose context is not kept, nothing of it is left to refer to.
pub struct Deflator {
    stream: Compress,
    /// Whether messages were compressed since the last reset.
    is_used: bool,
}

impl Deflator {
    /// A compressor that refers back at most `2^window_bits` bytes (8 to 15, as agreed on), and takes
    /// trouble by `level`: 0 stores, 1 is fast, 9 is slow. Values out of bounds count as the nearest
    /// within.
    ///
    /// ```
    /// use wheelhouse_websocket::deflate::Deflator;
    ///
    /// let text = "the quick brown fox ".repeat(50);
    /// let size = |level| {
    ///     let mut out = Vec::new();
    ///     Deflator::new(15, level).deflate(text.as_bytes(), false, &mut out);
    ///     out.len()
    /// };
    /// assert!(size(9) < 50 && size(0) > text.len());
    /// ```
    pub fn new(window_bits: u8, level: u32) -> Deflator {
        // zlib has no raw stream of 8 bits, but looks back 262 bytes less than its window holds: with 9
        // bits at most 250, which fit into 8.
        let window_bits = window_bits.clamp(9, 15);
        let level = Compression::new(level.min(9));
        Deflator { stream: Compress::new_with_window_bits(level, false, window_bits), is_used: false }
    }

    /// Compresses one message, and appends to `out` what its frames carry: without the `00 00 ff ff` at
    /// the end, and `00` alone for an empty message.
    ///
    /// ```
    /// use wheelhouse_websocket::deflate::Deflator;
    ///
    /// let mut deflator = Deflator::new(15, 1);
    /// let mut size = |message: &[u8], keep_context| {
    ///     let mut out = Vec::new();
    ///     deflator.deflate(message, keep_context, &mut out);
    ///     out.len()
    /// };
    /// let price = br#"{"symbol":"ACME","price":12.5}"#;
    /// let (first, second) = (size(price, true), size(price, false)); // which is forgotten then
    /// assert!(second < first && size(price, false) == first);
    /// assert_eq!(size(b"", false), 1);
    /// ```
    ///
    /// With `keep_context`, the next message may refer to this one; without, what was kept before is
    /// forgotten too. A message may come out longer than it went in: by an eighth and a few bytes at level 1,
    /// by 5 bytes per 16 KiB and a few at the others, where the window is of 15 bits, and by more where it is smaller;
    /// [`most_deflated`](super::most_deflated) is the bound.
    ///
    /// Allocates only where `out` lacks room.
    pub fn deflate(&mut self, payload: &[u8], keep_context: bool, out: &mut Vec<u8>) {
        if payload.is_empty() {
            out.push(EMPTY); // zlib refuses to flush twice in a row
        } else {
            self.compress(payload, out);
        }
        if !keep_context {
            self.forget();
        }
    }

    /// Forgets the messages before, whose context was kept: the next one refers to none of them, as any may.
    ///
    /// ```
    /// use wheelhouse_websocket::deflate::Deflator;
    ///
    /// let mut deflator = Deflator::new(15, 1);
    /// let mut size = |forgets| {
    ///     let mut out = Vec::new();
    ///     deflator.deflate(b"Hello", true, &mut out);
    ///     if forgets {
    ///         deflator.forget();
    ///     }
    ///     out.len()
    /// };
    /// assert_eq!([size(false), size(true), size(false)], [7, 4, 7]);
    /// ```
    pub fn forget(&mut self) {
        if self.is_used {
            self.stream.reset();
            self.is_used = false;
        }
    }

    fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.is_used = true;
        let mut rest = payload;
        loop {
            out.reserve((rest.len() + rest.len() / 8 + LEAST_ROOM).min(STEP));
            let before = self.stream.total_in();
            #[expect(
                clippy::expect_used,
                reason = "fails on a stream that was set up wrongly, never on its input"
            )]
            self.stream.compress_vec(rest, out, FlushCompress::Sync).expect("a deflate stream");

            rest = &rest[(self.stream.total_in() - before) as usize..];
            // Output that ends with the room may go on. If it does not, another empty block follows, which
            // inflates to nothing.
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
        }
        debug_assert!(out.ends_with(&[0x00, 0x00, 0xff, 0xff]));
        out.truncate(out.len() - 4);
    }
}

impl fmt::Debug for Deflator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflator").field("is_used", &self.is_used).finish_non_exhaustive()
    }
}

/// The header of an empty stored block, which the taken-away `00 00 ff ff` goes with (RFC 7692, 7.2.3.6).
const EMPTY: u8 = 0x00;

/// The most room that is asked for at once, in bytes; zlib keeps as much of its own.
const STEP: usize = 16 * 1024;

/// More than the marker of a flush, or zlib would write it again and again; and room for a block's header.
const LEAST_ROOM: usize = 64;
