//! The wheel against a sorted map, over sequences of calls no one would think of.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use wheelhouse_wheel::{Progress, Tick, TimerKey, Wheel};

#[derive(Clone, Debug)]
enum Call {
    Schedule(Delay),
    Cancel(prop::sample::Index),
    Reschedule(prop::sample::Index, Delay),
    Advance {
        by: u64,
        budget: usize,
    },
    AdvanceToNext {
        budget: usize,
    },
    /// A clock that went backwards.
    AdvanceBack {
        by: u64,
        budget: usize,
    },
    Pop(usize),
    Shrink,
}

#[derive(Clone, Copy, Debug)]
enum Delay {
    Ahead(u64),
    Ago(u64),
}

/// Distances that matter: next to nothing, a slot or two, the edges of levels and of powers of 2^8,
/// anything at all.
fn distance() -> impl Strategy<Value = u64> {
    let edge = |bits: u32| (1..64 / bits, 0..5_u64).prop_map(move |(n, off)| (1_u64 << (n * bits)) + off - 2);
    prop_oneof![4 => 0..4_u64, 4 => 0..200_u64, 3 => 0..10_000_u64, 3 => edge(6), 2 => edge(8), 1 => any::<u64>()]
}

fn delay() -> impl Strategy<Value = Delay> {
    prop_oneof![8 => distance().prop_map(Delay::Ahead), 1 => distance().prop_map(Delay::Ago)]
}

fn budget() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0..4_usize, 1 => 0..40_usize, 2 => Just(usize::MAX)]
}

fn call() -> impl Strategy<Value = Call> {
    let any_key = any::<prop::sample::Index>;
    prop_oneof![
        8 => delay().prop_map(Call::Schedule),
        2 => any_key().prop_map(Call::Cancel),
        3 => (any_key(), delay()).prop_map(|(which, delay)| Call::Reschedule(which, delay)),
        4 => (distance(), budget()).prop_map(|(by, budget)| Call::Advance { by, budget }),
        4 => budget().prop_map(|budget| Call::AdvanceToNext { budget }),
        1 => (distance(), budget()).prop_map(|(by, budget)| Call::AdvanceBack { by, budget }),
        5 => (1..8_usize).prop_map(Call::Pop),
        1 => Just(Call::Shrink),
    ]
}

/// Where wheels start: zero, the edges at which 32 bits and 6 bits wrap, the end of time.
fn origin() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        (1..8_u64, 0..300_u64).prop_map(|(n, before)| (n << 32) - before),
        (1..10_u32, 0..70_u64).prop_map(|(n, before)| (1 << (6 * n)) - before.min(1 << (6 * n))),
        (0..100_000_u64).prop_map(|before| u64::MAX - before),
        any::<u64>(),
    ]
}

/// What the wheel promises, kept the slow way.
struct Model {
    wheel: Wheel<u64>,
    /// By place in the order: the tick an entry counts for, then when it was scheduled.
    held: BTreeMap<(u64, u64), TimerKey>,
    keys: HashMap<TimerKey, Held>,
    calls: u64,
    /// What was scheduled since is not due yet, whatever its tick.
    advanced: u64,
    /// Whether the last `advance` got to where it was sent.
    settled: bool,
}

#[derive(Clone, Copy)]
struct Held {
    place: (u64, u64),
    deadline: u64,
    value: u64,
}

impl Model {
    fn new(origin: u64) -> Self {
        Self {
            wheel: Wheel::new(Tick::new(origin)),
            held: BTreeMap::new(),
            keys: HashMap::new(),
            calls: 0,
            advanced: 0,
            settled: true,
        }
    }

    fn now(&self) -> u64 {
        self.wheel.now().as_u64()
    }

    fn tick(&self, delay: Delay) -> u64 {
        match delay {
            Delay::Ahead(ticks) => self.now().saturating_add(ticks),
            Delay::Ago(ticks) => self.now().saturating_sub(ticks),
        }
    }

    fn nth_key(&self, which: prop::sample::Index) -> Option<TimerKey> {
        (!self.held.is_empty()).then(|| *self.held.values().nth(which.index(self.held.len())).unwrap())
    }

