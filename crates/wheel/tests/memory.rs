//! Memory: what a timer costs, what is given back, and no allocation once the wheel has seen its most.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use wheelhouse_wheel::{Progress, Tick, TimerKey, Wheel};

const MILLION: u64 = 1_000_000;

/// The system's allocator, counting what each thread does: tests do not see each other.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES_HELD: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: both calls go to the system's allocator unchanged; the counters are plain cells of the calling
// thread, initialised at compile time and without a destructor, so that touching them allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES_HELD.set(BYTES_HELD.get().wrapping_add(layout.size()));
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES_HELD.set(BYTES_HELD.get().wrapping_sub(layout.size()));
        // SAFETY: `block` came from `alloc` above, which is the system's, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A full-period sequence: neither order nor reverse order of anything.
fn scattered(value: u64) -> u64 {
    value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}

/// Turns the wheel to `now` and schedules again, within a minute, whatever fires.
fn keep_going(wheel: &mut Wheel<u64>, now: u64) {
    while wheel.advance(Tick::new(now), 1_000) == Progress::More {}
    while let Some(fired) = wheel.pop_due() {
        wheel.schedule(Tick::new(now + 1 + scattered(fired.value ^ now) % 60_000), fired.value);
    }
}

#[test]
fn a_new_wheel_holds_6_kilobytes_and_has_allocated_nothing() {
    let before = ALLOCATIONS.get();
    let wheel: Wheel<u64> = Wheel::new(Tick::new(0));
    assert_eq!(ALLOCATIONS.get(), before);
    assert_eq!(wheel.memory(), size_of::<Wheel<u64>>());
    assert!(wheel.memory() <= 6 * 1024, "{} bytes", wheel.memory());
}

#[test]
fn a_million_timers_take_at_most_28_bytes_each() {
    let before = BYTES_HELD.get();
    let mut wheel = Wheel::new(Tick::new(0));
    for value in 0..MILLION {
        wheel.schedule(Tick::new(scattered(value) % 60_000), value);
    }
    let on_the_heap = BYTES_HELD.get().wrapping_sub(before);
    assert_eq!(wheel.memory(), size_of::<Wheel<u64>>() + on_the_heap, "memory() tells what is held");
    assert!(wheel.memory() as u64 <= 25 * MILLION, "{} bytes", wheel.memory());
}

#[test]
fn the_steady_state_allocates_nothing() {
    let mut wheel = Wheel::new(Tick::new(0));
    let mut keys: Vec<TimerKey> =
        (0..10_000).map(|value| wheel.schedule(Tick::new(1 + scattered(value) % 60_000), value)).collect();
    let before = ALLOCATIONS.get();
    for now in 1..100_000 {
        keep_going(&mut wheel, now);
    }
    assert_eq!(ALLOCATIONS.get(), before, "firing and scheduling");

    // From here on all lie beyond what is fired, so that their keys stay good.
    while let Some(next) = wheel.next() {
        while wheel.advance(next, 1_000) == Progress::More {}
        while wheel.pop_due().is_some() {}
    }
    let now = wheel.now();
    for (value, key) in (0..).zip(&mut keys) {
        *key = wheel.schedule(now.saturating_add(scattered(value)), value);
    }
    for round in 0..100_000 {
        let key = &mut keys[scattered(round) as usize % 10_000];
        assert!(wheel.reschedule(*key, now.saturating_add(scattered(round) % 1_000_000)));
        let value = wheel.cancel(*key).unwrap();
        *key = wheel.schedule(now.saturating_add(scattered(round + 1)), value);
    }
    assert_eq!(ALLOCATIONS.get(), before, "cancelling and moving");
    assert_eq!(wheel.len(), 10_000);
}

