//! Connections with TLS among others: broadcasts, and sends from elsewhere.

use std::{io::Write as _, sync::mpsc::channel};

use wheelhouse::{Action, Audience, ConnId, Connect, Engine, Framing, Listener, ListenerId, On};

use crate::{
    fixture::{connect, echo, expect, next, tcp, tell},
    peer::{config, over, secure},
    pki::tls_client,
    site::{engine, listener, opened, start, start_with},
};

#[test]
fn a_broadcast_reaches_those_with_tls_and_those_without() {
    let lines = || Framing::lines(1 << 20);
    let builder = Engine::builder()
        .listen(listener().framing(lines()))
        .listen(Listener::new("tcp://127.0.0.1:0").framing(lines()))
        .reactors(2);
    let (server, events) = start(builder);
    let mut sealed: Vec<_> = (0..6).map(|_| over(connect(tcp(&server.addresses[0])), config())).collect();
    let mut plain: Vec<_> = (0..6).map(|_| connect(tcp(&server.addresses[1]))).collect();
    for _ in 0..12 {
        opened(&events);
    }
    let long = "x".repeat(100_000);
    for round in 0..5 {
        server.handle.broadcast(Audience::Open, format!("to all, {round}")).unwrap();
        server.handle.broadcast(Audience::Listener(ListenerId(0)), format!("to some, {round}")).unwrap();
        server.handle.broadcast(Audience::Open, long.clone()).unwrap();
    }
    for round in 0..5 {
        for client in &mut sealed {
            expect(client, format!("to all, {round}\nto some, {round}\n{long}\n").as_bytes());
        }
        for client in &mut plain {
            expect(client, format!("to all, {round}\n{long}\n").as_bytes());
        }
    }
    for client in &mut sealed {
        echo(client, b"and each for itself\n");
    }
}

#[test]
fn a_callback_sends_to_another_connection_and_a_handle_to_any() {
    let (told, ids) = channel::<ConnId>();
    let (server, events) = start_with(engine(), move |script| {
        let told = told.clone();
        let mut all: Vec<ConnId> = Vec::new();
        script.message(move |conn, _, message| {
            if !all.contains(&conn.id()) {
                all.push(conn.id());
                tell(&told, conn.id());
            }
            // In the midst of one's own: each is sealed with its own keys.
            let own = conn.id();
            conn.send("you: ");
            for &id in all.iter().filter(|&&id| id != own) {
                if let Some(mut other) = conn.other(id) {
                    other.send("somebody: ");
                    other.send(message);
                }
            }
            conn.send(message);
            Action::Continue
        })
    });
    let (mut a, mut b) = (secure(server.at()), secure(server.at()));
    opened(&events);
    opened(&events);
    a.write_all(b"a").unwrap();
    expect(&mut a, b"you: a");
    let a_id = next(&ids);
    b.write_all(b"b").unwrap();
    expect(&mut a, b"somebody: b");
    expect(&mut b, b"you: b");
    let b_id = next(&ids);
    server.handle.send(a_id, "from outside").unwrap();
    server.handle.send_many(&[a_id, b_id], "to both").unwrap();
    expect(&mut a, b"from outsideto both");
    expect(&mut b, b"to both");
}

#[test]
fn two_ends_of_one_engine_get_along() {
    // Both ends are ours here: it is only that one reactor seals for one while it opens for the other.
    let (server, events) = start(engine());
    let connect = Connect::to(format!("tls://{}", server.at())).tls(tls_client());
    server.handle.connect(On::Any, connect).unwrap();
    let (one, other) = (opened(&events), opened(&events));
    assert_ne!(one, other);
    // Whatever one says the other echoes, and so on for ever.
    server.handle.send(one, "hello").unwrap();
    crate::fixture::eventually("they talk", || server.handle.stats().total().messages_in > 1000);
}
