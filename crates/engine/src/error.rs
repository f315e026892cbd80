use std::io;

use crate::ReactorId;

/// What can go wrong outside a connection's life: a caller's mistake, or the system's refusal.
///
/// What a peer does wrong ends its connection with a [`CloseReason`](crate::CloseReason) instead.
///
/// ```
/// use wheelhouse::{Action, Conn, Engine, Error, Handler, Message};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Session = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_>, _: &mut (), _: Message<'_>) -> Action { Action::Continue }
/// # }
/// let error = Engine::builder().listen("gopher://127.0.0.1:70").build(|_| Echo).err();
/// assert!(matches!(error, Some(Error::BadAddress { address, .. }) if address == "gopher://127.0.0.1:70"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option's value is out of its bounds; nothing was opened.
    #[error("option `{option}`: {value} is not allowed; allowed: {allowed}")]
    BadOption {
        /// The option, as its builder method is called.
        option: &'static str,
        /// The value seen.
        value: String,
        /// What would have been taken.
        allowed: String,
    },
    /// An address could not be read; nothing was opened.
    #[error("address `{address}`: {why}")]
    BadAddress {
        /// The address as given.
        address: String,
        /// What is wrong with it, and what is expected.
        why: String,
    },
    /// A host name has no address.
    #[error("address `{address}`: cannot resolve the host: {source}")]
    Unresolvable {
        /// The address as given.
        address: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// The system refused to listen; whatever had been opened before is closed again.
    #[error("cannot listen on `{address}`: {why}: {source}")]
    CannotListen {
        /// The address as given.
        address: String,
        /// Which step failed, or what stands in the way.
        why: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The system refused to dial.
    #[error("cannot connect to `{address}`: {source}")]
    CannotConnect {
        /// The address as given.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A descriptor cannot be served as a connection.
    #[error("cannot adopt descriptor {fd}: {why}: {source}")]
    CannotAdopt {
        /// The descriptor.
        fd: i32,
        /// What is wrong with it.
        why: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A descriptor cannot be watched.
    #[error("cannot watch descriptor {fd}: {source}")]
    CannotWatch {
        /// The descriptor.
        fd: i32,
        /// The system's answer: `EPERM` for a regular file, which is always ready.
        source: io::Error,
    },
    /// The handler's factory panicked, so the engine did not start.
    #[error("the handler factory panicked on reactor {reactor}: {message}")]
    FactoryPanicked {
        /// The reactor whose handler was to be made.
        reactor: ReactorId,
        /// The panic's message.
        message: String,
    },
    /// A reactor's slabs are full: [`ConnId::MAX_KEYS`](crate::ConnId::MAX_KEYS) connections.
    #[error("reactor {reactor} holds {limit} connections and can hold no more")]
    ReactorFull {
        /// The reactor.
        reactor: ReactorId,
        /// Its bound.
        limit: u32,
    },
    /// A reactor's mailbox is full: nothing was asked of it. [`Handler::on_room`](crate::Handler::on_room) tells a reactor
    /// when there is room again.
    #[error("the mailbox of reactor {reactor} is full")]
    MailboxFull {
        /// The reactor.
        reactor: ReactorId,
    },
    /// The engine has been told to stop.
    #[error("the engine is stopping")]
    Stopping,
    /// Certificates, keys or names given for TLS cannot be used; what was in use before stays in use.
    #[error("TLS: {part}: {why}")]
    BadTls {
        /// Which one: `certificate 2 (/etc/site.pem)`, say. Certificates count from 1, in the order given.
        part: String,
        /// What is wrong with it, and what is expected.
        why: String,
    },
    /// The system refused something else the engine needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn too_many_kinds() -> Error {
        Error::BadOption {
            option: "framing",
            value: "one more kind of connection than 65536".into(),
            allowed: "65536 kinds at once: connections that are alike share a clone of one framing".into(),
        }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { what, source }
    }

    pub(crate) fn bad_address(address: &str, why: impl Into<String>) -> Error {
        Error::BadAddress { address: address.to_owned(), why: why.into() }
    }
}

/// What the engine's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
