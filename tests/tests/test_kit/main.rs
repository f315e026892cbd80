//! The test kit can be trusted: one handler, driven by one script over sockets and in the kit's memory, is told the same
//! things in the same order, its clients receive the same bytes and ends, and the engine counts the same.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a failure is a panic")]

mod clients;
mod diary;
mod endings;

use std::time::Duration;

use wheelhouse::{Builder, Counters, Engine, Framing, LengthDelimited, Listener, Policy};

use clients::{Clients, InMemory, OverSockets};
use diary::Pages;

/// The water marks of all scripts.
const LOW: usize = 16 << 10;
const HIGH: usize = 64 << 10;
const LIMIT: usize = 256 << 10;

const SOON: Duration = Duration::from_secs(1);

fn listener(framing: Framing) -> Listener {
    Listener::new("tcp://127.0.0.1:0").framing(framing).water_marks(LOW, HIGH, LIMIT)
}

fn engine(listener: Listener) -> Builder {
    Engine::builder().listen(listener).reactors(1).send_buffer(8 << 10).receive_buffer(64 << 10)
}

fn lines() -> Builder {
    engine(listener(Framing::lines(80)))
}

/// Runs the script both ways; what the handler has written, and what the engine has counted.
#[track_caller]
fn told(builder: Builder, script: impl Fn(&mut dyn Clients)) -> (Vec<String>, Counters) {
    let run = |clients: Box<dyn Clients>, pages: &Pages| {
        let mut clients = clients;
        script(&mut *clients);
        let counters = clients.stop();
        (pages.all(), counters)
    };
    let pages = Pages::default();
    let over_sockets = run(Box::new(OverSockets::new(builder.clone(), pages.clone())), &pages);
    let pages = Pages::default();
    let in_memory = run(Box::new(InMemory::new(builder, pages.clone())), &pages);
    assert_eq!(
        in_memory.0, over_sockets.0,
        "what the handler was told: in memory (left), over sockets (right)"
    );
    (in_memory.0, agreed(in_memory.1, over_sockets.1))
}

/// What both must have counted alike.
#[track_caller]
fn agreed(in_memory: Counters, over_sockets: Counters) -> Counters {
    let counts = |of: Counters| {
        [
            ("accepted", of.accepted),
            ("dialled", of.dialled),
            ("opened", of.opened),
            ("closed", of.closed),
            ("connections", of.connections),
            ("messages in", of.messages_in),
            ("bytes in", of.bytes_in),
            ("sends refused", of.sends_refused),
            ("late commands", of.late_commands),
            ("panics", of.panics),
            ("buffered", of.buffered),
        ]
    };
    assert_eq!(counts(in_memory), counts(over_sockets), "in memory (left), over sockets (right)");
    in_memory
}

#[test]
fn lines_are_lines_however_they_are_cut() {
    let (pages, counters) = told(lines(), |clients| {
        let client = clients.open();
        clients.send(client, b"sa");
        clients.send(client, b"y one\r\nsay two\nwh");
        assert_eq!(clients.hear(client, "two\n"), "one\ntwo\n");
        clients.send(client, b"o\nsay three\nrest");
        assert_eq!(clients.hear(client, "three\n"), "what?\nthree\n");
        clients.eof(client);
        clients.hear_fin(client);
    });
    let expected = [
        "start",
        "0.0.1 open, listener Some(0), tag 0",
        "0.0.1 message \"say one\"",
        "0.0.1 message \"say two\"",
        "0.0.1 message \"who\"",
        "0.0.1 message \"say three\"",
        "0.0.1 eof",
        "0.0.1 closed: closed by the peer",
        "stop",
    ];
    assert_eq!(pages, expected);
    assert_eq!((counters.bytes_in, counters.bytes_out), (35, 20));
}

#[test]
fn raw_bytes_that_are_left_are_offered_again_with_the_next() {
    let (pages, _) = told(engine(listener(Framing::raw())), |clients| {
        let client = clients.open();
        clients.send(client, b"abcdefg");
        assert_eq!(clients.hear(client, "d"), "abcd");
        clients.send(client, b"hi");
        assert_eq!(clients.hear(client, "h"), "efgh");
        clients.eof(client);
        clients.hear_fin(client);
    });
    assert_eq!(pages[2..4], ["0.0.1 data \"abcd\", 3 left", "0.0.1 data \"efgh\", 1 left"]);
}

