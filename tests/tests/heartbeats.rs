//! Pings and pongs: a peer that answers lives, one that does not is let go, and neither floods anybody.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{
    Action, Adopt, Builder, CloseReason, Connect, Control, Engine, Error, Framing, LengthDelimited, Listener,
    On, Refusal, Sent,
};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn words() -> Framing {
    Framing::lines(80).with_heartbeat("PING", "PONG")
}

fn listener(every: Duration, timeout: Duration) -> Listener {
    Listener::new("tcp://127.0.0.1:0").framing(words()).heartbeat(every, timeout)
}

/// What is told of a connection, in order.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Message(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(CloseReason),
}

/// An echo server that tells everything.
fn telling(builder: Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, events) = channel();
    let server = serve(builder.reactors(1), move |_| {
        let [messages, controls, closes] = std::array::from_fn(|_| told.clone());
        Script::new()
            .message(move |conn, (), message| {
                tell(&messages, Told::Message(message.text().unwrap().to_owned()));
                conn.send(message);
                Action::Continue
            })
            .control(move |_, (), control| {
                match control {
                    Control::Ping(bytes) => tell(&controls, Told::Ping(bytes.to_vec())),
                    Control::Pong(bytes) => tell(&controls, Told::Pong(bytes.to_vec())),
                    other => panic!("{other:?}"),
                }
                Action::Continue
            })
            .close(move |closed, ()| tell(&closes, Told::Close(*closed.reason())))
    });
    (server, events)
}

/// Answers pings until the time is over; how many there were.
fn answer_pings(client: &TcpStream, during: Duration) -> usize {
    let until = Instant::now() + during;
    let mut lines = BufReader::new(client);
    let mut pings = 0;
    while Instant::now() < until {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "PING\n");
        pings += 1;
        (&mut &*client).write_all(b"PONG\n").unwrap();
    }
    pings
}

#[test]
fn a_silent_peer_that_answers_lives_longer_than_the_timeout() {
    let (server, events) = telling(Engine::builder().listen(listener(20 * MS, 1500 * MS)));
    let client = server.connect();
    let pings = answer_pings(&client, 2000 * MS);
    assert!(pings > 3, "{pings} pings");
    assert_eq!(next_n(&events, pings), (0..pings).map(|_| Told::Pong(vec![])).collect::<Vec<_>>());
    (&client).write_all(b"alive\n").unwrap();
    assert_eq!(next(&events), Told::Message("alive".into()));
}

#[test]
fn a_peer_that_does_not_answer_is_asked_again_and_let_go() {
    let (server, events) = telling(Engine::builder().listen(listener(20 * MS, 100 * MS)));
    let began = Instant::now();
    let mut client = server.connect();
    assert_only_pings(read_to_end(&mut client), 4);
    assert!(began.elapsed() >= 100 * MS);
    assert_eq!(next(&events), Told::Close(CloseReason::Idle));
}

#[test]
fn one_that_we_dialled_and_one_that_we_adopted_are_asked_too() {
    let (server, events) = telling(Engine::builder());
    let (peer, url) = fixture::listener();
    let dialled = Connect::to(url).framing(words()).heartbeat(20 * MS, 100 * MS);
    server.handle.connect(On::Any, dialled).unwrap();
    let mut accepted = accept(&peer);
    assert_only_pings(read_to_end(&mut accepted), 4);
    assert_eq!(next(&events), Told::Close(CloseReason::Idle));
    let mut client = connect(peer.local_addr().unwrap());
    let ours = peer.accept().unwrap().0;
    let adopted = Adopt::new(ours).framing(words()).heartbeat(20 * MS, 100 * MS);
    server.handle.adopt(On::Any, adopted).unwrap();
    assert_only_pings(read_to_end(&mut client), 4);
    assert_eq!(next(&events), Told::Close(CloseReason::Idle));
}

#[test]
fn our_own_pings_are_no_sign_of_life_for_the_idle_timeout_either() {
    let builder = Engine::builder().listen(listener(10 * MS, HOUR)).idle_timeout(300 * MS);
    let (server, events) = telling(builder);
    let mut client = server.connect();
    assert_only_pings(read_to_end(&mut client), 29);
    assert_eq!(next(&events), Told::Close(CloseReason::Idle));
}

