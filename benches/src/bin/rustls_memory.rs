//! The engine's version of rustls without sockets: what the server's side of a handshake costs, and what it costs to open a
//! record and to seal one of the same size. The client is another version's, and nobody counts its time.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::time::{ClockId, clock_gettime};
use rustls::crypto::cipher::{OutboundPlain, Payload};
use rustls::{Connection, ServerConfig, ServerSide, SliceInput, Tcp};
use rustls_stable::ClientConnection;
use serde_json::json;
use wheelhouse_benches::{machine, secure};

#[derive(Parser)]
struct Options {
    /// Core to run on; anywhere if absent.
    #[arg(long)]
    cpu: Option<usize>,
    /// Handshakes.
    #[arg(long, default_value_t = 300)]
    handshakes: usize,
    /// Sessions that have a message by turns, as those of connections do.
    #[arg(long, default_value_t = 100)]
    sessions: usize,
    /// Milliseconds of records, for each size.
    #[arg(long, default_value_t = 300)]
    millis: u64,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    options.cpu.map_or(Ok(()), machine::pin)?;
    let (config, client) = (secure::engine_config()?, secure::Client::new()?);
    let count = options.handshakes.max(1);
    let mut one_by_one = Vec::new();
    for _ in 0..count {
        let mut pair = Pair::new(&config, &client)?;
        pair.shake_hands()?;
        one_by_one.push(pair.spent);
    }
    let at_once = at_once(&config, &client, count)?;
    let mut pairs =
        (0..options.sessions.max(1)).map(|_| Pair::new(&config, &client)).collect::<Result<Vec<_>, _>>()?;
    for pair in &mut pairs {
        pair.shake_hands()?;
    }
    let group = pairs[0].client.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    let mut saw =
        json!({ "handshake_ns": median(one_by_one), "handshakes_at_once_ns": at_once, "group": group });
    for size in [64, 16 << 10] {
        let length = Duration::from_millis(options.millis);
        saw[format!("one_{size}_ns")] = json!(echo(&mut pairs[..1], size, length)?);
        saw[format!("echo_{size}_ns")] = json!(echo(&mut pairs, size, length)?);
    }
    println!("{saw}");
    Ok(())
}

/// Nanoseconds that the server takes for a handshake where many are under way, as in a storm: none is in the caches any more
/// when its next message comes.
fn at_once(config: &Arc<ServerConfig>, client: &secure::Client, count: usize) -> io::Result<f64> {
    let mut pairs = (0..count).map(|_| Pair::new(config, client)).collect::<Result<Vec<_>, _>>()?;
    loop {
        let mut goes_on = false;
        for pair in &mut pairs {
            goes_on |= pair.step()?;
        }
        if !goes_on {
            return Ok(median(pairs.iter().map(|pair| pair.spent).collect()));
        }
    }
}

struct Pair {
    client: ClientConnection,
    server: Connection<ServerSide, Tcp>,
    /// The server's share of the handshake in nanoseconds: from its session's beginning to the ticket.
    spent: f64,
}

impl Pair {
    fn new(config: &Arc<ServerConfig>, client: &secure::Client) -> io::Result<Self> {
        let begun = cpu()?;
        let server = Connection::<ServerSide, Tcp>::new(Arc::clone(config)).map_err(io::Error::other)?;
        let spent = cpu()? - begun;
        Ok(Self { client: client.begin()?, server, spent })
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        while self.step()? {}
        Ok(())
    }

    /// One message of the client's and what answers it; false when the client has no more to say.
    fn step(&mut self) -> io::Result<bool> {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        while self.client.wants_write() {
            self.client.write_tls(&mut to_server)?;
        }
        let goes_on = !to_server.is_empty();
        while !to_server.is_empty() {
            let begun = cpu()?;
            let used = self.receive(&mut to_server, &mut to_client)?.0;
            self.spent += cpu()? - begun;
            to_server.drain(..used);
        }
        self.take(&to_client)?;
        Ok(goes_on)
    }

    /// Opens a record and seals its plaintext anew, as the server.
    fn answer(&mut self, record: &mut [u8], out: &mut Vec<u8>) -> io::Result<()> {
        let (_, plain) = self.receive(record, out)?;
        self.server.write(OutboundPlain::new(&[&record[plain]]), out).map_err(io::Error::other)
    }

    /// One record, or as much of a handshake as is there: how many bytes are done with, and where the plaintext lies.
    fn receive(
        &mut self,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> io::Result<(usize, std::ops::Range<usize>)> {
        let start = bytes.as_ptr().addr();
        let mut input = SliceInput::new(bytes);
        let mut records = self.server.read_tls(&mut input, out);
        let plain = match records.next_payload() {
            Some(Ok(Payload::Borrowed(plain))) => {
                let at = plain.as_ptr().addr() - start;
                at..at + plain.len()
            }
            Some(Ok(_)) => return Err(io::Error::other("a plaintext was copied")),
            Some(Err(error)) => return Err(io::Error::other(error)),
            None => 0..0,
        };
        drop(records);
        Ok((input.into_used(), plain))
    }

    /// What the client makes of it.
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes)?;
            let state = self.client.process_new_packets().map_err(io::Error::other)?;
            let begin = plain.len();
            plain.resize(begin + state.plaintext_bytes_to_read(), 0);
            io::Read::read_exact(&mut self.client.reader(), &mut plain[begin..])?;
        }
        Ok(plain)
    }
}

/// Nanoseconds that the server takes for a message, where sessions take turns.
fn echo(pairs: &mut [Pair], size: usize, length: Duration) -> io::Result<f64> {
    // Few enough to stay in the cache, as a message does on its way through a server.
    let batch = ((64 << 10) / size).clamp(1, 100);
    let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    let mut to_server = vec![Vec::new(); batch];
    let mut to_client = vec![Vec::with_capacity(size + 64); batch];
    let (mut costs, mut first, sessions) = (Vec::new(), 0, pairs.len());
    let begun = Instant::now();
    while begun.elapsed() < length || costs.is_empty() {
        let turn = |at: usize| (first + at) % sessions;
        for (at, record) in to_server.iter_mut().enumerate() {
            record.clear();
            let client = &mut pairs[turn(at)].client;
            client.writer().write_all(&payload)?;
            while client.wants_write() {
                client.write_tls(record)?;
            }
            to_client[at].clear();
        }
        let clock = cpu()?;
        let before = cpu()?;
        for (at, (record, out)) in to_server.iter_mut().zip(&mut to_client).enumerate() {
            pairs[turn(at)].answer(record, out)?;
        }
        costs.push((cpu()? - before - (before - clock)) / batch as f64);
        for (at, answer) in to_client.iter().enumerate() {
            if pairs[turn(at)].take(answer)? != payload {
                return Err(io::Error::other("the answer is not the question"));
            }
        }
        first = (first + batch) % sessions;
    }
    Ok(median(costs))
}

/// This thread's, in nanoseconds.
fn cpu() -> io::Result<f64> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?).as_nanos() as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
