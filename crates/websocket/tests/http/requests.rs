//! Requests that are fine, however they look.

use crate::util::{KEY, fault, head, parse, upgrade_and, upgrade_with};

#[test]
fn the_request_of_the_rfc_is_an_upgrade() {
    // RFC 6455, 1.2.
    let head =
        b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let request = parse(head);
    assert!(request.is_upgrade());
    assert_eq!(request.upgrade_fault(), None);
    assert_eq!((request.method(), request.target(), request.path()), ("GET", "/chat", "/chat"));
    assert_eq!(request.key(), Some(KEY));
    assert_eq!((request.host(), request.origin()), (Some("server.example.com"), Some("http://example.com")));
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["chat", "superchat"]);
    assert!(!request.is_same_origin(false));
}

#[test]
fn a_key_with_bits_left_over_is_taken() {
    // RFC 6455, 11.3.1, has one of these itself.
    for key in [
        "AQIDBAUGBwgJCgsMDQ4PEC==",
        "AQIDBAUGBwgJCgsMDQ4PEA==",
        "//////////////////////==",
        "++++++++++++++++++++/w==",
    ] {
        let head = upgrade_with("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key:{key}  "));
        assert!(parse(&head).is_upgrade(), "{key}");
        assert_eq!(parse(&head).key(), Some(key));
    }
}

#[test]
fn case_and_spaces_and_lists_do_not_matter() {
    for (start, line) in [
        ("Upgrade", "upgrade:WebSocket"),
        ("Upgrade", "UPGRADE:\t WEBSOCKET \t"),
        ("Upgrade", "Upgrade: h2c, websocket"),
        ("Connection", "connection: keep-alive, Upgrade"),
        ("Connection", "CONNECTION: ,, UPGRADE ,close"),
        ("Connection", "Connection: keep-alive\r\nConnection: upgrade"),
        ("Sec-WebSocket-Version", "sec-websocket-version:  13 "),
        ("Host", "hOST:a:8080"),
        ("Host", "Host: [::1]:8080"),
        ("Host", "Host: under_score.example:"),
    ] {
        let head = upgrade_with(start, line);
        assert_eq!(fault(&head), None, "{line}");
        assert!(parse(&head).is_upgrade(), "{line}");
    }
}

#[test]
fn a_higher_minor_version_is_served_as_1_1() {
    // RFC 9110, 2.5.
    for version in ["1.2", "1.9"] {
        let head = upgrade_with("GET", &format!("GET /chat HTTP/{version}"));
        assert!(parse(&head).is_upgrade() && !parse(&head).is_http_1_0(), "{version}");
        assert_eq!(parse(&head).path(), "/chat");
    }
}

#[test]
fn only_origins_that_are_allowed_are_and_whoever_names_none() {
    let allowed = ["https://a.example", "http://b.example:8080", "https://[::1]", "null", "*", ""];
    let is_one = |origin: &str| parse(&upgrade_and(&[origin])).origin_is_one_of(&allowed);
    for origin in ["https://a.example", "HTTPS://A.EXAMPLE:443", "http://b.example:8080", "https://[::1]:443"]
    {
        assert!(is_one(&format!("Origin: {origin}")), "{origin}");
    }
    for origin in [
        "http://a.example",
        "https://a.example:8443",
        "https://a.example.evil.example",
        "https://evil-a.example",
        "https://a.example@evil.example",
        "http://b.example",
        "null",
        "*",
        "",
    ] {
        assert!(!is_one(&format!("Origin: {origin}")), "{origin}");
    }
    let unreadable =
        [&upgrade_and(&[])[..upgrade_and(&[]).len() - 2], b"Origin: https://\xff\r\n\r\n"].concat();
    assert!(!parse(&unreadable).origin_is_one_of(&allowed));
    let from_no_browser = upgrade_and(&[]);
    assert!(parse(&from_no_browser).origin_is_one_of(&[] as &[&str]));
    assert!(!parse(&upgrade_and(&["Origin: https://a.example"])).origin_is_one_of(&[] as &[&str]));
}

#[test]
fn one_empty_line_before_the_request_is_passed_by() {
    let head = [b"\r\n", &upgrade_and(&[])[..]].concat();
    assert!(parse(&head).is_upgrade());
}

