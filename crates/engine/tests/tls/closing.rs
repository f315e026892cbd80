//! How a connection ends: `close_notify` either way, or without.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use rustls_stable::{
    AlertDescription, Error as StableError,
    version::{TLS12, TLS13},
};
use wheelhouse::{
    Action, CloseReason, Conn, ConnId, Engine, Framing, Handler, Listener, ListenerId, Message, Tls,
    TlsError, internals::Phase, testing::Bench,
};

use crate::{
    ends::{Theirs, carry, client_config},
    pki::Authority,
    records::open,
};

#[test]
fn close_notify_of_the_peer_closes_its_way_only() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        client.send(b"last words");
        client.conn.send_close_notify();
        server.give(&client.take_out());
        assert_eq!((&server.plain[..], &server.phase), (&b"last words"[..], &Phase::Closed));
        server.send(b"an answer");
        carry(&mut server, &mut client);
        assert_eq!(client.plain, b"an answer");
    }
}

#[test]
fn nothing_after_close_notify_is_plaintext() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        client.send(b"before");
        client.conn.send_close_notify();
        let mut wire = client.take_out();
        wire.extend_from_slice(b"\x17\x03\x03\x00\x10GET / HTTP/1.1\r\n");
        server.give(&wire);
        server.give(b"anything at all");
        assert_eq!((&server.plain[..], &server.phase), (&b"before"[..], &Phase::Closed));
        assert!(server.left.is_empty() && server.out.is_empty());
    }
}

#[test]
fn our_close_notify_reaches_the_peer_once_and_ends_sending() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        server.send(b"bye");
        server.session.close_notify(&mut server.out);
        let len = server.out.len();
        server.session.close_notify(&mut server.out);
        assert_eq!(server.out.len(), len, "once");
        assert_eq!(server.session.send(&[b"more"], &mut server.out), Err(TlsError::Closed));
        client.give(&server.take_out());
        assert_eq!((&client.plain[..], client.is_closed), (&b"bye"[..], true));

        client.send(b"still talking");
        server.give(&client.take_out());
        assert_eq!((&server.plain[..], &server.phase), (&b"still talking"[..], &Phase::Open));
    }
}

#[test]
fn a_stream_that_ends_without_close_notify_never_says_closed() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        client.send(b"whole");
        client.send(b"cut off");
        let wire = client.take_out();
        server.give(&wire[..wire.len() - 1]);
        assert_eq!((&server.plain[..], &server.phase), (&b"whole"[..], &Phase::Open));
        assert!(!server.left.is_empty());
    }
}

#[test]
fn the_plaintext_before_a_fault_is_delivered_with_it() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = open(version);
        client.send(b"good");
        let mut wire = client.take_out();
        client.send(b"forged");
        let mut forged = client.take_out();
        *forged.last_mut().unwrap() ^= 1;
        wire.append(&mut forged);
        server.give(&wire);
        assert_eq!((&server.plain[..], server.failure()), (&b"good"[..], &TlsError::NotAuthentic));
        assert!(!server.out.is_empty(), "the peer is told");
        assert_eq!(server.session.send(&[b"more"], &mut server.out), Err(TlsError::NotAuthentic));
        let told = server.take_out();
        server.give(b"anything");
        assert_eq!(server.failure(), &TlsError::NotAuthentic);
        assert!(server.out.is_empty(), "and told once");
        client.give(&told);
        assert_eq!(client.error, Some(StableError::AlertReceived(AlertDescription::BadRecordMac)));
    }
}

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), line: Message<'_>) -> Action {
        conn.send(line);
        Action::Continue
    }
}

/// What cannot be opened comes with the second of two reads that are served together.
#[test]
fn an_answer_leaves_though_what_comes_next_cannot_be_opened() {
    let authority = Authority::new();
    let builder = Engine::builder().listen(secured_lines(&authority)).read_buffer(1024);
    let mut bench = Bench::with_options(builder, |_| Echo);
    let (id, mut client) = opened(&mut bench, &authority);
    client.send(b"a question\n");
    let mut wire = client.take_out();
    client.send(&[b'.'; 1_500]);
    wire.extend(client.take_out());
    wire.extend([&b"\x17\x03\x03\x00\x28"[..], &[7; 40]].concat());
    bench.input(id, &wire);
    client.give(&bench.output(id));
    assert_eq!(client.plain, b"a question\n");
    assert_eq!(client.error, Some(StableError::AlertReceived(AlertDescription::BadRecordMac)));
    bench.eof(id);
    assert_eq!(bench.closed(id), Some(&CloseReason::Protocol));
}

/// Half-closes at the first line.
struct Half(Arc<AtomicU32>);

impl Handler for Half {
    type Session = ();

    fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action {
        self.0.fetch_add(1, Ordering::Relaxed);
        conn.shutdown_write();
        Action::Continue
    }
}

#[test]
fn nothing_is_said_behind_our_fin_whatever_the_peer_asks_for() {
    let authority = Authority::new();
    let lines = Arc::new(AtomicU32::new(0));
    let handler = Half(Arc::clone(&lines));
    let mut bench = Bench::with_options(Engine::builder().listen(secured_lines(&authority)), |_| handler);
    let (id, mut client) = opened(&mut bench, &authority);
    bench.answer_fin(id, false);
    client.send(b"half\n");
    bench.input(id, &client.take_out());
    client.give(&bench.output(id));
    assert!(client.is_closed && bench.output_ended(id));

    client.conn.refresh_traffic_keys().unwrap(); // and asks for ours
    client.send(b"and on\n");
    bench.input(id, &client.take_out());
    assert_eq!(lines.load(Ordering::Relaxed), 2);
    assert_eq!((bench.output(id), bench.closed(id)), (Vec::new(), None));
}

fn secured_lines(authority: &Authority) -> Listener {
    let pem = authority.signs(&["localhost"]);
    let tls = Tls::new(&*pem.certificate, &*pem.key).unwrap();
    Listener::new("tls://127.0.0.1:0").framing(Framing::lines(2_000)).tls(tls)
}

fn opened<H: Handler>(bench: &mut Bench<H>, authority: &Authority) -> (ConnId, Theirs) {
    let mut client = Theirs::client(client_config(authority, &[&TLS13], None, &[]), "localhost");
    let id = bench.open_on(ListenerId(0));
    while client.conn.is_handshaking() {
        bench.input(id, &client.take_out());
        client.give(&bench.output(id));
    }
    bench.input(id, &client.take_out());
    client.give(&bench.output(id));
    (id, client)
}