#[test]
fn messages_larger_than_the_read_buffer_arrive_whole() {
    let framing = Framing::length_delimited(LengthDelimited::u32_be().max_body(1 << 20));
    let (pages, counters) = told(engine(listener(framing)).read_buffer(1024), |clients| {
        let client = clients.open();
        let order = format!("say {}", "x".repeat(10_000));
        clients.send(client, &(order.len() as u32).to_be_bytes());
        for part in order.as_bytes().chunks(1_777) {
            clients.send(client, part);
        }
        assert_eq!(clients.hear(client, "x".repeat(10_000).as_str()).len(), 10_004);
        clients.eof(client);
        clients.hear_fin(client);
    });
    assert!(pages[2].len() > 10_000, "{pages:#?}");
    assert_eq!(counters.messages_in, 1);
}

#[test]
fn a_client_that_does_not_read_fills_the_queue_and_writable_tells_when_it_reads() {
    let (pages, _) = told(lines(), |clients| {
        let client = clients.open();
        clients.stop_reading(client);
        clients.send(client, b"flood\nsay one more\n");
        clients.wait("0.0.1 Full", SOON);
        let heard = clients.hear(client, "one more\nenough\n");
        assert!(heard.len() > HIGH);
        assert_eq!(heard.lines().filter(|line| line.len() == 999).count(), heard.lines().count() - 2);
    });
    let expected = [
        "0.0.1 message \"flood\"",
        "0.0.1 Full",
        "0.0.1 message \"say one more\"",
        "0.0.1 writable, low: true",
    ];
    assert_eq!(pages[2..6], expected, "{pages:#?}");
}

#[test]
fn a_queue_at_its_limit_refuses_or_closes_as_the_policy_says() {
    let (pages, counters) = told(lines(), |clients| {
        let client = clients.open();
        clients.stop_reading(client);
        clients.send(client, b"drown\n");
        clients.wait("0.0.1 Refused(OverLimit)", SOON);
    });
    assert_eq!(counters.sends_refused, 1);
    assert_eq!(pages[4], "0.0.1 closed: the engine stops", "{pages:#?}");

    let (pages, _) = told(engine(listener(Framing::lines(80)).policy(Policy::Close)), |clients| {
        let client = clients.open();
        clients.stop_reading(client);
        clients.send(client, b"drown\n");
        clients.wait("0.0.1 closed: the outbound queue went over its limit", SOON);
        clients.hear_reset(client);
    });
    assert_eq!(pages[3], "0.0.1 Refused(OverLimit)", "{pages:#?}");
}

#[test]
fn what_is_on_hold_comes_again_and_in_order() {
    let (pages, _) = told(lines(), |clients| {
        let client = clients.open();
        clients.send(client, b"hold\nsay next\n");
        clients.wait("0.0.1 message \"hold\"", SOON);
        clients.handle().resume(clients.id(client));
        assert_eq!(clients.hear(client, "next\n"), "next\n");
        clients.send(client, b"pause\nsay last\n");
        clients.wait("0.0.1 message \"pause\"", SOON);
        clients.send(client, b"say the very last\n");
        clients.handle().resume(clients.id(client));
        assert_eq!(clients.hear(client, "very last\n"), "last\nthe very last\n");
    });
    let expected = [
        "message \"hold\"",
        "message \"hold\"",
        "is ready for it",
        "message \"say next\"",
        "message \"pause\"",
    ];
    assert_eq!(pages[2..7], expected.map(|entry| format!("0.0.1 {entry}")));
}

#[test]
fn timers_fire_in_the_order_of_their_times_and_the_cancelled_do_not() {
    let (pages, _) = told(lines(), |clients| {
        let client = clients.open();
        // In one piece, and each later than those before it: in whichever moment they are set, this is their order.
        clients.send(
            client,
            b"timer 1 10\ntimer 2 20\ncancel 2\ncancel 2\ntimer 3 50\ntimer 1 90\ntimer 4 120\n",
        );
        clients.wait("0.0.1 timer 4", SOON);
    });
    let entries = ["cancelled: true", "cancelled: false", "timer 3", "timer 1", "timer 4"];
    let noted: Vec<&str> = pages.iter().filter_map(|entry| entry.strip_prefix("0.0.1 ")).collect();
    let noted: Vec<&str> = noted.into_iter().filter(|entry| entries.contains(entry)).collect();
    assert_eq!(noted, entries, "{pages:#?}");
}

#[test]
fn what_is_posted_and_broadcast_leaves_in_one_order_with_what_is_sent() {
    let (pages, _) = told(lines(), |clients| {
        let (one, two) = (clients.open(), clients.open());
        clients.send(one, b"later second\n");
        assert_eq!(clients.hear(one, "second\n"), "first\nsecond\n");
        clients.send(two, b"say before\nall to all\nsay after\n");
        assert_eq!(clients.hear(two, "after\n"), "before\nto all\nafter\n");
        assert_eq!(clients.hear(one, "to all\n"), "to all\n");
        let (handle, ids) = (clients.handle(), [clients.id(two), clients.id(one)]);
        handle.send_many(&ids, "to many").unwrap();
        handle.send(ids[0], "to one").unwrap();
        assert_eq!(clients.hear(two, "to one\n"), "to many\nto one\n");
        assert_eq!(clients.hear(one, "to many\n"), "to many\n");
        handle.reset(ids[1]);
        clients.hear_reset(one);
        clients.wait("0.0.1 closed: closed locally", SOON);
        handle.send(ids[1], "too late").unwrap();
        handle.finish(ids[0]);
        clients.hear_fin(two);
        clients.wait("0.1.2 closed: closed locally", SOON);
    });
    assert_eq!(pages.len(), 10, "{pages:#?}");
}

