//! Back-pressure: a peer that reads slowly, or never, costs a bounded number of bytes, and whoever sends to it is told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{
    Action, Builder, Bytes, CloseReason, ConnId, Engine, Framing, Listener, Policy, Refusal, Sent,
};

const LOW: usize = 16 << 10;
const HIGH: usize = 64 << 10;
const LIMIT: usize = 256 << 10;

/// What a connection's callbacks told.
#[derive(Debug, PartialEq)]
enum Told {
    Open(ConnId),
    Message(Vec<u8>),
    /// With the bytes that were queued then.
    Writable(usize),
    Close(CloseReason, u64),
}

fn narrow(listener: Listener) -> Builder {
    let listener = listener.water_marks(LOW, HIGH, LIMIT);
    Engine::builder().listen(listener).reactors(1).send_buffer(8 << 10).receive_buffer(64 << 10)
}

fn raw() -> Listener {
    Listener::new("tcp://127.0.0.1:0")
}

fn lines() -> Listener {
    raw().framing(Framing::lines(1 << 20))
}

/// An engine that tells everything and says nothing by itself.
fn telling(builder: Builder) -> (Server<Script>, Receiver<Told>) {
    let (told, heard) = channel();
    let server = serve(builder, move |_| {
        let tell = || {
            let told = told.clone();
            move |what| tell(&told, what)
        };
        let (open, message, writable, close) = (tell(), tell(), tell(), tell());
        Script::new()
            .open(move |conn, _| {
                open(Told::Open(conn.id()));
                Action::Continue
            })
            .message(move |_, _, got| {
                message(Told::Message(got.bytes().to_vec()));
                Action::Continue
            })
            .writable(move |conn, _| {
                writable(Told::Writable(conn.buffered().1));
                Action::Continue
            })
            .close(move |closed, ()| close(Told::Close(*closed.reason(), closed.unsent())))
    });
    (server, heard)
}

/// A client that has not begun to read, and its connection.
fn slow_reader(server: &Server<Script>, heard: &Receiver<Told>) -> (TcpStream, ConnId) {
    let client = connect_with_window(server.at(), 8 << 10);
    match next(heard) {
        Told::Open(id) => (client, id),
        other => panic!("{other:?}"),
    }
}

/// What became of one send, and how many bytes were queued after it.
type Outcome = (Sent, usize);

/// Sends numbered lines of 1,000 bytes within one callback, until one is refused and `more` after it.
fn flood(server: &Server<Script>, id: ConnId, framed: bool, more: usize) -> Vec<Outcome> {
    server.ask_conn(id, move |conn, _| {
        let (mut outcomes, mut refused) = (Vec::new(), 0);
        for n in 0..10_000 {
            let sent = conn.send(line(n, framed));
            outcomes.push((sent, conn.buffered().1));
            refused += usize::from(sent.is_refused());
            if refused > more {
                return outcomes;
            }
        }
        panic!("10 MB were accepted for a peer that does not read");
    })
}

/// The `n`th line, which with its end has 1,000 bytes.
fn line(n: usize, framed: bool) -> Vec<u8> {
    let end = if framed { "" } else { "\n" };
    format!("{n:0>999}{end}").into_bytes()
}

fn accepted(outcomes: &[Outcome]) -> Vec<usize> {
    (0..outcomes.len()).filter(|&n| !outcomes[n].0.is_refused()).collect()
}

/// What the client must get for the lines that were accepted.
fn as_sent(lines: &[usize]) -> Vec<u8> {
    lines.iter().flat_map(|&n| line(n, false)).collect()
}

#[test]
fn a_slow_reader_meets_full_above_high_and_refusal_beyond_the_limit() {
    let (server, heard) = telling(narrow(raw()));
    let (mut client, id) = slow_reader(&server, &heard);
    let outcomes = flood(&server, id, false, 0);
    for (sent, queued) in &outcomes {
        assert!(*queued <= LIMIT, "{queued} bytes queued");
        match sent {
            Sent::Accepted => assert!(*queued <= HIGH, "accepted with {queued}"),
            Sent::Full => assert!(*queued > HIGH, "full with {queued}"),
            Sent::Refused(refusal) => {
                assert_eq!(*refusal, Refusal::OverLimit);
                assert!(*queued + 1000 > LIMIT, "refused with {queued}");
            }
        }
    }
    assert!(outcomes.iter().any(|(sent, _)| sent.is_full()));
    eventually("the refusal is counted", || server.handle.stats().total().sends_refused == 1);
    assert!(server.handle.stats().total().buffered <= 2 * LIMIT as u64);
    expect(&mut client, &as_sent(&accepted(&outcomes)));
    server.stop();
}

