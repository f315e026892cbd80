//! One payload for very many who do not read it.

use crate::{
    CONNECTION, QUEUE, SLACK, alone_with, crowd::Crowd, in_the_end, never_reading::KERNEL, quiet::Quiet,
    remote::Remote,
};

const PEERS: usize = 10_000;
/// For them, the quiet, and whatever else this process has open.
const DESCRIPTORS: u64 = 10_200;
const MEMORY: usize = 16 << 20;

/// What a reference to a shared payload may cost in a queue.
const REFERENCE: usize = 96;

#[test]
fn a_shared_payload_that_is_never_read_costs_its_bytes_once() {
    const SHARED: usize = 16 << 10;
    const LIMIT: usize = 4 * SHARED;
    let _alone = alone_with(DESCRIPTORS);
    let mut remote = Remote::start(&format!("framing=raw beyond=refuse limit={LIMIT} {KERNEL}"));
    let quiet = Quiet::start(&mut remote);
    let crowd = Crowd::narrow(PEERS, &mut remote);
    in_the_end("all queues are at their limit", || {
        remote.broadcast(SHARED, 1);
        let refused = remote.count("refused");
        quiet.are_served();
        refused >= PEERS as u64
    });
    // Each queue may have begun with another one of the first few.
    let bound = 2 * LIMIT + PEERS * (CONNECTION + QUEUE + 5 * REFERENCE) + SLACK;
    let grown = remote.grown();
    assert!(grown <= bound, "{grown} B instead of at most {bound}");
    assert!(remote.closed().is_empty(), "{:?}", remote.closed());
    drop(crowd);
    in_the_end("the memory goes back", || remote.grown() <= SLACK);
    quiet.were_served();
    remote.stop();
}

/// References take memory too, when there are very many.
#[test]
fn small_broadcasts_that_are_never_read_take_the_buffer_memory_and_no_more() {
    let _alone = alone_with(DESCRIPTORS);
    let options = format!("framing=raw beyond=refuse limit=262144 buffer_memory={MEMORY} {KERNEL}");
    let mut remote = Remote::start(&options);
    let quiet = Quiet::start(&mut remote);
    let crowd = Crowd::narrow(PEERS, &mut remote);
    let bound = 2 * MEMORY + PEERS * (CONNECTION + QUEUE) + SLACK;
    in_the_end("those who do not fit in give way, the others are at their limit", || {
        remote.broadcast(1024, 10);
        quiet.are_served();
        let (grown, buffered) = (remote.grown(), remote.count("buffered"));
        assert!(buffered <= MEMORY as u64, "{buffered} B of buffers");
        assert!(grown <= bound, "{grown} B instead of at most {bound}, and `buffered` is {buffered}");
        remote.count("refused") > 0
    });
    drop(crowd);
    in_the_end("the memory goes back", || remote.grown() <= SLACK);
    quiet.were_served();
    remote.stop();
}

/// Who comes later keeps later ones: the payloads are shared no more.
#[test]
fn broadcasts_that_each_keeps_for_himself_take_the_buffer_memory_and_no_more() {
    const LATE: usize = 1_000;
    const LIMIT: usize = 64 << 10;
    let _alone = alone_with(DESCRIPTORS);
    // The smallest mailbox: what waits in it is no buffer memory yet.
    let options =
        format!("framing=raw beyond=refuse limit={LIMIT} buffer_memory={MEMORY} mailbox=16 {KERNEL}");
    let mut remote = Remote::start(&options);
    let quiet = Quiet::start(&mut remote);
    let mut crowd = Crowd::default();
    let bound = 2 * MEMORY + LATE * (CONNECTION + QUEUE) + SLACK;
    for n in 0..LATE {
        crowd.join(remote.crowd);
        remote.broadcast(LIMIT / 4, 5);
        let grown = remote.grown();
        assert!(grown <= bound, "{grown} B with {n} peers instead of at most {bound}");
    }
    let closed = remote.closed();
    assert!(closed.keys().all(|reason| reason == "MemoryPressure"), "{closed:?}");
    drop(crowd);
    in_the_end("all are gone", || remote.count("connections") == Quiet::N as u64);
    in_the_end("the memory goes back", || remote.grown() <= SLACK);
    quiet.were_served();
    remote.stop();
}
