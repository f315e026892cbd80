//! N12: finding a connection by its descriptor among a million, beside a plain array of the same size.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wheelhouse::ConnId;
use wheelhouse::internals::{FdIndex, conn_id};

const MILLION: usize = 1_000_000;

/// Look-ups to one turn of the clock: enough that the misses of several overlap.
const BATCH: usize = 1_000;

fn independent(criterion: &mut Criterion) {
    let order = shuffled();
    let (index, plain) = filled(&order);
    let mut group = criterion.benchmark_group("independent look-ups among a million");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut from = 0;
    let mut next = move || {
        from = (from + BATCH) % MILLION;
        from
    };
    group.bench_function("fd index", |bencher| {
        bencher.iter(|| {
            let from = next();
            let found = order[from..from + BATCH].iter().filter_map(|fd| index.find(*fd as i32));
            found.map(ConnId::as_u64).fold(0, u64::wrapping_add)
        });
    });
    group.bench_function("plain array", |bencher| {
        bencher.iter(|| {
            let from = next();
            order[from..from + BATCH].iter().map(|fd| plain[*fd as usize]).fold(0, u64::wrapping_add)
        });
    });
    group.finish();
}

/// Each answer names the next descriptor: nothing overlaps, and the time is that of the misses.
fn dependent(criterion: &mut Criterion) {
    let (index, plain) = filled(&cycle());
    let mut group = criterion.benchmark_group("a chain of dependent look-ups among a million");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut fd = 0;
    group.bench_function("fd index", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                fd = index.find(black_box(fd as i32)).map_or(0, |id| named_by(id.as_u64()));
            }
            fd
        });
    });
    group.bench_function("plain array", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                fd = named_by(plain[black_box(fd as usize)]);
            }
            fd
        });
    });
    group.finish();
}

/// Both tables with, for every descriptor, an id that names the descriptor in `names`.
fn filled(names: &[u32]) -> (FdIndex, Vec<u64>) {
    let index = FdIndex::new();
    let plain: Vec<u64> = names.iter().map(|fd| naming(*fd)).collect();
    for (fd, id) in plain.iter().enumerate() {
        if let Some(id) = conn_id(*id) {
            index.insert(fd as i32, id);
        }
    }
    (index, plain)
}

/// An id with the sequence number 1 (none has 0), whatever descriptor it names.
fn naming(fd: u32) -> u64 {
    1 << 32 | u64::from(fd)
}

fn named_by(id: u64) -> u32 {
    id as u32
}

/// All descriptors in an order that no prefetcher guesses, the same in each run.
fn shuffled() -> Vec<u32> {
    let mut order: Vec<u32> = (0..MILLION as u32).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for last in (1..MILLION).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    order
}

/// For every descriptor the one after it in the shuffled order: one cycle through all of them.
fn cycle() -> Vec<u32> {
    let order = shuffled();
    let mut next = vec![0; MILLION];
    for (place, fd) in order.iter().enumerate() {
        next[*fd as usize] = order[(place + 1) % MILLION];
    }
    next
}

criterion_group!(benches, independent, dependent);
criterion_main!(benches);
