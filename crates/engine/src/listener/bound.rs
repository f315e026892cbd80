//! Addresses to bound sockets.

use std::{
    ffi::OsStr,
    fs, io,
    net::{Ipv6Addr, SocketAddr},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::Listener;
use crate::{Address, Error, Result, options::Options};

/// A socket that listens, and where.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: Socket,
    pub(crate) address: Address,
    /// Inherited: others may listen on it too.
    is_inherited: bool,
    _file: Option<SocketFile>,
}

/// The file of a Unix socket, removed when the engine is gone, unless somebody has put another in its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        SocketFile { path: path.to_owned(), inode: inode(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Bound {
    pub(crate) fn is_unix(&self) -> bool {
        !matches!(self.address, Address::Tcp(_))
    }

    /// Lets the kernel queue no more connections than it has: those that follow are told later, by the closing.
    pub(crate) fn close_the_door(&self) {
        if !self.is_inherited {
            let _ = self.socket.listen(0);
        }
    }
}

/// Binds one listener, `copies` times over on the same port where reactors share it (`SO_REUSEPORT`).
pub(crate) fn bind(
    listener: &Listener,
    address: &Address,
    options: &Options,
    copies: usize,
    inherited: &mut ListenFd,
) -> Result<Vec<Bound>> {
    let one = match address {
        Address::Unix(path) => bind_unix(listener, path, options)?,
        Address::Abstract(name) => {
            let at = abstract_address(name).map_err(cannot(listener, "the name is not allowed"))?;
            let socket = unix_socket(listener)?;
            socket.bind(&at).map_err(|e| cannot_bind(listener, e))?;
            listen(listener, socket, address.clone(), options, None)?
        }
        Address::Inherited(n) => take_inherited(listener, *n, options, inherited)?,
        tcp => return bind_tcp(listener, tcp.resolve()?[0], options, copies),
    };
    Ok(vec![one])
}

fn bind_tcp(listener: &Listener, at: SocketAddr, options: &Options, copies: usize) -> Result<Vec<Bound>> {
    let mut bound = Vec::with_capacity(copies);
    let mut at = at;
    for _ in 0..copies {
        let socket = tcp_socket(listener, at, options).map_err(cannot(listener, "cannot make the socket"))?;
        socket.bind(&at.into()).map_err(|e| cannot_bind(listener, e))?;
        // Port 0 becomes a real one with the first copy; the others share that.
        at = local_tcp(&socket)
            .ok_or_else(io::Error::last_os_error)
            .map_err(cannot(listener, "has no address"))?;
        bound.push(listen(listener, socket, Address::Tcp(at), options, None)?);
    }
    Ok(bound)
}

/// A socket with every option set that the kernel hands down to the connections it accepts.
fn tcp_socket(listener: &Listener, at: SocketAddr, options: &Options) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        let all = at.ip() == Ipv6Addr::UNSPECIFIED;
        socket.set_only_v6(listener.only_v6 || !all)?;
    }
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    set_tcp_options(&SockRef::from(&socket), options)?;
    Ok(socket)
}

/// The options that a dialled socket sets for itself and an accepted one inherits.
pub(crate) fn set_tcp_options(socket: &SockRef<'_>, options: &Options) -> io::Result<()> {
    if options.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(keep) = options.keep_alive {
        let keep =
            TcpKeepalive::new().with_time(keep.idle).with_interval(keep.interval).with_retries(keep.count);
        socket.set_tcp_keepalive(&keep)?;
    }
    if let Some(timeout) = options.tcp_user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    set_kernel_buffers(socket, options)
}

