//! Accepting: both modes serve everyone, storms lose nobody, and neither running out of descriptors nor being interrupted
//! stops or spins the engine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use fixture::*;
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{Signal, kill},
};
use socket2::{Domain, Socket, Type};
use wheelhouse::{Action, Engine};

/// Sends each connection the number of its reactor.
fn guide() -> Script {
    Script::new().open(|conn, _| {
        conn.send(vec![conn.id().reactor().0 as u8]);
        Action::Continue
    })
}

fn serves_five_hundred(reuse_port: bool) {
    let _crowd = crowd();
    let server = serve(local().reactors(2).reuse_port(reuse_port), |_| Script::<()>::new());
    let mut clients: Vec<_> = (0..500).map(|_| server.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("client {n}").as_bytes()).unwrap();
    }
    for (n, client) in clients.iter_mut().enumerate() {
        expect(client, format!("client {n}").as_bytes());
    }
    assert_eq!(server.handle.count(), 500);
    let used: Vec<u64> = server.handle.stats().reactors.iter().map(|r| r.connections).collect();
    assert!(used.iter().all(|&n| n > 0), "every reactor has some: {used:?}");
    drop(clients);
    eventually("all are closed", || server.handle.stats().total().closed == 500);
    let total = server.handle.stats().total();
    assert_eq!((total.accepted, total.opened, total.shed), (500, 500, 0));
    assert_eq!(server.handle.count(), 0);
    server.stop();
}

#[test]
fn five_hundred_are_served_when_the_main_reactor_hands_over() {
    serves_five_hundred(false);
}

#[test]
fn five_hundred_are_served_when_each_reactor_listens() {
    serves_five_hundred(true);
}

fn a_storm_loses_nobody(reuse_port: bool) {
    let _crowd = crowd();
    let server = serve(local().reactors(2).reuse_port(reuse_port), |_| Script::<()>::new());
    let at = server.at();
    let threads: Vec<_> = (0..6_u64)
        .map(|thread| {
            thread::spawn(move || {
                let mut clients: Vec<_> = (0..250).map(|_| connect(at)).collect();
                for (n, client) in clients.iter_mut().enumerate() {
                    client.write_all(&(thread << 32 | n as u64).to_be_bytes()).unwrap();
                }
                for (n, client) in clients.iter_mut().enumerate() {
                    expect(client, &(thread << 32 | n as u64).to_be_bytes());
                }
                clients
            })
        })
        .collect();
    let clients: Vec<TcpStream> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(server.handle.count(), clients.len());
    let total = server.handle.stats().total();
    assert_eq!((total.accepted, total.opened, total.closed, total.shed), (1500, 1500, 0, 0));
    drop(clients);
    eventually("all are closed", || server.handle.stats().total().closed == 1500);
    server.stop();
}

#[test]
fn a_storm_of_connects_loses_nobody_when_the_main_reactor_hands_over() {
    a_storm_loses_nobody(false);
}

#[test]
fn a_storm_of_connects_loses_nobody_when_each_reactor_listens() {
    a_storm_loses_nobody(true);
}

#[test]
fn an_accept_budget_of_one_still_serves_all() {
    let _crowd = crowd();
    for reuse_port in [false, true] {
        let builder = local().listen("tcp://127.0.0.1:0").reactors(2).accept_budget(1).reuse_port(reuse_port);
        let server = serve(builder, |_| Script::<()>::new());
        let clients: Vec<_> = (0..200).map(|n| connect(tcp(&server.addresses[n % 2]))).collect();
        for mut client in clients {
            echo(&mut client, b"served");
        }
        server.stop();
    }
}

#[test]
fn a_flood_on_one_listener_does_not_shut_out_another() {
    let _crowd = crowd();
    let builder = local().listen("tcp://127.0.0.1:0").reactors(1).accept_budget(1);
    let server = serve(builder, |_| Script::<()>::new());
    let (flooded, quiet) = (tcp(&server.addresses[0]), tcp(&server.addresses[1]));
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..3)
        .map(|_| {
            let (stop, handle) = (Arc::clone(&stop), server.handle.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if handle.count() > 1000 {
                        // The descriptors are this process's too, and its reactor may be kept waiting for a processor.
                        thread::yield_now();
                        continue;
                    }
                    let client = connect(flooded);
                    // No port is left waiting.
                    let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
                }
            })
        })
        .collect();
    let served = thread::spawn(move || {
        for _ in 0..20 {
            let mut client = connect(quiet);
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            echo(&mut client, b"quiet");
        }
    })
    .join();
    stop.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    served.unwrap();
    server.stop();
}

