//! What a fuzzer found worth keeping is tried again: see `tests/fuzz`.

#[test]
fn whatever_a_client_sends_what_it_gets_is_well_formed_and_the_same_however_it_was_cut() {
    assert!(wheelhouse_fuzz::replay("server", wheelhouse_fuzz::server) > 0);
}
