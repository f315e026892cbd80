//! Accepting: both modes serve everyone, storms lose nobody, running out of descriptors neither stops nor spins the
//! engine, and connections are spread as asked.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    collections::HashMap,
    fs::File,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

use fixture::*;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use wheelhouse::{Action, Balance, Engine};

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
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
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

/// Connects to an engine that guides: the connection and its reactor.
fn guided(at: SocketAddr, from: Ipv4Addr) -> (TcpStream, usize) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.into(), 0).into()).unwrap();
    socket.connect_timeout(&at.into(), PATIENCE).unwrap();
    let mut stream = TcpStream::from(socket);
    impatient(&stream);
    let mut reactor = [0];
    stream.read_exact(&mut reactor).unwrap();
    (stream, usize::from(reactor[0]))
}

fn spread(of: impl Iterator<Item = usize>) -> [usize; 4] {
    let mut held = [0; 4];
    of.for_each(|reactor| held[reactor] += 1);
    held
}

#[test]
fn round_robin_gives_each_reactor_its_equal_share() {
    let _crowd = crowd();
    let server = serve(local().reactors(4), |_| guide());
    let clients: Vec<_> = (0..1000).map(|_| guided(server.at(), Ipv4Addr::LOCALHOST)).collect();
    assert_eq!(spread(clients.iter().map(|(_, reactor)| *reactor)), [250; 4]);
    server.stop();
}

#[test]
fn least_connections_fills_up_the_reactor_that_lost_its_own() {
    let _crowd = crowd();
    let server = serve(local().reactors(4).balance(Balance::LeastConnections), |_| guide());
    let mut clients: Vec<_> = (0..600).map(|_| guided(server.at(), Ipv4Addr::LOCALHOST)).collect();
    assert_eq!(spread(clients.iter().map(|(_, reactor)| *reactor)), [150; 4]);
    clients.retain(|(_, reactor)| *reactor != 2);
    eventually("its connections are gone", || server.handle.count() == 450);
    let new: Vec<_> = (0..150).map(|_| guided(server.at(), Ipv4Addr::LOCALHOST)).collect();
    assert_eq!(spread(new.iter().map(|(_, reactor)| *reactor)), [0, 0, 150, 0]);
    server.stop();
}

#[test]
fn a_sources_connections_meet_on_one_reactor_and_the_sources_are_spread() {
    let _crowd = crowd();
    let server = serve(local().reactors(4).balance(Balance::SourceHash), |_| guide());
    let mut homes: HashMap<IpAddr, usize> = HashMap::new();
    let mut clients = Vec::new();
    for round in 0..4 {
        for host in 1..=250 {
            let from = Ipv4Addr::new(127, 0, 0, host);
            let (client, reactor) = guided(server.at(), from);
            let home = *homes.entry(from.into()).or_insert(reactor);
            assert_eq!(home, reactor, "{from} in round {round}");
            clients.push(client);
        }
    }
    let sources = spread(homes.into_values());
    assert!(sources.iter().all(|n| (30..=100).contains(n)), "of 250 sources: {sources:?}");
    server.stop();
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

/// Somebody else in the process takes the very descriptor that the engine keeps to shed with: clients must wait then, but
/// the loop must not spin, and no event tells when to go on.
fn loses_its_reserve(reuse_port: bool) {
    let mut spare = sockets(400);
    let server = serve(local().reactors(1).reuse_port(reuse_port), |_| guide());
    leave_descriptors(20);
    let (stop, (took, hoard), (full, is_full)) = (Arc::new(AtomicBool::new(false)), channel(), channel());
    let hog = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = match File::open("/dev/null") {
                    Ok(file) => took.send(file).map_err(|_| ()),
                    Err(_) => full.send(()).map_err(|_| ()),
                };
            }
        }
    });
    next(&is_full);
    // Each one shed gives the hog a chance at the reserve.
    let (mut waiting, mut shed) = (Vec::new(), Vec::new());
    while spare.len() > 20 && waiting.len() < 5 {
        let mut client = dial(spare.pop().unwrap(), server.at());
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        match client.read(&mut [0]) {
            Ok(1) => panic!("there are no descriptors"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => waiting.push(client),
            _ => shed.push(client),
        }
    }
    stop.store(true, Ordering::Relaxed);
    hog.join().unwrap();
    let hoarded: Vec<File> = hoard.try_iter().collect();
    let spent = spent_in_a_second(|| ());
    assert!(spent < Duration::from_millis(300), "{spent:?} of processor time in a starved second");
    if waiting.is_empty() {
        eprintln!("the reserve was never lost: nothing more to see");
    }
    drop(hoarded);
    for mut client in waiting {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(is_served(&mut client), "who waited is served when there are descriptors again");
    }
    assert!(is_served(&mut dial(spare.pop().unwrap(), server.at())));
    server.stop();
}

#[test]
fn without_its_reserve_descriptor_the_main_reactor_waits_and_goes_on() {
    alone("without_its_reserve_descriptor_the_main_reactor_waits_and_goes_on", || loses_its_reserve(false));
}

#[test]
fn without_its_reserve_descriptor_a_listening_reactor_waits_and_goes_on() {
    alone("without_its_reserve_descriptor_a_listening_reactor_waits_and_goes_on", || loses_its_reserve(true));
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
