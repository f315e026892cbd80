//! Peers that move a byte now and then, beside others.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    alone_with,
    crowd::{Crowd, dial},
    fixture::{connect, echo},
    in_the_end,
    quiet::Quiet,
    remote::Remote,
};

const SLOW: usize = 1_000;
const FAST: usize = 20;
/// In each second, while a message is unfinished or an answer not taken.
const RATE: usize = 2_000;
const DESCRIPTORS: u64 = 2_000;

/// Clients whose lines come in pieces, each well above the rate.
struct Fast {
    is_over: Arc<AtomicBool>,
    lines: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Fast {
    #[track_caller]
    fn start(remote: &mut Remote) -> Fast {
        let (is_over, lines) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (over, done) = (Arc::clone(&is_over), Arc::clone(&lines));
        let mut clients: Vec<TcpStream> = (0..FAST).map(|_| connect(remote.crowd)).collect();
        remote.has_taken(FAST + Quiet::N);
        let line = [&[b'f'; 40 * RATE][..], b"\n"].concat();
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for piece in line[..line.len() - 1].chunks(4 * RATE) {
                    clients.iter_mut().for_each(|client| client.write_all(piece).unwrap());
                    thread::sleep(Duration::from_millis(100));
                }
                for client in &mut clients {
                    client.write_all(b"\n").unwrap();
                    let mut answer = vec![0; line.len()];
                    client.read_exact(&mut answer).unwrap();
                    assert!(answer == line, "another line came back");
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        Fast { is_over, lines, thread }
    }

    #[track_caller]
    fn have_stayed(self) {
        in_the_end("the fast have been answered", || {
            self.thread.is_finished() || self.lines.load(Ordering::Relaxed) > 0
        });
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("who is fast stays");
    }
}

#[test]
fn a_thousand_that_send_byte_by_byte_go_and_the_fast_and_the_silent_stay() {
    let _alone = alone_with(DESCRIPTORS);
    let mut remote = Remote::start(&format!("framing=lines minimum_rate={RATE}"));
    let quiet = Quiet::start(&mut remote);
    let fast = Fast::start(&mut remote);
    let mut silent: Vec<TcpStream> = (0..FAST).map(|_| connect(remote.crowd)).collect();
    silent.iter_mut().for_each(|client| echo(client, b"a line\n"));
    remote.has_taken(2 * FAST + Quiet::N);
    let mut slow = Crowd::of(SLOW, &mut remote);
    let began = Instant::now();
    in_the_end("the slow are closed", || {
        slow.say(b"s");
        let closed = remote.closed_for("SlowPeer");
        assert!(closed == 0 || began.elapsed() >= Duration::from_secs(1), "before a window's end");
        closed == SLOW as u64
    });
    assert_eq!(remote.closed().len(), 1, "{:?}", remote.closed());
    slow.have_all_ended();
    quiet.are_served();
    fast.have_stayed();
    // Between messages a peer may take its time: these have said nothing for longer than a window.
    silent.iter_mut().for_each(|client| echo(client, b"another\n"));
    assert_eq!(remote.closed_for("SlowPeer"), SLOW as u64);
    assert_eq!(remote.count("buffered"), 0);
    quiet.were_served();
    remote.stop();
}

#[test]
fn a_thousand_that_read_byte_by_byte_go_and_those_who_read_on_stay() {
    let _alone = alone_with(DESCRIPTORS);
    let options = format!("framing=raw beyond=refuse limit=1048576 minimum_rate={RATE} send_buffer=2048");
    let mut remote = Remote::start(&options);
    let quiet = Quiet::start(&mut remote);
    let mut slow = Crowd::narrow(SLOW, &mut remote);
    let mut fast: Vec<TcpStream> = (0..FAST).map(|_| dial(remote.crowd, None, None)).collect();
    remote.has_taken(SLOW + FAST + Quiet::N);
    // More than the kernel takes, and than a slow one would have read in the test's time.
    remote.send("lent", 60_000, 1);
    in_the_end("the slow are closed", || {
        // At most a byte each.
        slow.clients.iter_mut().for_each(|client| drop(client.read(&mut [0])));
        remote.closed_for("SlowPeer") == SLOW as u64
    });
    assert_eq!(remote.closed().len(), 1, "{:?}", remote.closed());
    slow.have_all_ended();
    quiet.are_served();
    for client in &mut fast {
        client.set_nonblocking(false).unwrap();
        client.read_exact(&mut [0; 60_000]).unwrap();
    }
    in_the_end("all is sent", || remote.count("buffered") == 0);
    assert_eq!(remote.closed_for("SlowPeer"), SLOW as u64);
    quiet.were_served();
    remote.stop();
}
