//! The fd index is read without a lock while reactors publish its chunks and change its slots.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use loom::thread;
use wheelhouse_loom::{Flaw, Roll, check, conn_id, fd_index, leave_out};

#[test]
fn two_reactors_that_publish_one_chunk_both_find_themselves_in_it() {
    check(|| {
        let index = Arc::new(fd_index());
        let ids = [conn_id(0, 1), conn_id(1, 1)];
        let reactors = [0, 1].map(|fd| {
            let index = Arc::clone(&index);
            thread::spawn(move || {
                index.insert(fd, ids[fd as usize]);
                assert_eq!(index.find(fd), Some(ids[fd as usize]));
            })
        });
        assert!(index.find(0).is_none_or(|id| id == ids[0]));
        assert_eq!(index.find(2), None, "a chunk that nobody publishes");
        for reactor in reactors {
            reactor.join().unwrap();
        }
        assert!(index.iter().eq(ids), "each once");
    });
}

#[test]
fn a_descriptor_that_was_reused_never_leads_back() {
    check(|| {
        let index = Arc::new(fd_index());
        let (old, new) = (conn_id(0, 1), conn_id(0, 2));
        let reactor = thread::spawn({
            let index = Arc::clone(&index);
            move || {
                index.insert(0, old);
                index.remove(0);
                index.insert(0, new);
            }
        });
        let looks = [(); 3].map(|()| index.find(0));
        assert!(looks.iter().flatten().all(|id| [old, new].contains(id)), "{looks:?}");
        let back = [[Some(new), Some(old)], [Some(new), None]];
        assert!(looks.windows(2).all(|pair| !back.iter().any(|back| pair == back)), "{looks:?}");
        assert_ne!(looks, [Some(old), None, Some(old)]);
        assert!(index.iter().count() <= 1);
        reactor.join().unwrap();
        assert_eq!(index.find(0), Some(new));
    });
}

#[test]
fn what_was_removed_before_is_not_found() {
    check(|| {
        let index = Arc::new(fd_index());
        index.insert(0, conn_id(0, 1));
        let reactor = thread::spawn({
            let index = Arc::clone(&index);
            move || index.remove(0)
        });
        let is_found = index.find(0).is_some();
        reactor.join().unwrap();
        assert_eq!(index.find(0), None);
        assert!(is_found || index.iter().next().is_none());
    });
}

/// One reactor's last descriptor leaves a chunk while another's first one comes and the chunk is given back, twice at once.
#[test]
fn who_comes_while_a_chunk_is_given_back_is_not_wiped_with_it() {
    check(|| {
        let index = Arc::new(fd_index());
        index.insert(0, conn_id(0, 1));
        let newcomer = thread::spawn({
            let index = Arc::clone(&index);
            move || {
                index.insert(1, conn_id(1, 1));
                assert_eq!(index.find(1), Some(conn_id(1, 1)), "wiped with it in");
            }
        });
        let wiper = thread::spawn({
            let index = Arc::clone(&index);
            move || index.shrink()
        });
        index.remove(0);
        index.shrink();
        newcomer.join().unwrap();
        wiper.join().unwrap();
        assert!(index.iter().eq([conn_id(1, 1)]));
    });
}

/// Who is found by a descriptor is there for whoever asks next: the order of the index carries the roll's. When chunks are
/// `published` already, that is the order of the slot alone. `start_reactor` and `start_reader` run first on their threads.
fn find_and_ask(published: bool, start_reactor: fn(), start_reader: fn()) {
    check(move || {
        let shared = Arc::new((fd_index(), Roll::new()));
        if published {
            shared.1.enter(conn_id(1, 1));
            shared.0.insert(1, conn_id(1, 1));
        }
        let id = conn_id(0, 1);
        let reactor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                start_reactor();
                shared.1.enter(id);
                shared.0.insert(0, id);
            }
        });
        start_reader();
        if let Some(found) = shared.0.find(0) {
            assert!(shared.1.holds(found), "found and not there");
        }
        reactor.join().unwrap();
    });
}

fn nothing() {}

fn without_order() {
    leave_out(Flaw::NoOrder);
}

#[test]
fn what_is_found_by_its_descriptor_is_there() {
    find_and_ask(true, nothing, nothing);
    find_and_ask(false, nothing, nothing);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_reader_without_acquire_follows_a_pointer_to_nothing() {
    find_and_ask(false, nothing, without_order);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_reactor_without_release_publishes_nothing() {
    find_and_ask(false, without_order, nothing);
}

#[test]
#[should_panic(expected = "found and not there")]
fn a_reader_without_acquire_finds_who_is_not_there() {
    find_and_ask(true, nothing, without_order);
}

#[test]
#[should_panic(expected = "found and not there")]
fn a_reactor_without_release_shows_who_is_not_there() {
    find_and_ask(true, without_order, nothing);
}
