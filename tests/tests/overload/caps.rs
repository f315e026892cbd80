//! Floods of connects against the caps on connections, in all and for each address.

use std::{
    io::{ErrorKind, Read as _},
    net::{Ipv4Addr, TcpStream},
};

use crate::{
    SLACK, alone_with,
    crowd::{Crowd, dial},
    in_the_end,
    quiet::Quiet,
    remote::Remote,
};

/// Neither an end nor, for nobody sends any, a byte.
fn is_in(mut client: &TcpStream) -> bool {
    match client.read(&mut [0]) {
        Ok(0) => false,
        Ok(_) => panic!("nobody sends anything"),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

fn inside(clients: &[TcpStream]) -> usize {
    clients.iter().filter(|client| is_in(client)).count()
}

fn most_in_all(reuse_port: bool) {
    const MOST: usize = 5_000;
    const FLOOD: usize = 15_000;
    const LEAVE: usize = 100;
    let _alone = alone_with(15_200);
    // The quiet come first, and count.
    let most = MOST + Quiet::N;
    let mut remote = Remote::start(&format!("framing=lines most={most} reuse_port={reuse_port}"));
    let quiet = Quiet::start(&mut remote);
    quiet.are_served();
    // Two reactors that listen for themselves may each let in the last one.
    let over = usize::from(reuse_port);
    let mut crowd = Crowd::of(FLOOD, &mut remote);
    let came_in = remote.count("opened") as usize - Quiet::N;
    assert!((MOST..=MOST + over).contains(&came_in), "{came_in} of at most {MOST}");
    in_the_end("who is shed sees it at once", || inside(&crowd.clients) == came_in);
    assert!(remote.closed().is_empty(), "who is shed was never open");
    quiet.are_served();
    // As many as leave come in again, and no more.
    crowd.clients.retain(is_in);
    crowd.clients.truncate(MOST - LEAVE);
    in_the_end("there is room", || remote.count("connections") == (MOST - LEAVE + Quiet::N) as u64);
    let again = Crowd::of(10 * LEAVE, &mut remote);
    let came_in = remote.count("opened") as usize - came_in - Quiet::N;
    assert!((LEAVE..=LEAVE + over).contains(&came_in), "{came_in} in the places of {LEAVE}");
    in_the_end("they see it", || inside(&again.clients) == came_in);
    quiet.were_served();
    remote.stop();
}

#[test]
fn a_flood_of_connects_meets_the_cap_and_those_inside_are_served() {
    most_in_all(false);
}

#[test]
fn a_flood_of_connects_meets_the_cap_where_each_reactor_listens() {
    most_in_all(true);
}

const ADDRESSES: usize = 1_500;
const MOST: usize = 3;

/// None of them is a quiet one's.
fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, (n / 250) as u8, 1 + (n % 250) as u8)
}

/// So many connects from each address; by address.
fn flood(remote: &mut Remote, each: usize) -> Vec<Vec<TcpStream>> {
    let mut all: Vec<Vec<TcpStream>> = (0..ADDRESSES).map(|_| Vec::new()).collect();
    for _ in 0..each {
        let before = remote.taken();
        for (n, of_one) in all.iter_mut().enumerate() {
            of_one.push(dial(remote.crowd, Some(address(n)), None));
        }
        remote.has_taken(before + ADDRESSES);
    }
    all
}

/// So many of each address are in, all the others have ended and are counted as shed.
#[track_caller]
fn each_has(most: usize, all: &[Vec<TcpStream>], remote: &mut Remote, shed_before: u64) {
    let each = all[0].len();
    in_the_end("each address has as many as it may", || all.iter().all(|of_one| inside(of_one) == most));
    in_the_end("the others are counted", || {
        remote.count("shed") == shed_before + ((each - most) * ADDRESSES) as u64
    });
}

fn most_of_one_address(reuse_port: bool) {
    let _alone = alone_with((6 * ADDRESSES + 200) as u64);
    let options = format!("framing=lines most_per_address={MOST} reuse_port={reuse_port}");
    let mut remote = Remote::start(&options);
    let quiet = Quiet::start(&mut remote);
    for _ in 0..2 {
        let shed = remote.count("shed");
        let mut all = flood(&mut remote, 2 * MOST);
        each_has(MOST, &all, &mut remote, shed);
        quiet.are_served();
        // One of each leaves, and one of each comes in.
        for of_one in &mut all {
            of_one.retain(is_in);
            of_one.pop();
        }
        let left = (ADDRESSES * (MOST - 1) + Quiet::N) as u64;
        in_the_end("there is room", || remote.count("connections") == left);
        let shed = remote.count("shed");
        let again = flood(&mut remote, 2);
        each_has(1, &again, &mut remote, shed);
        quiet.are_served();
        drop((all, again));
        in_the_end("all are gone", || remote.count("connections") == Quiet::N as u64);
        in_the_end("the memory goes back", || remote.grown() <= SLACK);
    }
    quiet.were_served();
    remote.stop();
}

#[test]
fn a_flood_from_many_addresses_meets_the_cap_of_each() {
    most_of_one_address(false);
}

#[test]
fn a_flood_from_many_addresses_meets_the_cap_of_each_where_each_reactor_listens() {
    most_of_one_address(true);
}
