//! A connection's socket.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use socket2::TcpKeepalive;

use super::Conn;
use crate::connection::Flags;

/// # The socket
impl Conn<'_> {
    /// Who is at the other end of a Unix socket; none for TCP. Asks the kernel.
    ///
    /// ```
    /// use std::io::Read;
    /// use wheelhouse::{Action, Conn, Handler};
    /// # use wheelhouse::Message;
    /// # struct WhoIsIt;
    /// # impl Handler for WhoIsIt {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     if let Some(peer) = conn.peer_credentials() {
    ///         conn.send(format!("you are process {}", peer.pid));
    ///     }
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = wheelhouse::Engine::builder().reactors(1).build(|_| WhoIsIt)?;
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # let handle = engine.handle();
    /// # handle.adopt(wheelhouse::On::Any, ours)?;
    /// # let _running = engine.start()?;
    /// let mut answer = String::new(); // of the engine, to `theirs`, the other end of a Unix socket
    /// theirs.read_to_string(&mut answer)?;
    /// assert_eq!(answer, format!("you are process {}", std::process::id()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        if !self.connection()?.flags.contains(Flags::UNIX) {
            return None;
        }
        let found = nix::sys::socket::getsockopt(&self.fd()?, nix::sys::socket::sockopt::PeerCredentials);
        found.ok().map(|c| PeerCredentials { pid: c.pid(), uid: c.uid(), gid: c.gid() })
    }

    /// Its file descriptor; none while a dialled name is being resolved. Not for reading, writing or closing.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.connection()?.borrow_fd()
    }

    /// A second descriptor of the same socket, as `dup(2)` makes it; the engine goes on with its own. While it lives the
    /// socket does: after a [`close`](Conn::close) or [`reset`](Conn::reset) the peer is told when the last one is closed.
    ///
    /// ```
    /// use std::{io::{Read, Write}, os::{fd::OwnedFd, unix::net::UnixStream}};
    /// use wheelhouse::{Action, Conn, Handler};
    /// # use wheelhouse::Message;
    /// # use std::{sync::mpsc::{Sender, channel}, time::Duration};
    /// # struct Twins(Sender<OwnedFd>);
    /// # impl Handler for Twins {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     if let Ok(twin) = conn.duplicate_fd() {
    ///         let _ = self.0.send(twin);
    ///     }
    ///     Action::Close
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let (sender, twins) = channel();
    /// # let engine = wheelhouse::Engine::builder().reactors(1).build(move |_| Twins(sender.clone()))?;
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # let handle = engine.handle();
    /// # handle.adopt(wheelhouse::On::Any, ours)?;
    /// # let _running = engine.start()?;
    /// let twin = twins.recv_timeout(Duration::from_secs(5))?;
    /// UnixStream::from(twin).write_all(b"still here")?; // and then the last one is closed
    /// let mut all = String::new();
    /// theirs.read_to_string(&mut all)?;
    /// assert_eq!(all, "still here");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the system says, `EMFILE` among it, or `ENOTCONN` when there is no socket.
    pub fn duplicate_fd(&mut self) -> io::Result<OwnedFd> {
        let Some(connection) = self.reactor.core.connections.get_mut(self.key) else {
            return Err(not_connected());
        };
        let duplicate = connection.borrow_fd().ok_or_else(not_connected)?.try_clone_to_owned()?;
        connection.flags |= Flags::DUPLICATED;
        Ok(duplicate)
    }

    /// Whether small segments leave at once (`TCP_NODELAY`).
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use wheelhouse::{Action, Address, Conn, Engine, Handler};
    /// # use wheelhouse::Message;
    /// # use std::io::Read;
    /// # struct Bulk;
    /// # impl Handler for Bulk {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let twin = conn.set_nodelay(false).and_then(|()| conn.duplicate_fd());
    ///     let is_set = twin.and_then(|twin| TcpStream::from(twin).nodelay());
    ///     conn.send(format!("{is_set:?}"));
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|_| Bulk)?;
    /// # let Address::Tcp(address) = engine.addresses()[0] else { panic!("it listens on TCP") };
    /// # let _running = engine.start()?;
    /// # let (mut client, mut answer) = (TcpStream::connect(address)?, String::new());
    /// # client.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # client.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "Ok(false)"); // the engine sets it by default
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the system says; `ENOTCONN` when there is no socket.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket().ok_or_else(not_connected)?.set_tcp_nodelay(on)
    }

    /// TCP keep-alive: the first probe after `idle`, the next ones `interval` apart, so many before the peer counts as
    /// gone. 1 to 32,767 s, of which fractions are dropped; 1 to 127 probes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Action, Address, Conn, Engine, Handler};
    /// # use wheelhouse::Message;
    /// # use std::{io::Read, net::TcpStream};
    /// # struct Patient;
    /// # impl Handler for Patient {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let minute = Duration::from_secs(60); // six unanswered probes: the peer is gone
    ///     let is_set = conn.set_keep_alive(minute, minute / 6, 6).is_ok();
    ///     let fd = conn.fd().map(|fd| socket2::SockRef::from(&fd).keepalive().ok());
    ///     conn.send(format!("{is_set} {:?}", fd.flatten()));
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = Engine::builder().listen("tcp://127.0.0.1:0").build(|_| Patient)?;
    /// # let Address::Tcp(address) = engine.addresses()[0] else { panic!("it listens on TCP") };
    /// # let _running = engine.start()?;
    /// # let (mut client, mut answer) = (TcpStream::connect(address)?, String::new());
    /// # client.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # client.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "true Some(true)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the system says; `ENOTCONN` when there is no socket.
    pub fn set_keep_alive(&self, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
        let keep = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
        self.socket().ok_or_else(not_connected)?.set_tcp_keepalive(&keep)
    }

    /// The kernel's buffers for this socket, in bytes; the kernel doubles what it is told, and takes no more than
    /// `net.core.rmem_max` and `net.core.wmem_max` allow.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Handler};
    /// # use wheelhouse::Message;
    /// # use std::io::Read;
    /// # struct Small;
    /// # impl Handler for Small {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     let is_set = conn.set_kernel_buffers(16 << 10, 16 << 10).is_ok();
    ///     let fd = conn.fd().map(|fd| socket2::SockRef::from(&fd).send_buffer_size().ok());
    ///     conn.send(format!("{is_set} {:?}", fd.flatten()));
    ///     Action::Finish
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// # let engine = wheelhouse::Engine::builder().reactors(1).build(|_| Small)?;
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # let handle = engine.handle();
    /// # handle.adopt(wheelhouse::On::Any, ours)?;
    /// # let _running = engine.start()?;
    /// # let mut answer = String::new();
    /// # theirs.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "true Some(32768)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the system says; `ENOTCONN` when there is no socket.
    pub fn set_kernel_buffers(&self, receive: usize, send: usize) -> io::Result<()> {
        let socket = self.socket().ok_or_else(not_connected)?;
        socket.set_recv_buffer_size(receive)?;
        socket.set_send_buffer_size(send)
    }
}

fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// The process at the other end of a Unix socket, as it was when it connected (`SO_PEERCRED`).
///
/// ```
/// use std::{io::Read, os::unix::fs::MetadataExt};
/// use wheelhouse::{Action, Conn, Handler};
/// # use wheelhouse::Message;
/// # struct SameUser;
/// # impl Handler for SameUser {
/// #     type Session = ();
/// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
///     let ours = std::fs::metadata("/proc/self").map(|process| process.uid()).ok();
///     let is_ours = ours.is_some() && conn.peer_credentials().map(|peer| peer.uid) == ours;
///     conn.send(if is_ours { "come in" } else { "who are you?" });
///     Action::Finish
/// }
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
///
/// # let engine = wheelhouse::Engine::builder().reactors(1).build(|_| SameUser)?;
/// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
/// # theirs.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
/// # let handle = engine.handle();
/// # handle.adopt(wheelhouse::On::Any, ours)?;
/// # let _running = engine.start()?;
/// let mut answer = String::new(); // of the engine, to `theirs`, the other end of a Unix socket
/// theirs.read_to_string(&mut answer)?;
/// assert_eq!(answer, "come in");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}
