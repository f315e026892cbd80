//! What is traced: each event of a connection's life with its id, as text, and why it ended. Each test has a process of its
//! own, for what listens to events listens to all there are.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::{Read, Write},
    sync::{Arc, Mutex, mpsc::channel},
    time::Duration,
};

use fixture::*;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use wheelhouse::{Action, Builder, ConnId, Connect, Engine, Framing, Listener, On, Reply};
use wheelhouse_tests::{blow_up, linger_zero};

/// One event: its level, and its fields as text.
#[derive(Clone, Debug)]
struct Traced {
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

impl Traced {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn message(&self) -> &str {
        self.field("message")
    }
}

impl Visit for Traced {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Keeps what the engine tells.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Traced>>>);

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wheelhouse")
    }

    fn event(&self, event: &Event<'_>) {
        let mut traced = Traced { level: *event.metadata().level(), fields: BTreeMap::new() };
        event.record(&mut traced);
        self.0.lock().unwrap().push(traced);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Recorder {
    /// Listens from now on.
    fn start() -> Recorder {
        let recorder = Recorder::default();
        tracing::subscriber::set_global_default(recorder.clone()).unwrap();
        recorder
    }

    /// Waits for the only event of that message and connection.
    fn of(&self, message: &str, id: ConnId) -> Traced {
        let is_it = |traced: &&Traced| traced.message() == message && traced.field("id") == id.to_string();
        eventually(message, || self.0.lock().unwrap().iter().any(|traced| is_it(&traced)));
        let all = self.0.lock().unwrap();
        let found: Vec<_> = all.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    /// Waits for an event of that message.
    fn any(&self, message: &str) -> Traced {
        let is_it = |traced: &&Traced| traced.message() == message;
        eventually(message, || self.0.lock().unwrap().iter().any(|traced| is_it(&traced)));
        self.0.lock().unwrap().iter().find(is_it).unwrap().clone()
    }
}

fn one(listener: Listener) -> Builder {
    Engine::builder().listen(listener).reactors(1)
}

fn raw() -> Listener {
    Listener::new("tcp://127.0.0.1:0")
}

#[test]
fn opened_and_closed_are_told_with_the_id_and_the_reason() {
    alone("opened_and_closed_are_told_with_the_id_and_the_reason", || {
        let recorder = Recorder::start();
        let (server, ids) = telling_ids(one(raw()));
        let (mut client, id) = client(&server, &ids);
        echo(&mut client, b"hello");
        assert_eq!(recorder.of("opened", id).level, Level::TRACE);
        drop(client);
        let closed = recorder.of("closed", id);
        assert_eq!((closed.level, closed.field("reason")), (Level::DEBUG, "closed by the peer"));
        assert_eq!((closed.field("error"), closed.field("unsent")), ("None", "0"));
        let (reset, id) = fixture::client(&server, &ids);
        linger_zero(&reset);
        drop(reset);
        let closed = recorder.of("closed", id);
        assert_eq!(closed.field("reason"), "I/O error");
        assert!(closed.field("error").contains("ConnectionReset"), "{closed:?}");
    });
}

#[test]
fn what_was_never_sent_is_told() {
    alone("what_was_never_sent_is_told", || {
        let recorder = Recorder::start();
        let (told, closes) = channel();
        let server = serve(local().reactors(1).send_buffer(8 << 10), move |_| {
            let told = told.clone();
            Script::<()>::new()
                .message(|conn, _, _| {
                    conn.send(vec![0; 1 << 20]);
                    Action::Reset
                })
                .close(move |closed, ()| tell(&told, (closed.id(), closed.unsent())))
        });
        let mut client = connect_with_window(server.at(), 4 << 10);
        client.write_all(b"now").unwrap();
        let (id, unsent) = next(&closes);
        assert!(unsent > 500_000);
        assert_eq!(recorder.of("closed", id).field("unsent"), unsent.to_string());
    });
}

#[test]
fn a_broken_protocol_is_told_with_the_rule() {
    alone("a_broken_protocol_is_told_with_the_rule", || {
        let recorder = Recorder::start();
        let (server, ids) = telling_ids(one(raw().framing(Framing::lines(4))));
        let (mut client, id) = client(&server, &ids);
        client.write_all(b"too long\n").unwrap();
        let told = recorder.of("protocol error", id);
        assert_eq!(told.field("error"), "a line of more than 4 B");
        read_to_end(&mut client);
        drop(client);
        assert_eq!(recorder.of("closed", id).field("reason"), "protocol error");
        // And that of a proxy, which is broken before there is a connection to speak of.
        let (told, closes) = channel();
        let server = serve(one(raw().proxy_protocol(["127.0.0.1"])), move |_| {
            let told = told.clone();
            Script::<()>::new().close(move |closed, ()| tell(&told, closed.id()))
        });
        server.connect().write_all(b"no header").unwrap();
        let id = next(&closes);
        assert!(recorder.of("no PROXY header", id).field("error").contains("no header"));
    });
}

#[test]
fn a_connection_that_gives_way_is_told_with_what_it_held() {
    alone("a_connection_that_gives_way_is_told_with_what_it_held", || {
        let recorder = Recorder::start();
        let builder = one(raw().framing(Framing::lines(1 << 20))).buffer_memory(64 << 10);
        let (server, ids) = telling_ids(builder);
        let (mut client, id) = client(&server, &ids);
        let _ = client.write_all(&[b'x'; 200_000]);
        let told = recorder.of("out of buffer memory: a connection gives way", id);
        assert_eq!(told.level, Level::WARN);
        assert!(told.field("held").parse::<usize>().unwrap() >= 32 << 10, "{told:?}");
        assert_eq!(recorder.of("closed", id).field("reason"), "out of buffer memory");
    });
}

#[test]
fn a_panic_is_told_with_its_words_and_its_connection() {
    alone("a_panic_is_told_with_its_words_and_its_connection", || {
        let recorder = Recorder::start();
        let (told, ids) = channel();
        let server = serve(one(raw()), move |_| {
            let told = told.clone();
            Script::<()>::new()
                .open(move |conn, _| {
                    tell(&told, conn.id());
                    Action::Continue
                })
                .message(|_, _, _| blow_up("as planned"))
                .reactor_timer(|_, _| blow_up("by itself"))
        });
        let mut client = server.connect();
        let id = next(&ids);
        client.write_all(b"now").unwrap();
        assert_eq!(recorder.of("closed", id).field("reason"), "a callback panicked");
        let panics = |words: &str| {
            let all = recorder.0.lock().unwrap();
            all.iter().find(|told| told.fields.values().any(|value| value == words)).cloned()
        };
        let told = panics("as planned").expect("the panic's own event");
        assert_eq!((told.level, told.field("id")), (Level::ERROR, &*id.to_string()));
        server.ask(0, |_, reactor| reactor.set_timer(wheelhouse::TimerKind(1), Duration::ZERO));
        eventually("the other one is told", || panics("by itself").is_some());
        assert_eq!(panics("by itself").unwrap().field("id"), "", "it was no connection's");
    });
}

#[test]
fn what_is_shed_dialled_and_drained_is_told() {
    alone("what_is_shed_dialled_and_drained_is_told", || {
        let recorder = Recorder::start();
        let (server, ids) = telling_ids(local().reactors(1).max_connections(1));
        let (first, _) = client(&server, &ids);
        let mut shed = server.connect();
        read_to_end(&mut shed);
        let peer = recorder.any("a limit is met: a connection is shed");
        assert!(peer.field("peer").contains(&shed.local_addr().unwrap().to_string()), "{peer:?}");
        let (peer, url) = listener();
        server.handle.connect(On::Any, Connect::to(&url)).unwrap();
        let accepted = accept(&peer);
        let dialled = next(&ids);
        assert_eq!(recorder.of("dialling", dialled).field("url"), url);
        server.handle.drain(Duration::from_secs(3600));
        assert_eq!(recorder.any("draining").level, Level::INFO);
        drop((first, accepted));
        eventually("all are gone", || server.handle.count() == 0);
    });
}

#[test]
fn what_a_reply_cannot_carry_is_told_by_its_name_and_the_rest_is_sent() {
    alone("what_a_reply_cannot_carry_is_told_by_its_name_and_the_rest_is_sent", || {
        let recorder = Recorder::start();
        let server = serve(one(Listener::new("ws://127.0.0.1:0")), |_| {
            Script::<()>::new().request(|_, (), request| {
                let reply = if request.is_upgrade() { Reply::accept() } else { Reply::status(200) };
                let reply = reply.header("X Bad", "a").header("X-Lines", "two\r\nlines");
                reply.header("Content-Length", "7").header("X-Good", "sent").header("Upgrade", "h2c")
            })
        });
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        // Upgrade is the acceptance's own; elsewhere it says what else could be spoken.
        for (headers, status, written_here) in [(upgrade, "101", true), ("", "200", false)] {
            let mut client = server.connect();
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
            client.write_all(request.as_bytes()).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.extend_from_slice(&byte);
            }
            let head = String::from_utf8(head).unwrap();
            assert!(head.contains("\r\nX-Good: sent\r\n") && !head.contains("lines"), "{head}");
            assert_eq!(head.contains("\r\nUpgrade: h2c\r\n"), !written_here, "{head}");
            let mut told = vec!["\"X Bad\"", "X-Lines", "Content-Length"];
            told.extend(written_here.then_some("Upgrade"));
            let all = recorder.0.lock().unwrap();
            let left_out = all.iter().filter(|traced| {
                traced.message() == "a reply's header is left out" && traced.field("status") == status
            });
            let errors: Vec<_> = left_out.map(|traced| (traced.level, traced.field("error"))).collect();
            assert_eq!(errors.len(), told.len(), "{errors:?}");
            for ((level, error), name) in errors.iter().zip(told) {
                assert!(*level == Level::WARN && error.contains(name), "{name}: {error}");
            }
        }
    });
}
