use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a reactor has counted since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same where other threads can read it: written by the reactor alone, once a turn.
        #[derive(Debug, Default)]
        pub(crate) struct Published {
            $($name: AtomicU64,)*
        }

        impl Published {
            pub(crate) fn store(&self, counters: &Counters) {
                $(self.$name.store(counters.$name, Ordering::Relaxed);)*
            }

            pub(crate) fn load(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl std::ops::Add for Counters {
            type Output = Counters;

            fn add(self, other: Counters) -> Counters {
                Counters { $($name: self.$name + other.$name,)* }
            }
        }
    };
}

counters! {
    /// Connections accepted and taken in: `accepted + dialled + adopted` are `closed + connections`.
    accepted,
    /// Connections dropped before they were open: descriptors had run out, or a limit was met. One from a proxy, whose client
    /// is known only when it was taken in, is among those accepted and those closed too.
    shed,
    /// Times that accepting failed and was put off.
    accept_errors,
    /// Connections dialled.
    dialled,
    /// Sockets adopted.
    adopted,
    /// Connections that reached `on_open`.
    opened,
    /// Connections closed, of those accepted, dialled or adopted; those taken out among them.
    closed,
    /// Connections there are: a gauge.
    connections,
    /// Messages (of raw connections: reads) given to the handler.
    messages_in,
    /// Bytes read.
    bytes_in,
    /// Payloads accepted by `send`.
    messages_out,
    /// Bytes the kernel took.
    bytes_out,
    /// Bytes that were accepted and never sent.
    bytes_unsent,
    /// Sends refused because the queue was at its limit.
    sends_refused,
    /// Messages dropped by [`Policy::DropMessage`](crate::Policy::DropMessage).
    messages_dropped,
    /// Events that met a connection other than the one they were meant for, and were dropped.
    stale_events,
    /// Commands for connections that were gone, dropped.
    late_commands,
    /// Commands taken from the mailbox.
    commands,
    /// Panics in callbacks.
    panics,
    /// Times the loop went round.
    turns,
    /// Times the event batch came back full, and was grown.
    full_batches,
    /// Bytes of buffers lent to connections: a gauge.
    buffered,
    /// Timers pending: a gauge.
    timers,
}

/// A snapshot of what the engine has counted.
///
/// Each reactor's counters are from the end of one of its turns; together they are not of one instant.
///
/// ```
/// use wheelhouse::{Framing, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Session = ();
/// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
/// #         conn.send(message);
/// #         Action::Continue
/// #     }
/// # }
///
/// let mut bench = Bench::new(|_| Echo);
/// let (stays, goes) = (bench.open(Framing::raw()), bench.open(Framing::raw()));
/// bench.input(stays, b"hello");
/// bench.eof(goes);
/// let total = bench.handle().stats().total();
/// assert_eq!((total.opened, total.closed, total.connections), (2, 1, 1));
/// assert_eq!((total.messages_in, total.bytes_in, total.bytes_out), (1, 5, 5));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The main reactor: what it shed, and how often it could not accept; who is given a connection counts it as accepted.
    /// All zero with `reuse_port`.
    pub main: Counters,
    /// The sub-reactors, in the order of their ids.
    pub reactors: Vec<Counters>,
}

impl Stats {
    /// All of them added up.
    ///
    /// ```
    /// use wheelhouse::{Framing, testing::Bench};
    /// # use wheelhouse::{Action, Conn, Handler, Message};
    /// # struct Silent;
    /// # impl Handler for Silent {
    /// #     type Session = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
    /// # }
    ///
    /// let mut bench = Bench::new(|_| Silent);
    /// bench.open(Framing::raw());
    /// let stats = bench.handle().stats();
    /// assert_eq!(stats.total().accepted, stats.main.accepted + stats.reactors[0].accepted);
    /// assert_eq!(stats.total().accepted, 1);
    /// ```
    pub fn total(&self) -> Counters {
        self.reactors.iter().fold(self.main, |sum, reactor| sum + *reactor)
    }
}
