//! The engine, in a process of its own, and how the tests talk to it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use wheelhouse::{
    Audience, Builder, Bytes, Engine, Framing, LengthDelimited, Listener, ListenerId, MailboxFull,
    MemoryPolicy, Payload, Policy, ReactorId,
};

use crate::{
    fixture::{Script, Second, Server, answer, is_child, serve, tcp},
    in_the_end,
};

/// The listener of those who behave badly; the other one echoes for the quiet.
const CROWD: ListenerId = ListenerId(0);
/// The longest message of the crowd.
const LONGEST: usize = 1 << 20;
/// The test that the second process runs.
const PROCESS: &str = "remote::the_engines_process_answers_and_ends_with_the_test";

/// An engine in a process of its own.
pub(crate) struct Remote {
    second: Second,
    /// Where the crowd connects.
    pub(crate) crowd: SocketAddr,
    /// Where the quiet connect, who get back what they send.
    pub(crate) quiet: SocketAddr,
    /// Its memory, before anybody has come.
    pub(crate) at_start: usize,
}

impl Remote {
    /// Starts an engine with these options: `key=value` with spaces between them, as [`builder`] knows them.
    #[track_caller]
    pub(crate) fn start(options: &str) -> Remote {
        let mut second = Second::start(PROCESS);
        let told = second.ask(&format!("start {options}"));
        let (crowd, quiet) = told.split_once(' ').expect("two addresses");
        let (crowd, quiet) = (crowd.parse().unwrap(), quiet.parse().unwrap());
        let mut remote = Remote { second, crowd, quiet, at_start: 0 };
        remote.at_start = remote.resident();
        remote
    }

    /// One of the engine's counters, all reactors and the main one together.
    #[track_caller]
    pub(crate) fn count(&mut self, counter: &str) -> u64 {
        let counters = self.pairs("counters");
        *counters.get(counter).unwrap_or_else(|| panic!("{counter} is none of {counters:?}"))
    }

    /// Bytes read from the crowd that nobody has answered: what the quiet send leaves again in the same turn.
    #[track_caller]
    pub(crate) fn unanswered(&mut self) -> usize {
        let counters = self.pairs("counters");
        (counters["bytes_in"] - counters["bytes_out"]) as usize
    }

    /// Connections that were let in, or turned away.
    #[track_caller]
    pub(crate) fn taken(&mut self) -> usize {
        let counters = self.pairs("counters");
        (counters["opened"] + counters["shed"]) as usize
    }

    /// Waits until all of them are: nobody is still on his way in.
    #[track_caller]
    pub(crate) fn has_taken(&mut self, connections: usize) {
        in_the_end("they are in, or shed", || self.taken() == connections);
    }

    /// How many of the crowd were closed, by reason.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> BTreeMap<String, u64> {
        self.pairs("closed")
    }

    /// How many of the crowd were closed for that reason.
    #[track_caller]
    pub(crate) fn closed_for(&mut self, reason: &str) -> u64 {
        self.closed().get(reason).copied().unwrap_or(0)
    }

    /// Broadcasts so many payloads of so many bytes to the crowd.
    #[track_caller]
    pub(crate) fn broadcast(&mut self, bytes: usize, times: usize) {
        assert_eq!(self.second.ask(&format!("broadcast {bytes} {times}")), "done");
    }

    /// Has the handlers send a payload of their own to each one of the crowd, so many times: `lent` or `given`.
    #[track_caller]
    pub(crate) fn send(&mut self, how: &str, bytes: usize, times: usize) {
        assert_eq!(self.second.ask(&format!("send {how} {bytes} {times}")), "done");
    }

    /// Bytes of its process in memory.
    pub(crate) fn resident(&self) -> usize {
        let pages = fs::read_to_string(format!("/proc/{}/statm", self.second.pid())).unwrap();
        pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    /// How much more that is than at the start.
    #[track_caller]
    pub(crate) fn grown(&self) -> usize {
        self.resident().saturating_sub(self.at_start)
    }

    /// Stops the engine; all its threads end.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        assert_eq!(self.second.ask("stop"), "stopped");
    }

    #[track_caller]
    fn pairs(&mut self, question: &str) -> BTreeMap<String, u64> {
        let told = self.second.ask(question);
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').expect("a name and a number");
            (name.to_owned(), value.parse().unwrap())
        };
        told.split_whitespace().map(pair).collect()
    }
}

#[test]
fn the_engines_process_answers_and_ends_with_the_test() {
    if is_child(PROCESS) {
        let mut host = Host::default();
        return answer(|line| host.answer(line));
    }
    let mut remote = Remote::start("framing=lines");
    assert_eq!(remote.count("accepted"), 0);
    let process = format!("/proc/{}", remote.second.pid());
    assert!(fs::exists(&process).unwrap());
    drop(remote);
    assert!(!fs::exists(&process).unwrap(), "it outlives its test");
}

