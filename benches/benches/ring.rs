//! What it costs to let bytes wait in a ring, next to a plain copy of them.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wheelhouse_ring::{Pool, Ring};

const LIMIT: usize = 64 << 20;

const SIZES: [usize; 3] = [64, 1024, 16 * 1024];

/// A backlog that comes and goes: storage is borrowed with the first byte and given back with the last.
fn borrow_and_give_back(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write to an empty ring, discard all");
    for size in SIZES {
        let bytes = vec![7; size];
        let mut pool = Pool::new(LIMIT);
        let mut ring = Ring::new();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} B"), |bencher| {
            bencher.iter(|| {
                let written = ring.write(&mut pool, black_box(&bytes));
                debug_assert!(written.is_ok(), "{LIMIT} bytes are enough for {size}");
                ring.discard(&mut pool, size)
            });
        });
    }
    group.finish();
}

/// A backlog that stays: the ring goes round and round.
fn go_round(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write and read behind a backlog");
    for size in SIZES {
        let bytes = vec![7; size];
        let mut out = vec![0; size];
        let mut pool = Pool::new(LIMIT);
        let mut ring = Ring::new();
        let standing = ring.write(&mut pool, &[1; 100]);
        debug_assert!(standing.is_ok(), "{LIMIT} bytes are enough for 100");
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} B"), |bencher| {
            bencher.iter(|| {
                let written = ring.write(&mut pool, black_box(&bytes));
                debug_assert!(written.is_ok(), "{LIMIT} bytes are enough for {size}");
                ring.read_into(&mut pool, black_box(&mut out))
            });
        });
        ring.clear(&mut pool);
    }
    group.finish();
}

/// The least that the above can cost: the bytes in and out of a buffer that is there.
fn plain_copy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plain copy in and out");
    for size in SIZES {
        let bytes = vec![7_u8; size];
        let mut buffer = vec![0_u8; size];
        let mut out = vec![0_u8; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} B"), |bencher| {
            bencher.iter(|| {
                buffer.copy_from_slice(black_box(&bytes));
                black_box(&mut out).copy_from_slice(black_box(&buffer));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, borrow_and_give_back, go_round, plain_copy);
criterion_main!(benches);
