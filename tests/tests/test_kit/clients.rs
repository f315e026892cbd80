//! The clients of an engine: over sockets, and in the test kit's memory. What they cannot do alike is left out.

#![allow(unreachable_pub)]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    time::Duration,
};

use wheelhouse::{Builder, ConnId, Counters, Handle, ListenerId, testing::Bench};
use wheelhouse_tests::{LIMIT, Server, connect_small, linger_zero, until, wait_for_end};

use crate::diary::{Diary, Pages};

/// A client, in the order of their connecting.
pub type Client = usize;

pub trait Clients {
    /// One connects, and the handler has been told.
    fn open(&mut self) -> Client {
        self.open_with(b"")
    }
    /// The same where something must be sent before that.
    fn open_with(&mut self, first: &[u8]) -> Client;
    fn send(&mut self, client: Client, bytes: &[u8]);
    /// Receives until what it has received ends so.
    fn hear(&mut self, client: Client, end: &str) -> String;
    /// Receives no more, until it hears again.
    fn stop_reading(&mut self, client: Client);
    /// So long passes, if it takes time, until there is something to receive.
    fn wait_for_output(&mut self, time: Duration);
    fn eof(&mut self, client: Client);
    fn reset(&mut self, client: Client);
    /// Receives FIN, and nothing before it; answers it, unless told otherwise before.
    fn hear_fin(&mut self, client: Client);
    fn leave_fin_unanswered(&mut self, client: Client);
    /// Receives a reset, whatever comes before it.
    fn hear_reset(&mut self, client: Client);
    /// Waits until the handler has written that: for so long at most, if it takes time at all.
    fn wait(&mut self, entry: &str, within: Duration);
    /// An address that can be dialled; whoever does is accepted or refused.
    fn address(&mut self, accepts: bool) -> String;
    /// Answers whoever has dialled the last address; the other end, if it was accepted.
    fn answer(&mut self) -> Option<Client>;
    fn id(&self, client: Client) -> ConnId;
    fn handle(&self) -> Handle;
    /// The engine stops; what it has counted.
    fn stop(self: Box<Self>) -> Counters;
}

/// In memory.
pub struct InMemory {
    bench: Bench<Diary>,
    pages: Pages,
    ids: Vec<ConnId>,
    accepts: bool,
}

impl InMemory {
    pub fn new(builder: Builder, pages: Pages) -> Self {
        let mut bench = Bench::with_options(builder, |spot| Diary::new(pages.clone(), spot));
        bench.bear_panics(); // as an engine does
        InMemory { bench, pages, ids: Vec::new(), accepts: false }
    }

    fn add(&mut self, id: ConnId) -> Client {
        self.ids.push(id);
        self.ids.len() - 1
    }
}

impl Clients for InMemory {
    fn open_with(&mut self, first: &[u8]) -> Client {
        let id = self.bench.open_on(ListenerId(0));
        self.bench.input(id, first);
        self.add(id)
    }

    fn send(&mut self, client: Client, bytes: &[u8]) {
        self.bench.input(self.ids[client], bytes);
    }

    fn hear(&mut self, client: Client, end: &str) -> String {
        self.bench.take_window(self.ids[client], usize::MAX);
        let heard = String::from_utf8(self.bench.output(self.ids[client])).unwrap();
        assert!(heard.ends_with(end), "{heard:?} does not end with {end:?}");
        heard
    }

    fn stop_reading(&mut self, client: Client) {
        self.bench.take_window(self.ids[client], 0);
    }

    fn wait_for_output(&mut self, time: Duration) {
        self.bench.turn(time);
    }

    fn eof(&mut self, client: Client) {
        self.bench.eof(self.ids[client]);
    }

    fn reset(&mut self, client: Client) {
        self.bench.reset(self.ids[client]);
    }

    fn hear_fin(&mut self, client: Client) {
        let id = self.ids[client];
        assert_eq!(self.bench.output(id), b"", "something came before FIN");
        assert!(self.bench.output_ended(id) && !self.bench.output_reset(id), "{id} was told no FIN");
    }

    fn leave_fin_unanswered(&mut self, client: Client) {
        self.bench.answer_fin(self.ids[client], false);
    }

    fn hear_reset(&mut self, client: Client) {
        self.bench.run();
        assert!(self.bench.output_reset(self.ids[client]), "{} was told no reset", self.ids[client]);
    }

    fn wait(&mut self, entry: &str, within: Duration) {
        self.bench.run();
        if !self.pages.has(entry) {
            self.bench.turn(within);
        }
        assert!(self.pages.has(entry), "{entry:?} is not among {:#?}", self.pages.all());
    }

