//! What connections with TLS cost: idle ones next to nothing, records that are not whole no more than their bytes.

use std::{io::Write as _, sync::Arc};

use wheelhouse::{Counters, Handle};

use crate::{
    fixture::{Script, Second, allow_descriptors, answer, connect, eventually, expect, is_child, serve},
    peer::{BOTH, config, over, sealed, trusting},
    pki::authority,
    site::{engine, start},
};

const IDLE: usize = 2000;
/// Bytes that an idle connection may cost: a bench measures it more finely.
const MOST: usize = 4608;

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn an_idle_connection_costs_its_keys_and_no_buffers() {
    const NAME: &str = "memory::an_idle_connection_costs_its_keys_and_no_buffers";
    allow_descriptors(8192);
    if is_child(NAME) {
        let server = serve(engine(), |_| Script::<()>::new());
        return answer(|question| match question {
            "address" => server.at().to_string(),
            // On one line: each process has an authority of its own.
            "root" => authority().certificate().replace('\n', "|"),
            "resident" => resident().to_string(),
            _ => server.handle.stats().total().opened.to_string(),
        });
    }
    let mut engine = Second::start(NAME);
    let at = engine.ask("address").parse().unwrap();
    let root = engine.ask("root").replace('|', "\n");
    let config = Arc::new(trusting(&root, &BOTH, None));
    let connected = |n: usize| -> Vec<_> {
        let idle = |_| {
            let mut client = over(connect(at), config.clone());
            crate::fixture::echo(&mut client, b"hello");
            client
        };
        (0..n).map(idle).collect()
    };
    // The first ones pay for what all share.
    let first = connected(200);
    let before: usize = engine.ask("resident").parse().unwrap();
    let mut idle = connected(IDLE);
    // The counters show what a turn did when it has ended, and the echo leaves within it.
    let all = (200 + IDLE).to_string();
    eventually("all are open", || engine.ask("opened") == all);
    let after: usize = engine.ask("resident").parse().unwrap();
    let each = after.saturating_sub(before) / IDLE;
    println!("{each} bytes for each of {IDLE} idle TLS connections");
    assert!(each <= MOST, "{each} bytes each");
    // One of them stays.
    idle.truncate(1);
    drop(first);
    let bound = before + (after - before) / 4;
    eventually("what they had goes back", || engine.ask("resident").parse::<usize>().unwrap() < bound);
}

fn total(handle: &Handle) -> Counters {
    handle.stats().total()
}

#[test]
fn half_a_record_is_buffer_memory_until_it_is_whole() {
    const PEERS: usize = 200;
    let (server, _events) = start(engine());
    let plain = vec![b'x'; 16 << 10];
    let config = Arc::new(config());
    let mut peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let mut client = over(connect(server.at()), config.clone());
            let mut record = sealed(&mut client, &plain);
            let rest = record.split_off(8 << 10);
            client.sock.write_all(&record).unwrap();
            (client, rest)
        })
        .collect();
    let half = (PEERS * (8 << 10)) as u64;
    eventually("the halves are counted", || total(&server.handle).buffered >= half);
    assert!(total(&server.handle).buffered <= half + half / 4, "{}", total(&server.handle).buffered);
    let without = peers.split_off(PEERS / 2);
    drop(without);
    eventually("those who left take theirs along", || total(&server.handle).buffered <= half / 2 + half / 8);
    for (client, rest) in &mut peers {
        client.sock.write_all(rest).unwrap();
        expect(client, &plain);
    }
    eventually("nothing is left", || total(&server.handle).buffered == 0);
}
