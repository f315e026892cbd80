//! What the opening handshake promises, on both sides.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod browsers;
mod client;
mod heads;
mod properties;
mod refusals;
mod requests;
mod util;