    fn address(&mut self, accepts: bool) -> String {
        self.accepts = accepts;
        "tcp://127.0.0.1:40009".into()
    }

    fn answer(&mut self) -> Option<Client> {
        let dialled = self.bench.dialled().pop().expect("nothing was dialled");
        assert_eq!((dialled.url.as_str(), dialled.tag.0), ("tcp://127.0.0.1:40009", 7));
        if !self.accepts {
            self.bench.refuse(dialled.id, ErrorKind::ConnectionRefused.into());
            return None;
        }
        self.bench.connected(dialled.id);
        Some(self.add(dialled.id))
    }

    fn id(&self, client: Client) -> ConnId {
        self.ids[client]
    }

    fn handle(&self) -> Handle {
        self.bench.handle()
    }

    fn stop(self: Box<Self>) -> Counters {
        let handle = self.bench.handle();
        drop(self);
        handle.stats().total()
    }
}

/// Over sockets.
pub struct OverSockets {
    server: Server<Diary>,
    pages: Pages,
    clients: Vec<(TcpStream, ConnId)>,
    /// Those who leave FIN unanswered.
    unanswering: Vec<Client>,
    upstream: Option<TcpListener>,
}

impl OverSockets {
    pub fn new(builder: Builder, pages: Pages) -> Self {
        let written = pages.clone();
        let server = Server::start(builder, move |spot| Diary::new(written.clone(), spot));
        OverSockets { server, pages, clients: Vec::new(), unanswering: Vec::new(), upstream: None }
    }

    /// The connection that was opened last is the stream's: nobody else connects meanwhile.
    fn add(&mut self, stream: TcpStream) -> Client {
        let client = self.clients.len();
        until("the connection is open", || self.pages.opened().len() > client);
        self.clients.push((stream, self.pages.opened()[client]));
        client
    }

    fn stream(&mut self, client: Client) -> &mut TcpStream {
        &mut self.clients[client].0
    }
}

impl Clients for OverSockets {
    fn open_with(&mut self, first: &[u8]) -> Client {
        let mut stream = connect_small(self.server.addr(), 8 << 10);
        stream.write_all(first).unwrap();
        self.add(stream)
    }

    fn send(&mut self, client: Client, bytes: &[u8]) {
        self.stream(client).write_all(bytes).unwrap();
    }

    fn hear(&mut self, client: Client, end: &str) -> String {
        let (mut heard, mut byte) = (Vec::new(), vec![0; 64 << 10]);
        while !heard.ends_with(end.as_bytes()) {
            let n = self.stream(client).read(&mut byte).expect("to hear more");
            assert!(n > 0, "the end came after {:?}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&byte[..n]);
        }
        String::from_utf8(heard).unwrap()
    }

    /// Nobody reads for it.
    fn stop_reading(&mut self, _: Client) {}

    /// Receiving waits for it.
    fn wait_for_output(&mut self, _: Duration) {}

    fn eof(&mut self, client: Client) {
        self.stream(client).shutdown(Shutdown::Write).unwrap();
    }

    /// Its place is taken by a socket that is connected to nobody.
    fn reset(&mut self, client: Client) {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let placeholder = TcpStream::connect(nobody.local_addr().unwrap()).unwrap();
        let stream = std::mem::replace(self.stream(client), placeholder);
        linger_zero(&stream);
    }

    fn hear_fin(&mut self, client: Client) {
        assert_eq!(self.stream(client).read(&mut [0; 16]).expect("FIN"), 0, "something came before FIN");
        if !self.unanswering.contains(&client) {
            // Where both have said FIN there may be nobody left to tell.
            let _ = self.stream(client).shutdown(Shutdown::Write);
        }
    }

    fn leave_fin_unanswered(&mut self, client: Client) {
        self.unanswering.push(client);
    }

    fn hear_reset(&mut self, client: Client) {
        let ended = wait_for_end(self.stream(client)).expect_err("a reset");
        assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
    }

    fn wait(&mut self, entry: &str, _: Duration) {
        until(entry, || self.pages.has(entry));
    }

    fn address(&mut self, accepts: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        // Unless somebody listens, it is refused.
        self.upstream = accepts.then_some(listener);
        url
    }

    fn answer(&mut self) -> Option<Client> {
        let (stream, _) = self.upstream.as_ref()?.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Some(self.add(stream))
    }

    fn id(&self, client: Client) -> ConnId {
        self.clients[client].1
    }

    fn handle(&self) -> Handle {
        (**self.server.poster()).clone()
    }

    fn stop(mut self: Box<Self>) -> Counters {
        self.server.stop();
        self.server.poster().stats().total()
    }
}
