//! Balancing, over ten thousand connections each: how evenly round robin, least connections and the hash of the source
//! spread them, against bounds that are stated.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use fixture::*;
use socket2::{Domain, Socket, Type};
use wheelhouse::{Action, Balance};

const MANY: usize = 10_000;
const REACTORS: usize = 4;
/// Whoever waited for each to be served before the next would wait long on a busy machine.
const AT_ONCE: usize = 100;

/// Sends each connection the number of its reactor.
fn guided(balance: Balance) -> Server<Script> {
    serve(local().reactors(REACTORS).balance(balance), |_| {
        Script::new().open(|conn, _| {
            conn.send(vec![conn.id().reactor().0 as u8]);
            Action::Continue
        })
    })
}

/// The reactor that serves this client, by its own word.
fn reactor_of(mut client: &TcpStream) -> usize {
    let mut reactor = [0];
    client.read_exact(&mut reactor).unwrap();
    usize::from(reactor[0])
}

/// An address of this machine for each number: from one alone the ports would run out. Always the same ones.
fn source(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x7f00_0101 + 337 * n as u32)
}

fn dial(at: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.into(), 0).into()).unwrap();
    socket.connect_timeout(&at.into(), PATIENCE).unwrap();
    // A reset leaves no port waiting.
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    let client = TcpStream::from(socket);
    impatient(&client);
    client
}

/// Connects from each of these and hangs up, many at a time: the reactors that it was.
fn visits(at: SocketAddr, sources: impl IntoIterator<Item = Ipv4Addr>) -> Vec<usize> {
    let (mut sources, mut reactors) = (sources.into_iter(), Vec::new());
    loop {
        let clients: Vec<_> = sources.by_ref().take(AT_ONCE).map(|from| dial(at, from)).collect();
        if clients.is_empty() {
            return reactors;
        }
        reactors.extend(clients.iter().map(reactor_of));
    }
}

fn spread(of: impl IntoIterator<Item = usize>) -> [usize; REACTORS] {
    let mut held = [0; REACTORS];
    of.into_iter().for_each(|reactor| held[reactor] += 1);
    held
}

/// Exactly a fourth each, whoever connects at the same time.
#[test]
fn round_robin_gives_each_of_ten_thousand_its_turn() {
    let server = guided(Balance::RoundRobin);
    let at = server.at();
    let crowds: Vec<_> = (0..4)
        .map(|crowd| {
            thread::spawn(move || visits(at, (crowd * MANY / 4..(crowd + 1) * MANY / 4).map(source)))
        })
        .collect();
    let reactors = crowds.into_iter().flat_map(|crowd| crowd.join().unwrap());
    assert_eq!(spread(reactors), [MANY / 4; REACTORS]);
    server.stop();
}

/// One address, one reactor; and the addresses are spread as by a fair draw: each reactor's share of 5,000 is 1,250 within
/// five standard deviations of 30.6 each.
#[test]
fn a_source_always_meets_its_reactor_and_five_thousand_sources_are_spread() {
    const SOURCES: usize = MANY / 2;
    let server = guided(Balance::SourceHash);
    let homes = visits(server.at(), (0..SOURCES).map(source));
    // In another order: taking turns would not do.
    let mut again = visits(server.at(), (0..SOURCES).rev().map(source));
    again.reverse();
    assert!(again == homes, "a source has moved");
    let shares = spread(homes);
    assert!(shares.iter().all(|share| share.abs_diff(SOURCES / REACTORS) <= 153), "{shares:?}");
    server.stop();
}

/// Every new connection goes to a reactor that holds fewest, whatever has gone meanwhile: so they hold the same within one
/// while nobody leaves. The clients hold theirs in a process of its own, for the descriptors.
#[test]
fn least_connections_chooses_the_least_among_ten_thousand_held() {
    let test = "least_connections_chooses_the_least_among_ten_thousand_held";
    // Its own, and some for the rest of the process.
    let held = MANY.min(allow_descriptors(MANY as u64 + 500) as usize - 500) / (4 * AT_ONCE) * 4 * AT_ONCE;
    if is_child(test) {
        return answer(holder());
    }
    let server = guided(Balance::LeastConnections);
    let mut clients = Second::start(test);
    let fourth = held / REACTORS;
    let even = format!("{:?}, each where fewest were: true", [fourth; REACTORS]);
    clients.ask(&format!("dial {}", server.at().port()));

    (0..held / AT_ONCE).for_each(|_| drop(clients.ask("open")));
    assert_eq!(clients.ask("count"), even);
    eventually("each reactor holds as many as the clients say", || {
        server.handle.stats().reactors.iter().all(|reactor| reactor.connections as usize == fourth)
    });
    // One reactor loses all it had, another one some.
    clients.ask(&format!("drop 2 {fourth}"));
    clients.ask(&format!("drop 0 {AT_ONCE}"));
    let gone = fourth + AT_ONCE;
    eventually("they are gone", || server.handle.count() == held - gone);
    (0..gone / AT_ONCE).for_each(|_| drop(clients.ask("open")));
    assert_eq!(clients.ask("count"), even);
    assert_eq!(server.handle.count(), held);
    drop(clients);
    eventually("all are gone", || server.handle.count() == 0);
    server.stop();
}

/// `dial PORT` from now on; `open` some, one behind the other; `drop REACTOR N` of a reactor's; `count` them.
fn holder() -> impl FnMut(&str) -> String {
    let mut at = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut held: [Vec<TcpStream>; REACTORS] = Default::default();
    let (mut is_fewest, mut sources) = (true, (0..).map(source));
    move |line| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: usize| words[word].parse::<usize>().unwrap();
        match words[0] {
            "dial" => at.set_port(number(1) as u16),
            "open" => {
                // Accepted in the order in which they have connected.
                let clients: Vec<_> = sources.by_ref().take(AT_ONCE).map(|from| dial(at, from)).collect();
                for client in clients {
                    let reactor = reactor_of(&client);
                    is_fewest &= held.iter().all(|others| others.len() >= held[reactor].len());
                    held[reactor].push(client);
                }
            }
            "drop" => {
                let left = held[number(1)].len() - number(2);
                held[number(1)].truncate(left);
            }
            "count" => {
                let held = held.each_ref().map(Vec::len);
                return format!("{held:?}, each where fewest were: {is_fewest}");
            }
            other => panic!("{other}?"),
        }
        "done".to_owned()
    }
}