/// The other side.
#[derive(Default)]
struct Host {
    server: Option<Server<Script>>,
    closed: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Host {
    fn answer(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["start", ref options @ ..] => self.start(options),
            ["counters"] => self.counters(),
            ["closed"] => pairs(self.closed.lock().unwrap().iter()),
            ["broadcast", bytes, times] => self.broadcast(bytes.parse().unwrap(), times.parse().unwrap()),
            ["send", how, bytes, times] => self.send(how, bytes.parse().unwrap(), times.parse().unwrap()),
            ["stop"] => {
                self.server.take().unwrap().stop();
                "stopped".to_owned()
            }
            _ => panic!("what is `{line}`?"),
        }
    }

    fn start(&mut self, options: &[&str]) -> String {
        let closed = Arc::clone(&self.closed);
        let server = serve(builder(options), move |_| {
            let closed = Arc::clone(&closed);
            Script::new().close(move |gone, ()| {
                if gone.listener() == Some(CROWD) {
                    let reason = format!("{:?}", gone.reason());
                    let name = reason.split_whitespace().next().unwrap_or_default().to_owned();
                    *closed.lock().unwrap().entry(name).or_default() += 1;
                }
            })
        });
        let addresses = format!("{} {}", tcp(&server.addresses[0]), tcp(&server.addresses[1]));
        self.server = Some(server);
        addresses
    }

    fn counters(&self) -> String {
        let all = self.server.as_ref().unwrap().handle.stats().total();
        pairs([
            ("accepted", all.accepted),
            ("opened", all.opened),
            ("shed", all.shed),
            ("closed", all.closed),
            ("connections", all.connections),
            ("bytes_in", all.bytes_in),
            ("bytes_out", all.bytes_out),
            ("buffered", all.buffered),
            ("refused", all.sends_refused),
        ])
    }

    fn broadcast(&self, bytes: usize, times: usize) -> String {
        let handle = &self.server.as_ref().unwrap().handle;
        for _ in 0..times {
            // Each has bytes of its own, as news have.
            let mut payload = Payload::from(Bytes::from(vec![b'n'; bytes]));
            while let Err(MailboxFull(back)) = handle.broadcast(Audience::Listener(CROWD), payload) {
                payload = back;
                thread::sleep(Duration::from_millis(1));
            }
        }
        "done".to_owned()
    }

    fn send(&self, how: &str, bytes: usize, times: usize) -> String {
        let server = self.server.as_ref().unwrap();
        let is_given = how == "given";
        for _ in 0..times {
            for reactor in 0..server.handle.reactors() {
                let posted = server.poster.post(ReactorId(reactor as u16), move |_, reactor| {
                    let payload = vec![b'm'; bytes];
                    for id in reactor.connections() {
                        match reactor.conn(id).filter(|conn| conn.listener() == Some(CROWD)) {
                            Some(mut conn) if is_given => conn.send(Bytes::from(payload.clone())),
                            Some(mut conn) => conn.send(&payload),
                            None => continue,
                        };
                    }
                });
                assert!(posted.is_ok(), "a mailbox with room");
            }
        }
        "done".to_owned()
    }
}

fn pairs<N: std::fmt::Display>(all: impl IntoIterator<Item = (N, impl std::fmt::Display)>) -> String {
    all.into_iter().fold(String::new(), |mut text, (name, value)| {
        let _ = write!(text, "{name}={value} ");
        text
    })
}

/// The engine that the options describe.
fn builder(options: &[&str]) -> Builder {
    let mut crowd = Listener::new("tcp://127.0.0.1:0");
    let quiet = Listener::new("tcp://127.0.0.1:0");
    let mut engine = Engine::builder().reactors(2);
    for option in options {
        let (name, value) = option.split_once('=').expect("key=value");
        let number = || value.parse::<usize>().unwrap();
        let ms = || Duration::from_millis(value.parse().unwrap());
        match (name, value) {
            ("framing", "lines") => crowd = crowd.framing(Framing::lines(LONGEST)),
            ("framing", "lengths") => {
                let lengths = LengthDelimited::u32_be().max_body(LONGEST - 4);
                crowd = crowd.framing(Framing::length_delimited(lengths));
            }
            ("framing", "raw") => {}
            ("gives_way", "greatest") => engine = engine.memory_policy(MemoryPolicy::CloseGreatest),
            ("gives_way", "asking") => engine = engine.memory_policy(MemoryPolicy::CloseAsking),
            ("beyond", "refuse") => crowd = crowd.policy(Policy::Refuse),
            ("beyond", "close") => crowd = crowd.policy(Policy::Close),
            ("limit", _) => crowd = crowd.water_marks(0, number(), number()),
            ("reactors", _) => engine = engine.reactors(number()),
            ("reuse_port", _) => engine = engine.reuse_port(value == "true"),
            ("buffer_memory", _) => engine = engine.buffer_memory(number()),
            ("send_buffer", _) => engine = engine.send_buffer(number()),
            ("receive_buffer", _) => engine = engine.receive_buffer(number()),
            ("write_stall", _) => engine = engine.write_stall_timeout(Some(ms())),
            ("minimum_rate", _) => engine = engine.minimum_rate(number(), Duration::from_secs(1)),
            ("mailbox", _) => engine = engine.mailbox(number()),
            ("most", _) => engine = engine.max_connections(number()),
            ("most_per_address", _) => engine = engine.max_connections_per_address(number()),
            _ => panic!("what is `{option}`?"),
        }
    }
    engine.listen(crowd).listen(quiet)
}
