//! The handshake that the load asks a server for: cut anywhere, and from servers that refuse or break it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../stress/handshake.rs"]
#[allow(dead_code, reason = "the load uses all of it")]
mod handshake;

use handshake::{Answer, request};

/// The example of RFC 6455, 1.3.
const NONCE: u128 = u128::from_be_bytes(*b"the sample nonce");
const YES: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn the_example_of_the_rfc_is_accepted_however_it_is_cut() {
    assert!(request("a:1", "/?x", NONCE).contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    for cut in 0..YES.len() {
        let mut answer = Answer::default();
        assert_eq!(answer.take(&YES.as_bytes()[..cut], NONCE), Ok(None), "{cut}");
        let rest = [&YES.as_bytes()[cut..], b"rest"].concat();
        assert_eq!(answer.take(&rest, NONCE), Ok(Some(b"rest".to_vec())), "{cut}");
    }
}

#[test]
fn an_answer_that_is_no_yes_is_told_apart() {
    for (from, to, told) in [
        ("101 Switching Protocols", "403 Forbidden", "HTTP/1.1 403 Forbidden"),
        ("s3pPLM", "S3pPLM", "a wrong Sec-WebSocket-Accept"),
        ("upgrade: WebSocket\r\n", "", "101 without"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "not asked for"),
    ] {
        let error = Answer::default().take(YES.replace(from, to).as_bytes(), NONCE).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
    assert!(Answer::default().take(&[b'x'; 20_000], NONCE).is_err());
}