pub(crate) fn set_kernel_buffers(socket: &SockRef<'_>, options: &Options) -> io::Result<()> {
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

fn bind_unix(listener: &Listener, path: &Path, options: &Options) -> Result<Bound> {
    let address = SockAddr::unix(path).map_err(cannot(listener, "the path is not allowed"))?;
    let socket = unix_socket(listener)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(cannot_bind(listener, error));
        }
        remove_stale(listener, path, &address)?;
        socket.bind(&address).map_err(|e| cannot_bind(listener, e))?;
    }
    let file = SocketFile::new(path);
    if let Some(mode) = listener.unix_mode {
        // Before listening: until then nobody can connect.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(cannot(listener, "cannot set the socket file's mode"))?;
    }
    listen(listener, socket, Address::Unix(path.to_owned()), options, Some(file))
}

/// Removes the socket file of a process that is gone; refuses to touch anything else.
fn remove_stale(listener: &Listener, path: &Path, address: &SockAddr) -> Result<()> {
    let in_the_way = |why| cannot(listener, why)(io::ErrorKind::AddrInUse.into());
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Err(in_the_way("something that is no socket is in the way"));
    }
    match unix_socket(listener)?.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(cannot(listener, "cannot remove the stale socket file"))
        }
        _ => Err(in_the_way("a live socket is in the way")),
    }
}

fn unix_socket(listener: &Listener) -> Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
        .map_err(cannot(listener, "cannot make the socket"))
}

/// An abstract name as the path with a leading zero byte that `SockAddr::unix` takes it for.
pub(crate) fn abstract_address(name: &[u8]) -> io::Result<SockAddr> {
    let path = [b"\0", name].concat();
    SockAddr::unix(Path::new(OsStr::from_bytes(&path)))
}

fn take_inherited(
    listener: &Listener,
    n: usize,
    options: &Options,
    inherited: &mut ListenFd,
) -> Result<Bound> {
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("{} sockets were passed", inherited.len()));
    let missing = cannot(listener, "no such socket in LISTEN_FDS")(none());
    let socket = match inherited.take_tcp_listener(n) {
        Ok(Some(tcp)) => Socket::from(tcp),
        Ok(None) => return Err(missing),
        Err(_) => match inherited.take_unix_listener(n) {
            Ok(Some(unix)) => Socket::from(unix),
            Ok(None) => return Err(missing),
            Err(error) => return Err(cannot(listener, "neither a TCP nor a Unix listener")(error)),
        },
    };
    socket.set_nonblocking(true).map_err(cannot(listener, "cannot make it non-blocking"))?;
    let address = match local_tcp(&socket) {
        Some(tcp) => {
            set_tcp_options(&SockRef::from(&socket), options)
                .map_err(cannot(listener, "cannot set the socket's options"))?;
            Address::Tcp(tcp)
        }
        None => local_unix(&socket).unwrap_or(Address::Inherited(n)),
    };
    Ok(Bound { socket, address, is_inherited: true, _file: None })
}

fn listen(
    listener: &Listener,
    socket: Socket,
    address: Address,
    options: &Options,
    file: Option<SocketFile>,
) -> Result<Bound> {
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    socket.listen(backlog).map_err(|e| cannot_bind(listener, e))?;
    Ok(Bound { socket, address, is_inherited: false, _file: file })
}

fn local_tcp(socket: &Socket) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}

fn local_unix(socket: &Socket) -> Option<Address> {
    let address = socket.local_addr().ok()?;
    let path = address.as_pathname().map(|path| Address::Unix(path.to_owned()));
    path.or_else(|| address.as_abstract_namespace().map(|name| Address::Abstract(name.to_vec())))
}

fn cannot_bind(listener: &Listener, error: io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "the address is taken",
        io::ErrorKind::PermissionDenied => "not permitted (a port below 1024, or a directory not ours)",
        io::ErrorKind::AddrNotAvailable => "no such address on this machine",
        _ => "the system refused",
    };
    cannot(listener, why)(error)
}

fn cannot(listener: &Listener, why: &'static str) -> impl FnOnce(io::Error) -> Error {
    let address = listener.url.clone();
    move |source| Error::CannotListen { address, why, source }
}
