use std::ops::Range;

/// Moves these bytes left, to `to`. The only place where a pass moves any, so that a test can count them.
#[inline]
pub(crate) fn shift(bytes: &mut [u8], from: Range<usize>, to: usize) {
    debug_assert!(to <= from.start);
    #[cfg(test)]
    tests::MOVED.set(tests::MOVED.get() + from.len());
    bytes.copy_within(from, to);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use crate::{Event, Header, Opcode, Pass, Role, Rules, State};

    thread_local!(pub(super) static MOVED: Cell<usize> = const { Cell::new(0) });

    const RULES: Rules = Rules {
        role: Role::Client,
        max_message: 1 << 20,
        max_frame: 1 << 20,
        max_fragments: Rules::MAX_FRAGMENTS,
    };

    /// A message of 1 MiB in fragments of `size` bytes, with a ping of four bytes behind each of them but the
    /// last.
    fn fragmented(size: usize) -> Vec<u8> {
        let (count, mut bytes) = ((1 << 20) / size, Vec::new());
        for at in 0..count {
            let opcode = if at == 0 { Opcode::Binary } else { Opcode::Continuation };
            let header = Header::new(opcode, size, None);
            let is_last = at + 1 == count;
            bytes.extend_from_slice(if is_last { header } else { header.unfinished() }.bytes());
            bytes.resize(bytes.len() + size, at as u8);
            if !is_last {
                bytes.extend_from_slice(b"\x89\x04ping");
            }
        }
        bytes
    }

    /// Feeds it in reads of so many bytes; how many messages came, and how many bytes were moved within the
    /// slice.
    fn moved(stream: &[u8], read: usize) -> (usize, usize) {
        MOVED.set(0);
        let (mut kept, mut state, mut messages) = (Vec::new(), State::new(false), 0);
        for read in stream.chunks(read) {
            kept.extend_from_slice(read);
            let mut pass = Pass::new(&RULES, state, &mut kept);
            while let Some(event) = pass.next().unwrap() {
                if let Event::Message { payload, .. } = event {
                    assert_eq!(payload.len(), 1 << 20);
                    messages += 1;
                }
            }
            let left = pass.finish();
            state = left.state;
            kept.truncate(left.to);
            kept.drain(..left.from);
        }
        (messages, MOVED.get())
    }

    #[test]
    fn control_frames_amid_a_large_message_move_each_of_its_bytes_once() {
        let stream = fragmented(1024);
        for read in [stream.len(), 65_536, 1000, 100] {
            let (messages, moved) = moved(&stream, read);
            let passes = stream.len() / read + 1;
            assert_eq!(messages, 1);
            assert!(moved <= (1 << 20) + 130 * passes, "{moved} bytes moved, read {read} at a time");
        }
    }

    #[test]
    fn tiny_fragments_move_each_byte_once_too() {
        let stream = fragmented(32);
        let (messages, moved) = moved(&stream, 4096);
        assert_eq!(messages, 1);
        assert!(moved <= (1 << 20) + 130 * (stream.len() / 4096 + 1), "{moved} bytes moved");
    }

    #[test]
    fn a_message_in_one_frame_is_never_moved() {
        let mut stream = Header::new(Opcode::Binary, 1 << 20, None).bytes().to_vec();
        stream.resize(stream.len() + (1 << 20), 7);
        for read in [stream.len(), 65_536, 1000] {
            assert_eq!(moved(&stream, read), (1, 0));
        }
    }
}
