use wheelhouse_websocket::{
    deflate::{Agreement, Config},
    http::{Answer, Hello, Request, head_end, write_accept},
};

use crate::{
    head::{self, Head},
    input::Input,
};

/// No head, whoever sends it, is understood in two ways; and what is written is well-formed, whatever was put into it.
///
/// The first byte chooses who reads or writes.
///
/// # Panics
/// Where that does not hold.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => request(input.rest()),
        1 => welcome(input.rest()),
        2 => answer(input.short(), input.rest()),
        _ => hello(input.rest()),
    }
}

/// The head at the beginning, found whole and byte by byte.
fn whole_head(bytes: &[u8]) -> Option<&[u8]> {
    let mut searched = 0;
    let end = head_end(bytes, &mut searched);
    assert_eq!(head_end(bytes, &mut searched), end, "found again");

    let mut searched = 0;
    let by_bytes = (0..=bytes.len()).find_map(|came| head_end(&bytes[..came], &mut searched));
    assert_eq!(by_bytes, end, "byte by byte");

    let is_end = |at: &usize| bytes[..*at].ends_with(b"\n\n") || bytes[..*at].ends_with(b"\n\r\n");
    assert_eq!((0..=bytes.len()).find(is_end), end, "as the standard says");
    bytes.get(..end?)
}

