//! What a ring promises, at the edges of its storage and of its pool.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wheelhouse_ring::{Pool, PoolExhausted, Ring};

const MIB: usize = 1024 * 1024;

#[test]
fn idle_ring_is_one_pointer_and_owns_nothing() {
    assert_eq!(size_of::<Ring>(), 8);
    let ring = Ring::new();
    assert_eq!((ring.len(), ring.capacity(), ring.is_empty()), (0, 0, true));
    assert_eq!(ring.peek(), (&[][..], &[][..]));
}

#[test]
fn each_class_is_filled_to_its_last_byte_before_the_next_is_taken() {
    let mut pool = Pool::with_kept(Ring::MAX_CAPACITY, 0);
    let mut ring = Ring::new();
    for size in classes(Ring::MAX_CAPACITY) {
        let more = size - ring.len();
        ring.write(&mut pool, &vec![7; more]).unwrap();
        assert_eq!((ring.len(), ring.capacity(), pool.lent()), (size, size, size));
        if size < Ring::MAX_CAPACITY {
            ring.write(&mut pool, b"x").unwrap();
            assert_eq!((ring.len(), ring.capacity(), pool.lent()), (size + 1, 2 * size, 2 * size));
        }
    }
    ring.clear(&mut pool);
}

#[test]
fn bytes_keep_their_order_around_the_edge_of_each_class() {
    let mut pool = Pool::new(MIB);
    let mut ring = Ring::new();
    for size in classes(MIB) {
        let bytes = numbered(0, size);
        for head in [1, 2, size / 2, size - 2, size - 1] {
            ring.write(&mut pool, &bytes).unwrap();
            ring.discard(&mut pool, head);
            ring.write(&mut pool, &numbered(size, head)).unwrap();

            assert_eq!(ring.capacity(), size);
            assert_eq!(ring.peek().1.len(), head);
            let mut out = vec![0; size + 1];
            assert_eq!(ring.read_into(&mut pool, &mut out), size);
            assert_eq!(out[..size], numbered(head, size));
            assert_eq!(ring.capacity(), 0);
        }
    }
}

#[test]
fn growing_while_wrapped_keeps_the_order() {
    let mut pool = Pool::new(2 * MIB);
    let mut ring = Ring::new();
    for size in classes(MIB) {
        for head in [1, size / 3, size - 1] {
            ring.write(&mut pool, &numbered(0, size)).unwrap();
            ring.discard(&mut pool, head);
            ring.write(&mut pool, &numbered(size, head)).unwrap();
            assert!(!ring.peek().1.is_empty());

            ring.write(&mut pool, &numbered(size + head, 1)).unwrap();
            assert_eq!(ring.capacity(), 2 * size);
            assert_eq!(ring.peek(), (&numbered(head, size + 1)[..], &[][..]));
            ring.clear(&mut pool);
        }
    }
}

#[test]
fn growing_goes_straight_to_the_class_that_fits() {
    let (mut pool, mut ring) = (Pool::new(MIB), Ring::new());
    ring.write(&mut pool, b"few").unwrap();
    ring.write(&mut pool, &[0; 100_000]).unwrap();
    assert_eq!(ring.capacity(), 128 * 1024);
    assert_eq!(pool.kept(), 256, "the classes between were never touched");
    ring.clear(&mut pool);
}

#[test]
fn shrinking_while_wrapped_keeps_the_order() {
    let (mut pool, mut ring) = (Pool::new(MIB), Ring::new());
    ring.write(&mut pool, &numbered(0, 4096)).unwrap();
    ring.discard(&mut pool, 4000);
    ring.write(&mut pool, &numbered(4096, 160)).unwrap();
    assert!(!ring.peek().1.is_empty());

    ring.shrink(&mut pool);
    assert_eq!(ring.peek(), (&numbered(4000, 256)[..], &[][..]));
    assert_eq!((ring.capacity(), pool.lent()), (256, 256));

    ring.shrink(&mut pool);
    assert_eq!((pool.lent(), pool.kept()), (256, 4096), "the class that fits is left alone");
    ring.clear(&mut pool);
    ring.shrink(&mut pool);
    assert_eq!(pool.lent(), 0);
}

