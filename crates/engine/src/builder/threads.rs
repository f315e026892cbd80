//! How many threads, and what each takes on.

use std::time::Duration;

use super::Builder;
use crate::Balance;

/// # Threads
impl Builder {
    /// Sub-reactors, each a thread with its own connections. By default as many as there are cores; 1 to 256.
    ///
    /// ```
    /// use wheelhouse::{Engine, Error};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let engine = Engine::builder().reactors(3).build(|_| Silent)?;
    /// assert_eq!(engine.handle().reactors(), 3);
    /// let none = Engine::builder().reactors(0).build(|_| Silent).err();
    /// assert!(matches!(none, Some(Error::BadOption { option: "reactors", .. })));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub fn reactors(mut self, threads: usize) -> Self {
        self.options.reactors = threads;
        self
    }

    /// Whether each sub-reactor stays on one of the cores that the process may use; off by default.
    pub fn pin(mut self, pin: bool) -> Self {
        self.options.pin = pin;
        self
    }

    /// How accepted connections are spread: round robin by default.
    pub fn balance(mut self, balance: Balance) -> Self {
        self.options.balance = Some(balance);
        self
    }

    /// Whether each sub-reactor listens for itself (`SO_REUSEPORT`), without a main reactor to hand over: the kernel
    /// spreads connections. TCP only, and not together with [`balance`](Builder::balance). Another process of the same user
    /// may share the port, so it does not count as taken then. Off by default.
    ///
    /// ```
    /// use wheelhouse::{Balance, Engine};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().listen("tcp://127.0.0.1:0").reactors(2).reuse_port(true);
    /// assert!(builder.clone().build(|_| Silent).is_ok());
    /// assert!(builder.clone().balance(Balance::RoundRobin).build(|_| Silent).is_err()); // the kernel's to choose
    /// assert!(builder.listen("unix:@app").build(|_| Silent).is_err()); // cannot be shared
    /// ```
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.options.reuse_port = reuse;
        self
    }

    /// Commands that may wait for one reactor, from all threads. 16,384 by default, 16 to 1,048,576.
    ///
    /// ```
    /// use wheelhouse::{Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().mailbox(16), |_| Silent);
    /// let client = bench.open(Framing::lines(80));
    /// let handle = bench.handle();
    /// assert_eq!((0..20).filter(|_| handle.send(client, "tick").is_ok()).count(), 16);
    /// handle.close(client); // is never refused
    /// bench.run();
    /// assert!(bench.closed(client).is_some());
    /// ```
    pub fn mailbox(mut self, commands: usize) -> Self {
        self.options.mailbox = commands;
        self
    }

    /// Events taken from the kernel at once; doubled, up to 65,536, whenever they come back full. 1,024 by default.
    pub fn event_batch(mut self, events: usize) -> Self {
        self.options.event_batch = events;
        self
    }

    /// How long a reactor that has just been busy polls without sleeping: less latency for a core's time. Off by default;
    /// 1 us to 1 s.
    pub fn busy_poll(mut self, after: Duration) -> Self {
        self.options.busy_poll = Some(after);
        self
    }
}
