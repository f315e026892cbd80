//! What is never refused.

use std::time::Duration;

use super::Handle;
use crate::{CloseCode, ConnId, Error, ListenerId, Reply, Result, Tls, mailbox::Command};

/// # What is never refused
impl Handle {
    /// As [`Conn::close`](crate::Conn::close).
    pub fn close(&self, id: ConnId) {
        self.put(id, Command::Close(id));
    }

    /// As [`Conn::reset`](crate::Conn::reset).
    pub fn reset(&self, id: ConnId) {
        self.put(id, Command::Reset(id));
    }

    /// As [`Conn::finish`](crate::Conn::finish).
    pub fn finish(&self, id: ConnId) {
        self.put(id, Command::Finish(id));
    }

    /// As [`Conn::finish_with`](crate::Conn::finish_with).
    ///
    /// ```
    /// use wheelhouse::{CloseCode, Engine, ListenerId, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Silent);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// bench.handle().finish_with(client, CloseCode::GOING_AWAY, "tomorrow");
    /// assert!(bench.output(client).ends_with(b"\x88\x0a\x03\xe9tomorrow"));
    /// ```
    pub fn finish_with(&self, id: ConnId, code: CloseCode, reason: &str) {
        self.put(id, Command::FinishWith(id, code, reason.into()));
    }

    /// Answers a request whose answer was put off by [`Reply::later`]; one that has been answered, or is gone, is counted among
    /// the [`late_commands`](crate::Counters::late_commands).
    ///
    /// ```
    /// use wheelhouse::{Conn, Engine, Handler, ListenerId, Reply, Request, testing::Bench};
    /// # use wheelhouse::{Action, Message};
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// # struct Asks;
    /// # impl Handler for Asks {
    /// #     type Session = ();
    /// fn on_request(&mut self, _: &mut Conn<'_>, _: &mut (), _: &Request<'_>) -> Reply {
    ///     Reply::later()
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Asks);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// assert_eq!(bench.output(client), b"");
    /// bench.handle().answer(client, Reply::status(403)); // from any thread
    /// bench.handle().answer(client, Reply::accept()); // too late
    /// assert!(bench.output(client).starts_with(b"HTTP/1.1 403 Forbidden\r\n"));
    /// assert_eq!(bench.handle().stats().total().late_commands, 1);
    /// ```
    pub fn answer(&self, id: ConnId, reply: Reply) {
        self.put(id, Command::Answer(id, Box::new(reply)));
    }

    /// As [`Conn::resume`](crate::Conn::resume): ends a pause or a hold.
    pub fn resume(&self, id: ConnId) {
        self.put(id, Command::Resume(id));
    }

    /// Stops the engine when its work is done. The connections that wait to be accepted are, and the listeners are closed;
    /// then every handler is told ([`Handler::on_stopping`](crate::Handler::on_stopping)), and the engine goes on until the last connection is gone, at
    /// most for `within` (24 days count as the longest): what is left then is closed as by [`shutdown`](Handle::shutdown). The first call counts; a shutdown
    /// may follow it. It does not wait: [`Running::join`](crate::Running::join) does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{CloseReason, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let (done, stays) = (bench.open(Framing::raw()), bench.open(Framing::raw()));
    /// bench.handle().drain(Duration::from_secs(60));
    /// bench.eof(done);
    /// assert_eq!(bench.closed(done), Some(&CloseReason::Peer { code: None }));
    /// assert_eq!(bench.closed(stays), None);
    /// bench.turn(Duration::from_secs(60));
    /// assert_eq!(bench.closed(stays), Some(&CloseReason::Shutdown));
    /// ```
    pub fn drain(&self, within: Duration) {
        self.shared.drain(within);
    }

    /// Stops the engine now: every connection is closed with [`CloseReason::Shutdown`](crate::CloseReason::Shutdown), in
    /// slices; the threads end when the last one is gone. It does not wait: [`Running::join`](crate::Running::join) does.
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// let client = bench.open(Framing::raw());
    /// bench.handle().shutdown();
    /// bench.run();
    /// assert_eq!(bench.closed(client), Some(&CloseReason::Shutdown));
    /// ```
    pub fn shutdown(&self) {
        self.shared.stop();
    }

    /// Has the TLS handshakes of a listener go on with other certificates; connections go on as they are. As
    /// [`Tls::reload`](crate::Tls::reload).
    ///
    /// ```
    /// use wheelhouse::{Engine, Listener, ListenerId, Tls, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    /// # fn certificate() -> wheelhouse::Result<Tls> {
    /// #     let made = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate");
    /// #     Tls::new(made.cert.pem(), made.signing_key.serialize_pem())
    /// # }
    ///
    /// let secure = Listener::new("tls://*:9443").tls(certificate()?);
    /// let builder = Engine::builder().listen(secure).listen("tcp://*:9000");
    /// let bench = Bench::with_options(builder, |_| Silent);
    /// let renewed = certificate()?;
    /// assert!(bench.handle().reload_tls(ListenerId(0), &renewed).is_ok());
    /// assert!(bench.handle().reload_tls(ListenerId(1), &renewed).is_err()); // it has no TLS
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such listener, or it has no TLS.
    pub fn reload_tls(&self, listener: ListenerId, tls: &Tls) -> Result<()> {
        let found = self.shared.listeners.get(usize::from(listener.0)).and_then(|l| l.tls.as_ref());
        let Some(current) = found else {
            return Err(Error::BadOption {
                option: "listener",
                value: format!("{listener:?}"),
                allowed: "a listener with TLS".into(),
            });
        };
        current.reload(tls);
        Ok(())
    }
}
