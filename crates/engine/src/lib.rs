#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings), allow(unused_variables, dead_code))))]
#![cfg(target_os = "linux")]

mod accept;
mod action;
mod address;
mod adopt;
mod asleep;
mod audience;
mod balance;
mod builder;
mod choices;
mod clock;
mod close_reason;
mod closed;
mod conn;
mod connect;
mod connection;
mod connections;
mod date;
mod descriptors;
mod detached;
mod engine;
mod error;
mod fd_index;
mod handle;
mod handler;
mod id;
mod input;
mod io;
mod kind;
mod linear;
mod listener;
mod mailbox;
mod mailbox_full;
mod main_reactor;
mod memory;
mod message;
mod on;
mod options;
mod outbound;
mod panics;
mod parts;
mod payload;
mod per_address;
mod place;
mod poster;
mod profile;
mod protocol;
mod proxy_protocol;
mod queue;
mod reactor;
mod reply;
mod resolver;
mod roll;
mod rules;
mod running;
mod sent;
mod shared;
mod stats;
mod sub_reactor;
mod sync;
mod table;
pub mod testing;
mod transport;
mod url;
mod watched;

pub use bytes::Bytes;
pub use wheelhouse_websocket::{CloseCode, http::Request};

pub use self::{
    action::Action,
    address::Address,
    adopt::{Adopt, NotTaken},
    audience::Audience,
    balance::Balance,
    builder::Builder,
    choices::{CHOICES, ChoiceInfo},
    close_reason::CloseReason,
    closed::Closed,
    conn::{Conn, PeerCredentials},
    connect::Connect,
    detached::Detached,
    engine::{Engine, Spot},
    error::{Error, Result},
    handle::Handle,
    handler::Handler,
    id::{ConnId, ListenerId, ReactorId, Tag, TimerKind},
    input::Input,
    kind::Kind,
    listener::Listener,
    mailbox_full::MailboxFull,
    message::Message,
    on::On,
    options::{Activity, MemoryPolicy, OPTIONS, OptionInfo},
    payload::Payload,
    poster::Poster,
    protocol::{
        Control, Decoded, Deflate, Framing, LengthDelimited, Output, Protocol, ProtocolError, WebSocket,
    },
    reactor::Reactor,
    reply::Reply,
    rules::Policy,
    running::Running,
    sent::{Refusal, Sent},
    stats::{Counters, Stats},
    transport::{Tls, TlsBuilder, TlsClient, TlsClientBuilder, TlsError, TlsInfo, TlsVersion},
};

/// What the engine's own benchmarks measure; no part of its face.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        fd_index::FdIndex,
        transport::{Phase, Received, Session as TlsSession},
    };

    /// An id from its number.
    pub fn conn_id(number: u64) -> Option<crate::ConnId> {
        crate::ConnId::from_u64(number)
    }
}
