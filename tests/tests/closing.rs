//! What each kind of close lets out, what the peer sees of it, and what `on_close` is told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{Read, Write},
    net::Shutdown,
    time::{Duration, Instant},
};

use wheelhouse::{Action, CloseReason, Framing, Listener, Refusal, Sent, TimerKind};
use wheelhouse_tests::{
    Bench, Pattern, Script, blow_up, connect_small, is_reset, linger_zero, one_listener, one_reactor,
    read_exactly, read_to_end, until, wait_for_end,
};

#[test]
fn final_bytes_arrive_though_input_was_left_unread() {
    // 1 MiB that nobody reads, against 4 MiB and a finish; paused from the start, or never asked for after the first read.
    for pauses in [true, false] {
        let bench = Bench::raw(move |_| {
            Script::new()
                .quiet()
                .on_open(move |conn, _| {
                    if pauses {
                        conn.pause();
                    }
                    Action::Continue
                })
                .on_message(|_, _, _| Action::Hold)
        });
        let (mut stream, id) = bench.connect();
        let mut writer = stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || writer.write_all(&vec![b'i'; 1 << 20]));
        until("the input waits", || pauses || bench.ask(id, |conn, _| conn.buffered().0 > 0));
        bench.ask(id, |conn, _| {
            assert!(!conn.send(&Pattern::new(1).take(4 << 20)[..]).is_refused());
            conn.finish();
        });
        let came = read_to_end(&mut stream);
        assert_eq!(came.len(), 4 << 20);
        Pattern::new(1).check(&came);
        sender.join().unwrap().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let gone = bench.closed(id);
        assert_eq!((gone.reason, gone.unsent), (CloseReason::Local, 0));
    }
}

#[test]
fn finish_discards_what_still_comes_and_waits_for_the_peers_fin() {
    let bench = Bench::raw(|_| {
        Script::new().quiet().on_message(|conn, notes, _| {
            assert_eq!(notes.count, 0, "a message after finish");
            notes.count += 1;
            conn.send("goodbye");
            Action::Finish
        })
    });
    let (mut stream, id) = bench.connect();
    stream.write_all(b"hello").unwrap();
    assert_eq!(read_to_end(&mut stream), b"goodbye");
    for _ in 0..100 {
        stream.write_all(&[0; 10_000]).unwrap();
    }
    assert!(bench.poster().is_open(id), "its close waits for ours");
    stream.shutdown(Shutdown::Write).unwrap();
    let gone = bench.closed(id);
    assert_eq!((gone.reason, gone.notes.count), (CloseReason::Local, 1));
}

#[test]
fn a_peer_that_never_answers_the_close_is_closed_after_its_time() {
    let time = Duration::from_millis(100);
    let bench = Bench::start(one_reactor().close_timeout(time), |_| Script::new());
    let (mut stream, id) = bench.connect();
    let start = Instant::now();
    bench.poster().finish(id);
    assert_eq!(read_to_end(&mut stream), b"");
    let gone = bench.closed(id);
    assert_eq!(gone.reason, CloseReason::CloseTimeout);
    assert!(start.elapsed() >= time, "{:?}", start.elapsed());
}

#[test]
fn a_peer_that_goes_on_sending_does_not_put_the_close_off() {
    let bench =
        Bench::start(one_reactor().close_timeout(Duration::from_millis(100)), |_| Script::new().quiet());
    let (mut stream, id) = bench.connect();
    bench.poster().finish(id);
    until("the flood is refused", || stream.write_all(&[0; 1000]).is_err());
    assert_eq!(bench.closed(id).reason, CloseReason::CloseTimeout);
}

#[test]
fn a_peer_that_takes_nothing_of_a_finished_connection_is_reset() {
    let builder = one_reactor().send_buffer(8 << 10).write_stall_timeout(Some(Duration::from_millis(100)));
    let bench = Bench::start(builder, |_| Script::new());
    let mut stream = connect_small(bench.addr(), 4 << 10);
    let id = bench.opened();
    bench.ask(id, |conn, _| {
        conn.send(vec![0; 2 << 20]);
        conn.finish();
    });
    let gone = bench.closed(id);
    assert_eq!(gone.reason, CloseReason::WriteStall);
    assert!(gone.unsent > 1 << 20, "{}", gone.unsent);
    assert!(is_reset(&mut stream));
}

#[test]
fn close_lets_out_what_the_kernel_takes() {
    let bench = Bench::raw(|_| {
        Script::new().on_message(|conn, _, _| {
            conn.send("small, ");
            conn.send(&[b'l'; 5000]);
            conn.send(", small again");
            conn.close();
            assert_eq!(conn.send("late"), Sent::Refused(Refusal::Closing));
            Action::Continue
        })
    });
    let (mut stream, id) = bench.connect();
    stream.write_all(b"go").unwrap();
    let came = read_to_end(&mut stream);
    assert_eq!(came, [&b"small, "[..], &[b'l'; 5000], b", small again"].concat());
    let gone = bench.closed(id);
    assert_eq!((gone.reason, gone.unsent), (CloseReason::Local, 0));
}

#[test]
fn close_lets_out_what_others_sent_in_the_same_turn() {
    let bench = Bench::raw(|_| {
        Script::new().on_message(|conn, _, _| {
            let own = conn.id();
            for id in conn.reactor().connections() {
                if id != own {
                    let mut other = conn.other(id).unwrap();
                    other.send("last words");
                    other.close();
                }
            }
            Action::Continue
        })
    });
    let (mut other, others) = bench.connect();
    let (mut stream, _) = bench.connect();
    stream.write_all(b"go").unwrap();
    assert_eq!(read_to_end(&mut other), b"last words");
    assert_eq!(bench.closed(others).unsent, 0);
}

