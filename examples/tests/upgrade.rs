//! Who is let in, and what everyone else is told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/socket.rs"]
mod socket;

use std::time::{Duration, Instant};

use common::{Server, example, run};
use socket::{Socket, ask, http};

fn start(options: &[&str]) -> Server {
    Server::start_on("upgrade", &["ws://127.0.0.1:0"], options)
}

/// The status, and the subprotocol or else `www-authenticate`.
fn status(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, Option<String>) {
    let told = |value: Option<&tungstenite::http::HeaderValue>| value.map(|v| v.to_str().unwrap().to_owned());
    match ask(server.url(), path, headers) {
        Ok((_, yes)) => (yes.status().as_u16(), told(yes.headers().get("sec-websocket-protocol"))),
        Err(no) => (no.status().as_u16(), told(no.headers().get("www-authenticate"))),
    }
}

const ANN: (&str, &str) = ("authorization", "Bearer ann.sesame");
const JSON: (&str, &str) = ("sec-websocket-protocol", "json");

#[test]
fn each_request_has_its_own_answer() {
    let server = start(&["--origin", "https://example.org"]);
    let health = http(server.url(), "GET /health HTTP/1.1");
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("\r\n\r\nok\n"), "{health}");
    assert!(http(server.url(), "GET /v1 HTTP/1.1").starts_with("HTTP/1.1 426 "));
    assert!(http(server.url(), "GET /v2 HTTP/1.1").starts_with("HTTP/1.1 404 "));
    for (path, headers, expected) in [
        ("/v2", &[ANN, JSON][..], (404, None)),
        ("/v1", &[JSON], (401, Some("Bearer".to_owned()))),
        ("/v1", &[JSON, ("authorization", "Basic YTpi")], (401, Some("Bearer".to_owned()))),
        ("/v1", &[JSON, ("authorization", "Bearer a\"b.sesame")], (401, Some("Bearer".to_owned()))),
        ("/v1", &[ANN, JSON, ("origin", "https://evil.example")], (403, None)),
        ("/v1", &[ANN, JSON, ("origin", "https://example.org")], (101, Some("json".to_owned()))),
        ("/v1", &[ANN, JSON], (101, Some("json".to_owned()))),
    ] {
        // Without an offer the client takes any answer for a fault.
        assert_eq!(status(&server, path, headers), expected, "{path} {headers:?}");
    }
    assert_eq!(status(&server, "/v1", &[ANN]).0, 400);
    assert_eq!(status(&server, "/v1", &[ANN, ("sec-websocket-protocol", "xml")]).0, 400);
    assert_eq!(server.stop().0, Some(0));
}

fn user(server: &Server, token: &str, offered: &str) -> (Socket, String) {
    let headers = [("authorization", token), ("sec-websocket-protocol", offered)];
    let (socket, yes) = ask(server.url(), "/v1", &headers).unwrap_or_else(|no| panic!("{}", no.status()));
    (socket, yes.headers()["sec-websocket-protocol"].to_str().unwrap().to_owned())
}

#[test]
fn the_first_subprotocol_that_is_known_is_spoken() {
    let server = start(&[]);
    let (mut json, chosen) = user(&server, "Bearer ann.sesame", "xml, json, cbor");
    json.say("?");
    assert_eq!((&*chosen, &*json.hear()), ("json", "{\"user\":\"ann\"}"));
    let (mut cbor, chosen) = user(&server, "bearer bob.sesame", "cbor, json");
    cbor.say("?");
    assert_eq!((&*chosen, cbor.hear_bytes()), ("cbor", b"\xa1\x64user\x63bob".to_vec()));
}

#[test]
fn a_late_acceptance_keeps_the_subprotocol_and_a_late_refusal_arrives() {
    let server = start(&["--look-up", "0.1"]);
    let begun = Instant::now();
    let (mut socket, chosen) = user(&server, "Bearer eve.guest7", "cbor, json");
    assert!(begun.elapsed() >= Duration::from_millis(100));
    socket.say("?");
    assert_eq!((&*chosen, socket.hear_bytes()), ("cbor", b"\xa1\x64user\x63eve".to_vec()));
    let stranger = [("authorization", "Bearer eve.who"), JSON];
    assert_eq!(status(&server, "/v1", &stranger).0, 403);
}

#[test]
fn the_reactor_goes_on_while_one_is_looked_up() {
    let server = start(&["--look-up", "600", "--within", "1"]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| status(&server, "/v1", &[("authorization", "Bearer eve.guest"), JSON]));
        assert_eq!(status(&server, "/v1", &[ANN, JSON]).0, 101);
        // Nobody answers for this one in time.
        assert_eq!(waiting.join().unwrap().0, 503);
    });
}

#[test]
fn what_no_browser_could_use_is_refused_with_the_option_and_the_value() {
    let (listen, origin) = ("expected ws://HOST:PORT or wss://HOST:PORT", "expected an origin, https://HOST");
    for (program, option, value, expected) in [
        ("upgrade", "--listen", "tcp://127.0.0.1:0", listen),
        ("upgrade", "--listen", "tls://127.0.0.1:0", listen),
        ("upgrade", "--listen", "unix:/tmp/a.sock", listen),
        ("chat", "--ws", "tcp://127.0.0.1:0", listen),
        ("upgrade", "--origin", "foo", origin),
        ("upgrade", "--origin", "https://", origin),
        ("upgrade", "--origin", "https://example.org/", origin),
        ("upgrade", "--origin", "https://example.org:https", origin),
        ("upgrade", "--origin", "https://example.org,https://example.com", origin),
    ] {
        let ended = run(example(program).args([option, value]));
        assert_eq!(ended.code, Some(2), "{program} {option} {value}: {}", ended.err);
        for part in [option, value, expected] {
            assert!(ended.err.contains(part), "{program} {option} {value}: {}", ended.err);
        }
    }
}
