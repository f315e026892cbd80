use wheelhouse_websocket::http::{Answer, Refused, Request};

pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An upgrade that is fine, as lines; tests replace, add or drop some.
pub(crate) const UPGRADE: [&str; 6] = [
    "GET /chat HTTP/1.1",
    "Host: example.org",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

pub(crate) fn head(lines: &[&str]) -> Vec<u8> {
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

/// The upgrade with the line that begins so replaced; an empty line is dropped.
pub(crate) fn upgrade_with(start: &str, line: &str) -> Vec<u8> {
    assert!(UPGRADE.iter().any(|other| other.starts_with(start)), "{start}");
    let lines = UPGRADE.map(|other| if other.starts_with(start) { line } else { other });
    head(&lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>())
}

/// The upgrade with more lines behind its own.
pub(crate) fn upgrade_and(more: &[&str]) -> Vec<u8> {
    head(&[&UPGRADE[..], more].concat())
}

pub(crate) fn parse(head: &[u8]) -> Request<'_> {
    Request::parse(head, 100).unwrap_or_else(|refused| panic!("{refused}: {}", head.escape_ascii()))
}

/// The fault that is answered, wherever it was found; none for what can be served.
pub(crate) fn fault(head: &[u8]) -> Option<Refused> {
    match Request::parse(head, 100) {
        Ok(request) => {
            let fault = request.upgrade_fault();
            assert!(fault.is_none() || !request.is_upgrade());
            fault
        }
        Err(refused) => Some(refused),
    }
}

pub(crate) fn written(answer: &Answer, is_head: bool) -> String {
    let mut out = Vec::new();
    answer.write(&mut out, is_head);
    String::from_utf8(out).unwrap()
}
