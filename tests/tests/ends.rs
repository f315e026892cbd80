//! How streams end and are interrupted: FIN with and behind data, half-closes of either side, resets, urgent data.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{ErrorKind, IoSlice, Read, Write},
    net::{Shutdown, TcpStream},
    os::{fd::AsRawFd, unix::net::UnixStream},
    time::Duration,
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use wheelhouse::{Action, CloseReason, ConnId, Framing, Listener, Refusal, Sent, TimerKind};
use wheelhouse_tests::{
    Bench, Event, Gone, Pattern, Script, connect, linger_zero, one_listener, one_reactor, read_exactly,
    read_to_end, send_urgent, until,
};

const LATER: TimerKind = TimerKind(1);

/// Gathers what comes in its session.
fn gather() -> Script {
    Script::new().quiet().on_message(|_, notes, message| {
        notes.bytes.extend_from_slice(message.bytes());
        Action::Continue
    })
}

fn eof(bench: &Bench, id: ConnId) {
    bench.expect("an eof", |event| matches!(event, Event::Eof(of) if *of == id).then_some(()));
}

fn next_closed(bench: &Bench) -> Gone {
    let id = bench.opened();
    bench.closed(id)
}

// ---- FIN from the peer

#[test]
fn data_and_fin_that_come_together_are_both_noticed_every_time() {
    let bench = Bench::raw(|_| gather());
    for round in 0..500_u64 {
        let sent = Pattern::new(round).take(1 + (round as usize * 37) % 3000);
        let mut stream = connect(bench.addr());
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        if round % 2 == 0 {
            // Closed by our FIN; on odd rounds the peer is gone by then.
            assert_eq!(read_to_end(&mut stream), b"");
        }
        drop(stream);
        let gone = next_closed(&bench);
        assert_eq!(gone.notes.bytes, sent, "all data before the end");
        assert_eq!(gone.reason, CloseReason::Peer { code: None });
    }
}

#[test]
fn data_and_fin_from_before_the_accept_are_both_noticed() {
    let (told, tells) = std::sync::mpsc::channel::<Vec<u8>>();
    struct Gather(std::sync::mpsc::Sender<Vec<u8>>);
    impl wheelhouse::Handler for Gather {
        type Session = Vec<u8>;

        fn on_message(
            &mut self,
            _: &mut wheelhouse::Conn<'_>,
            all: &mut Vec<u8>,
            message: wheelhouse::Message<'_>,
        ) -> Action {
            all.extend_from_slice(message.bytes());
            Action::Continue
        }

        fn on_close(&mut self, _: &mut wheelhouse::Closed<'_>, all: Vec<u8>) {
            self.0.send(all).unwrap();
        }
    }
    let engine = one_reactor().build(move |_| Gather(told.clone())).unwrap();
    let wheelhouse::Address::Tcp(addr) = engine.addresses()[0] else { unreachable!() };
    let early: Vec<TcpStream> = (0..100_u64)
        .map(|n| {
            let mut stream = connect(addr);
            stream.write_all(&Pattern::new(n).take(1000)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream
        })
        .collect();
    let running = engine.start().unwrap();
    let mut came: Vec<Vec<u8>> =
        early.iter().map(|_| tells.recv_timeout(wheelhouse_tests::LIMIT).unwrap()).collect();
    let mut sent: Vec<Vec<u8>> = (0..100).map(|n| Pattern::new(n).take(1000)).collect();
    came.sort();
    sent.sort();
    assert!(came == sent);
    drop(running);
}

#[test]
fn a_peer_that_closed_its_side_is_still_answered_later() {
    let bench = Bench::raw(|_| {
        gather()
            .on_eof(|conn, notes| {
                conn.send(format!("{} bytes; ", notes.bytes.len()));
                conn.set_timer(LATER, Duration::from_millis(20));
                Action::Continue
            })
            .on_timer(|conn, _, _| {
                conn.send("later; ");
                Action::Continue
            })
    });
    let (mut stream, id) = bench.connect();
    stream.write_all(&[0; 10_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_exactly(&mut stream, 20), b"10000 bytes; later; ");
    bench.ask(id, |conn, _| {
        assert!(conn.is_open());
        conn.send("posted");
        conn.finish();
    });
    assert_eq!(read_to_end(&mut stream), b"posted");
    assert_eq!(bench.closed(id).reason, CloseReason::Peer { code: None });
    let eofs = bench.stop().iter().filter(|event| event.name() == "eof").count();
    assert_eq!(eofs, 1);
}

#[test]
fn a_reset_after_the_peers_fin_is_noticed() {
    let bench = Bench::raw(|_| Script::new().on_eof(|_, _| Action::Continue));
    let (stream, id) = bench.connect();
    stream.shutdown(Shutdown::Write).unwrap();
    eof(&bench, id);
    linger_zero(&stream);
    drop(stream);
    let gone = bench.closed(id);
    // After the peer's FIN the kernel calls it a broken pipe.
    assert_eq!((gone.reason, gone.errno), (CloseReason::Io, Some(nix::libc::EPIPE)));
}

#[test]
fn fin_that_comes_while_paused_is_told_after_the_data_once_resumed() {
    let bench = Bench::raw(|_| {
        gather().on_open(|conn, _| {
            conn.pause();
            Action::Continue
        })
    });
    let (mut stream, id) = bench.connect();
    let sent = Pattern::new(1).take(300_000);
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    bench.settle();
    assert!(bench.ask(id, |conn, notes| conn.is_open() && notes.bytes.is_empty()));
    bench.poster().resume(id);
    eof(&bench, id);
    assert_eq!(read_to_end(&mut stream), b"");
    let gone = bench.closed(id);
    assert!(gone.notes.bytes == sent);
    assert_eq!(gone.reason, CloseReason::Peer { code: None });
}

#[test]
fn an_unfinished_line_before_the_end_is_no_message() {
    let listener = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(80));
    let bench = Bench::start(one_listener(listener), |_| Script::echo());
    let (mut stream, id) = bench.connect();
    stream.write_all(b"one\ntwo").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut stream), b"one\n");
    assert_eq!(bench.closed(id).reason, CloseReason::Peer { code: None });
}

