use crate::frame::{FIN, MASKED};
use crate::{Opcode, Role, Rules, State, mask};

/// The short way for what comes most: small messages, each whole in one frame and not compressed, one after the other from
/// the front of a slice. Where it ends, a [`Pass`](crate::Pass) over the [rest](Plain::rest) goes on, with the same state: it
/// judges what is not plain, or not right, and would have found the same messages.
///
/// ```
/// use wheelhouse_websocket::{Event, Pass, Plain, Role, Rules, State};
///
/// let rules = Rules { role: Role::Client, max_message: 1024, max_frame: 1024, max_fragments: 16 };
/// let state = State::new(false);
/// let mut bytes = *b"\x81\x02hi\x82\x01!\x89\x00\x81\x01?"; // two messages, a ping, a message
/// let mut plain = Plain::new(&rules, state, &mut bytes);
/// assert_eq!(plain.next(), Some((true, &mut b"hi"[..].to_vec()[..])));
/// assert_eq!(plain.next(), Some((false, &mut b"!"[..].to_vec()[..])));
/// assert_eq!(plain.next(), None);
///
/// let mut pass = Pass::new(&rules, state, plain.rest());
/// assert_eq!(pass.next()?, Some(Event::Ping(b"")));
/// # Ok::<(), wheelhouse_websocket::Violation>(())
/// ```
pub struct Plain<'b> {
    rest: &'b mut [u8],
    rule: Rule,
}

/// What the first two bytes of a plain frame have to be.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    /// The mask's bit as it has to be.
    masked: u8,
    /// The longest payload; none at all is taken at -1.
    longest: i16,
}

impl<'b> Plain<'b> {
    /// The messages at the front of these bytes, of a connection whose frames are read as far as `state` says. Within a
    /// message, and when all is over, none is plain.
    #[inline]
    pub fn new(rules: &Rules, state: State, bytes: &'b mut [u8]) -> Self {
        Plain { rest: bytes, rule: Rule::new(rules, state) }
    }

    /// The next message, unmasked, and whether it is text, which is UTF-8. None when what comes next is for a
    /// [`Pass`](crate::Pass): it is as it came.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "who goes on without an iterator's adapters is quicker"
    )]
    pub fn next(&mut self) -> Option<(bool, &'b mut [u8])> {
        let (is_text, head, len) = self.rule.unmask(self.rest)?;
        let (frame, rest) = std::mem::take(&mut self.rest).split_at_mut(head + len);
        self.rest = rest;
        Some((is_text, &mut frame[head..]))
    }

    /// Whether all bytes were plain messages.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is not looked at yet.
    #[inline]
    pub fn rest(self) -> &'b mut [u8] {
        self.rest
    }
}

impl Rule {
    #[inline]
    pub(crate) fn new(rules: &Rules, state: State) -> Self {
        let is_between = state.is_between_messages() && !state.is_over();
        Rule {
            masked: if rules.role == Role::Server { MASKED } else { 0 },
            longest: if is_between { rules.max_message.min(125) as i16 } else { -1 },
        }
    }

    /// Unmasks the plain message at the front, if there is one: whether it is text, and how long header and payload are.
    #[inline(always)]
    pub(crate) fn unmask(self, bytes: &mut [u8]) -> Option<(bool, usize, usize)> {
        const TEXT: u8 = FIN | Opcode::Text.bits();
        const BINARY: u8 = FIN | Opcode::Binary.bits();

        let &mut [first, second, ..] = bytes else { return None };
        // With the other mask's bit it is longer than any.
        let len = second ^ self.masked;
        if !(first == TEXT || first == BINARY) || i16::from(len) > self.longest {
            return None;
        }
        let (is_text, len) = (first == TEXT, usize::from(len));
        if self.masked == 0 {
            let payload = bytes.get(2..2 + len)?;
            return if is_text && !is_utf8(payload) { None } else { Some((is_text, 2, len)) };
        }
        let (&mut key, rest) = bytes.get_mut(2..)?.split_first_chunk_mut()?;
        let payload = rest.get_mut(..len)?;
        mask(payload, key);
        if is_text && !is_utf8(payload) {
            // As it came.
            mask(payload, key);
            return None;
        }
        Some((is_text, 6, len))
    }
}

#[inline]
fn is_utf8(payload: &[u8]) -> bool {
    simdutf8::basic::from_utf8(payload).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Pass};

    const SERVER: Rules = Rules { role: Role::Server, max_message: 1000, max_frame: 1000, max_fragments: 16 };
    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [&[first, MASKED | payload.len() as u8], &KEY[..], payload].concat();
        mask(&mut bytes[6..], KEY);
        bytes
    }

    fn count(rules: &Rules, state: State, bytes: &mut [u8]) -> usize {
        let mut plain = Plain::new(rules, state, bytes);
        std::iter::from_fn(|| plain.next()).count()
    }

    #[test]
    fn every_short_length_is_plain_for_either_role_when_it_is_whole() {
        let client = Rules { role: Role::Client, ..SERVER };
        for len in 0..=125 {
            let payload = vec![b'a'; len];
            for (is_text, first) in [(true, 0x81), (false, 0x82)] {
                let unmasked = [&[first, len as u8], &payload[..]].concat();
                for (rules, bytes) in [(&SERVER, masked(first, &payload)), (&client, unmasked)] {
                    for cut in 0..bytes.len() {
                        let mut part = bytes[..cut].to_vec();
                        assert_eq!(
                            Plain::new(rules, State::new(true), &mut part).next(),
                            None,
                            "{cut} of {len}"
                        );
                        assert_eq!(part, bytes[..cut]);
                    }
                    let mut two = bytes.repeat(2);
                    let mut plain = Plain::new(rules, State::new(true), &mut two);
                    for is_last in [false, true] {
                        let (kind, body) = plain.next().expect("a message");
                        assert_eq!((kind, &*body, plain.is_empty()), (is_text, &payload[..], is_last));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_left_as_it_came() {
        let mut others = vec![
            masked(0x01, b"begun"),
            masked(0x80, b"gone on"),
            masked(0xC1, b"compressed"),
            masked(0x89, b"ping"),
            masked(0x88, b""),
            masked(0x81, b"\xff is no text"),
            b"\x81\x02no".to_vec(),
            b"\x82\xfe\x00\x7e\0\0\0\0".to_vec(),
        ];
        others.iter_mut().for_each(|bytes| bytes.resize(bytes.len() + 200, 7));
        for bytes in others {
            let mut looked_at = bytes.clone();
            assert_eq!(count(&SERVER, State::new(true), &mut looked_at), 0, "{bytes:x?}");
            assert_eq!(looked_at, bytes);
        }
        let narrow = Rules { max_message: 3, ..SERVER };
        assert_eq!(count(&narrow, State::new(false), &mut masked(0x82, b"four")), 0);
        assert_eq!(count(&narrow, State::new(false), &mut masked(0x82, b"thr")), 1);
    }

    #[test]
    fn within_a_message_and_after_the_end_nothing_is_plain() {
        for before in [masked(0x01, b"a fragment"), masked(0x88, b"")] {
            let mut bytes = before.clone();
            let mut pass = Pass::new(&SERVER, State::new(false), &mut bytes);
            assert!(matches!(pass.next(), Ok(None | Some(Event::Close(None, "")))));
            let state = pass.finish().state;
            assert_eq!(count(&SERVER, state, &mut masked(0x81, b"next")), 0);
        }
    }
}
