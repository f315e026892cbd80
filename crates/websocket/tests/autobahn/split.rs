//! 10: a large message, split by whoever sends it.

use crate::case;
use crate::util::{BINARY, CONTINUATION, FIN, Seen, TEXT, frame, text};

#[test]
fn case_10_1_1_65_536_bytes_in_fragments_of_1_300_are_one_message() {
    let payload = "*".repeat(65_536);
    for (opcode, expected) in [(TEXT, text(&*payload)), (BINARY, Seen::Binary(payload.clone().into()))] {
        let parts: Vec<&[u8]> = payload.as_bytes().chunks(1300).collect();
        let frames: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(at, part)| {
                let opcode = if at == 0 { opcode } else { CONTINUATION };
                frame(if at + 1 == parts.len() { FIN | opcode } else { opcode }, part)
            })
            .collect();
        case("10.1.1", &frames, &[expected]);
    }
}
