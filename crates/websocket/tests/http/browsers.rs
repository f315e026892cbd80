//! Heads as clients that we did not write send them.

use crate::util::{head, parse};

#[test]
fn firefox_is_upgraded() {
    let head = head(&[
        "GET /ws HTTP/1.1",
        "Host: localhost:9001",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Accept: */*",
        "Accept-Language: en-US,en;q=0.5",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Sec-WebSocket-Version: 13",
        "Origin: http://localhost:9001",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Key: yTnZTnUOhdSSI3SJcGgfhQ==",
        "DNT: 1",
        "Connection: keep-alive, Upgrade",
        "Sec-Fetch-Dest: empty",
        "Sec-Fetch-Mode: websocket",
        "Sec-Fetch-Site: same-origin",
        "Pragma: no-cache",
        "Cache-Control: no-cache",
        "Upgrade: websocket",
    ]);
    let request = parse(&head);
    assert!(request.is_upgrade() && request.is_same_origin(false));
    assert_eq!(request.extensions().collect::<Vec<_>>(), [b"permessage-deflate"]);
}

#[test]
fn chromium_is_upgraded() {
    let head = head(&[
        "GET /chat?room=caf%C3%A9 HTTP/1.1",
        "Host: 127.0.0.1:9001",
        "Connection: Upgrade",
        "Pragma: no-cache",
        "Cache-Control: no-cache",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "Upgrade: websocket",
        "Origin: http://127.0.0.1:9001",
        "Sec-WebSocket-Version: 13",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: en-US,en;q=0.9",
        "Cookie: theme=dark; session=\"abc123==\"",
        "Sec-WebSocket-Key: 2wXRUJTYDPmmr4uSSzSRtw==",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol: json, cbor",
    ]);
    let request = parse(&head);
    assert!(request.is_upgrade() && request.is_same_origin(false));
    assert_eq!(request.query("room").as_deref(), Some("caf\u{e9}"));
    assert_eq!(request.cookie("session"), Some("abc123=="));
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["json", "cbor"]);
}

#[test]
fn curl_gets_an_answer() {
    let head =
        head(&["GET /health HTTP/1.1", "Host: 127.0.0.1:9001", "User-Agent: curl/8.5.0", "Accept: */*"]);
    let request = parse(&head);
    assert!(!request.is_upgrade() && !request.has_body() && request.is_same_origin(false));
    assert_eq!((request.path(), request.upgrade_fault()), ("/health", None));
}

#[test]
fn lower_case_headers_of_a_proxy_are_upgraded() {
    let head = head(&[
        "GET / HTTP/1.1",
        "host: example.org",
        "x-forwarded-for: 203.0.113.7",
        "x-forwarded-proto: https",
        "upgrade: websocket",
        "connection: upgrade",
        "origin: https://example.org",
        "sec-websocket-key: yTnZTnUOhdSSI3SJcGgfhQ==",
        "sec-websocket-version: 13",
        "content-length: 0",
    ]);
    let request = parse(&head);
    assert!(request.is_upgrade());
    assert!(request.is_same_origin(true) && !request.is_same_origin(false));
}