// ---- FIN from us

#[test]
fn after_shutdown_write_the_peer_may_still_send() {
    let bench = Bench::raw(|_| {
        gather().on_open(|conn, _| {
            conn.send("all I have to say");
            conn.shutdown_write();
            assert_eq!(conn.send("more"), Sent::Refused(Refusal::Closing));
            Action::Continue
        })
    });
    let (mut stream, id) = bench.connect();
    assert_eq!(read_to_end(&mut stream), b"all I have to say");
    assert!(bench.ask(id, |conn, _| conn.is_open()), "its callbacks go on");
    let mut pattern = Pattern::new(2);
    for _ in 0..50 {
        stream.write_all(&pattern.take(10_000)).unwrap();
    }
    until("it has come", || bench.ask(id, |_, notes| notes.bytes.len() == 500_000));
    stream.shutdown(Shutdown::Write).unwrap();
    let gone = bench.closed(id);
    Pattern::new(2).check(&gone.notes.bytes);
    assert_eq!((gone.reason, gone.unsent), (CloseReason::Peer { code: None }, 0));
}

#[test]
fn shutdown_write_waits_for_what_is_queued() {
    let bench = Bench::start(one_reactor().send_buffer(8 << 10), |_| {
        gather().on_open(|conn, _| {
            conn.send(Pattern::new(3).take(2 << 20));
            conn.shutdown_write();
            Action::Continue
        })
    });
    let (mut stream, id) = bench.connect();
    let came = read_to_end(&mut stream);
    assert_eq!(came.len(), 2 << 20);
    Pattern::new(3).check(&came);
    stream.write_all(b"thanks").unwrap();
    until("it has come", || bench.ask(id, |_, notes| notes.bytes == b"thanks"));
    drop(stream);
    assert_eq!(bench.closed(id).reason, CloseReason::Peer { code: None });
}

#[test]
fn both_sides_half_closed_is_closed_in_either_order() {
    for peer_first in [true, false] {
        let bench = Bench::raw(|_| Script::new().on_eof(|_, _| Action::Continue));
        let (mut stream, id) = bench.connect();
        if peer_first {
            stream.shutdown(Shutdown::Write).unwrap();
            eof(&bench, id);
        }
        bench.ask(id, |conn, _| conn.shutdown_write());
        assert_eq!(read_to_end(&mut stream), b"");
        if !peer_first {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(bench.closed(id).reason, CloseReason::Peer { code: None });
    }
}

// ---- resets

#[test]
fn a_reset_by_the_peer_is_told_with_its_error_and_the_peers_address() {
    let bench = Bench::raw(|_| Script::new());
    let (mut stream, id) = bench.connect();
    let peer = stream.local_addr().unwrap();
    stream.write_all(b"hello").unwrap();
    bench.message(id);
    linger_zero(&stream);
    drop(stream);
    let gone = bench.closed(id);
    assert_eq!((gone.reason, gone.errno), (CloseReason::Io, Some(nix::libc::ECONNRESET)));
    assert_eq!(gone.peer, Some(peer));
    assert!(!bench.stop().iter().any(|event| event.name() == "eof"), "a reset is no end of stream");
}

#[test]
fn a_reset_is_noticed_while_reading_is_paused() {
    let bench = Bench::raw(|_| Script::new().on_open(|_, _| Action::Hold));
    let (mut stream, id) = bench.connect();
    stream.write_all(b"never read").unwrap();
    bench.settle();
    linger_zero(&stream);
    drop(stream);
    let gone = bench.closed(id);
    assert_eq!((gone.reason, gone.errno), (CloseReason::Io, Some(nix::libc::ECONNRESET)));
}

#[test]
fn a_reset_is_noticed_while_bytes_wait_to_be_sent() {
    let bench = Bench::start(one_reactor().send_buffer(8 << 10), |_| {
        Script::new().on_open(|conn, _| {
            assert!(conn.send(vec![1; 3 << 20]).is_full());
            Action::Continue
        })
    });
    let (mut stream, id) = bench.connect();
    read_exactly(&mut stream, 1000);
    linger_zero(&stream);
    drop(stream);
    let gone = bench.closed(id);
    assert_eq!(gone.reason, CloseReason::Io);
    assert!(gone.unsent > 0 && gone.unsent < 3 << 20, "{}", gone.unsent);
    until("it is counted", || bench.poster().stats().total().bytes_unsent == gone.unsent);
}

#[test]
fn a_unix_peer_that_goes_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(one_listener(format!("unix:{}/s", dir.path().display())), |_| Script::echo());
    let mut stream = UnixStream::connect(bench.path()).unwrap();
    stream.set_read_timeout(Some(wheelhouse_tests::LIMIT)).unwrap();
    let id = bench.opened();
    stream.write_all(b"hello").unwrap();
    assert_eq!(read_exactly(&mut stream, 5), b"hello");
    stream.write_all(b"the end").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut stream), b"the end");
    let gone = bench.closed(id);
    assert_eq!((gone.reason, gone.peer), (CloseReason::Peer { code: None }, None));
}