/// At least one, as many as there was time for at most (fewer where the machine was busy), and then the end.
#[track_caller]
fn assert_only_pings((heard, ending): (Vec<u8>, Ending), most: usize) {
    assert_eq!(ending, Ending::Eof);
    assert!(heard.chunks(5).all(|ping| ping == b"PING\n"), "{}", heard.escape_ascii());
    assert!((1..=most).contains(&(heard.len() / 5)), "{} pings", heard.len() / 5);
}

#[test]
fn one_who_talks_is_not_asked() {
    const EVERY: Duration = Duration::from_millis(200);
    let (server, _events) = telling(Engine::builder().listen(listener(EVERY, HOUR)));
    for _ in 0..20 {
        let mut client = server.connect();
        let (began, mut last, mut silence) = (Instant::now(), Instant::now(), Duration::ZERO);
        let mut heard = Vec::new();
        while began.elapsed() < 3 * EVERY {
            client.write_all(b"hello\n").unwrap();
            heard.resize(6, 0);
            std::io::Read::read_exact(&mut client, &mut heard).unwrap();
            silence = silence.max(last.elapsed());
            last = Instant::now();
            if heard != b"hello\n" {
                break;
            }
            thread::sleep(2 * MS);
        }
        if heard == b"hello\n" {
            return;
        }
        // It is a fault only when this thread was not held up itself.
        assert!(silence >= EVERY / 2, "a ping after {silence:?} of silence");
    }
    panic!("this machine is too busy to talk");
}

#[test]
fn a_ping_is_answered_in_its_place_and_told() {
    let (server, events) = telling(Engine::builder().listen(listener(HOUR, 2 * HOUR)));
    let mut client = server.connect();
    client.write_all(b"one\nPING\ntwo\r\nPING\r\nPONG\nPINGS\n").unwrap();
    expect(&mut client, b"one\nPONG\ntwo\nPONG\nPINGS\n");
    let expected = [
        Told::Message("one".into()),
        Told::Ping(vec![]),
        Told::Message("two".into()),
        Told::Ping(vec![]),
        Told::Pong(vec![]),
        Told::Message("PINGS".into()),
    ];
    assert_eq!(next_n(&events, 6), expected);
}

#[test]
fn split_at_every_byte_a_ping_is_a_ping() {
    let (server, _events) = telling(Engine::builder().listen(listener(HOUR, 2 * HOUR)));
    let mut client = server.connect();
    for byte in b"one\nPING\ntwo\n" {
        let before = server.handle.stats().total().bytes_in;
        client.write_all(&[*byte]).unwrap();
        eventually("it was read", || server.handle.stats().total().bytes_in == before + 1);
    }
    expect(&mut client, b"one\nPONG\ntwo\n");
}

#[test]
fn the_handler_may_ask_by_itself_where_the_framing_can() {
    let (server, ids) = telling_ids(Engine::builder().reactors(1).listen(listener(HOUR, 2 * HOUR)));
    let (mut client, id) = client(&server, &ids);
    assert_eq!(server.ask_conn(id, |conn, _| conn.ping(&[])), Sent::Accepted);
    expect(&mut client, b"PING\n");
    let refused = server.ask_conn(id, |conn, _| conn.ping(b"words carry no bytes"));
    assert_eq!(refused, Sent::Refused(Refusal::NotEncodable));
    let closing = server.ask_conn(id, |conn, _| {
        conn.finish();
        conn.ping(&[])
    });
    assert_eq!(closing, Sent::Refused(Refusal::Closing));
    assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
    for framing in [Framing::raw(), Framing::lines(80)] {
        let listener = Listener::new("tcp://127.0.0.1:0").framing(framing);
        let (server, ids) = telling_ids(Engine::builder().reactors(1).listen(listener));
        let (_client, id) = fixture::client(&server, &ids);
        let refused = server.ask_conn(id, |conn, _| conn.ping(&[]));
        assert_eq!(refused, Sent::Refused(Refusal::NotEncodable));
    }
}

