//! Bad requests, and the status of each.

use wheelhouse_websocket::http::{Refused, Request};

use crate::util::{UPGRADE, fault, head, upgrade_and, upgrade_with, written};

#[track_caller]
fn assert_status(head: &[u8], status: u16) {
    let fault = fault(head);
    assert_eq!(fault.map(|refused| refused.status), Some(status), "{fault:?} for {}", head.escape_ascii());
}

#[test]
fn a_malformed_request_line_is_400() {
    for line in [
        "GET",
        "GET /",
        "GET / ",
        "GET /  HTTP/1.1",
        "GET  / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET / HTTP/a.b",
        "GET / HTTPS/1.1",
        "GET / HTTP/+1.1",
        "G(T / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a\x01b HTTP/1.1",
        "GET /a\x7fb HTTP/1.1",
        "GET /\r HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /?\u{1f40e} HTTP/1.1",
        "",
        "/ HTTP/1.1",
    ] {
        assert_status(&head(&[line, "Host: a"]), 400);
    }
}

#[test]
fn a_target_that_is_neither_a_path_nor_absolute_is_400() {
    for target in [
        "chat",
        "*",
        "?a=b",
        "/chat#top",
        "example.org:80",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http:/chat",
        "http://",
        "http:///chat",
        "http://user@example.org/",
        "http://user:secret@example.org/",
        "http://example.org:port/",
        "http://example.org:65536/",
        "http://[::1/",
        "http://[example]/",
    ] {
        assert_status(&head(&[&format!("GET {target} HTTP/1.1"), "Host: a"]), 400);
    }
}

#[test]
fn a_foreign_version_of_http_is_505() {
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9"] {
        assert_status(&head(&[&format!("GET / {version}"), "Host: a"]), 505);
    }
}

#[test]
fn the_preface_of_http_2_is_505() {
    assert_status(b"PRI * HTTP/2.0\r\n\r\n", 505);
}

#[test]
fn connect_is_501() {
    assert_status(&head(&["CONNECT example.org:443 HTTP/1.1", "Host: example.org:443"]), 501);
}

