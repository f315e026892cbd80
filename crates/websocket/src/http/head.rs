//! Where a head ends, and what its lines look like.

use memchr::{memchr, memchr_iter};

/// Where the head ends: the index behind its empty line.
///
/// ```
/// use wheelhouse_websocket::http::head_end;
///
/// let mut searched = 0;
/// assert_eq!(head_end(b"GET / HTTP/1.1\r\nHost: a\r\n", &mut searched), None);
/// assert_eq!(head_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nmore", &mut searched), Some(27));
/// ```
///
/// `bytes` is all that came so far, from the first byte on. `searched` is the caller's to keep between two
/// calls, 0 at first: only bytes not looked at before are looked at, but for the last two, so that a head
/// that comes byte by byte costs no more than one that comes whole. Once found, the end is found again.
///
/// Lines that end in a bare LF are found too, so that [`Request::parse`](crate::http::Request::parse) can
/// refuse them instead of waiting for ever. How long to look is the caller's limit; beyond it, the answer is
/// 431.
pub fn head_end(bytes: &[u8], searched: &mut usize) -> Option<usize> {
    while let Some(found) = bytes.get(*searched..).and_then(|rest| memchr(b'\n', rest)) {
        let line_end = *searched + found;
        *searched = line_end;
        match &bytes[line_end + 1..] {
            [b'\n', ..] => return Some(line_end + 2),
            [b'\r', b'\n', ..] => return Some(line_end + 3),
            // What follows may yet be an empty line.
            [] | [b'\r'] => return None,
            _ => *searched = line_end + 1,
        }
    }
    *searched = bytes.len();
    None
}

/// How many lines there are; none when one of them ends in a bare LF.
pub(super) fn count_lines(head: &[u8]) -> Option<usize> {
    let mut lines = 0;
    for line_end in memchr_iter(b'\n', head) {
        if line_end == 0 || head[line_end - 1] != b'\r' {
            return None;
        }
        lines += 1;
    }
    Some(lines)
}
