//! Our own client end, with tungstenite's server and that of Python's websockets at the other.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::Stdio,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use tungstenite::{
    Message as Foreign,
    handshake::server::{Request, Response},
};
use wheelhouse::{Action, CloseCode, CloseReason, Connect, Engine, Framing, Kind, On, Payload};

use crate::{
    Script, Server,
    fixture::{eventually, next, serve, tell, within},
    peers::{Program, installed, script},
    websocket,
};

/// What our client end is told.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Open(Option<String>),
    Text(String),
    Binary(Vec<u8>),
    Close { opened: bool, reason: CloseReason, error: Option<String> },
}

/// An engine that dials, and tells what it hears.
fn dialler() -> (Server<Script>, Receiver<Heard>) {
    let (told, heard) = channel();
    let server = serve(Engine::builder().reactors(1), move |_| {
        let [opens, messages, closes] = std::array::from_fn(|_| told.clone());
        Script::new()
            .open(move |conn, ()| {
                tell(&opens, Heard::Open(conn.subprotocol().map(str::to_owned)));
                Action::Continue
            })
            .message(move |_, (), message| {
                let what = match message.kind() {
                    Kind::TEXT => Heard::Text(message.text().unwrap().to_owned()),
                    _ => Heard::Binary(message.bytes().to_vec()),
                };
                tell(&messages, what);
                Action::Continue
            })
            .close(move |closed, ()| {
                let error = closed.error().map(ToString::to_string);
                tell(&closes, Heard::Close { opened: closed.opened(), reason: *closed.reason(), error });
            })
    });
    (server, heard)
}

fn dial(server: &Server<Script>, port: u16, path: &str, deflates: bool) {
    let socket = websocket(deflates).subprotocol("superchat").subprotocol("chat").origin("http://a.example");
    let to = Connect::to(format!("ws://127.0.0.1:{port}{path}")).framing(Framing::websocket(socket));
    server.handle.connect(On::Any, to).unwrap();
}

fn send(server: &Server<Script>, payload: impl Into<Payload<'static>>) {
    let id = server.handle.connections().next().expect("a connection");
    server.handle.send(id, payload).unwrap();
}

/// Not `assert_eq`, which would print all of a large message.
#[track_caller]
fn assert_heard(heard: &Receiver<Heard>, expected: Heard) {
    let what = next(heard);
    assert!(what == expected, "{:.300} instead of {:.100}", format!("{what:?}"), format!("{expected:?}"));
}

/// Texts and bytes of many sizes go there and back.
fn exchange(server: &Server<Script>, heard: &Receiver<Heard>) {
    for size in [0, 1, 125, 126, 511, 512, 65_535, 65_536, 300_000] {
        let noise: Vec<u8> = (0..size).map(|at: usize| (at * at * 31 + at / 7) as u8).collect();
        send(server, noise.clone());
        assert_heard(heard, Heard::Binary(noise));
        let text = "grüße 🐎 ".repeat(size / 8);
        send(server, text.clone());
        assert_heard(heard, Heard::Text(text));
    }
}

/// One connection of tungstenite's, which echoes and closes on demand; how it ended for it.
fn tungstenite_server(told: Sender<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            crate::fixture::impatient(&stream);
            let told = told.clone();
            thread::spawn(move || talk(stream, &told));
        }
    });
    port
}

#[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
fn talk(stream: std::net::TcpStream, told: &Sender<String>) {
    let choose = |request: &Request, mut response: Response| {
        let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap();
        tell(told, format!("{} {}", request.uri(), header("Origin")));
        if request.uri().path() == "/no" {
            return Err(Response::builder().status(403).body(Some("not you".to_owned())).unwrap());
        }
        if header("Sec-WebSocket-Protocol").contains("chat") {
            response.headers_mut().insert("Sec-WebSocket-Protocol", "chat".parse().unwrap());
        }
        Ok(response)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, choose) else { return };
    loop {
        match socket.read() {
            Ok(Foreign::Text(text)) if text == "close me" => {
                let frame =
                    tungstenite::protocol::CloseFrame { code: 4002.into(), reason: "as you wish".into() };
                socket.close(Some(frame)).unwrap();
            }
            Ok(Foreign::Close(frame)) => {
                tell(told, format!("close {}", frame.map_or(1005, |frame| frame.code.into())));
            }
            Ok(message) if message.is_ping() || message.is_pong() => {}
            Ok(message) => socket.send(message).unwrap(),
            Err(error) => return tell(told, error.to_string()),
        }
    }
}

