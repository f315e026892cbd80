use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
};

use crate::{Error, Result};

/// Where an engine listens, or whom it dials.
///
/// | text | meaning |
/// |---|---|
/// | `tcp://127.0.0.1:9000`, `tcp://[::1]:9000` | one address; port 0 lets the kernel choose when listening |
/// | `tcp://[::]:9000` | IPv6 and IPv4 alike (dual stack) |
/// | `tcp://*:9000` | the same |
/// | `tcp://example.org:80` | a name: every address is tried when dialling, the first one is listened on |
/// | `unix:/run/app.sock`, `unix:///run/app.sock` | a Unix socket in the file system |
/// | `unix:@name` | a Unix socket in Linux's abstract name space |
/// | `inherited:0` | the first socket passed by the service manager (`LISTEN_FDS`), listening only |
///
/// Listeners and whoever dials take `tls://`, `ws://` and `wss://` in the place of `tcp://` too, for what is spoken there:
/// see [`Listener::new`](crate::Listener::new) and [`Connect::to`](crate::Connect::to). The address is a `tcp://` one then. A
/// scheme means the same in any case.
///
/// ```
/// use wheelhouse::Address;
///
/// let address: Address = "tcp://[::1]:9000".parse()?;
/// assert_eq!(address.to_string(), "tcp://[::1]:9000");
///
/// let error = "tcp://127.0.0.1:99999".parse::<Address>().unwrap_err();
/// assert!(error.to_string().contains("99999"));
/// # Ok::<(), wheelhouse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A TCP port of a host that is yet to be resolved.
    Name {
        /// The host's name.
        host: String,
        /// The port, 1 to 65,535; 0 for listening only.
        port: u16,
    },
    /// A Unix stream socket bound to a path.
    Unix(PathBuf),
    /// A Unix stream socket bound to an abstract name, without the leading zero byte.
    Abstract(Vec<u8>),
    /// A listening socket that was there before us: `LISTEN_FDS`, counted from 0.
    Inherited(usize),
}

/// Longest path of a Unix socket: `sun_path` less its closing zero byte.
const MAX_PATH: usize = 107;

impl Address {
    /// What a listener binds: of a name its first address.
    pub(crate) fn into_bindable(self) -> Result<Address> {
        match self {
            Address::Name { .. } => Ok(Address::Tcp(self.resolve()?[0])),
            other => Ok(other),
        }
    }

    /// Every TCP address of this one, asking the resolver for a name; blocks while it does.
    pub(crate) fn resolve(&self) -> Result<Vec<SocketAddr>> {
        let (host, port) = match self {
            Address::Tcp(address) => return Ok(vec![*address]),
            Address::Name { host, port } => (host.as_str(), *port),
            other => return Err(Error::bad_address(&other.to_string(), "is not a TCP address")),
        };
        let unresolvable = |source| Error::Unresolvable { address: self.to_string(), source };
        let found: Vec<_> = (host, port).to_socket_addrs().map_err(unresolvable)?.collect();
        if found.is_empty() {
            return Err(unresolvable(std::io::Error::other("the name has no address")));
        }
        Ok(found)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address> {
        let bad = |why: &str| Error::bad_address(text, why);
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(bad("no scheme; expected `tcp://host:port` or `unix:/path`"));
        };
        match &*scheme.to_ascii_lowercase() {
            "tcp" => {
                let rest = rest.strip_prefix("//").ok_or_else(|| bad("expected `tcp://host:port`"))?;
                parse_tcp(text, rest)
            }
            "unix" => parse_unix(text, rest.strip_prefix("//").unwrap_or(rest)),
            "inherited" => rest
                .parse()
                .map(Address::Inherited)
                .map_err(|_| bad("expected `inherited:N`, N counted from 0")),
            _ => Err(bad(&format!(
                "unknown scheme `{scheme}`; expected tcp://host:port, unix:/path, unix:@name or inherited:N; a listener and \
                 who dials know tls://, ws:// and wss:// too"
            ))),
        }
    }
}

