//! Starts the example programs and talks to them with plain sockets.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod crew;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Nothing here takes so long unless something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A program of this package, not yet started.
pub(crate) fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    // target/PROFILE/deps/this-test -> target/PROFILE/examples/NAME
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path: PathBuf = profile.join("examples").join(name);
    assert!(path.exists(), "{} is not built: run the tests of the whole package", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

/// A server among them, running; killed when dropped.
pub(crate) struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Before it listened.
    said: String,
    urls: Vec<String>,
}

impl Server {
    /// Starts it on a port of the kernel's choice.
    pub(crate) fn start(name: &str, options: &[&str]) -> Server {
        Server::start_on(name, &["tcp://127.0.0.1:0"], options)
    }

    pub(crate) fn start_on(name: &str, urls: &[&str], options: &[&str]) -> Server {
        let listen: Vec<&str> =
            urls.iter().flat_map(|url| ["--listen", url]).chain(options.iter().copied()).collect();
        Server::start_with(name, urls.len(), &listen)
    }

    /// Starts one that will say so many addresses, with these options and no others.
    pub(crate) fn start_with(name: &str, addresses: usize, options: &[&str]) -> Server {
        let mut child = example(name).args(options).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (mut said, mut urls) = (String::new(), Vec::new());
        while urls.len() < addresses {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            match line.trim_end().strip_prefix("listening on ") {
                Some(url) => urls.push(url.to_owned()),
                None if line.is_empty() => panic!("{name} ended, and had said {said:?}"),
                None => said.push_str(&line),
            }
        }
        Server { child, out, said, urls }
    }

    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    pub(crate) fn url(&self) -> &str {
        &self.urls[0]
    }

    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address_in(self.url())
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    pub(crate) fn talk(&self) -> Talk {
        Talk::to(self.url())
    }

    /// Asks it to stop: its exit code and what it said last.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        let code = wait(&mut self.child);
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (code, rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line at a time.
pub(crate) struct Talk {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Talk {
    pub(crate) fn to(url: &str) -> Talk {
        Talk { stream: BufReader::new(connect(address_in(url))) }
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line; an empty one at the end.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.hear()
    }

    pub(crate) fn assert_over(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("an end, and no reset");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

/// The address in a URL such as `ws://127.0.0.1:9001`.
pub(crate) fn address_in(url: &str) -> SocketAddr {
    url.split_once("://").unwrap().1.parse().unwrap()
}

/// A connection on which nothing waits for ever.
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    bounded(TcpStream::connect(to).unwrap())
}

pub(crate) fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What a program said, and its exit code.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a program that ends by itself.
pub(crate) fn run(command: &mut Command) -> Ended {
    Running::start(command).end()
}

/// A program that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    out: Option<thread::JoinHandle<String>>,
    err: Option<thread::JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        Running::start_as_it_is(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Starts one whose outputs go where the command has them go: what is piped is read.
    pub(crate) fn start_as_it_is(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().map(read_all);
        let err = child.stderr.take().map(read_all);
        Running { child, out, err }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub(crate) fn end(mut self) -> Ended {
        let code = wait(&mut self.child);
        let all = |read: Option<thread::JoinHandle<String>>| {
            read.map_or(String::new(), |read| read.join().unwrap())
        };
        Ended { code, out: all(self.out.take()), err: all(self.err.take()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

/// Its exit code; killed when it does not end.
fn wait(child: &mut Child) -> Option<i32> {
    let (ended, has_ended) = mpsc::channel::<()>();
    let pid = Pid::from_raw(child.id() as i32);
    let begun = Instant::now();
    let guard = thread::spawn(move || {
        if has_ended.recv_timeout(PATIENCE).is_err_and(|e| e == mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let status = child.wait().unwrap();
    drop(ended);
    guard.join().unwrap();
    assert!(begun.elapsed() < PATIENCE, "the program did not end");
    status.code()
}
