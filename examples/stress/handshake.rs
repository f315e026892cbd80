//! The opening handshake of a WebSocket, as one who asks for it (RFC 6455, 4.1). Written here by hand: a load that spoke
//! through the engine's own WebSocket would share its mistakes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};

/// What the server puts behind the key to show that it is one (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A longer answer is none.
const LONGEST_ANSWER: usize = 16 << 10;

/// What is asked for with that nonce.
pub(crate) fn request(host: &str, target: &str, nonce: u128) -> String {
    let key = key(nonce);
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// An answer that may come in pieces.
#[derive(Default)]
pub(crate) struct Answer {
    kept: Vec<u8>,
}

impl Answer {
    /// Takes what came: once the answer is whole and says yes, what follows it. Nothing until then.
    pub(crate) fn take(&mut self, bytes: &[u8], nonce: u128) -> Result<Option<Vec<u8>>, String> {
        let from = self.kept.len().saturating_sub(3);
        self.kept.extend_from_slice(bytes);
        let Some(end) = self.kept[from..].windows(4).position(|four| four == b"\r\n\r\n") else {
            return if self.kept.len() > LONGEST_ANSWER {
                Err("a head without end".to_owned())
            } else {
                Ok(None)
            };
        };
        let rest = self.kept.split_off(from + end + 4);
        let head = std::mem::take(&mut self.kept);
        check(&String::from_utf8_lossy(&head), nonce)?;
        Ok(Some(rest))
    }
}

fn check(head: &str, nonce: u128) -> Result<(), String> {
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        return Err(status.chars().take(80).collect());
    }
    let headers: Vec<(&str, &str)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect();
    let values = |asked: &str| -> Vec<&str> {
        headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(asked)).map(|(_, value)| *value).collect()
    };
    let is_named = |header: &str, token: &str| {
        values(header).iter().flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(token))
    };
    if !is_named("Upgrade", "websocket") || !is_named("Connection", "upgrade") {
        return Err("101 without Upgrade: websocket and Connection: upgrade".to_owned());
    }
    if values("Sec-WebSocket-Accept") != [accept(&key(nonce))] {
        return Err("a wrong Sec-WebSocket-Accept".to_owned());
    }
    match ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"].iter().find(|name| !values(name).is_empty())
    {
        Some(name) => Err(format!("{name}, which was not asked for")),
        None => Ok(()),
    }
}

fn key(nonce: u128) -> String {
    STANDARD.encode(nonce.to_be_bytes())
}

fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}
