//! Options at their edges: what the table promises is what an engine does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use socket2::SockRef;
use wheelhouse::{
    Action, Builder, CHOICES, ChoiceInfo, CloseReason, Connect, Engine, Error, Framing, Listener, OPTIONS,
    On, OptionInfo, ReactorId, Refusal, Sent,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn option(name: &str) -> OptionInfo {
    *OPTIONS.iter().find(|option| option.name == name).unwrap_or_else(|| panic!("no option `{name}`"))
}

/// The least and the greatest time that an option takes.
fn times(name: &str) -> [Duration; 2] {
    let option = option(name);
    assert_eq!(option.unit, "ms");
    [option.min, option.max].map(Duration::from_millis)
}

fn raw() -> Listener {
    Listener::new("tcp://127.0.0.1:0")
}

fn one(listener: Listener) -> Builder {
    Engine::builder().listen(listener).reactors(1)
}

/// The rows below that head, each as its cells.
fn rows_below(head: &str) -> Vec<Vec<&'static str>> {
    let (_, table) = include_str!("../../README.md").split_once(head).expect("the table's head");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_table_has_a_row_for_every_option_and_no_other_row() {
    let rows = rows_below("| option | default | least | most | unit |");
    let expected: Vec<[String; 5]> = OPTIONS
        .iter()
        .map(|option| {
            let default = match (option.name, option.default) {
                (_, Some(number)) => number.to_string(),
                ("reactors", None) => "cores".to_owned(),
                ("receive_buffer" | "send_buffer", None) => "kernel's".to_owned(),
                (_, None) => "off".to_owned(),
            };
            let (min, max) = (option.min.to_string(), option.max.to_string());
            [format!("`{}`", option.name), default, min, max, option.unit.to_owned()]
        })
        .collect();
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row, expected);
    }
    assert_eq!(rows.len(), expected.len());
}

#[test]
fn the_second_table_has_a_row_for_every_option_that_is_no_number_and_no_other_row() {
    let rows = rows_below("| option | of | default | or |");
    let row = |choice: &ChoiceInfo| {
        let names = [choice.name, choice.of].map(|name| format!("`{name}`"));
        [names.as_slice(), &[choice.default.to_owned(), choice.others.join(", ")]].concat()
    };
    assert_eq!(rows, CHOICES.iter().map(row).collect::<Vec<_>>());
}

/// What the kernel says of the engine's end of a connection, accepted or dialled.
fn sockets<T: Send + 'static>(builder: Builder, ask: fn(SockRef<'_>) -> T) -> [T; 2] {
    let (server, ids) = telling_ids(builder);
    let (_client, accepted) = client(&server, &ids);
    let (peer, url) = listener();
    server.handle.connect(On::Any, Connect::to(url)).unwrap();
    let _peer = accept(&peer);
    let dialled = next(&ids);
    [accepted, dialled].map(|id| server.ask_conn(id, move |conn, _| ask(SockRef::from(&conn.fd().unwrap()))))
}

