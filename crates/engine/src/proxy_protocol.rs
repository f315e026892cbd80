//! The PROXY protocol, versions 1 and 2: the first bytes of a connection, in which a proxy says whose it is.
//!
//! Sections are of HAProxy's specification, `doc/proxy-protocol.txt`. It is read by hand because the crates that read it
//! take a line that can never become a header for one that is still coming, refuse health checks that the specification
//! says must be accepted, or keep what the TLVs hold; the networks, which are arithmetic, are `ipnet`'s.

#[cfg(test)]
mod tests;

use std::{
    fmt::Display,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net};
use memchr::{memchr2, memmem};

use crate::{Error, Result};

/// The longest header taken, in bytes.
///
/// The specification wants a header to fit the smallest TCP segment, 536 B (PROXY protocol, 2). What goes beyond are TLVs,
/// the largest of them a client's certificate of one or two KiB; behind the longest addresses (232 B) 3,864 B are left for
/// them. It is nginx's bound too.
pub(crate) const MAX_HEADER: usize = 4096;

/// The longest line of version 1 with its CRLF (PROXY protocol, 2.1).
const MAX_LINE: usize = 107;

const LINE_START: &[u8] = b"PROXY ";
const CRLF: &[u8] = b"\r\n";

/// How the rest of a line can begin, each with what ends the name.
const FAMILIES: [&[u8]; 4] = [b"TCP4 ", b"TCP6 ", b"UNKNOWN ", b"UNKNOWN\r"];

/// What version 2 begins with (PROXY protocol, 2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family and transport, and the length of what follows.
const FIXED: usize = SIGNATURE.len() + 4;

const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// More bytes are needed to tell; never more than [`MAX_HEADER`] in all.
    Incomplete,
    /// A whole header.
    Complete {
        /// Its length in bytes; what follows is the client's.
        len: usize,
        /// The client it names, as it names it: an IPv4-mapped address stays one. None for UNKNOWN, for LOCAL, and for
        /// what is no TCP over IP (a Unix address, UDP): the connection's own peer counts.
        client: Option<SocketAddr>,
    },
}

/// Reads the header that `bytes`, a connection's first, begin with. What follows the header changes nothing.
///
/// A header that cannot become a good one any more is an error as soon as that is certain
/// ([`io::ErrorKind::InvalidData`]), since the connection is to be aborted as soon as possible (PROXY protocol, 2.1).
pub(crate) fn parse(bytes: &[u8]) -> io::Result<Header> {
    if bytes.starts_with(LINE_START) {
        parse_line(bytes)
    } else if bytes.starts_with(SIGNATURE) {
        parse_binary(bytes)
    } else if LINE_START.starts_with(bytes) || SIGNATURE.starts_with(bytes) {
        Ok(Header::Incomplete)
    } else {
        Err(malformed("begins with neither `PROXY ` nor the signature of version 2", bytes))
    }
}

/// Version 1 (PROXY protocol, 2.1): nothing of the line is believed before its CRLF is there.
fn parse_line(bytes: &[u8]) -> io::Result<Header> {
    let line = &bytes[..bytes.len().min(MAX_LINE)];
    match memmem::find(line, CRLF) {
        Some(end) => {
            let client = client_of_line(&line[LINE_START.len()..end])?;
            Ok(Header::Complete { len: end + CRLF.len(), client })
        }
        None => check_unfinished(line).map(|()| Header::Incomplete),
    }
}

/// Refuses a line without CRLF that no further byte can make a good one.
fn check_unfinished(line: &[u8]) -> io::Result<()> {
    if line.len() == MAX_LINE {
        return Err(malformed(format_args!("no CRLF in the first {MAX_LINE} B"), line));
    }
    let rest = &line[LINE_START.len()..];
    if !FAMILIES.iter().any(|family| rest.starts_with(family) || family.starts_with(rest)) {
        return Err(unknown_family(rest));
    }
    // What follows UNKNOWN is ignored up to the CRLF, whatever it is. A CR that is the last byte may get its LF yet.
    let single = memchr2(b'\r', b'\n', rest).filter(|&at| rest[at] == b'\n' || at + 1 < rest.len());
    if single.is_some() && !rest.starts_with(b"UNKNOWN ") {
        return Err(malformed("a single CR or LF where the line ends in CRLF", rest));
    }
    Ok(())
}

/// What stands between `PROXY ` and the CRLF: the family, the addresses of client and server, their ports.
fn client_of_line(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let text = str::from_utf8(line).map_err(|_| malformed("a line that is not ASCII", line))?;
    let mut fields = text.split(' ');
    let mut field = || fields.next().unwrap_or_default();
    let parse_ip = match field() {
        "TCP4" => |text: &str| text.parse::<Ipv4Addr>().map(IpAddr::V4),
        "TCP6" => |text: &str| text.parse::<Ipv6Addr>().map(IpAddr::V6),
        _ => return Err(unknown_family(line)),
    };
    let address = |what, text: &str| {
        parse_ip(text).map_err(|_| malformed(format_args!("the {what} address is not of its family"), text))
    };
    let port = |what, text: &str| {
        decimal::<u16>(text).ok_or_else(|| malformed(format_args!("the {what} port is not 0 to 65535"), text))
    };
    let source = address("source", field())?;
    address("destination", field())?;
    let source_port = port("source", field())?;
    port("destination", field())?;
    match fields.next() {
        Some(more) => Err(malformed("more than two addresses and two ports", more)),
        None => Ok(Some(SocketAddr::new(source, source_port))),
    }
}

