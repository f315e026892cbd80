//! A storm of handshakes does not keep those waiting who are there already.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::{Arc, Mutex, mpsc::channel},
};

use wheelhouse::{Action, Engine, Listener};

use crate::{
    fixture::{allow_descriptors, connect, echo, eventually, next, tell},
    peer::{Client, config, out_of, secure, session},
    pki::{localhost_rsa, tls_of},
    site::{opened, start_with},
};

const STORM: usize = 300;

#[test]
fn echoes_come_while_hundreds_of_handshakes_are_pending() {
    allow_descriptors(4096);
    let (told, seen) = channel();
    let watched: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let listener = Listener::new("tls://127.0.0.1:0").tls(tls_of(localhost_rsa()));
    let (server, events) = start_with(Engine::builder().listen(listener).reactors(1).backlog(1024), {
        let watched = watched.clone();
        move |script| {
            let (told, watched) = (told.clone(), watched.clone());
            script.message(move |conn, _, message| {
                conn.send(message);
                // The reactor is here, and so nothing changes while we count.
                let is_answered = |socket: &&TcpStream| socket.peek(&mut [0]).is_ok();
                tell(&told, watched.lock().unwrap().iter().filter(is_answered).count());
                Action::Continue
            })
        }
    });
    let mut client = secure(server.at());
    opened(&events);
    echo(&mut client, b"before");
    assert_eq!(next(&seen), 0);

    let config = Arc::new(config());
    let mut sessions: Vec<_> = (0..STORM).map(|_| session("localhost", config.clone())).collect();
    let hellos: Vec<_> = sessions.iter_mut().map(out_of).collect();
    let sockets: Vec<TcpStream> = (0..STORM).map(|_| connect(server.at())).collect();
    *watched.lock().unwrap() = sockets
        .iter()
        .map(|socket| {
            let copy = socket.try_clone().unwrap();
            copy.set_nonblocking(true).unwrap();
            copy
        })
        .collect();
    eventually("all are accepted", || server.handle.stats().total().accepted as usize == STORM + 1);
    let blocked = server.block(0);
    for (mut socket, hello) in sockets.iter().zip(&hellos) {
        socket.write_all(hello).unwrap();
    }
    drop(blocked);

    let mut answered = Vec::new();
    while answered.last() != Some(&STORM) {
        echo(&mut client, b"and I?");
        answered.push(next(&seen));
    }
    // In one go, all of them would be answered between one echo and the next.
    answered.dedup();
    let meanwhile = answered.iter().filter(|&&n| n > 0 && n < STORM).count();
    assert!(meanwhile >= 8, "handshakes answered at each echo: {answered:?}");
    println!("{meanwhile} echoes while {STORM} handshakes were pending");

    // And each of the storm is served, to its end.
    watched.lock().unwrap().clear();
    for (mut session, mut socket) in sessions.into_iter().zip(sockets) {
        socket.set_nonblocking(false).unwrap();
        session.complete_io(&mut socket).unwrap();
        echo(&mut Client::new(session, socket), b"at last");
    }
}

#[test]
fn a_storm_that_has_been_read_behind_its_proxys_headers_is_served_to_the_last() {
    allow_descriptors(4096);
    let listener =
        Listener::new("tls://127.0.0.1:0").tls(tls_of(localhost_rsa())).proxy_protocol(["127.0.0.0/8"]);
    let builder = Engine::builder().listen(listener).reactors(1).backlog(1024);
    let (server, _events) = start_with(builder, |script| {
        script.message(|conn, _, message| {
            conn.send(message);
            Action::Continue
        })
    });
    let config = Arc::new(config());
    let mut sessions: Vec<_> = (0..STORM).map(|_| session("localhost", config.clone())).collect();
    let mut sockets: Vec<TcpStream> = (0..STORM).map(|_| connect(server.at())).collect();
    eventually("all are accepted", || server.handle.stats().total().accepted as usize == STORM);
    let blocked = server.block(0);
    for (session, socket) in sessions.iter_mut().zip(&mut sockets) {
        let header = b"PROXY TCP4 192.0.2.1 10.0.0.1 1234 443\r\n";
        socket.write_all(&[&header[..], &out_of(session)].concat()).unwrap();
    }
    drop(blocked);
    for (mut session, mut socket) in sessions.into_iter().zip(sockets) {
        session.complete_io(&mut socket).unwrap();
        echo(&mut Client::new(session, socket), b"at last");
    }
}
