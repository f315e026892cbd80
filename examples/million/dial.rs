//! How a client's connections come about: from which address, to whom, and what may go wrong with it.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, UnixAddr, bind, connect, setsockopt, socket, sockopt,
    },
};
use wheelhouse_examples::{AnyError, BadUsage, is_websocket};

use crate::{plan::source, wire::Wire};

/// Where connections go, and from where.
pub(crate) struct Dial {
    to: Vec<Target>,
    first_source: u64,
    sources: u64,
    /// Attempts so far: servers and source addresses take turns by it.
    attempts: u64,
}

enum Target {
    Tcp(SockaddrIn),
    Unix(UnixAddr),
}

/// Why there was no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It may go better a little later: the errno says why not now.
    Now(Errno),
    /// It will not, whoever is asked: this process, or the system, has no more.
    Ever(Errno),
}

impl Dial {
    pub(crate) fn new(urls: &[String], first_source: u64, sources: u64) -> Result<(Dial, Wire), AnyError> {
        let to = urls.iter().map(|url| Target::parse(url)).collect::<Result<Vec<_>, _>>()?;
        let speaks = urls.first().filter(|url| is_websocket(url));
        let wire = match speaks {
            Some(url) => Wire::websocket(after_scheme(url).unwrap_or(url)),
            None => Wire::plain(),
        };
        Ok((Dial { to, first_source, sources, attempts: 0 }, wire))
    }

    /// Goes on from other addresses: ports of those before wait to be used again (TIME_WAIT).
    pub(crate) fn move_on(&mut self) {
        self.first_source += self.sources;
    }

    /// Begins a connection; on the loopback it is mostly there when this returns.
    pub(crate) fn begin(&mut self) -> Result<OwnedFd, Refused> {
        let attempt = self.attempts;
        self.attempts += 1;
        let target = &self.to[(attempt % self.to.len() as u64) as usize];
        let family = match target {
            Target::Tcp(_) => AddressFamily::Inet,
            Target::Unix(_) => AddressFamily::Unix,
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(family, SockType::Stream, flags, None).map_err(Refused::from)?;
        match target {
            Target::Tcp(address) => {
                if self.sources > 0 {
                    let from = source(self.first_source + attempt % self.sources);
                    // The port is chosen when both ends are known, so that it is free for another server's sake.
                    setsockopt(&fd, sockopt::IpBindAddressNoPort, &true).map_err(Refused::from)?;
                    let from = SocketAddrV4::new(Ipv4Addr::from(from), 0);
                    bind(fd.as_raw_fd(), &SockaddrIn::from(from)).map_err(Refused::from)?;
                }
                begun(connect(fd.as_raw_fd(), address))?;
            }
            Target::Unix(address) => begun(connect(fd.as_raw_fd(), address))?,
        }
        Ok(fd)
    }
}

fn begun(outcome: nix::Result<()>) -> Result<(), Refused> {
    match outcome {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Refused {
        match errno {
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EACCES | Errno::EPERM => {
                Refused::Ever(errno)
            }
            _ => Refused::Now(errno),
        }
    }
}

impl Refused {
    pub(crate) fn errno(self) -> Errno {
        let (Refused::Now(errno) | Refused::Ever(errno)) = self;
        errno
    }
}

impl Target {
    fn parse(url: &str) -> Result<Target, AnyError> {
        let bad = || BadUsage(format!("`{url}`: expected tcp, tls, ws or wss://IPV4:PORT, or unix:/PATH"));
        if let Some(path) = url.strip_prefix("unix:") {
            return Ok(Target::Unix(UnixAddr::new(Path::new(path)).map_err(|_| bad())?));
        }
        let address = after_scheme(url).and_then(|address| address.parse::<SocketAddrV4>().ok());
        Ok(Target::Tcp(address.ok_or_else(bad)?.into()))
    }
}

/// The address in a URL; none where its scheme is none of ours.
fn after_scheme(url: &str) -> Option<&str> {
    let (scheme, address) = url.split_once("://")?;
    ["tcp", "tls", "ws", "wss"].contains(&scheme).then(|| address.trim_end_matches('/'))
}
