//! Handles: whatever other threads ask arrives in order, once, at the right connection or not at all, and no reactor ever
//! waits for another.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{Read, Write},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};

use fixture::*;
use wheelhouse::{
    Action, Audience, Builder, CloseReason, ConnId, Engine, Framing, Handle, Listener, ListenerId, Poster,
    ReactorId,
};

fn lines() -> Builder {
    Engine::builder().listen(Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(4096)))
}

#[test]
fn ten_thousand_messages_of_each_sender_arrive_in_order() {
    let (server, ids) = telling_ids(lines().reactors(2));
    let (mut client, id) = client(&server, &ids);
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let handle = server.handle.clone();
            thread::spawn(move || {
                for n in 0..10_000 {
                    handle.send_timeout(id, format!("{sender} {n}"), PATIENCE).unwrap();
                }
            })
        })
        .collect();
    let (mut text, mut buffer, mut expected) = (Vec::new(), vec![0; 64 << 10], [0; 4]);
    while expected.iter().sum::<usize>() < 40_000 {
        let n = client.read(&mut buffer).unwrap();
        assert!(n > 0, "closed after {expected:?}");
        text.extend_from_slice(&buffer[..n]);
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        for line in String::from_utf8(text.drain(..whole).collect()).unwrap().lines() {
            let (sender, n) = line.split_once(' ').unwrap();
            let expected = &mut expected[sender.parse::<usize>().unwrap()];
            assert_eq!(n.parse(), Ok(*expected), "of sender {sender}");
            *expected += 1;
        }
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    server.stop();
}

/// Sends, posts, resumes and closes of one thread keep their order too.
#[test]
fn commands_of_different_kinds_keep_one_order() {
    let (server, ids) = telling_ids(lines());
    for _ in 0..50 {
        let (mut client, id) = client(&server, &ids);
        server.handle.send(id, "one").unwrap();
        server
            .poster
            .post_to(id, |_, conn, _| assert!(!conn.send("two").is_refused()))
            .unwrap_or_else(|_| panic!("full"));
        server.handle.send_many(&[id], "three").unwrap();
        server.handle.send(id, "four").unwrap();
        server.handle.broadcast(Audience::Open, "five").unwrap();
        server.handle.send(id, "six").unwrap();
        server.handle.send_many(&[id], "seven").unwrap();
        server.handle.finish(id);
        server.handle.send(id, "never").unwrap();
        let (got, ending) = read_to_end(&mut client);
        assert_eq!(String::from_utf8_lossy(&got), "one\ntwo\nthree\nfour\nfive\nsix\nseven\n");
        assert_eq!(ending, Ending::Eof);
    }
    server.stop();
}

#[test]
fn close_finish_and_reset_end_a_connection_as_they_say() {
    let (told, closes) = channel();
    let server = serve(local(), move |_| {
        let told = told.clone();
        Script::<()>::new().close(move |closed, ()| tell(&told, (closed.id(), *closed.reason())))
    });
    type How = fn(&Handle, ConnId);
    let ways: [(How, Ending); 3] =
        [(Handle::close, Ending::Eof), (Handle::finish, Ending::Eof), (Handle::reset, Ending::Reset)];
    for (how, ending) in ways {
        let mut client = server.connect();
        echo(&mut client, b"hello");
        let id = server.handle.connections().next().unwrap();
        how(&server.handle, id);
        assert_eq!(read_to_end(&mut client), (vec![], ending));
        drop(client);
        assert_eq!(next(&closes), (id, CloseReason::Local));
        eventually("it is gone", || !server.handle.is_open(id) && server.handle.count() == 0);
    }
    server.stop();
}

#[test]
fn a_resume_from_another_thread_ends_a_hold() {
    let held = Arc::new(AtomicBool::new(false));
    let server = serve(lines(), {
        let held = Arc::clone(&held);
        move |_| {
            let held = Arc::clone(&held);
            Script::<()>::new().message(move |conn, _, message| {
                if !held.swap(true, Ordering::SeqCst) {
                    return Action::Hold;
                }
                conn.send(message);
                Action::Continue
            })
        }
    });
    let mut client = server.connect();
    client.write_all(b"one\ntwo\nthree\n").unwrap();
    eventually("the first is held", || held.load(Ordering::SeqCst));
    server.handle.resume(server.handle.connections().next().unwrap());
    expect(&mut client, b"one\ntwo\nthree\n");
    server.stop();
}

