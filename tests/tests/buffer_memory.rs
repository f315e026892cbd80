//! Buffer memory: half-sent messages of a few bytes cost none, and when it is used up the one that holds most gives way,
//! never the one that came last.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write,
    net::TcpStream,
    sync::mpsc::{Receiver, channel},
};

use fixture::*;
use wheelhouse::{Action, Builder, CloseReason, Engine, Framing, Listener};

/// What a connection's callbacks told.
#[derive(Debug, PartialEq)]
enum Told {
    /// A whole line, of that length.
    Line(usize),
    Close(CloseReason),
}

fn lines() -> Listener {
    Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(1 << 20))
}

fn telling(builder: Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, heard) = channel();
    let server = serve(builder, move |_| {
        let (line, close) = (told.clone(), told.clone());
        Script::new()
            .message(move |_, _, got| {
                tell(&line, Told::Line(got.bytes().len()));
                Action::Continue
            })
            .close(move |closed, ()| tell(&close, Told::Close(*closed.reason())))
    });
    (server, heard)
}

/// Half a line of 3,000 bytes from each, one after the other.
fn half_lines(server: &Server<Script>, n: usize) -> Vec<TcpStream> {
    let half = vec![b'x'; 3000];
    let send = |_| {
        let mut client = server.connect();
        let before = server.handle.stats().total().bytes_in;
        client.write_all(&half).unwrap();
        eventually("it has been read", || server.handle.stats().total().bytes_in >= before + 3000);
        client
    };
    (0..n).map(send).collect()
}

/// Everyone but the greatest is alive, and was closed for nothing.
fn the_greatest_gave_way(heard: &Receiver<Told>, mut small: Vec<TcpStream>) {
    assert_eq!(next(heard), Told::Close(CloseReason::MemoryPressure));
    for (n, client) in small.iter_mut().enumerate() {
        client.write_all(b"\n").unwrap_or_else(|error| panic!("small one {n}: {error}"));
        assert_eq!(next(heard), Told::Line(3000), "of the small one {n}");
    }
}

fn scarce(read_buffer: usize) -> Builder {
    Engine::builder().listen(lines()).reactors(1).buffer_memory(128 << 10).read_buffer(read_buffer)
}

#[test]
fn out_of_buffer_memory_the_greatest_gives_way_to_those_who_come() {
    for read_buffer in [64 << 10, 4 << 10] {
        let (server, heard) = telling(scarce(read_buffer));
        let mut great = server.connect();
        great.write_all(&[b'G'; 30_000]).unwrap();
        eventually("it is held", || server.handle.stats().total().bytes_in == 30_000);
        let small = half_lines(&server, 28);
        let lent = server.handle.stats().total().buffered;
        assert!(lent <= 128 << 10, "{lent} bytes lent, read buffer {read_buffer}");
        the_greatest_gave_way(&heard, small);
        read_to_end(&mut great);
        server.stop();
    }
}

#[test]
fn out_of_buffer_memory_the_greatest_gives_way_when_it_is_the_one_that_grows() {
    for read_buffer in [64 << 10, 4 << 10] {
        let (server, heard) = telling(scarce(read_buffer));
        let small = half_lines(&server, 20);
        let mut great = server.connect();
        for _ in 0..100 {
            // Its end may come in the middle of this.
            if great.write_all(&[b'G'; 1000]).is_err() {
                break;
            }
        }
        the_greatest_gave_way(&heard, small);
        server.stop();
    }
}

#[test]
fn out_of_buffer_memory_a_slow_reader_gives_way_to_those_who_come() {
    let (server, heard) = telling(scarce(64 << 10).send_buffer(8 << 10));
    let mut client = connect_with_window(server.at(), 8 << 10);
    eventually("it is there", || server.handle.connections().count() == 1);
    let id = server.handle.connections().next().unwrap();
    server.ask_conn(id, |conn, _| {
        while conn.buffered().1 < 40 << 10 {
            assert!(!conn.send("x".repeat(999)).is_refused());
        }
        // So much may only have been gathered; these see it into the queue.
        for _ in 0..60 {
            let line = "x".repeat(999);
            conn.send(&line);
        }
    });
    let small = half_lines(&server, 26);
    the_greatest_gave_way(&heard, small);
    assert_eq!(read_to_end(&mut client).1, Ending::Reset);
    server.stop();
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// In a process of its own, for its memory and its descriptors.
#[test]
fn nine_thousand_half_sent_messages_of_a_byte_cost_no_buffer_memory() {
    alone("nine_thousand_half_sent_messages_of_a_byte_cost_no_buffer_memory", || {
        // Two descriptors each.
        let many = 9_000.min((allow_descriptors(18_500) as usize - 500) / 2);
        let server = serve(Engine::builder().listen(lines()).reactors(2), |_| Script::<()>::new());
        let first = server.connect();
        eventually("it is served", || server.handle.stats().total().opened == 1);
        let before = resident();
        let mut clients: Vec<_> = (0..many).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        let total = || server.handle.stats().total();
        eventually("all has been read", || total().bytes_in == many as u64);
        assert_eq!(total().buffered, 0);
        // A connection itself takes about a hundred bytes; the smallest buffer would be ten times that.
        let grown = resident().saturating_sub(before);
        assert!(grown < many * 512 + (2 << 20), "{grown} bytes for {many} of them");
        for client in &mut clients {
            client.write_all(b"yz\n").unwrap();
        }
        for client in &mut clients {
            expect(client, b"xyz\n");
        }
        assert_eq!(total().closed, 0);
        // Resets leave no ports waiting.
        clients.iter().for_each(wheelhouse_tests::linger_zero);
        drop((first, clients));
        server.stop();
    });
}