#[test]
fn growth_never_moves_what_is_held_already() {
    // Nothing larger than the table of chunks is ever allocated, copied into and freed.
    let mut wheel = Wheel::new(Tick::new(0));
    let (before, held) = (ALLOCATIONS.get(), BYTES_HELD.get());
    for value in 0..1_024 * 100 {
        wheel.schedule(Tick::new(value), value);
    }
    let chunks = BYTES_HELD.get().wrapping_sub(held) / (24 * 1_024);
    assert!((100..=102).contains(&chunks), "{chunks} chunks' worth");
    // One allocation a chunk, and the tables' doublings.
    assert!(ALLOCATIONS.get() - before <= 101 + 12, "{} allocations", ALLOCATIONS.get() - before);
}

#[test]
fn a_vacancy_is_filled_before_the_storage_grows_the_lowest_chunks_first() {
    let mut wheel = Wheel::new(Tick::new(0));
    let keys: Vec<TimerKey> = (0..102_399).map(|value| wheel.schedule(Tick::new(value), value)).collect();
    let (before, full) = (ALLOCATIONS.get(), wheel.memory());
    for vacant in [102_000, 70_000, 7, 50_000] {
        wheel.cancel(keys[vacant]);
    }
    for filled in [7, 50_000, 70_000, 102_000] {
        assert_eq!(wheel.schedule(Tick::new(9), 0), keys[filled]);
    }
    assert_eq!((ALLOCATIONS.get(), wheel.memory()), (before, full));
}

#[test]
fn after_a_storm_the_wheel_settles_low_and_gives_the_rest_back() {
    let mut wheel = Wheel::new(Tick::new(0));
    for value in 0..MILLION {
        wheel.schedule(Tick::new(1 + scattered(value) % 60_000), value);
    }
    let storm = wheel.memory();

    // All but one in a hundred end, anywhere in the storage; those go on firing for two minutes.
    for now in 1..=120_000 {
        while wheel.advance(Tick::new(now), 1_000) == Progress::More {}
        while let Some(fired) = wheel.pop_due() {
            if fired.value % 100 == 0 {
                wheel.schedule(Tick::new(now + 1 + scattered(fired.value ^ now) % 60_000), fired.value);
            }
        }
    }
    assert_eq!(wheel.len() as u64, MILLION / 100);
    assert_eq!(wheel.memory(), storm, "nothing goes back unasked");
    let before = BYTES_HELD.get();
    wheel.shrink();
    assert!(wheel.memory() * 20 < storm, "{} bytes of {storm} are left", wheel.memory());
    assert_eq!(before.wrapping_sub(BYTES_HELD.get()), storm - wheel.memory());

    // And all of it still works.
    for now in 120_001..=240_000 {
        keep_going(&mut wheel, now);
    }
    assert_eq!(wheel.len() as u64, MILLION / 100);

    while wheel.advance(Tick::MAX, 1_000) == Progress::More {}
    while wheel.pop_due().is_some() {}
    wheel.shrink();
    assert_eq!(wheel.memory(), size_of::<Wheel<u64>>(), "an empty wheel holds nothing beside itself");
}

#[test]
fn keys_stay_good_across_a_shrink_and_holes_are_filled_lowest_first() {
    // Ten chunks to the last place: index 0 is never given out.
    let mut wheel = Wheel::new(Tick::new(0));
    let keys: Vec<TimerKey> = (0..10_239).map(|value| wheel.schedule(Tick::new(value), value)).collect();
    let full = wheel.memory();
    for &key in &keys[1_023..9_215] {
        wheel.cancel(key);
    }
    wheel.shrink();
    assert!(wheel.memory() < full / 3);
    for (value, &key) in (0..).zip(&keys) {
        let held = !(1_023..9_215).contains(&value);
        assert_eq!(wheel.value(key), held.then_some(value));
    }

    let mut again: Vec<TimerKey> = (0..8_192).map(|value| wheel.schedule(Tick::new(value), value)).collect();
    assert!(wheel.memory() <= full);
    again.sort_unstable();
    assert!(again == keys[1_023..9_215], "not the very places that were given back");
}
