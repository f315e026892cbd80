//! How much is read at once, and kept.

use super::Builder;
use crate::MemoryPolicy;

/// # Memory and fairness
impl Builder {
    /// The buffer that all connections of a reactor read into, in bytes. 64 KiB by default, 1 KiB to 16 MiB. A WebSocket's
    /// [`max_head`](crate::WebSocket::max_head), 16 KiB by default, may not be more.
    ///
    /// ```
    /// use wheelhouse::{Action, Conn, Engine, Handler, ListenerId, Message, testing::Bench};
    /// # struct Sizes(Vec<usize>);
    /// # impl Handler for Sizes {
    /// #     type Session = ();
    /// fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
    ///     self.0.push(message.bytes().len());
    ///     Action::Continue
    /// }
    /// # }
    ///
    /// let builder = Engine::builder().listen("tcp://127.0.0.1:0").read_buffer(1024);
    /// let mut bench = Bench::with_options(builder, |_| Sizes(Vec::new()));
    /// let client = bench.open_on(ListenerId(0)); // raw: what was read at once is a message
    /// bench.input(client, &[0; 3000]);
    /// assert_eq!(bench.handler().0, [1024, 1024, 952]);
    /// ```
    pub fn read_buffer(mut self, bytes: usize) -> Self {
        self.options.read_buffer = bytes;
        self
    }

    /// Bytes read from one connection before the others have their turn; the last 256 KiB of a large message may come beyond
    /// it. The same number bounds what compressed messages come to, but for the last one: what is left of them waits for its
    /// turn. 64 KiB by default, 1 KiB to 1 GiB.
    ///
    /// Who had 32 KiB or more read at once is next read after all who have less, so that many who send much do not keep the
    /// others waiting. When a turn has lasted a millisecond, no more than 24 KiB are read of one at once.
    pub fn read_budget(mut self, bytes: usize) -> Self {
        self.options.read_budget = bytes;
        self
    }

    /// Bytes of input that may wait for the rest of their message, per connection: beyond them
    /// [`CloseReason::InboundOverflow`](crate::CloseReason::InboundOverflow). 1 MiB by default, 64 B to 64 MiB. Of a WebSocket a
    /// whole [`max_message`](crate::WebSocket::max_message) may wait, with what compression may add, where that is more.
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::with_options(Engine::builder().inbound_limit(64), |_| Silent);
    /// let client = bench.open(Framing::lines(1000));
    /// bench.input(client, &[b'x'; 64]);
    /// assert_eq!(bench.closed(client), None);
    /// bench.input(client, b"x");
    /// assert_eq!(bench.closed(client), Some(&CloseReason::InboundOverflow));
    /// ```
    pub fn inbound_limit(mut self, bytes: usize) -> Self {
        self.options.inbound_limit = bytes;
        self
    }

    /// Bytes of buffers in the whole engine: input that is kept, output that waits, payloads handed over. A broadcast is counted
    /// once on each reactor, whatever the number of queues that share it; a connection's buffer counts with its whole
    /// size, a power of two from 256 B on. Each reactor has an even share of the memory; when that is used up a connection
    /// closes, which one is the [`memory_policy`](Builder::memory_policy). 256 MiB by default, 64 KiB for each reactor to
    /// 1 TiB.
    ///
    /// ```
    /// use wheelhouse::{CloseReason, Engine, Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let builder = Engine::builder().buffer_memory(64 << 10);
    /// let mut bench = Bench::with_options(builder, |_| Silent);
    /// let clients = [1_000, 20_000, 20_000].map(|bytes| {
    ///     let client = bench.open(Framing::lines(100_000));
    ///     bench.input(client, &vec![b'x'; bytes]); // a line without its end is kept
    ///     client
    /// });
    /// assert_eq!(bench.closed(clients[0]), None); // it holds little
    /// let closed = clients.iter().filter_map(|id| bench.closed(*id));
    /// assert_eq!(closed.collect::<Vec<_>>(), [&CloseReason::MemoryPressure]);
    /// ```
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.options.buffer_memory = bytes;
        self
    }

    /// Who gives way when buffer memory is used up; the connection that holds most by default.
    pub fn memory_policy(mut self, policy: MemoryPolicy) -> Self {
        self.options.memory_policy = policy;
        self
    }
}
