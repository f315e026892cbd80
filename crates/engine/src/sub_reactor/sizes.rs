//! The tables of `docs/memory.md` against the code: a row that differs is printed as it should be.

use std::os::fd::OwnedFd;

use mio::Events;
use slab::Slab;
use wheelhouse_ring::Ring;
use wheelhouse_wheel::{Tick, TimerKey, Wheel};

use super::{Contexts, bounds::LITTLE, core::Doomed, cork::CORK, due::Due};
use crate::{
    ConnId, TimerKind,
    clock::Stamp,
    connection::{Connection, Dialling, Extras, Flags, Inbound, Peer, Phase, Secure, UnderWay},
    id::Sequence,
    linear::Linear,
    options::Options,
    outbound::Outbound,
    place::SLACK,
    sync::{AtomicU32, AtomicU64, OnceLock},
    transport::Session,
};

const PAGE: &str = include_str!("../../../../docs/memory.md");

/// A size as the page writes it.
fn row(what: &str, bytes: usize) -> String {
    let digits = bytes.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| str::from_utf8(g).unwrap()).collect();
    format!("| {what} | {} |", groups.join(","))
}

#[track_caller]
fn compare(sizes: &[(&str, usize)]) {
    let rows = sizes.iter().map(|&(what, bytes)| row(what, bytes));
    let missing: Vec<String> = rows.filter(|row| !PAGE.lines().any(|line| line.starts_with(row))).collect();
    assert!(missing.is_empty(), "not in docs/memory.md:\n{}", missing.join("\n"));
}

/// Bytes for each of very many timers, its share of the tables included.
fn wheel_entry() -> usize {
    let mut wheel = Wheel::new(Tick::new(0));
    let empty = wheel.memory();
    let timers = 100_000;
    for n in 0..timers {
        wheel.schedule(Tick::new(n), Due::Housekeeping);
    }
    (wheel.memory() - empty) / timers as usize
}

#[test]
fn the_page_has_the_bytes_of_an_idle_connection() {
    // A slab's entry is a connection or a link: a spare value of the connection tells them apart.
    let entry = size_of::<Option<Connection>>();
    assert_eq!(Slab::<Connection>::with_capacity(4096).capacity(), 4096);
    let places = size_of::<AtomicU64>() + size_of::<AtomicU32>();
    let (session, wheel) = (size_of::<Option<()>>(), wheel_entry());
    compare(&[
        ("slab entry", entry),
        ("place in the fd index", size_of::<AtomicU64>()),
        ("place on the roll", size_of::<AtomicU32>()),
        ("session", session),
        ("wheel entry", wheel),
        ("sum, without a deadline", entry + places + session),
        ("sum, with one", entry + places + session + wheel),
    ]);
}

#[test]
fn the_page_has_every_field_of_a_connection() {
    let fields = [
        ("`fd`", size_of::<Option<OwnedFd>>()),
        ("`sequence`", size_of::<Sequence>()),
        ("`flags`", size_of::<Flags>()),
        ("`phase`", size_of::<Phase>()),
        ("`profile`", size_of::<u16>()),
        ("`last_activity`", size_of::<Stamp>()),
        ("`pinged`", size_of::<Stamp>()),
        ("`since`", size_of::<Stamp>()),
        ("`deadline`", size_of::<Option<TimerKey>>()),
        ("`protocol_state`", size_of::<[u64; 2]>()),
        ("`peer`", size_of::<Peer>()),
        ("`inbound`", size_of::<Inbound>()),
        ("`outbound`", size_of::<Option<Box<Outbound>>>()),
        ("`extras`", size_of::<Option<Box<Extras>>>()),
    ];
    compare(&fields);
    // The fields of the struct and of the table are the same.
    let Connection {
        fd: _,
        sequence: _,
        flags: _,
        phase: _,
        profile: _,
        last_activity: _,
        pinged: _,
        since: _,
        deadline: _,
        protocol_state: _,
        peer: _,
        inbound: _,
        outbound: _,
        extras: _,
    } = Connection::new(None, 0, crate::clock::Clock::new(std::time::Instant::now()).stamp());
    let sum: usize = fields.iter().map(|(_, bytes)| bytes).sum();
    compare(&[("padding", size_of::<Connection>() - sum)]);
}

#[test]
fn the_page_has_what_a_connection_costs_while_something_is_under_way() {
    compare(&[
        ("`Inbound::Inline`, inside the connection", Inbound::INLINE),
        ("`Ring`, inside the connection", size_of::<Ring>()),
        ("`Linear`", size_of::<Linear>()),
        ("`Outbound`", size_of::<Outbound>()),
        ("a piece of the queue", Outbound::PIECE / 2),
        ("`Extras`", size_of::<Extras>()),
        ("a timer of the handler's", size_of::<(TimerKind, TimerKey)>() + wheel_entry()),
        ("`UnderWay`, beside the `Extras`", size_of::<UnderWay>()),
        ("`Dialling`, in it", size_of::<Dialling>()),
        ("`Secure`, in them", size_of::<Secure>()),
        ("`Session`, in it", size_of::<Session>()),
        ("`Contexts`", size_of::<Contexts>()),
        ("a place on a list", size_of::<ConnId>()),
        ("a place among those to be closed", size_of::<Doomed>()),
    ]);
}

#[test]
fn the_page_has_what_a_reactor_keeps() {
    let options = Options::default();
    assert_eq!(Events::with_capacity(options.event_batch).capacity(), 1024);
    let read_buffer = 2 * options.read_buffer + Session::MAX_LONG_HANDSHAKE + SLACK + LITTLE;
    let table = 4096 * size_of::<OnceLock<Box<[AtomicU64; 4096]>>>();
    compare(&[
        ("read buffer, with its head-room", read_buffer),
        ("events of one call", options.event_batch * size_of::<nix::libc::epoll_event>()),
        ("cork, at most", CORK),
        ("wheel without entries", size_of::<Wheel<Due>>()),
        ("roll: table of chunks", table),
        ("fd index: table of chunks, one for the engine", table),
    ]);
}