#[test]
fn what_never_left_is_counted_as_unsent() {
    const SENT: u64 = 3 << 20;
    for reset in [false, true] {
        let bench = Bench::start(one_reactor().send_buffer(8 << 10), |_| Script::new());
        let mut stream = connect_small(bench.addr(), 4 << 10);
        let id = bench.opened();
        let queued = bench.ask(id, move |conn, _| {
            conn.send(vec![1; SENT as usize]);
            let queued = conn.buffered().1 as u64;
            if reset {
                conn.reset()
            } else {
                conn.close()
            }
            queued
        });
        let gone = bench.closed(id);
        assert_eq!(gone.reason, CloseReason::Local);
        assert_eq!(gone.unsent, queued, "what the kernel took is not unsent");
        until("it is counted", || bench.poster().stats().total().bytes_unsent == queued);
        let mut came = 0;
        let mut bytes = [0; 4096];
        let end = loop {
            match stream.read(&mut bytes) {
                Ok(0) => break Ok(()),
                Ok(n) => came += n as u64,
                Err(error) => break Err(error.kind()),
            }
        };
        assert!(came <= SENT - queued);
        match reset {
            true => assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset)),
            false => assert_eq!((end, came), (Ok(()), SENT - queued), "what the kernel took arrives"),
        }
    }
}

#[test]
fn reset_is_a_reset_and_drops_what_was_gathered() {
    let bench = Bench::raw(|_| {
        Script::new().on_message(|conn, _, _| {
            conn.send("never seen");
            Action::Reset
        })
    });
    let (mut stream, id) = bench.connect();
    stream.write_all(b"go").unwrap();
    let mut came = Vec::new();
    let error = stream.read_to_end(&mut came).unwrap_err();
    assert_eq!((error.kind(), &came[..]), (std::io::ErrorKind::ConnectionReset, &b""[..]));
    let gone = bench.closed(id);
    assert_eq!((gone.reason, gone.unsent), (CloseReason::Local, 10));
}

#[test]
fn handles_close_finish_and_reset_as_conn_does() {
    let bench = Bench::raw(|_| Script::new());
    let handle = bench.poster();
    for way in 0..3 {
        let (mut stream, id) = bench.connect();
        handle.send(id, "before").unwrap();
        match way {
            0 => handle.close(id),
            1 => handle.finish(id),
            _ => {
                assert_eq!(read_exactly(&mut stream, 6), b"before");
                handle.reset(id);
            }
        }
        handle.send(id, "after").unwrap();
        match way {
            2 => assert!(is_reset(&mut stream)),
            _ => assert_eq!(read_to_end(&mut stream), b"before"),
        }
        drop(stream);
        assert_eq!(bench.closed(id).reason, CloseReason::Local);
    }
}

#[test]
fn the_first_reason_to_close_is_the_one_that_is_told() {
    let bench = Bench::start(one_reactor().close_timeout(Duration::from_secs(60)), |_| Script::new());
    let (mut stream, id) = bench.connect();
    bench.poster().finish(id);
    assert_eq!(read_to_end(&mut stream), b"");
    // A close overtakes the finish that waits, and an end of the engine comes too late for both.
    bench.poster().close(id);
    bench.poster().shutdown();
    assert_eq!(bench.closed(id).reason, CloseReason::Local);
    let _ = wait_for_end(&mut stream);
}

#[test]
fn every_close_gives_buffers_and_timers_back_whatever_was_in_them() {
    let lines = Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(1 << 20));
    let bench = Bench::start(one_listener(lines).send_buffer(8 << 10), |_| {
        Script::new().quiet().on_message(|_, _, _| Action::Hold)
    });
    let stats = || bench.poster().stats().total();
    for way in 0..5 {
        // A half line of each kind of storage, with and without a held one before it, and with bytes queued.
        for half in [3, 5_000, 300_000] {
            for held in [&b""[..], b"held\n"] {
                for queued in [0, 1000, 1 << 20] {
                    let mut stream = connect_small(bench.addr(), 16 << 10);
                    let id = bench.opened();
                    let before = stats().bytes_in;
                    stream.write_all(&[held, &vec![b'x'; half][..half.min(4000)]].concat()).unwrap();
                    if held.is_empty() && half > 4000 {
                        stream.write_all(&vec![b'x'; half - 4000]).unwrap();
                    }
                    until("it is read", || stats().bytes_in > before);
                    bench.ask(id, move |conn, _| {
                        for kind in 0..5 {
                            conn.set_timer(TimerKind(kind), Duration::from_secs(3600));
                        }
                        conn.set_idle_timeout(Some(Duration::from_secs(3600)));
                        conn.send(&vec![b'y'; queued][..]);
                    });
                    match way {
                        0 => bench.poster().close(id),
                        1 => bench.poster().reset(id),
                        2 => linger_zero(&stream),
                        3 => {
                            let _ = bench.poster().post_to(id, |_, _, _| blow_up("as planned"));
                        }
                        _ => bench.poster().finish(id),
                    }
                    if way == 4 {
                        let _ = wait_for_end(&mut stream);
                    }
                    drop(stream);
                    bench.closed(id);
                }
            }
        }
    }
    until("the buffers are back", || stats().buffered == 0);
    until("the timers are gone", || stats().timers == 0);
    assert_eq!(stats().connections, 0);
}
