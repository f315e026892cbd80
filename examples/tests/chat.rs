//! The chat: browsers and telnet in one room.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/socket.rs"]
mod socket;

use common::{Server, Talk};
use socket::{Socket, ask, http};

fn start() -> Server {
    Server::start_with("chat", 2, &["--ws=ws://127.0.0.1:0", "--tcp=tcp://127.0.0.1:0"])
}

fn browser(server: &Server, name: &str) -> Socket {
    Socket::open(&server.urls()[0], &format!("/?name={name}"))
}

fn telnet(server: &Server) -> Talk {
    Talk::to(&server.urls()[1])
}

const WHO: &str = "* who are you? say your name";

#[test]
fn a_browser_and_telnet_talk_to_each_other() {
    let server = start();
    assert!(server.urls()[0].starts_with("ws://") && server.urls()[1].starts_with("tcp://"));
    let mut ann = browser(&server, "ann");
    assert_eq!(ann.hear(), "* ann joined");
    let mut bob = telnet(&server);
    assert_eq!((bob.hear(), bob.hear()), ("* ann joined".into(), WHO.into()));
    assert_eq!(bob.ask("bob"), "* bob joined");
    assert_eq!(ann.hear(), "* bob joined");

    bob.say("hello, browser");
    assert_eq!((ann.hear(), bob.hear()), ("bob: hello, browser".into(), "bob: hello, browser".into()));
    ann.say("hello, telnet \u{263A}");
    assert_eq!(
        (ann.hear(), bob.hear()),
        ("ann: hello, telnet \u{263A}".into(), "ann: hello, telnet \u{263A}".into())
    );

    drop(bob);
    assert_eq!(ann.hear(), "* bob left");
    let mut carl = telnet(&server);
    let history: Vec<String> = (0..6).map(|_| carl.hear()).collect();
    assert_eq!((&*history[2], &*history[4], &*history[5]), ("bob: hello, browser", "* bob left", WHO));
    ann.close();
    assert_eq!(carl.hear(), "* ann left");
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn bytes_reach_browsers_as_they_are_and_telnet_as_a_notice() {
    let server = start();
    let (mut ann, mut bob, mut carl) = (browser(&server, "ann"), browser(&server, "bob"), telnet(&server));
    ann.hear();
    // Bob may have joined before or after Carl's history was told.
    while carl.hear() != WHO {}
    carl.say("carl");
    while carl.hear() != "* carl joined" {}
    while ann.hear() != "* carl joined" {}
    while bob.hear() != "* carl joined" {}
    let bytes: Vec<u8> = (0..200_000).map(|n: u32| (n % 251) as u8).collect();
    ann.send(&bytes);
    for socket in [&mut ann, &mut bob] {
        assert_eq!(socket.hear(), "* ann sends 200000 bytes");
        assert!(socket.hear_bytes() == bytes);
    }
    assert_eq!(carl.hear(), "* ann sends 200000 bytes");
    bob.say("thanks");
    assert_eq!(carl.hear(), "bob: thanks"); // and no byte of it in between
}

#[test]
fn a_newline_from_a_browser_forges_no_line() {
    let server = start();
    let mut ann = browser(&server, "ann");
    ann.hear();
    let mut carl = telnet(&server);
    while carl.hear() != WHO {}
    ann.say("hello\nbob: I am a fool\r\x1b[2J\u{85}\u{2028}* bob left");
    let line = "ann: hello bob: I am a fool  [2J  * bob left";
    assert_eq!((ann.hear(), carl.hear()), (line.into(), line.into()));
    ann.say("");
    assert_eq!(carl.hear(), "ann: ");
}

#[test]
fn a_name_is_one_persons_and_looks_like_nothing_else() {
    let server = start();
    let mut ann = browser(&server, "ann");
    ann.hear();
    let mut other = browser(&server, "ann");
    assert_eq!(
        (other.hear(), other.hear()),
        ("* ann joined".into(), "* ann is here already; who are you?".into())
    );
    for bad in ["", "bob left", "ann:", "*", "x\ny", "abcdefghijklmnopqrstuvwxy"] {
        other.say(bad);
        assert!(other.hear().starts_with("* a name has 1 to 24"), "{bad}");
    }
    other.send(b"bytes");
    assert_eq!(other.hear(), "* say your name first");
    other.say("J\u{f6}rg_2");
    assert_eq!((ann.hear(), other.hear()), ("* J\u{f6}rg_2 joined".into(), "* J\u{f6}rg_2 joined".into()));
    ann.close();
    assert_eq!(other.hear(), "* ann left");
    assert_eq!(browser(&server, "ann").hear(), "* ann joined"); // free again, and the oldest line told
}

#[test]
fn the_page_is_served_and_no_other_page_may_come() {
    let server = start();
    let url = &server.urls()[0];
    let page = http(url, "GET /?name=x HTTP/1.1");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("text/html; charset=utf-8"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'") && page.ends_with("</html>\n"));
    let head = http(url, "HEAD / HTTP/1.1");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(http(url, "GET /other HTTP/1.1").starts_with("HTTP/1.1 404 "));
    assert!(http(url, "POST / HTTP/1.1\r\nContent-Length: 0").starts_with("HTTP/1.1 405 "));

    let own = url.replace("ws://", "http://");
    assert!(ask(url, "/", &[("origin", &own)]).is_ok());
    for other in ["http://example.org", "null", "http://127.0.0.1:1"] {
        let refused = ask(url, "/", &[("origin", other)]).err().expect("refused");
        assert_eq!(refused.status(), 403, "{other}");
    }
}

#[test]
fn a_line_that_is_too_long_is_not_passed_on() {
    let server = start();
    let mut ann = browser(&server, "ann");
    ann.hear();
    ann.say(&"x".repeat(4097));
    assert_eq!(ann.hear(), "* not passed on: more than 4096 bytes");
    ann.say(&"x".repeat(4096));
    assert_eq!(ann.hear(), format!("ann: {}", "x".repeat(4096)));
}
