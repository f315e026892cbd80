//! Who counts as alive: what a protocol of one's own asks and answers, and which direction counts as activity.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{Read, Write},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{
    Action, Activity, CloseReason, Control, Decoded, Engine, Framing, Input, Listener, Message, Output,
    Payload, Protocol, ProtocolError, Refusal, Sent, TimerKind,
};
use wheelhouse_tests::blow_up;

const MS: Duration = Duration::from_millis(1);

/// A letter, a length, a body: `m` message, `?` ping, `!` pong; `0` is a control of no bytes, which no protocol may make.
struct Letters;

impl Protocol for Letters {
    fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        let &[letter, length, ..] = input.peek() else { return Ok(Decoded::Need(2)) };
        if letter == b'0' {
            return Ok(Decoded::Control(Control::Pong(b"")));
        }
        let length = usize::from(length);
        if input.len() < 2 + length {
            return Ok(Decoded::Need(2 + length));
        }
        input.skip(2);
        let body = &*input.take_mut(length);
        Ok(match letter {
            b'm' => Decoded::Message(Message::binary(body)),
            b'?' => Decoded::Control(Control::Ping(body)),
            b'!' => Decoded::Control(Control::Pong(body)),
            _ => return Err(ProtocolError("an unknown letter".into())),
        })
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        put(b'm', payload.bytes(), out)
    }

    fn encode_control(&self, control: &Control<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        match control {
            Control::Ping(b"panic") => blow_up("over a ping"),
            Control::Ping(bytes) => put(b'?', bytes, out),
            Control::Pong(bytes) => put(b'!', bytes, out),
            _ => Err(Refusal::NotEncodable),
        }
    }
}

fn put(letter: u8, bytes: &[u8], out: &mut Output<'_>) -> Result<(), Refusal> {
    let length = u8::try_from(bytes.len()).map_err(|_| Refusal::NotEncodable)?;
    out.put(&[letter, length]);
    out.put(bytes);
    Ok(())
}

fn letters() -> Listener {
    Listener::new("tcp://127.0.0.1:0").framing(Framing::custom(Letters))
}

#[test]
fn the_bytes_of_a_ping_come_back_in_its_pong() {
    let (told, events) = channel();
    let server = serve(Engine::builder().reactors(1).listen(letters()), move |_| {
        let (told, ids) = (told.clone(), told.clone());
        Script::<()>::new()
            .open(move |conn, _| {
                tell(&ids, (conn.id(), String::new()));
                Action::Continue
            })
            .control(move |conn, _, control| {
                tell(&told, (conn.id(), format!("{control:?}")));
                Action::Continue
            })
    });
    let mut client = server.connect();
    let (id, _) = next(&events);
    client.write_all(b"m\x01a?\x03xyzm\x01b").unwrap();
    expect(&mut client, b"m\x01a!\x03xyzm\x01b");
    assert_eq!(next(&events).1, format!("{:?}", Control::Ping(b"xyz")));
    assert_eq!(server.ask_conn(id, |conn, _| conn.ping(b"there?")), Sent::Accepted);
    expect(&mut client, b"?\x06there?");
    client.write_all(b"!\x06there?").unwrap();
    assert_eq!(next(&events).1, format!("{:?}", Control::Pong(b"there?")));
    let too_long = server.ask_conn(id, |conn, _| conn.ping(&[0; 256]));
    assert_eq!(too_long, Sent::Refused(Refusal::NotEncodable));
}

#[test]
fn a_heartbeat_serves_a_protocol_of_ones_own() {
    let (told, closes) = channel();
    let listener = letters().heartbeat(20 * MS, 100 * MS);
    let server = serve(Engine::builder().reactors(1).listen(listener), move |_| {
        let told = told.clone();
        Script::<()>::new().close(move |closed, ()| tell(&told, *closed.reason()))
    });
    let mut client = server.connect();
    let (heard, ending) = read_to_end(&mut client);
    assert!(!heard.is_empty() && heard.chunks(2).all(|ping| ping == b"?\0"), "{}", heard.escape_ascii());
    assert_eq!(ending, Ending::Eof);
    assert_eq!(next(&closes), CloseReason::Idle);
}

#[test]
fn a_control_of_no_bytes_would_go_on_for_ever_and_ends_the_connection() {
    let (told, closes) = channel();
    let server = serve(Engine::builder().reactors(1).listen(letters()), move |_| {
        let told = told.clone();
        Script::<()>::new().close(move |closed, ()| tell(&told, *closed.reason()))
    });
    let mut client = server.connect();
    client.write_all(b"00").unwrap();
    assert_eq!(read_to_end(&mut client).0, b"");
    drop(client);
    assert_eq!(next(&closes), CloseReason::Protocol);
}

#[test]
fn a_panic_over_a_ping_ends_that_connection_and_is_told() {
    let (told, events) = channel();
    let server = serve(Engine::builder().reactors(1).listen(letters()), move |_| {
        let (told, panics) = (told.clone(), told.clone());
        Script::<()>::new()
            .message(|conn, _, _| {
                assert!(conn.ping(b"panic").is_refused());
                Action::Continue
            })
            .panic(move |text| tell(&panics, format!("panic {text}")))
            .close(move |closed, ()| tell(&told, closed.reason().to_string()))
    });
    let mut client = server.connect();
    client.write_all(b"m\0").unwrap();
    let mut told = next_n(&events, 2);
    told.sort();
    assert_eq!(told, ["a callback panicked", "panic over a ping"]);
    read_to_end(&mut client);
    echo_letter(&server);
}

fn echo_letter(server: &Server<Script>) {
    let mut client = server.connect();
    client.write_all(b"?\x01x").unwrap();
    expect(&mut client, b"!\x01x");
}

/// A server that talks all the time to a client that only listens.
fn one_sided(activity: Activity) -> (Server<Script>, std::sync::mpsc::Receiver<CloseReason>) {
    let (told, closes) = channel();
    let builder = local().reactors(1).idle_timeout(800 * MS).idle_counts(activity);
    let server = serve(builder, move |_| {
        let told = told.clone();
        Script::<()>::new()
            .open(|conn, _| {
                conn.set_timer(TimerKind(1), 10 * MS);
                Action::Continue
            })
            .timer(|conn, _, kind| {
                conn.send("tick ");
                conn.set_timer(kind, 10 * MS);
                Action::Continue
            })
            .close(move |closed, ()| tell(&told, *closed.reason()))
    });
    (server, closes)
}

#[test]
fn what_we_send_counts_as_activity_by_default() {
    let (server, closes) = one_sided(Activity::Either);
    let mut client = server.connect();
    let began = Instant::now();
    while began.elapsed() < 1500 * MS {
        assert!(client.read(&mut [0; 64]).unwrap() > 0, "{:?}", closes.try_recv());
    }
    assert!(closes.try_recv().is_err());
}

#[test]
fn what_we_send_does_not_count_where_only_input_does() {
    let (server, closes) = one_sided(Activity::Received);
    let began = Instant::now();
    let mut client = server.connect();
    let (heard, _) = read_to_end(&mut client);
    assert!(heard.starts_with(b"tick ") && began.elapsed() >= 800 * MS);
    assert_eq!(next(&closes), CloseReason::Idle);
    // And what comes does count.
    let mut client = server.connect();
    let began = Instant::now();
    while began.elapsed() < 1500 * MS {
        client.write_all(b"still here").unwrap();
        thread::sleep(20 * MS);
    }
    assert!(closes.try_recv().is_err());
}
