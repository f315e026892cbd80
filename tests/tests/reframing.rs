//! One connection, several framings: what was not taken yet and everything after it is cut by the new one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use fixture::*;
use wheelhouse::{
    Action, Audience, CloseReason, ConnId, Decoded, Engine, Error, Framing, Input, LengthDelimited, Listener,
    ListenerId, Message, Output, Payload, Policy, Protocol, ProtocolError, Refusal, TimerKind,
};

fn raw() -> Listener {
    Listener::new("tcp://127.0.0.1:0")
}

fn lengths() -> Framing {
    Framing::length_delimited(LengthDelimited::u16_be().max_body(1000))
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], body].concat()
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Stage {
    #[default]
    Greeting,
    Lines,
    Frames,
    Raw,
}

/// Greets in six raw bytes, then speaks lines, then frames, then echoes raw bytes; answers each message in its framing,
/// those that ask for a change still in the old one.
fn polyglot() -> Script<Stage> {
    let (lines, frames) = (Framing::lines(80), lengths());
    Script::<Stage>::new()
        .data(move |conn, stage, input| {
            assert_eq!(conn.listener(), Some(ListenerId(0)));
            match stage {
                Stage::Greeting if input.len() < 6 => {}
                Stage::Greeting => {
                    assert!(!conn.send(&*input.take_mut(6)).is_refused());
                    *stage = Stage::Lines;
                    conn.set_framing(&lines).unwrap();
                }
                Stage::Raw => {
                    conn.send(input.take());
                }
                _ => panic!("raw bytes in another framing"),
            }
            Action::Continue
        })
        .message(move |conn, stage, message| {
            assert_eq!(conn.listener(), Some(ListenerId(0)));
            conn.send(message);
            match (*stage, message.bytes()) {
                (Stage::Lines, b"frames") => {
                    *stage = Stage::Frames;
                    conn.set_framing(&frames).unwrap();
                    conn.send("in a frame");
                }
                (Stage::Frames, b"raw\n") => {
                    *stage = Stage::Raw;
                    conn.set_framing(&Framing::raw()).unwrap();
                    conn.send("as it is");
                }
                (Stage::Lines | Stage::Frames, _) => {}
                _ => panic!("a message among raw bytes"),
            }
            Action::Continue
        })
}

/// What the client says, and what it hears.
fn conversation() -> (Vec<u8>, Vec<u8>) {
    let (one, two) = (frame(b"one\ntwo"), frame(b"raw\n"));
    let says = [b"HELLO!first\nframes\n", &one[..], &two, b"\n\0\x03abc"].concat();
    let hears =
        [b"HELLO!first\nframes\n", &frame(b"in a frame")[..], &one, &two, b"as it is", b"\n\0\x03abc"]
            .concat();
    (says, hears)
}

#[test]
fn raw_lines_frames_and_raw_again_in_one_segment() {
    let server = serve(Engine::builder().listen(raw()).reactors(1), |_| polyglot());
    let (says, hears) = conversation();
    let mut client = server.connect();
    client.write_all(&says).unwrap();
    expect(&mut client, &hears);
    echo(&mut client, b"and on");
}

#[test]
fn raw_lines_frames_and_raw_again_split_at_every_byte() {
    let server = serve(Engine::builder().listen(raw()).reactors(1), |_| polyglot());
    let (says, hears) = conversation();
    for at in 1..says.len() {
        let before = server.handle.stats().total().bytes_in;
        let mut client = server.connect();
        client.write_all(&says[..at]).unwrap();
        eventually("it was read", || server.handle.stats().total().bytes_in == before + at as u64);
        client.write_all(&says[at..]).unwrap();
        expect(&mut client, &hears);
        eventually("it was read", || server.handle.stats().total().bytes_in == before + says.len() as u64);
    }
    // And byte by byte.
    let mut client = server.connect();
    for byte in says {
        let before = server.handle.stats().total().bytes_in;
        client.write_all(&[byte]).unwrap();
        eventually("it was read", || server.handle.stats().total().bytes_in == before + 1);
    }
    expect(&mut client, &hears);
}

/// An engine of that listener that echoes, and the ids of its connections.
fn echoing(listener: Listener) -> (Server<Script>, Receiver<ConnId>) {
    telling_ids(Engine::builder().listen(listener).reactors(1))
}

#[test]
fn what_was_kept_is_cut_anew_without_waiting_for_more() {
    for size in [3, 20, 3000, 100_000] {
        let (server, ids) = echoing(raw().framing(Framing::lines(1 << 20)));
        let (mut client, id) = client(&server, &ids);
        let begun = vec![b'x'; size];
        client.write_all(&begun).unwrap();
        eventually("it was read", || server.ask_conn(id, |conn, _| conn.buffered().0) == size);
        server.ask_conn(id, |conn, _| conn.set_framing(&Framing::raw()).unwrap());
        expect(&mut client, &begun);
        // And from raw bytes that nobody took to messages.
        server.ask_conn(id, |conn, _| conn.set_framing(&lengths()).unwrap());
        client.write_all(&frame(b"in a frame")).unwrap();
        expect(&mut client, &frame(b"in a frame"));
    }
}

