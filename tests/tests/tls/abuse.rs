//! Peers that stall, break off, or speak something else: each ends as documented, and the others are served meanwhile.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls_stable::ClientConnection;
use wheelhouse::CloseReason;
use wheelhouse_tests::linger_zero;

use crate::{
    fixture::{connect, echo, eventually, read_to_end},
    peer::{Client, config, hello, sealed, secure, session},
    site::{ended, engine, opened, start},
};

const ALERT: u8 = 21;

/// The one alert that comes before the end.
#[track_caller]
fn alert(socket: &mut TcpStream) -> u8 {
    let (all, _) = read_to_end(socket);
    assert!(all.len() == 7 && all[0] == ALERT && all[5] == 2, "no fatal alert alone: {all:02x?}");
    all[6]
}

#[test]
fn a_handshake_that_stalls_ends_in_time_wherever_it_stalls() {
    let (server, events) = start(engine().handshake_timeout(Duration::from_millis(400)));
    let hello = hello();
    for n in [0, 1, 5, hello.len() / 2, hello.len()] {
        let mut socket = connect(server.at());
        socket.write_all(&hello[..n]).unwrap();
        read_to_end(&mut socket);
        let ended = ended(&events);
        assert_eq!((ended.reason, ended.opened), (CloseReason::Handshake, false), "after {n} bytes");
    }
    assert_eq!(server.handle.stats().total().opened, 0);
}

#[test]
fn the_stalled_cost_what_they_sent_and_others_are_served_meanwhile() {
    let (server, events) = start(engine().handshake_timeout(Duration::from_secs(60)));
    let hello = hello();
    let stalled: Vec<TcpStream> = (0..100)
        .map(|n| {
            let mut socket = connect(server.at());
            socket.write_all(&hello[..if n % 2 == 0 { hello.len() - 1 } else { hello.len() }]).unwrap();
            socket
        })
        .collect();
    let mut client = secure(server.at());
    opened(&events);
    echo(&mut client, b"and I?");
    let total = || server.handle.stats().total();
    eventually("all have been read", || total().bytes_in as usize > 100 * (hello.len() - 1));
    let most = 50 * 2048;
    eventually("half of them are kept", || total().buffered as usize >= 50 * (hello.len() - 1));
    assert!(total().buffered <= most, "{} bytes for {} stalled ones", total().buffered, stalled.len());
    drop(stalled);
    eventually("it is given back", || total().buffered == 0 && total().connections == 1);
    echo(&mut client, b"still here");
}

#[test]
fn plain_http_on_a_tls_port_is_called_by_its_name() {
    let (server, events) = start(engine());
    let mut socket = connect(server.at());
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    alert(&mut socket);
    drop(socket);
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Handshake, false));
    ended.says("plain HTTP where TLS is expected");
}

#[test]
fn garbage_is_answered_with_an_alert() {
    let (server, events) = start(engine());
    for garbage in [&b"\x00\x01\x02\x03\x04\x05\x06\x07"[..], b"hello, who is there?\n", &[0xff; 40_000]] {
        let mut socket = connect(server.at());
        socket.write_all(garbage).unwrap();
        alert(&mut socket);
        drop(socket);
        let ended = ended(&events);
        assert_eq!((ended.reason, ended.opened), (CloseReason::Handshake, false));
        ended.says("not TLS");
    }
}

#[test]
fn a_record_that_was_altered_ends_the_connection_with_an_alert() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    echo(&mut client, b"hello");
    opened(&events);
    let mut record = sealed(&mut client, b"hello again");
    *record.last_mut().unwrap() ^= 1;
    client.sock.write_all(&record).unwrap();
    let error = client.read(&mut [0; 100]).unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    drop(client);
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Protocol, true));
    ended.says("not authentic");
}

#[test]
fn plain_words_on_a_secured_connection_end_it() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    echo(&mut client, b"hello");
    opened(&events);
    client.sock.write_all(b"hello in plain words").unwrap();
    assert!(client.read(&mut [0; 100]).is_err());
    drop(client);
    assert_eq!(ended(&events).reason, CloseReason::Protocol);
}

fn reset(client: Client) {
    linger_zero(&client.sock);
}

#[test]
fn a_reset_in_the_middle_of_a_record_is_an_error_of_the_systems() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    echo(&mut client, b"hello");
    opened(&events);
    let record = sealed(&mut client, &[b'x'; 10_000]);
    client.sock.write_all(&record[..5000]).unwrap();
    eventually("half a record is kept", || server.handle.stats().total().buffered >= 5000);
    reset(client);
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Io, true));
    ended.says("reset");
    eventually("it is given back", || server.handle.stats().total().buffered == 0);
}

#[test]
fn a_reset_in_the_middle_of_a_handshake_is_an_error_of_the_systems() {
    let (server, events) = start(engine());
    let hello = hello();
    for n in [hello.len() / 2, hello.len()] {
        let mut socket = connect(server.at());
        let before = server.handle.stats().total().bytes_in;
        socket.write_all(&hello[..n]).unwrap();
        eventually("it is read", || server.handle.stats().total().bytes_in == before + n as u64);
        linger_zero(&socket);
        drop(socket);
        let ended = ended(&events);
        assert_eq!((ended.reason, ended.opened), (CloseReason::Io, false));
    }
}

#[test]
fn a_probe_that_comes_and_goes_is_no_error() {
    let (server, events) = start(engine());
    drop(connect(server.at()));
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Peer { code: None }, false));
    assert_eq!(ended.error, None);
}

/// A client whose last word of the handshake has not been sent yet.
fn about_to_finish(at: SocketAddr) -> (TcpStream, ClientConnection) {
    let mut socket = connect(at);
    let mut session = session("localhost", Arc::new(config()));
    while session.is_handshaking() {
        session.write_tls(&mut socket).unwrap();
        session.read_tls(&mut socket).unwrap();
        session.process_new_packets().unwrap();
    }
    (socket, session)
}

#[test]
fn words_in_the_segment_that_ends_the_handshake_are_heard() {
    let (server, events) = start(engine());
    let (mut socket, mut session) = about_to_finish(server.at());
    session.writer().write_all(b"first words").unwrap();
    socket.write_all(&crate::peer::out_of(&mut session)).unwrap();
    let mut client = Client::new(session, socket);
    crate::fixture::expect(&mut client, b"first words");
    opened(&events);
}

#[test]
fn words_in_that_segment_are_heard_though_a_broken_record_follows_them() {
    let (server, events) = start(engine());
    let (mut socket, mut session) = about_to_finish(server.at());
    session.writer().write_all(b"first words").unwrap();
    let mut bytes = crate::peer::out_of(&mut session);
    session.writer().write_all(b"altered").unwrap();
    bytes.extend(crate::peer::out_of(&mut session));
    *bytes.last_mut().unwrap() ^= 1;
    let before = server.handle.stats().total().messages_in;
    socket.write_all(&bytes).unwrap();
    opened(&events);
    let ended = ended(&events);
    assert_eq!((ended.reason, ended.opened), (CloseReason::Protocol, true));
    ended.says("not authentic");
    assert_eq!(server.handle.stats().total().messages_in - before, 1);
}
