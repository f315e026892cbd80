//! After a storm its memory goes back to the system, also after the second one, and also while one connection of it stays.
//! A process of its own: the resident memory is the whole process's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use wheelhouse::{Action, Address, Conn, Engine, Framing, Handler, Listener, Message};

/// Keeps a little beside each connection, as handlers do.
struct Keeper;

impl Handler for Keeper {
    type Session = Option<[u64; 64]>;

    fn on_open(&mut self, conn: &mut Conn<'_>, kept: &mut Option<[u64; 64]>) -> Action {
        *kept = Some([conn.id().as_u64(); 64]);
        Action::Continue
    }

    fn on_message(&mut self, _: &mut Conn<'_>, _: &mut Option<[u64; 64]>, _: Message<'_>) -> Action {
        Action::Continue
    }
}

const CLIENTS: usize = 6_000;
const HALF_A_LINE: usize = 3_000;

#[test]
fn memory_goes_back_after_each_storm() {
    let listener = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(8_192));
    let engine = Engine::builder().listen(listener).reactors(1).build(|_| Keeper).unwrap();
    let Address::Tcp(address) = engine.addresses()[0] else { panic!("a TCP address") };
    let handle = engine.handle();
    let running = engine.start().unwrap();

    let mut survivors = Vec::new();
    let start = resident();
    for storm in 0..2 {
        let mut clients: Vec<TcpStream> = Vec::with_capacity(CLIENTS);
        for _ in 0..CLIENTS {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(&[b'x'; HALF_A_LINE]).unwrap();
            clients.push(client);
        }
        until("all half lines are kept", || {
            handle.stats().total().buffered as usize >= (CLIENTS + storm) * HALF_A_LINE
        });
        let peak = resident();
        assert!(peak > start + CLIENTS * HALF_A_LINE, "the storm takes memory: {peak} B");
        // The last one to come stays.
        survivors.extend(clients.pop());
        drop(clients);
        until("only the survivors are left", || handle.count() == survivors.len());
        until("the memory is back", || resident() < start + start / 10 + (6 << 20));
    }
    assert_eq!(handle.count(), 2);
    handle.shutdown();
    running.join().unwrap();
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}; {} B resident", resident());
        std::thread::sleep(Duration::from_millis(5));
    }
}
