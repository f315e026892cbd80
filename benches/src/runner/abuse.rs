//! What quiet WebSocket connections notice of others that abuse the protocols: as N16, with the abuse in the place of the
//! flood.
//!
//! The load sees that the abuse was one: that floods were taken or closed, bombs refused, handshakes answered or given up.

use std::io;

use serde_json::Value;

use super::Options;
use super::child::Server;
use super::contestant::{Contestant, OURS};
use super::overload::{Lane, columns};
use super::report::Report;

const SERVER: Contestant =
    Contestant { arguments: &["--ws", "--deflate=1", "--and-wss", "--handshake-timeout=1"], ..OURS };

/// The load's name for each, and what it is.
const KINDS: [(&str, &str); 14] = [
    ("pings", "one floods with pings, is closed, and comes again"),
    ("fragments", "one sends message after message of 1,000 fragments of a byte"),
    ("bombs", "one sends 10 KB that inflate to 10 MB, is closed, and comes again"),
    ("zeros", "one sends 1 KB after 1 KB that inflate to 1 MiB each, which is allowed"),
    ("stalls", "1,000 begin a TLS handshake and stall"),
    ("hellos", "TLS handshakes in full, 16 at a time, one after the other"),
    ("never-read", "200 send all they can and never read"),
    ("loris", "1,000 send a request byte by byte, are turned away, and come again"),
    ("heads", "one sends a head of 1 MiB, is turned away, and comes again"),
    ("lines", "one sends a head of 10,000 lines, is turned away, and comes again"),
    ("unmasked", "one sends a frame without a mask, is closed, and comes again"),
    ("endless", "one announces 2^63 bytes, is closed, and comes again"),
    ("bytes", "TLS handshakes byte by byte, 16 at a time, one after the other"),
    ("resets", "16 at a time send half a frame and leave with a reset, one after the other"),
];

/// A table of the quiet ones' latencies.
pub(crate) fn quiet_beside_abuse(report: &mut Report, options: &Options) -> io::Result<()> {
    report.table(
        "Abuse: 100 quiet WebSocket connections, each with a message in 10 ms, while ...",
        &columns(""),
    );
    let (mut disturbances, mut count) = (0, 0);
    for (kind, title) in KINDS {
        let mut lane = Lane::new(SERVER);
        for round in 0..options.rounds.div_ceil(2).max(1) {
            lane.add(|| window(options, kind, round))?;
        }
        lane.print(report, "abuse", title, kind, None)?;
        disturbances += lane.disturbances;
        count += lane.windows.len();
    }
    report.end();
    report.note_disturbances(disturbances, count);
    Ok(())
}

/// One server, one kind of abuse.
fn window(options: &Options, kind: &str, round: usize) -> io::Result<Value> {
    let mut server = Server::start(&SERVER, options)?;
    let mut load = vec![
        "abuse".to_owned(),
        format!("--wss={}", server.ask("wss")?),
        format!("--kind={kind}"),
        format!("--stretch={}", options.millis * 4),
    ];
    if round % 2 == 1 {
        load.push("--last".to_owned());
    }
    let saw = server.load(&load, options)?;
    server.stop()?;
    Ok(saw)
}
