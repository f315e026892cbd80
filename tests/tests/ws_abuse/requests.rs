//! Plain HTTP on a WebSocket port, with more behind it than was asked for: it never reaches the frames, and never another
//! answer.

use std::io::Write;

use wheelhouse::{CloseReason, Deflate, Engine, Reply, WebSocket};

use crate::{
    MS, Script, Told, closed,
    fixture::{Ending, next, read_to_end, serve},
    listener, plain, refused, silent, telling,
    wire::{Answer, Client, ask, read_head, request, wait_until_empty},
};

#[test]
fn a_refusal_arrives_whole_though_the_body_of_the_request_is_never_read() {
    let (server, _events) = telling(plain());
    for size in [1, 1000, 1 << 20, 8 << 20] {
        let mut bytes =
            format!("POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + size, b'b');
        let answer = ask(server.at(), &bytes);
        assert_eq!((answer.status, answer.body.len()), (403, 1000));
    }
    wait_until_empty(&server.handle);
}

#[test]
fn of_pipelined_requests_the_first_is_answered_and_the_connection_ends() {
    let (server, events) = telling(plain());
    let one = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
    let two = "GET /no HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = ask(server.at(), format!("{one}{two}{}", request("/", "")).as_bytes());
    assert_eq!((answer.status, &*answer.body), (200, &b"<p>page</p>"[..]));
    assert_eq!(next(&events), Told::Request("/page".into()));
    assert_eq!(next(&events), refused(CloseReason::Local));
    assert!(events.try_recv().is_err(), "the second was asked about");
}

#[test]
fn a_request_behind_an_upgrade_is_no_request_but_a_frame_that_breaks_the_rules() {
    let (server, events) = telling(plain());
    let mut stream = server.connect();
    let bytes = request("/", "") + "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(bytes.as_bytes()).unwrap();
    assert_eq!(read_head(&mut stream).status, 101);
    let mut client = Client { stream };
    client.expect_close(1002);
    drop(client);
    assert_eq!(next(&events), Told::Request("/".into()));
    assert_eq!(next(&events), Told::Open(None));
    assert_eq!(next(&events), closed(CloseReason::Protocol));
}

#[test]
fn an_upgrade_with_a_body_is_refused_with_400() {
    let server = silent(plain());
    for body in ["Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
        let bytes = request("/", body) + "\x01\x02\x03\x04";
        assert_eq!(ask(server.at(), bytes.as_bytes()).status, 400, "{body}");
    }
    // An empty one is none.
    drop(Client::open_with(server.at(), "Content-Length: 0\r\n"));
}

#[test]
fn an_upgrade_whose_offers_are_no_lists_is_refused_with_400_whatever_is_replied() {
    let (server, events) =
        telling(Engine::builder().listen(listener(WebSocket::new().deflate(Deflate::new()))));
    for offer in [
        "Sec-WebSocket-Extensions: @@@",
        "Sec-WebSocket-Extensions: permessage-deflate;",
        "Sec-WebSocket-Extensions: permessage-deflate; \"",
        "Sec-WebSocket-Extensions: =;,",
        "Sec-WebSocket-Extensions: a b",
        "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: a b",
        "Sec-WebSocket-Protocol: a b",
        "Sec-WebSocket-Protocol: \"x\"",
        "Sec-WebSocket-Protocol: json\r\nSec-WebSocket-Protocol: json;q=1",
        "Sec-WebSocket-Protocol: ,",
    ] {
        assert_eq!(ask(server.at(), request("/", &format!("{offer}\r\n")).as_bytes()).status, 400, "{offer}");
        assert_eq!(next(&events), Told::Request("/".into()));
        assert_eq!(next(&events), refused(CloseReason::Local));
    }
    // What is well-formed and nobody knows, or cannot be had, is passed by.
    for offer in [
        "Sec-WebSocket-Extensions: x; y=\"z\",,permessage-deflate; server_max_window_bits=99",
        "Sec-WebSocket-Extensions:\r\nSec-WebSocket-Extensions: x",
        "Sec-WebSocket-Protocol: a,,b\r\nSec-WebSocket-Protocol: ,c",
    ] {
        let mut client = Client::open_with(server.at(), &format!("{offer}\r\n"));
        client.echo("well");
    }
}

#[test]
fn what_asks_for_no_websocket_is_told_that_this_is_one() {
    let server = silent(plain());
    let answer = ask(server.at(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 426);
    assert!(answer.header("Upgrade").unwrap().eq_ignore_ascii_case("websocket"));
    let answer = ask(server.at(), request("/", "").replace("Version: 13", "Version: 8").as_bytes());
    assert_eq!((answer.status, answer.header("Sec-WebSocket-Version")), (426, Some("13")));
    let answer =
        ask(server.at(), request("/", "").replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=").as_bytes());
    assert_eq!(answer.status, 400);
}

#[test]
fn a_panic_while_a_request_is_answered_is_500_and_ends_that_connection_alone() {
    let server = crate::serve(plain().reactors(1), |_| {
        crate::Script::<()>::new().request(|_, (), request| match request.path() {
            "/panic" => std::panic::resume_unwind(Box::new("on purpose")),
            _ => wheelhouse::Reply::accept(),
        })
    });
    let mut other = Client::open(server.at());
    assert_eq!(ask(server.at(), request("/panic", "").as_bytes()).status, 500);
    other.echo("still served");
}

#[test]
fn no_answer_to_a_head_has_a_body_whoever_gives_it() {
    let server = serve(plain().reactors(1).handshake_timeout(300 * MS), |_| {
        Script::<()>::new().request(|_, (), request| match request.path() {
            "/panic" => std::panic::resume_unwind(Box::new("on purpose")),
            "/late" => Reply::later(),
            "/page" => Reply::status(200).body("text/plain", "a page"),
            _ => Reply::accept(),
        })
    });
    let many = format!("HEAD / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    let long = format!("HEAD / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(20_000));
    for (request, status) in [
        ("HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("HEAD / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (&many, 431),
        (&long, 431),
        ("HEAD /panic HTTP/1.1\r\nHost: a\r\n\r\n", 500),
        ("HEAD /late HTTP/1.1\r\nHost: a\r\n\r\n", 503),
        ("HEAD / HT", 408),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n", 408),
    ] {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let (bytes, ending) = read_to_end(&mut stream);
        let answer = Answer::parse(&bytes);
        assert_eq!((answer.status, &*answer.body, ending), (status, &b""[..], Ending::Eof), "{request:.60}");
        // It tells what the body of a GET would have been.
        assert_ne!(answer.header("Content-Length"), Some("0"), "{request:.60}");
    }
}

#[test]
fn a_page_larger_than_the_queues_limit_arrives_whole() {
    let server = serve(plain().reactors(1), |_| {
        Script::<()>::new()
            .request(|_, (), _| Reply::status(200).body("application/octet-stream", vec![b'x'; 5 << 20]))
    });
    let answer = ask(server.at(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.body.len()), (200, 5 << 20));
}

#[test]
fn an_acceptance_for_which_there_is_no_memory_ends_one_who_was_never_open() {
    let (told, events) = std::sync::mpsc::channel();
    let server = serve(plain().reactors(1).buffer_memory(64 << 10), move |_| {
        let (opens, closes) = (told.clone(), told.clone());
        Script::<()>::new()
            .request(|_, (), _| Reply::accept().header("X-Long", "x".repeat(256 << 10)))
            .open(move |_, ()| {
                crate::tell(&opens, Told::Open(None));
                wheelhouse::Action::Continue
            })
            .close(move |closed, ()| {
                crate::tell(&closes, Told::Close { opened: closed.opened(), reason: *closed.reason() });
            })
    });
    let mut stream = server.connect();
    stream.write_all(request("/", "").as_bytes()).unwrap();
    let told = next(&events);
    assert!(matches!(told, Told::Close { opened: false, .. }), "{told:?}");
    assert_eq!(server.handle.stats().total().opened, 0);
}
