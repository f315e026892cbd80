//! WebSocket clients and servers that we did not write, each with an engine at the other end: tungstenite, Python's
//! websockets, Node's ws, curl and Chromium. `make test` installs them (`tests/setup.sh`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a failure is a panic")]

mod chromium;
mod curl;
mod dialling;
#[path = "../fixture/mod.rs"]
mod fixture;
mod peers;
mod scripts;
mod tungsten;
mod windows;

use std::sync::mpsc::{Receiver, channel};

use fixture::{Script, Server, serve, tell};
use wheelhouse::{
    Action, CloseCode, CloseReason, Conn, Deflate, Engine, Framing, Listener, Message, Reply, Request,
    WebSocket,
};

/// What the engine tells of its connections, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Open(Option<String>),
    Report(String),
    Close { opened: bool, reason: CloseReason },
}

impl Told {
    fn closed(code: u16) -> Told {
        Told::Close { opened: true, reason: CloseReason::Peer { code: Some(code) } }
    }

    fn finished() -> Told {
        Told::Close { opened: true, reason: CloseReason::Local }
    }

    fn refused() -> Told {
        Told::Close { opened: false, reason: CloseReason::Local }
    }

    fn chat() -> Told {
        Told::Open(Some("chat".into()))
    }
}

fn websocket(deflates: bool) -> WebSocket {
    let socket = WebSocket::new();
    if deflates { socket.deflate(Deflate::new()) } else { socket }
}

/// What the foreign clients meet: an echo that closes and reports when it is told to, with a page, its health, and a door
/// that stays shut.
fn foreigners(deflates: bool) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let framing = Framing::websocket(websocket(deflates));
    let listener = Listener::new("ws://127.0.0.1:0").framing(framing);
    let server = serve(Engine::builder().listen(listener).reactors(1), move |_| {
        let [opens, reports, closes] = std::array::from_fn(|_| told.clone());
        Script::new()
            .request(|_, (), request| answer(request))
            .open(move |conn, ()| {
                tell(&opens, Told::Open(conn.subprotocol().map(str::to_owned)));
                Action::Continue
            })
            .message(move |conn, (), message| {
                match message.text().and_then(|text| text.strip_prefix("report ")) {
                    Some(report) => tell(&reports, Told::Report(report.to_owned())),
                    None => echo(conn, message),
                }
                Action::Continue
            })
            .close(move |closed, ()| {
                tell(&closes, Told::Close { opened: closed.opened(), reason: *closed.reason() });
            })
    });
    (server, events)
}

fn answer(request: &Request<'_>) -> Reply {
    match request.path() {
        "/page" => Reply::status(200).body("text/html; charset=utf-8", include_str!("../../peers/page.html")),
        "/health" => Reply::status(200).header("X-Engine", "wheelhouse").body("text/plain", "well"),
        "/no" => Reply::status(403).body("text/plain", "not you"),
        "/talk" => match request.protocols().find(|name| *name == "chat") {
            Some(name) => Reply::accept().subprotocol(name),
            None => Reply::accept(),
        },
        _ => Reply::status(404),
    }
}

/// Sends it back; `close CODE REASON` closes.
fn echo(conn: &mut Conn<'_>, message: Message<'_>) {
    let order = message.text().and_then(|text| text.strip_prefix("close ")?.split_once(' '));
    match order.and_then(|(code, reason)| Some((CloseCode::new(code.parse().ok()?)?, reason))) {
        Some((code, reason)) => conn.finish_with(code, reason),
        None => {
            conn.send(message);
        }
    }
}
