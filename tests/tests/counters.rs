//! Counters: under load, what each reactor has counted is what the clients of that reactor have counted.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    ops::AddAssign,
    thread,
    time::Duration,
};

use fixture::*;
use socket2::SockRef;
use wheelhouse::{Action, Audience, Counters, Engine, Framing, Listener};

const REACTORS: usize = 2;

fn lines() -> Listener {
    Listener::new("tcp://127.0.0.1:0").framing(Framing::lines(1 << 20)).water_marks(1 << 10, 1 << 20, 8 << 20)
}

/// Tells each connection its reactor, echoes its lines, and ends at its word.
fn guide() -> Script {
    Script::new()
        .open(|conn, ()| {
            conn.send(conn.id().reactor().to_string());
            Action::Continue
        })
        .message(|conn, (), message| match message.bytes() {
            b"finish" => Action::Finish,
            _ => {
                conn.send(message);
                Action::Continue
            }
        })
}

/// What clients have counted, of one reactor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    connections: u64,
    messages_in: u64,
    messages_out: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Count {
    /// The same, as a reactor counts it when all of them are gone.
    fn of(counters: &Counters) -> Count {
        assert_eq!(
            (counters.accepted, counters.opened, counters.connections),
            (counters.closed, counters.closed, 0)
        );
        Count {
            connections: counters.closed,
            messages_in: counters.messages_in,
            messages_out: counters.messages_out,
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.connections += other.connections;
        self.messages_in += other.messages_in;
        self.messages_out += other.messages_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

/// A client that counts what it sends and gets.
struct Client {
    stream: BufReader<TcpStream>,
    reactor: usize,
    count: Count,
}

impl Client {
    /// None when it is shed.
    fn connect(at: SocketAddr) -> Option<Client> {
        let mut client = Client { stream: BufReader::new(connect(at)), reactor: 0, count: Count::default() };
        client.reactor = client.read()?.parse().unwrap();
        client.count.connections = 1;
        Some(client)
    }

    fn read(&mut self) -> Option<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        self.count.messages_out += 1;
        self.count.bytes_out += line.len() as u64;
        Some(line.trim_end().to_owned())
    }

    fn write(&mut self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
        self.count.messages_in += lines.len() as u64;
        self.count.bytes_in += text.len() as u64;
    }

    /// Sends so many lines at once, of up to `longest` bytes, and reads them all back.
    fn talk(&mut self, lines: usize, longest: usize) {
        let lines: Vec<_> = (0..lines).map(|n| "x".repeat(1 + (n + 1) * 7919 % longest)).collect();
        self.write(&lines);
        for line in lines {
            assert!(self.read() == Some(line));
        }
    }

    /// Ends it in one of the ways there are, with nothing on its way any more.
    fn end(mut self, way: usize) -> (usize, Count) {
        match way % 4 {
            0 => {
                self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
                assert_eq!(self.read(), None);
            }
            1 => {
                self.write(&["finish".to_owned()]);
                assert_eq!(self.read(), None);
            }
            2 => SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO)).unwrap(),
            _ => {}
        }
        (self.reactor, self.count)
    }
}

/// So many connections, a few at a time.
fn load(at: SocketAddr, connections: usize) -> [Count; REACTORS] {
    let mut counts = [Count::default(); REACTORS];
    let mut at_once = Vec::new();
    for n in 0..connections {
        let mut client = Client::connect(at).expect("there is room");
        client.talk(1 + n % 40, [10, 300, 40_000][n % 3]);
        at_once.push(client);
        if at_once.len() == 8 || n + 1 == connections {
            for (way, client) in at_once.drain(..).enumerate() {
                let (reactor, count) = client.end(way);
                counts[reactor] += count;
            }
        }
    }
    counts
}