    fn call(&mut self, call: Call) {
        self.calls += 1;
        match call {
            Call::Schedule(delay) => {
                let deadline = self.tick(delay);
                let key = self.wheel.schedule(Tick::new(deadline), self.calls);
                let place = (deadline.max(self.now()), self.calls);
                assert!(self.held.insert(place, key).is_none());
                let held = Held { place, deadline, value: self.calls };
                assert!(self.keys.insert(key, held).is_none(), "{key:?} was given out twice");
            }
            Call::Cancel(which) => {
                let Some(key) = self.nth_key(which) else { return };
                let held = self.forget(key);
                assert_eq!(self.wheel.cancel(key), Some(held.value));
                assert_eq!(self.wheel.cancel(key), None);
            }
            Call::Reschedule(which, delay) => {
                let Some(key) = self.nth_key(which) else { return };
                let deadline = self.tick(delay);
                assert!(self.wheel.reschedule(key, Tick::new(deadline)));
                let value = self.forget(key).value;
                let place = (deadline.max(self.now()), self.calls);
                self.held.insert(place, key);
                self.keys.insert(key, Held { place, deadline, value });
            }
            Call::Advance { by, budget } => self.advance(self.now().saturating_add(by), budget),
            Call::AdvanceToNext { budget } => {
                if let Some(next) = self.wheel.next() {
                    self.advance(next.as_u64(), budget);
                }
            }
            Call::AdvanceBack { by, budget } => self.advance(self.now().saturating_sub(by), budget),
            Call::Pop(times) => (0..times).for_each(|_| self.pop()),
            Call::Shrink => self.wheel.shrink(),
        }
    }

    fn advance(&mut self, to: u64, budget: usize) {
        let before = self.now();
        let progress = self.wheel.advance(Tick::new(to), budget);
        self.advanced = self.calls;
        self.settled = progress == Progress::Done;
        let until = to.max(before);
        match progress {
            Progress::Done => assert_eq!(self.now(), until),
            Progress::More => {
                assert!(before <= self.now() && self.now() <= until);
                assert!(self.wheel.next().unwrap().as_u64() <= until, "a sleeper would oversleep");
                assert_ne!(budget, usize::MAX);
            }
        }
    }

    fn pop(&mut self) {
        let first = self.held.first_key_value().map(|(&place, &key)| (place, key));
        match self.wheel.pop_due() {
            Some(fired) => {
                let ((tick, scheduled), key) = first.expect("something was held");
                let held = self.forget(key);
                assert_eq!((fired.key, fired.value), (key, held.value), "out of order");
                assert_eq!(fired.deadline.as_u64(), held.deadline);
                assert!(tick <= self.now(), "fired early");
                assert!(scheduled <= self.advanced, "fired before the advance after it was scheduled");
            }
            None => {
                let Some(((tick, scheduled), _)) = first else { return };
                let late = scheduled > self.advanced;
                assert!(tick >= self.now(), "{tick} was passed over");
                assert!(tick > self.now() || late || !self.settled, "{tick} is due");
            }
        }
    }

    fn forget(&mut self, key: TimerKey) -> Held {
        let held = self.keys.remove(&key).expect("the model holds what it names");
        self.held.remove(&held.place);
        held
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.held.len());
        assert_eq!(self.wheel.is_empty(), self.held.is_empty());
        for (&key, held) in &self.keys {
            assert_eq!(self.wheel.deadline(key), Some(Tick::new(held.deadline)));
            assert_eq!(self.wheel.value(key), Some(held.value));
        }
        let Some((&(first, _), _)) = self.held.first_key_value() else {
            assert_eq!(self.wheel.next(), None, "an empty wheel wakes no one");
            return;
        };
        let next = self.wheel.next().expect("a wheel that holds something has a next").as_u64();
        assert!(self.now() <= next && next <= first.max(self.now()), "next {next}, first {first}");
        if self.settled && first / 64 == self.now() / 64 {
            assert_eq!(next, first.max(self.now()), "exact within a block of 64 ticks");
        }
    }

    /// Sleeps from `next` to `next` until nothing is left.
    fn run_out(&mut self) {
        let mut wakes = 0;
        let most = self.held.len() * 12 + 1;
        while let Some(next) = self.wheel.next() {
            self.advance(next.as_u64(), usize::MAX);
            while self.wheel.next() == Some(self.wheel.now()) && !self.wheel.is_empty() {
                let before = self.wheel.len();
                self.pop();
                if self.wheel.len() == before {
                    break;
                }
            }
            wakes += 1;
            assert!(wakes <= most, "woken more than once a level and entry");
        }
        assert!(self.held.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_wheel_does_what_a_sorted_map_does(
        origin in origin(),
        calls in prop::collection::vec(call(), 1..120),
    ) {
        let mut model = Model::new(origin);
        for call in calls {
            model.call(call);
            model.check();
        }
        model.run_out();
    }
}