#[test]
fn nothing_asked_borrows_nothing_and_changes_nothing() {
    let mut pool = Pool::new(0);
    let mut ring = Ring::new();
    ring.write(&mut pool, b"").unwrap();
    ring.write_vectored(&mut pool, &[]).unwrap();
    ring.write_vectored(&mut pool, &[b"", b""]).unwrap();
    assert_eq!(ring.read_into(&mut pool, &mut []), 0);
    assert_eq!(ring.copy_to(&mut [0; 4]), 0);
    assert_eq!(ring.discard(&mut pool, 0), 0);
    assert_eq!(ring.discard(&mut pool, usize::MAX), 0);
    ring.clear(&mut pool);
    assert_eq!(ring.fill_from(&mut pool, 0, |span| Ok(span.len() + 9)).unwrap().unwrap(), 0);
    assert_eq!((ring.capacity(), pool.lent()), (0, 0));

    let mut pool = Pool::new(256);
    ring.write(&mut pool, &[1; 256]).unwrap();
    ring.write(&mut pool, b"").unwrap();
    assert_eq!(ring.fill_from(&mut pool, 0, |span| Ok(span.len())).unwrap().unwrap(), 0);
    assert_eq!(ring.read_into(&mut pool, &mut []), 0);
    assert_eq!(ring.len(), 256);
    ring.clear(&mut pool);
}

#[test]
fn exhaustion_takes_nothing() {
    let mut pool = Pool::new(1024);
    let (mut ring, mut other) = (Ring::new(), Ring::new());
    ring.write(&mut pool, &numbered(0, 256)).unwrap();
    ring.discard(&mut pool, 100);
    ring.write(&mut pool, b"wrapped").unwrap();
    other.write(&mut pool, b"other").unwrap();
    let before = (ring.peek().0.to_vec(), ring.peek().1.to_vec());

    let refused = PoolExhausted { wanted: 1024, lent: 512, limit: 1024 };
    assert_eq!(ring.write(&mut pool, &[9; 500]), Err(refused));
    assert_eq!(ring.write_vectored(&mut pool, &[&[9; 90], &[9; 90], &[9; 400]]), Err(refused));
    ring.write(&mut pool, &[8; 93]).unwrap();
    let full = (ring.peek().0.to_vec(), ring.peek().1.to_vec());
    let filled = ring.fill_from(&mut pool, 700, |_| unreachable!("there is nothing to read into"));
    assert_eq!(filled.unwrap_err(), refused);

    assert_eq!((ring.peek().0, ring.peek().1), (&full.0[..], &full.1[..]));
    assert_eq!(full.0, before.0);
    assert_eq!(full.1[..before.1.len()], before.1);
    assert_eq!((ring.capacity(), pool.lent()), (256, 512));
    ring.clear(&mut pool);
    other.clear(&mut pool);
}

#[test]
fn parts_count_together_against_the_largest_class() {
    let (mut pool, mut ring) = (Pool::new(usize::MAX), Ring::new());
    let part = vec![0; Ring::MAX_CAPACITY];
    let refused = ring.write_vectored(&mut pool, &[&part[..], b"one too many"]).unwrap_err();
    assert_eq!((refused.wanted, refused.lent), (Ring::MAX_CAPACITY + 12, 0));
    assert!(refused.never_fits());
    assert_eq!(ring.capacity(), 0);
}

#[test]
fn full_ring_of_the_largest_class_refuses_and_keeps_its_bytes() {
    let mut pool = Pool::with_kept(usize::MAX, 0);
    let mut ring = Ring::new();
    ring.write(&mut pool, &vec![5; Ring::MAX_CAPACITY]).unwrap();

    assert!(ring.write(&mut pool, b"x").unwrap_err().never_fits());
    let filled = ring.fill_from(&mut pool, 1, |_| unreachable!("there is nothing to read into"));
    assert!(filled.unwrap_err().never_fits());
    assert_eq!(ring.len(), Ring::MAX_CAPACITY);

    ring.discard(&mut pool, 1);
    let read = ring.fill_from(&mut pool, usize::MAX, |span| Ok(span.len()));
    assert_eq!(read.unwrap().unwrap(), 1);
    ring.clear(&mut pool);
}

#[test]
fn fill_offers_what_was_wanted_to_an_idle_ring_and_what_is_free_to_a_busy_one() {
    let (mut pool, mut ring) = (Pool::new(MIB), Ring::new());
    let offered = |ring: &mut Ring, pool: &mut Pool, want, take| {
        let mut offered = 0;
        let read = ring.fill_from(pool, want, |span| {
            offered = span.len();
            Ok(take)
        });
        assert_eq!(read.unwrap().unwrap(), take);
        offered
    };

    assert_eq!(offered(&mut ring, &mut pool, 300, 200), 300);
    assert_eq!(ring.capacity(), 512);
    assert_eq!(offered(&mut ring, &mut pool, 1000, 312), 312, "up to the edge, without growing");
    assert_eq!(ring.discard(&mut pool, 10), 10);
    assert_eq!(offered(&mut ring, &mut pool, 1000, 10), 10, "from the front, up to the head");
    assert_eq!(offered(&mut ring, &mut pool, 100, 0), 100, "a full ring grows");
    assert_eq!(ring.capacity(), 1024);
    assert_eq!(offered(&mut ring, &mut pool, 1000, 0), 512);
    ring.clear(&mut pool);
}

