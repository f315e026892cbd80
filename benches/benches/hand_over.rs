//! From connect to the first answer: the main reactor hands the connection over, or the sub-reactor
//! accepts it itself. What `run n4` measures in CPU time, here in time as one client sees it.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use socket2::SockRef;
use wheelhouse::{Action, Address, Conn, Engine, Handler, Message};

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
        conn.send(message);
        Action::Continue
    }
}

fn first_answer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connect to first answer");
    for (name, reuse_port) in [("handed over", false), ("reuse-port", true)] {
        let listen = Engine::builder().listen("tcp://127.0.0.1:0").reactors(1).reuse_port(reuse_port);
        let engine = listen.build(|_| Echo).unwrap();
        let Address::Tcp(address) = engine.addresses()[0] else { unreachable!("only TCP is listened on") };
        let handle = engine.handle();
        let running = engine.start().unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| visit(address)));
        handle.shutdown();
        running.join().unwrap();
    }
    group.finish();
}

/// One byte there and back. A reset at the end: ports in TIME_WAIT would run out within seconds.
fn visit(address: SocketAddr) {
    let mut socket = TcpStream::connect(address).unwrap();
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    socket.write_all(b"?").unwrap();
    socket.read_exact(&mut [0]).unwrap();
}

criterion_group!(benches, first_answer);
criterion_main!(benches);
