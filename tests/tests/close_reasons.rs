//! Why a connection closed: each reason is reached here by what a real peer does or leaves undone, and told with the system's
//! error number where there is one. One test for each reason, named after it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write as _,
    net::{Shutdown, TcpStream},
    sync::mpsc,
    time::Duration,
};

use fixture::{Full, free_port};
use nix::libc;
use wheelhouse::{
    Builder, CloseReason, ConnId, Connect, Engine, Framing, Handle, Listener, Policy, Reactor, ReactorId,
};
use wheelhouse_tests::{
    Bench, Event, Gone, LIMIT, Probe, Script, blow_up, connect, connect_small, is_reset, linger_zero,
    one_listener, one_reactor, read_to_end, until, wait_for_end,
};

const SOON: Duration = Duration::from_millis(60);

fn raw() -> Listener {
    Listener::new("tcp://127.0.0.1:0")
}

/// One connection to an engine that takes everything and says nothing.
fn silent(builder: Builder) -> (Bench, TcpStream, ConnId) {
    let bench = Bench::start(builder, |_| Script::new());
    let (stream, id) = bench.connect();
    (bench, stream, id)
}

/// What is told of it: this reason, this error, and whether it was ever open.
#[track_caller]
fn told(gone: &Gone, reason: CloseReason, errno: Option<i32>) {
    assert_eq!((gone.reason, gone.errno), (reason, errno), "{:?}", gone.error);
    let was_dialled_in_vain = matches!(reason, CloseReason::ConnectFailed | CloseReason::ConnectTimeout);
    assert_eq!(gone.opened, !was_dialled_in_vain);
}

/// What is told of a connection that is dialled in vain.
fn dialled(to: Connect) -> Gone {
    let bench = Bench::start(Engine::builder().reactors(1), |_| Script::new());
    let (answer, answered) = mpsc::channel();
    let dial =
        move |_: &mut Probe, reactor: &mut Reactor<'_>| answer.send(reactor.connect(to).unwrap()).unwrap();
    assert!(bench.poster().post(ReactorId(0), dial).is_ok());
    bench.closed(answered.recv_timeout(LIMIT).unwrap())
}

/// Sends to it, a small piece at a time, until a piece is refused.
fn flood(bench: &Bench, id: ConnId) {
    bench.ask(id, |conn, _| while !conn.send(vec![0; 10_000]).is_refused() {});
}

