//! The grammar of Sec-WebSocket-Extensions (RFC 6455, 9.1), and permessage-deflate's parameters in it.

use crate::http::is_token;

/// The parameters of one permessage-deflate element, as an offer or an answer may carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<u8>,
    pub(super) client_max_window_bits: Option<ClientBits>,
}

/// An offer may leave the choice to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientBits {
    Any,
    AtMost(u8),
}

/// What the parameters are not: written as the grammar says, known, in bounds, or given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) const NAME: &str = "permessage-deflate";
pub(super) const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
pub(super) const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
pub(super) const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
pub(super) const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The elements of one header value: each an extension's name and its parameters. Empty ones are passed by
/// (RFC 9110, 5.6.1).
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(value, b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether these values are a list of extensions, with one at least, whatever they are (RFC 6455, 9.1).
pub(crate) fn is_list<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut elements = values.flat_map(elements).peekable();
    elements.peek().is_some() && elements.all(is_extension)
}

/// Whether an element is about permessage-deflate.
pub(super) fn is_deflate(element: &[u8]) -> bool {
    split(element, b';').next().is_some_and(|name| trim(name) == NAME.as_bytes())
}

impl Parameters {
    /// Reads the parameters of an element that [`is_deflate`] (RFC 7692, 7.1).
    pub(super) fn of(element: &[u8]) -> Result<Parameters, Malformed> {
        let mut parameters = Parameters::default();
        for parameter in split(element, b';').skip(1).map(trim) {
            parameters.take(parameter)?;
        }
        Ok(parameters)
    }

    fn take(&mut self, parameter: &[u8]) -> Result<(), Malformed> {
        let (name, value) = match parameter.iter().position(|&byte| byte == b'=') {
            Some(at) => (trim(&parameter[..at]), Some(trim(&parameter[at + 1..]))),
            None => (parameter, None),
        };
        let is_new = match (str::from_utf8(name).unwrap_or_default(), value) {
            (SERVER_NO_CONTEXT_TAKEOVER, None) => {
                !std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            (CLIENT_NO_CONTEXT_TAKEOVER, None) => {
                !std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            (SERVER_MAX_WINDOW_BITS, Some(value)) => {
                self.server_max_window_bits.replace(window_bits(value)?).is_none()
            }
            (CLIENT_MAX_WINDOW_BITS, value) => {
                let bits = match value {
                    Some(value) => ClientBits::AtMost(window_bits(value)?),
                    None => ClientBits::Any,
                };
                self.client_max_window_bits.replace(bits).is_none()
            }
            _ => return Err(Malformed),
        };
        if is_new { Ok(()) } else { Err(Malformed) }
    }
}

/// A name and its parameters, whatever they mean.
fn is_extension(element: &[u8]) -> bool {
    split(element, b';').map(trim).enumerate().all(|(nth, part)| match memchr::memchr(b'=', part) {
        Some(at) if nth > 0 => is_token(trim(&part[..at])) && is_value(trim(&part[at + 1..])),
        _ => is_token(part),
    })
}

/// A token, or a quoted string that means one.
fn is_value(value: &[u8]) -> bool {
    let [b'"', quoted @ .., b'"'] = value else { return is_token(value) };
    let mut rest = quoted;
    while let [b'\\', byte, after @ ..] | [byte, after @ ..] = rest {
        if !is_token(&[*byte]) {
            return false;
        }
        rest = after;
    }
    !quoted.is_empty()
}

/// 8 to 15, without leading zeros (RFC 7692, 7.1.2), as a token or as a quoted string that means the same
/// (RFC 6455, 9.1).
fn window_bits(value: &[u8]) -> Result<u8, Malformed> {
    let mut unquoted = [0; 2];
    let digits = match value {
        [b'"', quoted @ .., b'"'] => unquote(quoted, &mut unquoted)?,
        token => token,
    };
    match digits {
        [digit @ b'8'..=b'9'] => Ok(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Ok(10 + digit - b'0'),
        _ => Err(Malformed),
    }
}

/// Takes the backslashes out of a quoted string of at most two characters; no more are needed.
fn unquote<'a>(quoted: &[u8], unquoted: &'a mut [u8; 2]) -> Result<&'a [u8], Malformed> {
    let mut len = 0;
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        let byte = match byte {
            b'\\' => *bytes.next().ok_or(Malformed)?,
            b'"' => return Err(Malformed),
            byte => byte,
        };
        *unquoted.get_mut(len).ok_or(Malformed)? = byte;
        len += 1;
    }
    Ok(&unquoted[..len])
}

/// The parts between separators, which count only outside of quoted strings.
fn split(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    bytes.split(move |&byte| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        match byte {
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
        byte == separator && !is_quoted
    })
}

/// Without the spaces and tabs around.
fn trim(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let from = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(is_text).map_or(from, |last| last + 1);
    &bytes[from..to]
}
