//! How many may come, in all and from one address, and who gives way when memory is used up.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{
    Action, Address, Builder, CloseReason, ConnId, Connect, Engine, Framing, Listener, MemoryPolicy, On,
};

/// What is told of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Open(ConnId),
    Close(ConnId, CloseReason),
}

fn telling(builder: Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let server = serve(builder, move |_| {
        let (told, closes) = (told.clone(), told.clone());
        Script::new()
            .open(move |conn, ()| {
                tell(&told, Told::Open(conn.id()));
                Action::Continue
            })
            .close(move |closed, ()| tell(&closes, Told::Close(closed.id(), *closed.reason())))
    });
    (server, events)
}

fn opened(events: &Receiver<Told>) -> ConnId {
    match next(events) {
        Told::Open(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_has_as_many_as_it_may_and_room_again_when_one_leaves() {
    let (server, events) = telling(local().reactors(2).max_connections_per_address(3));
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| echo(client, b"hello"));
    (0..3).for_each(|_| _ = opened(&events));
    // Two more are let go without a word to anybody.
    for _ in 0..2 {
        assert_eq!(read_to_end(&mut server.connect()).0, b"");
    }
    eventually("they are counted", || server.handle.stats().total().shed == 2);
    // Others are not his concern.
    let mut neighbour = connect_from("127.0.0.2", server.at());
    echo(&mut neighbour, b"hello");
    opened(&events);
    assert!(events.try_recv().is_err());
    drop(clients.pop());
    assert!(matches!(next(&events), Told::Close(_, CloseReason::Peer { .. })));
    // The place is free when `on_close` has returned.
    eventually("there is room", || server.handle.count() == 3);
    echo(&mut server.connect(), b"room again");
}

#[test]
fn no_counter_is_taken_back_when_a_proxys_client_is_shed() {
    const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 5000 80\r\n";
    let listener = Listener::new("tcp://127.0.0.1:0").proxy_protocol(["127.0.0.1"]);
    let (server, events) =
        telling(Engine::builder().listen(listener).reactors(1).max_connections_per_address(1));
    let total = || server.handle.stats().total();
    let mut first = server.connect();
    first.write_all(LINE).unwrap();
    opened(&events);
    let mut second = server.connect();
    eventually("both are taken in", || total().accepted == 2);
    second.write_all(LINE).unwrap();
    assert_eq!(read_to_end(&mut second).0, b"");
    eventually("it was shed", || total().shed == 1);
    let total = total();
    assert_eq!((total.accepted, total.opened, total.closed, total.connections), (2, 1, 1, 1));
}

#[test]
fn behind_a_proxy_it_is_the_client_whose_address_counts() {
    const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 5000 80\r\n";
    let listener = Listener::new("tcp://127.0.0.1:0").proxy_protocol(["127.0.0.1"]);
    let builder = Engine::builder().listen(listener).reactors(2).max_connections_per_address(1);
    let (server, events) = telling(builder);
    let greeted = |header: &[u8]| {
        let mut client = server.connect();
        client.write_all(header).unwrap();
        opened(&events);
        client
    };
    let first = greeted(LINE);
    // As many by one proxy as one likes, for other clients.
    let others: Vec<_> = (8..20)
        .map(|n| greeted(format!("PROXY TCP4 203.0.113.{n} 192.0.2.1 5000 80\r\n").as_bytes()))
        .collect();
    let mut second = server.connect();
    second.write_all(&[LINE, b"hello"].concat()).unwrap();
    assert_eq!(read_to_end(&mut second).0, b"");
    eventually("it was shed", || server.handle.stats().total().shed == 1);
    assert!(events.try_recv().is_err(), "nobody is told of it");
    // Whoever comes by himself is counted by himself, and a network of 64 bits as one.
    let _near = connect_from("127.0.0.2", server.at());
    opened(&events);
    assert_eq!(read_to_end(&mut connect_from("127.0.0.2", server.at())).0, b"");
    let _six = greeted(b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 80\r\n");
    let mut neighbour = server.connect();
    neighbour.write_all(b"PROXY TCP6 2001:db8::8 2001:db8::1 5000 80\r\n").unwrap();
    assert_eq!(read_to_end(&mut neighbour).0, b"");
    let _stranger = greeted(b"PROXY TCP6 2001:db8:0:1::7 2001:db8::1 5000 80\r\n");
    drop(first);
    assert!(matches!(next(&events), Told::Close(_, CloseReason::Peer { .. })));
    let _again = greeted(LINE);
    drop(others);
    server.stop();
}

#[test]
fn those_that_we_dial_and_those_of_unix_sockets_have_no_address_to_count() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("unix:{}", directory.path().join("socket").display());
    let (server, events) = telling(local().listen(url).reactors(1).max_connections_per_address(1));
    let (peer, url) = listener();
    let mut accepted = Vec::new();
    for _ in 0..3 {
        server.handle.connect(On::Any, Connect::to(&url)).unwrap();
        accepted.push(accept(&peer));
        opened(&events);
    }
    let Address::Unix(path) = &server.addresses[1] else { panic!() };
    let clients: Vec<_> = (0..3).map(|_| std::os::unix::net::UnixStream::connect(path).unwrap()).collect();
    (0..3).for_each(|_| _ = opened(&events));
    echo(&mut server.connect(), b"and one of this address");
    drop((clients, accepted));
}

/// How many of those who come at once are let in, and stay.
fn let_in(builder: Builder, comers: usize) -> usize {
    let (server, events) = telling(builder);
    let at = server.at();
    let threads: Vec<_> = (0..8)
        .map(|_| thread::spawn(move || (0..comers / 8).map(|_| connect(at)).collect::<Vec<_>>()))
        .collect();
    let clients: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    eventually("each was let in or not", || {
        let total = server.handle.stats().total();
        total.opened + total.shed == comers as u64
    });
    drop(clients);
    eventually("all have gone", || server.handle.count() == 0);
    server.stop();
    events.try_iter().filter(|told| matches!(told, Told::Open(_))).count()
}

#[test]
fn a_bound_is_never_exceeded_however_many_come_at_once() {
    let _crowd = crowd();
    for reuse_port in [false, true] {
        for _ in 0..5 {
            let builder = || local().reactors(4).reuse_port(reuse_port);
            assert_eq!(let_in(builder().max_connections_per_address(10), 160), 10, "{reuse_port}");
            // Reactors that accept for themselves may each let one in at the same moment.
            let more = if reuse_port { 3 } else { 0 };
            assert!((10..=10 + more).contains(&let_in(builder().max_connections(10), 160)), "{reuse_port}");
        }
    }
}

/// Two who hold memory: which of them is let go when the one with less asks for more than there is.
fn gives_way(policy: MemoryPolicy) -> (bool, bool) {
    let listener = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(1 << 20));
    let builder =
        Engine::builder().listen(listener).reactors(1).buffer_memory(100 << 10).memory_policy(policy);
    let (server, events) = telling(builder);
    let (mut great, mut small) = (server.connect(), server.connect());
    let (first, second) = (opened(&events), opened(&events));
    great.write_all(&[b'x'; 60_000]).unwrap();
    let holds = |id| server.ask_conn(id, |conn, _| conn.buffered().0);
    eventually("it holds most", || holds(first) == 60_000 || holds(second) == 60_000);
    let (great_id, small_id) = if holds(first) == 60_000 { (first, second) } else { (second, first) };
    // The small one is the one who asks, and asks for no more than the great one has.
    small.write_all(&[b'y'; 1000]).unwrap();
    eventually("it holds little", || holds(small_id) == 1000);
    small.write_all(&[b'y'; 58_000]).unwrap();
    eventually("one gives way", || server.handle.count() == 1);
    let Told::Close(gone, CloseReason::MemoryPressure) = next(&events) else { panic!("another reason") };
    (gone == great_id, gone == small_id)
}

#[test]
fn the_one_that_holds_most_gives_way_by_default_and_the_one_that_asks_where_that_is_wanted() {
    assert_eq!(gives_way(MemoryPolicy::CloseGreatest), (true, false));
    assert_eq!(gives_way(MemoryPolicy::CloseAsking), (false, true));
}

#[test]
fn a_reactor_that_polls_on_does_so_for_as_long_as_it_was_told_and_then_sleeps() {
    let server = serve(local().reactors(1).busy_poll(Duration::from_millis(300)), |_| Script::<()>::new());
    let turns = || server.handle.stats().total().turns;
    let quiet = || {
        let before = turns();
        thread::sleep(Duration::from_millis(50));
        turns() == before
    };
    eventually("it sleeps at last", quiet);
    let mut client = server.connect();
    echo(&mut client, b"wake up");
    let (woken, before) = (Instant::now(), turns());
    // What it does meanwhile it does without a wake-up, thousands of times.
    eventually("it goes round and round", || turns() > before + 500);
    assert!(woken.elapsed() < Duration::from_secs(5));
    eventually("it sleeps again", quiet);
    echo(&mut client, b"and is there all the same");
}