#[test]
fn a_message_on_hold_stays_what_it_is_and_what_followed_is_cut_anew() {
    let (told, events) = channel();
    let listener = raw().framing(Framing::lines(80));
    let server = serve(Engine::builder().listen(listener).reactors(1), move |_| {
        let told = told.clone();
        let mut holds = true;
        Script::<()>::new().message(move |conn, _, message| {
            tell(&told, (conn.id(), message.bytes().to_vec()));
            if std::mem::take(&mut holds) { Action::Hold } else { Action::Continue }
        })
    });
    let mut client = server.connect();
    let frames = [frame(b"second"), frame(b"third")].concat();
    client.write_all(&[b"first\n", &frames[..]].concat()).unwrap();
    let (id, first) = next(&events);
    assert_eq!(first, b"first");
    server.ask_conn(id, |conn, _| conn.set_framing(&lengths()).unwrap());
    assert!(events.try_recv().is_err(), "it is still on hold");
    server.handle.resume(id);
    let told: Vec<_> = next_n(&events, 3).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(told, [b"first".to_vec(), b"second".to_vec(), b"third".to_vec()]);
}

#[test]
fn from_any_callback_the_next_byte_is_cut_by_the_new_one() {
    let server = serve(Engine::builder().listen(raw()).reactors(1), |_| {
        Script::<()>::new()
            .open(|conn, _| {
                conn.set_framing(&lengths()).unwrap();
                conn.send("opened");
                Action::Continue
            })
            .message(|conn, _, message| {
                conn.send(message);
                if message.bytes() == b"timer" {
                    conn.set_timer(TimerKind(1), Duration::ZERO);
                }
                Action::Continue
            })
            .timer(|conn, _, _| {
                let framing = Framing::lines(80).with_heartbeat("PING", "PONG");
                conn.set_framing(&framing).unwrap();
                conn.send("timer");
                Action::Continue
            })
            .control(|conn, _, _| {
                conn.set_framing(&Framing::raw()).unwrap();
                conn.send("control");
                Action::Continue
            })
    });
    let mut client = server.connect();
    expect(&mut client, &frame(b"opened"));
    echo(&mut client, &frame(b"timer"));
    expect(&mut client, b"timer\n");
    client.write_all(b"line\nPING\nPING\n").unwrap();
    expect(&mut client, b"line\nPONG\ncontrolPING\n");
}

#[test]
fn what_is_sent_before_and_behind_the_change_keeps_its_place_and_its_framing() {
    let (told, ids) = channel();
    let server = serve(Engine::builder().listen(raw()).reactors(1), move |spot| {
        let (handle, told) = (spot.handle(), told.clone());
        Script::<()>::new()
            .open(move |conn, _| {
                tell(&told, conn.id());
                Action::Continue
            })
            .message(move |conn, _, _| {
                conn.send("1");
                handle.broadcast(Audience::Open, "2").unwrap();
                handle.broadcast(Audience::Listener(ListenerId(0)), "3").unwrap();
                handle.send(conn.id(), "4").unwrap();
                conn.reactor().broadcast(Audience::Open, "5").unwrap();
                conn.set_framing(&lengths()).unwrap();
                conn.send("6");
                handle.broadcast(Audience::Open, "7").unwrap();
                handle.broadcast(Audience::Listener(ListenerId(0)), "8").unwrap();
                handle.send(conn.id(), "9").unwrap();
                conn.reactor().broadcast(Audience::Listener(ListenerId(0)), "10").unwrap();
                Action::Continue
            })
    });
    let mut bystander = server.connect();
    next(&ids);
    let mut client = server.connect();
    next(&ids);
    client.write_all(b"change").unwrap();
    let behind: Vec<u8> = [&b"6"[..], b"7", b"8", b"9", b"10"].iter().flat_map(|body| frame(body)).collect();
    expect(&mut client, &[b"12345", &behind[..]].concat());
    expect(&mut bystander, b"2357810");
}

#[test]
fn a_framing_that_cannot_be_leaves_everything_as_it_was() {
    let heartbeat = Framing::lines(80).with_heartbeat("PING", "PONG");
    let bad = |why: &str| match why {
        "lines" => Framing::lines(0),
        "length_delimited" => Framing::length_delimited(LengthDelimited::u16_be().width(9)),
        "with_heartbeat" => Framing::lines(80).with_heartbeat("same", "same"),
        _ => unreachable!(),
    };
    let cases = [
        ("lines", raw().framing(Framing::lines(80)), bad("lines")),
        ("length_delimited", raw().framing(Framing::lines(80)), bad("length_delimited")),
        ("with_heartbeat", raw().framing(Framing::lines(80)), bad("with_heartbeat")),
        ("policy", raw().framing(Framing::lines(80)).policy(Policy::DropMessage), Framing::raw()),
        (
            "heartbeat",
            raw().framing(heartbeat).heartbeat(Duration::from_secs(60), Duration::from_secs(90)),
            Framing::lines(80),
        ),
    ];
    for (wrong, listener, framing) in cases {
        let (server, ids) = echoing(listener);
        let (mut client, id) = client(&server, &ids);
        client.write_all(b"begun ").unwrap();
        eventually("it was read", || server.ask_conn(id, |conn, _| conn.buffered().0) == 6);
        let error = server.ask_conn(id, move |conn, _| conn.set_framing(&framing).unwrap_err());
        let is_told = matches!(&error, Error::BadOption { option, .. } if option.contains(wrong))
            || error.to_string().contains(wrong);
        assert!(is_told, "{wrong}: {error}");
        client.write_all(b"and ended\n").unwrap();
        expect(&mut client, b"begun and ended\n");
    }
}