#[test]
fn the_kernels_own_options_are_set_on_every_socket() {
    for on in [true, false] {
        let set = sockets(one(raw()).nodelay(on), |socket| socket.tcp_nodelay().unwrap());
        assert_eq!(set, [on; 2]);
    }
    for idle in times("keep_alive idle") {
        for interval in times("keep_alive interval") {
            for count in [option("keep_alive count").min, option("keep_alive count").max] {
                let builder = one(raw()).keep_alive(idle, interval, count as u32);
                let set = sockets(builder, |socket| {
                    let idle = socket.tcp_keepalive_time().unwrap();
                    let interval = socket.tcp_keepalive_interval().unwrap();
                    (socket.keepalive().unwrap(), idle, interval, socket.tcp_keepalive_retries().unwrap())
                });
                assert_eq!(set, [(true, idle, interval, count as u32); 2]);
            }
        }
    }
    assert_eq!(sockets(one(raw()), |socket| socket.keepalive().unwrap()), [false; 2]);
    for timeout in times("tcp_user_timeout") {
        let set = sockets(one(raw()).tcp_user_timeout(timeout), |socket| socket.tcp_user_timeout().unwrap());
        assert_eq!(set, [Some(timeout); 2]);
    }
    // The kernel doubles them, has a least of its own, and a greatest that the machine's owner sets.
    let buffers =
        |socket: SockRef<'_>| (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap());
    let kernels = sockets(one(raw()), buffers);
    let least = option("receive_buffer").min as usize;
    for (received, sent) in sockets(one(raw()).receive_buffer(least).send_buffer(least), buffers) {
        assert!((2 * least..10 << 10).contains(&received) && (2 * least..10 << 10).contains(&sent));
    }
    let middle = sockets(one(raw()).receive_buffer(32 << 10).send_buffer(48 << 10), buffers);
    assert_eq!(middle, [(64 << 10, 96 << 10); 2]);
    let most = option("send_buffer").max as usize;
    for ((received, sent), kernels) in
        sockets(one(raw()).receive_buffer(most).send_buffer(most), buffers).into_iter().zip(kernels)
    {
        assert!(received >= kernels.0.min(400 << 10) && sent >= kernels.1.min(400 << 10));
    }
}

#[test]
fn there_are_as_many_reactors_as_asked_for() {
    for reactors in [option("reactors").min, option("reactors").max] {
        let server = serve(local().reactors(reactors as usize), |_| Script::<()>::new());
        assert_eq!(server.handle.reactors() as u64, reactors);
        let last = reactors as u16 - 1;
        assert_eq!(server.ask(last, |_, reactor| reactor.id()), ReactorId(last));
        echo(&mut server.connect(), b"hello");
    }
}

#[test]
fn the_least_of_everything_that_is_shared_out_still_serves_everybody() {
    let least = |name| option(name).min as usize;
    let builder = local()
        .reactors(1)
        .backlog(least("backlog"))
        .accept_budget(least("accept_budget"))
        .event_batch(least("event_batch"))
        .read_buffer(least("read_buffer"))
        .read_budget(least("read_budget"))
        .buffer_memory(least("buffer_memory"))
        .busy_poll(Duration::from_micros(option("busy_poll").min));
    let (told, sizes) = channel();
    let server = serve(builder, move |_| {
        let told = told.clone();
        Script::<()>::new().message(move |conn, _, message| {
            tell(&told, message.bytes().len());
            conn.send(message);
            Action::Continue
        })
    });
    // One after the other: where one waits to be accepted, the kernel has the next one try again in a second.
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = server.connect();
        echo(&mut client, b"hello");
        clients.push(client);
    }
    let blocked = server.block(0);
    clients.iter_mut().for_each(|client| client.write_all(&[7; 10_000]).unwrap());
    drop(blocked);
    clients.iter_mut().for_each(|client| expect(client, &[7; 10_000]));
    assert_eq!(sizes.try_iter().max(), Some(least("read_buffer")), "no read is larger than its buffer");
}

#[test]
fn no_more_than_the_limit_of_a_message_waits() {
    let limit = option("inbound_limit").min as usize;
    let (told, closes) = channel();
    let listener = raw().framing(Framing::lines(1 << 20));
    let server = serve(one(listener).inbound_limit(limit), move |_| {
        let told = told.clone();
        Script::<()>::new().close(move |closed, ()| tell(&told, *closed.reason()))
    });
    let mut client = server.connect();
    client.write_all(&vec![b'x'; limit]).unwrap();
    eventually("it was read", || server.handle.stats().total().bytes_in == limit as u64);
    client.write_all(b"\n").unwrap();
    expect(&mut client, &[&vec![b'x'; limit][..], b"\n"].concat());
    client.write_all(&vec![b'x'; limit + 1]).unwrap();
    assert_eq!(next(&closes), CloseReason::InboundOverflow);
    // And the greatest: a message that is longer than all other limits by default.
    let most = option("inbound_limit").max as usize;
    let listener = raw().framing(Framing::lines(32 << 20)).water_marks(0, 48 << 20, 48 << 20);
    let server = serve(one(listener).inbound_limit(most), |_| Script::<()>::new());
    let mut client = server.connect();
    let line = [&vec![b'y'; 20 << 20][..], b"\n"].concat();
    let writer = thread::spawn({
        let (mut client, line) = (client.try_clone().unwrap(), line.clone());
        move || client.write_all(&line).unwrap()
    });
    expect(&mut client, &line);
    writer.join().unwrap();
}

