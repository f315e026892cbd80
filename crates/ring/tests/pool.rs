//! What a pool promises about its limit, and about what it keeps.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use wheelhouse_ring::{Pool, PoolExhausted, Ring};

#[test]
fn whole_classes_count_against_the_limit() {
    let mut pool = Pool::new(1023);
    let mut rings: [Ring; 4] = Default::default();
    for ring in &mut rings[..3] {
        ring.write(&mut pool, b"x").unwrap();
    }
    assert_eq!(pool.lent(), 768);
    let refused = rings[3].write(&mut pool, b"x").unwrap_err();
    assert_eq!(refused, PoolExhausted { wanted: 256, lent: 768, limit: 1023 });
    clear(&mut pool, &mut rings);
}

#[test]
fn storage_given_back_can_be_lent_again() {
    let mut pool = Pool::new(512);
    let mut rings: [Ring; 3] = Default::default();
    rings[0].write(&mut pool, b"x").unwrap();
    rings[1].write(&mut pool, b"x").unwrap();
    assert!(!rings[2].write(&mut pool, b"x").unwrap_err().never_fits());

    rings[0].discard(&mut pool, 1);
    rings[2].write(&mut pool, b"x").unwrap();
    clear(&mut pool, &mut rings);
}

#[test]
fn only_the_difference_counts_when_a_ring_grows() {
    let mut pool = Pool::new(4096);
    let mut ring = Ring::new();
    ring.write(&mut pool, &[1; 2048]).unwrap();
    ring.write(&mut pool, &[2; 2048]).unwrap();
    assert_eq!((ring.capacity(), pool.lent()), (4096, 4096));
    ring.clear(&mut pool);
}

#[test]
fn pool_of_nothing_lends_nothing() {
    let mut pool = Pool::new(0);
    let mut ring = Ring::new();
    let refused = ring.write(&mut pool, b"x").unwrap_err();
    assert_eq!(refused, PoolExhausted { wanted: 256, lent: 0, limit: 0 });
    assert!(refused.never_fits());
    assert!(ring.fill_from(&mut pool, 1, |span| Ok(span.len())).is_err());
}

#[test]
fn account_of_a_pool_without_limit_does_not_overflow() {
    let mut pool = Pool::new(usize::MAX);
    let mut ring = Ring::new();
    ring.write(&mut pool, b"x").unwrap();
    ring.write(&mut pool, &[0; 256]).unwrap();
    assert_eq!(pool.lent(), 512);
    ring.clear(&mut pool);
}

#[test]
fn refusal_names_what_was_wanted_lent_and_allowed() {
    let refused = PoolExhausted { wanted: 1024, lent: 300, limit: 700 };
    let told = refused.to_string();
    for number in ["1024", "300", "700"] {
        assert!(told.contains(number), "{told}");
    }
}

#[test]
fn refusal_is_final_only_beyond_the_whole_limit_or_the_largest_class() {
    let refused = |wanted, limit| PoolExhausted { wanted, lent: 256, limit };
    assert!(!refused(512, 512).never_fits());
    assert!(refused(1024, 1023).never_fits());
    assert!(!refused(Ring::MAX_CAPACITY, usize::MAX).never_fits());
    assert!(refused(Ring::MAX_CAPACITY + 1, usize::MAX).never_fits());
}

#[test]
fn free_storage_is_kept_up_to_its_bound_and_no_further() {
    let mut pool = Pool::with_kept(64 * 1024, 1000);
    let mut rings: [Ring; 8] = Default::default();
    for ring in &mut rings {
        ring.write(&mut pool, b"x").unwrap();
    }
    clear(&mut pool, &mut rings);
    assert_eq!((pool.lent(), pool.kept()), (0, 768));

    rings[0].write(&mut pool, &[0; 2000]).unwrap();
    rings[0].clear(&mut pool);
    assert_eq!(pool.kept(), 768, "too large to be kept at all");
}

#[test]
fn trim_gives_the_largest_back_first() {
    let mut pool = Pool::new(64 * 1024);
    let mut rings: [Ring; 4] = Default::default();
    for (ring, n) in rings.iter_mut().zip([256, 256, 1024, 8192]) {
        ring.write(&mut pool, &vec![0; n]).unwrap();
    }
    clear(&mut pool, &mut rings);
    assert_eq!(pool.kept(), 256 + 256 + 1024 + 8192);

    pool.trim(usize::MAX);
    assert_eq!(pool.kept(), 256 + 256 + 1024 + 8192);
    pool.trim(2000);
    assert_eq!(pool.kept(), 256 + 256 + 1024);
    pool.trim(500);
    assert_eq!(pool.kept(), 256);
    pool.trim(0);
    assert_eq!(pool.kept(), 0);
}

#[test]
fn trim_touches_nothing_that_is_lent() {
    let (mut pool, mut ring) = (Pool::new(4096), Ring::new());
    ring.write(&mut pool, b"still here").unwrap();
    pool.trim(0);
    assert_eq!(ring.peek().0, b"still here");
    assert_eq!(pool.lent(), 256);
    ring.clear(&mut pool);
}

#[test]
fn pool_with_very_many_free_blocks_is_dropped_without_recursion() {
    const MANY: usize = 200_000;
    let mut pool = Pool::with_kept(usize::MAX, usize::MAX);
    let mut rings: Vec<Ring> = (0..MANY).map(|_| Ring::new()).collect();
    for ring in &mut rings {
        ring.write(&mut pool, b"x").unwrap();
    }
    clear(&mut pool, &mut rings);
    assert_eq!(pool.kept(), MANY * 256);
    drop(pool);
}

#[test]
fn rings_and_pools_may_move_between_threads() {
    fn sendable<T: Send>() {}
    sendable::<Ring>();
    sendable::<Pool>();
}

#[test]
fn debug_tells_the_account() {
    let told = format!("{:?}", Pool::new(4096));
    assert_eq!(told, "Pool { limit: 4096, lent: 0, kept: 0, .. }");
}

fn clear(pool: &mut Pool, rings: &mut [Ring]) {
    for ring in rings {
        ring.clear(pool);
    }
}
