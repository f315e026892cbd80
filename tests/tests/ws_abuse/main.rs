//! Those who speak WebSocket badly or maliciously: each gets the documented answer, at a bounded cost, and the others on
//! the reactor are served meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a failure is a panic")]

mod answers;
mod dialled;
mod endings;
#[path = "../fixture/mod.rs"]
mod fixture;
mod floods;
mod frames;
mod grown;
mod handshakes;
mod late;
mod memory;
mod pings;
mod requests;
mod wire;

use std::{
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use fixture::{Script, Server, serve, tell};
use wheelhouse::{Action, Builder, CloseReason, Control, Engine, Kind, Listener, Reply, WebSocket};

const MS: Duration = Duration::from_millis(1);

/// What the engine tells of its connections, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Request(String),
    Open(Option<String>),
    Text(String),
    Binary(usize),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close { opened: bool, reason: CloseReason },
}

fn closed(reason: CloseReason) -> Told {
    Told::Close { opened: true, reason }
}

fn refused(reason: CloseReason) -> Told {
    Told::Close { opened: false, reason }
}

/// A listener of WebSockets without pings of its own, which would stand in between.
fn listener(socket: WebSocket) -> Listener {
    let framing = wheelhouse::Framing::websocket(socket);
    Listener::new("ws://127.0.0.1:0").framing(framing).no_heartbeat()
}

fn plain() -> Builder {
    Engine::builder().listen(listener(WebSocket::new()))
}

/// An echo server with one reactor that tells what happens. `/no` is forbidden, `/page` a page.
fn telling(builder: Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let server = serve(builder.reactors(1), move |_| {
        let [requests, opens, messages, controls, closes] = std::array::from_fn(|_| told.clone());
        Script::new()
            .request(move |_, (), request| {
                tell(&requests, Told::Request(request.path().to_owned()));
                match request.path() {
                    "/no" => Reply::status(403).body("text/plain", "x".repeat(1000)),
                    "/page" => Reply::status(200).body("text/html", "<p>page</p>"),
                    _ => Reply::accept(),
                }
            })
            .open(move |conn, ()| {
                tell(&opens, Told::Open(conn.subprotocol().map(str::to_owned)));
                Action::Continue
            })
            .message(move |conn, (), message| {
                let what = match message.kind() {
                    Kind::TEXT => Told::Text(message.text().unwrap().to_owned()),
                    _ => Told::Binary(message.bytes().len()),
                };
                tell(&messages, what);
                conn.send(message);
                Action::Continue
            })
            .control(move |_, (), control| {
                match control {
                    Control::Ping(bytes) => tell(&controls, Told::Ping(bytes.to_vec())),
                    Control::Pong(bytes) => tell(&controls, Told::Pong(bytes.to_vec())),
                    other => panic!("{other:?}"),
                }
                Action::Continue
            })
            .close(move |closed, ()| {
                tell(&closes, Told::Close { opened: closed.opened(), reason: *closed.reason() });
            })
    });
    (server, events)
}

/// An echo server with one reactor that tells nothing: for floods.
fn silent(builder: Builder) -> Server<Script> {
    serve(builder.reactors(1), |_| Script::new())
}
