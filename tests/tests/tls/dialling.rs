//! The engine as the client: of openssl, of another rustls, of a WebSocket server.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use tungstenite::Message as Frame;
use wheelhouse::{Action, CloseReason, Connect, Framing, On, TlsClient, WebSocket};

use crate::{
    fixture::{Script, Server, accept, expect, next, serve, tell},
    foreign::file,
    peer::{goodbye_of, served, server_config, strangers},
    pki::{Pem, authority, localhost, tls_client},
    site::{Ended, Event, at_eof, ended, opened, start, start_with},
};

fn dialler() -> (Server<Script>, Receiver<Event>) {
    start(crate::fixture::local().reactors(1))
}

fn dial(server: &Server<Script>, port: u16, tls: TlsClient) {
    let connect = Connect::to(format!("tls://127.0.0.1:{port}")).tls(tls);
    server.handle.connect(On::Any, connect).unwrap();
}

#[test]
fn a_foreign_server_is_reached_echoed_to_and_told_goodbye() {
    let (server, events) = dialler();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    dial(&server, listener.local_addr().unwrap().port(), tls_client());
    let mut theirs = served(accept(&listener), server_config(localhost()));
    assert_eq!(theirs.conn.server_name(), Some("localhost"));
    let id = opened(&events);
    for size in [1, 1000, 16_385, 200_000] {
        let bytes = wheelhouse_tests::Pattern::new(1).take(size);
        theirs.write_all(&bytes).unwrap();
        expect(&mut theirs, &bytes);
    }
    server.handle.finish(id);
    assert_eq!(theirs.read_to_end(&mut Vec::new()).unwrap(), 0);
    goodbye_of(&mut theirs);
    drop(theirs);
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.error), (CloseReason::Local, None));
}

#[test]
fn what_a_server_says_with_the_end_of_its_handshake_is_heard_after_on_open() {
    let (server, events) = dialler();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    dial(&server, listener.local_addr().unwrap().port(), tls_client());
    let mut theirs = served(accept(&listener), server_config(localhost()));
    theirs.write_all(b"220 at your service").unwrap();
    opened(&events);
    expect(&mut theirs, b"220 at your service");
    theirs.conn.send_close_notify();
    theirs.flush().unwrap();
    at_eof(&events);
    assert_eq!(theirs.read_to_end(&mut Vec::new()).unwrap(), 0);
}

/// Dials a server with that certificate, and is refused by the engine: how it ends for both.
fn refused(own: &Pem, tls: TlsClient) -> Ended {
    let (server, events) = dialler();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    dial(&server, listener.local_addr().unwrap().port(), tls);
    let mut socket = accept(&listener);
    let mut session = rustls_stable::ServerConnection::new(server_config(own)).unwrap();
    let error = session.complete_io(&mut socket).expect_err("the engine must refuse it");
    assert!(error.to_string().contains("alert"), "the server is told by an alert, and not: {error}");
    drop(socket);
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Handshake, false));
    ended
}

#[test]
fn a_server_with_another_name_is_refused() {
    refused(&authority().signs("elsewhere.example"), tls_client()).says("the peer's certificate");
}

#[test]
fn a_server_of_an_unknown_root_is_refused() {
    refused(&strangers(), tls_client()).says("the peer's certificate");
}

#[test]
fn a_server_without_tls_is_no_server() {
    let (server, events) = dialler();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    dial(&server, listener.local_addr().unwrap().port(), tls_client());
    let mut socket = accept(&listener);
    socket.write_all(b"220 mail.example ESMTP\r\n").unwrap();
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Handshake, false));
    assert!(ended.error.is_some());
}

#[test]
fn a_server_that_goes_in_the_middle_of_the_handshake_is_told_of_once() {
    let (server, events) = dialler();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    dial(&server, listener.local_addr().unwrap().port(), tls_client());
    let mut socket = accept(&listener);
    let mut hello = [0; 100];
    socket.read_exact(&mut hello).unwrap();
    wheelhouse_tests::linger_zero(&socket);
    drop(socket);
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Io, false));
}

/// `openssl s_server`, which sends back each line reversed; gone with the test.
pub(crate) struct OpenSsl {
    process: Child,
    pub(crate) port: u16,
    _files: [tempfile::NamedTempFile; 2],
}

impl OpenSsl {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let files = [file(&localhost().certificate), file(&localhost().key)];
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-rev"])
            .args(arguments)
            .arg("-cert")
            .arg(files[0].path())
            .arg("-key")
            .arg(files[1].path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // ACCEPT 127.0.0.1:40000
        let port = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some(at) = line.strip_prefix("ACCEPT ") {
                break at.rsplit(':').next().unwrap().parse().unwrap();
            }
        };
        thread::spawn(move || for _ in lines {});
        OpenSsl { process, port, _files: files }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn openssl_s_server_answers_in_both_versions() {
    for (argument, version) in [("-tls1_2", "Tls12"), ("-tls1_3", "Tls13")] {
        let openssl = OpenSsl::start(&[argument]);
        let (told, heard) = channel();
        let server = serve(crate::fixture::local().reactors(1), move |_| {
            let (open, line) = (told.clone(), told.clone());
            Script::<()>::new()
                .open(move |conn, _| {
                    tell(&open, conn.tls().map(|info| format!("{:?}", info.version())).unwrap());
                    conn.send("hello");
                    Action::Continue
                })
                .message(move |_, _, message| {
                    tell(&line, message.text().unwrap().to_owned());
                    Action::Continue
                })
        });
        let url = format!("tls://127.0.0.1:{}", openssl.port);
        let connect = Connect::to(url).tls(tls_client()).framing(Framing::lines(1000));
        server.handle.connect(On::Any, connect).unwrap();
        assert_eq!(next(&heard), version);
        assert_eq!(next(&heard), "olleh");
    }
}

#[test]
fn a_websocket_server_over_tls_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (server, events) = start_with(crate::fixture::local().reactors(1), |script| script);
    let connect = Connect::to(format!("wss://127.0.0.1:{port}/talk"))
        .tls(tls_client())
        .framing(Framing::websocket(WebSocket::new()));
    server.handle.connect(On::Any, connect).unwrap();
    let theirs = served(accept(&listener), server_config(localhost()));
    let mut socket = tungstenite::accept(theirs).unwrap();
    let id = opened(&events);
    for frame in [Frame::text("hello"), Frame::binary(vec![7; 100_000])] {
        socket.send(frame.clone()).unwrap();
        assert!(socket.read().unwrap() == frame);
    }
    server.handle.finish(id);
    assert!(matches!(socket.read().unwrap(), Frame::Close(Some(_))));
    while socket.read().is_ok() {}
    drop(socket);
    assert_eq!(ended(&events).reason, CloseReason::Local);
}
