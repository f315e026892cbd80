//! The URLs that a load can go to.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../stress/target.rs"]
#[allow(dead_code, reason = "the load uses all of it")]
mod target;

use target::Target;

#[test]
fn a_websocket_is_dialled_as_tcp_and_asked_for_by_host_and_path() {
    for (url, dial, host, path) in [
        ("ws://127.0.0.1:9001", "tcp://127.0.0.1:9001", "127.0.0.1:9001", "/"),
        ("ws://[::1]/a?b", "tcp://[::1]:80", "[::1]", "/a?b"),
        ("WS://A.example/B", "tcp://A.example:80", "A.example", "/B"),
        ("ws://a.example?b", "tcp://a.example:80", "a.example", "/?b"),
    ] {
        let target = Target::parse(url).unwrap();
        assert_eq!((target.dial(), &target.websocket), (dial, &Some((host.into(), path.into()))));
        assert!(!target.is_tls());
    }
    assert_eq!(Target::parse("unix:@a").unwrap().websocket, None);
}

#[test]
fn over_tls_the_certificate_has_to_be_for_the_host() {
    for (url, dial, name, is_websocket) in [
        ("tls://127.0.0.1:9443", "tcp://127.0.0.1:9443", "127.0.0.1", false),
        ("tls://a.example:1", "tcp://a.example:1", "a.example", false),
        ("wss://[::1]/a?b", "tcp://[::1]:443", "::1", true),
        ("wss://a.example:1", "tcp://a.example:1", "a.example", true),
    ] {
        let target = Target::parse(url).unwrap();
        assert_eq!((target.dial(), target.is_websocket()), (dial, is_websocket));
        assert_eq!(target.name, Some(name.try_into().unwrap()), "{url}");
    }
}

#[test]
fn what_cannot_be_reached_is_bad_usage() {
    for (url, told) in [
        ("tls://a", "port"),
        ("wss://a_b..c:1", "certificate"),
        ("ws://a b:1", "space"),
        ("ws://a:x", "port"),
        ("ws://a/b#c", "`#c`"),
    ] {
        let error = Target::parse(url).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
