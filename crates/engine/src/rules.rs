//! What holds for the connections of one listener, or for those that were dialled or adopted alike.

use std::time::Duration;

use crate::{Error, Framing, Result, options};

/// What happens to a send that would take the outbound queue beyond its limit.
///
/// ```
/// use wheelhouse::{CloseReason, Engine, Framing, Listener, ListenerId, Policy, testing::Bench};
/// # use wheelhouse::{Action, Conn, Handler, Message};
/// # struct Feed;
/// # impl Handler for Feed {
/// #     type Session = ();
/// #     fn on_message(&mut self, conn: &mut Conn<'_>, _: &mut (), message: Message<'_>) -> Action {
/// #         while !conn.send(message).is_refused() {}
/// #         Action::Continue
/// #     }
/// # }
///
/// // Repeats what it is told until a send is refused.
/// let feed = Listener::new("tcp://127.0.0.1:0")
///     .framing(Framing::lines(80))
///     .water_marks(16 << 10, 64 << 10, 1 << 20)
///     .policy(Policy::Close);
/// let mut bench = Bench::with_options(Engine::builder().listen(feed), |_| Feed);
/// let slow = bench.open_on(ListenerId(0));
/// bench.take_window(slow, 1_000);
/// bench.message(slow, "news");
/// assert_eq!(bench.closed(slow), Some(&CloseReason::BackPressure));
/// assert!(bench.output_reset(slow));
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

/// When to ask a silent peer whether it is there, and when to take it for gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) every: Duration,
    pub(crate) timeout: Duration,
}

/// All of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) marks: WaterMarks,
    pub(crate) policy: Policy,
    pub(crate) authentication: Option<Duration>,
    pub(crate) heartbeat: Option<Heartbeat>,
}

impl Rules {
    /// Looks at them and at the framing they go with; `url` says whose they are.
    pub(crate) fn validate(&self, framing: &Framing, whose: &str) -> Result<()> {
        framing.validate()?;
        self.marks.validate()?;
        if let Some(within) = self.authentication {
            options::check_time(&options::AUTHENTICATION, within)?;
        }
        if let Some(heartbeat) = self.heartbeat {
            heartbeat.validate()?;
        }
        self.go_with(framing, whose)
    }

    /// Whether connections that follow them may have that framing.
    pub(crate) fn go_with(&self, framing: &Framing, whose: &str) -> Result<()> {
        if self.policy == Policy::DropMessage && framing.is_raw() {
            return Err(Error::BadOption {
                option: "policy",
                value: format!("DropMessage on raw `{whose}`"),
                allowed: "DropMessage only with a framing: raw bytes have no messages".into(),
            });
        }
        if self.heartbeat.is_some() && !framing.has_pings() {
            return Err(Error::BadOption {
                option: "heartbeat",
                value: format!("a heartbeat on `{whose}`, whose framing has no pings"),
                allowed: "a framing that has them: Framing::with_heartbeat, or a protocol that encodes them"
                    .into(),
            });
        }
        Ok(())
    }
}

impl Heartbeat {
    /// A little below the minute after which proxies cut what is silent.
    pub(crate) const OF_WEBSOCKETS: Heartbeat =
        Heartbeat { every: Duration::from_secs(25), timeout: Duration::from_secs(45) };

    fn validate(&self) -> Result<()> {
        options::check_time(&options::HEARTBEAT_EVERY, self.every)?;
        options::check_time(&options::HEARTBEAT_TIMEOUT, self.timeout)?;
        if self.every < self.timeout {
            return Ok(());
        }
        Err(Error::BadOption {
            option: "heartbeat",
            value: format!("every {:?}, timeout {:?}", self.every, self.timeout),
            allowed: "a timeout longer than the interval".into(),
        })
    }
}

impl WaterMarks {
    fn validate(&self) -> Result<()> {
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