#[test]
fn beyond_the_greatest_number_of_connections_the_surplus_is_shed_until_there_is_room() {
    for reuse_port in [false, true] {
        let builder = local().reactors(1).max_connections(10).reuse_port(reuse_port);
        let server = serve(builder, |_| Script::<()>::new());
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| echo(client, b"in"));
        for _ in 0..5 {
            let (got, _) = read_to_end(&mut server.connect());
            assert_eq!(got, b"");
        }
        eventually("the surplus is counted", || server.handle.stats().total().shed == 5);
        assert_eq!(server.handle.count(), 10);
        clients.iter_mut().for_each(|client| echo(client, b"still in"));
        clients.pop();
        eventually("there is room", || server.handle.count() == 9);
        echo(&mut server.connect(), b"in again");
        server.stop();
    }
}

/// Client sockets made while there are descriptors, for when there are none.
fn sockets(n: usize) -> Vec<Socket> {
    (0..n).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect()
}

fn dial(socket: Socket, at: SocketAddr) -> TcpStream {
    socket.connect(&at.into()).unwrap();
    let stream = TcpStream::from(socket);
    impatient(&stream);
    stream
}

/// Lowers the limit so that so many descriptors can still be opened.
fn leave_descriptors(n: u64) {
    let lowest_free = File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, lowest_free + n, hard).unwrap();
}

/// Whether the engine greeted this client, or closed it; to do neither would be to let it hang.
fn is_served(client: &mut TcpStream) -> bool {
    client.read(&mut [0]).is_ok_and(|n| n == 1)
}

/// The processor time spent while the engine has nothing to do but to be short of descriptors.
fn spent_in_a_second(mut meanwhile: impl FnMut()) -> Duration {
    let before = cpu_time();
    for _ in 0..20 {
        meanwhile();
        thread::sleep(Duration::from_millis(50));
    }
    cpu_time() - before
}

fn runs_out_of_descriptors(reuse_port: bool) {
    let mut spare = sockets(200);
    let server = serve(local().reactors(1).reuse_port(reuse_port), |_| guide());
    assert!(is_served(&mut dial(spare.pop().unwrap(), server.at())));
    eventually("the first is gone", || server.handle.count() == 0);
    leave_descriptors(20);
    let all = spare.split_off(100).into_iter().map(|socket| dial(socket, server.at()));
    let all: Vec<_> = all.map(|mut client| (is_served(&mut client), client)).collect();
    // Those shed are kept: their own descriptors would let others in.
    let (mut clients, mut gone) = (Vec::new(), Vec::new());
    all.into_iter().for_each(|(served, client)| if served { &mut clients } else { &mut gone }.push(client));
    let shed = gone.len();
    assert!(clients.len() >= 10, "only {} were served", clients.len());
    assert!(shed >= 50, "only {shed} were shed");
    eventually("each one shed is counted", || server.handle.stats().total().shed == shed as u64);
    assert!(server.handle.stats().total().accept_errors > 0);
    let spent = spent_in_a_second(|| {
        let mut client = dial(spare.pop().unwrap(), server.at());
        assert!(!is_served(&mut client), "there are no descriptors");
        gone.push(client);
    });
    assert!(spent < Duration::from_millis(300), "{spent:?} of processor time in a starved second");
    for client in &mut clients {
        echo(client, b"those inside go on");
    }
    let left = clients.len() - 10;
    clients.truncate(left);
    eventually("ten are gone", || server.handle.count() == left);
    for _ in 0..5 {
        let mut client = dial(spare.pop().unwrap(), server.at());
        assert!(is_served(&mut client), "there are descriptors again");
        clients.push(client);
    }
    server.stop();
}

#[test]
fn out_of_descriptors_the_main_reactor_sheds_and_recovers_without_spinning() {
    alone("out_of_descriptors_the_main_reactor_sheds_and_recovers_without_spinning", || {
        runs_out_of_descriptors(false);
    });
}

#[test]
fn out_of_descriptors_each_listening_reactor_sheds_and_recovers_without_spinning() {
    alone("out_of_descriptors_each_listening_reactor_sheds_and_recovers_without_spinning", || {
        runs_out_of_descriptors(true);
    });
}

/// Not even the descriptor that the engine keeps to shed with can be used: clients must wait then, and nothing tells when to
/// go on, for no new edge comes.
fn has_no_descriptor_at_all(reuse_port: bool) {
    let mut spare = sockets(10);
    let server = serve(local().reactors(1).reuse_port(reuse_port), |_| guide());
    let mut inside = dial(spare.pop().unwrap(), server.at());
    assert!(is_served(&mut inside));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // Below every descriptor that is open, the reserve's too.
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    let mut waiting: Vec<_> = spare.drain(..5).map(|socket| dial(socket, server.at())).collect();
    let total = || server.handle.stats().total();
    eventually("it tried in vain", || total().accept_errors > 0);
    let (spent, before) = (spent_in_a_second(|| echo(&mut inside, b"those inside go on")), total());
    assert!(spent < Duration::from_millis(300), "{spent:?} of processor time in a starved second");
    // Without a word from anybody.
    eventually("it tried again", || total().accept_errors >= before.accept_errors + 3);
    assert_eq!((total().accepted, total().shed), (1, 0));
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    for client in &mut waiting {
        assert!(is_served(client), "who waited is served when there are descriptors again");
    }
    assert!(is_served(&mut dial(spare.pop().unwrap(), server.at())));
    eventually("all are counted", || total().accepted == 7);
    server.stop();
}

