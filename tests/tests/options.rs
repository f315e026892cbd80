//! Options: a bad one is refused by its name, the value seen and what is allowed, before anything is opened.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{net::TcpListener, time::Duration};

use fixture::*;
use wheelhouse::{
    Balance, Builder, Connect, Deflate, Engine, Error, Framing, Listener, OPTIONS, On, Policy, WebSocket,
};

/// Sets the option of that name, as [`OPTIONS`] calls it; times are in ms.
fn set(builder: Builder, option: &str, value: u64) -> Option<Builder> {
    let (n, time) = (value as usize, Duration::from_millis(value));
    let second = Duration::from_secs(1);
    let marks = |low, high, limit| Listener::new("tcp://127.0.0.1:0").water_marks(low, high, limit);
    let heart = |every, timeout| {
        let framing = Framing::lines(80).with_heartbeat("PING", "PONG");
        Listener::new("tcp://127.0.0.1:0").framing(framing).heartbeat(every, timeout)
    };
    let web = |socket| Listener::new("ws://127.0.0.1:0").framing(Framing::websocket(socket));
    let deflate = |deflate| WebSocket::new().deflate(deflate);
    Some(match option {
        "reactors" => builder.reactors(n),
        "backlog" => builder.backlog(n),
        "accept_budget" => builder.accept_budget(n),
        "max_connections" => builder.max_connections(n),
        "keep_alive idle" => builder.keep_alive(time, second, 3),
        "keep_alive interval" => builder.keep_alive(second, time, 3),
        "keep_alive count" => builder.keep_alive(second, second, value as u32),
        "tcp_user_timeout" => builder.tcp_user_timeout(time),
        "receive_buffer" => builder.receive_buffer(n),
        "send_buffer" => builder.send_buffer(n),
        "read_buffer" => builder.read_buffer(n),
        "read_budget" => builder.read_budget(n),
        "inbound_limit" => builder.inbound_limit(n),
        "buffer_memory" => builder.buffer_memory(n),
        "water_marks low" => builder.listen(marks(n, n.max(1), n.max(1))),
        "water_marks high" => builder.listen(marks(0, n, n.max(1))),
        "water_marks limit" => builder.listen(marks(0, 1, n)),
        "mailbox" => builder.mailbox(n),
        "event_batch" => builder.event_batch(n),
        "idle_timeout" => builder.idle_timeout(time),
        "lifetime" => builder.lifetime(time),
        "authentication" => builder.listen(Listener::new("tcp://127.0.0.1:0").authentication(time)),
        "write_stall_timeout" => builder.write_stall_timeout(Some(time)),
        "close_timeout" => builder.close_timeout(time),
        "max_connections_per_address" => builder.max_connections_per_address(n),
        "handshake_timeout" => builder.handshake_timeout(time),
        "minimum_rate bytes" => builder.minimum_rate(n, second),
        "minimum_rate window" => builder.minimum_rate(1, time),
        "heartbeat every" => builder.listen(heart(time, time + Duration::from_millis(1))),
        "heartbeat timeout" => builder.listen(heart(Duration::from_millis(1), time)),
        "max_message" => builder.listen(web(WebSocket::new().max_message(n))),
        "max_frame" => builder.listen(web(WebSocket::new().max_frame(n))),
        "max_fragments" => builder.listen(web(WebSocket::new().max_fragments(n))),
        "max_controls" => builder.listen(web(WebSocket::new().max_controls(n))),
        "max_head" => builder.listen(web(WebSocket::new().max_head(n))),
        "max_headers" => builder.listen(web(WebSocket::new().max_headers(n))),
        "deflate level" => builder.listen(web(deflate(Deflate::new().level(value as u32)))),
        "deflate threshold" => builder.listen(web(deflate(Deflate::new().threshold(n)))),
        "deflate own_contexts" => builder.listen(web(deflate(Deflate::new().own_contexts(n)))),
        "deflate window_bits" => builder.listen(web(deflate(Deflate::new().window_bits(value as u32)))),
        "busy_poll" => builder.busy_poll(Duration::from_micros(value)),
        // A connection's, not an engine's.
        "timeout" => return None,
        other => panic!("an option that this test does not know: {other}"),
    })
}

