//! Messages with their length in front of them, over real sockets: every preset, every cut, every limit.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Write,
    net::{Shutdown, TcpListener, TcpStream},
};

use wheelhouse::{
    Action, Audience, Bytes, CloseReason, Connect, Engine, Error, Framing, Kind, LengthDelimited, Listener,
    On, Payload, Policy, Refusal, Sent,
};
use wheelhouse_tests::{
    Bench, Event, Pattern, Script, connect_small, is_reset, one_listener, read_exactly, read_to_end, until,
};

fn framed(parameters: LengthDelimited) -> Listener {
    Listener::new("tcp://127.0.0.1:0").framing(Framing::length_delimited(parameters))
}

/// A preset, and what it writes in front of a body of so many bytes.
type Preset = (fn() -> LengthDelimited, fn(usize) -> Vec<u8>);

const PRESETS: [Preset; 8] = [
    (LengthDelimited::u8, |n| (n as u8).to_be_bytes().to_vec()),
    (LengthDelimited::u16_be, |n| (n as u16).to_be_bytes().to_vec()),
    (LengthDelimited::u16_le, |n| (n as u16).to_le_bytes().to_vec()),
    (LengthDelimited::u32_be, |n| (n as u32).to_be_bytes().to_vec()),
    (LengthDelimited::u32_le, |n| (n as u32).to_le_bytes().to_vec()),
    (LengthDelimited::u64_be, |n| (n as u64).to_be_bytes().to_vec()),
    (LengthDelimited::u64_le, |n| (n as u64).to_le_bytes().to_vec()),
    (LengthDelimited::type_flags, |n| [&[n as u8, 0x81], &(n as u32).to_be_bytes()[..]].concat()),
];

#[track_caller]
fn read_as(stream: &mut TcpStream, expected: &[u8], what: &str) {
    assert!(read_exactly(stream, expected.len()) == expected, "{what}");
}

// ---- messages

#[test]
fn every_preset_echoes_frames_that_come_together() {
    for (number, (preset, header)) in PRESETS.into_iter().enumerate() {
        let bench = Bench::start(one_listener(framed(preset())), |_| Script::echo());
        let (mut stream, id) = bench.connect();
        let mut pattern = Pattern::new(number as u64);
        let bodies = [0, 1, 13, 14, 0, 255].map(|size| pattern.take(size));
        let sent: Vec<u8> =
            bodies.iter().flat_map(|body| [header(body.len()), body.clone()].concat()).collect();
        stream.write_all(&sent).unwrap();
        for body in &bodies {
            assert_eq!(bench.message(id), *body, "preset {number}");
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stream), sent, "preset {number}");
    }
}

#[test]
fn frames_are_the_same_wherever_segments_cut_them() {
    for (number, (preset, header)) in PRESETS.into_iter().enumerate() {
        let bench = Bench::start(one_listener(framed(preset())), |_| Script::echo());
        let (mut stream, id) = bench.connect();
        let bodies = [&b"one"[..], b"", b"longer than what fits inside a connection", b"4"];
        let sent = bodies.map(|body| [&header(body.len()), body].concat()).concat();
        for cut in 0..=sent.len() {
            let (first, second) = sent.split_at(cut);
            stream.write_all(first).unwrap();
            if !first.is_empty() {
                let far = (cut + sent.len() * cut) as u64;
                until("the first part is read", || bench.poster().stats().total().bytes_in >= far);
            }
            stream.write_all(second).unwrap();
            for body in bodies {
                assert_eq!(bench.message(id), body, "preset {number}, cut at {cut}");
            }
            read_as(&mut stream, &sent, &format!("preset {number}, cut at {cut}"));
        }
    }
}