// ---- urgent data

#[test]
fn bytes_before_and_behind_urgent_data_all_arrive() {
    let bench = Bench::raw(|_| gather());
    for round in 0..200 {
        let (mut stream, id) = bench.connect();
        if round % 2 == 0 {
            bench.ask(id, |conn, _| conn.pause());
        }
        stream.write_all(b"before ").unwrap();
        // Without SO_OOBINLINE the urgent byte itself is not part of the stream.
        send_urgent(&stream, b"mark!");
        stream.write_all(b" behind").unwrap();
        if round % 2 == 0 {
            bench.poster().resume(id);
        }
        if round % 4 < 2 {
            // No FIN helps it along.
            until("all of it has come", || bench.ask(id, |_, notes| notes.bytes.len() == 18));
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let gone = bench.closed(id);
        assert_eq!(String::from_utf8(gone.notes.bytes).unwrap(), "before mark behind", "round {round}");
    }
}

#[test]
fn a_flood_of_urgent_marks_loses_no_byte_between_them() {
    let bench = Bench::raw(|_| gather());
    let (mut stream, id) = bench.connect();
    let (mut sent, mut pattern) = (Vec::new(), Pattern::new(5));
    for round in 0..500 {
        let some = pattern.take(round % 97 + 1);
        stream.write_all(&some).unwrap();
        sent.extend_from_slice(&some);
        if round % 50 == 0 {
            // A mark that the next one overtakes becomes part of the stream: wait until it has been passed.
            let so_far = sent.len();
            until("it has come", || bench.ask(id, move |_, notes| notes.bytes.len() == so_far));
            send_urgent(&stream, b"!");
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let gone = bench.closed(id);
    assert_eq!(gone.notes.bytes.len(), sent.len());
    assert!(gone.notes.bytes == sent);
}

#[test]
fn input_that_comes_after_a_close_makes_the_kernel_reset_the_peer() {
    let bench = Bench::raw(|_| {
        Script::new().on_message(|conn, _, _| {
            conn.send("closing");
            Action::Close
        })
    });
    let (mut stream, id) = bench.connect();
    stream.write_all(b"go").unwrap();
    assert_eq!(bench.closed(id).reason, CloseReason::Local);
    let mut heard = Vec::new();
    // What the kernel took goes out, then FIN: all input had been read.
    match stream.read_to_end(&mut heard) {
        Ok(_) => assert_eq!(heard, b"closing"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    until("the peer is told that nobody reads", || stream.write_all(b"more").is_err());
}

#[test]
fn descriptors_passed_over_a_unix_socket_cut_no_byte_off_and_stay_behind() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(one_listener(format!("unix:{}/s", dir.path().display())), |_| gather());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut stream = UnixStream::connect(bench.path()).unwrap();
    let id = bench.opened();
    for n in 0..10 {
        stream.write_all(b"before ").unwrap();
        let descriptors = [theirs.as_raw_fd()];
        let passed = [ControlMessage::ScmRights(&descriptors)];
        let with = [IoSlice::new(b"with ")];
        sendmsg::<()>(stream.as_raw_fd(), &with, &passed, MsgFlags::empty(), None).unwrap();
        stream.write_all(b"behind ").unwrap();
        until("all of it has come", || bench.ask(id, move |_, notes| notes.bytes.len() == 19 * (n + 1)));
    }
    drop(theirs);
    // Nobody holds the passed descriptors: their socket is closed.
    ours.set_read_timeout(Some(wheelhouse_tests::LIMIT)).unwrap();
    assert_eq!(read_to_end(&mut &ours), b"");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bench.closed(id).notes.bytes, b"before with behind ".repeat(10));
}
