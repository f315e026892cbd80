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
    time::Duration,
};

use listenfd::ListenFd;
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::{
    Address, Error, Framing, Result,
    options::{self, Options},
};

/// What happens to a send that would take the outbound queue beyond its limit.
///
/// ```
/// use wheelhouse::{Listener, Policy};
///
/// let feed = Listener::new("tcp://127.0.0.1:0").water_marks(16 << 10, 64 << 10, 1 << 20).policy(Policy::Close);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The send is refused, and the sender told.
    #[default]
    Refuse,
    /// The message is dropped, and counted; the sender is told that it was refused. For protocols with messages only:
    /// a gap in raw bytes would go unnoticed.
    DropMessage,
    /// The connection is closed with a reset ([`CloseReason::BackPressure`](crate::CloseReason::BackPressure)).
    Close,
}

/// The outbound queue's marks, in bytes: what the kernel has not yet taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaterMarks {
    pub(crate) low: usize,
    pub(crate) high: usize,
    pub(crate) limit: usize,
}

impl Default for WaterMarks {
    fn default() -> Self {
        WaterMarks {
            low: options::WATER_MARK_LOW.default_value() as usize,
            high: options::WATER_MARK_HIGH.default_value() as usize,
            limit: options::WATER_MARK_LIMIT.default_value() as usize,
        }
    }
}

impl WaterMarks {
    pub(crate) fn validate(&self) -> Result<()> {
        options::WATER_MARK_LOW.check(self.low as u64)?;
        options::WATER_MARK_HIGH.check(self.high as u64)?;
        options::WATER_MARK_LIMIT.check(self.limit as u64)?;
        if self.low <= self.high && self.high <= self.limit {
            return Ok(());
        }
        Err(Error::BadOption {
            option: "water_marks",
            value: format!("low {}, high {}, limit {}", self.low, self.high, self.limit),
            allowed: "low <= high <= limit".into(),
        })
    }
}

/// Where to listen, and how the connections from there behave.
///
/// A string is a listener with every other thing at its default.
///
/// ```
/// use std::time::Duration;
/// use wheelhouse::{Framing, Listener};
///
/// let login = Listener::new("tcp://127.0.0.1:0")
///     .framing(Framing::lines(512))
///     .authentication(Duration::from_secs(30));
/// let local = Listener::new("unix:/run/app.sock").unix_mode(0o660);
/// ```
#[derive(Clone, Debug)]
pub struct Listener {
    pub(crate) url: String,
    pub(crate) framing: Framing,
    pub(crate) authentication: Option<Duration>,
    pub(crate) marks: WaterMarks,
    pub(crate) policy: Policy,
    pub(crate) unix_mode: Option<u32>,
    pub(crate) only_v6: bool,
}

impl Listener {
    /// A listener on this [`Address`]; a bad one is told by [`Builder::build`](crate::Builder::build).
    pub fn new(url: impl Into<String>) -> Self {
        Listener {
            url: url.into(),
            framing: Framing::raw(),
            authentication: None,
            marks: WaterMarks::default(),
            policy: Policy::default(),
            unix_mode: None,
            only_v6: false,
        }
    }

    /// How bytes become messages; raw by default.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Closes a connection that is not [`authenticated`](crate::Conn::authenticated) so long after its accept; off by
    /// default. 1 ms to 24 days.
    pub fn authentication(mut self, within: Duration) -> Self {
        self.authentication = Some(within);
        self
    }

    /// The outbound queue's marks in bytes: reading pauses above `high` and goes on at `low`; a send beyond `limit` meets
    /// the [`Policy`]. 64 KiB, 256 KiB and 4 MiB by default; low <= high <= limit <= 64 MiB.
    pub fn water_marks(mut self, low: usize, high: usize, limit: usize) -> Self {
        self.marks = WaterMarks { low, high, limit };
        self
    }

    /// What happens beyond the limit.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The permissions of a Unix socket's file, as in `0o660`; by default what the umask leaves.
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.unix_mode = Some(mode);
        self
    }

    /// Whether an IPv6 listener on `[::]` leaves IPv4 alone; by default it serves both (dual stack).
    pub fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = only;
        self
    }

    /// Looks at everything that can be looked at before a socket is opened.
    pub(crate) fn validate(&self, options: &Options) -> Result<Address> {
        let address: Address = self.url.parse()?;
        self.framing.validate()?;
        self.marks.validate()?;
        if let Some(within) = self.authentication {
            options::check_time(&options::AUTHENTICATION, within)?;
        }
        let refuse = |option, value: String, allowed: &str| {
            Err(Error::BadOption { option, value, allowed: allowed.into() })
        };
        if self.policy == Policy::DropMessage && self.framing.is_raw() {
            let value = format!("DropMessage on raw listener `{}`", self.url);
            return refuse("policy", value, "DropMessage only with a framing: raw bytes have no messages");
        }
        if self.unix_mode.is_some_and(|mode| mode > 0o777) {
            let value = format!("{:o}", self.unix_mode.unwrap_or_default());
            return refuse("unix_mode", value, "0 to 777 (octal)");
        }
        let is_unix = matches!(address, Address::Unix(_) | Address::Abstract(_));
        if options.reuse_port && (is_unix || matches!(address, Address::Inherited(_))) {
            let value = format!("true with listener `{}`", self.url);
            return refuse("reuse_port", value, "TCP addresses only: no other socket can share its address");
        }
        Ok(address)
    }
}

impl From<&str> for Listener {
    fn from(url: &str) -> Self {
        Listener::new(url)
    }
}

impl From<String> for Listener {
    fn from(url: String) -> Self {
        Listener::new(url)
    }
}

/// A socket that listens, and where.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: Socket,
    pub(crate) address: Address,
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
    Ok(Bound { socket, address, _file: None })
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
    Ok(Bound { socket, address, _file: file })
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