#[test]
fn a_frame_larger_than_the_read_buffer_is_whole() {
    const SIZE: usize = 300_000;
    for step in [1000, 1024, 1025, 65_536, SIZE + 100] {
        let builder = one_listener(framed(LengthDelimited::u32_be())).read_buffer(1024);
        let bench = Bench::start(builder, |_| Script::echo());
        let mut stream = connect_small(bench.addr(), 16 << 10);
        let id = bench.opened();
        let mut pattern = Pattern::new(step as u64);
        // Small ones around it: what is read behind a large one belongs to the next.
        let bodies = [10, SIZE, 0, 2000, SIZE + 1, 1020, 1].map(|size| pattern.take(size));
        let sent: Vec<u8> =
            bodies.iter().flat_map(|body| [&(body.len() as u32).to_be_bytes()[..], body].concat()).collect();
        std::thread::scope(|scope| {
            let (mut writer, sent) = (stream.try_clone().unwrap(), &sent);
            scope.spawn(move || {
                sent.chunks(step).for_each(|piece| writer.write_all(piece).unwrap());
                writer.shutdown(Shutdown::Write).unwrap();
            });
            assert!(read_to_end(&mut stream) == *sent, "step {step}");
        });
        for body in &bodies {
            assert!(bench.message(id) == *body, "step {step}, body of {}", body.len());
        }
        assert!(matches!(bench.closed(id).reason, CloseReason::Peer { .. }));
        until("the memory is back", || bench.poster().stats().total().buffered == 0);
    }
}

#[test]
fn type_and_flags_are_the_kind_in_both_directions() {
    let bench = Bench::start(one_listener(framed(LengthDelimited::type_flags())), |_| {
        Script::new().on_message(|conn, _, message| {
            let [kind, flags] = message.kind().number().unwrap().to_be_bytes();
            let answer = Kind::custom(u16::from_be_bytes([kind | 0x80, flags + 1]));
            conn.send(Payload::from(message).with_kind(answer));
            conn.send("without a number");
            Action::Continue
        })
    });
    let (mut stream, _) = bench.connect();
    stream.write_all(b"\x05\x01\0\0\0\x02hi").unwrap();
    assert_eq!(read_exactly(&mut stream, 8), b"\x85\x02\0\0\0\x02hi");
    assert_eq!(read_exactly(&mut stream, 22), b"\0\0\0\0\0\x10without a number");
}

#[test]
fn a_shared_body_follows_its_length_and_so_does_a_broadcast() {
    let bench = Bench::start(one_listener(framed(LengthDelimited::u16_le())), |_| Script::new());
    let (mut stream, id) = bench.connect();
    let body = Pattern::new(3).take(40_000);
    let expected = [&40_000_u16.to_le_bytes()[..], &body].concat();
    let shared = Bytes::from(body);
    let sent = shared.clone();
    assert_eq!(bench.ask(id, move |conn, _| conn.send(sent)), Sent::Accepted);
    read_as(&mut stream, &expected, "sent");
    bench.poster().broadcast(Audience::Open, shared).unwrap();
    read_as(&mut stream, &expected, "broadcast");
}

#[test]
fn a_dialled_connection_has_frames_too() {
    let (listener, url) = fixture::listener();
    let bench = Bench::start(Engine::builder().reactors(1), |_| Script::echo());
    let to = Connect::to(url).framing(Framing::length_delimited(LengthDelimited::u16_be().adjustment(-2)));
    bench.poster().connect(On::Any, to).unwrap();
    let mut stream = fixture::accept(&listener);
    let id = bench.opened();
    stream.write_all(b"\0\x04hi\0\x02").unwrap();
    assert_eq!(read_exactly(&mut stream, 6), b"\0\x04hi\0\x02");
    assert_eq!((bench.message(id), bench.message(id)), (b"hi".to_vec(), vec![]));
}

// ---- limits

#[test]
fn a_bad_length_closes_with_the_reason_behind_the_answers_given_before() {
    let counted = LengthDelimited::u16_be().adjustment(-2).max_body(16);
    let longest = LengthDelimited::u64_be().adjustment(1).max_body(16);
    for (parameters, good, bad, told) in [
        (
            LengthDelimited::u8().max_body(16),
            &b"\x03abc"[..],
            &b"\x11"[..],
            "a length of 17: 0 to 16 B may follow",
        ),
        (counted.clone(), b"\0\x05abc", b"\0\x01", "a length of 1, adjusted by -2: 0 to 16 B may follow"),
        (
            counted,
            b"\0\x12sixteen bytes ok",
            b"\0\x13",
            "a length of 19, adjusted by -2: 0 to 16 B may follow",
        ),
        (
            longest,
            b"\0\0\0\0\0\0\0\x02abc",
            &[0xff; 8],
            "a length of 18446744073709551615, adjusted by 1: 0 to 16 B may follow",
        ),
    ] {
        for behind in [0, 1, 100_000] {
            let bench = Bench::start(one_listener(framed(parameters.clone())), |_| Script::echo());
            let (mut stream, id) = bench.connect();
            stream.write_all(&[good, good, bad, &vec![0; behind]].concat()).unwrap();
            assert_eq!(read_to_end(&mut stream), [good, good].concat(), "FIN, not a reset");
            drop(stream);
            let gone = bench.closed(id);
            assert_eq!(gone.reason, CloseReason::Protocol);
            assert_eq!(gone.error.as_deref(), Some(told));
            let messages = bench.stop().iter().filter(|event| matches!(event, Event::Message(..))).count();
            assert_eq!(messages, 2);
        }
    }
}

