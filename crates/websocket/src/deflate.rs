//! permessage-deflate (RFC 7692): what two ends agree on, and the messages they compress by it.
//!
//! ```
//! use wheelhouse_websocket::deflate::{Config, Deflator, Inflator};
//!
//! let offer = b"permessage-deflate; client_max_window_bits";
//! let (agreed, answer) = Config::default().answer([&offer[..]].into_iter()).unwrap();
//! assert_eq!(answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
//!
//! let mut deflator = Deflator::new(agreed.server_max_window_bits, Config::default().level);
//! let mut compressed = Vec::new();
//! deflator.deflate(b"Hello", !agreed.server_no_context_takeover, &mut compressed);
//! assert_eq!(compressed, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]); // RFC 7692, 7.2.3.1
//!
//! let mut inflator = Inflator::new(agreed.client_max_window_bits);
//! let mut message = Vec::new();
//! inflator.inflate(&compressed, !agreed.client_no_context_takeover, 1024, &mut message)?;
//! assert_eq!(message, b"Hello");
//! # Ok::<(), wheelhouse_websocket::Violation>(())
//! ```
//!
//! # Whose contexts
//!
//! Where nothing is kept between messages (`no_context_takeover`, the default of both directions), one
//! [`Deflator`] and one [`Inflator`] serve all connections of a thread, and a connection costs nothing.
//! Windows may differ between connections: a server needs a `Deflator` for each
//! [`server_max_window_bits`](Agreement::server_max_window_bits) in use, while one `Inflator` reads all.
//!
//! Kept contexts compress better, a kilobyte of JSON to 236 bytes instead of 325, and cost memory: 371 KiB
//! for each `Deflator` of 15 window bits (245 KiB for one of 9) and 46 KiB for each `Inflator`.

mod deflator;
pub(crate) mod extension;
mod inflator;
mod negotiation;

pub use self::{
    deflator::Deflator,
    inflator::Inflator,
    negotiation::{Agreement, BadAnswer, Config},
};

/// The most bytes that a compressed message of `len` bytes comes to on its way, in so many frames: what an end that takes
/// messages of `len` bytes has to take of one that does not get smaller. Rules with a
/// [`max_message`](crate::Rules::max_message) reckon with it, and who has to send what it compressed may do so before.
///
/// ```
/// use wheelhouse_websocket::deflate::{Deflator, most_deflated};
///
/// let mut out = Vec::new();
/// Deflator::new(15, 1).deflate(&[0xe5, 0xff, 0xc3], false, &mut out);
/// assert!((4..=most_deflated(3, 1)).contains(&out.len())); // three bytes have become more
/// assert_eq!(most_deflated(1 << 20, 1), (1 << 20) + (1 << 17) + (1 << 14) + 74);
/// ```
///
/// - An eighth more: in a block of fixed codes no byte takes more than 9 bits (RFC 1951, 3.2.6). A compressor takes other
///   codes, or stores, only where that is shorter.
/// - A 64th more: the blocks' own headers and ends, be they as short as zlib makes them when it has the least memory (a
///   128th, by its `deflateBound`).
/// - 10 bytes for each frame: some flush at the end of each fragment. That is the header of a stored block, and an empty
///   one behind it.
/// - 64 bytes, for what is rounded.
pub const fn most_deflated(len: usize, frames: usize) -> usize {
    len + len / 8 + len / 64 + 10 * frames + 64
}
