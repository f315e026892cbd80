//! The sub-reactor over a kernel in memory that misbehaves as real ones may, driven by handlers, peers and other threads that
//! do whatever they are allowed to.
//!
//! ```text
//! seed ─> plan ─> world: peers ─> network ─> kernel ─> SubReactor ─> actor (handler)
//!                                    │                     ^           │ notes what it asks for
//!                                    v                     └─ clock    v
//!                                 ledger, intake <── held against ── model
//! ```
//!
//! Connections are accepted (from proxies, too, with a header in front), dialled, taken out and put in again; they end of
//! themselves, by a deed of the handler's or of another thread's, in a drain or at a stop. Some are WebSockets, some speak TLS:
//! then the peer's end is none of the engine's, and what it makes of the bytes is held against the model. Some become something
//! else in mid-life: the rest is framed otherwise, or sealed.
//!
//! A world is drawn from its seed and from nothing else: the same seed makes the same world, but for the bytes that TLS draws
//! for itself, whose lengths are the same each time. After each turn everything is looked at that must hold between two turns; a
//! failure names the seed, the turn and the connection.

mod actor;
mod afar;
mod arrivals;
mod bells;
mod crowd;
mod crowds;
mod deed;
mod doing;
mod draining;
mod ear;
mod ends;
mod estate;
mod frames;
mod head;
mod intake;
mod invariants;
mod kernel;
mod ledger;
mod model;
mod opening;
mod parting;
mod peer;
mod plan;
mod preface;
mod random;
mod script;
mod seal;
mod sending;
mod socket;
mod squeeze;
mod talking;
mod trace;
mod turning;
mod web;
mod wire;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

use world::World;

/// Tried where nothing else is asked for.
const SEEDS: u64 = 5_000;
/// Failures after which no more seeds are tried.
const ENOUGH: usize = 8;

#[test]
fn a_reactor_keeps_its_promises_over_any_kernel() {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    if let Some(seed) = number("WHEELHOUSE_SEED") {
        trace::tell_all();
        World::new(seed).run();
        return;
    }
    try_all(number("WHEELHOUSE_SEEDS").unwrap_or(SEEDS));
}

#[test]
fn a_seed_makes_the_same_world_each_time() {
    for seed in 0..20 {
        assert_eq!(World::new(seed).run(), World::new(seed).run(), "seed {seed}");
    }
}

/// Tries so many seeds on all cores; those that fail are named, each with the command that replays it, until there are
/// enough of them.
fn try_all(seeds: u64) {
    let (next, failed) = (AtomicU64::new(0), AtomicUsize::new(0));
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) < ENOUGH {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    if catch_unwind(AssertUnwindSafe(|| World::new(seed).run())).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!(
                            "WHEELHOUSE_SEED={seed} cargo test -p wheelhouse --lib simulated::a_reactor"
                        );
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "so many seeds failed, of the first {}", next.into_inner());
}
