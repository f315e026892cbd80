//! Names, values and lists in headers (RFC 9110, 5).

use crate::http::Invalid;

/// Whether a header may be given to an [`Answer`](crate::http::Answer) or to
/// [`write_accept`](crate::http::write_accept).
///
/// ```
/// use wheelhouse_websocket::http::check_header;
///
/// assert!(check_header("X-Served-By", "wheelhouse").is_ok());
/// assert!(check_header("X Served By", "wheelhouse").is_err());
/// assert!(check_header("Content-Length", "7").is_err());
/// ```
///
/// # Errors
/// The name is not a token, the value has a control character (a tab is fine), or the header is one that
/// this crate writes itself: Connection, Content-Length, Transfer-Encoding, Sec-WebSocket-Accept,
/// Sec-WebSocket-Extensions and Sec-WebSocket-Protocol.
pub fn check_header(name: &str, value: &str) -> Result<(), Invalid> {
    check_field(name, value)?;
    if is_one_of(name, &WRITTEN_HERE) {
        return Err(Invalid::ReservedHeader { name: name.to_owned() });
    }
    Ok(())
}

/// The same without a look at which header it is.
pub(super) fn check_field(name: &str, value: &str) -> Result<(), Invalid> {
    if !is_token(name.as_bytes()) {
        return Err(Invalid::HeaderName { name: name.to_owned() });
    }
    if !is_value(value) {
        return Err(Invalid::HeaderValue { name: name.to_owned(), value: value.to_owned() });
    }
    Ok(())
}

/// Whether these bytes are a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

/// Whether this text may be a header's value.
pub(super) fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
}

/// Whether these values are a list of tokens, with one at least (RFC 9110, 5.6.1).
pub(super) fn is_list_of_tokens<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut members = values.flat_map(members).peekable();
    members.peek().is_some() && members.all(is_token)
}

/// The members of a list (RFC 9110, 5.6.1), without the spaces around them; empty ones do not count.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    value.split(|byte| *byte == b',').filter_map(move |member| {
        let first = member.iter().position(|byte| !is_space(byte))?;
        let last = member.iter().rposition(|byte| !is_space(byte))?;
        Some(&member[first..=last])
    })
}

/// The values of all headers of this name, in their order.
pub(super) fn values<'a>(headers: &[httparse::Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Whether a list has this member, in any case.
pub(super) fn has_member<'a>(mut values: impl Iterator<Item = &'a [u8]>, wanted: &str) -> bool {
    values.any(|value| members(value).any(|member| member.eq_ignore_ascii_case(wanted.as_bytes())))
}

/// Whether a header's name is among these, in any case.
pub(super) fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Writes one header.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_ref());
    out.extend_from_slice(b"\r\n");
}

const WRITTEN_HERE: [&str; 6] = [
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
];
