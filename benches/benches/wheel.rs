//! N11: what a timer costs, in an empty wheel and beside a million others.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use wheelhouse_wheel::{Progress, Tick, TimerKey, Wheel};

/// Deadlines lie within ten minutes of 1 ms ticks, as those of connections do.
const HORIZON: u64 = 600_000;

const MILLION: usize = 1_000_000;

/// Deadlines drawn before the clock starts: a power of two, so that finding the next is one mask.
const DRAWN: usize = 1 << 12;

fn schedule_and_cancel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule and cancel");
    for pending in [0, MILLION] {
        let (mut wheel, _keys) = filled(pending);
        let deadlines = deadlines();
        let mut turn = 0;
        group.bench_function(format!("{pending} pending"), |bencher| {
            bencher.iter(|| {
                turn += 1;
                let key = wheel.schedule(deadlines[turn % DRAWN], 7);
                wheel.cancel(black_box(key))
            });
        });
    }
    group.finish();
}

/// The same with the timers of a million connections at random: each step misses the cache.
fn replace_at_random(criterion: &mut Criterion) {
    let (mut wheel, mut keys) = filled(MILLION);
    let deadlines = deadlines();
    let mut random = Random::new();
    criterion.bench_function("cancel one of a million at random, schedule it anew", |bencher| {
        bencher.iter(|| {
            let at = random.below(MILLION as u64) as usize;
            let value = wheel.cancel(keys[at]).unwrap_or_default();
            keys[at] = wheel.schedule(deadlines[at % DRAWN], value);
        });
    });
}

fn reschedule(criterion: &mut Criterion) {
    let (mut wheel, keys) = filled(MILLION);
    let deadlines = deadlines();
    let mut random = Random::new();
    criterion.bench_function("reschedule one of a million at random", |bencher| {
        bencher.iter(|| {
            let at = random.below(MILLION as u64) as usize;
            wheel.reschedule(keys[at], deadlines[at % DRAWN])
        });
    });
}

/// One tick of a wheel in the steady state: what comes due is scheduled again.
fn turn(criterion: &mut Criterion) {
    let (mut wheel, _keys) = filled(MILLION);
    let mut random = Random::new();
    println!("memory: {:.2} B for each of a million timers", wheel.memory() as f64 / MILLION as f64);
    criterion.bench_function("one tick with a million pending", |bencher| {
        bencher.iter(|| {
            let now = Tick::new(wheel.now().as_u64() + 1);
            while wheel.advance(now, 1_000) == Progress::More {}
            while let Some(fired) = wheel.pop_due() {
                wheel.schedule(Tick::new(now.as_u64() + 1 + random.below(HORIZON)), fired.value);
            }
        });
    });
}

fn filled(pending: usize) -> (Wheel<u64>, Vec<TimerKey>) {
    let mut wheel = Wheel::new(Tick::new(0));
    let mut random = Random::new();
    let timers = (0..pending).map(|value| wheel.schedule(Tick::new(1 + random.below(HORIZON)), value as u64));
    let keys = timers.collect();
    (wheel, keys)
}

fn deadlines() -> Vec<Tick> {
    let mut random = Random::new();
    (0..DRAWN).map(|_| Tick::new(1 + random.below(HORIZON))).collect()
}

/// xorshift64: the same sequence in each run, for less than the work it disturbs.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

criterion_group!(benches, schedule_and_cancel, replace_at_random, reschedule, turn);
criterion_main!(benches);
