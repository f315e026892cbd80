//! What a server writes.

use wheelhouse_websocket::http::{
    Answer, Invalid, Refused, accept_key, check_accept_header, check_header, reason_phrase, write_accept,
};

use crate::util::{ACCEPT, KEY, written};

#[test]
fn the_example_of_the_rfc_is_accepted_as_it_says() {
    assert_eq!(accept_key(KEY), ACCEPT.as_bytes());
}

#[test]
fn an_accept_carries_what_was_chosen_and_nothing_else() {
    let mut out = b"before".to_vec();
    write_accept(&mut out, KEY, None, None, &[]);
    let bare = format!(
        "beforeHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    assert_eq!(String::from_utf8_lossy(&out), bare);

    let mut out = Vec::new();
    let headers = [("Set-Cookie".to_owned(), "a=b".to_owned()), ("Set-Cookie".to_owned(), "c=d".to_owned())];
    write_accept(&mut out, KEY, Some("json"), Some("permessage-deflate"), &headers);
    let out = String::from_utf8(out).unwrap();
    assert!(out.ends_with(
        "\r\nSec-WebSocket-Protocol: json\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
         Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n"
    ));
}

#[test]
fn nothing_that_would_break_an_accept_is_written() {
    let mut bare = Vec::new();
    write_accept(&mut bare, KEY, None, None, &[]);
    let headers = [
        ("X", "a\r\nY: b"),
        ("X", "a\nb"),
        ("X", "a\0b"),
        ("X\r\nY", "a"),
        ("X Y", "a"),
        ("", "a"),
        ("Upgrade", "h2c"),
        ("connection", "close"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("sec-websocket-accept", "x"),
        ("Sec-WebSocket-Protocol", "x"),
        ("Sec-WebSocket-Extensions", "x"),
        ("Sec-WebSocket-Version", "13"),
    ];
    assert!(headers.iter().all(|(name, value)| check_accept_header(name, value).is_err()));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for protocol in ["", "a b", "a\r\nb", "a,b"] {
        for extensions in ["", "a\r\nb", "a\0"] {
            let mut out = Vec::new();
            write_accept(&mut out, KEY, Some(protocol), Some(extensions), &headers);
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&bare));
        }
    }
}

#[test]
fn a_header_that_would_break_an_answer_is_refused_by_name_and_value() {
    let value = |value: &str| check_header("X", value).unwrap_err();
    for bad in ["a\rb", "a\nb", "a\r\nb", "a\0b", "\x1b[0m", "\x7f"] {
        assert_eq!(value(bad), Invalid::HeaderValue { name: "X".into(), value: bad.into() });
        assert!(Answer::new(200).header("X", bad).is_err());
    }
    for bad in ["", "a b", "a:", "a\r\n", "\u{e4}", "(a)"] {
        assert_eq!(check_header(bad, "x").unwrap_err(), Invalid::HeaderName { name: bad.into() });
    }
    for reserved in ["content-length", "Transfer-Encoding", "CONNECTION", "Sec-WebSocket-Accept"] {
        assert_eq!(
            check_header(reserved, "x").unwrap_err(),
            Invalid::ReservedHeader { name: reserved.into() }
        );
    }
    for fine in ["", "a\tb", "caf\u{e9}", "max-age=0; \"x\""] {
        assert_eq!(check_header("X", fine), Ok(()));
    }
}

#[test]
fn the_answer_to_a_head_tells_the_length_and_leaves_the_body_out() {
    let answer = Answer::new(200).body("text/plain", "eleven here");
    let (to_get, to_head) = (written(&answer, false), written(&answer, true));
    assert!(to_head.contains("\r\nContent-Length: 11\r\n"));
    assert_eq!(to_get, format!("{to_head}eleven here"));
}

#[test]
fn an_answer_without_a_body_says_so_and_has_no_type() {
    let expected = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(written(&Answer::new(404), false), expected);
    assert_eq!(written(&Answer::new(404).body("text/plain", ""), false), expected);
}

#[test]
fn a_status_that_has_no_body_gets_none() {
    for (status, length) in [(204, None), (205, Some("0")), (304, None)] {
        let answer = written(&Answer::new(status).body("text/plain", "not to be seen"), false);
        assert!(answer.ends_with("\r\n\r\n") && !answer.contains("Content-Type"), "{answer}");
        let told = answer.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        assert_eq!(told, length, "{answer}");
    }
}

#[test]
fn a_type_that_cannot_stand_in_a_header_is_replaced() {
    for mime in ["", "text/plain\r\nX: y", "a\0"] {
        let answer = written(&Answer::new(200).body(mime, "x"), false);
        assert!(answer.contains("\r\nContent-Type: application/octet-stream\r\n"), "{answer}");
    }
}

#[test]
fn a_type_among_the_headers_goes_first() {
    let answer = Answer::new(200).header("content-type", "text/css").unwrap().body("text/plain", "x");
    assert_eq!(written(&answer, false).to_lowercase().matches("content-type").count(), 1);
    assert!(written(&answer, false).contains("content-type: text/css\r\n"));
}

#[test]
fn a_426_says_once_what_to_upgrade_to() {
    let expected = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Content-Length: 0\r\nConnection: close, Upgrade\r\n\r\n";
    assert_eq!(written(&Answer::new(426), false), expected);
    let given = Answer::new(426).header("Upgrade", "websocket").unwrap();
    let given = given.header("Sec-WebSocket-Version", "13").unwrap();
    assert_eq!(written(&given, false), expected);
}

#[test]
fn a_head_for_a_body_held_elsewhere_is_the_same_head() {
    let (mut apart, mut whole) = (Vec::new(), Vec::new());
    Answer::new(200).body("text/html", "").write_head(&mut apart, 3);
    Answer::new(200).body("text/html", "abc").write(&mut whole, false);
    apart.extend_from_slice(b"abc");
    assert_eq!(apart, whole);
}

#[test]
fn what_is_no_last_status_is_500() {
    for status in [0, 99, 100, 101, 199, 600, 999, u16::MAX] {
        assert!(written(&Answer::new(status), false).starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
    }
    assert!(written(&Answer::new(299), false).starts_with("HTTP/1.1 299 \r\n"));
    assert!(written(&Refused { status: 1, what: "x" }.answer(), false).starts_with("HTTP/1.1 500 "));
}

#[test]
fn every_status_that_this_crate_answers_has_its_words() {
    for status in [101, 400, 405, 426, 431, 501, 505, 408, 414, 503] {
        assert_ne!(reason_phrase(status), "", "{status}");
    }
}