#[test]
fn peer() {
    let (bench, mut stream, id) = silent(one_reactor());
    stream.shutdown(Shutdown::Write).unwrap();
    told(&bench.closed(id), CloseReason::Peer { code: None }, None);
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn local() {
    for how in [Handle::close, Handle::finish, Handle::reset] {
        let (bench, mut stream, id) = silent(one_reactor());
        how(bench.poster(), id);
        let _ = wait_for_end(&mut stream);
        drop(stream);
        told(&bench.closed(id), CloseReason::Local, None);
    }
}

#[test]
fn connect_failed() {
    let refused = Connect::to(format!("tcp://127.0.0.1:{}", free_port()));
    told(&dialled(refused), CloseReason::ConnectFailed, Some(libc::ECONNREFUSED));
    let nowhere = Connect::to("unix:/nowhere/at/all.sock");
    told(&dialled(nowhere), CloseReason::ConnectFailed, Some(libc::ENOENT));
    let nameless = dialled(Connect::to("tcp://no-such-host.invalid:80"));
    told(&nameless, CloseReason::ConnectFailed, nameless.errno);
    assert!(nameless.error.is_some(), "what the resolver said");
}

#[test]
fn connect_timeout() {
    let full = Full::start();
    let to = Connect::to(format!("tcp://{}", full.at)).timeout(SOON);
    told(&dialled(to), CloseReason::ConnectTimeout, None);
}

#[test]
fn idle() {
    let (bench, mut stream, id) = silent(one_reactor().idle_timeout(SOON));
    told(&bench.closed(id), CloseReason::Idle, None);
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn auth() {
    let (bench, mut stream, id) = silent(one_listener(raw().authentication(SOON)));
    // It may be too late for that already.
    let _ = stream.write_all(b"let me in");
    told(&bench.closed(id), CloseReason::Auth, None);
    let _ = wait_for_end(&mut stream);
}

#[test]
fn lifetime() {
    let (bench, mut stream, id) = silent(one_reactor().lifetime(SOON));
    until("talking does not help", || stream.write_all(b"still here").is_err());
    told(&bench.closed(id), CloseReason::Lifetime, None);
}

#[test]
fn write_stall() {
    let builder = one_reactor().send_buffer(8 << 10).write_stall_timeout(Some(SOON));
    let bench = Bench::start(builder, |_| Script::new());
    let mut stream = connect_small(bench.addr(), 4 << 10);
    let id = bench.opened();
    flood(&bench, id);
    let gone = bench.closed(id);
    told(&gone, CloseReason::WriteStall, None);
    assert!(gone.unsent > 0);
    assert!(is_reset(&mut stream));
}

#[test]
fn close_timeout() {
    let (bench, mut stream, id) = silent(one_reactor().close_timeout(SOON));
    bench.poster().finish(id);
    assert_eq!(read_to_end(&mut stream), b"");
    told(&bench.closed(id), CloseReason::CloseTimeout, None);
}

#[test]
fn protocol() {
    let (bench, mut stream, id) = silent(one_listener(raw().framing(Framing::lines(10))));
    stream.write_all(b"more than ten bytes\n").unwrap();
    assert_eq!(read_to_end(&mut stream), b"");
    drop(stream);
    let gone = bench.closed(id);
    told(&gone, CloseReason::Protocol, None);
    assert_eq!(gone.error.as_deref(), Some("a line of more than 10 B"), "the rule that was broken");
}

#[test]
fn inbound_overflow() {
    let listener = raw().framing(Framing::lines(1 << 20));
    let (bench, mut stream, id) = silent(one_listener(listener).inbound_limit(1000));
    stream.write_all(&[b'x'; 1001]).unwrap();
    told(&bench.closed(id), CloseReason::InboundOverflow, None);
    assert!(is_reset(&mut stream));
}

#[test]
fn memory_pressure() {
    let listener = raw().framing(Framing::lines(1 << 20));
    let (bench, mut stream, id) = silent(one_listener(listener).buffer_memory(64 << 10));
    // All of it may not be written by then.
    let _ = stream.write_all(&[b'x'; 200_000]);
    told(&bench.closed(id), CloseReason::MemoryPressure, None);
    assert!(is_reset(&mut stream));
}

#[test]
fn back_pressure() {
    let listener = raw().water_marks(1000, 10_000, 100_000).policy(Policy::Close);
    let bench = Bench::start(one_listener(listener).send_buffer(8 << 10), |_| Script::new());
    let mut stream = connect_small(bench.addr(), 4 << 10);
    let id = bench.opened();
    flood(&bench, id);
    let gone = bench.closed(id);
    told(&gone, CloseReason::BackPressure, None);
    assert!(gone.unsent > 0);
    assert!(is_reset(&mut stream));
}

#[test]
fn io() {
    let (bench, stream, id) = silent(one_reactor());
    linger_zero(&stream);
    drop(stream);
    told(&bench.closed(id), CloseReason::Io, Some(libc::ECONNRESET));
}

#[test]
fn panic() {
    let bench = Bench::raw(|_| Script::new().on_message(|_, _, _| blow_up("as planned")));
    let (mut stream, id) = bench.connect();
    stream.write_all(b"now").unwrap();
    told(&bench.closed(id), CloseReason::Panic, None);
    assert_eq!(bench.panicked(), "as planned");
}

#[test]
fn shutdown() {
    let (bench, mut stream, id) = silent(one_reactor());
    bench.poster().shutdown();
    told(&bench.closed(id), CloseReason::Shutdown, None);
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn handshake() {
    let proxied = raw().proxy_protocol(["127.0.0.1"]);
    let bench = Bench::start(one_listener(proxied).handshake_timeout(SOON), |_| Script::new());
    let mut stream = connect(bench.addr());
    let told = bench.expect("its close", |event| match event {
        Event::Close(gone) => Some((gone.reason, gone.errno, gone.opened)),
        _ => None,
    });
    assert_eq!(told, (CloseReason::Handshake, None, false));
    assert_eq!(read_to_end(&mut stream), b"");
}

#[test]
fn slow_peer() {
    let lines = raw().framing(Framing::lines(1000));
    let builder = one_listener(lines).minimum_rate(100, Duration::from_millis(100));
    let (bench, mut stream, id) = silent(builder);
    stream.write_all(b"the beginning of a line").unwrap();
    told(&bench.closed(id), CloseReason::SlowPeer, None);
    assert!(is_reset(&mut stream));
}

#[test]
fn detached() {
    let (bench, mut stream, id) = silent(one_reactor());
    let (heir, inherited) = mpsc::channel();
    assert!(bench.ask(id, move |conn, _| conn.detach(move |detached| heir.send(detached).unwrap())));
    told(&bench.closed(id), CloseReason::Detached, None);
    let mut socket = TcpStream::from(inherited.recv_timeout(LIMIT).unwrap().socket);
    socket.write_all(b"alive").unwrap();
    drop(socket);
    assert_eq!(read_to_end(&mut stream), b"alive");
}
