//! Servers that we dial, and that answer badly: what they do ends their own connection, and costs no more than that.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::Receiver,
};

use tungstenite::handshake::derive_accept_key;
use wheelhouse::{Audience, CloseReason, Connect, Deflate, Engine, Framing, On, WebSocket};

use crate::{
    Script, Server, Told,
    fixture::{accept, eventually, next},
    refused, telling,
    wire::Client,
};

/// An engine that dials our listener, and listens itself.
struct Dialler {
    server: Server<Script>,
    events: Receiver<Told>,
    listener: TcpListener,
    socket: WebSocket,
}

impl Dialler {
    fn new(socket: WebSocket) -> Dialler {
        let (server, events) = telling(Engine::builder().listen(crate::listener(WebSocket::new())));
        Dialler { server, events, listener: TcpListener::bind("127.0.0.1:0").unwrap(), socket }
    }

    /// The server's end of one more connection, and the request that came.
    fn dial(&self) -> (TcpStream, String) {
        let url = format!("ws://{}", self.listener.local_addr().unwrap());
        let to = Connect::to(url).framing(Framing::websocket(self.socket.clone()));
        self.server.handle.connect(On::Any, to).unwrap();
        let mut stream = accept(&self.listener);
        let request = read_request(&mut stream);
        (stream, request)
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

/// The answer that opens.
fn welcome(request: &str, headers: &str) -> String {
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
    )
}

#[test]
fn a_server_that_answers_interim_for_ever_is_given_up_and_nothing_else_is() {
    let dialler = Dialler::new(WebSocket::new());
    let mut other = Client::open(dialler.server.at());
    assert_eq!(next(&dialler.events), Told::Request("/".into()));
    assert_eq!(next(&dialler.events), Told::Open(None));
    for at_once in [true, false] {
        let (mut stream, _) = dialler.dial();
        let interim = b"HTTP/1.1 100\r\n\r\n";
        for part in interim.repeat(8000).chunks(if at_once { usize::MAX } else { 16 * 100 }) {
            // It may be over before all is written.
            let _ = stream.write_all(part);
        }
        assert_eq!(next(&dialler.events), refused(CloseReason::Handshake));
        other.echo("still here");
        assert_eq!(next(&dialler.events), Told::Text("still here".into()));
    }
}

#[test]
fn a_few_interim_answers_before_the_one_that_opens_are_passed_by() {
    let dialler = Dialler::new(WebSocket::new());
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n".repeat(20);
    for cut in [0, 1, 30, hints.len() + 5] {
        let (mut stream, request) = dialler.dial();
        let bytes = format!("{hints}{}", welcome(&request, ""));
        stream.write_all(&bytes.as_bytes()[..cut]).unwrap();
        std::thread::sleep(2 * crate::MS);
        // A first text behind it, too.
        stream.write_all(&[&bytes.as_bytes()[cut..], b"\x81\x02hi"].concat()).unwrap();
        assert_eq!(next(&dialler.events), Told::Open(None));
        assert_eq!(next(&dialler.events), Told::Text("hi".into()));
        drop(stream);
        assert!(matches!(next(&dialler.events), Told::Close { opened: true, .. }));
    }
}

#[test]
fn those_who_dial_share_the_places_for_contexts_of_their_own() {
    let dialler = Dialler::new(WebSocket::new().deflate(Deflate::new().own_contexts(1)));
    let dial = || {
        let (stream, request) = dialler.dial();
        let offer = request.lines().find(|line| line.starts_with("Sec-WebSocket-Extensions")).unwrap();
        let offers_contexts = !offer.contains("no_context_takeover");
        (stream, request, offers_contexts)
    };
    let answer = |(mut stream, request, _): (TcpStream, String, bool), parameters: &str| {
        let extension = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n");
        stream.write_all(welcome(&request, &extension).as_bytes()).unwrap();
        assert_eq!(next(&dialler.events), Told::Open(None));
        stream
    };
    let neither = "; server_no_context_takeover; client_no_context_takeover";
    let (one, two) = (dial(), dial());
    assert!(one.2 && !two.2, "the place is taken from when it is offered");
    let (one, two) = (answer(one, ""), answer(two, neither));
    let three = dial();
    assert!(!three.2);
    let _three = answer(three, neither);
    // Who had it leaves; so does one who never came to have it, and one who was offered it and did not want it.
    drop(one);
    assert!(matches!(next(&dialler.events), Told::Close { opened: true, .. }));
    eventually("it is gone", || dialler.server.handle.count() == 2);
    for _ in 0..2 {
        let four = dial();
        assert!(four.2, "the place is free again");
        drop(four);
        assert!(matches!(next(&dialler.events), Told::Close { opened: false, .. }));
        eventually("it is gone", || dialler.server.handle.count() == 2);
    }
    let five = dial();
    assert!(five.2);
    let _five = answer(five, neither);
    assert!(dial().2, "it was given back with the answer");
    drop(two);
}

#[test]
fn who_dials_may_write_the_scheme_in_any_case_and_no_fragment() {
    let dialler = Dialler::new(WebSocket::new());
    let at = dialler.listener.local_addr().unwrap();
    dialler.server.handle.connect(On::Any, Connect::to(format!("Ws://{at}/Rooms?A"))).unwrap();
    let request = read_request(&mut accept(&dialler.listener));
    assert!(request.starts_with("GET /Rooms?A HTTP/1.1\r\n"), "{request}");
    for url in [format!("ws://{at}/#top"), format!("ws://{at}#top"), format!("WS://{at}/a?b#top")] {
        let error = dialler.server.handle.connect(On::Any, Connect::to(&*url)).unwrap_err().to_string();
        assert!(error.contains(&url) && error.contains("`#top`"), "{error}");
    }
}

#[test]
fn an_answer_that_is_too_long_is_given_up() {
    let dialler = Dialler::new(WebSocket::new().max_head(1000));
    let (mut stream, request) = dialler.dial();
    stream.write_all(welcome(&request, &format!("X: {}\r\n", "x".repeat(1000))).as_bytes()).unwrap();
    assert_eq!(next(&dialler.events), refused(CloseReason::Handshake));
    // Within the limit it opens.
    let (mut stream, request) = dialler.dial();
    stream.write_all(welcome(&request, &format!("X: {}\r\n", "x".repeat(500))).as_bytes()).unwrap();
    assert_eq!(next(&dialler.events), Told::Open(None));
}

#[test]
fn what_all_are_told_is_masked_anew_for_each_server_that_was_dialled() {
    const SERVERS: usize = 4;
    let dialler = Dialler::new(WebSocket::new());
    let mut streams: Vec<TcpStream> = (0..SERVERS)
        .map(|_| {
            let (mut stream, request) = dialler.dial();
            stream.write_all(welcome(&request, "").as_bytes()).unwrap();
            assert_eq!(next(&dialler.events), Told::Open(None));
            stream
        })
        .collect();
    let mut masks = Vec::new();
    for _ in 0..2 {
        dialler.server.handle.broadcast(Audience::Open, "a word to all").unwrap();
        for stream in &mut streams {
            let mut frame = [0; 2 + 4 + 13];
            stream.read_exact(&mut frame).unwrap();
            assert_eq!(frame[..2], [0x81, 0x80 | 13]);
            let mask: [u8; 4] = frame[2..6].try_into().unwrap();
            let words: Vec<u8> = frame[6..].iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
            assert_eq!(words, b"a word to all");
            masks.push(mask);
        }
    }
    masks.sort_unstable();
    masks.dedup();
    assert_eq!(masks.len(), 2 * SERVERS, "a key was used again");
}

#[test]
fn a_server_that_takes_the_offer_and_not_its_window_is_given_up() {
    let dialler = Dialler::new(WebSocket::new().deflate(Deflate::new().window_bits(10)));
    for (window, is_kept) in [
        ("", false),
        ("; server_max_window_bits=11", false),
        ("; server_max_window_bits=10; client_max_window_bits=11", false),
        ("; server_max_window_bits=10", true),
        ("; server_max_window_bits=8; client_max_window_bits=9", true),
    ] {
        let (mut stream, request) = dialler.dial();
        let neither = "server_no_context_takeover; client_no_context_takeover";
        let offered = format!("{neither}; server_max_window_bits=10; client_max_window_bits=10\r\n");
        assert!(request.contains(&format!("Sec-WebSocket-Extensions: permessage-deflate; {offered}")));
        let extension = format!("Sec-WebSocket-Extensions: permessage-deflate; {neither}{window}\r\n");
        stream.write_all(welcome(&request, &extension).as_bytes()).unwrap();
        if is_kept {
            assert_eq!(next(&dialler.events), Told::Open(None));
            drop(stream);
            assert!(matches!(next(&dialler.events), Told::Close { opened: true, .. }));
        } else {
            assert_eq!(next(&dialler.events), refused(CloseReason::Handshake));
        }
    }
}
