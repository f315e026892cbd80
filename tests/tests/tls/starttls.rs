//! TLS that begins in the middle of a connection's life.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
};

use wheelhouse::{
    Action, Audience, CloseReason, Closed, Conn, Connect, Engine, Framing, Handler, LengthDelimited,
    Listener, Message, On, Refusal, Sent, Tls, TlsClient,
};
use wheelhouse_tests::{linger_zero, read_line};

use crate::{
    fixture::{self, Server, accept, connect, echo, expect, next, tell},
    peer::{config, goodbye, hello, over, secure, served, server_config},
    pki::{localhost, tls, tls_client},
    site::Ended,
};

#[derive(Debug)]
enum Told {
    Line(String),
    Started(bool, Sent),
    Secured(bool),
    Close(Ended),
}

/// Speaks a little SMTP, as either end.
struct Smtp {
    tls: Tls,
    client: TlsClient,
    told: Sender<Told>,
}

impl Handler for Smtp {
    type Session = ();

    fn on_open(&mut self, conn: &mut Conn<'_>, (): &mut ()) -> Action {
        if conn.listener().is_none() {
            conn.send("STARTTLS");
        }
        Action::Continue
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, (): &mut (), line: Message<'_>) -> Action {
        let line = line.text().unwrap();
        tell(&self.told, Told::Line(line.to_owned()));
        match line {
            "STARTTLS" => {
                conn.send("220 go ahead");
                let has_started = conn.start_tls(&self.tls);
                tell(&self.told, Told::Started(has_started, conn.send("too early")));
            }
            "220 go ahead" => {
                let has_started = conn.start_tls_client(&self.client);
                tell(&self.told, Told::Started(has_started, conn.send("too early")));
            }
            _ if conn.listener().is_some() => _ = conn.send(line),
            _ => {}
        }
        Action::Continue
    }

    fn on_secured(&mut self, conn: &mut Conn<'_>, (): &mut ()) -> Action {
        tell(&self.told, Told::Secured(conn.tls().is_some()));
        conn.send("220 secured");
        Action::Continue
    }

    fn on_close(&mut self, closed: &mut Closed<'_>, (): ()) {
        tell(&self.told, Told::Close(Ended::of(closed)));
    }
}

fn start() -> (Server<Smtp>, Receiver<Told>) {
    start_on(Listener::new("tcp://127.0.0.1:0"))
}

fn start_on(listener: Listener) -> (Server<Smtp>, Receiver<Told>) {
    let (told, all) = channel();
    let builder = Engine::builder()
        .listen(listener.framing(Framing::lines(1000)))
        .reactors(1)
        .handshake_timeout(std::time::Duration::from_millis(1500));
    let server =
        fixture::serve(builder, move |_| Smtp { tls: tls(), client: tls_client(), told: told.clone() });
    (server, all)
}

#[track_caller]
fn line(told: &Receiver<Told>, expected: &str) {
    let told = next(told);
    assert!(matches!(&told, Told::Line(line) if line == expected), "{told:?} instead of `{expected}`");
}

#[track_caller]
fn started(told: &Receiver<Told>) {
    let told = next(told);
    assert!(matches!(told, Told::Started(true, Sent::Refused(Refusal::Closing))), "{told:?}");
}

#[track_caller]
fn ended(told: &Receiver<Told>) -> Ended {
    match next(told) {
        Told::Close(ended) => ended,
        other => panic!("{other:?} instead of the end"),
    }
}

/// A client that has been told to go ahead.
fn ahead(server: &Server<Smtp>, told: &Receiver<Told>) -> TcpStream {
    let mut socket = connect(server.at());
    echo(&mut socket, b"EHLO\n");
    socket.write_all(b"STARTTLS\n").unwrap();
    assert_eq!(read_line(&mut socket), "220 go ahead");
    line(told, "EHLO");
    line(told, "STARTTLS");
    started(told);
    socket
}

