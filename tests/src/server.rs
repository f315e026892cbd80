use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use wheelhouse::{Address, Builder, Engine, Handler, Listener, Poster, Running, Spot};

use crate::LIMIT;

/// An engine that runs until it is dropped.
pub struct Server<H: Handler> {
    running: Option<Running>,
    poster: Poster<H>,
    addresses: Vec<Address>,
}

/// A builder with one reactor and one raw listener on a free port.
pub fn one_reactor() -> Builder {
    Engine::builder().listen("tcp://127.0.0.1:0").reactors(1)
}

/// A builder with one reactor and this listener.
pub fn one_listener(listener: impl Into<Listener>) -> Builder {
    Engine::builder().listen(listener).reactors(1)
}

impl<H: Handler> Server<H> {
    /// Builds and starts it.
    #[track_caller]
    pub fn start(builder: Builder, make: impl Fn(&Spot<H>) -> H + Send + Sync + 'static) -> Self {
        let engine = builder.build(make).expect("build the engine");
        let (poster, addresses) = (engine.poster(), engine.addresses().to_vec());
        let running = engine.start().expect("start the engine");
        Server { running: Some(running), poster, addresses }
    }

    /// To talk to it.
    pub fn poster(&self) -> &Poster<H> {
        &self.poster
    }

    /// Where its first TCP listener is.
    #[track_caller]
    pub fn addr(&self) -> SocketAddr {
        let tcp = self.addresses.iter().find_map(|address| match address {
            Address::Tcp(addr) => Some(*addr),
            _ => None,
        });
        tcp.expect("a TCP listener")
    }

    /// Where its first Unix listener is.
    #[track_caller]
    pub fn path(&self) -> PathBuf {
        let unix = self.addresses.iter().find_map(|address| match address {
            Address::Unix(path) => Some(path.clone()),
            _ => None,
        });
        unix.expect("a Unix listener")
    }

    /// Stops it and waits for its threads.
    #[track_caller]
    pub fn stop(&mut self) {
        self.poster.shutdown();
        if let Some(running) = self.running.take() {
            running.join().expect("no thread of the engine panicked");
        }
    }
}

impl<H: Handler> Drop for Server<H> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// Waits until the condition holds: for what no event tells of, such as counters.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets the process open some thousand descriptors, where the usual soft limit is 1,024.
#[track_caller]
pub fn many_descriptors() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("RLIMIT_NOFILE");
    let wanted = hard.min(4096);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).expect("RLIMIT_NOFILE");
    }
}
