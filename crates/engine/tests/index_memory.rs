//! What the fd index takes when nobody is in it any more.

#![allow(clippy::unwrap_used)]

use wheelhouse::internals::{FdIndex, conn_id};

/// The process's memory, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[cfg(target_arch = "x86_64")]
#[test]
fn memory_of_the_index_goes_back_after_each_storm_but_where_somebody_stays() {
    const DESCRIPTORS: i32 = 4_000_000;
    let index = FdIndex::new();
    let id = conn_id(1 << 40 | 7).unwrap();
    let start = resident();
    for storm in 1..=2 {
        (0..DESCRIPTORS).for_each(|fd| index.insert(fd, id));
        let height = resident() - start;
        assert!(height > 7 * DESCRIPTORS as usize, "storm {storm}: {height} B at the height");
        (1..DESCRIPTORS).for_each(|fd| index.remove(fd));
        index.shrink();
        let stays = resident().saturating_sub(start);
        println!("storm {storm}: {height} B at the height, {stays} B afterwards");
        // Of nine pages that a chunk lies in, the first and the last are its neighbours' too.
        assert!(stays < height / 6, "storm {storm}: {stays} B stay");
        assert!(index.iter().eq([id]));
        index.remove(0);
    }
}
