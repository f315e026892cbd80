//! Hosts and ports, as they stand in Host, in Origin and in an absolute target (RFC 3986, 3.2).

use std::net::Ipv6Addr;

/// A host, and the port where one is given.
#[derive(Clone, Copy)]
pub(super) struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `name`, `name:port`, `[v6]` or `[v6]:port`; an empty port is none. User names are refused:
    /// they have no place in a request, and hide which host is meant (RFC 9110, 4.2.4).
    pub(super) fn parse(text: &'a str) -> Option<Authority<'a>> {
        let host_end = match text.strip_prefix('[').map(|inside| inside.find(']')) {
            Some(Some(end)) => {
                text[1..=end].parse::<Ipv6Addr>().ok()?;
                end + 2
            }
            Some(None) => return None,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(host_end);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
        if host.is_empty() || !(host.starts_with('[') || host.bytes().all(is_name)) {
            return None;
        }

        let port = match port.as_bytes() {
            [] | [b':'] => None,
            [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => Some(port[1..].parse().ok()?),
            _ => return None,
        };
        Some(Authority { host, port })
    }

    /// Whether both are the same host and port.
    fn is_same(self, other: Authority<'_>, default: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }
}

/// Whether a page of this origin came from this host, by the scheme that is spoken here (RFC 6454, 5).
pub(super) fn is_same_origin(origin: &str, host: &str, is_tls: bool) -> bool {
    let Some((scheme, of_page)) = origin.split_once("://") else { return false };
    let (Some(of_page), Some(ours)) = (Authority::parse(of_page), Authority::parse(host)) else {
        return false;
    };
    let ours_is = if is_tls { "https" } else { "http" };
    scheme.eq_ignore_ascii_case(ours_is) && of_page.is_same(ours, default_port(ours_is))
}

/// Whether both are the same origin (RFC 6454, 5); what is none is like nothing else.
pub(super) fn are_same_origins(one: &str, other: &str) -> bool {
    let (Some((scheme, one)), Some((of_other, other))) = (one.split_once("://"), other.split_once("://"))
    else {
        return false;
    };
    let (Some(one), Some(other)) = (Authority::parse(one), Authority::parse(other)) else { return false };
    scheme.eq_ignore_ascii_case(of_other) && one.is_same(other, default_port(scheme))
}

/// The port that is meant where none is given; 0 where nobody knows.
fn default_port(scheme: &str) -> u16 {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => 80,
        _ if scheme.eq_ignore_ascii_case("https") => 443,
        _ => 0,
    }
}
