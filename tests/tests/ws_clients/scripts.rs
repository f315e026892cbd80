//! Python's websockets and Node's ws as clients: they run through their scripts, and both ends agree on how it ended.

use std::sync::mpsc::Receiver;

use wheelhouse::{Action, Audience, Deflate, Engine, Framing, Listener, Payload, WebSocket};

use crate::{
    Script, Told,
    fixture::{next, serve},
    foreigners,
    peers::{Program, installed, script},
};

/// What both scripts do, seen from here.
#[track_caller]
fn assert_both_ends_agree(events: &Receiver<Told>) {
    let told: Vec<_> = (0..5).map(|_| next(events)).collect();
    // Theirs came first, or ours: 4001 was our wish, 3001 the client's.
    assert_eq!(told, [Told::chat(), Told::finished(), Told::chat(), Told::closed(3001), Told::refused()]);
}

fn python(mode: &str) {
    let (server, events) = foreigners(mode == "deflate");
    let url = format!("ws://{}", server.at());
    let python = installed("venv/bin/python");
    Program::start(python, |command| command.arg(script("client.py")).args([&url, mode])).succeed();
    assert_both_ends_agree(&events);
}

fn node(mode: &str) {
    let (server, events) = foreigners(mode == "deflate");
    let url = format!("ws://{}", server.at());
    let module = installed("node_modules/ws");
    Program::start("node", |command| {
        command.arg(script("client.js")).args([&url, mode]).env("WS_MODULE", module.canonicalize().unwrap())
    })
    .succeed();
    assert_both_ends_agree(&events);
}

#[test]
fn pythons_websockets_talks_with_the_engine() {
    python("plain");
}

#[test]
fn pythons_websockets_talks_compressed_with_the_engine() {
    python("deflate");
}

#[test]
fn nodes_ws_talks_with_the_engine() {
    node("plain");
}

#[test]
fn nodes_ws_talks_compressed_with_the_engine() {
    node("deflate");
}

#[test]
fn pythons_websockets_have_contexts_of_their_own_while_there_are_places() {
    let socket = WebSocket::new().deflate(Deflate::new().own_contexts(3).threshold(0));
    let listener = Listener::new("ws://127.0.0.1:0").framing(Framing::websocket(socket));
    let server = serve(Engine::builder().listen(listener).reactors(1), |_| {
        Script::<()>::new().message(|conn, (), message| {
            match message.text() {
                Some("all") => {
                    conn.reactor().broadcast(Audience::Open, Payload::from("news ".repeat(1000))).unwrap();
                }
                _ => _ = conn.send(message),
            }
            Action::Continue
        })
    });
    let url = format!("ws://{}", server.at());
    let python = installed("venv/bin/python");
    Program::start(python, |command| command.arg(script("contexts.py")).args([&url, "3"])).succeed();
}
