//! TLS that begins in mid-life, over the test kit: what may begin it, and what it leaves as it was.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use rustls_stable::version::TLS13;
use wheelhouse::{Action, Conn, ConnId, Framing, Handler, Message, Tls, testing::Bench};

use crate::{
    ends::{Theirs, client_config},
    pki::Authority,
};

/// Does what a line says; tells of each how often it came.
struct Starter {
    tls: Tls,
    lines: Arc<AtomicU32>,
}

impl Handler for Starter {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), line: Message<'_>) -> Action {
        let times = self.lines.fetch_add(1, Ordering::Relaxed) + 1;
        match line.bytes() {
            b"shut, start" => {
                conn.shutdown_write();
                assert!(!conn.start_tls(&self.tls), "nothing more can be sent");
            }
            b"start, hold" if times == 1 => {
                assert!(conn.start_tls(&self.tls));
                return Action::Hold;
            }
            line => _ = conn.send(format!("{times}: {}", String::from_utf8_lossy(line))),
        }
        Action::Continue
    }
}

fn bench() -> (Bench<Starter>, ConnId, Authority, Arc<AtomicU32>) {
    let authority = Authority::new();
    let pem = authority.signs(&["localhost"]);
    let tls = Tls::new(&*pem.certificate, &*pem.key).unwrap();
    let lines = Arc::new(AtomicU32::new(0));
    let starter = Starter { tls, lines: Arc::clone(&lines) };
    let mut bench = Bench::new(|_| starter);
    let id = bench.open(Framing::lines(80));
    (bench, id, authority, lines)
}

#[test]
fn tls_does_not_begin_where_nothing_more_can_be_sent() {
    let (mut bench, id, ..) = bench();
    bench.answer_fin(id, false);
    bench.input(id, b"shut, start\n");
    bench.input(id, b"still a line\n");
    assert!(bench.output_ended(id) && bench.closed(id).is_none());
}

/// It is resumed while the handshake goes on, and the client says no more before it is answered.
#[test]
fn a_message_on_hold_comes_again_when_tls_is_there() {
    let (mut bench, id, authority, lines) = bench();
    bench.input(id, b"start, hold\n");
    bench.handle().resume(id);
    bench.run();
    assert_eq!(lines.load(Ordering::Relaxed), 1, "not yet");
    let mut client = Theirs::client(client_config(&authority, &[&TLS13], None, &[]), "localhost");
    while client.conn.is_handshaking() {
        bench.input(id, &client.take_out());
        client.give(&bench.output(id));
    }
    client.send(b"next\n");
    bench.input(id, &client.take_out());
    client.give(&bench.output(id));
    assert_eq!(String::from_utf8_lossy(&client.plain), "2: start, hold\n3: next\n");
}
