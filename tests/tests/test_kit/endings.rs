//! How connections end: each reason and what the client is told of it, both ways.

use std::time::Duration;

use wheelhouse::Framing;

use crate::{SOON, engine, lines, listener, told};

#[test]
fn every_deadline_of_the_engine_closes_with_its_reason() {
    let builder = || engine(listener(Framing::lines(80)).authentication(Duration::from_millis(100)));
    let deadlines = [
        (builder(), "", "not authenticated in time"),
        (lines().idle_timeout(Duration::from_millis(50)), "", "idle for too long"),
        (lines(), "idle 50\n", "idle for too long"),
        (lines().lifetime(Duration::from_millis(50)), "", "reached its greatest age"),
        (lines().write_stall_timeout(Some(Duration::from_millis(50))), "flood\n", "the peer stopped reading"),
        (
            lines().minimum_rate(1_000, Duration::from_millis(100)),
            "half a li",
            "the peer was slower than the minimum rate",
        ),
    ];
    for (builder, order, reason) in deadlines {
        let (pages, _) = told(builder, |clients| {
            let client = clients.open();
            clients.stop_reading(client);
            clients.send(client, order.as_bytes());
            clients.wait(&format!("0.0.1 closed: {reason}"), SOON);
        });
        assert_eq!(pages.last().unwrap(), "stop");
    }
}

#[test]
fn finishing_ends_with_fin_and_waits_for_the_clients() {
    let (pages, _) = told(lines(), |clients| {
        let client = clients.open();
        clients.send(client, b"say bye\nfinish\nsay ignored\n");
        assert_eq!(clients.hear(client, "bye\n"), "bye\n");
        clients.hear_fin(client);
        clients.wait("0.0.1 closed: closed locally", SOON);
    });
    assert_eq!(pages[4], "0.0.1 closed: closed locally", "{pages:#?}");
}

#[test]
fn whoever_leaves_fin_unanswered_is_closed_after_the_close_timeout() {
    let (pages, _) = told(lines().close_timeout(Duration::from_millis(50)), |clients| {
        let client = clients.open();
        clients.leave_fin_unanswered(client);
        clients.send(client, b"finish\n");
        clients.hear_fin(client);
        clients.send(client, b"this is discarded\n");
        clients.wait("0.0.1 closed: the peer did not answer the close", SOON);
    });
    assert_eq!(pages.len(), 5, "{pages:#?}");
}

#[test]
fn closing_with_input_unread_resets_and_without_it_says_fin() {
    let (pages, _) = told(lines(), |clients| {
        let (clean, unread) = (clients.open(), clients.open());
        clients.send(clean, b"say bye\nclose\n");
        assert_eq!(clients.hear(clean, "bye\n"), "bye\n");
        clients.hear_fin(clean);
        clients.send(unread, b"pause\n");
        clients.wait("0.1.2 message \"pause\"", SOON);
        clients.send(unread, b"nobody reads this\n");
        clients.handle().close(clients.id(unread));
        clients.hear_reset(unread);
    });
    assert_eq!(
        pages.iter().filter(|entry| entry.ends_with("closed: closed locally")).count(),
        2,
        "{pages:#?}"
    );
}

#[test]
fn a_reset_is_a_reset_from_either_side() {
    let (pages, _) = told(lines(), |clients| {
        let (ours, theirs, paused) = (clients.open(), clients.open(), clients.open());
        clients.send(ours, b"say lost or not\nreset\n");
        clients.hear_reset(ours);
        clients.reset(theirs);
        clients.wait("0.1.2 closed: I/O error, ConnectionReset", SOON);
        // Nobody reads, and still it is found out.
        clients.send(paused, b"pause\n");
        clients.wait("0.2.3 message \"pause\"", SOON);
        clients.reset(paused);
        clients.wait("0.2.3 closed: I/O error, ConnectionReset", SOON);
    });
    assert_eq!(pages.iter().filter(|entry| entry.contains("closed: ")).count(), 3, "{pages:#?}");
}

