//! Several rings over one small pool, beside a plain queue for each: whatever is done to them in
//! whatever order, they hold the same bytes, and the pool's account is right after every step.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::io;

use proptest::prelude::*;
use wheelhouse_ring::{Pool, PoolExhausted, Ring};

const RINGS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    WriteVectored(Vec<usize>),
    FillFrom { want: usize, reported: usize },
    FailToFill { want: usize },
    ReadInto(usize),
    CopyTo(usize),
    Discard(usize),
    Clear,
    Shrink,
    Trim(usize),
}

fn step() -> impl Strategy<Value = Step> {
    // Few bytes often and many at times, so that rings linger, wrap and still outgrow the pool.
    let count = prop_oneof![1 => Just(0usize), 4 => 1..40usize, 4 => 40..400usize, 2 => 400..3000usize];
    prop_oneof![
        6 => count.clone().prop_map(Step::Write),
        3 => prop::collection::vec(count.clone(), 0..4).prop_map(Step::WriteVectored),
        4 => (count.clone(), count.clone()).prop_map(|(want, reported)| Step::FillFrom { want, reported }),
        1 => count.clone().prop_map(|want| Step::FailToFill { want }),
        5 => count.clone().prop_map(Step::ReadInto),
        1 => count.clone().prop_map(Step::CopyTo),
        5 => count.clone().prop_map(Step::Discard),
        1 => Just(Step::Clear),
        1 => Just(Step::Shrink),
        1 => count.prop_map(Step::Trim),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rings_and_queues_agree_and_the_account_is_right(
        steps in prop::collection::vec((0..RINGS, step()), 1..150),
        limit in 0..12_000usize,
        kept in 0..6_000usize,
    ) {
        let mut world = World::new(limit, kept);
        for (at, step) in steps {
            world.apply(at, step);
            world.check();
        }
        world.end();
    }
}

/// The rings with their pool, and what they should hold.
struct World {
    pool: Pool,
    kept_bound: usize,
    rings: [Ring; RINGS],
    models: [VecDeque<u8>; RINGS],
    /// Numbers the bytes, so that one in the wrong place shows.
    written: usize,
}

impl World {
    fn new(limit: usize, kept: usize) -> World {
        World {
            pool: Pool::with_kept(limit, kept),
            kept_bound: kept,
            rings: Default::default(),
            models: Default::default(),
            written: 0,
        }
    }

    fn apply(&mut self, at: usize, step: Step) {
        match step {
            Step::Write(n) => {
                let bytes = self.fresh(n);
                let fits = self.fits(at, n);
                let outcome = self.rings[at].write(&mut self.pool, &bytes);
                self.settle(at, fits, outcome, &bytes);
            }
            Step::WriteVectored(counts) => {
                let parts: Vec<Vec<u8>> = counts.iter().map(|&n| self.fresh(n)).collect();
                let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                let fits = self.fits(at, counts.iter().sum());
                let outcome = self.rings[at].write_vectored(&mut self.pool, &slices);
                self.settle(at, fits, outcome, &parts.concat());
            }
            Step::FillFrom { want, reported } => self.fill(at, want, reported),
            Step::FailToFill { want } => {
                let refused = |_: &mut [u8]| Err(io::ErrorKind::WouldBlock.into());
                if let Ok(outcome) = self.rings[at].fill_from(&mut self.pool, want, refused) {
                    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::WouldBlock);
                }
            }
            Step::ReadInto(n) => {
                let mut out = vec![0; n];
                let read = self.rings[at].read_into(&mut self.pool, &mut out);
                let expected: Vec<u8> = self.models[at].drain(..n.min(self.models[at].len())).collect();
                assert_eq!(out[..read], expected);
            }
            Step::CopyTo(n) => {
                let mut out = vec![0; n];
                let copied = self.rings[at].copy_to(&mut out);
                assert_eq!(copied, n.min(self.models[at].len()));
                assert!(out[..copied].iter().eq(self.models[at].iter().take(copied)));
            }
            Step::Discard(n) => {
                let dropped = self.rings[at].discard(&mut self.pool, n);
                assert_eq!(dropped, self.models[at].drain(..n.min(self.models[at].len())).count());
            }
            Step::Clear => {
                self.rings[at].clear(&mut self.pool);
                self.models[at].clear();
            }
            Step::Shrink => {
                self.rings[at].shrink(&mut self.pool);
                let held = self.models[at].len();
                assert_eq!(self.rings[at].capacity(), if held == 0 { 0 } else { class(held) });
            }
            Step::Trim(keep) => {
                let before = self.pool.kept();
                self.pool.trim(keep);
                assert!(self.pool.kept() <= keep.min(before));
            }
        }
    }

    fn fill(&mut self, at: usize, want: usize, reported: usize) {
        let bytes = self.fresh(want);
        let full = self.rings[at].len() == self.rings[at].capacity();
        let fits = !full || self.fits(at, want);
        let mut taken = 0;
        let outcome = self.rings[at].fill_from(&mut self.pool, want, |span| {
            assert!(span.len() <= want && span.is_empty() == (want == 0));
            assert!(span.iter().all(|&byte| byte == 0), "the span shows what it once held");
            span.copy_from_slice(&bytes[..span.len()]);
            taken = reported.min(span.len());
            Ok(reported)
        });
        let outcome = outcome.map(|read| assert_eq!(read.unwrap(), taken));
        self.settle(at, fits, outcome, &bytes[..taken]);
    }

    /// Whether `n` bytes more fit into what ring `at` holds or may exchange it for.
    fn fits(&self, at: usize, n: usize) -> bool {
        let (need, held) = (self.models[at].len() + n, self.rings[at].capacity());
        need <= held || self.pool.lent() - held + class(need) <= self.pool.limit()
    }

    fn settle(&mut self, at: usize, fits: bool, outcome: Result<(), PoolExhausted>, bytes: &[u8]) {
        match outcome {
            Ok(()) => self.models[at].extend(bytes),
            Err(refused) => {
                assert_eq!((refused.lent, refused.limit), (self.pool.lent(), self.pool.limit()));
                assert!(refused.wanted > self.rings[at].capacity());
                assert_eq!(refused.never_fits(), refused.wanted > self.pool.limit());
            }
        }
        assert_eq!(outcome.is_ok(), fits);
    }

    fn check(&self) {
        let capacities: usize = self.rings.iter().map(Ring::capacity).sum();
        assert_eq!(self.pool.lent(), capacities);
        assert!(self.pool.lent() <= self.pool.limit());
        assert!(self.pool.kept() <= self.kept_bound);

        for (ring, model) in self.rings.iter().zip(&self.models) {
            assert_eq!((ring.len(), ring.is_empty()), (model.len(), model.is_empty()));
            assert_eq!(ring.capacity() == 0, model.is_empty());
            let (first, second) = ring.peek();
            assert!(first.iter().chain(second).eq(model));
            let [io_first, io_second] = ring.as_io_slices();
            assert_eq!((&*io_first, &*io_second), (first, second));
        }
    }

    fn end(mut self) {
        for ring in &mut self.rings {
            ring.clear(&mut self.pool);
        }
        assert_eq!(self.pool.lent(), 0);
        self.pool.trim(0);
        assert_eq!(self.pool.kept(), 0);
    }

    /// The next `n` bytes. 251 is prime, so no power of two brings the same byte to the same place.
    fn fresh(&mut self, n: usize) -> Vec<u8> {
        let from = self.written;
        self.written += n;
        (from..from + n).map(|i| (i % 251) as u8 + 1).collect()
    }
}

fn class(need: usize) -> usize {
    need.next_power_of_two().max(Ring::MIN_CAPACITY)
}
