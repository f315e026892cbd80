//! Where in a page a buffer begins that the kernel copies into and out of.
//!
//! The kernel copies with one instruction, `rep movsb`. Some processors (AMD's Zen 3 and Zen 4) take sixteen to thirty times as
//! long for it where the target lies 1 to 15 bytes behind the source as far as the place within a page goes: they compare no
//! more of the addresses, and copy byte by byte what they take to overlap. 16 KiB last 4.6 us then, and not 0.15.
//!
//! The kernel fills the pages of a socket from their start, so a payload is mostly near the start of a page there, some headers
//! in. An allocator's memory is there too: a large block begins 16 bytes into a page. So a buffer of ours begins far from it,
//! and not at a multiple of what sizes messages like to have.

/// The page of every machine this is for, or a part of it.
const PAGE: usize = 4096;

/// How many bytes into a page a buffer begins: whole cache lines, near the middle.
const PLACE: usize = 39 * 64;

/// How much more memory than bytes a buffer needs that is to begin there.
pub(crate) const SLACK: usize = PAGE;

/// How many bytes into this memory the place is; less than [`SLACK`].
#[inline]
pub(crate) fn lead(memory: &[u8]) -> usize {
    PLACE.wrapping_sub(memory.as_ptr().addr()) % PAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_memory_begins_the_place_in_it_is_the_same_one_of_a_page() {
        let memory = vec![0; 3 * PAGE];
        for begin in 0..=PAGE {
            let memory = &memory[begin..];
            let lead = lead(memory);
            assert!(lead < SLACK);
            assert_eq!(memory[lead..].as_ptr().addr() % PAGE, PLACE);
        }
    }
}
