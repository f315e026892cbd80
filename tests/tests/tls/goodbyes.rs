//! A peer that says goodbye (`close_notify`) before there is anything to say goodbye to.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use wheelhouse::{
    Action, Builder, CloseReason, ConnId, Connect, Engine, Framing, Listener, On, Reply, WebSocket,
};

use crate::{
    fixture::{Script, Server, accept, connect, eventually, next, serve, tell},
    peer::{Client, goodbye_of, hello, secure, served, server_config},
    pki::{localhost, tls, tls_client},
    site::{Ended, engine, start},
};

/// Longer than any test waits: who is given up has not been given up for its time.
const LONG: Duration = Duration::from_secs(60);

/// Gone of itself, without ever having been open.
#[track_caller]
fn assert_has_left(ended: &Ended, opened: bool) {
    assert_eq!((ended.reason, ended.opened), (CloseReason::Peer { code: None }, opened), "{ended:?}");
}

/// WebSockets over TLS whose answers are all put off, until somebody gives them.
fn late(told: Sender<Ended>, ask: Sender<ConnId>) -> Server<Script> {
    let listener = Listener::new("wss://127.0.0.1:0").tls(tls());
    serve(Engine::builder().listen(listener).reactors(1).handshake_timeout(LONG), move |_| {
        let (told, ask) = (told.clone(), ask.clone());
        Script::new()
            .request(move |conn, (), _| {
                tell(&ask, conn.id());
                Reply::later()
            })
            .close(move |closed, ()| tell(&told, Ended::of(closed)))
    })
}

fn say_goodbye_behind(client: &mut Client, bytes: &[u8]) {
    client.conn.writer().write_all(bytes).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
}

#[test]
fn a_goodbye_behind_a_request_does_not_cost_the_late_answer() {
    let ((told, ended), (ask, asked)) = (channel(), channel());
    let server = late(told, ask);
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for (headers, reply, starts, opened) in [
        ("", Reply::status(200).body("text/plain", "late"), "HTTP/1.1 200 ", false),
        (upgrade, Reply::accept(), "HTTP/1.1 101 ", true),
    ] {
        let mut client = secure(server.at());
        say_goodbye_behind(&mut client, format!("GET /p HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes());
        let id = next(&asked);
        server.handle.answer(id, reply);
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("the other side's close_notify");
        assert!(answer.starts_with(starts), "{answer}");
        drop(client);
        let ended = next(&ended);
        assert_eq!(ended.opened, opened, "{ended:?}");
    }
}

#[test]
fn who_says_goodbye_before_or_within_a_request_has_left_and_is_bidden_goodbye() {
    let ((told, ended), (ask, _asked)) = (channel(), channel());
    let server = late(told, ask);
    for (before, within) in
        [(&b""[..], &b""[..]), (b"", b"GET / HTT"), (b"GET / HTTP/1.1\r\nHo", b"st: a\r\n")]
    {
        let mut client = secure(server.at());
        client.write_all(before).unwrap();
        client.flush().unwrap();
        say_goodbye_behind(&mut client, within);
        assert_eq!(client.read_to_end(&mut Vec::new()).expect("the other side's close_notify"), 0);
        drop(client);
        assert_has_left(&next(&ended), false);
    }
}

fn dial(server: &Server<Script>, scheme: &str, framing: Framing) -> std::net::TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("{scheme}://127.0.0.1:{}", listener.local_addr().unwrap().port());
    server.handle.connect(On::Any, Connect::to(url).tls(tls_client()).framing(framing)).unwrap();
    accept(&listener)
}

#[test]
fn a_server_that_says_goodbye_instead_of_answering_has_left() {
    let (server, events) = start(Engine::builder().reactors(1).handshake_timeout(LONG));
    let socket = dial(&server, "wss", Framing::websocket(WebSocket::new()));
    let mut theirs = served(socket, server_config(localhost()));
    goodbye_of(&mut theirs);
    assert_has_left(&crate::site::ended(&events), false);
}

/// As it is before there are keys.
const GOODBYE: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];

fn impatient() -> Builder {
    engine().handshake_timeout(LONG)
}

#[test]
fn a_goodbye_within_the_handshake_ends_it_at_once() {
    let (server, events) = start(impatient());
    let half = &hello()[..100];
    for before in [&b""[..], &hello()] {
        for pieces in [1, 3] {
            let mut socket = connect(server.at());
            let bytes = [before, &GOODBYE].concat();
            let (early, rest) = bytes.split_at(if pieces == 1 { 0 } else { bytes.len() - 3 });
            socket.write_all(early).unwrap();
            socket.write_all(rest).unwrap();
            assert_has_left(&crate::site::ended(&events), false);
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).expect("no reset");
            // Ours, in the clear as theirs, or sealed behind what we had to say.
            assert!(answer.ends_with(&[0, 2, 1, 0]) || answer.len() > 100, "{answer:x?}");
        }
    }
    // Behind half a message it is not read as a part of it.
    let mut socket = connect(server.at());
    let record = [&[22, 3, 1, 0, 95], &half[5..]].concat();
    socket.write_all(&[&record[..], &GOODBYE].concat()).unwrap();
    let ended = crate::site::ended(&events);
    assert!(!ended.opened && ended.reason != CloseReason::Local, "{ended:?}");
    eventually("all are gone", || server.handle.count() == 0);
}

#[test]
fn a_server_that_says_goodbye_within_the_handshake_has_left() {
    let (server, events) = start(Engine::builder().reactors(1).handshake_timeout(LONG));
    let mut socket = dial(&server, "tls", Framing::raw());
    socket.write_all(&GOODBYE).unwrap();
    assert_has_left(&crate::site::ended(&events), false);
}

#[test]
fn who_says_goodbye_while_tls_begins_in_mid_life_has_left_and_was_open() {
    let ((told, closes), (started, starts)) = (channel(), channel());
    let server = serve(crate::fixture::local().reactors(1).handshake_timeout(LONG), move |_| {
        let (told, started) = (told.clone(), started.clone());
        Script::<()>::new()
            .message(move |conn, (), _| {
                tell(&started, conn.start_tls(&tls()));
                Action::Continue
            })
            .close(move |closed, ()| tell(&told, Ended::of(closed)))
    });
    for goodbye in [&GOODBYE[..], &[&hello()[..], &GOODBYE].concat()] {
        let mut socket = connect(server.at());
        socket.write_all(b"STARTTLS").unwrap();
        assert!(next(&starts));
        socket.write_all(goodbye).unwrap();
        let ended = next(&closes);
        assert_has_left(&ended, true);
    }
}
