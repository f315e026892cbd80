//! What a message of 1 KiB JSON and a context cost. Prints a table:
//! `cargo test --release -p wheelhouse-websocket --test deflate_cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use wheelhouse_websocket::deflate::{Deflator, Inflator};

const ROUNDS: usize = 3_000;
const CONTEXTS: usize = 200;

#[test]
#[ignore = "a measurement"]
fn table_of_costs() {
    let messages: Vec<_> = (0..64).map(json).collect();
    // First of all, or blocks that were freed would be used again and not count.
    println!("inflator: {} bytes resident", resident_each(|| inflator_in_use(&messages)));
    for bits in [9, 12, 15] {
        println!(
            "deflator of {bits} bits: {} bytes resident",
            resident_each(|| deflator_in_use(bits, &messages))
        );
    }
    println!("bits level context   deflate ns   inflate ns   bytes of 1024");
    for (bits, level) in [(15, 0), (15, 1), (15, 6), (9, 1), (12, 1), (12, 6)] {
        for keep in [false, true] {
            let (mut deflate, mut inflate, mut size) = (u64::MAX, u64::MAX, 0);
            for _ in 0..3 {
                let ours = costs(bits, level, keep, &messages);
                deflate = deflate.min(ours.0);
                inflate = inflate.min(ours.1);
                size = ours.2;
            }
            let context = if keep { "own   " } else { "shared" };
            println!("{bits:4} {level:5} {context} {deflate:12} {inflate:12} {size:12}");
        }
    }
    let streams = [0x03, 0x00].repeat(1 << 19);
    let start = cpu_time();
    Inflator::new(15).inflate(&streams, false, 1 << 20, &mut Vec::new()).unwrap();
    println!("1 MiB of empty streams: inflated in {} us", (cpu_time() - start) / 1000);
    for bits in [9, 12, 15] {
        let (mut deflator, mut out) = (Deflator::new(bits, 1), Vec::new());
        let payload = messages.concat().repeat(16);
        let start = cpu_time();
        deflator.deflate(&payload, false, &mut out);
        println!("1 MiB at {bits} bits: deflated in {} us", (cpu_time() - start) / 1000);
    }
}

/// Nanoseconds of CPU to deflate and to inflate, and the size: each the mean over all messages.
fn costs(bits: u8, level: u32, keep: bool, messages: &[Vec<u8>]) -> (u64, u64, usize) {
    let (mut deflator, mut inflator) = (Deflator::new(bits, level), Inflator::new(bits));
    let mut compressed = vec![Vec::new(); ROUNDS];
    let mut out = Vec::with_capacity(64 * 1024);
    for (index, compressed) in compressed.iter_mut().enumerate() {
        out.clear();
        deflator.deflate(&messages[index % messages.len()], keep, &mut out);
        *compressed = out.clone();
    }

    let start = cpu_time();
    for index in 0..ROUNDS {
        out.clear();
        deflator.deflate(black_box(&messages[index % messages.len()]), keep, &mut out);
    }
    let deflate = (cpu_time() - start) / ROUNDS as u64;

    let start = cpu_time();
    for payload in &compressed {
        out.clear();
        inflator.inflate(black_box(payload), keep, 1 << 20, &mut out).unwrap();
    }
    let inflate = (cpu_time() - start) / ROUNDS as u64;
    (deflate, inflate, compressed.iter().map(Vec::len).sum::<usize>() / ROUNDS)
}

/// What this thread has spent on a CPU, in nanoseconds: machines are shared. The kernel brings it up to
/// date when a thread gives way.
fn cpu_time() -> u64 {
    std::thread::sleep(Duration::from_millis(1));
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    spent.split(' ').next().unwrap().parse().unwrap()
}

fn deflator_in_use(bits: u8, messages: &[Vec<u8>]) -> Deflator {
    let (mut deflator, mut out) = (Deflator::new(bits, 1), Vec::new());
    for message in messages.iter().cycle().take(200) {
        out.clear();
        deflator.deflate(message, true, &mut out);
    }
    deflator
}

fn inflator_in_use(messages: &[Vec<u8>]) -> Inflator {
    let (mut deflator, mut inflator) = (Deflator::new(9, 1), Inflator::new(15));
    for message in messages.iter().cycle().take(200) {
        let (mut compressed, mut out) = (Vec::new(), Vec::new());
        deflator.deflate(message, true, &mut compressed);
        inflator.inflate(&compressed, true, 1 << 20, &mut out).unwrap();
    }
    inflator
}

fn resident_each<T>(make: impl Fn() -> T) -> usize {
    let before = resident();
    let made: Vec<_> = (0..CONTEXTS).map(|_| make()).collect();
    let each = (resident() - before) / CONTEXTS;
    drop(made);
    each
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A kilobyte of orders, each different.
fn json(seed: usize) -> Vec<u8> {
    let mut text = String::from("{\"orders\":[");
    let mut number = seed * 7919 + 1;
    while text.len() < 1024 {
        number = number * 1_103_515_245 % 2_147_483_647;
        let (id, price) = (number % 1_000_000, number % 9973);
        write!(
            text,
            "{{\"id\":{id},\"user\":\"u{price}\",\"side\":\"buy\",\"price\":{price}.25,\"open\":true}},"
        )
        .unwrap();
    }
    text.truncate(1024);
    text.into_bytes()
}