#[test]
fn the_go_ahead_is_plain_and_all_that_follows_sealed() {
    let (server, told) = start();
    let mut client = over(ahead(&server, &told), config());
    expect(&mut client, b"220 secured\n");
    assert!(matches!(next(&told), Told::Secured(true)));
    echo(&mut client, b"MAIL FROM\n");
    line(&told, "MAIL FROM");
    assert_eq!(goodbye(&mut client), b"");
    let ended = ended(&told);
    assert_eq!((ended.reason, ended.error), (CloseReason::Peer { code: None }, None));
}

#[test]
fn what_is_injected_behind_starttls_is_dropped_unheard() {
    // CVE-2011-0411: what somebody put into the plaintext must not be taken for what came sealed.
    let (server, told) = start();
    for injected in [&b"RSET\nMAIL FROM:<mallory>\n"[..], b"MAIL FR"] {
        let mut socket = connect(server.at());
        socket.write_all(&[b"STARTTLS\n", injected].concat()).unwrap();
        assert_eq!(read_line(&mut socket), "220 go ahead");
        line(&told, "STARTTLS");
        started(&told);
        let mut client = over(socket, config());
        expect(&mut client, b"220 secured\n");
        assert!(matches!(next(&told), Told::Secured(true)));
        echo(&mut client, b"OM:<alice>\n");
        line(&told, "OM:<alice>");
        goodbye(&mut client);
        ended(&told);
    }
}

#[test]
fn nothing_is_sent_between_the_go_ahead_and_the_handshakes_end() {
    let (server, told) = start();
    let socket = ahead(&server, &told);
    let id = server.handle.connections().next().unwrap();
    server.handle.send(id, "in the clear?").unwrap();
    server.handle.send_many(&[id], "in the clear?").unwrap();
    server.handle.broadcast(Audience::Open, "in the clear?").unwrap();
    assert_eq!(server.ask_conn(id, |conn, _| conn.send("in the clear?")), Sent::Refused(Refusal::Closing));
    let mut client = over(socket, config());
    expect(&mut client, b"220 secured\n");
    server.handle.send(id, "sealed").unwrap();
    server.handle.broadcast(Audience::Open, "sealed").unwrap();
    expect(&mut client, b"sealed\nsealed\n");
}

#[test]
fn raw_bytes_left_or_held_when_tls_starts_are_dropped_too() {
    for is_held in [false, true] {
        let (told, seen) = channel();
        let server = fixture::serve(fixture::local().reactors(1), move |_| {
            let told = told.clone();
            fixture::Script::<()>::new().data(move |conn, _, input| {
                if conn.tls().is_none() {
                    // Of `go, and what was injected` two bytes are taken.
                    input.skip(2);
                    assert!(conn.start_tls(&tls()));
                    tell(&told, conn.id());
                    return if is_held { Action::Hold } else { Action::Continue };
                }
                conn.send(input.take().to_vec());
                Action::Continue
            })
        });
        let mut socket = connect(server.at());
        socket.write_all(b"go, and what was injected").unwrap();
        let id = next(&seen);
        server.handle.resume(id);
        let mut client = over(socket, config());
        echo(&mut client, b"only this");
    }
}

#[test]
fn plain_words_after_the_go_ahead_end_the_connection() {
    let (server, told) = start();
    let mut socket = ahead(&server, &told);
    socket.write_all(b"MAIL FROM:<mallory>\n").unwrap();
    let (rest, _) = fixture::read_to_end(&mut socket);
    assert_eq!((rest.len(), rest[0]), (7, 21), "an alert, and nothing else: {rest:02x?}");
    drop(socket);
    ended(&told).says("not TLS");
}

#[test]
fn a_starttls_that_nobody_follows_up_ends_in_time() {
    let (server, told) = start();
    let mut socket = ahead(&server, &told);
    socket.write_all(&hello()[..100]).unwrap();
    fixture::read_to_end(&mut socket);
    assert_eq!(ended(&told).reason, CloseReason::Handshake);
}

#[test]
fn a_peer_that_goes_in_the_middle_of_starttls_was_open_and_is_told_so() {
    let (server, told) = start();
    let socket = ahead(&server, &told);
    linger_zero(&socket);
    drop(socket);
    let ended = ended(&told);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Io, true));
}