#[test]
fn writable_is_told_exactly_once_when_the_queue_is_down_to_the_low_mark() {
    let (server, heard) = telling(narrow(raw()));
    let (mut client, id) = slow_reader(&server, &heard);
    for _ in 0..3 {
        let outcomes = flood(&server, id, false, 0);
        assert_eq!(heard.try_recv(), Err(TryRecvError::Empty), "not before it is low");
        expect(&mut client, &as_sent(&accepted(&outcomes)));
        match next(&heard) {
            Told::Writable(queued) => assert!(queued <= LOW, "told with {queued} bytes queued"),
            other => panic!("{other:?}"),
        }
        // All that was sent is read, and an answer has come behind it: nothing more is on its way.
        client.write_all(b"?").unwrap();
        assert_eq!(next(&heard), Told::Message(b"?".to_vec()));
        assert_eq!(server.ask_conn(id, |conn, _| conn.buffered()), (0, 0));
        assert_eq!(heard.try_recv(), Err(TryRecvError::Empty), "once is enough");
    }
    server.stop();
}

/// Has the engine serve whatever came before; the connection that shows it.
fn settled(server: &Server<Script>, heard: &Receiver<Told>) -> TcpStream {
    let (mut other, _) = slow_reader(server, heard);
    other.write_all(b"settled").unwrap();
    assert_eq!(next(heard), Told::Message(b"settled".to_vec()));
    other
}

#[test]
fn reading_pauses_above_the_high_mark_and_goes_on_at_the_low_one() {
    let (server, heard) = telling(narrow(raw()));
    let (mut client, id) = slow_reader(&server, &heard);
    let outcomes = flood(&server, id, false, 0);
    client.write_all(b"later").unwrap();
    let _other = settled(&server, &heard);
    assert_eq!(heard.try_recv(), Err(TryRecvError::Empty), "who does not read is not read from");
    expect(&mut client, &as_sent(&accepted(&outcomes)));
    let mut both = next_n(&heard, 2);
    both.sort_by_key(|told| matches!(told, Told::Message(_)));
    assert!(matches!(both[0], Told::Writable(_)), "{both:?}");
    assert_eq!(both[1], Told::Message(b"later".to_vec()));
    server.stop();
}

#[test]
fn who_opts_out_of_the_automatic_pause_is_read_from_above_the_high_mark() {
    let (server, heard) = telling(narrow(raw()));
    let (mut client, id) = slow_reader(&server, &heard);
    server.ask_conn(id, |conn, _| conn.set_auto_pause(false));
    flood(&server, id, false, 0);
    client.write_all(b"now").unwrap();
    assert_eq!(next(&heard), Told::Message(b"now".to_vec()));
    server.stop();
}

#[test]
fn opting_out_while_paused_reads_what_has_waited() {
    let (server, heard) = telling(narrow(raw()));
    let (mut client, id) = slow_reader(&server, &heard);
    flood(&server, id, false, 0);
    client.write_all(b"waited").unwrap();
    let _other = settled(&server, &heard);
    server.ask_conn(id, |conn, _| conn.set_auto_pause(false));
    assert_eq!(next(&heard), Told::Message(b"waited".to_vec()));
    server.stop();
}

/// The handler's own pause and the engine's are two, and each is ended by its own end.
#[test]
fn the_handlers_pause_outlives_the_engines() {
    let (server, heard) = telling(narrow(raw()));
    let (mut client, id) = slow_reader(&server, &heard);
    server.ask_conn(id, |conn, _| conn.pause());
    let outcomes = flood(&server, id, false, 0);
    client.write_all(b"later").unwrap();
    expect(&mut client, &as_sent(&accepted(&outcomes)));
    assert!(matches!(next(&heard), Told::Writable(_)));
    let _other = settled(&server, &heard);
    assert_eq!(heard.try_recv(), Err(TryRecvError::Empty), "still paused by the handler");
    server.handle.resume(id);
    assert_eq!(next(&heard), Told::Message(b"later".to_vec()));
    server.stop();
}

