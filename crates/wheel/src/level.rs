//! The arithmetic of levels and slots: pure functions on ticks.
//!
//! Read a tick in base 64, one digit to a level. An entry belongs to the level of the highest digit in
//! which its deadline differs from `now`, and there to the slot its own digit names. It follows that
//!
//! - on every level the occupied slots lie ahead of `now`'s digit (on level 0, at it or ahead), so the
//!   lowest occupied one is the nearest;
//! - all of a level comes due before anything of a higher level does;
//! - eleven digits write any `u64`: no tick lies beyond the wheel.

/// Bits of a tick that one level reads.
pub(crate) const SLOT_BITS: u32 = 6;

/// Slots of one level: as many as a `u64` has bits, so that one word tells which are occupied.
pub(crate) const SLOTS: usize = 1 << SLOT_BITS;

/// Levels it takes to read all bits of a tick.
pub(crate) const LEVELS: usize = u64::BITS.div_ceil(SLOT_BITS) as usize;

/// The level on which an entry due at `at` waits while the wheel stands at `now`.
///
/// `at` must not lie before `now`.
#[inline]
pub(crate) fn level_of(now: u64, at: u64) -> usize {
    debug_assert!(now <= at, "deadline {at} lies before the wheel's {now}");
    // The lowest bit is set so that no difference at all reads as one on level 0.
    let difference = (now ^ at) | 1;
    (difference.ilog2() / SLOT_BITS) as usize
}

/// The slot of `level` that holds the tick `at`: its digit there.
#[inline]
pub(crate) fn slot_of(at: u64, level: usize) -> usize {
    (at >> (level as u32 * SLOT_BITS)) as usize % SLOTS
}

/// The first tick of a slot of `level`, while the wheel stands at `now`: `now`'s digits above the level,
/// the slot, zeros below.
#[inline]
pub(crate) fn slot_start(now: u64, level: usize, slot: usize) -> u64 {
    debug_assert!(level < LEVELS && slot < SLOTS, "level {level}, slot {slot}");
    let below = level as u32 * SLOT_BITS;
    // Two shifts, for on the top level one would be of more than 63 bits.
    let above = now >> below >> SLOT_BITS;
    (above << SLOT_BITS | slot as u64) << below
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First tick of each level above the first, counted from a wheel at 0.
    fn boundaries() -> impl Iterator<Item = (usize, u64)> {
        (1..LEVELS).map(|level| (level, 1 << (level as u32 * SLOT_BITS)))
    }

    #[test]
    fn levels_read_every_bit_of_a_tick_and_none_is_idle() {
        assert!(LEVELS as u32 * SLOT_BITS >= u64::BITS);
        assert!((LEVELS as u32 - 1) * SLOT_BITS < u64::BITS);
        assert_eq!(level_of(0, u64::MAX), LEVELS - 1);
    }

    #[test]
    fn now_itself_is_on_the_first_level() {
        for now in [0, 1, 63, 64, 65, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            assert_eq!(level_of(now, now), 0);
        }
    }

    #[test]
    fn a_level_begins_exactly_at_its_boundary() {
        for (level, boundary) in boundaries() {
            assert_eq!(level_of(0, boundary - 1), level - 1, "below {boundary}");
            assert_eq!(level_of(0, boundary), level, "at {boundary}");
            assert_eq!(level_of(0, boundary + 1), level, "above {boundary}");
        }
    }

    #[test]
    fn a_carry_into_a_digit_is_on_that_digits_level_however_near() {
        for (level, boundary) in boundaries() {
            assert_eq!(level_of(boundary - 1, boundary), level);
        }
    }

    #[test]
    fn slots_are_the_digits() {
        for (level, boundary) in boundaries() {
            assert_eq!(slot_of(boundary - 1, level), 0);
            assert_eq!(slot_of(boundary, level), 1);
            assert_eq!(slot_of(boundary - 1, level - 1), SLOTS - 1);
            assert_eq!(slot_of(boundary, level - 1), 0);
        }
        assert_eq!(slot_of(u64::MAX, LEVELS - 1), 15, "four bits are left for the top level");
    }

    #[test]
    fn a_slot_starts_at_or_before_what_it_holds_and_after_now() {
        let ticks = boundaries().flat_map(|(_, b)| [b - 1, b, b + 1]).chain([0, u64::MAX - 1, u64::MAX]);
        let ticks: Vec<u64> = ticks.collect();
        for &now in &ticks {
            for &at in ticks.iter().filter(|&&at| at > now) {
                let level = level_of(now, at);
                let start = slot_start(now, level, slot_of(at, level));
                assert!(now < start && start <= at, "now {now}, at {at}, start {start}");
                assert!(level_of(start, at) < level || level == 0, "a cascade moves {at} down");
            }
        }
    }

    #[test]
    fn a_slot_of_the_first_level_is_one_tick() {
        for now in [0, 63, 64, (1 << 32) - 64, u64::MAX - 63] {
            let base = now - now % 64;
            assert_eq!(slot_start(now, 0, 0), base);
            assert_eq!(slot_start(now, 0, 63), base + 63);
        }
    }
}
