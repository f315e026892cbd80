//! Pings of the engine's own and of the peer's: seen, answered, spread, and missed.

use std::time::{Duration, Instant};

use wheelhouse::{CloseReason, Engine, Listener};

use crate::{
    MS, Told, closed,
    fixture::next,
    plain, telling,
    wire::{Client, PING, PONG, close, frame},
};

fn asking(every: Duration, timeout: Duration) -> Listener {
    Listener::new("ws://127.0.0.1:0").heartbeat(every, timeout)
}

#[test]
fn one_who_pongs_stays_and_the_handler_sees_the_pongs() {
    let (server, events) = telling(Engine::builder().listen(asking(30 * MS, 5000 * MS)));
    let mut client = Client::open(server.at());
    for _ in 0..5 {
        let (first, payload) = client.read();
        assert_eq!(first, 0x80 | PING);
        client.write(&frame(0x80 | PONG, &payload));
    }
    client.write(&close(1000, ""));
    let (code, _) = client.read_close();
    assert_eq!(code, 1000);
    drop(client);
    let told: Vec<_> = (0..8).map(|_| next(&events)).collect();
    assert!(told[2..7].iter().all(|told| matches!(told, Told::Pong(_))), "{told:?}");
    assert_eq!(told[7], closed(CloseReason::Peer { code: Some(1000) }));
}

#[test]
fn one_who_does_not_pong_is_asked_again_and_then_told_1001() {
    let (server, events) = telling(Engine::builder().listen(asking(30 * MS, 150 * MS)));
    let began = Instant::now();
    let mut client = Client::open(server.at());
    let (code, pings) = client.read_close();
    assert!(code == 1001 && (1..=7).contains(&pings), "{pings} pings, then {code}");
    assert!(began.elapsed() >= 150 * MS);
    drop(client);
    assert_eq!([next(&events), next(&events)], [Told::Request("/".into()), Told::Open(None)]);
    assert_eq!(next(&events), closed(CloseReason::Idle));
}

#[test]
fn one_who_talks_needs_no_pong() {
    let (server, _events) = telling(Engine::builder().listen(asking(100 * MS, 1000 * MS)));
    let mut client = Client::open(server.at());
    let began = Instant::now();
    while began.elapsed() < 1500 * MS {
        client.write(&crate::wire::text("hello"));
        // A ping may have come in between on a machine that is busy.
        while client.read().0 != 0x80 | crate::wire::TEXT {}
        std::thread::sleep(20 * MS);
    }
}

#[test]
fn without_a_heartbeat_nobody_is_asked() {
    let (server, _events) = telling(Engine::builder().listen(asking(20 * MS, 100 * MS).no_heartbeat()));
    let mut client = Client::open(server.at());
    std::thread::sleep(300 * MS);
    client.echo("the first frame of all");
}

#[test]
fn a_ping_is_answered_with_its_own_bytes_and_the_handler_sees_it() {
    let (server, events) = telling(plain());
    let mut client = Client::open(server.at());
    assert_eq!([next(&events), next(&events)], [Told::Request("/".into()), Told::Open(None)]);
    for payload in [&b""[..], b"hello", &[0xff; 125]] {
        client.write(&frame(0x80 | PING, payload));
        assert_eq!(client.read(), (0x80 | PONG, payload.to_vec()));
        assert_eq!(next(&events), Told::Ping(payload.to_vec()));
    }
    // Between the fragments of a message, before the message.
    client.write(&[frame(1, b"a"), frame(0x80 | PING, b"between"), frame(0x80, b"b")].concat());
    assert_eq!(client.read(), (0x80 | PONG, b"between".to_vec()));
    client.expect_text("ab");
    // A pong that nobody asked for is no error.
    client.write(&frame(0x80 | PONG, b"well"));
    client.echo("and on");
    let told: Vec<_> = (0..4).map(|_| next(&events)).collect();
    assert_eq!(told[..2], [Told::Ping(b"between".to_vec()), Told::Text("ab".into())]);
    assert_eq!(told[2..], [Told::Pong(b"well".to_vec()), Told::Text("and on".into())]);
}

#[test]
fn the_pings_of_many_who_came_at_once_come_to_all_of_them() {
    let (server, _events) = telling(Engine::builder().listen(asking(100 * MS, 5000 * MS)));
    let mut clients: Vec<_> = (0..100).map(|_| Client::open(server.at())).collect();
    for client in &mut clients {
        assert_eq!(client.read().0, 0x80 | PING);
    }
}
