//! Firing: the order, what may be done meanwhile, and many at once in slices.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use wheelhouse_wheel::{Progress, Tick, Wheel};

const MILLION: u64 = 1_000_000;

/// Values of all that can be popped now.
fn pop_all(wheel: &mut Wheel<u64>) -> Vec<u64> {
    std::iter::from_fn(|| wheel.pop_due()).map(|fired| fired.value).collect()
}

#[track_caller]
fn turn_to(wheel: &mut Wheel<u64>, now: u64) {
    assert_eq!(wheel.advance(Tick::new(now), usize::MAX), Progress::Done);
}

#[test]
fn entries_of_one_tick_fire_in_the_order_they_were_scheduled_from_whatever_distance() {
    let mut wheel = Wheel::new(Tick::new(0));
    let tick = 300_000;
    for (value, distance) in [300_000, 200_000, 40_000, 5_000, 4_000, 100, 63, 2, 1].into_iter().enumerate() {
        turn_to(&mut wheel, tick - distance);
        wheel.schedule(Tick::new(tick), value as u64);
    }
    turn_to(&mut wheel, tick);
    assert_eq!(pop_all(&mut wheel), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn an_entry_scheduled_amid_a_cascade_does_not_overtake_its_tick() {
    let mut wheel = Wheel::new(Tick::new(0));
    for value in 0..10 {
        wheel.schedule(Tick::new(4096), value);
    }
    assert_eq!(wheel.advance(Tick::new(4096), 3), Progress::More);
    wheel.schedule(Tick::new(4096), 10);
    wheel.schedule(Tick::new(7), 11);
    turn_to(&mut wheel, 4096);
    assert_eq!(pop_all(&mut wheel), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_moved_entry_goes_last_in_its_tick() {
    let mut wheel = Wheel::new(Tick::new(0));
    let first = wheel.schedule(Tick::new(9), 1);
    wheel.schedule(Tick::new(9), 2);
    assert!(wheel.reschedule(first, Tick::new(9)));
    turn_to(&mut wheel, 9);
    assert_eq!(pop_all(&mut wheel), [2, 1]);
}

#[test]
fn an_entry_that_reschedules_itself_for_now_fires_once_an_advance() {
    let mut wheel = Wheel::new(Tick::new(0));
    wheel.schedule(Tick::new(5), 1);
    for _ in 0..3 {
        turn_to(&mut wheel, 5);
        let mut fired = 0;
        while let Some(due) = wheel.pop_due() {
            wheel.schedule(wheel.now(), due.value);
            fired += 1;
        }
        assert_eq!(fired, 1);
        assert_eq!(wheel.next(), Some(Tick::new(5)), "work is waiting");
    }
}

#[test]
fn an_entry_that_is_due_can_be_cancelled_and_moved_until_it_is_handed_out() {
    let mut wheel = Wheel::new(Tick::new(0));
    let keys: Vec<_> = (0..6).map(|value| wheel.schedule(Tick::new(5), value)).collect();
    turn_to(&mut wheel, 5);

    assert_eq!(wheel.pop_due().map(|fired| fired.value), Some(0));
    assert_eq!(wheel.cancel(keys[1]), Some(1));
    assert!(wheel.reschedule(keys[3], Tick::new(70)));
    assert_eq!(wheel.cancel(keys[5]), Some(5));
    assert_eq!(pop_all(&mut wheel), [2, 4]);

    assert_eq!(wheel.deadline(keys[3]), Some(Tick::new(70)));
    turn_to(&mut wheel, 70);
    assert_eq!(pop_all(&mut wheel), [3]);
}

#[test]
fn an_entry_amid_a_cascade_can_be_cancelled_and_moved() {
    let mut wheel = Wheel::new(Tick::new(0));
    let keys: Vec<_> = (0..6).map(|value| wheel.schedule(Tick::new(100 + value), value)).collect();
    assert_eq!(wheel.advance(Tick::new(200), 2), Progress::More);
    assert_eq!(wheel.now(), Tick::new(64));
    assert_eq!(wheel.cancel(keys[2]), Some(2));
    assert!(wheel.reschedule(keys[3], Tick::new(1_000)));
    turn_to(&mut wheel, 200);
    assert_eq!(pop_all(&mut wheel), [0, 1, 4, 5]);
    turn_to(&mut wheel, 1_000);
    assert_eq!(pop_all(&mut wheel), [3]);
}

#[test]
fn a_spent_key_names_nothing_while_its_place_is_vacant() {
    let mut wheel = Wheel::new(Tick::new(0));
    let fired = wheel.schedule(Tick::new(1), 1);
    let cancelled = wheel.schedule(Tick::new(2), 2);
    turn_to(&mut wheel, 1);
    wheel.pop_due();
    wheel.cancel(cancelled);
    for _ in 0..2 {
        for key in [fired, cancelled] {
            assert_eq!(wheel.cancel(key), None);
            assert!(!wheel.reschedule(key, Tick::new(9)));
            assert_eq!(wheel.deadline(key), None);
            assert_eq!(wheel.value(key), None);
        }
        // Nor where the storage is gone.
        wheel.shrink();
    }
    assert_eq!((wheel.len(), wheel.next()), (0, None));
}

#[test]
fn a_budget_of_zero_still_gets_on() {
    let mut wheel = Wheel::new(Tick::new(0));
    for value in 0..100 {
        wheel.schedule(Tick::new(5_000 + value), value);
    }
    let mut calls = 0;
    while wheel.advance(Tick::new(6_000), 0) == Progress::More {
        calls += 1;
        assert!(calls < 1_000);
    }
    assert_eq!(pop_all(&mut wheel), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_slot_counts_one_against_the_budget_however_many_come_due_with_it() {
    let mut wheel = Wheel::new(Tick::new(0));
    for value in 0..600 {
        wheel.schedule(Tick::new(value / 10), value);
    }
    for tenth in 1..10 {
        assert_eq!(wheel.advance(Tick::new(59), 6), Progress::More);
        assert_eq!(wheel.now(), Tick::new(tenth * 6 - 1));
        assert_eq!(pop_all(&mut wheel), (tenth * 60 - 60..tenth * 60).collect::<Vec<_>>());
    }
    assert_eq!(wheel.advance(Tick::new(59), 6), Progress::Done);
    assert_eq!(pop_all(&mut wheel), (540..600).collect::<Vec<_>>());
}

#[test]
fn a_million_due_in_one_tick_are_moved_and_served_in_slices() {
    let mut wheel = Wheel::new(Tick::new(0));
    let tick = Tick::new(60_000);
    for value in 0..MILLION {
        wheel.schedule(tick, value);
    }

    // 60,000 is two levels up: each entry moves down twice, never more than 1,000 of them to a call.
    let mut slices = 1;
    while wheel.advance(tick, 1_000) == Progress::More {
        assert_eq!(wheel.pop_due(), None, "fired before its tick");
        slices += 1;
    }
    assert!((2_000..2_010).contains(&slices), "{slices} slices");

    let mut next = 0;
    while wheel.next() == Some(tick) {
        for _ in 0..1_000 {
            assert_eq!(wheel.pop_due().map(|fired| fired.value), Some(next));
            next += 1;
        }
    }
    assert_eq!((next, wheel.next()), (MILLION, None));
}

#[test]
fn a_million_slots_due_at_once_are_turned_in_slices() {
    let mut wheel = Wheel::new(Tick::new(0));
    for value in 0..MILLION {
        wheel.schedule(Tick::new(value), value);
    }
    let (mut fired, mut calls) = (0, 0);
    let mut progress = Progress::More;
    while progress == Progress::More {
        progress = wheel.advance(Tick::new(MILLION), 5_000);
        calls += 1;
        let slice = pop_all(&mut wheel);
        let until = fired + slice.len() as u64;
        assert!(slice.len() <= 5_000 && slice.into_iter().eq(fired..until), "not in order after {fired}");
        fired = until;
    }
    assert!(calls >= 200, "{calls} calls");
    assert_eq!(fired, MILLION);
}
