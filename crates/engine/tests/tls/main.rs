//! TLS in memory: the engine's sessions against a client and a server that are not ours (rustls of another version), each
//! other, and `openssl`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod abuse;
mod building;
mod certificates;
mod closing;
mod ends;
mod handshakes;
mod openssl;
mod pki;
mod records;
mod starting;
