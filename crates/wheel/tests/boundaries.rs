//! Every edge an entry can fall off: of levels, of 32 bits, of a clock that jumps, of time itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use wheelhouse_wheel::{Progress, Tick, Wheel};

/// Each edge at which a digit of 6 bits or of 8 carries, and its neighbours.
fn distances() -> Vec<u64> {
    let edges = (1..64).filter(|bits| bits % 6 == 0 || bits % 8 == 0).map(|bits| 1_u64 << bits);
    let mut distances: Vec<u64> = edges.flat_map(|edge| edge - 2..=edge + 2).chain(0..=2).collect();
    distances.sort_unstable();
    distances
}

/// Starts from which a carry is near: of level after level, of the low 32 bits, of all 64.
fn origins() -> Vec<u64> {
    let mut origins = distances();
    origins.extend([3 << 32, 7 << 32, 255 << 32].map(|wrap: u64| wrap - 1));
    origins.extend([u64::MAX - 70_000, u64::MAX - 1, u64::MAX]);
    origins
}

/// Turns the wheel all the way to `now` and takes what is due.
#[track_caller]
fn fire(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
    assert_eq!(wheel.advance(Tick::new(now), usize::MAX), Progress::Done);
    std::iter::from_fn(|| wheel.pop_due()).map(|fired| fired.value).collect()
}

#[test]
fn an_entry_fires_at_its_tick_and_not_one_before_on_every_level() {
    for origin in origins() {
        for at in distances().into_iter().filter_map(|distance| origin.checked_add(distance)) {
            let mut wheel = Wheel::new(Tick::new(origin));
            wheel.schedule(Tick::new(at), at);
            if at > origin {
                assert_eq!(fire(&mut wheel, at - 1), [], "from {origin}");
            }
            assert_eq!(fire(&mut wheel, at), [at], "from {origin}");
            assert!(wheel.is_empty());
        }
    }
}

#[test]
fn sleeping_until_next_meets_every_tick_exactly_and_wakes_at_most_once_a_level() {
    for origin in origins() {
        for at in distances().into_iter().filter_map(|distance| origin.checked_add(distance)) {
            let mut wheel = Wheel::new(Tick::new(origin));
            wheel.schedule(Tick::new(at), at);
            let mut wakes = 0;
            loop {
                let next = wheel.next().expect("the entry is still to come").as_u64();
                assert!(next <= at && wakes <= 11, "from {origin} to {at}: woken {wakes} times, next {next}");
                wakes += 1;
                if fire(&mut wheel, next) == [at] {
                    break;
                }
            }
            assert_eq!(wheel.now(), Tick::new(at));
            assert_eq!(wheel.next(), None);
        }
    }
}

#[test]
fn one_jump_of_the_clock_fires_all_levels_in_order() {
    for origin in origins() {
        let mut ticks: Vec<u64> = distances().into_iter().filter_map(|d| origin.checked_add(d)).collect();
        let mut wheel = Wheel::new(Tick::new(origin));
        for &at in ticks.iter().rev() {
            wheel.schedule(Tick::new(at), at);
        }
        ticks.sort_unstable();
        assert_eq!(fire(&mut wheel, u64::MAX), ticks, "from {origin}");
    }
}

#[test]
fn a_jump_costs_what_lies_between_and_not_its_length() {
    let mut wheel = Wheel::new(Tick::new(0));
    let ticks = distances();
    for &at in &ticks {
        wheel.schedule(Tick::new(at), at);
    }
    // Every entry goes down at most ten levels and comes due with its slot.
    let most = ticks.len() * 11;
    assert_eq!(wheel.advance(Tick::MAX, most), Progress::Done);
    assert_eq!(std::iter::from_fn(|| wheel.pop_due()).count(), ticks.len());

    let mut empty: Wheel<u64> = Wheel::new(Tick::new(0));
    assert_eq!(empty.advance(Tick::MAX, 1), Progress::Done);
    assert_eq!(empty.now(), Tick::MAX);
}

#[test]
fn a_jump_beyond_an_entry_leaves_the_entries_after_it_in_place() {
    for origin in origins() {
        let Some(far) = origin.checked_add((5 << 32) + 3) else { continue };
        let mut wheel = Wheel::new(Tick::new(origin));
        wheel.schedule(Tick::new(far), 2);
        wheel.schedule(Tick::new(origin + 1), 1);
        assert_eq!(fire(&mut wheel, far - 1), [1]);
        assert_eq!(fire(&mut wheel, far), [2]);
    }
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut wheel = Wheel::new(Tick::new(1_000));
    wheel.schedule(Tick::new(1_500), 1);
    assert_eq!(fire(&mut wheel, 1_400), []);
    assert_eq!(fire(&mut wheel, 3), []);
    assert_eq!(wheel.now(), Tick::new(1_400));
    assert_eq!(wheel.next(), Some(Tick::new(1_472)), "a slot of the second level starts there");
    assert_eq!(fire(&mut wheel, 1_500), [1]);
}

#[test]
fn the_last_tick_of_all_can_be_scheduled_and_fires() {
    let mut wheel = Wheel::new(Tick::new(0));
    wheel.schedule(Tick::MAX, 1);
    assert_eq!(fire(&mut wheel, u64::MAX - 1), []);
    assert_eq!(fire(&mut wheel, u64::MAX), [1]);
    wheel.schedule(Tick::MAX, 2);
    assert_eq!(fire(&mut wheel, u64::MAX), [2]);
}

#[test]
fn an_empty_wheel_has_no_next_however_it_became_empty() {
    let mut wheel = Wheel::new(Tick::new(0));
    assert_eq!(wheel.next(), None);
    for distance in distances() {
        let key = wheel.schedule(wheel.now().saturating_add(distance), distance);
        assert!(wheel.next().is_some());
        wheel.cancel(key);
        assert_eq!(wheel.next(), None, "cancelled at {distance}");

        wheel.schedule(wheel.now(), distance);
        assert_eq!(wheel.next(), Some(wheel.now()));
        assert_eq!(fire(&mut wheel, 0), [distance]);
        assert_eq!(wheel.next(), None, "fired");
    }
}