const LIMIT: usize = 20_000;
/// What pings and pongs may take beyond the limit.
const CONTROL_ROOM: usize = 4 << 10;

/// An engine whose connections may queue little, and are read on whatever waits for them.
fn narrow(auto_pause: bool) -> (Server<Script>, Receiver<wheelhouse::ConnId>) {
    let listener = listener(HOUR, 2 * HOUR).water_marks(1000, 10_000, LIMIT);
    let (told, ids) = channel();
    let builder = Engine::builder().reactors(1).listen(listener).send_buffer(8 << 10);
    let server = serve(builder, move |_| {
        let told = told.clone();
        Script::new().open(move |conn, ()| {
            conn.set_auto_pause(auto_pause);
            tell(&told, conn.id());
            Action::Continue
        })
    });
    (server, ids)
}

#[test]
fn a_pong_leaves_though_the_queue_is_at_its_limit() {
    let (server, ids) = narrow(false);
    let mut client = connect_with_window(server.at(), 4 << 10);
    let id = next(&ids);
    let line = "x".repeat(79);
    let queued = server.ask_conn(id, move |conn, _| {
        let lines = (0..).take_while(|_| !conn.send(&line).is_refused()).count();
        assert_eq!(conn.send(&line), Sent::Refused(Refusal::OverLimit));
        lines
    });
    client.write_all(b"PING\n").unwrap();
    let heard = server.handle.clone();
    eventually("it was heard", || heard.stats().total().bytes_in == 5);
    let mut lines = BufReader::new(&client).lines();
    assert!(lines.by_ref().take(queued).all(|line| line.unwrap().len() == 79));
    assert_eq!(lines.next().unwrap().unwrap(), "PONG");
}

