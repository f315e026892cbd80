/// How many bytes are masked at a stroke: whole vectors on every machine, and a multiple of the key.
const STROKE: usize = 32;

/// Masks, or unmasks, in place (RFC 6455, 5.3); the key as it is at the first of these bytes.
///
/// The same call does both. Where the bytes go on with a payload, the key is turned by what went before.
///
/// ```
/// use wheelhouse_websocket::mask;
///
/// let key = [0x37, 0xfa, 0x21, 0x3d];
/// let mut payload = *b"Hello";
/// mask(&mut payload, key);
/// assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
///
/// let (first, rest) = payload.split_at_mut(3);
/// mask(first, key);
/// mask(rest, [0x3d, 0x37, 0xfa, 0x21]); // turned by 3
/// assert_eq!(&payload, b"Hello");
/// ```
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    let double = u64::from(word) << 32 | u64::from(word);

    // Fixed arrays and no branch within: the compiler turns a stroke into vector instructions.
    let (strokes, rest) = bytes.as_chunks_mut::<STROKE>();
    for stroke in strokes {
        for eight in stroke.as_chunks_mut::<8>().0 {
            *eight = (u64::from_ne_bytes(*eight) ^ double).to_ne_bytes();
        }
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for four in words {
        *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// The key as it is `count` bytes further on.
#[inline]
pub(crate) fn turned(mut key: [u8; 4], count: usize) -> [u8; 4] {
    key.rotate_left(count % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x01, 0x20, 0x43, 0xff];

    fn payload(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 256) as u8).collect()
    }

    fn byte_by_byte(bytes: &[u8], key: [u8; 4]) -> Vec<u8> {
        bytes.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect()
    }

    #[test]
    fn every_length_is_masked_as_the_standard_says() {
        for len in 0..300 {
            let mut bytes = payload(len);
            mask(&mut bytes, KEY);
            assert_eq!(bytes, byte_by_byte(&payload(len), KEY), "length {len}");
        }
    }

    #[test]
    fn every_start_in_memory_is_masked_alike() {
        for skipped in 0..40 {
            let mut bytes = payload(200);
            mask(&mut bytes[skipped..], KEY);
            assert_eq!(bytes[..skipped], payload(200)[..skipped]);
            assert_eq!(bytes[skipped..], byte_by_byte(&payload(200)[skipped..], KEY), "from {skipped}");
        }
    }

    #[test]
    fn a_payload_in_two_pieces_is_masked_as_in_one() {
        for cut in 0..100 {
            let mut bytes = payload(100);
            let (first, rest) = bytes.split_at_mut(cut);
            mask(first, KEY);
            mask(rest, turned(KEY, cut));
            assert_eq!(bytes, byte_by_byte(&payload(100), KEY), "cut at {cut}");
        }
    }
}
