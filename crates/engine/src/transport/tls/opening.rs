use super::TlsError;

/// What a client's first bytes say of what it speaks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Tls,
    /// Too few to tell.
    Unclear,
    Other(TlsError),
}

/// A fatal `unexpected_message`, for those who do not get as far as rustls (RFC 8446, 6.2).
pub(super) const UNEXPECTED: [u8; 7] = [ALERT, 3, 3, 0, 2, 2, 10];

/// The types of the records that a handshake may begin with.
pub(super) const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// What plain HTTP begins with; none of it begins a record.
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"PATCH ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"TRACE ",
    b"PRI * ",
];

/// The same bytes get the same answer however they are cut.
pub(super) fn opening(bytes: &[u8]) -> Opening {
    let Some(&first) = bytes.first() else { return Opening::Unclear };
    if matches!(first, HANDSHAKE | ALERT) {
        Opening::Tls
    } else if METHODS.iter().any(|method| bytes.starts_with(method)) {
        Opening::Other(TlsError::PlainHttp)
    } else if METHODS.iter().any(|method| method.starts_with(bytes)) {
        Opening::Unclear
    } else {
        Opening::Other(TlsError::NotTls { first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_garbage_however_the_bytes_are_cut() {
        let request = b"OPTIONS * HTTP/1.1";
        for len in 0..request.len() {
            let expected = if len < 8 { Opening::Unclear } else { Opening::Other(TlsError::PlainHttp) };
            assert_eq!(opening(&request[..len]), expected, "{len} bytes");
        }
        assert_eq!(opening(b"G"), Opening::Unclear);
        assert_eq!(opening(b"GEM"), Opening::Other(TlsError::NotTls { first: b'G' }));
    }

    #[test]
    fn a_record_of_a_handshake_or_of_an_alert_begins_tls() {
        assert_eq!(opening(&[22]), Opening::Tls);
        assert_eq!(opening(&[21, 3, 1]), Opening::Tls);
        assert_eq!(opening(&[23, 3, 3]), Opening::Other(TlsError::NotTls { first: 23 }));
        assert_eq!(opening(&[0]), Opening::Other(TlsError::NotTls { first: 0 }));
    }
}
