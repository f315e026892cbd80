#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings), allow(unused_variables, dead_code))))]
#![cfg(target_os = "linux")]

mod accept;
mod address;
mod balance;
mod builder;
mod clock;
mod conn;
mod connect;
mod connection;
mod connections;
mod engine;
mod error;
mod fd_index;
mod handle;
mod handler;
mod id;
mod io;
mod listener;
mod mailbox;
mod main_reactor;
mod memory;
mod message;
mod options;
mod outbound;
mod profile;
mod protocol;
mod reactor;
mod resolver;
mod shared;
mod stats;
mod sub_reactor;

pub use bytes::Bytes;

pub use self::{
    address::Address,
    balance::Balance,
    builder::Builder,
    conn::{Closed, Conn, PeerCredentials},
    connect::Connect,
    engine::{Engine, Running, Spot},
    error::{Error, Result},
    handle::{Audience, Handle, MailboxFull, On, Poster},
    handler::{Action, CloseReason, Handler},
    id::{ConnId, ListenerId, ReactorId, Tag, TimerKind},
    listener::{Listener, Policy},
    message::{Input, Kind, Message, Payload, Refusal, Sent},
    options::{OPTIONS, OptionInfo},
    protocol::{Decoded, Framing, LengthDelimited, Output, Protocol, ProtocolError},
    reactor::Reactor,
    stats::{Counters, Stats},
};

/// What the engine's own benchmarks measure; no part of its face.
#[doc(hidden)]
pub mod internals {
    pub use crate::fd_index::FdIndex;

    /// An id from its number.
    pub fn conn_id(number: u64) -> Option<crate::ConnId> {
        crate::ConnId::from_u64(number)
    }
}
