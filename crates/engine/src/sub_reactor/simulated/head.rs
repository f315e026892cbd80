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

/// The key in a request, when all of that is here.
pub(super) fn key_of(request: &[u8]) -> Option<String> {
    let head = str::from_utf8(request.strip_suffix(b"\r\n\r\n")?).ok()?;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    Some(key.unwrap_or_default().to_owned())
}

/// A server's answer, and what is to come of it. The key that it answers is in no script: where its answer to that belongs
/// there are dots.
pub(super) fn welcome(random: &mut Random, web: Web) -> (Vec<u8>, Head) {
    let mut head = Head::new(Asks::Socket, web.deflate.is_some() && random.one_in(2));
    head.forgets = random.one_in(2);
    let extensions = match (head.deflates, head.forgets) {
        (false, _) => "",
        (true, false) => "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
        (true, true) => {
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
             client_no_context_takeover\r\n"
        }
    };
    let first = if random.one_in(6) { "HTTP/1.1 103 Early Hints\r\nLink: <a.css>\r\n\r\n" } else { "" };
    let (dots, rest) = (".".repeat(ACCEPT), "Upgrade: WebSocket\r\nConnection: upgrade");
    let granted = format!("{first}HTTP/1.1 101 Switching Protocols\r\n{extensions}{rest}");
    let written = |text: &str| text.as_bytes().to_vec();
    let (mut bytes, asks) = match random.below(24) {
        0 => (written("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"), Asks::Other(403)),
        1 => (written("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Asks::Other(200)),
        2 => (format!("{granted}\r\nSec-WebSocket-Accept: {dots}\r\n\r\n").into(), Asks::Unreadable(101)),
        3 => (format!("{granted}\r\n\r\n").into(), Asks::Unreadable(101)),
        4 => (written("220 mail.example ESMTP\r\n\r\n"), Asks::Unreadable(0)),
        5 => ([b"HTTP/1.1 101 ", &random.letters(20_000)[..]].concat(), Asks::Unreadable(101)),
        6 if web.deflate.is_none() => {
            let extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Accept:";
            (format!("{granted}\r\n{extensions} {dots}\r\n\r\n").into(), Asks::Unreadable(101))
        }
        _ => {
            head.accept_at = Some(granted.len() + "\r\nSec-WebSocket-Accept: ".len());
            (format!("{granted}\r\nSec-WebSocket-Accept: {dots}\r\n\r\n").into(), Asks::Socket)
        }
    };
    head.asks = asks;
    if asks == Asks::Socket && random.one_in(20) {
        bytes.truncate(random.below(bytes.len()));
        head.asks = Asks::Torn;
    }
    (bytes, head)
}

/// The letters of an answer to a key.
pub(super) const ACCEPT: usize = 28;

/// A client's request, and what is to come of it.
pub(super) fn request(random: &mut Random, web: Web) -> (Vec<u8>, Head) {
    let mut head = Head::new(Asks::Socket, web.deflate.is_some() && random.one_in(2));
    head.key = BASE64_STANDARD.encode(random.letters(16));
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
            let keyless = Head::new(Asks::Socket, false);
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