#[test]
fn half_closed_connections_live_on_in_either_direction() {
    let (pages, _) = told(lines(), |clients| {
        let (sender, receiver) = (clients.open(), clients.open());
        // The client has said FIN, and the engine still sends.
        clients.send(receiver, b"stay\n");
        clients.eof(receiver);
        clients.wait("0.1.2 eof", SOON);
        clients.send(sender, b"tell you are still there\n");
        assert_eq!(clients.hear(receiver, "there\n"), "you are still there\n");
        // The engine has said FIN, and the client still sends.
        clients.leave_fin_unanswered(sender);
        clients.send(sender, b"shut\n");
        clients.hear_fin(sender);
        clients.send(sender, b"tell and so am I\n");
        assert_eq!(clients.hear(receiver, "I\n"), "and so am I\n");
        clients.eof(sender);
        clients.wait("0.0.1 closed: closed by the peer", SOON);
        clients.handle().finish(clients.id(receiver));
        clients.hear_fin(receiver);
        clients.wait("0.1.2 closed: closed by the peer", SOON);
    });
    assert_eq!(pages.len(), 12, "{pages:#?}");
}

#[test]
fn fin_behind_what_nobody_has_read_is_told_after_it() {
    let (pages, _) = told(lines(), |clients| {
        let client = clients.open();
        clients.send(client, b"pause\n");
        clients.wait("0.0.1 message \"pause\"", SOON);
        clients.send(client, b"say not read yet\n");
        clients.eof(client);
        clients.handle().resume(clients.id(client));
        assert_eq!(clients.hear(client, "yet\n"), "not read yet\n");
        clients.hear_fin(client);
    });
    assert_eq!(pages[4..6], ["0.0.1 eof", "0.0.1 closed: closed by the peer"], "{pages:#?}");
}

#[test]
fn a_panic_closes_its_connection_and_no_other() {
    let (pages, counters) = told(lines(), |clients| {
        let (unlucky, other) = (clients.open(), clients.open());
        clients.send(unlucky, b"panic\n");
        clients.hear_fin(unlucky);
        clients.send(other, b"say alive\n");
        assert_eq!(clients.hear(other, "alive\n"), "alive\n");
    });
    assert_eq!(
        pages[4..6],
        ["panic Some(\"as ordered\")", "0.0.1 closed: a callback panicked"],
        "{pages:#?}"
    );
    assert_eq!(counters.panics, 1);
}

#[test]
fn a_line_that_is_too_long_is_a_protocol_error_behind_the_last_answer() {
    let (pages, _) = told(lines(), |clients| {
        let client = clients.open();
        clients.send(client, &[b"say last answer\n", &[b'x'; 90][..]].concat());
        assert_eq!(clients.hear(client, "answer\n"), "last answer\n");
        clients.hear_fin(client);
        clients.wait("0.0.1 closed: protocol error, InvalidData", SOON);
    });
    assert_eq!(pages.len(), 5, "{pages:#?}");
}

#[test]
fn more_input_than_the_limit_is_an_overflow() {
    let (pages, _) = told(engine(listener(Framing::lines(10_000))).inbound_limit(1_000), |clients| {
        let client = clients.open();
        clients.send(client, &[b'x'; 1_500]);
        clients.hear_reset(client);
    });
    assert_eq!(pages[2], "0.0.1 closed: too much unused input");
}

#[test]
fn stopping_closes_everyone_and_then_the_handler_is_told() {
    let (pages, counters) = told(lines(), |clients| {
        let (one, two) = (clients.open(), clients.open());
        clients.handle().shutdown();
        clients.hear_fin(two);
        clients.hear_fin(one);
        clients.wait("stop", SOON);
    });
    assert_eq!(pages[3..], ["0.0.1 closed: the engine stops", "0.1.2 closed: the engine stops", "stop"]);
    assert_eq!(counters.closed, 2);
}
