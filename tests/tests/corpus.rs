//! What a fuzzer found worth keeping is tried again: see `tests/fuzz`.

#[test]
fn whatever_a_client_sends_what_it_gets_is_well_formed_and_the_same_however_it_was_cut() {
    assert!(wheelhouse_fuzz::replay("server", wheelhouse_fuzz::server) > 0);
}

#[test]
fn whatever_a_server_answers_who_dialled_sends_what_is_well_formed_and_hears_nothing_beyond_the_limits() {
    assert!(wheelhouse_fuzz::replay("client", wheelhouse_fuzz::client) > 0);
}
