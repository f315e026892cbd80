//! Connect storms: who finds the listener's queue full is dropped by the kernel, knocks again, and gets in; and whoever is
//! there already is served meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    sync::{Mutex, PoisonError},
};

use fixture::*;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
};
use socket2::{Domain, Socket, Type};
use wheelhouse::Action;

/// Half of them come to the reactor that is held up, where each reactor listens: far more than fit into a short queue.
const STORM: usize = 2_000;
const HELLO: &[u8] = b"let me in";
/// The kernel counts for all listeners of the machine: one storm at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn all_get_in_through_a_queue_of_128_when_each_reactor_listens() {
    let dropped = a_storm_is_served(true, 128);
    assert!(dropped > 0, "the queue was long enough for all: nothing was shown");
}

#[test]
fn all_get_in_through_a_queue_of_65_535_when_each_reactor_listens() {
    a_storm_is_served(true, 65_535);
}

#[test]
fn all_get_in_through_a_queue_of_128_when_the_main_reactor_hands_over() {
    a_storm_is_served(false, 128);
}

#[test]
fn all_get_in_through_a_queue_of_65_535_when_the_main_reactor_hands_over() {
    a_storm_is_served(false, 65_535);
}

/// Two reactors, of which one is held up while all connect. How many connections found the queue full.
fn a_storm_is_served(reuse_port: bool, backlog: usize) -> u64 {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _crowd = crowd();
    let builder = local().reactors(2).reuse_port(reuse_port).backlog(backlog);
    let server = serve(builder, |_| {
        Script::<()>::new().open(|conn, _| {
            conn.send(vec![conn.id().reactor().0 as u8]);
            Action::Continue
        })
    });
    // Somebody who is served by the reactor that goes on.
    let hello = |mut client: TcpStream| {
        client.write_all(HELLO).unwrap();
        greeted(client)
    };
    let mut there: Vec<(u8, TcpStream)> = (0..40).map(|_| hello(server.connect())).collect();
    there.retain(|(reactor, _)| *reactor == 1);
    let (_, mut talker) = there.swap_remove(0);
    drop(there);
    eventually("one is there", || server.handle.count() == 1);

    let before = overflows();
    let blocked = server.block(0);
    let storm: Vec<Socket> = (0..STORM).map(|_| dial(server.at())).collect();
    (0..20).for_each(|_| echo(&mut talker, b"before they are in"));
    let dropped = overflows() - before;
    drop(blocked);
    let mut clients = Vec::with_capacity(STORM);
    for socket in storm {
        let mut client = connected(socket);
        // Whoever is connected for himself alone, for the queue was full behind his back, gets in by what he sends: under
        // SYN cookies the kernel has forgotten him, and nobody would greet him.
        client.write_all(HELLO).unwrap();
        clients.push(client);
        echo(&mut talker, b"while they come in");
    }
    let mut used = [0; 2];
    for client in clients {
        let (reactor, client) = greeted(client);
        used[usize::from(reactor)] += 1;
        wheelhouse_tests::linger_zero(&client);
    }
    assert!(used.iter().all(|&n| n > STORM / 10), "both reactors have their share: {used:?}");
    let total = server.handle.stats().total();
    assert_eq!((total.opened as usize, total.shed, total.accept_errors), (STORM + 40, 0, 0), "each once");
    echo(&mut talker, b"after them");
    server.stop();
    dropped
}

/// Begins to connect, and does not wait.
fn dial(to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => panic!("{error}"),
        _ => socket,
    }
}

/// Waits until it is; the kernel knocks again every second.
fn connected(socket: Socket) -> TcpStream {
    let patience = u16::try_from(PATIENCE.as_millis()).unwrap();
    let ready = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], patience).unwrap();
    assert_eq!(ready, 1, "it is not let in");
    assert!(socket.take_error().unwrap().is_none(), "it is refused");
    socket.set_nonblocking(false).unwrap();
    let stream = TcpStream::from(socket);
    impatient(&stream);
    stream
}

/// Reads which reactor has it, and the echo of its hello.
fn greeted(mut client: TcpStream) -> (u8, TcpStream) {
    let mut reactor = [0];
    client.read_exact(&mut reactor).unwrap();
    expect(&mut client, HELLO);
    (reactor[0], client)
}

/// Connections that found a listener's queue full, of this machine since its start.
fn overflows() -> u64 {
    let netstat = fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (mut names, mut counts) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.position(|name| name == "ListenOverflows").unwrap();
    counts.nth(place).unwrap().parse().unwrap()
}
