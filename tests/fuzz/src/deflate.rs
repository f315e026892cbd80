use wheelhouse_websocket::deflate::{Deflator, Inflator};

use crate::input::Input;

/// Whatever is inflated stays within its limit, and leaves what it should; whatever is compressed comes back.
///
/// The first byte chooses between the two, and for each message a byte whether its context is kept, and two its length.
///
/// # Panics
/// Where that does not hold.
pub fn deflate(data: &[u8]) {
    let mut input = Input::new(data);
    let choices = input.byte();
    let window_bits = 8 + (choices & 7);
    if choices & 8 == 0 {
        inflate(input, window_bits, [0, 1, 1000, 100_000][usize::from(choices >> 4 & 3)]);
    } else {
        round_trip(input, window_bits, u32::from(choices >> 4).min(9));
    }
}

/// What stands in the buffer beforehand.
const BEFORE: &[u8] = b"before";

fn inflate(mut input: Input<'_>, window_bits: u8, max: usize) {
    let mut inflator = Inflator::new(window_bits);
    // Whether the inflater is as a fresh one.
    let mut is_fresh = true;
    while !input.is_empty() {
        let (keep, message) = message(&mut input);
        let mut out = BEFORE.to_vec();
        let inflated = inflator.inflate(message, keep, max, &mut out);
        assert!(out.starts_with(BEFORE));
        assert!(out.capacity() <= BEFORE.len() + max + 1, "{} bytes for {max}", out.capacity());
        match &inflated {
            Ok(()) => assert!(out.len() <= BEFORE.len() + max),
            Err(violation) => {
                assert_eq!(out, BEFORE);
                assert!(matches!(violation.code.number(), 1007 | 1009), "{violation}");
            }
        }
        if is_fresh {
            let mut again = BEFORE.to_vec();
            let by_fresh_one = Inflator::new(window_bits).inflate(message, keep, max, &mut again);
            assert_eq!((by_fresh_one, again), (inflated, out), "something is left of an earlier message");
        }
        is_fresh = !keep || inflated.is_err();
    }
}

fn round_trip(mut input: Input<'_>, window_bits: u8, level: u32) {
    let (mut deflator, mut inflator) = (Deflator::new(window_bits, level), Inflator::new(window_bits));
    while !input.is_empty() {
        let (keep, message) = message(&mut input);
        // Where nothing is kept, the limit is met, and missed by one, without harm to what follows.
        let (mut compressed, mut out) = (BEFORE.to_vec(), BEFORE.to_vec());
        deflator.deflate(message, keep, &mut compressed);
        let compressed = compressed.strip_prefix(BEFORE).expect("what was there before");
        // Level 1 knows no stored blocks: a byte may take 9 bits.
        let more = if level == 1 { message.len() / 8 } else { message.len() / 3000 };
        let most = message.len() + more + 16;
        assert!((1..=most).contains(&compressed.len()), "{} bytes of {}", compressed.len(), message.len());

        inflator.inflate(compressed, keep, message.len(), &mut out).expect("what was compressed");
        assert_eq!(out.strip_prefix(BEFORE), Some(message));

        if !keep && !message.is_empty() {
            // The inflater has forgotten by now what this message refers to, if it does.
            let refused = inflator.inflate(compressed, false, message.len() - 1, &mut out);
            let code = refused.expect_err("one byte too many").code.number();
            assert!(matches!(code, 1007 | 1009), "{code}");
        }
    }
}

/// Whether its context is kept, and its bytes.
fn message<'a>(input: &mut Input<'a>) -> (bool, &'a [u8]) {
    let (keep, len) = (input.byte() & 1 == 1, usize::from(input.short()));
    (keep, input.take(len))
}