#[test]
fn fill_without_bound_offers_the_largest_class() {
    let mut pool = Pool::with_kept(usize::MAX, 0);
    let mut ring = Ring::new();
    let read = ring.fill_from(&mut pool, usize::MAX, |span| Ok(span.len()));
    assert_eq!(read.unwrap().unwrap(), Ring::MAX_CAPACITY);
    ring.clear(&mut pool);
}

#[test]
fn more_reported_than_offered_counts_as_offered() {
    let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    let read = ring.fill_from(&mut pool, 5, |span| {
        span.copy_from_slice(b"bytes");
        Ok(usize::MAX)
    });
    assert_eq!(read.unwrap().unwrap(), 5);
    assert_eq!(ring.peek().0, b"bytes");
    ring.clear(&mut pool);
}

#[test]
fn fill_that_brings_nothing_leaves_an_idle_ring_idle() {
    let (mut pool, mut ring) = (Pool::new(4096), Ring::new());

    assert_eq!(ring.fill_from(&mut pool, 100, |_| Ok(0)).unwrap().unwrap(), 0);
    assert_eq!((ring.capacity(), pool.lent()), (0, 0));

    let failed = ring.fill_from(&mut pool, 100, |_| Err(io::ErrorKind::ConnectionReset.into()));
    assert_eq!(failed.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!((ring.capacity(), pool.lent()), (0, 0));

    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _ = ring.fill_from(&mut pool, 100, |_| panic!("the reader gives up"));
    }));
    assert!(panicked.is_err());
    assert_eq!((ring.capacity(), pool.lent()), (0, 0));
}

#[test]
fn reader_that_panics_leaves_the_bytes_as_they_were() {
    let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    ring.write(&mut pool, b"before").unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _ = ring.fill_from(&mut pool, 100, |span| {
            span.fill(9);
            panic!("the reader gives up")
        });
    }));
    assert!(panicked.is_err());
    ring.write(&mut pool, b" and after").unwrap();
    assert_eq!(ring.peek().0, b"before and after");
    ring.clear(&mut pool);
}

#[test]
fn reused_storage_never_shows_old_bytes() {
    let mut pool = Pool::new(4096);
    let (mut ours, mut theirs) = (Ring::new(), Ring::new());
    theirs.write(&mut pool, &[b'!'; 4096]).unwrap();
    theirs.clear(&mut pool);
    assert_eq!(pool.kept(), 4096);

    // A reader that claims what it never wrote.
    let read = ours.fill_from(&mut pool, 4096, |span| {
        assert!(span.iter().all(|&byte| byte == 0));
        Ok(span.len())
    });
    assert_eq!(read.unwrap().unwrap(), 4096);
    assert_eq!(pool.kept(), 0, "the same storage");
    assert!(ours.peek().0.iter().all(|&byte| byte == 0));
    ours.clear(&mut pool);
}

#[test]
#[cfg(debug_assertions)]
fn dropping_a_ring_that_holds_bytes_is_caught_in_debug_builds() {
    let mut pool = Pool::new(4096);
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        let mut ring = Ring::new();
        ring.write(&mut pool, b"forgotten").unwrap();
    }));
    assert!(dropped.is_err());
}

#[test]
fn ring_dropped_by_a_panic_costs_the_account_and_nothing_else() {
    let mut pool = Pool::new(512);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut ring = Ring::new();
        ring.write(&mut pool, b"lost").unwrap();
        panic!("something else went wrong");
    }));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "something else went wrong");
    assert_eq!((pool.lent(), pool.kept()), (256, 0));

    let mut ring = Ring::new();
    ring.write(&mut pool, &numbered(0, 256)).unwrap();
    assert!(ring.write(&mut pool, b"x").is_err());
    assert_eq!(ring.peek().0, numbered(0, 256));
    ring.clear(&mut pool);
    assert_eq!(pool.lent(), 256);
}

#[test]
fn debug_tells_sizes_and_no_bytes() {
    let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    ring.write(&mut pool, b"secret").unwrap();
    assert_eq!(format!("{ring:?}"), "Ring { len: 6, capacity: 256 }");
    ring.clear(&mut pool);
}

fn classes(up_to: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(Ring::MIN_CAPACITY), |size| Some(size * 2))
        .take_while(move |&size| size <= up_to)
}

/// `n` bytes of an endless sequence, from its `from`th on. 251 is prime, so that no power of two brings
/// the same byte to the same place.
fn numbered(from: usize, n: usize) -> Vec<u8> {
    (from..from + n).map(|i| (i % 251) as u8).collect()
}