/// Pings without reading until the server takes no more, or so many bytes were taken; how many.
fn flood(client: &TcpStream, server: &Server<Script>, most: usize) -> usize {
    client.set_write_timeout(Some(100 * MS)).unwrap();
    let pings = b"PING\n".repeat(2000);
    let (mut sent, mut at) = (0, 0);
    let mut last = server.handle.stats().total().bytes_in;
    while sent < most {
        match (&mut &*client).write(&pings[at..]) {
            Ok(n) => (sent, at) = (sent + n, (at + n) % pings.len()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let read = server.handle.stats().total().bytes_in;
                if std::mem::replace(&mut last, read) == read {
                    break;
                }
            }
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
    sent
}

#[test]
fn a_flood_of_pings_from_one_who_never_reads_costs_the_limit_and_no_more() {
    let (server, ids) = narrow(false);
    let client = connect_with_window(server.at(), 4 << 10);
    let id = next(&ids);
    assert!(flood(&client, &server, 4 << 20) >= 4 << 20, "it is read on");
    eventually("it was read", || server.handle.stats().total().bytes_in >= 4 << 20);
    let (unused, unsent) = server.ask_conn(id, |conn, _| conn.buffered());
    assert!(unused < 5 && unsent <= LIMIT + CONTROL_ROOM, "{unsent} bytes wait");
    assert!(unsent > LIMIT, "and all of the room is used: {unsent}");
    let total = server.handle.stats().total();
    assert!(total.sends_refused > 100_000 && total.buffered < 128 << 10, "{total:?}");
    assert!(server.handle.is_open(id));
}

#[test]
fn and_by_default_it_is_not_even_read_on() {
    let (server, ids) = narrow(true);
    let client = connect_with_window(server.at(), 4 << 10);
    let id = next(&ids);
    flood(&client, &server, 256 << 20);
    let (_, unsent) = server.ask_conn(id, |conn, _| conn.buffered());
    assert!(unsent <= LIMIT + CONTROL_ROOM, "{unsent} bytes wait");
    assert!(server.handle.stats().total().bytes_in < 64 << 20);
    // Who reads at last gets his answers, and goes on.
    let mut lines = BufReader::new(&client).lines();
    assert!(lines.by_ref().take(1000).all(|line| line.unwrap() == "PONG"));
}

/// While we do not read it is not the peer who is silent: his answers wait in the kernel.
#[test]
fn a_peer_that_answers_outlives_a_pause_longer_than_the_timeout() {
    let (told, events) = channel();
    let builder = Engine::builder().reactors(1).listen(listener(20 * MS, 150 * MS));
    let server = serve(builder, move |_| {
        let (told, closes) = (told.clone(), told.clone());
        let mut holds = true;
        Script::<()>::new()
            .message(move |conn, _, message| {
                if std::mem::take(&mut holds) {
                    tell(&told, Ok(conn.id()));
                    return Action::Hold;
                }
                conn.send(message);
                Action::Continue
            })
            .close(move |closed, ()| tell(&closes, Err(*closed.reason())))
    });
    let client = server.connect();
    (&client).write_all(b"hard question\n").unwrap();
    let id = next(&events).unwrap();
    let answering = client.try_clone().unwrap();
    // Whatever it is asked, it answers, and says so now and then without being asked.
    let stop = Instant::now() + 600 * MS;
    while Instant::now() < stop {
        (&mut &answering).write_all(b"PONG\n").unwrap();
        thread::sleep(10 * MS);
    }
    assert!(server.handle.is_open(id), "{:?}", events.try_recv());
    server.handle.resume(id);
    let mut lines = BufReader::new(&client).lines().map(Result::unwrap).filter(|line| line != "PING");
    assert_eq!(lines.next().unwrap(), "hard question");
    // From then on silence counts again.
    assert_eq!(lines.next(), None);
    assert_eq!(next(&events), Err(CloseReason::Idle));
}

#[test]
fn a_peer_that_reads_slowly_and_answers_outlives_the_engines_own_pause() {
    let (told, events) = channel();
    let listener = listener(20 * MS, 150 * MS).water_marks(1000, 10_000, 4 << 20);
    let builder = Engine::builder().reactors(1).listen(listener).send_buffer(8 << 10);
    let server = serve(builder, move |_| {
        let told = told.clone();
        Script::<()>::new()
            .message(|conn, _, _| {
                assert_eq!((0..50_000).map(|_| conn.send("0123456789")).last(), Some(Sent::Full));
                Action::Continue
            })
            .close(move |closed, ()| tell(&told, *closed.reason()))
    });
    let client = connect_with_window(server.at(), 4 << 10);
    (&client).write_all(b"send me much\n").unwrap();
    let began = Instant::now();
    let mut lines = BufReader::new(&client).lines();
    let mut heard = 0;
    while heard < 50_000 {
        let line = lines.next().expect("it goes on").unwrap();
        heard += usize::from(line == "0123456789");
        if heard % 2000 == 0 && began.elapsed() < 1000 * MS {
            (&mut &client).write_all(b"PONG\n").unwrap();
            thread::sleep(40 * MS);
        }
    }
    assert!(began.elapsed() > 600 * MS, "it was slow");
    assert!(events.try_recv().is_err());
}

#[test]
fn words_that_the_framing_cannot_carry_are_refused_with_their_name() {
    let refused = |framing: Framing| {
        let listener = Listener::new("tcp://127.0.0.1:0").framing(framing);
        let error = refusal(Engine::builder().listen(listener));
        assert!(matches!(error, Error::BadOption { option: "with_heartbeat", .. }), "{error}");
        error.to_string()
    };
    assert!(refused(Framing::lines(80).with_heartbeat("PI\nNG", "PONG")).contains("PI\\nNG"));
    assert!(refused(Framing::lines(80).with_heartbeat("same", "same")).contains("differ"));
    assert!(refused(Framing::raw().with_heartbeat("PING", "PONG")).contains("raw"));
    // Each answer would be taken for a line that is too long.
    assert!(refused(Framing::lines(4).with_heartbeat("PING", "PONGS")).contains("PONGS"));
    let short = LengthDelimited::u16_be().max_body(4);
    assert!(refused(Framing::length_delimited(short).with_heartbeat("PINGS", "PONG")).contains("PINGS"));
    let fits = Framing::lines(4).with_heartbeat("PING", "PONG");
    let listener = Listener::new("tcp://127.0.0.1:0").framing(fits);
    Engine::builder().listen(listener).build(|_| Script::<()>::new()).unwrap();
}
