//! WebSockets without a network, where a clock that the test turns is worth more than a socket.

use std::time::Duration;

use super::Obedient;
use crate::{CloseReason, ConnId, Engine, Listener, ListenerId, testing::Bench};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const PING: &[u8] = &[0x89, 0];
/// An empty pong, masked with zeros.
const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];

const SECOND: Duration = Duration::from_secs(1);

fn bench() -> Bench<Obedient> {
    Bench::with_options(Engine::builder().listen(Listener::new("ws://127.0.0.1:0")), Obedient::new)
}

fn open(bench: &mut Bench<Obedient>) -> ConnId {
    let client = bench.open_on(ListenerId(0));
    bench.input(client, REQUEST);
    let answer = bench.output(client);
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    client
}

/// Turns the clock second by second until there is something; how many it took.
fn seconds_until_output(bench: &mut Bench<Obedient>, client: ConnId, most: u64) -> (u64, Vec<u8>) {
    for seconds in 1..=most {
        bench.turn(SECOND);
        let output = bench.output(client);
        if !output.is_empty() {
            return (seconds, output);
        }
    }
    panic!("nothing in {most} s");
}

#[test]
fn who_is_silent_is_pinged_within_25_s_and_closed_after_45_unless_asked_otherwise() {
    let mut bench = bench();
    let (silent, lively) = (open(&mut bench), open(&mut bench));
    let (at, ping) = seconds_until_output(&mut bench, silent, 26);
    assert!((18..=25).contains(&at) && ping == PING, "{ping:?} after {at} s");
    for seconds in at + 1..=44 {
        bench.turn(SECOND);
        if bench.output(lively) == PING {
            bench.input(lively, PONG);
        }
        assert_eq!(bench.closed(silent), None, "after {seconds} s");
    }
    bench.turn(SECOND);
    bench.turn(SECOND);
    let told = bench.output(silent);
    assert!(told.ends_with(&[0x88, 2, 0x03, 0xe9]), "1001, going away: {told:?}");
    bench.turn(5 * SECOND);
    assert_eq!(bench.closed(silent), Some(&CloseReason::Idle));
    assert_eq!(bench.closed(lively), None, "who answers stays");
}

#[test]
fn a_thousand_who_come_at_once_are_not_all_pinged_at_once() {
    let mut bench = bench();
    let clients: Vec<ConnId> = (0..1_000).map(|_| open(&mut bench)).collect();
    let mut pinged = Vec::new();
    for _ in 0..26 {
        bench.turn(SECOND);
        pinged.push(clients.iter().filter(|&&client| bench.output(client) == PING).count());
    }
    assert_eq!(pinged.iter().sum::<usize>(), 1_000, "{pinged:?}");
    let most = pinged.iter().max().copied().unwrap_or_default();
    assert!(most < 400, "{pinged:?}");
}