#[test]
fn we_talk_with_tungstenites_server_and_close_from_either_end() {
    let (told, events) = channel();
    let port = tungstenite_server(told);
    let (server, heard) = dialler();
    dial(&server, port, "/rooms?name=a", true);
    assert_eq!(next(&events), "/rooms?name=a http://a.example");
    assert_eq!(next(&heard), Heard::Open(Some("chat".into())));
    exchange(&server, &heard);
    send(&server, "close me");
    let reason = CloseReason::Peer { code: Some(4002) };
    assert_eq!(next(&heard), Heard::Close { opened: true, reason, error: None });
    assert_eq!(next(&events), "close 4002");
    eventually("it is gone", || server.handle.count() == 0);
    drop(events);
    let (told, events) = channel();
    dial(&server, tungstenite_server(told), "", false);
    assert_eq!(next(&events), "/ http://a.example");
    assert_eq!(next(&heard), Heard::Open(Some("chat".into())));
    let id = server.handle.connections().next().unwrap();
    server.handle.finish_with(id, CloseCode::new(4003).unwrap(), "enough");
    assert_eq!(next(&events), "close 4003");
    assert_eq!(next(&heard), Heard::Close { opened: true, reason: CloseReason::Local, error: None });
}

#[test]
fn a_refusal_of_tungstenites_is_a_failed_handshake_that_names_the_status() {
    let (told, _events) = channel();
    let port = tungstenite_server(told);
    let (server, heard) = dialler();
    dial(&server, port, "/no", false);
    let Heard::Close { opened: false, reason: CloseReason::Handshake, error: Some(error) } = next(&heard)
    else {
        panic!("it was not refused");
    };
    assert!(error.contains("403"), "{error}");
}

/// Python's server, and what it prints.
fn python_server(mode: &str) -> (Program, Receiver<String>) {
    let python = installed("venv/bin/python");
    let mut program = Program::start(python, |command| {
        command.arg(script("server.py")).arg(mode).stdin(Stdio::piped()).stderr(Stdio::inherit())
    });
    let out = BufReader::new(program.child.stdout.take().unwrap());
    let (told, lines) = channel();
    thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| tell(&told, line)));
    (program, lines)
}

fn we_talk_with_python(mode: &str) {
    let (_program, lines) = python_server(mode);
    let port = within("it listens", move || (lines.recv().unwrap().parse().unwrap(), lines));
    let (port, lines): (u16, Receiver<String>) = port;
    let (server, heard) = dialler();
    dial(&server, port, "/rooms?name=a", mode == "deflate");
    assert_eq!(next(&heard), Heard::Open(Some("chat".into())));
    assert_eq!(next(&lines), "open /rooms?name=a chat");
    exchange(&server, &heard);
    send(&server, "in pieces");
    assert_eq!(next(&heard), Heard::Text("in pieces it comes".into()));
    send(&server, "ping me");
    assert_eq!(next(&heard), Heard::Text("pong".into()));
    send(&server, "close me");
    let reason = CloseReason::Peer { code: Some(4002) };
    assert_eq!(next(&heard), Heard::Close { opened: true, reason, error: None });
    assert_eq!(next(&lines), "close 4002");
    eventually("it is gone", || server.handle.count() == 0);
    dial(&server, port, "", mode == "deflate");
    assert_eq!(next(&heard), Heard::Open(Some("chat".into())));
    assert_eq!(next(&lines), "open / chat");
    let id = server.handle.connections().next().unwrap();
    server.handle.finish_with(id, CloseCode::new(4003).unwrap(), "enough");
    assert_eq!(next(&lines), "close 4003");
    assert_eq!(next(&heard), Heard::Close { opened: true, reason: CloseReason::Local, error: None });
}

#[test]
fn we_talk_with_pythons_server() {
    we_talk_with_python("plain");
}

#[test]
fn we_talk_compressed_with_pythons_server() {
    we_talk_with_python("deflate");
}
