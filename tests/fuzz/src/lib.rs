//! What must hold of any bytes a peer may send, one function for each part that reads them.
//!
//! Each takes whatever bytes it is given, those of a fuzzer (`make fuzz TARGET=frames`) or of the corpus that one left
//! behind ([`replay`]), and panics where the part breaks a promise. The first bytes choose the circumstances, the rest is
//! what comes over the wire.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "a promise that is broken is a panic")]

#[cfg(feature = "server")]
mod client;
mod deflate;
#[cfg(feature = "server")]
mod echo;
mod frames;
mod handshake;
mod head;
mod input;
mod pieces;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod wire;

use std::{fs, path::Path};

#[cfg(feature = "server")]
pub use self::{client::client, server::server};
pub use self::{deflate::deflate, frames::frames, handshake::handshake};

/// Tries each file of `corpus/<name>`, and says how many there were.
///
/// # Panics
/// Where a promise is broken, with the file's name in front; and when there is no such corpus.
pub fn replay(name: &str, promise: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut tried = 0;
    for file in files {
        let path = file.expect("a folder that can be read").path();
        let data = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if std::panic::catch_unwind(|| promise(&data)).is_err() {
            panic!("{} breaks a promise of `{name}`: see above", path.display());
        }
        tried += 1;
    }
    tried
}
