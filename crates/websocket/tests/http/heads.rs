//! Where heads end.

use wheelhouse_websocket::http::head_end;

use crate::util::{UPGRADE, head};

#[test]
fn a_head_that_comes_byte_by_byte_ends_where_a_whole_one_does() {
    let mut bytes = head(&UPGRADE);
    let end = bytes.len();
    bytes.extend_from_slice(b"\x81\x80\n\n\r\n\r\n");
    let mut searched = 0;
    for came in 0..end {
        assert_eq!(head_end(&bytes[..came], &mut searched), None, "after {came} bytes");
    }
    assert_eq!(head_end(&bytes[..end], &mut searched), Some(end));
    assert_eq!(head_end(&bytes, &mut searched), Some(end), "found again");
    assert_eq!(head_end(&bytes, &mut 0), Some(end));
}

#[test]
fn bare_line_feeds_end_a_head_too() {
    for (bytes, end) in [
        (&b"GET / HTTP/1.1\n\nx"[..], Some(16)),
        (b"GET / HTTP/1.1\n\r\nx", Some(17)),
        (b"GET / HTTP/1.1\r\n\nx", Some(17)),
        (b"GET / HTTP/1.1\r\n\r", None),
        (b"GET / HTTP/1.1\r\n\r\rx", None),
        (b"GET / HTTP/1.1\r\r", None),
        (b"\n", None),
        (b"\n\n", Some(2)),
        (b"", None),
    ] {
        assert_eq!(head_end(bytes, &mut 0), end, "{}", bytes.escape_ascii());
    }
}

#[test]
fn an_empty_line_before_the_request_is_no_end() {
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(head_end(bytes, &mut 0), Some(bytes.len()));
}

#[test]
fn a_search_that_went_further_than_the_bytes_finds_nothing_and_does_not_panic() {
    assert_eq!(head_end(b"\n\n", &mut 7), None);
}

#[test]
fn what_was_searched_is_not_searched_again() {
    let mut bytes = vec![b'a'; 64 * 1024];
    let mut searched = 0;
    for came in 0..bytes.len() {
        assert_eq!(head_end(&bytes[..came], &mut searched), None);
        assert_eq!(searched, came);
    }
    // An empty line where it has looked already is not found; one that begins there is.
    bytes[10..12].copy_from_slice(b"\n\n");
    assert_eq!(head_end(&bytes, &mut searched), None);
    bytes.extend_from_slice(b"\r\n\r");
    assert_eq!(head_end(&bytes, &mut searched), None);
    assert_eq!(searched, bytes.len() - 2);
    bytes.push(b'\n');
    assert_eq!(head_end(&bytes, &mut searched), Some(bytes.len()));
}
