use std::{any::Any, os::fd::BorrowedFd, time::Instant};

use crate::{
    Action, Closed, Conn, Control, Input, Message, Reactor, ReactorId, Reply, Request, Tag, TimerKind,
};

/// What happens to a connection: the one thing an embedder writes.
///
/// The engine makes one value per sub-reactor, by the factory given to [`Builder::build`](crate::Builder::build) and on
/// the reactor's own thread, and calls it from that thread alone: `&mut self`, no locks, no `Sync`. What reactors share
/// goes into an `Arc`.
///
/// ```
/// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
///
/// /// Counts a connection's messages and answers with the count.
/// struct Counter;
///
/// impl Handler for Counter {
///     type Session = u64;
///
///     fn on_message(&mut self, conn: &mut Conn<'_>, count: &mut u64, _: Message<'_>) -> Action {
///         *count += 1;
///         conn.send(count.to_string());
///         Action::Continue
///     }
/// }
///
/// let mut bench = Bench::new(|_| Counter);
/// let (one, other) = (bench.open(Framing::lines(80)), bench.open(Framing::lines(80)));
/// bench.input(one, b"hello\nagain\n");
/// bench.input(other, b"hello\n");
/// assert_eq!((bench.output(one), bench.output(other)), (b"1\n2\n".to_vec(), b"1\n".to_vec()));
/// ```
///
/// # Order
///
/// On a connection: `on_open`, then data, messages, controls, timers and `on_writable` as they happen, `on_eof` after
/// the last data, then `on_close` exactly once, and nothing after it. A connection dialled in vain, or accepted from
/// a proxy whose header never came, has `on_close` alone, with [`Closed::opened`] false. One that is shed for a limit
/// has no callback, and one whose session's `Default` panics has `on_panic` alone. No callback runs inside another:
/// what one does to another connection is told to that connection later in the turn.
///
/// # Panics
///
/// A panic in a connection's callback closes that connection ([`CloseReason::Panic`](crate::CloseReason::Panic)) and
/// no other; in any other callback the reactor goes on. Either way [`on_panic`](Handler::on_panic) is told. With
/// `panic = "abort"` the process ends.
pub trait Handler: Sized + 'static {
    /// What is kept beside each connection: made by `Default` before its first callback, handed over in `on_close`.
    type Session: Default + 'static;

    /// The reactor is about to run; before any connection.
    ///
    /// ```
    /// use wheelhouse::{Connect, Handler, Reactor, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Proxy;
    /// # impl Handler for Proxy {
    /// #     type Session = ();
    /// fn on_start(&mut self, reactor: &mut Reactor<'_>) {
    ///     for (number, url) in ["tcp://192.0.2.1:80", "tcp://192.0.2.2:80"].into_iter().enumerate() {
    ///         let _ = reactor.connect(Connect::to(url).tag(Tag(number as u64)));
    ///     }
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Proxy);
    /// assert_eq!(bench.dialled().len(), 2);
    /// ```
    fn on_start(&mut self, reactor: &mut Reactor<'_>) {
        let _ = reactor;
    }

    /// An HTTP request came, on a listener whose framing is [`Framing::websocket`](crate::Framing::websocket): the
    /// first callback of its connection, before `on_open`. By default a WebSocket that is asked for is accepted, and
    /// anything else refused.
    ///
    /// Nothing can be sent yet: [`Conn::send`] refuses. A reply that is no acceptance ends the connection, and
    /// `on_close` comes with [`Closed::opened`] false. Bodies of requests are not read.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Engine, Handler, ListenerId, Message, Reply, Request, testing::Bench};
    ///
    /// struct Members;
    ///
    /// impl Handler for Members {
    ///     type Session = String;
    ///
    ///     fn on_request(&mut self, _: &mut Conn<'_>, name: &mut String, request: &Request<'_>) -> Reply {
    ///         let Some(who) = request.query("name") else { return Reply::status(400) };
    ///         *name = who.into_owned();
    ///         Reply::accept()
    ///     }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut String, _: Message<'_>) -> Action { Action::Continue }
    /// }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Members);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, b"GET /room HTTP/1.1\r\nHost: example.org\r\n\r\n");
    /// assert!(bench.output(client).starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    /// ```
    fn on_request(
        &mut self,
        conn: &mut Conn<'_>,
        session: &mut Self::Session,
        request: &Request<'_>,
    ) -> Reply {
        let _ = (conn, session, request);
        Reply::accept()
    }

    /// A connection is there: accepted, dialled and connected, or adopted. Before any of its data.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct Smtp;
    /// # impl Handler for Smtp {
    /// #     type Session = ();
    /// fn on_open(&mut self, conn: &mut Conn<'_>, _: &mut ()) -> Action {
    ///     conn.send("220 at your service"); // where the server speaks first
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Smtp);
    /// let client = bench.open(Framing::lines(512));
    /// assert_eq!(bench.output(client), b"220 at your service\n");
    /// ```
    fn on_open(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session) -> Action {
        let _ = (conn, session);
        Action::Continue
    }

    /// Bytes arrived on a connection without framing. What is not taken is kept and offered again with what comes
    /// next (at the end of input not once more), up to [`Builder::inbound_limit`](crate::Builder::inbound_limit).
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Input, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct Numbers;
    /// # impl Handler for Numbers {
    /// #     type Session = u32;
    /// fn on_data(&mut self, conn: &mut Conn<'_>, sum: &mut u32, input: &mut Input<'_>) -> Action {
    ///     while let Some(number) = input.peek().first_chunk().copied() {
    ///         *sum += u32::from_be_bytes(number);
    ///         input.skip(4);
    ///     }
    ///     Action::Continue // up to three bytes are left, and come again
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut u32, _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Numbers);
    /// let client = bench.open(Framing::raw());
    /// bench.input(client, b"\0\0\0\x05\0\0");
    /// bench.input(client, b"\0\x07");
    /// assert_eq!(bench.session(client), Some(&mut 12));
    /// ```
    ///
    /// By default all of it is one message. A read boundary is not a message boundary.
    fn on_data(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session, input: &mut Input<'_>) -> Action {
        let action = self.on_message(conn, session, Message::binary(input.peek()));
        if action != Action::Hold {
            input.take();
        }
        action
    }

    /// A message arrived: one that the framing has cut out, or, without framing, what was read at once
    /// ([`on_data`](Handler::on_data)). Its bytes are the read buffer's, for the time of this call:
    /// [`Message::to_payload`] copies what has to last.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Calculator;
    /// # impl Handler for Calculator {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     let numbers = message.text().unwrap_or_default().split('+').map(|n| n.trim().parse::<i64>());
    ///     match numbers.sum::<Result<i64, _>>() {
    ///         Ok(sum) => conn.send(sum.to_string()),
    ///         Err(error) => conn.send(error.to_string()),
    ///     };
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Calculator);
    /// let client = bench.open(Framing::lines(80));
    /// bench.input(client, b"1 + 2 + 3\n1 + one\n");
    /// assert_eq!(bench.output(client), b"6\ninvalid digit found in string\n");
    /// ```
    fn on_message(
        &mut self,
        conn: &mut Conn<'_>,
        session: &mut Self::Session,
        message: Message<'_>,
    ) -> Action;

    /// TLS that [`Conn::start_tls`] began is there: what is sent from now on is sealed. (Where TLS comes first,
    /// `on_open` comes after it.) See [`Conn::start_tls_client`].
    fn on_secured(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session) -> Action {
        let _ = (conn, session);
        Action::Continue
    }

    /// A ping or a pong arrived, of a framing that has them. A ping has been answered already.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Control, Engine, Handler, ListenerId, testing::Bench};
    /// # use wheelhouse::Message;
    /// # const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    /// # struct Pinged;
    /// # impl Handler for Pinged {
    /// #     type Session = u32;
    /// fn on_control(&mut self, _: &mut Conn<'_>, pings: &mut u32, control: Control<'_>) -> Action {
    ///     *pings += u32::from(control == Control::Ping(b"now"));
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut u32, _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().listen("ws://127.0.0.1:0"), |_| Pinged);
    /// let client = bench.open_on(ListenerId(0));
    /// bench.input(client, HELLO);
    /// bench.input(client, b"\x89\x83\0\0\0\0now"); // with a mask of zeroes
    /// assert_eq!(bench.session(client), Some(&mut 1));
    /// assert!(bench.output(client).ends_with(b"\x8a\x03now")); // the engine's answer
    /// ```
    fn on_control(
        &mut self,
        conn: &mut Conn<'_>,
        session: &mut Self::Session,
        control: Control<'_>,
    ) -> Action {
        let _ = (conn, session, control);
        Action::Continue
    }

    /// The peer will send no more (FIN); it may still be reading. Not told of WebSockets, which end as a whole. By
    /// default the connection is finished: what is queued goes out, then it closes. With [`Action::Continue`] it
    /// stays open for sending.
    ///
    /// ```
    /// # use wheelhouse::{Action, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Count;
    /// # impl Handler for Count {
    /// #     type Session = usize;
    /// fn on_message(&mut self, _: &mut Conn<'_>, bytes: &mut usize, message: Message<'_>) -> Action {
    ///     *bytes += message.bytes().len();
    ///     Action::Continue
    /// }
    ///
    /// fn on_eof(&mut self, conn: &mut Conn<'_>, bytes: &mut usize) -> Action {
    ///     conn.send(bytes.to_string()); // as `wc` answers at the end of its input
    ///     Action::Finish
    /// }
    /// # }
    ///
    /// # let mut bench = Bench::new(|_| Count);
    /// let client = bench.open(Framing::raw());
    /// bench.input(client, b"hello, ");
    /// bench.input(client, b"world");
    /// bench.eof(client);
    /// assert_eq!(bench.output(client), b"12");
    /// ```
    fn on_eof(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session) -> Action {
        let _ = (conn, session);
        Action::Finish
    }

    /// The outbound queue, once over its high-water mark ([`Sent::Full`](crate::Sent::Full)), is down to the low one.
    fn on_writable(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session) -> Action {
        let _ = (conn, session);
        Action::Continue
    }

    /// A timer set by [`Conn::set_timer`] is due; it does not repeat by itself.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wheelhouse::{Action, Conn, Framing, Handler, TimerKind, testing::Bench};
    /// # use wheelhouse::Message;
    /// # struct Ticker;
    /// # impl Handler for Ticker {
    /// #     type Session = ();
    /// #     fn on_open(&mut self, conn: &mut Conn<'_>, session: &mut ()) -> Action {
    /// #         self.on_timer(conn, session, TimerKind(1))
    /// #     }
    /// fn on_timer(&mut self, conn: &mut Conn<'_>, _: &mut (), timer: TimerKind) -> Action {
    ///     conn.send("tick");
    ///     conn.set_timer(timer, Duration::from_secs(1)); // and once more
    ///     Action::Continue
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Ticker); // begins when somebody comes
    /// let client = bench.open(Framing::lines(80));
    /// bench.turn(Duration::from_secs(2));
    /// assert_eq!(bench.output(client), b"tick\n".repeat(3));
    /// ```
    fn on_timer(&mut self, conn: &mut Conn<'_>, session: &mut Self::Session, timer: TimerKind) -> Action {
        let _ = (conn, session, timer);
        Action::Continue
    }

    /// The connection is gone; the last callback. Its file descriptor is closed when this and the turn's other
    /// `on_close` have returned, and not before (when it was [detached](crate::CloseReason::Detached), not at all).
    ///
    /// ```
    /// # use std::collections::HashMap;
    /// # use wheelhouse::{Action, Closed, Conn, Framing, Handler, Message, testing::Bench};
    /// # struct Names(HashMap<String, wheelhouse::ConnId>);
    /// # impl Handler for Names {
    /// #     type Session = String;
    /// fn on_message(&mut self, conn: &mut Conn<'_>, name: &mut String, message: Message<'_>) -> Action {
    ///     *name = message.text().unwrap_or_default().to_owned();
    ///     self.0.insert(name.clone(), conn.id());
    ///     Action::Continue
    /// }
    ///
    /// fn on_close(&mut self, _: &mut Closed<'_>, name: String) {
    ///     self.0.remove(&name);
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Names(HashMap::new()));
    /// # let client = bench.open(Framing::lines(80));
    /// bench.message(client, "Ann");
    /// assert_eq!(bench.handler().0.get("Ann"), Some(&client));
    /// bench.reset(client);
    /// assert!(bench.handler().0.is_empty());
    /// ```
    ///
    /// Who dials again from here does well to wait with a timer: a dial that fails at once is told in the next turn,
    /// and dialling anew each time keeps the reactor busy.
    fn on_close(&mut self, closed: &mut Closed<'_>, session: Self::Session) {
        let _ = (closed, session);
    }

    /// A callback panicked. The handler may have been left half-way through something.
    ///
    /// ```
    /// use std::any::Any;
    /// use wheelhouse::{Action, CloseReason, Conn, Framing, Handler, Message, Reactor, testing::Bench};
    /// # struct Fragile(u32);
    /// # impl Handler for Fragile {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    /// #         std::panic::resume_unwind(Box::new(message.bytes().len())) // a panic that prints nothing
    /// #     }
    /// fn on_panic(&mut self, _: &mut Reactor<'_>, panic: &(dyn Any + Send)) {
    ///     self.0 += 1; // `panic` is what it was called with, a `&str` or `String` as a rule
    /// }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Fragile(0)); // panics at every message
    /// bench.bear_panics();
    /// let (unlucky, other) = (bench.open(Framing::raw()), bench.open(Framing::raw()));
    /// bench.input(unlucky, b"boom");
    /// assert_eq!(bench.closed(unlucky), Some(&CloseReason::Panic));
    /// assert_eq!(bench.closed(other), None);
    /// assert_eq!(bench.handler().0, 1);
    /// ```
    fn on_panic(&mut self, reactor: &mut Reactor<'_>, panic: &(dyn Any + Send)) {
        let _ = (reactor, panic);
    }

    /// A timer set by [`Reactor::set_timer`] is due; it does not repeat by itself.
    fn on_reactor_timer(&mut self, reactor: &mut Reactor<'_>, timer: TimerKind) {
        let _ = (reactor, timer);
    }

    /// A descriptor given to [`Reactor::watch`] or [`Handle::watch`](crate::Handle::watch) has become readable. Told
    /// once for what is there: read until `WouldBlock`, or nothing more is told of it.
    ///
    /// ```
    /// use std::{fs::File, io::{Read, Write}};
    /// use std::os::{fd::BorrowedFd, unix::net::UnixStream};
    /// use wheelhouse::{Handler, On, Reactor, Tag, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Orders(String);
    /// # impl Handler for Orders {
    /// #     type Session = ();
    /// fn on_ready(&mut self, _: &mut Reactor<'_>, _: Tag, fd: BorrowedFd<'_>) {
    ///     let Ok(fd) = fd.try_clone_to_owned() else { return };
    ///     let _ = File::from(fd).read_to_string(&mut self.0); // everything, up to `WouldBlock`
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// ours.set_nonblocking(true)?;
    /// let mut bench = Bench::new(|_| Orders(String::new()));
    /// bench.handle().watch(On::Any, ours, Tag(1))?;
    /// theirs.write_all(b"full speed")?;
    /// assert_eq!(bench.handler().0, "full speed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn on_ready(&mut self, reactor: &mut Reactor<'_>, watched: Tag, fd: BorrowedFd<'_>) {
        let _ = (reactor, watched, fd);
    }

    /// The mailbox of reactor `of`, which refused something this reactor wanted to put in, has room again.
    ///
    /// ```
    /// # use wheelhouse::{Action, Audience, Conn, ConnId, Engine, Framing, Handle, Handler, Message, Reactor,
    /// ReactorId};
    /// # use wheelhouse::testing::Bench;
    /// # struct Room { everyone: Handle, held: Vec<ConnId> }
    /// # impl Handler for Room {
    /// #     type Session = ();
    /// fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     match self.everyone.broadcast(Audience::Open, message.to_payload()) {
    ///         Ok(()) => return Action::Continue,
    ///         Err(_) => self.held.push(conn.id()),
    ///     }
    ///     Action::Hold
    /// }
    ///
    /// fn on_room(&mut self, _: &mut Reactor<'_>, _: ReactorId) {
    ///     self.held.drain(..).for_each(|id| self.everyone.resume(id));
    /// }
    /// # }
    ///
    /// let room = |spot: &wheelhouse::Spot<Room>| Room { everyone: spot.handle(), held: Vec::new() };
    /// let mut bench = Bench::with_options(Engine::builder().mailbox(16), room);
    /// # let client = bench.open(Framing::lines(80));
    /// bench.input(client, &b"hello\n".repeat(100)); // more than a mailbox takes
    /// assert_eq!(bench.output(client), b"hello\n".repeat(100));
    /// ```
    fn on_room(&mut self, reactor: &mut Reactor<'_>, of: ReactorId) {
        let _ = (reactor, of);
    }

    /// [`Handle::drain`](crate::Handle::drain) was called: no new connections come, and those there are have until
    /// then to end of themselves; what is left is closed. By default nothing: who waits for requests to finish lets
    /// them; who serves connections that would stay for ever tells them, or finishes them ([`Reactor::finish_all`]).
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// use wheelhouse::{Framing, Handler, Reactor, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Warns;
    /// # impl Handler for Warns {
    /// #     type Session = ();
    /// fn on_stopping(&mut self, reactor: &mut Reactor<'_>, until: Instant) {
    ///     let left = until - reactor.now();
    ///     for id in reactor.connections() {
    ///         if let Some(mut conn) = reactor.conn(id) {
    ///             conn.send(format!("closing in {} s", left.as_secs()));
    ///         }
    ///     }
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Warns);
    /// let client = bench.open(Framing::lines(80));
    /// bench.handle().drain(Duration::from_secs(60));
    /// assert_eq!(bench.output(client), b"closing in 60 s\n");
    /// ```
    fn on_stopping(&mut self, reactor: &mut Reactor<'_>, until: Instant) {
        let _ = (reactor, until);
    }

    /// The reactor stops; after the last `on_close`.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use wheelhouse::{Handler, Reactor, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Message};
    /// # struct Log(Rc<Cell<bool>>);
    /// # impl Handler for Log {
    /// #     type Session = ();
    /// fn on_stop(&mut self, reactor: &mut Reactor<'_>) {
    ///     self.0.set(reactor.is_empty()); // nobody is left to write for
    /// }
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let is_written = Rc::new(Cell::new(false));
    /// let mut bench = Bench::new(|_| Log(Rc::clone(&is_written)));
    /// bench.open(wheelhouse::Framing::raw());
    /// bench.handle().shutdown();
    /// bench.run();
    /// assert!(is_written.get());
    /// ```
    fn on_stop(&mut self, reactor: &mut Reactor<'_>) {
        let _ = reactor;
    }
}