#[test]
fn a_queue_holds_what_its_marks_say() {
    let low = option("water_marks low").min as usize;
    let (high, limit) = (option("water_marks high").min as usize, option("water_marks limit").min as usize);
    let (server, ids) = telling_ids(one(raw().water_marks(low, high, limit)).send_buffer(8 << 10));
    let mut client = connect_with_window(server.at(), 4 << 10);
    let id = next(&ids);
    let (one_byte, two_bytes) = server.ask_conn(id, |conn, _| (conn.send("x"), conn.send("xx")));
    assert_eq!((one_byte, two_bytes), (Sent::Accepted, Sent::Refused(Refusal::OverLimit)));
    expect(&mut client, b"x");
    let most = option("water_marks limit").max as usize;
    let (server, ids) = telling_ids(one(raw().water_marks(most, most, most)).send_buffer(8 << 10));
    let _client = connect_with_window(server.at(), 4 << 10);
    let id = next(&ids);
    let sends = server.ask_conn(id, move |conn, _| {
        let piece = bytes::Bytes::from(vec![0; 8 << 20]);
        (0..10).map(|_| conn.send(piece.clone())).collect::<Vec<_>>()
    });
    // 64 MiB of 80 wait, and what little the kernel took went before them.
    let refused = Sent::Refused(Refusal::OverLimit);
    assert_eq!(sends.iter().filter(|&&sent| sent == refused).count(), 2, "{sends:?}");
    assert_eq!(sends[9], refused);
}

#[test]
fn a_mailbox_takes_as_many_as_it_says() {
    let places = option("mailbox").min as usize;
    let server = serve(local().reactors(1).mailbox(places), |_| Script::<()>::new());
    let blocked = server.block(0);
    let post = || server.poster.post(ReactorId(0), |_, _| ()).is_ok();
    assert_eq!((0..3 * places).filter(|_| post()).count(), places);
    drop(blocked);
    eventually("there is room again", post);
}

/// A connection that only waits, and why it was closed.
fn waits(builder: Builder) -> (Server<Script>, Receiver<(CloseReason, bool)>) {
    let (told, closes) = channel();
    let server = serve(builder, move |_| {
        let told = told.clone();
        Script::<()>::new().close(move |closed, ()| tell(&told, (*closed.reason(), closed.opened())))
    });
    (server, closes)
}

#[test]
fn the_shortest_time_ends_a_connection_and_the_longest_does_not() {
    type Set = fn(Builder, Duration) -> Builder;
    let cases: [(&str, CloseReason, Set); 5] = [
        ("idle_timeout", CloseReason::Idle, |builder, time| builder.listen(raw()).idle_timeout(time)),
        ("lifetime", CloseReason::Lifetime, |builder, time| builder.listen(raw()).lifetime(time)),
        ("authentication", CloseReason::Auth, |builder, time| builder.listen(raw().authentication(time))),
        ("handshake_timeout", CloseReason::Handshake, |builder, time| {
            builder.listen(raw().proxy_protocol(["127.0.0.1"])).handshake_timeout(time)
        }),
        ("heartbeat every", CloseReason::Idle, |builder, time| {
            let framing = Framing::lines(80).with_heartbeat("PING", "PONG");
            let most = Duration::from_millis(option("heartbeat timeout").max);
            builder.listen(raw().framing(framing).heartbeat(time.min(most - MS), (time + MS).min(most)))
        }),
    ];
    for (name, reason, set) in cases {
        let [least, most] = times(name);
        let (server, closes) = waits(set(Engine::builder().reactors(1), least));
        let began = Instant::now();
        let mut client = server.connect();
        assert_eq!(next(&closes).0, reason, "{name}");
        assert!(began.elapsed() >= least, "{name} is early");
        read_to_end(&mut client);
        let (server, closes) = waits(set(Engine::builder().reactors(1), most));
        let _client = server.connect();
        thread::sleep(100 * MS);
        assert!(closes.try_recv().is_err() && server.handle.count() == 1, "{name}");
    }
}