#[test]
fn posted_closures_run_on_the_reactor_asked_for_and_beside_their_connection() {
    let server = serve(local().reactors(3), |_| Script::<u32>::new());
    for reactor in 0..3 {
        assert_eq!(server.ask(reactor, |_, reactor| reactor.id()), ReactorId(reactor));
    }
    let clients: Vec<_> = (0..9).map(|_| server.connect()).collect();
    eventually("all are there", || server.handle.connections().count() == clients.len());
    for id in server.handle.connections() {
        for round in 1..=3 {
            let seen = server.ask_conn(id, move |conn, session| {
                *session += 1;
                (conn.id(), *session, conn.reactor().id())
            });
            assert_eq!(seen, (id, round, id.reactor()));
        }
    }
    let poster = server.poster.clone();
    let wrong = thread::spawn(move || poster.post(ReactorId(3), |_, _| ()).is_ok());
    let told = wrong.join().unwrap_err();
    assert_eq!(told.downcast_ref::<String>().unwrap(), "reactor 3: the engine has 0 to 2");
    server.stop();
}

/// The callback asks for a closure and for something at once, time and again: neither is looked for among the others.
#[test]
fn many_closures_that_wait_cost_a_callback_nothing() {
    const MANY: u64 = 200_000;
    let (server, ids) = telling_ids(lines().mailbox(1 << 18));
    let (_client, id) = client(&server, &ids);
    let ran = Arc::new(AtomicU64::new(0));
    let (poster, counted) = (server.poster.clone(), Arc::clone(&ran));
    let took = server.ask_conn(id, move |conn, _| {
        let begun = Instant::now();
        for _ in 0..MANY {
            let counted = Arc::clone(&counted);
            let posted = poster.post(ReactorId(0), move |_, _| _ = counted.fetch_add(1, Ordering::SeqCst));
            assert!(posted.is_ok());
            poster.resume(conn.id());
            conn.resume();
        }
        begun.elapsed()
    });
    eventually("all have run", || ran.load(Ordering::SeqCst) == MANY);
    // Looking through them each time took minutes.
    assert!(took < Duration::from_secs(5), "{took:?}");
    server.stop();
}

fn again(poster: Poster<Script>, on: ReactorId) {
    let next = poster.clone();
    assert!(poster.post(on, move |_, _| again(next, on)).is_ok());
}

#[test]
fn closures_that_post_themselves_again_keep_nobody_out() {
    for reuse_port in [false, true] {
        let (server, ids) = telling_ids(lines().reuse_port(reuse_port));
        for _ in 0..300 {
            again(server.poster.clone(), ReactorId(0));
        }
        let (mut stream, id) = client(&server, &ids);
        server.handle.send(id, "from outside").unwrap();
        expect(&mut stream, b"from outside\n");
        server.handle.finish(id);
        assert_eq!(read_to_end(&mut stream), (Vec::new(), Ending::Eof));
        server.stop();
    }
}

