//! The proxy: both directions, both ends, both resets, and a reader that takes its time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use common::{Server, bounded};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// A proxy, and the two ends of one connection through it.
struct Through {
    proxy: Server,
    upstream: TcpListener,
}

impl Through {
    fn new() -> Through {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        Through::to(upstream)
    }

    fn to(upstream: TcpListener) -> Through {
        let to = format!("tcp://{}", upstream.local_addr().unwrap());
        Through { proxy: Server::start("proxy", &["--to", &to]), upstream }
    }

    fn pair(&self) -> (TcpStream, TcpStream) {
        let client = self.proxy.connect();
        let (server, _) = self.upstream.accept().unwrap();
        (client, bounded(server))
    }
}

fn read_exactly(stream: &mut TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn assert_reset(mut stream: TcpStream) {
    let error = stream.read(&mut [0; 16]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn bytes_go_both_ways() {
    let through = Through::new();
    let (mut client, mut server) = through.pair();
    client.write_all(b"question").unwrap();
    assert_eq!(read_exactly(&mut server, 8), b"question");
    server.write_all(b"answer").unwrap();
    assert_eq!(read_exactly(&mut client, 6), b"answer");
    assert_eq!(through.proxy.stop().0, Some(0));
}

#[test]
fn each_direction_ends_by_itself() {
    let through = Through::new();
    for client_first in [true, false] {
        let (client, server) = through.pair();
        let (mut first, mut second) = if client_first { (client, server) } else { (server, client) };
        first.write_all(b"last words").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        second.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"last words");
        // The other direction is still there.
        second.write_all(b"and mine").unwrap();
        assert_eq!(read_exactly(&mut first, 8), b"and mine");
        second.shutdown(Shutdown::Write).unwrap();
        assert_eq!(first.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn a_reset_on_one_side_is_a_reset_on_the_other() {
    let through = Through::new();
    for client_resets in [true, false] {
        let (mut client, mut server) = through.pair();
        client.write_all(b"x").unwrap();
        read_exactly(&mut server, 1);
        let (gone, left) = if client_resets { (client, server) } else { (server, client) };
        reset(gone);
        assert_reset(left);
    }
}

#[test]
fn a_client_is_reset_when_there_is_nobody_to_forward_to() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Server::start("proxy", &["--to", &format!("tcp://{free}")]);
    assert_reset(proxy.connect());
}

#[test]
fn eight_mib_pass_a_slow_reader_byte_by_byte_the_same() {
    const SIZE: usize = 8 << 20;
    // Small buffers in the kernel: the proxy's queue is what fills.
    let upstream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    upstream.set_recv_buffer_size(8 << 10).unwrap();
    upstream.bind(&SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
    upstream.listen(8).unwrap();
    let through = Through::to(upstream.into());
    let (mut client, mut server) = through.pair();
    let sent: Vec<u8> = (0..SIZE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        let mut seen = Vec::with_capacity(SIZE);
        let mut buffer = [0; 3000];
        while let n @ 1.. = server.read(&mut buffer).unwrap() {
            seen.extend_from_slice(&buffer[..n]);
            if seen.len() < 1 << 20 {
                thread::yield_now(); // slow at first, so that queues fill
            }
        }
        assert_eq!(seen.len(), SIZE);
        assert!(seen == sent, "bytes were changed on the way");
    });
}

#[test]
fn the_proxy_holds_no_more_than_its_marks_for_one_who_does_not_read() {
    let through = Through::new();
    let (client, mut server) = through.pair();
    client.set_nonblocking(true).unwrap();
    // Until nothing has been taken for a while: the kernel's buffers and the proxy's queue are full.
    let (mut taken, mut quiet) = (0, 0);
    while quiet < 20 {
        match (&client).write(&[7; 64 << 10]) {
            Ok(n) => (taken, quiet) = (taken + n, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                quiet += 1;
                thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(taken < 64 << 20, "{taken} bytes went somewhere");
    }
    // And all of it arrives once it is read.
    client.shutdown(Shutdown::Write).unwrap();
    let mut seen = 0;
    let mut buffer = vec![0; 64 << 10];
    while let n @ 1.. = server.read(&mut buffer).unwrap() {
        seen += n;
    }
    assert_eq!(seen, taken);
}