fn parse_tcp(text: &str, rest: &str) -> Result<Address> {
    let bad = |why: &str| Error::bad_address(text, why);
    if rest.contains('@') {
        return Err(bad("user names and passwords are not taken"));
    }
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("no port; expected `tcp://host:port`"))?;
    let is_number = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    let number = is_number.then(|| port.parse().ok()).flatten();
    let port: u16 = number.ok_or_else(|| bad(&format!("bad port `{port}`; expected 0 to 65535")))?;
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(|| bad("`[` without `]`"))?;
        let ip: Ipv6Addr = inner.parse().map_err(|_| bad(&format!("bad IPv6 address `{inner}`")))?;
        return Ok(Address::Tcp(SocketAddr::new(IpAddr::V6(ip), port)));
    }
    match host {
        "" => Err(bad("no host; expected `tcp://host:port`, or `tcp://*:port` for every address")),
        "*" => Ok(Address::Tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port))),
        _ if host.contains(':') => Err(bad("an IPv6 address needs brackets: `tcp://[::1]:port`")),
        _ => Ok(match host.parse::<IpAddr>() {
            Ok(ip) => Address::Tcp(SocketAddr::new(ip, port)),
            Err(_) if host.contains(['/', '?', '#', ' ']) => {
                return Err(bad(&format!("bad host `{host}`; expected `tcp://host:port`")));
            }
            Err(_) => Address::Name { host: host.to_owned(), port },
        }),
    }
}

fn parse_unix(text: &str, path: &str) -> Result<Address> {
    let bad = |why: &str| Error::bad_address(text, why);
    if path.is_empty() || path == "@" {
        return Err(bad("no path; expected `unix:/path` or `unix:@name`"));
    }
    if path.contains('\0') {
        return Err(bad("a path holds no zero byte"));
    }
    if path.len() > MAX_PATH {
        return Err(bad(&format!("a path of {} B; at most {MAX_PATH} B", path.len())));
    }
    Ok(match path.strip_prefix('@') {
        Some(name) => Address::Abstract(name.as_bytes().to_vec()),
        None => Address::Unix(PathBuf::from(path)),
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "tcp://{address}"),
            Address::Name { host, port } => write!(f, "tcp://{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Abstract(name) => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
            Address::Inherited(n) => write!(f, "inherited:{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_were_written() {
        for text in [
            "tcp://127.0.0.1:0",
            "tcp://[::1]:9000",
            "tcp://localhost:80",
            "unix:/tmp/a.sock",
            "unix:@name",
            "inherited:2",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("unix:///tmp/a".parse::<Address>().unwrap(), Address::Unix("/tmp/a".into()));
        assert_eq!("tcp://*:80".parse::<Address>().unwrap().to_string(), "tcp://[::]:80");
    }

    #[test]
    fn a_bad_address_is_named_with_what_is_wrong() {
        for (text, wrong) in [
            ("nonsense", "no scheme"),
            ("http://127.0.0.1:80", "unknown scheme `http`"),
            ("tcp:127.0.0.1:80", "tcp://host:port"),
            ("tcp://127.0.0.1", "no port"),
            ("tcp://127.0.0.1:x", "bad port `x`"),
            ("tcp://127.0.0.1:65536", "bad port `65536`"),
            ("tcp://127.0.0.1:+1", "bad port `+1`"),
            ("tcp://:80", "no host"),
            ("tcp://::1:80", "brackets"),
            ("tcp://[::1:80", "without `]`"),
            ("tcp://[zz]:80", "bad IPv6 address `zz`"),
            ("tcp://user@host:80", "user names and passwords are not taken"),
            ("tcp://user:password@host:80", "user names and passwords are not taken"),
            ("tcp://a/b:80", "bad host `a/b`"),
            ("unix:", "no path"),
            ("unix:@", "no path"),
            ("inherited:x", "inherited:N"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(wrong), "{text}: {error}");
        }
        let long = format!("unix:/{}", "x".repeat(MAX_PATH));
        assert!(long.parse::<Address>().unwrap_err().to_string().contains("108 B; at most 107 B"));
    }
}