#[test]
fn the_shortest_time_to_answer_a_close_or_to_take_something_is_no_time() {
    let [least, most] = times("close_timeout");
    for (time, closes_by_itself) in [(least, true), (most, false)] {
        let (server, closes) = waits(one(raw()).close_timeout(time));
        let mut client = server.connect();
        echo(&mut client, b"hello");
        let id = server.handle.connections().next().unwrap();
        server.handle.finish(id);
        assert_eq!(read_to_end(&mut client).1, Ending::Eof);
        match closes_by_itself {
            true => assert_eq!(next(&closes).0, CloseReason::CloseTimeout),
            false => {
                thread::sleep(100 * MS);
                assert!(closes.try_recv().is_err());
                drop(client);
                assert_eq!(next(&closes).0, CloseReason::Local);
            }
        }
    }
    let [least, most] = times("write_stall_timeout");
    for (time, ends) in [(Some(least), true), (Some(most), false), (None, false)] {
        let (server, closes) = waits(one(raw()).write_stall_timeout(time).send_buffer(8 << 10));
        let client = connect_with_window(server.at(), 4 << 10);
        eventually("it is there", || server.handle.stats().total().opened == 1);
        let id = server.handle.connections().next().unwrap();
        assert!(server.poster.post_to(id, |_, conn, _| _ = conn.send(vec![0; 1 << 20])).is_ok());
        match ends {
            true => assert_eq!(next(&closes).0, CloseReason::WriteStall),
            false => {
                thread::sleep(100 * MS);
                assert!(closes.try_recv().is_err());
            }
        }
        drop(client);
    }
}

#[test]
fn the_time_to_connect_has_bounds_too() {
    let server = serve(Engine::builder().reactors(1), |_| Script::<()>::new());
    let [least, most] = times("timeout");
    let (peer, url) = listener();
    for bad in [Duration::ZERO, least / 2, most + MS, Duration::MAX] {
        let error = server.handle.connect(On::Any, Connect::to(&url).timeout(bad)).unwrap_err();
        assert!(matches!(error, Error::BadOption { option: "timeout", .. }), "{error}");
        assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
    }
    server.handle.connect(On::Any, Connect::to(&url).timeout(most)).unwrap();
    echo(&mut accept(&peer), b"hello");
    server.handle.connect(On::Any, Connect::to(&url).timeout(SECOND)).unwrap();
    echo(&mut accept(&peer), b"hello");
}

#[test]
fn one_connection_may_be_all_there_are() {
    for builder in [local().max_connections(1), local().max_connections_per_address(1)] {
        let server = serve(builder.reactors(1), |_| Script::<()>::new());
        let mut first = server.connect();
        echo(&mut first, b"hello");
        assert_eq!(read_to_end(&mut server.connect()).0, b"");
        drop(first);
        eventually("there is room", || server.handle.count() == 0);
        echo(&mut server.connect(), b"hello");
    }
    let most = option("max_connections").max as usize;
    let server =
        serve(local().max_connections(most).max_connections_per_address(most), |_| Script::<()>::new());
    echo(&mut server.connect(), b"hello");
}