#[test]
fn who_is_dialled_answers_or_refuses() {
    let (pages, counters) = told(lines(), |clients| {
        let client = clients.open();
        let order = format!("dial {}\n", clients.address(true));
        clients.send(client, order.as_bytes());
        let dialled = clients.answer().expect("accepted");
        assert_eq!(clients.hear(dialled, "early\n"), "sent early\n");
        clients.send(dialled, b"say it works\n");
        assert_eq!(clients.hear(dialled, "works\n"), "it works\n");
        clients.eof(dialled);
        clients.hear_fin(dialled);
        let order = format!("dial {}\n", clients.address(false));
        clients.send(client, order.as_bytes());
        assert_eq!(clients.answer(), None);
        clients.wait("0.1.3 closed: connect failed, ConnectionRefused", SOON);
    });
    assert_eq!(pages[3], "0.1.2 open, listener None, tag 7", "{pages:#?}");
    assert_eq!((counters.dialled, counters.opened, counters.closed), (2, 2, 3));
}

#[test]
fn a_connection_goes_on_in_another_framing() {
    let (pages, _) = told(lines(), |clients| {
        let client = clients.open();
        clients.send(client, b"say a line\nframe\n\0\0\0\x0bsay counted\0\0\0\x0fsay");
        assert_eq!(clients.hear(client, "counted"), "a line\n\0\0\0\x07counted");
        clients.send(client, b" once again!");
        assert_eq!(clients.hear(client, "!"), "\0\0\0\x0bonce again!");
    });
    assert_eq!(pages.len(), 8, "{pages:#?}");
}

#[test]
fn pings_are_answered_and_who_answers_none_is_idle() {
    let framing = Framing::lines(80).with_heartbeat("PING", "PONG");
    let (every, timeout) = (Duration::from_millis(100), Duration::from_millis(250));
    let (pages, _) = told(engine(listener(framing).heartbeat(every, timeout)), |clients| {
        let client = clients.open();
        clients.send(client, b"PING\n");
        clients.hear(client, "PONG\n");
        clients.wait_for_output(every);
        clients.hear(client, "PING\n");
        clients.wait("0.0.1 closed: idle for too long", SOON);
    });
    assert_eq!(pages[2], "0.0.1 Ping([])", "{pages:#?}");
}

#[test]
fn a_proxys_client_is_who_its_header_says() {
    let behind_proxy = listener(Framing::lines(80)).proxy_protocol(["127.0.0.1"]);
    let (pages, _) = told(engine(behind_proxy), |clients| {
        let client = clients.open_with(b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\nsay hello\n");
        assert_eq!(clients.hear(client, "hello\n"), "hello\n");
    });
    assert_eq!(pages[2], "0.0.1 for 192.0.2.7:1234", "{pages:#?}");
}

#[test]
fn what_is_taken_out_takes_along_what_was_read() {
    let (pages, _) = told(lines(), |clients| {
        let client = clients.open();
        clients.send(client, b"detach\nthe rest");
        clients.wait("detached, \"the rest\" unread, 0 unsent", SOON);
    });
    assert_eq!(pages[3], "0.0.1 closed: taken out of the engine", "{pages:#?}");
}

#[test]
fn a_drain_waits_for_those_who_are_there() {
    let (pages, _) = told(lines(), |clients| {
        let (one, two) = (clients.open(), clients.open());
        clients.handle().drain(Duration::from_secs(60));
        clients.wait("stopping", Duration::ZERO);
        clients.send(one, b"say still here\n");
        assert_eq!(clients.hear(one, "here\n"), "still here\n");
        clients.eof(one);
        clients.hear_fin(one);
        clients.wait("0.0.1 closed: closed by the peer", Duration::ZERO);
        clients.eof(two);
        clients.wait("stop", Duration::ZERO);
    });
    assert_eq!(pages.len(), 10, "{pages:#?}");
    let (pages, _) = told(lines(), |clients| {
        clients.open();
        clients.handle().drain(Duration::from_millis(50));
        clients.wait("stop", SOON);
    });
    assert_eq!(pages[2..4], ["stopping", "0.0.1 closed: the engine stops"], "{pages:#?}");
}
