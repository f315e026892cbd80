//! What the conductor and a client say to each other: a line for each order, a line of JSON for each answer.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};
use wheelhouse_examples::AnyError;

/// What a client is to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    /// Tell how it is.
    Status,
    /// Have so many connections.
    Open(u64),
    /// Open no more.
    Stop,
    /// Count the announcements that come.
    Expect,
    /// Have a share of the connections talk, each once in `every`.
    Talk { every: Duration, seconds: Duration, share: f64 },
    /// Close all but so many.
    Close(u64),
}

impl Order {
    /// The number of the order, and the order.
    pub(crate) fn parse(line: &str) -> Result<(u64, Order), AnyError> {
        let bad = || format!("`{line}` is no order for a client");
        let mut words = line.split_whitespace();
        let seen = words.next().and_then(|word| word.parse().ok()).ok_or_else(bad)?;
        let name = words.next().ok_or_else(bad)?;
        let numbers: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).map_err(|_| bad());
        let order = match (name, &numbers[..]) {
            ("status", []) => Order::Status,
            ("open", [n]) => Order::Open(*n as u64),
            ("stop", []) => Order::Stop,
            ("expect", []) => Order::Expect,
            ("talk", [every, seconds, share]) => {
                Order::Talk { every: time(*every)?, seconds: time(*seconds)?, share: *share }
            }
            ("close", [n]) => Order::Close(*n as u64),
            _ => return Err(bad().into()),
        };
        Ok((seen, order))
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Status => write!(f, "status"),
            Order::Open(n) => write!(f, "open {n}"),
            Order::Stop => write!(f, "stop"),
            Order::Expect => write!(f, "expect"),
            Order::Talk { every, seconds, share } => {
                write!(f, "talk {} {} {share}", every.as_secs_f64(), seconds.as_secs_f64())
            }
            Order::Close(keep) => write!(f, "close {keep}"),
        }
    }
}

/// How a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The number of the last order.
    pub(crate) seen: u64,
    pub(crate) open: u64,
    /// Attempts that came to nothing, by reason; others followed.
    pub(crate) retries: BTreeMap<String, u64>,
    /// Open connections that ended against its will, by reason.
    pub(crate) lost: BTreeMap<String, u64>,
    /// Connections on which something else came than what was to come.
    pub(crate) wrong: u64,
    pub(crate) first_wrong: Option<String>,
    /// Why it opens no more.
    pub(crate) stuck: Option<String>,
    /// Pings that it answered.
    pub(crate) pings: u64,
    /// Announcements that came since it expects them, and when the last one did.
    pub(crate) delivered: u64,
    pub(crate) last_delivery_ns: u64,
}

impl Status {
    pub(crate) fn json(&self) -> Value {
        json!({
            "seen": self.seen,
            "open": self.open,
            "retries": self.retries,
            "lost": self.lost,
            "wrong": self.wrong,
            "first_wrong": self.first_wrong,
            "stuck": self.stuck,
            "pings": self.pings,
            "delivered": self.delivered,
            "last_delivery_ns": self.last_delivery_ns,
        })
    }

    pub(crate) fn read(told: &Value) -> Status {
        let number = |name: &str| told[name].as_u64().unwrap_or(0);
        let text = |name: &str| told[name].as_str().map(str::to_owned);
        let counts = |name: &str| -> BTreeMap<String, u64> {
            let each = told[name].as_object().into_iter().flatten();
            each.map(|(why, times)| (why.clone(), times.as_u64().unwrap_or(0))).collect()
        };
        Status {
            seen: number("seen"),
            open: number("open"),
            retries: counts("retries"),
            lost: counts("lost"),
            wrong: number("wrong"),
            first_wrong: text("first_wrong"),
            stuck: text("stuck"),
            pings: number("pings"),
            delivered: number("delivered"),
            last_delivery_ns: number("last_delivery_ns"),
        }
    }
}