#[test]
fn the_longest_frame_needs_an_inbound_limit_that_counts_its_header_too() {
    const LONGEST: usize = 1 << 20;
    let body = Pattern::new(9).take(LONGEST);
    let start = |limit| {
        let builder = one_listener(framed(LengthDelimited::u32_be())).inbound_limit(limit);
        let bench = Bench::start(builder, |_| Script::new());
        let (mut stream, id) = bench.connect();
        stream.write_all(&(LONGEST as u32).to_be_bytes()).unwrap();
        (bench, stream, id)
    };
    let (bench, mut stream, id) = start(LONGEST + 4);
    stream.write_all(&body).unwrap();
    assert!(bench.message(id) == body);
    let (bench, mut stream, id) = start(LONGEST);
    assert_eq!(bench.closed(id).reason, CloseReason::InboundOverflow);
    assert!(is_reset(&mut stream));
}

#[test]
fn a_payload_that_does_not_fit_is_refused_and_nothing_of_it_leaves() {
    for parameters in [LengthDelimited::u8(), LengthDelimited::u32_be().width(1).max_body(255)] {
        let bench = Bench::start(one_listener(framed(parameters)), |_| Script::new());
        let (mut stream, id) = bench.connect();
        let sent = bench.ask(id, |conn, _| {
            [conn.send("a"), conn.send(vec![1; 256]), conn.send(vec![1; 5000]), conn.send("b")]
        });
        let refused = Sent::Refused(Refusal::NotEncodable);
        assert_eq!(sent, [Sent::Accepted, refused, refused, Sent::Accepted]);
        assert_eq!(read_exactly(&mut stream, 4), b"\x01a\x01b");
    }
}

// ---- parameters

#[test]
fn bad_parameters_are_refused_before_a_socket_is_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    let bench = Bench::raw(|_| Script::new());
    for (parameter, seen, least, parameters) in [
        ("length_delimited width", "5", "1, 2, 3, 4 or 8", LengthDelimited::u8().width(5)),
        ("length_delimited offset", "65", "0 to 64", LengthDelimited::u8().offset(65)),
        ("length_delimited offset", "0", "2 to 64", LengthDelimited::type_flags().offset(0)),
        ("length_delimited max_body", "0", "1 to 67108864", LengthDelimited::u8().max_body(0)),
        ("length_delimited max_body", "67108865", "67108864", LengthDelimited::u8().max_body((64 << 20) + 1)),
        ("length_delimited strip", "129", "0 to 128", LengthDelimited::u8().strip(129)),
        ("length_delimited adjustment", "-256", "-255 to ", LengthDelimited::u8().adjustment(-256)),
    ] {
        let framing = Framing::length_delimited(parameters);
        // The port is taken: had a socket been opened first, that would be the error.
        let listener = Listener::new(taken.as_str()).framing(framing.clone()).policy(Policy::DropMessage);
        let listening = fixture::refusal(one_listener(listener));
        let connect = Connect::to(taken.as_str()).framing(framing);
        let dialling = bench.poster().connect(On::Any, connect).unwrap_err();
        for error in [listening, dialling] {
            let Error::BadOption { option, value, allowed } = &error else { panic!("{error}") };
            assert_eq!((*option, value.as_str()), (parameter, seen), "{error}");
            assert!(allowed.contains(least), "{error}");
        }
    }
}