#[test]
fn policy_and_heartbeat_go_with_a_framing_that_serves_them() {
    let listener = raw()
        .framing(Framing::lines(80).with_heartbeat("PING", "PONG"))
        .policy(Policy::DropMessage)
        .heartbeat(Duration::from_secs(60), Duration::from_secs(90));
    let (server, ids) = echoing(listener);
    let (mut client, id) = client(&server, &ids);
    echo(&mut client, b"a line\n");
    let frames = lengths().with_heartbeat("PING", "PONG");
    server.ask_conn(id, move |conn, _| conn.set_framing(&frames).unwrap());
    echo(&mut client, &frame(b"a frame"));
    client.write_all(&frame(b"PING")).unwrap();
    expect(&mut client, &frame(b"PONG"));
}

/// Reading from raw to lines and back at every message of one read, without a stack that grows with them.
#[test]
fn a_change_at_every_message_of_a_full_read_is_taken_in_its_stride() {
    let server = serve(Engine::builder().listen(raw()).reactors(1), |_| {
        let lines = Framing::lines(80);
        Script::<()>::new()
            .data(move |conn, _, input| {
                assert_eq!(input.take_mut(1), b"r");
                conn.send("R");
                conn.set_framing(&lines).unwrap();
                Action::Continue
            })
            .message(move |conn, _, message: Message<'_>| {
                assert_eq!(message.bytes(), b"l");
                conn.send("L");
                conn.set_framing(&Framing::raw()).unwrap();
                Action::Continue
            })
    });
    let rounds = (64 << 10) / 3;
    let blocked = server.block(0);
    let mut client = server.connect();
    client.write_all(&b"rl\n".repeat(rounds)).unwrap();
    drop(blocked);
    expect(&mut client, &b"RL\n".repeat(rounds));
}

/// As lines, and of a kind of its own each time it is made.
struct Own;

impl Protocol for Own {
    fn decode<'a>(&self, state: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        assert_eq!(*state, 0, "another protocol's state");
        match input.peek().iter().position(|&byte| byte == b';') {
            Some(at) => {
                let message = input.take_mut(at + 1);
                Ok(Decoded::Message(Message::binary(&message[..at])))
            }
            None => Ok(Decoded::Need(input.len() + 1)),
        }
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        out.body(payload);
        out.put(b";");
        Ok(())
    }
}

#[test]
fn more_changes_than_there_can_be_kinds_are_no_kinds_too_many() {
    let (server, ids) = echoing(raw().framing(Framing::lines(80)));
    let (mut client, id) = client(&server, &ids);
    // What the old one remembered of the line is not the new one's.
    client.write_all(b"half a li").unwrap();
    eventually("it was read", || server.ask_conn(id, |conn, _| conn.buffered().0) == 9);
    server.ask_conn(id, |conn, _| {
        for _ in 0..70_000 {
            conn.set_framing(&Framing::custom(Own)).unwrap();
        }
    });
    client.write_all(b"ne;").unwrap();
    expect(&mut client, b"half a line;");
}

#[test]
fn other_connections_of_the_listener_stay_what_they_are() {
    let (server, ids) = echoing(raw().framing(Framing::lines(80)));
    let (mut changed, id) = client(&server, &ids);
    let (mut other, _) = client(&server, &ids);
    server.ask_conn(id, |conn, _| conn.set_framing(&lengths()).unwrap());
    echo(&mut changed, &frame(b"a frame"));
    echo(&mut other, b"a line\n");
    drop(changed);
    eventually("it is gone", || server.handle.count() == 1);
    let (mut newcomer, _) = client(&server, &ids);
    echo(&mut newcomer, b"a line\n");
    echo(&mut other, b"another\n");
}

#[test]
fn the_new_framings_rules_are_what_a_peer_breaks() {
    let (told, closes) = channel();
    let listener = raw().framing(Framing::lines(80));
    let server = serve(Engine::builder().listen(listener).reactors(1), move |_| {
        let told = told.clone();
        Script::<()>::new()
            .message(|conn, _, _| {
                conn.set_framing(&Framing::lines(4)).unwrap();
                Action::Continue
            })
            .close(move |closed, ()| {
                let error = closed.error().map(ToString::to_string).unwrap_or_default();
                tell(&told, (*closed.reason(), error));
            })
    });
    let mut client = server.connect();
    client.write_all(b"longer than four\nalso longer\n").unwrap();
    assert_eq!(read_to_end(&mut client), (vec![], Ending::Eof));
    drop(client);
    assert_eq!(next(&closes), (CloseReason::Protocol, "a line of more than 4 B".to_owned()));
}
