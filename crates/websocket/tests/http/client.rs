//! The client's side.

use wheelhouse_websocket::http::{Hello, Invalid, NotWelcome, write_accept};

use crate::util::{ACCEPT, KEY, parse};

const NONCE: [u8; 16] = *b"the sample nonce";

fn hello() -> Hello {
    Hello::new("example.org", "/chat").unwrap()
}

fn offering() -> Hello {
    hello().protocol("json").unwrap().protocol("cbor").unwrap().extensions("permessage-deflate").unwrap()
}

/// A welcome with some of its lines replaced; an empty one is dropped.
fn welcome(changes: &[(&str, &str)], more: &[&str]) -> Vec<u8> {
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}");
    let mut lines =
        vec!["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", &accept];
    for (start, line) in changes {
        *lines.iter_mut().find(|other| other.starts_with(start)).unwrap() = line;
    }
    lines.retain(|line| !line.is_empty());
    lines.extend(more);
    crate::util::head(&lines)
}

#[track_caller]
fn refused(hello: &Hello, head: &[u8]) -> NotWelcome {
    match hello.verify(NONCE, head) {
        Ok(welcome) => panic!("{welcome:?} for {}", head.escape_ascii()),
        Err(error) => error,
    }
}

#[test]
fn a_hello_is_what_the_rfc_wants() {
    let hello =
        offering().origin("https://example.org").unwrap().header("Authorization", "Bearer x").unwrap();
    let mut out = Vec::new();
    hello.write(NONCE, &mut out);
    let expected = format!(
        "GET /chat HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nOrigin: https://example.org\r\n\
         Sec-WebSocket-Protocol: json, cbor\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
         Authorization: Bearer x\r\n\r\n"
    );
    assert_eq!(String::from_utf8_lossy(&out), expected);
    assert!(parse(&out).is_upgrade());
}

#[test]
fn a_hello_takes_no_host_or_target_that_would_break_the_request() {
    for host in ["", "a b", "a/b", "a@b", "a\r\nb", "a:b", "a:65536", "[::1", "http://a", ":80", "\u{e4}"] {
        assert_eq!(Hello::new(host, "/").unwrap_err(), Invalid::Host { host: host.into() });
    }
    for target in ["chat", "?a", "/a b", "/a\r\nb", "/a\0", "/a#b", "/\u{e4}", "http://a/", "*", "/\x7f"] {
        assert_eq!(Hello::new("a", target).unwrap_err(), Invalid::Target { target: target.into() });
    }
    assert_eq!(Hello::new("a", ""), Hello::new("a", "/"));
}

#[test]
fn a_hello_takes_no_subprotocol_twice_and_none_that_is_no_token() {
    for protocol in ["", "a b", "a,b", "a\r\nb", "\"a\"", "\u{e4}"] {
        assert_eq!(hello().protocol(protocol).unwrap_err(), Invalid::Protocol { protocol: protocol.into() });
    }
    let twice = hello().protocol("a").unwrap().protocol("a").unwrap_err();
    assert_eq!(twice, Invalid::RepeatedProtocol { protocol: "a".into() });
    assert!(hello().protocol("a").unwrap().protocol("A").is_ok(), "told apart by case");
}

#[test]
fn a_hello_takes_no_header_that_would_break_or_double_one() {
    let fault = |name: &str, value: &str| hello().header(name, value).unwrap_err();
    assert!(matches!(fault("a b", "x"), Invalid::HeaderName { .. }));
    assert!(matches!(fault("X", "a\r\nb"), Invalid::HeaderValue { .. }));
    for name in [
        "host",
        "UPGRADE",
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
        "Origin",
        "Sec-WebSocket-Key",
    ] {
        assert_eq!(fault(name, "x"), Invalid::ReservedHeader { name: name.into() });
    }
    assert!(matches!(hello().origin("a\nb").unwrap_err(), Invalid::HeaderValue { .. }));
    assert!(matches!(hello().extensions("a\nb").unwrap_err(), Invalid::HeaderValue { .. }));
}

#[test]
fn a_welcome_lends_what_was_chosen() {
    let head =
        welcome(&[], &["sec-websocket-protocol: cbor", "Sec-WebSocket-Extensions: permessage-deflate"]);
    let welcome_of = offering().verify(NONCE, &head).unwrap();
    assert_eq!(welcome_of.subprotocol, Some("cbor"));
    assert_eq!(welcome_of.extensions, [b"permessage-deflate"]);

    let head = welcome(&[], &["Content-Length: 0", "Date: today"]);
    let welcome_of = offering().verify(NONCE, &head).unwrap();
    assert_eq!((welcome_of.subprotocol, welcome_of.extensions.len()), (None, 0), "it need not choose");
}

#[test]
fn a_welcome_of_any_case_is_taken() {
    for (start, line) in [
        ("HTTP", "HTTP/1.1 101"),
        ("HTTP", "HTTP/1.1 101 Web Socket Protocol Handshake"),
        ("Upgrade", "upgrade:WebSocket "),
        ("Connection", "CONNECTION: keep-alive, UPGRADE"),
    ] {
        assert!(hello().verify(NONCE, &welcome(&[(start, line)], &[])).is_ok(), "{line}");
    }
}

#[test]
fn our_own_accept_is_a_welcome() {
    let (mut out, headers) = (Vec::new(), [("X-Room".to_owned(), "7".to_owned())]);
    write_accept(&mut out, KEY, Some("json"), Some("permessage-deflate"), &headers);
    assert_eq!(offering().verify(NONCE, &out).unwrap().subprotocol, Some("json"));
}