/// Version 2 (PROXY protocol, 2.2). TLVs are passed over, the checksum too: looking at them is the receiver's choice.
fn parse_binary(bytes: &[u8]) -> io::Result<Header> {
    let head = &bytes[..bytes.len().min(FIXED)];
    let [version_and_command, rest @ ..] = &head[SIGNATURE.len()..] else { return Ok(Header::Incomplete) };
    let command = version_and_command & 0x0f;
    if version_and_command >> 4 != 2 {
        return Err(malformed("the version behind the signature is not 2", head));
    }
    if command > 1 {
        return Err(malformed(format_args!("unknown command {command}"), head));
    }
    let is_local = command == 0;
    let [family, rest @ ..] = rest else { return Ok(Header::Incomplete) };
    // LOCAL is accepted whatever its family, and its block skipped whatever its length.
    let needed = if is_local { 0 } else { addresses_len(*family).map_err(|what| malformed(what, head))? };
    let Some(block_len) = rest.first_chunk().map(|&len| usize::from(u16::from_be_bytes(len))) else {
        return Ok(Header::Incomplete);
    };
    if block_len < needed {
        let what =
            format_args!("an address block of {block_len} B where family {family:#04x} needs {needed} B");
        return Err(malformed(what, head));
    }
    let len = FIXED + block_len;
    if len > MAX_HEADER {
        return Err(malformed(format_args!("a header of {len} B; at most {MAX_HEADER} B"), head));
    }
    let Some(block) = bytes.get(FIXED..len) else { return Ok(Header::Incomplete) };
    let client = match *family {
        _ if is_local => None,
        TCP_OVER_IPV4 => first_address::<4>(block),
        TCP_OVER_IPV6 => first_address::<16>(block),
        _ => None,
    };
    Ok(Header::Complete { len, client })
}

/// The bytes that a family (the high half) with its transport (the low half) puts before the TLVs; ports go with STREAM
/// and DGRAM only.
fn addresses_len(family: u8) -> Result<usize, String> {
    match family {
        0x00..=0x02 => Ok(0),
        0x10 => Ok(2 * 4),
        TCP_OVER_IPV4 | 0x12 => Ok(2 * 4 + 2 * 2),
        0x20 => Ok(2 * 16),
        TCP_OVER_IPV6 | 0x22 => Ok(2 * 16 + 2 * 2),
        0x30..=0x32 => Ok(2 * 108),
        _ if family >> 4 > 3 => Err(format!("unknown address family {:#x}", family >> 4)),
        _ => Err(format!("unknown transport {:#x}", family & 0x0f)),
    }
}

/// The source of a block: both addresses of `N` bytes, then both ports.
fn first_address<const N: usize>(block: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let ip = *block.first_chunk::<N>()?;
    let port = *block.get(2 * N..)?.first_chunk()?;
    Some(SocketAddr::new(ip.into(), u16::from_be_bytes(port)))
}

fn unknown_family(seen: &[u8]) -> io::Error {
    malformed("the family is none of TCP4, TCP6 and UNKNOWN", seen)
}

/// The error for what a peer sent: what is wrong, and the bytes at fault, as many as a line of a log bears.
fn malformed(what: impl Display, seen: impl AsRef<[u8]>) -> io::Error {
    const SHOWN: usize = 48;
    let seen = seen.as_ref();
    let more = if seen.len() > SHOWN { "..." } else { "" };
    let shown = seen[..seen.len().min(SHOWN)].escape_ascii();
    io::Error::new(io::ErrorKind::InvalidData, format!("PROXY header: {what}: `{shown}`{more}"))
}

/// A number in digits alone, without the leading zeros that make some read it as octal.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

/// The networks whose header is believed; anyone else could claim to be anybody (PROXY protocol, 5).
///
/// An IPv4-mapped IPv6 address counts as the IPv4 address it stands for, in the list and in the question: `10.0.0.0/8`
/// holds `::ffff:10.0.0.1`, and `::/0` holds no IPv4 address.
#[derive(Clone, Debug)]
pub(crate) struct TrustedNetworks(Vec<IpNet>);

impl TrustedNetworks {
    /// Reads addresses and networks: `192.0.2.7`, `10.0.0.0/8`, `::1`, `fd00::/8`.
    ///
    /// A bit beyond the prefix (`10.1.2.3/8`) is refused: whether the host or the whole network was meant is no guess to
    /// make about trust.
    pub(crate) fn parse(networks: &[String]) -> Result<Self> {
        let bad = |value: &str| {
            Error::BadOption {
            option: "proxy_protocol",
            value: value.to_owned(),
            allowed: "at least one address or network, as 192.0.2.7, 10.0.0.0/8, ::1 or fd00::/8, no bit set beyond \
                      the prefix"
                .to_owned(),
        }
        };
        if networks.is_empty() {
            return Err(bad("an empty list"));
        }
        let networks =
            networks.iter().map(|text| parse_network(text).ok_or_else(|| bad(&format!("`{text}`"))));
        networks.collect::<Result<_>>().map(TrustedNetworks)
    }

    /// Whether a peer at this address is believed.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }
}

/// The parts are read one by one: `ipnet` would take `010.0.0.0/8`, in which others see 8.0.0.0.
fn parse_network(text: &str) -> Option<IpNet> {
    let network = match text.split_once('/') {
        Some((ip, prefix)) => IpNet::new(ip.parse().ok()?, decimal(prefix)?).ok()?,
        None => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    (network == network.trunc()).then(|| canonical(network))
}

/// A network of IPv4-mapped addresses as the IPv4 network it is.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    let v4 = mapped.and_then(|(ip, prefix)| Ipv4Net::new(ip, prefix).ok());
    v4.map_or(network, IpNet::V4)
}
