//! Those who do no harm.

use std::{
    net::{Ipv4Addr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    crowd::dial,
    fixture::{echo, impatient},
    in_the_end,
    remote::Remote,
};

/// Connections that say something and want it back, all the time; none waits longer than the fixture's patience.
pub(crate) struct Quiet {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    rounds: AtomicU64,
    is_over: AtomicBool,
}

impl Quiet {
    /// How many they are.
    pub(crate) const N: usize = 20;

    #[track_caller]
    pub(crate) fn start(remote: &mut Remote) -> Quiet {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        // Each has an address of its own: no cap on one's connections keeps them out.
        let address = |n: usize| Ipv4Addr::new(127, 0, 2, 1 + n as u8);
        let mut clients: Vec<TcpStream> =
            (0..Quiet::N).map(|n| dial(remote.quiet, Some(address(n)), None)).collect();
        for client in &clients {
            client.set_nonblocking(false).unwrap();
            impatient(client);
        }
        remote.has_taken(Quiet::N);
        let thread = thread::spawn(move || {
            while !theirs.is_over.load(Ordering::Relaxed) {
                let round = theirs.rounds.load(Ordering::Relaxed);
                for (n, client) in clients.iter_mut().enumerate() {
                    echo(client, format!("round {round} of {n}").as_bytes());
                }
                theirs.rounds.store(round + 1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        });
        Quiet { shared, thread }
    }

    /// Waits until each has been served anew, all of it from now on.
    #[track_caller]
    pub(crate) fn are_served(&self) {
        let now = self.rounds();
        in_the_end("the quiet are served", || self.thread.is_finished() || self.rounds() >= now + 2);
        assert!(!self.thread.is_finished(), "a quiet one was not served");
    }

    /// Every echo has come back, until now.
    #[track_caller]
    pub(crate) fn were_served(self) {
        self.are_served();
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("every echo came back");
    }

    fn rounds(&self) -> u64 {
        self.shared.rounds.load(Ordering::Relaxed)
    }
}