#[test]
fn without_its_reserve_descriptor_the_main_reactor_waits_and_goes_on() {
    alone("without_its_reserve_descriptor_the_main_reactor_waits_and_goes_on", || {
        has_no_descriptor_at_all(false)
    });
}

#[test]
fn without_its_reserve_descriptor_a_listening_reactor_waits_and_goes_on() {
    alone("without_its_reserve_descriptor_a_listening_reactor_waits_and_goes_on", || {
        has_no_descriptor_at_all(true)
    });
}

#[test]
fn connections_made_before_the_engine_runs_wait_for_it() {
    for reuse_port in [false, true] {
        let engine =
            Engine::builder().listen("tcp://127.0.0.1:0").reuse_port(reuse_port).build(|_| guide()).unwrap();
        let mut clients: Vec<_> = (0..20).map(|_| connect(tcp(&engine.addresses()[0]))).collect();
        let handle = engine.handle();
        let running = engine.start().unwrap();
        assert!(clients.iter_mut().all(is_served));
        handle.shutdown();
        within("the engine stops", move || running.join().unwrap());
    }
}

#[test]
fn a_turn_accepts_no_more_than_its_budget() {
    const WAITING: u64 = 60;
    for reuse_port in [false, true] {
        for budget in [1, 7] {
            let builder = local().reactors(1).accept_budget(budget).reuse_port(reuse_port);
            let engine = builder.build(|_| guide()).unwrap();
            let mut clients: Vec<_> = (0..WAITING).map(|_| connect(tcp(&engine.addresses()[0]))).collect();
            let handle = engine.handle();
            let running = engine.start().unwrap();
            assert!(clients.iter_mut().all(is_served));
            // Whoever accepts has gone round at least so often; the last turn may not have been counted yet.
            let turns = move || {
                let stats = handle.stats();
                if reuse_port { stats.reactors[0].turns } else { stats.main.turns }
            };
            eventually("as many turns as it takes", || turns() >= WAITING.div_ceil(budget as u64));
            drop(running);
        }
    }
}

/// A process that is stopped and goes on has its waits interrupted (signal(7)).
#[test]
fn an_interrupted_wait_neither_stops_nor_spins_a_reactor() {
    let test = "an_interrupted_wait_neither_stops_nor_spins_a_reactor";
    if is_child(test) {
        let servers = [false, true].map(|reuse_port| {
            let server = serve(local().reactors(1).reuse_port(reuse_port), |_| Script::<()>::new());
            (server.at().port(), server)
        });
        return answer(move |line| match line {
            "ports" => format!("{} {}", servers[0].0, servers[1].0),
            _ => {
                let turns = servers
                    .iter()
                    .map(|(_, server)| server.handle.stats())
                    .map(|stats| format!("{} {}", stats.main.turns, stats.reactors[0].turns));
                turns.collect::<Vec<_>>().join(" ")
            }
        });
    }
    let mut second = Second::start(test);
    let numbers = |line: String| -> Vec<u64> { line.split(' ').map(|n| n.parse().unwrap()).collect() };
    let ports = numbers(second.ask("ports"));
    let dial = |port: u64| connect(SocketAddr::from(([127, 0, 0, 1], port as u16)));
    let mut clients: Vec<_> = ports.iter().map(|&port| dial(port)).collect();
    clients.iter_mut().for_each(|client| echo(client, b"before"));
    let status = format!("/proc/{}/stat", second.pid());
    let stop = |pid| {
        kill(pid, Signal::SIGSTOP).unwrap();
        eventually("it has stopped", || std::fs::read_to_string(&status).unwrap().contains(") T "));
    };
    for _ in 0..10 {
        let before = numbers(second.ask("turns"));
        // Whoever is not waiting just then is not interrupted.
        eventually("each thread's wait was interrupted", || {
            stop(second.pid());
            kill(second.pid(), Signal::SIGCONT).unwrap();
            numbers(second.ask("turns")).iter().zip(&before).all(|(now, before)| now > before)
        });
        // What comes while it is stopped is there when it goes on.
        stop(second.pid());
        let mut late: Vec<_> = ports.iter().copied().map(dial).collect();
        kill(second.pid(), Signal::SIGCONT).unwrap();
        for (client, late) in clients.iter_mut().zip(&mut late) {
            echo(client, b"after");
            echo(late, b"late");
        }
    }
    let mut before = numbers(second.ask("turns"));
    eventually("nobody turns any more", || {
        thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, numbers(second.ask("turns"))) == before
    });
}
