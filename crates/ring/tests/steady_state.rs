//! Counts what this thread asks of the allocator: once the pool holds the blocks that are needed, the
//! answer is nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use wheelhouse_ring::{Pool, Ring};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn steady_state_allocates_nothing() {
    let mut pool = Pool::new(1024 * 1024);
    let mut rings: [Ring; 16] = Default::default();
    turn(&mut pool, &mut rings);

    let (allocated, freed) = counted(|| {
        for _ in 0..1000 {
            turn(&mut pool, &mut rings);
        }
    });
    assert_eq!((allocated, freed), (0, 0));
}

#[test]
fn idle_ring_and_idle_pool_allocate_nothing() {
    let (allocated, _) = counted(|| {
        let mut pool = Pool::new(1024 * 1024);
        let mut ring = Ring::new();
        ring.write(&mut pool, b"").unwrap();
        ring.discard(&mut pool, 10);
    });
    assert_eq!(allocated, 0);
}

#[test]
fn loan_costs_two_allocations_and_trim_gives_both_back() {
    let (mut pool, mut ring) = (Pool::new(1024 * 1024), Ring::new());
    let (allocated, freed) = counted(|| ring.write(&mut pool, b"x").unwrap());
    assert_eq!((allocated, freed), (2, 0));

    let (allocated, freed) = counted(|| {
        ring.clear(&mut pool);
        pool.trim(0);
    });
    assert_eq!((allocated, freed), (0, 2));
}

#[test]
fn ring_dropped_by_a_panic_frees_its_storage() {
    let mut pool = Pool::new(1024 * 1024);
    let quiet = std::panic::catch_unwind(|| panic!("the first panic of a thread allocates for itself"));
    assert!(quiet.is_err());

    let live_before = LIVE.get();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut ring = Ring::new();
        ring.write(&mut pool, &[0; 100_000]).unwrap();
        panic!("with bytes in the ring");
    }));
    drop(panicked);
    assert!(LIVE.get() - live_before < 100_000, "{} bytes leaked", LIVE.get() - live_before);
}

/// Everything a busy reactor does to its rings: borrow, wrap, grow, shrink, give back.
fn turn(pool: &mut Pool, rings: &mut [Ring]) {
    let bytes = [7; 700];
    let mut out = [0; 4096];
    for (i, ring) in rings.iter_mut().enumerate() {
        ring.write(pool, &bytes[..100 + i]).unwrap();
        ring.write_vectored(pool, &[&bytes, &bytes[..i]]).unwrap();
        ring.fill_from(pool, 512, |span| Ok(span.len())).unwrap().unwrap();
        ring.discard(pool, 650);
        ring.shrink(pool);
        ring.write(pool, &bytes).unwrap();
    }
    for ring in rings {
        while ring.read_into(pool, &mut out) > 0 {}
    }
}

/// How often `run` allocated and freed.
fn counted(run: impl FnOnce()) -> (u64, u64) {
    let before = (ALLOCATED.get(), FREED.get());
    run();
    (ALLOCATED.get() - before.0, FREED.get() - before.1)
}

thread_local! {
    // Constant and without a destructor, so that reading them never allocates.
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, with a tally per thread.
struct Counting;

// SAFETY: every call is passed on to `System` as it came; the tally allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        LIVE.set(LIVE.get() + layout.size() as i64);
        // SAFETY: the caller keeps `alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        LIVE.set(LIVE.get() + layout.size() as i64);
        // SAFETY: the caller keeps `alloc_zeroed`'s contract, which is `System`'s.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREED.set(FREED.get() + 1);
        LIVE.set(LIVE.get() - layout.size() as i64);
        // SAFETY: the block came from `System` with this layout, through the functions above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
