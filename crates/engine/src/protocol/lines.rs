use memchr::{memchr, memchr2};

use super::{Decoded, Output, Protocol, ProtocolError};
use crate::{Input, Kind, Message, Payload, Refusal};

/// Lines ended by LF or CR LF.
///
/// The state is how many bytes of the unfinished line hold no LF, so that a line that comes byte by byte is looked through
/// once.
pub(super) struct Lines {
    max: usize,
}

impl Lines {
    pub(super) fn new(max: usize) -> Self {
        Lines { max }
    }
}

impl Protocol for Lines {
    fn decode<'a>(&self, state: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        let bytes = input.peek();
        let seen = (*state as usize).min(bytes.len());
        let Some(at) = memchr(b'\n', &bytes[seen..]).map(|at| seen + at) else {
            *state = bytes.len() as u64;
            // One more than the maximum may still be the CR of a CR LF.
            let over = bytes.len().saturating_sub(self.max);
            return if over > 1 || (over == 1 && bytes[self.max] != b'\r') {
                Err(self.too_long())
            } else {
                Ok(Decoded::Need(bytes.len() + 1))
            };
        };
        *state = 0;
        let line = &*input.take_mut(at + 1);
        let line = &line[..at];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.max {
            return Err(self.too_long());
        }
        Ok(Decoded::Message(Message::new(Kind::TEXT, line)))
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        if memchr2(b'\n', b'\r', payload.bytes()).is_some() {
            return Err(Refusal::NotEncodable);
        }
        out.body(payload);
        out.put(b"\n");
        Ok(())
    }
}

impl Lines {
    fn too_long(&self) -> ProtocolError {
        ProtocolError(format!("a line of more than {} B", self.max).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(max: usize, chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let (lines, mut state, mut kept, mut found) = (Lines::new(max), 0, Vec::new(), Vec::new());
        for chunk in chunks {
            kept.extend_from_slice(chunk);
            let mut bytes = std::mem::take(&mut kept);
            let mut input = Input::new(&mut bytes);
            while let Decoded::Message(message) = lines.decode(&mut state, &mut input)? {
                assert_eq!(message.kind(), Kind::TEXT);
                found.push(message.bytes().to_vec());
            }
            kept = input.take().to_vec();
        }
        Ok(found)
    }

    #[test]
    fn lines_are_the_same_whichever_way_they_are_cut() {
        let text = b"one\r\ntwo\n\n\r\nfour\rfive\nrest";
        let whole = lines(80, &[text]).unwrap();
        assert_eq!(whole, [&b"one"[..], b"two", b"", b"", b"four\rfive"]);
        for at in 0..text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(lines(80, &[a, b]).unwrap(), whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(lines(80, &bytes).unwrap(), whole);
    }

    #[test]
    fn a_line_of_the_maximum_passes_and_one_more_byte_does_not() {
        for end in [&b"\n"[..], b"\r\n"] {
            assert_eq!(lines(4, &[b"abcd", end]).unwrap().len(), 1);
            assert!(lines(4, &[b"abcde", end]).is_err());
            assert!(lines(4, &[&[b"abcde", end].concat()]).is_err());
        }
        assert!(lines(4, &[b"abcd\r"]).unwrap().is_empty());
        assert_eq!(lines(4, &[b"abcd\rx"]).unwrap_err().0, "a line of more than 4 B");
    }

    #[test]
    fn a_payload_that_is_more_than_one_line_is_refused() {
        for bad in ["a\nb", "a\r", "\n"] {
            let mut bytes = Vec::new();
            let refused = Lines::new(80).encode(&Payload::from(bad), &mut Output::new(&mut bytes));
            assert_eq!(refused, Err(Refusal::NotEncodable));
        }
        let mut bytes = Vec::new();
        Lines::new(80).encode(&Payload::from("ab"), &mut Output::new(&mut bytes)).unwrap();
        assert_eq!(bytes, b"ab\n");
    }
}