#[test]
fn every_number_out_of_bounds_is_refused_with_what_is_allowed_before_a_socket_is_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    for known in OPTIONS {
        let bad = [known.min.checked_sub(1), Some(0).filter(|_| known.min > 0), Some(known.max + 1)];
        let is_narrow = matches!(known.name, "keep_alive count" | "deflate level" | "deflate window_bits");
        let absurd = if is_narrow { u64::from(u32::MAX) } else { u64::MAX };
        for value in bad.into_iter().chain([Some(absurd)]).flatten() {
            // The port is taken: had a socket been opened before the option was looked at, that would be the error.
            let builder = Engine::builder().listen(taken.as_str());
            let Some(builder) = set(builder, known.name, value) else { continue };
            let error = refusal(builder);
            let Error::BadOption { option, value: seen, allowed } = &error else {
                panic!("{} = {value}: {error}", known.name);
            };
            assert_eq!(*option, known.name, "{error}");
            let time = match known.unit {
                "us" => Duration::from_micros(value),
                _ => Duration::from_millis(value),
            };
            let is_told = seen.contains(&value.to_string()) || *seen == format!("{time:?}");
            assert!(is_told, "{} = {value}: {error}", known.name);
            assert!(allowed.contains(&known.min.to_string()), "{error}");
            assert!(allowed.contains(&known.max.to_string()), "{error}");
            for part in [*option, seen, allowed] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
    }
}

#[test]
fn the_least_of_every_number_builds() {
    for known in OPTIONS {
        let builder = local().reactors(1);
        if let Some(builder) = set(builder, known.name, known.min) {
            builder.build(|_| Script::<()>::new()).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[test]
fn a_head_that_the_read_buffer_does_not_hold_is_refused_whoever_asks_for_it() {
    let web = |head| Framing::websocket(WebSocket::new().max_head(head));
    let one = |head| Engine::builder().listen(Listener::new("ws://127.0.0.1:0").framing(web(head)));
    let by_default = || Engine::builder().listen("ws://127.0.0.1:0");
    for (builder, head, buffer) in [
        (one(65_537), 65_537, 65_536),
        (one(1 << 20), 1 << 20, 65_536),
        (one(4_097).read_buffer(4_096), 4_097, 4_096),
        (by_default().read_buffer(1_024), 16_384, 1_024),
    ] {
        let error = refusal(builder).to_string();
        let told = format!("option `max_head`: {head} with a `read_buffer` of {buffer} is not allowed");
        assert!(error.starts_with(&told) && error.contains(&format!("256 to {buffer} bytes")), "{error}");
    }
    // Of one who dials: there is no listener that could have said so before.
    let server = serve(Engine::builder().reactors(1).read_buffer(2_048), |_| Script::<()>::new());
    let dial = |head| {
        let to = Connect::to("ws://127.0.0.1:9").framing(web(head));
        let same = to.clone();
        let here = server.ask(0, move |_, reactor| reactor.connect(same).map(drop));
        (server.handle.connect(On::Any, to), here)
    };
    let (from_elsewhere, here) = dial(2_049);
    for refused in [from_elsewhere, here] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("`max_head`: 2049 with a `read_buffer` of 2048"), "{error}");
    }
    // As much as there is room for is fine.
    assert!(matches!(dial(2_048), (Ok(()), Ok(()))));
    one(1_024).read_buffer(1_024).build(|_| Script::<()>::new()).unwrap();
    one(16 << 20).read_buffer(16 << 20).build(|_| Script::<()>::new()).unwrap();
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = Listener::new(format!("tcp://{}", taken.local_addr().unwrap()));
    let lines = || taken.clone().framing(Framing::lines(80));
    let one = Engine::builder;
    for (wrong, builder) in [
        ("reuse_port", one().listen(taken.clone()).listen("unix:/nowhere/a.sock").reuse_port(true)),
        ("reuse_port", one().listen(taken.clone()).listen("unix:@name").reuse_port(true)),
        ("balance", one().listen(taken.clone()).reuse_port(true).balance(Balance::SourceHash)),
        ("policy", one().listen(taken.clone().policy(Policy::DropMessage))),
        ("water_marks", one().listen(taken.clone().water_marks(3, 2, 4))),
        ("water_marks", one().listen(taken.clone().water_marks(1, 5, 4))),
        ("water_marks", one().listen(lines().water_marks(5, 4, 3))),
        ("unix_mode", one().listen(taken.clone()).listen(Listener::new("unix:/nowhere/b").unix_mode(0o1777))),
        ("buffer_memory", one().listen(taken.clone()).reactors(4).buffer_memory(128 << 10)),
    ] {
        let error = refusal(builder);
        assert!(matches!(&error, Error::BadOption { option, .. } if *option == wrong), "{wrong}: {error}");
    }
    let fine = local()
        .listen(Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(80)).policy(Policy::DropMessage));
    fine.build(|_| Script::<()>::new()).unwrap();
}
