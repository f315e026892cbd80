//! What a wheel costs on this machine: run with `--release`, on an idle core.

use std::hint::black_box;
use std::time::Instant;

use wheelhouse_wheel::{Progress, Tick, TimerKey, Wheel};

const ROUNDS: u32 = 4_000_000;
const MINUTE: u64 = 60_000;

fn main() {
    println!(
        "{:>9}  {:>15}  {:>15}  {:>15}  {:>15}",
        "pending", "schedule+cancel", "cancel+schedule", "reschedule", "fire+schedule"
    );
    println!(
        "{:>9}  {:>15}  {:>15}  {:>15}  {:>15}",
        "", "of one more", "of any", "of any", "as time passes"
    );
    for pending in [0, 1_000, 100_000, 1_000_000] {
        let (mut wheel, mut keys, mut random) = filled(pending);
        print!("{pending:>9}");

        report(ROUNDS, || {
            for _ in 0..ROUNDS {
                let key = wheel.schedule(Tick::new(random.below(MINUTE)), 1);
                black_box(wheel.cancel(key));
            }
        });
        if keys.is_empty() {
            println!();
            continue;
        }
        report(ROUNDS, || {
            for _ in 0..ROUNDS {
                let any = random.below(pending) as usize;
                black_box(wheel.cancel(keys[any]));
                keys[any] = wheel.schedule(Tick::new(random.below(MINUTE)), 1);
            }
        });
        report(ROUNDS, || {
            for _ in 0..ROUNDS {
                let any = random.below(pending) as usize;
                black_box(wheel.reschedule(keys[any], Tick::new(random.below(MINUTE))));
            }
        });
        let mut fired = 0;
        let start = Instant::now();
        while fired < ROUNDS {
            let now = wheel.now().saturating_add(1);
            while wheel.advance(now, 1_000) == Progress::More {}
            while let Some(due) = wheel.pop_due() {
                wheel.schedule(now.saturating_add(1 + random.below(MINUTE)), due.value);
                fired += 1;
            }
        }
        println!("  {:>12.1} ns", start.elapsed().as_nanos() as f64 / f64::from(fired));
    }

    let mut wheel = Wheel::new(Tick::new(0));
    for value in 0..1_000_000_u64 {
        wheel.schedule(Tick::new(MINUTE), value);
    }
    println!("a million due in one tick, per entry: {:.1} bytes", wheel.memory() as f64 / 1e6);
    print!("  advance");
    report(1_000_000, || while wheel.advance(Tick::new(MINUTE), 1_000) == Progress::More {});
    print!("\n  pop_due");
    report(1_000_000, || while black_box(wheel.pop_due()).is_some() {});
    println!();
}

fn filled(pending: u64) -> (Wheel<u64>, Vec<TimerKey>, Random) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut wheel = Wheel::new(Tick::new(0));
    let keys = (0..pending).map(|value| wheel.schedule(Tick::new(random.below(MINUTE)), value)).collect();
    (wheel, keys, random)
}

fn report(times: u32, run: impl FnOnce()) {
    let start = Instant::now();
    run();
    print!("  {:>12.1} ns", start.elapsed().as_nanos() as f64 / f64::from(times));
}

/// Marsaglia's xorshift: a few cycles, so that the figures are the wheel's.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * u128::from(bound)) >> 64) as u64
    }
}