#[test]
fn dropped_messages_are_whole_counted_and_leave_the_others_in_order() {
    let (server, heard) = telling(narrow(lines().policy(Policy::DropMessage)));
    let (mut client, id) = slow_reader(&server, &heard);
    let outcomes = flood(&server, id, true, 50);
    let dropped = outcomes.iter().filter(|(sent, _)| *sent == Sent::Refused(Refusal::OverLimit)).count();
    assert_eq!(dropped, 51);
    eventually("they are counted", || server.handle.stats().total().messages_dropped == 51);
    expect(&mut client, &as_sent(&accepted(&outcomes)));
    assert!(matches!(next(&heard), Told::Writable(_)));
    server.ask_conn(id, |conn, _| assert_eq!(conn.send("end"), Sent::Accepted));
    expect(&mut client, b"end\n");
    server.stop();
}

#[test]
fn under_the_closing_policy_the_peer_gets_a_reset_and_no_further_byte_is_queued() {
    let (server, heard) = telling(narrow(raw().policy(Policy::Close)));
    let (mut client, id) = slow_reader(&server, &heard);
    let outcomes = flood(&server, id, false, 20);
    let first = outcomes.iter().position(|(sent, _)| sent.is_refused()).unwrap();
    assert_eq!(outcomes[first].0, Sent::Refused(Refusal::OverLimit));
    for (sent, queued) in &outcomes[first + 1..] {
        assert_eq!(*sent, Sent::Refused(Refusal::Closing));
        assert!(*queued <= outcomes[first - 1].1, "{queued} bytes queued after the close");
    }
    let Told::Close(CloseReason::BackPressure, unsent) = next(&heard) else { panic!("closed for it") };
    let (got, ending) = read_to_end(&mut client);
    assert_eq!(ending, Ending::Reset);
    let accepted = 1000 * first;
    assert!(got.len() + unsent as usize <= accepted, "{} + {unsent} of {accepted}", got.len());
    assert_eq!(unsent as usize, outcomes[first - 1].1, "what was queued was not sent");
    server.stop();
}

/// The limit is one for all payloads: large or small, borrowed or shared, and whatever was gathered before.
#[test]
fn the_queue_never_exceeds_its_limit_whatever_the_mix_of_payloads() {
    let limit = 64 << 10;
    let listener = raw().water_marks(1 << 10, 60 << 10, limit);
    let (server, heard) = telling(Engine::builder().listen(listener).reactors(1).send_buffer(4 << 10));
    for shared in [false, true] {
        let (client, id) = slow_reader(&server, &heard);
        let greatest = server.ask_conn(id, move |conn, _| {
            let mut greatest = 0;
            for round in 0..4 {
                for _ in 0..59 {
                    conn.send(&[round; 1 << 10]);
                    greatest = greatest.max(conn.buffered().1);
                }
                let large = vec![round; 63 << 10];
                if shared {
                    conn.send(Bytes::from(large))
                } else {
                    conn.send(&large)
                };
                greatest = greatest.max(conn.buffered().1);
            }
            greatest
        });
        assert!(greatest <= limit, "{greatest} bytes queued, shared: {shared}");
        drop(client);
        assert!(matches!(next(&heard), Told::Close(..)));
    }
    server.stop();
}

#[test]
fn a_peer_that_never_reads_costs_a_bounded_number_of_bytes() {
    let (server, heard) = telling(narrow(raw()));
    let (client, id) = slow_reader(&server, &heard);
    let payload = Bytes::from(vec![7; 16 << 10]);
    for n in 0..200 {
        let payload = payload.clone();
        let queued = server.ask_conn(id, move |conn, _| {
            if n % 2 == 0 {
                conn.send(payload)
            } else {
                conn.send(&payload[..])
            };
            conn.buffered().1
        });
        assert!(queued <= LIMIT, "{queued} bytes queued");
        server.handle.send(id, payload_of(n)).unwrap();
    }
    assert!(server.ask_conn(id, |conn, _| conn.buffered().1) <= LIMIT);
    let total = server.handle.stats().total();
    assert!(total.buffered <= 2 * LIMIT as u64, "{} bytes lent", total.buffered);
    assert!(total.bytes_out < 1 << 20, "the kernel's own buffers are small: {}", total.bytes_out);
    assert!(total.sends_refused > 0);
    assert_eq!(total.closed, 0);
    drop(client);
    server.stop();
}