#[test]
fn a_bare_line_feed_anywhere_is_400() {
    let fine = head(&UPGRADE);
    assert_eq!(fault(&fine), None);
    for at in (0..fine.len()).filter(|at| fine[*at] == b'\r') {
        let mut bare = fine.clone();
        bare.remove(at);
        assert_status(&bare, 400);
    }
    assert_status(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

#[test]
fn a_malformed_header_is_400() {
    for line in [
        " folded",
        "\tfolded",
        "Name : value",
        "Name\t: value",
        ": value",
        "no colon",
        "N\u{e4}me: value",
        "Na(me): value",
        "Name: a\0b",
        "Name: a\x01b",
        "Name: a\x7fb",
        "Name: a\rb",
        "Name: a\r b",
    ] {
        assert_status(&upgrade_and(&[line]), 400);
        assert_status(&head(&["GET / HTTP/1.1", line, "Host: a"]), 400);
    }
}

#[test]
fn a_second_header_of_what_must_be_single_is_400() {
    for line in &UPGRADE[1..] {
        let is_list = line.starts_with("Upgrade") || line.starts_with("Connection");
        assert_eq!(fault(&upgrade_and(&[line])).map(|refused| refused.status), (!is_list).then_some(400));
    }
    assert_status(&upgrade_and(&["HOST: other.example"]), 400);
    assert_status(&upgrade_and(&["Origin: http://a", "Origin: http://b"]), 400);
    assert_status(&upgrade_and(&["Content-Length: 0", "Content-Length: 0"]), 400);
}

#[test]
fn a_request_of_1_1_without_a_host_is_400() {
    assert_status(&upgrade_with("Host", ""), 400);
    assert_status(&head(&["GET / HTTP/1.1"]), 400);
    assert_status(&head(&["GET http://example.org/ HTTP/1.1"]), 400);
}

#[test]
fn a_malformed_host_is_400() {
    for host in [
        "a b",
        "a/b",
        "a@b",
        "a?b",
        "a#b",
        "a:b",
        "a:80:80",
        "a:65536",
        "a:-1",
        "a:+1",
        ":80",
        "[::1",
        "::1",
        "[::g]",
        "[::1]80",
        "[]",
        "\u{e4}.example",
    ] {
        assert_status(&upgrade_with("Host", &format!("Host: {host}")), 400);
        assert_status(&head(&["GET / HTTP/1.0", &format!("Host: {host}")]), 400);
    }
}

#[test]
fn a_doubtful_length_is_400() {
    for length in ["", "-1", "+1", "1, 1", "0x1", "1 1", "ten", "1."] {
        assert_status(&head(&["POST / HTTP/1.1", "Host: a", &format!("Content-Length: {length}")]), 400);
    }
    let both = ["POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Transfer-Encoding: chunked"];
    assert_status(&head(&both), 400);
    let neither = ["POST / HTTP/1.1", "Host: a", "Content-Length: 0", "Transfer-Encoding: identity"];
    assert_status(&head(&neither), 400);
    assert_status(&head(&["POST / HTTP/1.0", "Transfer-Encoding: chunked"]), 400);
}

#[test]
fn an_upgrade_with_a_body_is_400() {
    for line in ["Content-Length: 1", "Content-Length: 99999999999999999999999", "Transfer-Encoding: chunked"]
    {
        assert_status(&upgrade_and(&[line]), 400);
    }
    assert_eq!(fault(&upgrade_and(&["Content-Length: 0"])), None);
    assert_eq!(fault(&upgrade_and(&["Content-Length: 000"])), None);
}

#[test]
fn a_key_that_is_not_sixteen_bytes_is_400() {
    assert_status(&upgrade_with("Sec-WebSocket-Key", ""), 400);
    for key in [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQAA",
        "dGhlIHNhbXBsZSBub25jZQA=",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhl-HNhbXBsZSBub25jZQ==",
        "dGhl IHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25\u{e4}ZQ==",
        "========================",
    ] {
        assert_status(&upgrade_with("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {key}")), 400);
    }
}

#[test]
fn a_malformed_list_of_extensions_is_400_and_a_well_formed_one_of_anything_is_not() {
    for malformed in [
        "",
        ",",
        " , ,",
        "@@@",
        "a b",
        "a;",
        "a;;b",
        ";a",
        "=;,",
        "a=b",
        "a; =b",
        "a; b=",
        "a; b=c d",
        "a; b=c=d",
        "a; b=\"\"",
        "a; b=\"",
        "a; b=\"c",
        "a; b=\"c d\"",
        "a; b=\"c\"d",
        "a; b=\"c\\\"",
        "a; b=\"\\ \"",
        "\"a\"",
        "permessage-deflate;",
        "permessage-deflate, a b",
        "permessage-deflate, \u{e4}",
    ] {
        let line = format!("Sec-WebSocket-Extensions: {malformed}");
        assert_status(&upgrade_and(&[&line]), 400);
        if !malformed.trim_matches([' ', ',']).is_empty() {
            assert_status(&upgrade_and(&["Sec-WebSocket-Extensions: x", &line]), 400);
            assert_status(&upgrade_and(&[&line, "Sec-WebSocket-Extensions: x"]), 400);
        }
        // Who asks for no WebSocket offers nothing by it.
        assert_eq!(fault(&head(&["GET / HTTP/1.1", "Host: a", &line])), None);
    }
    for unknown in [
        "a",
        ",a",
        "a,,b ,",
        "a;b;c=d, e",
        "a ; b = c\t;d",
        "a; b=\"c\"; d=\"\\e\\f\"",
        "permessage-deflate; x",
        "permessage-deflate; server_max_window_bits=99",
        "x-webkit-deflate-frame",
    ] {
        let line = format!("Sec-WebSocket-Extensions: {unknown}");
        assert_eq!(fault(&upgrade_and(&[&line])), None, "{unknown}");
        assert_eq!(fault(&upgrade_and(&["Sec-WebSocket-Extensions:", &line])), None, "{unknown}");
    }
}

#[test]
fn a_malformed_list_of_subprotocols_is_400() {
    for malformed in ["", ",", "\t, ,", "a b", "\"x\"", "json;q=1", "json, a/b", "json, \u{e4}"] {
        let line = format!("Sec-WebSocket-Protocol: {malformed}");
        assert_status(&upgrade_and(&[&line]), 400);
        if !malformed.trim_matches([' ', '\t', ',']).is_empty() {
            assert_status(&upgrade_and(&["Sec-WebSocket-Protocol: json", &line]), 400);
        }
        assert_eq!(fault(&head(&["GET / HTTP/1.1", "Host: a", &line])), None);
    }
    for fine in ["json", "a,,b", ", a ,\tb,", "json, json"] {
        let line = format!("Sec-WebSocket-Protocol: {fine}");
        assert_eq!(fault(&upgrade_and(&[&line])), None, "{fine}");
        assert_eq!(fault(&upgrade_and(&["Sec-WebSocket-Protocol: ,", &line])), None, "{fine}");
    }
}

#[test]
fn a_version_other_than_13_is_426_and_the_answer_says_which_it_is() {
    assert_status(&upgrade_with("Sec-WebSocket-Version", ""), 426);
    for version in ["", "8", "0", "7", "14", "013", "13, 8", "+13", "1 3", "thirteen"] {
        assert_status(&upgrade_with("Sec-WebSocket-V", &format!("Sec-WebSocket-Version: {version}")), 426);
    }
    let refused = fault(&upgrade_with("Sec-WebSocket-V", "Sec-WebSocket-Version: 8")).unwrap();
    let answer = written(&refused.answer(), false);
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
    assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
}

#[test]
fn a_wish_by_another_method_is_405_and_the_answer_says_which_is_allowed() {
    for method in ["POST", "HEAD", "get", "OPTIONS"] {
        assert_status(&upgrade_with("GET", &format!("{method} /chat HTTP/1.1")), 405);
    }
    let refused = fault(&upgrade_with("GET", "POST /chat HTTP/1.1")).unwrap();
    assert!(written(&refused.answer(), false).contains("\r\nAllow: GET\r\n"));
}

#[test]
fn a_wish_that_connection_does_not_name_is_400() {
    for line in
        ["", "Connection: close", "Connection: keep-alive", "Connection: upgraded", "Connection: up grade"]
    {
        assert_status(&upgrade_with("Connection", line), 400);
    }
}

#[test]
fn a_wish_from_an_empty_host_is_400() {
    assert_status(&upgrade_with("Host", "Host:"), 400);
}

#[test]
fn as_many_headers_as_allowed_pass_and_one_more_is_431() {
    let mut lines = vec!["GET / HTTP/1.1", "Host: a"];
    lines.resize(101, "X: y");
    assert!(Request::parse(&head(&lines), 100).is_ok());
    assert!(Request::parse(&[b"\r\n", &head(&lines)[..]].concat(), 100).is_ok());
    lines.push("X: y");
    assert_eq!(Request::parse(&head(&lines), 100).unwrap_err().status, 431);
    assert!(Request::parse(&head(&lines), usize::MAX).is_ok());

    lines.resize(10_000, "not even : a header");
    assert_eq!(Request::parse(&head(&lines), 100).unwrap_err().status, 431);
}

#[test]
fn a_head_that_is_cut_or_followed_by_more_is_400() {
    let fine = head(&UPGRADE);
    for end in 0..fine.len() {
        assert_eq!(Request::parse(&fine[..end], 100).map(|_| ()).unwrap_err().status, 400, "{end} bytes");
    }
    assert_status(&[&fine[..], b"GET"].concat(), 400);
    assert_status(&[&fine[..], &fine[..]].concat(), 400);
}

#[test]
fn a_refusal_names_its_rule_and_its_status() {
    let Refused { status, what } = fault(&upgrade_and(&["Host: b"])).unwrap();
    assert_eq!((status, what), (400, "more than one Host"));
}