#[test]
fn where_tls_is_already_it_is_not_started_again() {
    let (server, told) = start_on(Listener::new("tls://127.0.0.1:0").tls(tls()));
    let mut client = secure(server.at());
    client.write_all(b"STARTTLS\n").unwrap();
    expect(&mut client, b"220 go ahead\ntoo early\n");
    line(&told, "STARTTLS");
    assert!(matches!(next(&told), Told::Started(false, Sent::Accepted)));
    echo(&mut client, b"as before\n");
}

#[test]
fn the_client_that_starts_tls_drops_what_was_injected_too() {
    let (server, told) = start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    server.handle.connect(On::Any, Connect::to(url).framing(Framing::lines(1000))).unwrap();
    let mut socket = accept(&listener);
    assert_eq!(read_line(&mut socket), "STARTTLS");
    socket.write_all(b"220 go ahead\n250 injected\n").unwrap();
    let mut theirs = served(socket, server_config(localhost()));
    line(&told, "220 go ahead");
    started(&told);
    assert!(matches!(next(&told), Told::Secured(true)));
    expect(&mut theirs, b"220 secured\n");
    theirs.write_all(b"250 sealed\n").unwrap();
    line(&told, "250 sealed");
    theirs.conn.send_close_notify();
    theirs.flush().unwrap();
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).unwrap();
    drop(theirs);
    let ended = ended(&told);
    assert_eq!((ended.reason, ended.error), (CloseReason::Peer { code: None }, None));
}

#[test]
fn of_what_was_injected_before_tls_not_even_where_a_line_ends_is_remembered() {
    // Begun from outside a callback of the input: half a line is under way.
    for is_lines in [true, false] {
        let framing = match is_lines {
            true => Framing::lines(1000),
            false => Framing::length_delimited(LengthDelimited::u8()),
        };
        let (told, all) = channel();
        let listener = Listener::new("tcp://127.0.0.1:0").framing(framing);
        let server = fixture::serve(Engine::builder().listen(listener).reactors(1), move |_| {
            let told = told.clone();
            fixture::Script::<()>::new().message(move |_, (), message| {
                tell(&told, String::from_utf8(message.bytes().to_vec()).unwrap());
                Action::Continue
            })
        });
        let mut socket = connect(server.at());
        let framed = |text: &str| match is_lines {
            true => format!("{text}\n").into_bytes(),
            false => [&[text.len() as u8], text.as_bytes()].concat(),
        };
        let half = &framed("0123456789abcdefghijklmnopqrstuvwxyz")[..30];
        socket.write_all(&[&framed("hello")[..], half].concat()).unwrap();
        assert_eq!(next(&all), "hello");
        let id = server.handle.connections().next().unwrap();
        fixture::eventually("half of it is kept", || server.handle.stats().total().bytes_in >= 36);
        assert!(server.ask_conn(id, |conn, ()| conn.start_tls(&tls())));
        let mut client = over(socket, config());
        for line in ["x", "y", "z", "0123456789012345678901234567890123456789"] {
            client.write_all(&framed(line)).unwrap();
            client.flush().unwrap();
            assert_eq!(next(&all), line);
        }
    }
}

#[test]
fn a_websocket_is_not_secured_in_mid_life() {
    let server = fixture::serve(Engine::builder().listen("ws://127.0.0.1:0").reactors(1), |_| {
        fixture::Script::<()>::new()
    });
    let mut socket = connect(server.at());
    socket
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    // In the middle of a message.
    socket.write_all(b"\x01\x85\0\0\0\0Hello\x89\x80\0\0\0\0").unwrap();
    expect(&mut socket, b"\x8a\0");
    let id = server.handle.connections().next().unwrap();
    assert!(!server.ask_conn(id, |conn, ()| conn.start_tls(&tls()) || conn.start_tls_client(&tls_client())));
    socket.write_all(b"\x80\x81\0\0\0\0!").unwrap();
    expect(&mut socket, b"\x81\x06Hello!");
}