#[test]
fn another_status_is_told() {
    for status in [100, 200, 301, 401, 403, 404, 426, 429, 503] {
        let line = format!("HTTP/1.1 {status} No");
        assert_eq!(refused(&hello(), &welcome(&[("HTTP", &line)], &[])), NotWelcome::Status(status));
    }
    assert_eq!(refused(&hello(), b"HTTP/1.0 502 Bad Gateway\r\n\r\n"), NotWelcome::Status(502));
}

#[test]
fn an_answer_that_upgrades_to_nothing_or_something_else_is_no_welcome() {
    for line in ["", "Upgrade:", "Upgrade: h2c", "Upgrade: websocket, h2c", "Upgrade: web socket"] {
        assert_eq!(refused(&hello(), &welcome(&[("Upgrade", line)], &[])), NotWelcome::NoUpgrade);
    }
    for line in ["", "Connection:", "Connection: close"] {
        assert_eq!(refused(&hello(), &welcome(&[("Connection", line)], &[])), NotWelcome::NoConnection);
    }
}

#[test]
fn an_accept_of_another_key_is_no_welcome() {
    assert_eq!(refused(&hello(), &welcome(&[("Sec-WebSocket-Accept", "")], &[])), NotWelcome::NoAccept);
    let again = format!("Sec-WebSocket-Accept: {ACCEPT}");
    assert_eq!(refused(&hello(), &welcome(&[], &[&again])), NotWelcome::NoAccept);
    for accept in ["", KEY, "S3PPLMBITXAQ9KYGZZHZRBK+XOO=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo"] {
        let line = format!("Sec-WebSocket-Accept: {accept}");
        let error = refused(&hello(), &welcome(&[("Sec-WebSocket-Accept", &line)], &[]));
        assert_eq!(error, NotWelcome::WrongAccept { accept: accept.into() });
    }
    assert!(hello().verify([0; 16], &welcome(&[], &[])).is_err());
}

#[test]
fn a_subprotocol_or_extension_not_asked_for_is_no_welcome() {
    for chosen in ["xml", "JSON", "json, cbor", "", "json\r\nSec-WebSocket-Protocol: cbor"] {
        let head = welcome(&[], &[&format!("Sec-WebSocket-Protocol: {chosen}")]);
        assert!(matches!(refused(&offering(), &head), NotWelcome::Subprotocol { .. }), "{chosen}");
    }
    let head = welcome(&[], &["Sec-WebSocket-Protocol: json"]);
    assert_eq!(refused(&hello(), &head), NotWelcome::Subprotocol { chosen: "json".into() });
    let head = welcome(&[], &["Sec-WebSocket-Extensions: permessage-deflate"]);
    assert_eq!(refused(&hello(), &head), NotWelcome::Extensions { chosen: "permessage-deflate".into() });
    assert!(hello().verify(NONCE, &welcome(&[], &["Sec-WebSocket-Extensions:"])).is_ok());
}

#[test]
fn a_malformed_answer_is_no_welcome() {
    let many = vec!["X: y"; 97];
    assert!(hello().verify(NONCE, &welcome(&[], &many)).is_ok());
    for head in [
        welcome(&[("HTTP", "HTTP/1.0 101 Switching Protocols")], &[]),
        welcome(&[("HTTP", "HTTP/2 101")], &[]),
        welcome(&[("HTTP", "HTTP/1.1 1x1 No")], &[]),
        welcome(&[("HTTP", "SSH-2.0-OpenSSH_9.6")], &[]),
        welcome(&[], &["no colon"]),
        welcome(&[], &[" folded"]),
        welcome(&[], &["X: a\0b"]),
        welcome(&[], &[&many[..], &["X: y"]].concat()),
        [&welcome(&[], &[])[..], b"x"].concat(),
        b"HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\n".to_vec(),
        b"HTTP/1.1 101 Switching Protocols\r\n".to_vec(),
        Vec::new(),
    ] {
        let error = refused(&hello(), &head);
        assert!(matches!(error, NotWelcome::Malformed(_)), "{error} for {}", head.escape_ascii());
    }
}

#[test]
fn an_interim_answer_is_told_from_the_last_one() {
    assert!(refused(&hello(), b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").is_interim());
    assert!(!refused(&hello(), b"HTTP/1.1 200 OK\r\n\r\n").is_interim());
    assert!(!refused(&hello(), b"HTTP/1.0 101 Switching Protocols\r\n\r\n").is_interim());
    let of_no_version_that_has_any = refused(&hello(), b"HTTP/1.0 103 Early Hints\r\n\r\n");
    assert!(matches!(of_no_version_that_has_any, NotWelcome::Malformed(_)), "{of_no_version_that_has_any}");
}

#[test]
fn debug_shows_no_secrets() {
    let hello = Hello::new("a", "/chat?token=hunter2").unwrap().header("Cookie", "id=hunter2").unwrap();
    let shown = format!("{hello:?}");
    assert!(shown.contains("Cookie") && shown.contains("/chat") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn an_error_shows_no_more_of_the_answer_than_a_line() {
    let head = welcome(&[], &[&format!("Sec-WebSocket-Protocol: {}", "x".repeat(1 << 20))]);
    assert!(refused(&hello(), &head).to_string().len() < 300);
}