fn agree_under_load(reuse_port: bool) {
    const MOST: usize = 100;
    const SURPLUS: usize = 20;
    let builder = Engine::builder().listen(lines()).reactors(REACTORS).reuse_port(reuse_port);
    let server = serve(builder.max_connections(MOST), |_| guide());
    let at = server.at();
    let mut counts = [Count::default(); REACTORS];

    // Everyone there is hears a broadcast; the surplus is shed.
    let mut full: Vec<_> = (0..MOST).map(|_| Client::connect(at).unwrap()).collect();
    assert!((0..SURPLUS).all(|_| Client::connect(at).is_none()));
    server.handle.broadcast(Audience::Open, "everyone").unwrap();
    for (way, mut client) in full.drain(..).enumerate() {
        assert_eq!(client.read().as_deref(), Some("everyone"));
        let (reactor, count) = client.end(way);
        counts[reactor] += count;
    }
    eventually("there is room again", || server.handle.count() == 0);

    let crowds: Vec<_> = (0..4).map(|_| thread::spawn(move || load(at, 150))).collect();
    for crowd in crowds {
        let of_crowd = crowd.join().unwrap();
        counts.iter_mut().zip(of_crowd).for_each(|(count, more)| *count += more);
    }
    let stats = || server.handle.stats();
    let connections = (MOST + 4 * 150) as u64;
    eventually("all are closed", || stats().total().closed == connections);

    let (stats, mut all) = (stats(), Count::default());
    for (reactor, count) in stats.reactors.iter().zip(counts) {
        assert_eq!(Count::of(reactor), count);
        assert!(count.connections > 0, "there was load on both: {counts:?}");
        all += count;
    }
    let total = stats.total();
    assert_eq!(Count::of(&total), all);
    assert_eq!(total.shed, SURPLUS as u64);
    assert_eq!(stats.main.shed, if reuse_port { 0 } else { SURPLUS as u64 });
    assert_eq!((total.dialled, total.accept_errors, total.panics), (0, 0, 0));
    assert_eq!((total.bytes_unsent, total.sends_refused, total.messages_dropped), (0, 0, 0));
    assert_eq!((total.buffered, total.late_commands), (0, 0));
    eventually("no timer is left", || server.handle.stats().total().timers == 0);
    server.stop();
}

#[test]
fn each_reactors_counters_are_its_clients_when_the_main_reactor_hands_over() {
    agree_under_load(false);
}

#[test]
fn each_reactors_counters_are_its_clients_when_each_reactor_listens() {
    agree_under_load(true);
}

/// Whatever becomes of the peer: a byte that was accepted is either sent or told as unsent.
#[test]
fn accepted_bytes_are_sent_or_unsent_and_refused_ones_neither() {
    const PIECE: usize = 10_000;
    let listener = Listener::new("tcp://127.0.0.1:0").water_marks(1000, 50_000, 500_000);
    let builder = Engine::builder().listen(listener).reactors(1).send_buffer(8 << 10);
    let (server, ids) = telling_ids(builder);
    let (mut accepted, mut refused) = (0, 0);
    let total = || server.handle.stats().total();
    for (round, way) in ["read and hang up", "hang up", "close", "reset"].into_iter().enumerate() {
        let mut client = connect_with_window(server.at(), 4 << 10);
        let id = next(&ids);
        let outcomes = server.ask_conn(id, |conn, ()| {
            (0..60).map(|_| conn.send(vec![7; PIECE]).is_refused()).collect::<Vec<_>>()
        });
        let taken = outcomes.iter().filter(|is_refused| !**is_refused).count();
        accepted += taken as u64;
        refused += (outcomes.len() - taken) as u64;
        match way {
            "read and hang up" => expect(&mut client, &vec![7; taken * PIECE]),
            "close" => server.handle.close(id),
            "reset" => server.handle.reset(id),
            _ => {}
        }
        drop(client);
        eventually("it is closed", || total().closed == round as u64 + 1);
        let total = total();
        assert_eq!(total.bytes_out + total.bytes_unsent, accepted * PIECE as u64, "{way}");
        assert_eq!((total.messages_out, total.sends_refused), (accepted, refused), "{way}");
        assert_eq!(total.bytes_unsent > 0, round > 0, "{way}");
    }
    assert!(refused > 0);
    server.stop();
}