/// Tells when it is dropped.
struct Guard(Arc<AtomicU64>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_closure_for_a_dead_connection_is_dropped_and_counted() {
    let (server, ids) = telling_ids(local().reactors(1));
    let (client, id) = client(&server, &ids);
    drop(client);
    eventually("it is gone", || server.handle.count() == 0);
    // Its slot has another tenant by now.
    let (mut successor, other) = self::client(&server, &ids);
    assert_ne!(id, other);
    let dropped = Arc::new(AtomicU64::new(0));
    for _ in 0..10 {
        let guard = Guard(Arc::clone(&dropped));
        let posted = server.poster.post_to(id, move |_, conn, _| {
            conn.reset();
            drop(guard);
        });
        assert!(posted.is_ok());
        server.handle.send(id, "late").unwrap();
        server.handle.close(id);
        server.handle.finish(id);
        server.handle.reset(id);
    }
    eventually("the closures are dropped", || dropped.load(Ordering::SeqCst) == 10);
    eventually("all are counted", || server.handle.stats().total().late_commands == 50);
    echo(&mut successor, b"nothing of it reached me");
    server.stop();
}

#[test]
fn closures_that_a_stopped_engine_never_ran_are_dropped() {
    let (server, ids) = telling_ids(local().reactors(2));
    let (_client, id) = client(&server, &ids);
    let (dropped, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let poster = server.poster.clone();
    let posting = thread::spawn({
        let (dropped, stop) = (Arc::clone(&dropped), Arc::clone(&stop));
        move || {
            let mut posted = 0;
            while !stop.load(Ordering::SeqCst) {
                let guard = Guard(Arc::clone(&dropped));
                let _ = poster.post(ReactorId((posted % 2) as u16), move |_, _| drop(guard));
                let guard = Guard(Arc::clone(&dropped));
                let _ = poster.post_to(id, move |_, _, _| drop(guard));
                posted += 2;
            }
            posted
        }
    });
    eventually("it is busy", || dropped.load(Ordering::SeqCst) > 1000);
    let handle = server.handle.clone();
    server.stop();
    stop.store(true, Ordering::SeqCst);
    let posted = posting.join().unwrap();
    // The handle is alive, and nothing may wait in it forever.
    assert_eq!(dropped.load(Ordering::SeqCst), posted);
    drop(handle);
}

#[test]
fn a_broadcast_reaches_all_or_those_of_one_listener() {
    let _crowd = crowd();
    let builder = lines().listen(Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(80))).reactors(2);
    let (server, ids) = telling_ids(builder);
    let mut clients: Vec<_> = (0..300).map(|n| connect(tcp(&server.addresses[n % 2]))).collect();
    next_n(&ids, 300);
    server.handle.broadcast(Audience::Open, "everyone").unwrap();
    server.handle.broadcast(Audience::Listener(ListenerId(1)), "the second listener's").unwrap();
    server.handle.broadcast(Audience::Open, vec![b'!'; 2000]).unwrap();
    for (n, client) in clients.iter_mut().enumerate() {
        expect(client, b"everyone\n");
        if n % 2 == 1 {
            expect(client, b"the second listener's\n");
        }
        expect(client, &[vec![b'!'; 2000], b"\n".to_vec()].concat());
    }
    server.stop();
}

#[test]
fn send_many_reaches_each_one_named_and_no_other() {
    let (server, ids) = telling_ids(lines().reactors(2));
    let mut clients: Vec<_> = (0..20).map(|_| client(&server, &ids)).collect();
    let named: Vec<ConnId> = clients.iter().map(|(_, id)| *id).step_by(2).collect();
    server.handle.send_many(&named, "named").unwrap();
    server.handle.broadcast(Audience::Open, "all").unwrap();
    for (n, (client, _)) in clients.iter_mut().enumerate() {
        expect(client, if n % 2 == 0 { b"named\nall\n" } else { b"all\n" });
    }
    server.stop();
}

#[test]
fn who_is_named_twice_is_sent_it_twice_whatever_follows() {
    let (server, ids) = telling_ids(lines().reactors(1));
    for follows in [false, true] {
        let (mut client, id) = client(&server, &ids);
        // Both commands are served in one turn.
        let blocked = server.block(0);
        server.handle.send_many(&[id, id], "twice").unwrap();
        if follows {
            server.handle.finish(id);
        }
        drop(blocked);
        expect(&mut client, b"twice\ntwice\n");
    }
    server.stop();
}

#[test]
fn what_is_asked_without_a_lock_is_right_while_connections_come_and_go() {
    let (server, ids) = telling_ids(local().reactors(2));
    let (mut fixed, id) = client(&server, &ids);
    let fd = server.ask_conn(id, |conn, _| conn.fd().unwrap().as_raw_fd());
    let stop = Arc::new(AtomicBool::new(false));
    let churn: Vec<_> = (0..2)
        .map(|_| {
            let (stop, at) = (Arc::clone(&stop), server.at());
            thread::spawn(move || {
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut clients: Vec<_> = (0..10).map(|_| connect(at)).collect();
                    clients.iter_mut().for_each(|client| echo(client, b"x"));
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    let mut gone = Vec::new();
    for _ in 0..2_000 {
        assert!(server.handle.is_open(id));
        assert_eq!(server.handle.find(fd), Some(id));
        assert!(server.handle.connections().any(|seen| seen == id));
        // Two threads of ten, and as many that are on their way out.
        assert!((1..=1000).contains(&server.handle.count()), "{}", server.handle.count());
        gone.extend(ids.try_iter());
    }
    stop.store(true, Ordering::Relaxed);
    let rounds: usize = churn.into_iter().map(|thread| thread.join().unwrap()).sum();
    eventually("all but one are gone", || server.handle.count() == 1);
    gone.extend(ids.try_iter());
    assert_eq!(gone.len(), 10 * rounds);
    assert!(!gone.iter().any(|&id| server.handle.is_open(id)));
    assert_eq!(server.handle.connections().collect::<Vec<_>>(), [id]);
    echo(&mut fixed, b"still here");
    server.stop();
}
