//! 10,000 peers that read nothing of what they are sent, by broadcasts and each by itself.

use std::{
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use crate::{
    CONNECTION, QUEUE, SLACK, alone_with,
    crowd::{Crowd, dial},
    in_the_end,
    quiet::Quiet,
    remote::Remote,
};

const PEERS: usize = 10_000;
/// For them, the quiet, and whatever else this process has open.
const DESCRIPTORS: u64 = 10_200;
const PAYLOAD: usize = 500;
const LIMIT: usize = 4 << 10;
const MEMORY: usize = 16 << 20;

/// The kernel's buffers are small on both sides: they are not the engine's memory, and soon full.
pub(crate) const KERNEL: &str = "send_buffer=2048";

/// How the crowd is sent something.
#[derive(Clone, Copy, Debug)]
enum By {
    Broadcast,
    /// A handler's borrowed bytes, which are copied.
    Lending,
    /// A handler's own bytes, handed over.
    Giving,
}

impl By {
    #[track_caller]
    fn send(self, remote: &mut Remote) {
        match self {
            By::Broadcast => remote.broadcast(PAYLOAD, 4),
            By::Lending => remote.send("lent", PAYLOAD, 4),
            By::Giving => remote.send("given", 4 * PAYLOAD, 1),
        }
    }

    /// What a queue at its limit takes beyond the bytes in it: payloads handed over are references, which are counted too.
    fn references(self) -> usize {
        match self {
            By::Broadcast | By::Lending => 0,
            By::Giving => LIMIT / (4 * PAYLOAD) * REFERENCE,
        }
    }
}

/// A reference in a queue, in the account of buffer memory.
const REFERENCE: usize = 80;

/// Sends until it `is_enough`; memory stays within its bound all the time. Queues that grow exchange their storage for
/// larger one: what the heap cannot use of the smaller is at most half as much.
#[track_caller]
fn flood(
    remote: &mut Remote,
    by: By,
    buffers: usize,
    what: &str,
    mut is_enough: impl FnMut(&mut Remote) -> bool,
) {
    let bound = buffers + buffers / 2 + PEERS * (CONNECTION + QUEUE) + SLACK;
    in_the_end(what, || {
        by.send(remote);
        let (buffered, grown) = (remote.count("buffered"), remote.grown());
        assert!(buffered <= buffers as u64, "{buffered} B of buffers, {buffers} allowed");
        assert!(grown <= bound, "{grown} B instead of at most {bound}");
        is_enough(remote)
    });
}

/// Everybody is gone, for that reason alone, and so is the memory.
#[track_caller]
fn all_went_for(reason: &str, remote: &mut Remote, crowd: &Crowd) {
    in_the_end("all are closed", || remote.closed().values().sum::<u64>() == PEERS as u64);
    assert_eq!(remote.closed_for(reason), PEERS as u64, "{:?}", remote.closed());
    crowd.have_all_ended();
    in_the_end("the buffers are given back", || remote.count("buffered") == 0);
    in_the_end("the memory goes back", || remote.grown() <= SLACK);
}

fn at_the_limit(by: By) {
    let _alone = alone_with(DESCRIPTORS);
    let mut remote = Remote::start(&format!("framing=raw beyond=close limit={LIMIT} {KERNEL}"));
    let quiet = Quiet::start(&mut remote);
    let crowd = Crowd::narrow(PEERS, &mut remote);
    // Copied bytes are kept in storage of the next power of two, which the limit is.
    flood(&mut remote, by, PEERS * (LIMIT + by.references()), "all go beyond their limits", |remote| {
        remote.closed_for("BackPressure") == PEERS as u64
    });
    quiet.are_served();
    all_went_for("BackPressure", &mut remote, &crowd);
    quiet.were_served();
    remote.stop();
}

#[test]
fn broadcasts_that_are_never_read_end_at_each_ones_limit() {
    at_the_limit(By::Broadcast);
}

#[test]
fn copied_payloads_that_are_never_read_end_at_each_ones_limit() {
    at_the_limit(By::Lending);
}

#[test]
fn payloads_handed_over_and_never_read_end_at_each_ones_limit() {
    at_the_limit(By::Giving);
}

fn at_the_buffer_memory(by: By, gives_way: &str) {
    let _alone = alone_with(DESCRIPTORS);
    let options = format!(
        "framing=raw beyond=refuse limit=65536 buffer_memory={MEMORY} gives_way={gives_way} {KERNEL}"
    );
    let mut remote = Remote::start(&options);
    let quiet = Quiet::start(&mut remote);
    let crowd = Crowd::narrow(PEERS, &mut remote);
    // Those who are left fit in with all that they may have.
    let fit = MEMORY / 65_536;
    flood(&mut remote, by, MEMORY, "those who do not fit in give way", |remote| {
        remote.closed_for("MemoryPressure") >= (PEERS - 2 * fit) as u64
    });
    quiet.are_served();
    let closed = remote.closed();
    assert!(closed.keys().all(|reason| reason == "MemoryPressure"), "{closed:?}");
    in_the_end("who gave way sees it, and who did not stays", || {
        let (gone, ended) = (remote.closed_for("MemoryPressure"), crowd.ended() as u64);
        gone == ended && remote.count("connections") == (PEERS + Quiet::N) as u64 - gone
    });
    assert!(crowd.ended() < PEERS, "there is room for some");
    drop(crowd);
    in_the_end("the buffers are given back", || remote.count("buffered") == 0);
    in_the_end("the memory goes back", || remote.grown() <= SLACK);
    quiet.were_served();
    remote.stop();
}

#[test]
fn broadcasts_that_are_never_read_take_the_buffer_memory_and_no_more() {
    at_the_buffer_memory(By::Broadcast, "greatest");
}

#[test]
fn payloads_handed_over_and_never_read_take_the_buffer_memory_and_no_more() {
    at_the_buffer_memory(By::Giving, "greatest");
}

#[test]
fn copied_payloads_that_are_never_read_take_the_buffer_memory_and_no_more() {
    at_the_buffer_memory(By::Lending, "asking");
}

/// Some of the crowd that read all they are sent.
struct Readers {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Readers {
    #[track_caller]
    fn start(n: usize, remote: &mut Remote) -> Readers {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let mut clients: Vec<_> = (0..n).map(|_| dial(remote.crowd, None, None)).collect();
        remote.has_taken(n + Quiet::N);
        let thread = thread::spawn(move || {
            let (mut got, mut bytes) = (0, [0; 16 << 10]);
            while !over.load(Ordering::Relaxed) {
                for client in &mut clients {
                    match client.read(&mut bytes) {
                        Ok(0) => panic!("one that reads was closed"),
                        Ok(n) => got += n,
                        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                    }
                }
                thread::sleep(std::time::Duration::from_millis(1));
            }
            got
        });
        Readers { is_over, thread }
    }

    #[track_caller]
    fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("those who read stay")
    }
}

#[test]
fn writes_that_stall_end_at_their_time_and_those_who_read_stay() {
    const READERS: usize = 50;
    let _alone = alone_with(DESCRIPTORS);
    let options = format!("framing=raw beyond=refuse limit={LIMIT} write_stall=2000 {KERNEL}");
    let mut remote = Remote::start(&options);
    let quiet = Quiet::start(&mut remote);
    let readers = Readers::start(READERS, &mut remote);
    let crowd = Crowd::narrow(PEERS, &mut remote);
    let began = Instant::now();
    let mut first = None;
    flood(&mut remote, By::Broadcast, (PEERS + READERS) * LIMIT, "all stall for too long", |remote| {
        let stalled = remote.closed_for("WriteStall");
        if stalled > 0 {
            first.get_or_insert_with(|| began.elapsed());
        }
        stalled == PEERS as u64
    });
    let first = first.expect("some were closed");
    assert!(first >= std::time::Duration::from_secs(2), "closed after {first:?} already");
    all_went_for("WriteStall", &mut remote, &crowd);
    assert!(readers.end() > READERS * LIMIT, "those who read were sent more than would have waited");
    quiet.were_served();
    remote.stop();
}
