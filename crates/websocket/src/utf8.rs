//! Text that comes in pieces: what breaks it is found with the byte that does.

/// Whether `bytes` may be, from `from` on, the beginning of a text, or with `is_end` all of it.
///
/// What lies before `from` was found good by an earlier call; it is looked at again for no more than a
/// character that it ends in the middle of. So each byte costs the same in pieces of any size.
pub(crate) fn is_text(bytes: &[u8], from: usize, is_end: bool) -> bool {
    let from = from - begun(&bytes[..from]);
    let fresh = &bytes[from..];
    if is_end {
        return simdutf8::basic::from_utf8(fresh).is_ok();
    }
    // The vectorised check knows whole texts only: the last character, where it is not whole, stands aside.
    let (whole, last) = fresh.split_at(fresh.len() - begun(fresh));
    simdutf8::basic::from_utf8(whole).is_ok() && may_begin_a_character(last)
}

/// How many bytes at the end are the beginning of a character that is not whole: 0 to 3.
///
/// A byte that begins no character (0xFF) counts as one of its own, for the check to find.
fn begun(bytes: &[u8]) -> usize {
    for (back, &byte) in bytes.iter().rev().take(3).enumerate() {
        let width = match byte {
            0x80..0xC0 => continue,
            0x00..0x80 => 0,
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            0xF0.. => 4,
        };
        return if back + 1 < width { back + 1 } else { 0 };
    }
    0
}

/// Whether some character begins with these bytes, which are all too few for the first of them.
fn may_begin_a_character(bytes: &[u8]) -> bool {
    match str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the standard library says of all the bytes at once.
    fn expected(bytes: &[u8], is_end: bool) -> bool {
        match str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) => !is_end && error.error_len().is_none(),
        }
    }

    /// Whether the first piece and then the second are taken.
    fn in_two(bytes: &[u8], cut: usize, is_end: bool) -> bool {
        is_text(&bytes[..cut], 0, false) && is_text(bytes, cut, is_end)
    }

    #[test]
    fn all_sequences_of_telling_bytes_are_judged_as_by_the_standard_library_at_every_cut() {
        // Each border of the grammar of UTF-8 (RFC 3629, 4), and the bytes beside it.
        const TELLING: [u8; 22] = [
            0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF,
            0xF0, 0xF1, 0xF4, 0xF5, 0xFE, 0xFF,
        ];
        let count = TELLING.len();
        for number in 0..count.pow(4) {
            let bytes = [0, 1, 2, 3].map(|place| TELLING[number / count.pow(place) % count]);
            for len in 0..=4 {
                for is_end in [false, true] {
                    let expected = expected(&bytes[..len], is_end);
                    for cut in 0..=len {
                        assert_eq!(
                            in_two(&bytes[..len], cut, is_end),
                            expected,
                            "{:x?} cut at {cut}, {is_end}",
                            &bytes[..len]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_text_byte_by_byte_fails_at_the_byte_that_breaks_it() {
        let text = "\u{7ff}κόσμε\u{10ffff}\u{fffd} and more".as_bytes();
        for broken in 0..text.len() {
            let mut bytes = text.to_vec();
            bytes[broken] = 0xFF;
            let failed = (0..bytes.len()).find(|&at| !is_text(&bytes[..=at], at, false));
            assert_eq!(failed, Some(broken));
        }
    }

    #[test]
    fn a_character_that_is_not_whole_fails_at_the_end_only() {
        for text in ["é", "€", "𐍈"] {
            for len in 1..text.len() {
                let part = &text.as_bytes()[..len];
                assert!(is_text(part, 0, false) && !is_text(part, 0, true) && !is_text(part, len, true));
            }
            assert!(is_text(text.as_bytes(), text.len() - 1, true));
        }
    }
}
