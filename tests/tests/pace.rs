//! The minimum rate: who trickles a message, or sips what is sent to him, is let go; who takes his time between messages, or
//! is not read, is not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{Action, Builder, CloseReason, ConnId, Engine, Framing, LengthDelimited, Listener, Sent};

const MS: Duration = Duration::from_millis(1);
/// The shortest window there may be.
const WINDOW: Duration = Duration::from_millis(100);

/// What is told of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Open(ConnId),
    Message(ConnId, usize),
    Close(CloseReason, u64),
}

fn listener() -> Listener {
    let framing = Framing::length_delimited(LengthDelimited::u32_be().max_body(1 << 20));
    Listener::new("tcp://127.0.0.1:0").framing(framing)
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

fn telling(builder: Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let server = serve(builder.reactors(1), move |_| {
        let [opens, messages, closes] = std::array::from_fn(|_| told.clone());
        Script::new()
            .open(move |conn, ()| {
                tell(&opens, Told::Open(conn.id()));
                Action::Continue
            })
            .message(move |conn, (), message| {
                tell(&messages, Told::Message(conn.id(), message.bytes().len()));
                if message.bytes() == b"hold" { Action::Hold } else { Action::Continue }
            })
            .close(move |closed, ()| tell(&closes, Told::Close(*closed.reason(), closed.unsent())))
    });
    (server, events)
}

fn opened(events: &Receiver<Told>) -> ConnId {
    match next(events) {
        Told::Open(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Writes a byte now and then until the connection is broken.
fn trickle(client: &mut TcpStream, every: Duration) {
    eventually("it is let go", || {
        thread::sleep(every);
        client.write_all(b"x").is_err()
    });
}

#[test]
fn a_message_that_trickles_in_ends_its_connection() {
    // Kept inside the connection, in a ring, in storage of its size.
    for begun in [5, 100, 70_000] {
        let builder = Engine::builder().listen(listener()).minimum_rate(1000, WINDOW);
        let (server, events) = telling(builder);
        let mut client = server.connect();
        opened(&events);
        let whole = frame(&[b'x'; 200_000]);
        let began = Instant::now();
        client.write_all(&whole[..begun]).unwrap();
        trickle(&mut client, 5 * MS);
        assert!(began.elapsed() >= WINDOW);
        assert_eq!(next(&events), Told::Close(CloseReason::SlowPeer, 0));
    }
}

#[test]
fn one_who_stops_amid_a_message_is_reset() {
    let builder = Engine::builder().listen(listener()).minimum_rate(1, WINDOW);
    let (server, events) = telling(builder);
    let mut client = server.connect();
    opened(&events);
    client.write_all(&frame(b"never ended")[..10]).unwrap();
    assert_eq!(read_to_end(&mut client), (vec![], Ending::Reset));
    assert_eq!(next(&events), Told::Close(CloseReason::SlowPeer, 0));
}

/// Sends so much that some of it has to wait.
fn send_much(server: &Server<Script>, id: ConnId, then_finish: bool) {
    server.ask_conn(id, move |conn, _| {
        for _ in 0..20 {
            assert!(!conn.send(vec![b'y'; 50_000]).is_refused());
        }
        assert!(conn.buffered().1 > 500_000);
        if then_finish {
            conn.finish();
        }
    });
}

#[test]
fn a_queue_that_is_not_read_or_sipped_at_ends_its_connection_also_while_it_finishes() {
    for (sips, finishes) in [(false, false), (true, false), (false, true), (true, true)] {
        let builder = Engine::builder().listen(listener()).minimum_rate(200_000, WINDOW);
        let builder = builder.send_buffer(8 << 10).write_stall_timeout(None);
        let (server, events) = telling(builder);
        let mut client = connect_with_window(server.at(), 4 << 10);
        let id = opened(&events);
        send_much(&server, id, finishes);
        let until = Instant::now() + PATIENCE;
        let told = loop {
            if let Ok(told) = events.recv_timeout(5 * MS) {
                break told;
            }
            assert!(Instant::now() < until, "it goes on, sips {sips}, finishes {finishes}");
            if sips {
                let _ = client.read(&mut [0; 1000]);
            }
        };
        let Told::Close(CloseReason::SlowPeer, unsent) = told else { panic!("{told:?}") };
        assert!(unsent > 100_000, "{unsent}");
        assert_eq!(read_to_end(&mut client).1, Ending::Reset);
    }
}

#[test]
fn between_messages_anybody_may_take_his_time() {
    let builder = Engine::builder().listen(listener()).minimum_rate(1 << 20, WINDOW);
    let (server, events) = telling(builder);
    let mut client = server.connect();
    let id = opened(&events);
    for size in [0, 10, 5000, 100_000] {
        thread::sleep(3 * WINDOW);
        client.write_all(&frame(&vec![b'x'; size])).unwrap();
        assert_eq!(next(&events), Told::Message(id, size));
    }
    thread::sleep(3 * WINDOW);
    assert!(server.handle.is_open(id));
}

#[test]
fn a_message_that_comes_fast_enough_may_take_many_windows() {
    const SECOND: Duration = Duration::from_secs(1);
    let builder = Engine::builder().listen(listener()).minimum_rate(1000, SECOND);
    let (server, events) = telling(builder);
    let mut client = server.connect();
    let id = opened(&events);
    let whole = frame(&[b'x'; 50_000]);
    // Ten times as fast as it has to be: whatever else the machine does.
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < 5 * SECOND / 2 {
        client.write_all(&whole[sent..sent + 500]).unwrap();
        sent += 500;
        if sent > 30_000 {
            break;
        }
        thread::sleep(50 * MS);
    }
    client.write_all(&whole[sent..]).unwrap();
    assert_eq!(next(&events), Told::Message(id, 50_000));
    // The window is the message's own: the next one's begins with it.
    client.write_all(&whole[..5]).unwrap();
    thread::sleep(SECOND / 2);
    assert!(server.handle.is_open(id));
}

#[test]
fn while_the_handler_does_not_want_it_the_rest_of_a_message_may_wait() {
    let builder = Engine::builder().listen(listener()).minimum_rate(1000, WINDOW);
    let (server, events) = telling(builder);
    let mut client = server.connect();
    let id = opened(&events);
    let second = frame(&[b'x'; 5000]);
    client.write_all(&[&frame(b"hold")[..], &second[..10]].concat()).unwrap();
    assert_eq!(next(&events), Told::Message(id, 4));
    thread::sleep(4 * WINDOW);
    assert!(server.handle.is_open(id), "{:?}", events.try_recv());
    // The rest is in the kernel when the reading goes on.
    client.write_all(&second[10..]).unwrap();
    server.ask_conn(id, |conn, _| conn.pause());
    server.handle.resume(id);
    assert_eq!(next(&events), Told::Message(id, 4));
    // It is held once more, and then it is the peer's turn.
    server.ask_conn(id, |conn, _| conn.set_framing(&Framing::raw()).unwrap());
    server.handle.resume(id);
    assert!(server.handle.is_open(id));
}

#[test]
fn while_the_engine_does_not_read_the_rest_of_a_message_may_wait() {
    let listener = listener().water_marks(1000, 2000, 4 << 20);
    let builder = Engine::builder().listen(listener).send_buffer(8 << 10);
    let (server, events) = telling(builder.minimum_rate(1, 3 * WINDOW));
    let mut client = connect_with_window(server.at(), 4 << 10);
    let id = opened(&events);
    let message = frame(&[b'x'; 5000]);
    client.write_all(&message[..10]).unwrap();
    eventually("it was read", || server.ask_conn(id, |conn, _| conn.buffered().0) == 10);
    let full = server.ask_conn(id, |conn, _| (0..20).map(|_| conn.send(vec![b'y'; 50_000])).last());
    assert_eq!(full, Some(Sent::Full));
    // The peer reads all the time, and is not read all the time.
    let (began, mut heard) = (Instant::now(), 0);
    let mut buffer = vec![0; 8 << 10];
    while heard < 20 * 50_004 {
        let n = client.read(&mut buffer).unwrap();
        assert!(n > 0, "after {heard} bytes: {:?}", events.try_recv());
        heard += n;
        if began.elapsed() < 12 * WINDOW {
            thread::sleep(5 * MS);
        }
    }
    assert!(began.elapsed() > 9 * WINDOW, "it took several windows");
    client.write_all(&message[10..]).unwrap();
    assert_eq!(next(&events), Told::Message(id, 5000));
}

/// What the kernel has taken over is not what the peer has read; the window must not be judged by the kernel's gulps.
#[test]
fn one_who_reads_thrice_as_fast_as_he_must_is_not_taken_for_slow() {
    const SECOND: Duration = Duration::from_secs(1);
    let builder = Engine::builder().listen(listener()).minimum_rate(100_000, SECOND);
    let (server, events) = telling(builder);
    let mut client = server.connect();
    let id = opened(&events);
    server.ask_conn(id, |conn, _| {
        let mut all = 0;
        while conn.buffered().1 < 2 << 20 {
            assert!(!conn.send(vec![b'y'; 100_000]).is_refused());
            all += 100_004;
        }
        all
    });
    let began = Instant::now();
    let mut buffer = vec![0; 15_000];
    while began.elapsed() < 5 * SECOND {
        client.read_exact(&mut buffer).unwrap_or_else(|error| panic!("{error}: {:?}", events.try_recv()));
        thread::sleep(50 * MS);
    }
    assert!(server.handle.is_open(id));
}
