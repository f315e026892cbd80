//! What a request asks for (RFC 9112, 3.2).

use std::borrow::Cow;

use crate::http::Refused;
use crate::http::authority::Authority;
use crate::http::field::is_one_of;

/// The parts of a request's target.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// Of the absolute form only: what stands for the Host.
    pub(super) host: Option<&'a str>,
    pub(super) path: &'a str,
    /// Behind the question mark; empty where there is none.
    pub(super) query: &'a str,
}

impl<'a> Target<'a> {
    pub(super) fn parse(method: &str, target: &'a str) -> Result<Target<'a>, Refused> {
        if method == "CONNECT" {
            return Err(Refused { status: 501, what: "this is no proxy" });
        }
        if target.contains('#') {
            return Err(Refused::bad("a target with a fragment"));
        }
        if target.starts_with('/') {
            return Ok(Target::split(None, target));
        }
        if target == "*" && method == "OPTIONS" {
            return Ok(Target { host: None, path: "*", query: "" });
        }

        let Some((scheme, rest)) = target.split_once("://") else {
            return Err(Refused::bad("a target that is neither a path nor absolute"));
        };
        if !is_one_of(scheme, &["http", "https", "ws", "wss"]) {
            return Err(Refused::bad("a target of a foreign scheme"));
        }
        let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if Authority::parse(host).is_none() {
            return Err(Refused::bad("a target with a malformed host"));
        }
        Ok(Target::split(Some(host), rest))
    }

    fn split(host: Option<&'a str>, rest: &'a str) -> Target<'a> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Target { host, path: if path.is_empty() { "/" } else { path }, query }
    }

    /// The first value of this name, decoded.
    pub(super) fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| decoded(key) == name).map(|(_, value)| decoded(value))
    }
}

/// `%41` is A and `+` is a space. A percent sign without two digits behind it stands for itself, and what is
/// not UTF-8 then is replaced by U+FFFD, both as browsers have it.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, hex_pair(behind)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    let text = String::from_utf8(bytes);
    Cow::Owned(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*bytes.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}
