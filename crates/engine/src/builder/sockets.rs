//! Options of the kernel's.

use std::time::Duration;

use super::Builder;
use crate::options::KeepAlive;

/// # Sockets
impl Builder {
    /// Whether small segments leave at once (`TCP_NODELAY`); on by default.
    pub fn nodelay(mut self, on: bool) -> Self {
        self.options.nodelay = on;
        self
    }

    /// TCP keep-alive: the first probe after `idle`, the next ones `interval` apart, `count` unanswered ones break the
    /// connection. 1 to 32,767 s, of which fractions are dropped; 1 to 127 probes. Off by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Engine, Error};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// // A peer that is gone is noticed after 60 s + 5 * 10 s.
    /// let (idle, interval) = (Duration::from_secs(60), Duration::from_secs(10));
    /// assert!(Engine::builder().keep_alive(idle, interval, 5).build(|_| Silent).is_ok());
    /// let error = Engine::builder().keep_alive(idle, interval, 0).build(|_| Silent).err();
    /// assert!(matches!(error, Some(Error::BadOption { option: "keep_alive count", .. })));
    /// ```
    pub fn keep_alive(mut self, idle: Duration, interval: Duration, count: u32) -> Self {
        self.options.keep_alive = Some(KeepAlive { idle, interval, count });
        self
    }

    /// How long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`); off by default. 1 ms to 24 days.
    pub fn tcp_user_timeout(mut self, timeout: Duration) -> Self {
        self.options.tcp_user_timeout = Some(timeout);
        self
    }

    /// The kernel's receive buffer (`SO_RCVBUF`), in bytes; the kernel doubles it, and no longer tunes it by itself. By
    /// default the kernel's own choice; 256 B to 1 GiB.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.options.receive_buffer = Some(bytes);
        self
    }

    /// The kernel's send buffer (`SO_SNDBUF`), in bytes; as [`receive_buffer`](Builder::receive_buffer).
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.options.send_buffer = Some(bytes);
        self
    }
}
