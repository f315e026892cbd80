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
mod extension;
mod inflator;
mod negotiation;

pub use self::{
    deflator::Deflator,
    inflator::Inflator,
    negotiation::{Agreement, BadAnswer, Config},
};