fn request(bytes: &[u8]) {
    const MOST: usize = 8;
    let Some(head) = whole_head(bytes) else { return };
    let request = match Request::parse(head, MOST) {
        Ok(request) => request,
        Err(refused) => {
            assert!(matches!(refused.status, 400 | 431 | 501 | 505), "{refused}");
            return last_word(&refused.answer(), false);
        }
    };
    assert!(!request.method().is_empty() && request.method().is_ascii());
    assert!(request.path().starts_with('/') || (request.path(), request.method()) == ("*", "OPTIONS"));
    assert!(request.target() == request.path() || request.target().len() > 1);
    one_reading(head);
    for name in ["Host", "Content-Length", "Origin", "Sec-WebSocket-Key", "Sec-WebSocket-Version"] {
        assert!(request.headers(name).count() <= 1, "{name}");
    }
    assert!(request.is_http_1_0() || request.header("Host").is_some());
    assert!(request.header("Content-Length").is_none() || request.header("Transfer-Encoding").is_none());
    assert!(request.origin().is_none() || request.header("Origin").is_some());
    assert!(request.protocols().all(|name| name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')));
    for name in ["", "a", "id", "%"] {
        let _ = (request.query(name), request.cookie(name));
    }
    let _ = (request.is_same_origin(false), request.is_same_origin(true), format!("{request:?}"));

    match (request.is_upgrade(), request.upgrade_fault()) {
        (true, fault) => {
            assert!(fault.is_none() && !request.is_http_1_0() && !request.has_body());
            assert!(request.method() == "GET" && request.host().is_some());
            accept(&request);
        }
        (false, Some(fault)) => {
            assert!(matches!(fault.status, 400 | 405 | 426), "{fault}");
            last_word(&fault.answer(), false);
        }
        (false, None) => last_word(&Answer::new(426), request.method() == "HEAD"),
    }
}

/// A head that was taken has no line that somebody else could end, or go on with, elsewhere (RFC 9112, 2.2, 5.1 and 5.2).
fn one_reading(head: &[u8]) {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let lines =
        head.strip_suffix(b"\r\n\r\n").expect("an empty line at the end").split(|&byte| byte == b'\n');
    let count = lines.clone().count();
    for (nth, line) in lines.enumerate() {
        let line = if nth + 1 == count { line } else { line.strip_suffix(b"\r").expect("no bare LF") };
        assert!(!line.contains(&b'\r') && !line.contains(&0), "{:?}", line.escape_ascii().to_string());
        if nth > 0 {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            let is_token = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
            assert!(!name.is_empty() && name.iter().all(is_token), "{:?}", line.escape_ascii().to_string());
        }
    }
}

/// The answer to a request for a WebSocket, as the engine gives it.
fn accept(request: &Request<'_>) {
    let key = request.key().expect("who may upgrade has a key");
    let config = Config { own_contexts: true, ..Config::default() };
    let agreed = config.answer(request.extensions());
    let extensions = agreed.as_ref().map(|(agreement, value)| {
        in_bounds(agreement);
        value.as_str()
    });
    let subprotocol = request.protocols().next();

    let mut out = Vec::new();
    write_accept(&mut out, key, subprotocol, extensions, &[("X-A".into(), "b".into())]);
    let head = head::read(&out).expect("a whole head");
    assert_eq!((head.status, head.body), (101, &b""[..]));
    assert_eq!(head.all("Sec-WebSocket-Accept").count(), 1);
    assert_eq!(head.first("Sec-WebSocket-Protocol"), subprotocol);
    assert_eq!(head.first("Sec-WebSocket-Extensions"), extensions);
    assert_eq!(head.first("X-A"), Some("b"));
}

/// A nonce, for which the corpus holds the right answer.
const NONCE: [u8; 16] = *b"the sample nonce";

fn welcome(bytes: &[u8]) {
    let Some(head) = whole_head(bytes) else { return };
    let config = Config { own_contexts: true, ..Config::default() };
    let hello = Hello::new("example.org", "/").and_then(|hello| hello.protocol("chat"));
    let hello = hello.and_then(|hello| hello.extensions(&config.offer())).expect("fit for a head");
    match hello.verify(NONCE, head) {
        Ok(welcome) => {
            assert!(matches!(welcome.subprotocol, None | Some("chat")));
            if let Ok(Some(agreement)) = config.verify(welcome.extensions.iter().copied()) {
                in_bounds(&agreement);
            }
        }
        Err(error) => assert!(!error.to_string().contains(['\r', '\n']), "{error}"),
    }
}

fn in_bounds(agreement: &Agreement) {
    assert!((9..=15).contains(&agreement.server_max_window_bits), "{agreement:?}");
    assert!((8..=15).contains(&agreement.client_max_window_bits), "{agreement:?}");
}

/// Name, value, media type and body, by lines that end in NUL.
fn answer(status: u16, bytes: &[u8]) {
    let mut parts = bytes.split(|&byte| byte == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (name, value, mime, body) = (text(), text(), text(), text());
    let mut answer = Answer::new(status).body(&mime, body);
    if let Ok(with) = answer.clone().header(&name, &value) {
        answer = with;
        let mut out = Vec::new();
        answer.write(&mut out, false);
        let head = head::read(&out).expect("a whole head");
        assert!(head.all(&name).any(|other| other == value.trim_matches([' ', '\t'])), "{name}: {value}");
    }
    last_word(&answer, false);
    last_word(&answer, true);
}

/// An answer that ends the connection says so, and how long it is.
fn last_word(answer: &Answer, is_head: bool) {
    let mut out = Vec::new();
    answer.write(&mut out, is_head);
    let Head { status, body, .. } = head::read_last(&out, is_head).expect("a whole answer");
    assert_eq!(status, answer.status());
    assert!(!is_head || body.is_empty());
}

/// Host, target, origin, subprotocol, name and value, by lines that end in NUL: what fits into a request is a request that
/// our own server takes.
fn hello(bytes: &[u8]) {
    let mut parts = bytes.split(|&byte| byte == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let Ok(mut hello) = Hello::new(&text(), &text()) else { return };
    hello = hello.clone().origin(&text()).unwrap_or(hello);
    let protocol = text();
    let is_offered = hello.clone().protocol(&protocol).is_ok();
    hello = hello.clone().protocol(&protocol).unwrap_or(hello);
    hello = hello.clone().header(&text(), &text()).unwrap_or(hello);

    let mut out = Vec::new();
    hello.write(NONCE, &mut out);
    assert_eq!(whole_head(&out), Some(&out[..]));
    let request = Request::parse(&out, 100).unwrap_or_else(|refused| panic!("{refused}: {hello:?}"));
    assert!(request.is_upgrade(), "{:?}", request.upgrade_fault());
    assert_eq!(request.protocols().collect::<Vec<_>>(), Vec::from_iter(is_offered.then_some(&protocol[..])));
}
