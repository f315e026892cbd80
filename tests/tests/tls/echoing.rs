//! Bytes and lines go through, every one of them, however they are cut.

use std::{io::Write as _, os::unix::net::UnixStream, sync::Arc};

use rustls_stable::version::{TLS12, TLS13};
use wheelhouse::{Builder, Engine, Framing, Listener};
use wheelhouse_tests::Pattern;

use crate::{
    fixture::{PATIENCE, Script, connect, connect_with_window, echo, expect, serve},
    peer::{config, config_with, exchange, goodbye, over, sealed, secure},
    pki::tls,
    site::{Ended, at_eof, ended, engine, listener, opened, start},
};

const SIZES: [usize; 10] = [1, 2, 1000, 16_383, 16_384, 16_385, 65_536, 70_001, 1 << 20, 3_000_001];

fn lines() -> Builder {
    let listener = listener().framing(Framing::lines(4 << 20));
    Engine::builder().listen(listener).reactors(1).inbound_limit(8 << 20)
}

/// A line of so many bytes, its end among them.
fn line(len: usize) -> Vec<u8> {
    let mut line: Vec<u8> =
        Pattern::new(len as u64).take(len - 1).iter().map(|byte| b'a' + byte % 26).collect();
    line.push(b'\n');
    line
}

#[test]
fn bytes_of_every_size_come_back_in_both_versions() {
    let server = serve(engine(), |_| Script::<()>::new());
    for version in [&TLS12, &TLS13] {
        let mut client = over(connect(server.at()), config_with(&[version], None));
        for size in SIZES {
            let bytes = Pattern::new(size as u64).take(size);
            assert!(exchange(&mut client, &bytes, size) == bytes, "{size} bytes, {version:?}");
        }
    }
}

#[test]
fn lines_of_every_size_come_back() {
    let server = serve(lines(), |_| Script::<()>::new());
    let mut client = secure(server.at());
    for size in SIZES {
        let line = line(size);
        assert!(exchange(&mut client, &line, size) == line, "{size} bytes");
    }
    // Many in one record, and one in many.
    let all = [line(2), line(300), line(40_000), line(7)].concat();
    assert!(exchange(&mut client, &all, all.len()) == all);
}

#[test]
fn nothing_is_lost_where_the_kernel_takes_a_little_at_a_time() {
    let small = engine().send_buffer(4096).receive_buffer(4096).read_buffer(4096);
    let (server, events) = start(small);
    let mut client = over(connect_with_window(server.at(), 4096), config());
    let bytes = Pattern::new(1).take(1_500_000);
    assert!(exchange(&mut client, &bytes, bytes.len()) == bytes);
    assert_eq!(goodbye(&mut client), b"");
    opened(&events);
    assert!(matches!(ended_after_eof(&events), Ended { error: None, .. }));
}

/// Marks may have been crossed meanwhile.
fn ended_after_eof(events: &std::sync::mpsc::Receiver<crate::site::Event>) -> Ended {
    loop {
        match crate::fixture::next(events) {
            crate::site::Event::Close(ended) => return ended,
            crate::site::Event::Open(id) => panic!("{id} opened"),
            _ => {}
        }
    }
}

#[test]
fn a_record_that_comes_a_byte_at_a_time_is_a_record() {
    let (server, events) = start(engine());
    let mut client = secure(server.at());
    for record in [sealed(&mut client, b"one"), sealed(&mut client, &[b'x'; 700])] {
        for byte in record {
            client.sock.write_all(&[byte]).unwrap();
        }
    }
    expect(&mut client, b"one");
    expect(&mut client, &[b'x'; 700]);
    goodbye(&mut client);
    opened(&events);
    at_eof(&events);
    assert_eq!(ended(&events).error, None);
}

#[test]
fn a_whole_handshake_that_comes_a_byte_at_a_time_is_a_handshake() {
    let (server, events) = start(engine());
    let mut client = over(ByteByByte(connect(server.at())), config());
    opened(&events);
    echo(&mut client, b"and then they talked");
}

/// A socket that takes one byte at a time.
struct ByteByByte(std::net::TcpStream);

impl std::io::Write for ByteByByte {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl std::io::Read for ByteByByte {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(bytes)
    }
}

#[test]
fn a_unix_listener_may_have_tls() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = Listener::new(format!("unix:{}", path.display())).tls(tls());
    let _server = serve(Engine::builder().listen(listener).reactors(1), |_| Script::<()>::new());
    let socket = UnixStream::connect(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = over(socket, config());
    echo(&mut client, b"hello");
    echo(&mut client, &Pattern::new(3).take(100_000));
}

#[test]
fn two_reactors_serve_their_clients_side_by_side() {
    let builder = Engine::builder().listen(listener()).reactors(2);
    let (server, events) = start(builder);
    let config = Arc::new(config());
    let mut clients: Vec<_> = (0..10).map(|_| over(connect(server.at()), config.clone())).collect();
    let mut reactors: Vec<_> = (0..10).map(|_| opened(&events).reactor().0).collect();
    reactors.sort_unstable();
    assert_eq!(reactors, [[0; 5], [1; 5]].concat());
    for round in 0..20 {
        for (n, client) in clients.iter_mut().enumerate() {
            echo(client, format!("round {round} of client {n}").as_bytes());
        }
    }
}
