//! The heads that peers send: requests for WebSockets, and for what is none; the answers of servers.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};

use super::{
    random::Random,
    web::{Asks, Head, Web},
};

/// What a server is to say to that key (RFC 6455, 1.3).
pub(super) fn accept_of(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

/// A client's request, and what is to come of it.
pub(super) fn request(random: &mut Random, web: Web) -> (Vec<u8>, Head) {
    let key = BASE64_STANDARD.encode(random.letters(16));
    let deflates = web.deflate.is_some() && random.one_in(2);
    let mut head = Head { asks: Asks::Socket, is_bodiless: false, deflates, key };
    let mut bytes = rightful(random, &head, "GET", 13);
    if random.one_in(5) {
        (bytes, head.asks) = wrong(random, &head);
        head.is_bodiless = bytes.starts_with(b"HEAD ");
    } else if random.one_in(20) {
        bytes.truncate(random.below(bytes.len()));
        head.asks = Asks::Torn;
    }
    (bytes, head)
}

fn rightful(random: &mut Random, head: &Head, method: &str, version: u32) -> Vec<u8> {
    let mut offer = String::new();
    if head.deflates {
        let manner = random.pick(&["", "; server_no_context_takeover", "; client_no_context_takeover"]);
        offer = format!("Sec-WebSocket-Extensions: permessage-deflate{manner}\r\n");
    }
    let padding = random.below(300);
    let padding = String::from_utf8(random.letters(padding)).unwrap_or_default();
    let Head { key, .. } = head;
    format!(
        "{method} /{padding} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         {offer}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {version}\r\n\r\n"
    )
    .into_bytes()
}

/// A request of which no WebSocket comes.
fn wrong(random: &mut Random, head: &Head) -> (Vec<u8>, Asks) {
    let written = |text: &str| text.as_bytes().to_vec();
    match random.below(11) {
        0 => (written("GET /page HTTP/1.1\r\nHost: here\r\n\r\n"), Asks::Other(426)),
        1 => (written("HEAD /page HTTP/1.1\r\nHost: here\r\n\r\n"), Asks::Other(426)),
        2 => (rightful(random, head, "POST", 13), Asks::Other(405)),
        3 => (rightful(random, head, "GET", 8), Asks::Other(426)),
        4 => {
            let keyless = Head { asks: Asks::Socket, is_bodiless: false, deflates: false, key: "a".into() };
            (rightful(random, &keyless, "GET", 13), Asks::Other(400))
        }
        5 => (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), Asks::Unreadable(400)),
        6 => (written("GET / HTTP/1.1\nHost: here\n\n"), Asks::Unreadable(400)),
        7 => (written("GET / HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n"), Asks::Unreadable(400)),
        8 => (written("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Asks::Unreadable(505)),
        9 => ([&b"GET /"[..], &random.letters(20_000)].concat(), Asks::Unreadable(431)),
        _ => {
            let headers = "X: y\r\n".repeat(101);
            (format!("GET / HTTP/1.1\r\n{headers}\r\n").into_bytes(), Asks::Unreadable(431))
        }
    }
}
