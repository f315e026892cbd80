//! Names to addresses, off the reactors: the system's resolver blocks.

use std::{
    sync::{Arc, Weak},
    thread,
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::{
    Address, ConnId, Error,
    mailbox::Command,
    shared::{Query, Shared},
};

/// Queries that may wait; more than that fail at once.
const QUEUE: usize = 1024;
/// One name server that does not answer holds up one of them.
const THREADS: usize = 4;

/// Asks for the addresses of `name`; they come back as [`Command::Resolved`]. False when too many queries wait.
pub(crate) fn resolve(shared: &Arc<Shared>, id: ConnId, name: Address) -> bool {
    let queries = shared.resolver.get_or_init(|| start(shared));
    !matches!(
        queries.try_send(Query { id, name }),
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_))
    )
}

/// The threads end when the engine drops its end of the channel.
fn start(shared: &Arc<Shared>) -> Sender<Query> {
    let (sender, receiver) = bounded(QUEUE);
    for n in 0..THREADS {
        let (receiver, shared) = (receiver.clone(), Arc::downgrade(shared));
        let thread = thread::Builder::new().name(format!("wheelhouse-dns-{n}"));
        if let Err(error) = thread.spawn(move || serve(&receiver, &shared)) {
            tracing::warn!(%error, "cannot start a resolver thread");
        }
    }
    sender
}

fn serve(queries: &Receiver<Query>, shared: &Weak<Shared>) {
    for Query { id, name } in queries {
        let addresses = name.resolve().map_err(|error| match error {
            Error::Unresolvable { source, .. } => source,
            other => std::io::Error::other(other),
        });
        let Some(shared) = shared.upgrade() else { return };
        if let Some(reactor) = shared.reactor(id.reactor()) {
            reactor.put(Command::Resolved { id, addresses });
        }
    }
}
