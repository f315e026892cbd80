//! What a fuzzer found worth keeping is tried again: see `tests/fuzz`.

#[test]
fn whatever_frames_come_they_give_the_same_events_however_they_are_cut() {
    assert!(wheelhouse_fuzz::replay("frames", wheelhouse_fuzz::frames) > 0);
}

#[test]
fn whatever_is_inflated_stays_within_its_limit_and_whatever_is_compressed_comes_back() {
    assert!(wheelhouse_fuzz::replay("deflate", wheelhouse_fuzz::deflate) > 0);
}

#[test]
fn no_head_is_understood_in_two_ways_and_what_is_written_is_well_formed() {
    assert!(wheelhouse_fuzz::replay("handshake", wheelhouse_fuzz::handshake) > 0);
}