fn payload_of(n: u8) -> Vec<u8> {
    vec![n; 3000]
}

#[test]
fn a_peer_that_takes_nothing_is_reset_after_the_stall_timeout_and_not_before() {
    let stall = Duration::from_millis(300);
    let (server, heard) = telling(narrow(raw()).write_stall_timeout(Some(stall)));
    let (mut client, id) = slow_reader(&server, &heard);
    let begun = Instant::now();
    flood(&server, id, false, 0);
    let Told::Close(CloseReason::WriteStall, unsent) = next(&heard) else { panic!("closed for it") };
    assert!(begun.elapsed() >= stall, "after {:?}", begun.elapsed());
    assert!(unsent > 0);
    assert_eq!(read_to_end(&mut client).1, Ending::Reset);
    server.stop();
}

#[test]
fn a_peer_that_reads_everything_never_stalls() {
    let stall = Duration::from_millis(200);
    let (server, heard) = telling(narrow(raw()).write_stall_timeout(Some(stall)));
    let (mut client, id) = slow_reader(&server, &heard);
    let outcomes = flood(&server, id, false, 0);
    expect(&mut client, &as_sent(&accepted(&outcomes)));
    assert!(matches!(next(&heard), Told::Writable(_)));
    // Longer than the timeout: nothing is queued, so nothing can stall.
    assert!(heard.recv_timeout(3 * stall).is_err());
    client.write_all(b"alive").unwrap();
    assert_eq!(next(&heard), Told::Message(b"alive".to_vec()));
    server.stop();
}

#[test]
fn a_blocked_writer_does_not_keep_the_reactor_turning() {
    let (server, heard) = telling(narrow(raw()));
    let (client, id) = slow_reader(&server, &heard);
    flood(&server, id, false, 0);
    let turns = || server.handle.stats().total().turns;
    // The last few bytes that the kernel takes by itself.
    let mut before = turns();
    eventually("the reactor sleeps", || {
        thread::sleep(Duration::from_millis(20));
        std::mem::replace(&mut before, turns()) == turns()
    });
    let before = turns();
    thread::sleep(Duration::from_millis(500));
    let turned = turns() - before;
    assert!(turned <= 5, "{turned} turns although nothing happened");
    drop(client);
    server.stop();
}

#[test]
fn memory_goes_back_when_the_slow_reader_has_read_or_is_gone() {
    let (server, heard) = telling(narrow(raw()));
    let (mut client, id) = slow_reader(&server, &heard);
    let outcomes = flood(&server, id, false, 0);
    eventually("it is lent", || server.handle.stats().total().buffered > 0);
    expect(&mut client, &as_sent(&accepted(&outcomes)));
    eventually("it is given back", || server.handle.stats().total().buffered == 0);
    flood(&server, id, false, 0);
    eventually("it is lent", || server.handle.stats().total().buffered > 0);
    drop(client);
    eventually("it is given back", || server.handle.stats().total().buffered == 0);
    server.stop();
}

#[test]
fn a_unix_peer_that_never_reads_is_bounded_just_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slow.sock");
    let (server, heard) = telling(narrow(Listener::new(format!("unix:{}", path.display()))));
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let Told::Open(id) = next(&heard) else { panic!("it opens") };
    let outcomes = flood(&server, id, false, 0);
    assert!(outcomes.iter().all(|(_, queued)| *queued <= LIMIT));
    let expected = as_sent(&accepted(&outcomes));
    let mut got = vec![0; expected.len()];
    client.read_exact(&mut got).unwrap();
    assert!(got == expected);
    assert!(matches!(next(&heard), Told::Writable(queued) if queued <= LOW));
    server.stop();
}
