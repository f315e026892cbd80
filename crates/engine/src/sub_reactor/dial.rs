//! Connections that we begin.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::Ordering,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use wheelhouse_websocket::http::Hello;

use super::Core;
use crate::{
    Address, CloseReason, ConnId, Connect, Error, Result, TlsClient,
    connect::Plan,
    connection::{Connection, Dialling, Flags, Phase, Upgrade},
    id::Key,
    listener::{set_kernel_buffers, set_tcp_options},
    options::Options,
    resolver,
};

impl Core {
    pub(crate) fn connect(&mut self, to: Connect) -> Result<ConnId> {
        let Plan { address, framing, rules, hello, tls } = to.validate(self.options())?;
        if self.stopping {
            return Err(Error::Stopping);
        }
        let profile = self.profiles.join(&framing, rules).ok_or_else(Error::too_many_kinds)?;
        let id = self.new_dialled(profile, &to, hello, tls)?;
        self.stats.dialled += 1;
        tracing::trace!(%id, url = %to.url, "dialling");
        match address {
            _ if self.io.dial(id, &to) => {}
            Address::Tcp(to) => self.try_addresses(id.key(), vec![to]),
            Address::Name { .. } => {
                if !resolver::resolve(&self.shared, id, address) {
                    let error = io::Error::other("too many names wait to be resolved");
                    self.doom(id.key(), CloseReason::ConnectFailed, Some(error), 0);
                }
            }
            unix => self.dial_unix(id.key(), &unix),
        }
        self.arm(id.key());
        Ok(id)
    }

    fn new_dialled(
        &mut self,
        profile: u16,
        to: &Connect,
        hello: Option<Hello>,
        tls: Option<TlsClient>,
    ) -> Result<ConnId> {
        let now = self.clock.stamp();
        let mut connection = Connection::new(None, profile, now);
        connection.phase = Phase::Connecting;
        connection.flags = self.profile_flags(profile);
        let deadline = self.clock.tick_after(now, to.timeout);
        connection.flags.set(Flags::TLS, tls.is_some());
        let extras = connection.extras();
        extras.tag = to.tag;
        let way = extras.under_way();
        way.dialling = Some(Dialling { deadline, from: to.from, left: Vec::new(), tls });
        if let Some(hello) = hello {
            way.upgrade = Some(Box::new(Upgrade::Hello(hello, self.workshop.nonce(), false)));
            connection.flags |= Flags::CLIENT;
        }
        let id = self.connections.insert(connection).map_err(|_| {
            self.profiles.leave(profile);
            Error::ReactorFull { reactor: self.id, limit: ConnId::MAX_KEYS }
        })?;
        let here = &self.shared.reactors[self.id.index()];
        here.roll.enter(id);
        here.load.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }

    /// A name's addresses have come, or the resolver's refusal.
    pub(super) fn resolved(&mut self, id: ConnId, addresses: io::Result<Vec<SocketAddr>>) {
        let is_waiting =
            self.connections.find(id).is_some_and(|c| c.phase == Phase::Connecting && c.fd.is_none());
        match addresses {
            _ if !is_waiting => self.stats.late_commands += 1,
            Ok(addresses) => self.try_addresses(id.key(), addresses),
            Err(error) => self.doom(id.key(), CloseReason::ConnectFailed, Some(error), 0),
        }
    }

    fn try_addresses(&mut self, key: Key, mut addresses: Vec<SocketAddr>) {
        addresses.reverse();
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(dialling) = &mut connection.extras().under_way().dialling {
            dialling.left = addresses;
        }
        self.try_next(key, io::Error::other("the name has no address of this IP version"));
    }

