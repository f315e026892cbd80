//! TLS through the engine's public face: real sockets, and at the other end always somebody else: rustls of another version,
//! openssl, curl, Python.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a failure is a panic")]

mod abuse;
mod alpn;
mod dialling;
mod echoing;
mod endings;
#[path = "../fixture/mod.rs"]
mod fixture;
mod foreign;
mod goodbyes;
mod identity;
mod memory;
mod pages;
mod peer;
mod pem;
mod pki;
mod pressure;
mod site;
mod starttls;
mod storm;
mod together;
mod web;