#[test]
fn a_request_of_1_0_is_answered_and_never_upgraded() {
    let head = upgrade_with("GET", "GET /chat HTTP/1.0");
    let request = parse(&head);
    assert!(request.is_http_1_0() && !request.is_upgrade());
    assert_eq!(request.upgrade_fault(), None, "its Upgrade is to be ignored (RFC 9110, 7.8)");

    let request = parse(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!((request.host(), request.is_upgrade()), (None, false));
}

#[test]
fn what_asks_for_no_websocket_is_neither_upgraded_nor_at_fault() {
    for more in [&[][..], &["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"], &["Connection: upgrade"]]
    {
        for method in ["GET", "HEAD", "POST", "PURGE"] {
            let head = head(&[&[&format!("{method} / HTTP/1.1"), "Host: a"], more].concat());
            let request = parse(&head);
            assert!(!request.is_upgrade());
            assert_eq!((request.method(), request.upgrade_fault()), (method, None));
        }
    }
}

#[test]
fn a_body_is_told_of() {
    for (line, has_body) in [
        ("X: y", false),
        ("Content-Length: 0", false),
        ("Content-Length: 10", true),
        ("Transfer-Encoding: chunked", true),
    ] {
        assert_eq!(parse(&head(&["POST / HTTP/1.1", "Host: a", line])).has_body(), has_body, "{line}");
    }
}

#[test]
fn an_absolute_target_names_path_and_host() {
    for (target, host, path) in [
        ("http://a.example/chat?x=1", "a.example", "/chat"),
        ("HTTPS://a.example:8443", "a.example:8443", "/"),
        ("ws://[::1]:9/p", "[::1]:9", "/p"),
        ("wss://a.example?x=1", "a.example", "/"),
    ] {
        let head = upgrade_with("GET", &format!("GET {target} HTTP/1.1"));
        let request = parse(&head);
        assert!(request.is_upgrade());
        assert_eq!((request.host(), request.path(), request.target()), (Some(host), path, target));
        assert_eq!(request.header("host"), Some(&b"example.org"[..]));
        assert_eq!(request.query("x").as_deref(), target.contains('?').then_some("1"));
    }
}

#[test]
fn options_of_everything_has_a_star_for_its_path() {
    assert_eq!(parse(&head(&["OPTIONS * HTTP/1.1", "Host: a"])).path(), "*");
}

#[test]
fn queries_are_decoded_as_browsers_encode_them() {
    let query = "a=1&b=x+y%20z&c&d=&e=%C3%A4&f=%zz%4&g=%ff!&h%20i=j&a=2&&k=l=m&%61b=n&o=a%26b%3Dc&p=%2B&q=?/";
    let head = head(&[&format!("GET /search?{query} HTTP/1.1"), "Host: a"]);
    let request = parse(&head);
    assert_eq!(request.path(), "/search");
    for (name, value) in [
        ("a", Some("1")),
        ("b", Some("x y z")),
        ("c", Some("")),
        ("d", Some("")),
        ("e", Some("\u{e4}")),
        ("f", Some("%zz%4")),
        ("g", Some("\u{fffd}!")),
        ("h i", Some("j")),
        ("k", Some("l=m")),
        ("ab", Some("n")),
        ("o", Some("a&b=c")),
        ("p", Some("+")),
        ("q", Some("?/")),
        ("", None),
        ("A", None),
        ("%61b", None),
        ("z", None),
    ] {
        assert_eq!(request.query(name).as_deref(), value, "{name}");
    }
}

#[test]
fn a_path_stays_as_it_came() {
    for path in ["/a%2Fb", "/../..", "//a", "/%C3%A4", "/a;b=c", "/{}|\"<>"] {
        assert_eq!(parse(&head(&[&format!("GET {path} HTTP/1.1"), "Host: a"])).path(), path);
    }
}

#[test]
fn cookies_are_found_among_others_and_without_their_quotes() {
    let head = upgrade_and(&[
        "Cookie: a=1; sid=\"q u=o;ted\"; b=x=y==;c=; \"d\"=e; flag;  spaced = out ; a=2",
        "cookie: late=7; half=\"; bare=\"\"",
        "Cookie: good=yes; b\u{e4}d=\u{e4}",
    ]);
    let request = parse(&head);
    for (name, value) in [
        ("a", Some("1")),
        ("sid", Some("\"q u=o")),
        ("b", Some("x=y==")),
        ("c", Some("")),
        ("\"d\"", Some("e")),
        ("flag", None),
        ("spaced", Some("out")),
        ("late", Some("7")),
        ("half", Some("\"")),
        ("bare", Some("")),
        ("good", Some("yes")),
        ("b\u{e4}d", Some("\u{e4}")),
        ("SID", None),
        ("", None),
    ] {
        assert_eq!(request.cookie(name), value, "{name}");
    }
    assert_eq!(parse(&upgrade_and(&["Cookie: id=\"a b\""])).cookie("id"), Some("a b"));

    let latin_1 = [&b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ok=1; n=\xe4\r\n\r\n"[..]].concat();
    let request = parse(&latin_1);
    assert_eq!((request.cookie("ok"), request.cookie("n")), (Some("1"), None));
}

#[test]
fn subprotocols_of_several_headers_are_one_list() {
    let head = upgrade_and(&[
        "Sec-WebSocket-Protocol: json ,,\tcbor",
        "sec-websocket-protocol: v1.chat",
        "Sec-WebSocket-Protocol: \"quoted\", two words, last",
        "Sec-WebSocket-Protocol:",
    ]);
    assert_eq!(parse(&head).protocols().collect::<Vec<_>>(), ["json", "cbor", "v1.chat", "last"]);
}

#[test]
fn extensions_come_as_they_were_sent() {
    let head = upgrade_and(&[
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x",
        "sec-websocket-extensions: y; q=\"a, b\"",
    ]);
    let values = [&b"permessage-deflate; client_max_window_bits, x"[..], b"y; q=\"a, b\""];
    assert_eq!(parse(&head).extensions().collect::<Vec<_>>(), values);
}

#[test]
fn headers_are_found_in_any_case_and_in_their_order() {
    let head = upgrade_and(&["X-A: 1", "x-a:2", "X-B: ", "X-C: \u{e4}\t\u{e4}"]);
    let request = parse(&head);
    assert_eq!(request.headers("X-a").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(request.header("x-b"), Some(&b""[..]));
    assert_eq!(request.header("x-c"), Some("\u{e4}\t\u{e4}".as_bytes()));
    assert_eq!(request.header("x"), None);
}

#[test]
fn an_origin_is_the_same_by_host_and_port_alone() {
    for (host, origin, is_tls, is_same) in [
        ("a.example", "http://a.example", false, true),
        ("a.example", "https://a.example", true, true),
        ("A.Example", "HTTP://a.eXample", false, true),
        ("a.example:80", "http://a.example", false, true),
        ("a.example", "http://a.example:80", false, true),
        ("a.example:", "http://a.example", false, true),
        ("a.example:443", "https://a.example", true, true),
        ("a.example:9000", "http://a.example:9000", false, true),
        ("a.example:9000", "https://a.example:9000", true, true),
        ("[::1]:9000", "http://[::1]:9000", false, true),
        ("a.example", "https://a.example", false, false),
        ("a.example:9000", "https://a.example:9000", false, false),
        ("a.example", "http://a.example", true, false),
        ("a.example:9000", "http://a.example", false, false),
        ("a.example", "http://a.example:9000", false, false),
        ("a.example", "http://b.example", false, false),
        ("a.example", "http://a.example.evil", false, false),
        ("a.example", "http://evil.a.example", false, false),
        ("a.example", "http://a.example@evil", false, false),
        ("a.example", "http://evil@a.example", false, false),
        ("a.example", "http://a.example/", false, false),
        ("a.example", "http://a.example, http://a.example", false, false),
        ("a.example", "chrome-extension://a.example", false, false),
        ("a.example", "file://", false, false),
        ("a.example", "a.example", false, false),
        ("a.example", "null", false, false),
        ("a.example", "", false, false),
    ] {
        let lines = ["GET / HTTP/1.1", &format!("Host: {host}"), &format!("Origin: {origin}")];
        assert_eq!(parse(&head(&lines)).is_same_origin(is_tls), is_same, "{origin} at {host}, tls: {is_tls}");
    }
}

#[test]
fn no_origin_is_the_same_and_an_unreadable_one_is_not() {
    assert!(parse(&head(&["GET / HTTP/1.1", "Host: a"])).is_same_origin(true));
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://a\xff\r\n\r\n";
    assert_eq!(parse(head).origin(), None);
    assert!(!parse(head).is_same_origin(false));
    assert!(
        !parse(b"GET / HTTP/1.0\r\nOrigin: http://a\r\n\r\n").is_same_origin(false),
        "no host to be the same"
    );
}

#[test]
fn debug_shows_no_secrets() {
    let head = upgrade_with("GET", "GET /chat?token=hunter2 HTTP/1.1\r\nAuthorization: Bearer hunter2");
    let shown = format!("{:?}", parse(&head));
    assert!(shown.contains("Authorization") && !shown.contains("hunter2"), "{shown}");
}