    /// Dials the next address; when none is left the last error is the connection's.
    pub(super) fn try_next(&mut self, key: Key, mut last: io::Error) {
        loop {
            let Some(dialling) = self.dialling(key) else { return };
            let from = dialling.from;
            let Some(to) = dialling.left.pop() else {
                return self.doom(key, CloseReason::ConnectFailed, Some(last), 0);
            };
            if from.is_some_and(|from| from.is_ipv4() != to.is_ipv4()) {
                continue;
            }
            match dial_tcp(to, from, self.options()) {
                Ok(fd) => return self.await_connection(key, fd, Some(to)),
                Err(error) => last = error,
            }
        }
    }

    fn dial_unix(&mut self, key: Key, address: &Address) {
        match dial_unix(address, self.options()) {
            Ok(fd) => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.flags |= Flags::UNIX;
                }
                self.await_connection(key, fd, None);
            }
            Err(error) => self.doom(key, CloseReason::ConnectFailed, Some(error), 0),
        }
    }

    /// Registers for writing: that is how the kernel tells of the end of a connect.
    fn await_connection(&mut self, key: Key, fd: OwnedFd, peer: Option<SocketAddr>) {
        let Some(id) = self.connections.id(key) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(old) = connection.fd.take() {
            self.shared.fds.remove(old.as_raw_fd());
        }
        self.shared.enter(fd.as_raw_fd(), id);
        connection.fd = Some(fd);
        connection.set_peer(peer);
        connection.flags |= Flags::WRITE_INTEREST;
        if let Err(error) = self.register(key) {
            self.doom(key, CloseReason::Io, Some(error), 0);
        }
    }

    /// The kernel has something to say of a connect: true when it is made.
    pub(super) fn finish_connecting(&mut self, key: Key) -> bool {
        let stamp = self.clock.stamp();
        let Some(connection) = self.connections.get_mut(key) else { return false };
        match self.io.connect_outcome(connection) {
            None => return false,
            Some(Err(error)) => {
                self.try_next(key, error);
                return false;
            }
            Some(Ok(())) => {}
        }
        connection.phase = if connection.shakes_hands() { Phase::Handshaking } else { Phase::Open };
        connection.since = stamp;
        connection.last_activity = stamp;
        connection.flags.remove(Flags::WRITE_INTEREST);
        let dialling = connection.under_way_mut().and_then(|way| way.dialling.take());
        let tls = dialling.and_then(|dialling| dialling.tls);
        connection.drop_idle_extras();
        let registered = self.reregister(key);
        if let Err(error) = registered {
            self.doom(key, CloseReason::Io, Some(error), 0);
            return false;
        }
        self.disarm_deadline(key);
        if let Some(tls) = tls {
            self.begin_tls_client(key, &tls);
        }
        true
    }

    fn dialling(&mut self, key: Key) -> Option<&mut Dialling> {
        let connection = self.connections.get_mut(key).filter(|c| c.phase == Phase::Connecting)?;
        connection.under_way_mut()?.dialling.as_mut()
    }
}

fn dial_tcp(to: SocketAddr, from: Option<SocketAddr>, options: &Options) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), None)?;
    set_tcp_options(&SockRef::from(&socket), options)?;
    if let Some(from) = from {
        if from.port() == 0 {
            // The port is chosen when the peer is known: one address reaches each peer with every port.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        } else {
            socket.set_reuse_address(true)?;
        }
        socket.bind(&from.into())?;
    }
    in_progress(socket.connect(&to.into()))?;
    Ok(socket.into())
}

fn dial_unix(address: &Address, options: &Options) -> io::Result<OwnedFd> {
    let address = match address {
        Address::Unix(path) => SockAddr::unix(path)?,
        Address::Abstract(name) => crate::listener::abstract_address(name)?,
        _ => return Err(ErrorKind::Unsupported.into()),
    };
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    set_kernel_buffers(&SockRef::from(&socket), options)?;
    in_progress(socket.connect(&address))?;
    Ok(socket.into())
}

fn in_progress(connected: io::Result<()>) -> io::Result<()> {
    match connected {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(()),
        other => other,
    }
}
