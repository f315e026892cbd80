//! What is to be done to very many connections.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;

use super::workshop::Kindred;
use crate::{
    Audience, ConnId, Payload,
    id::{Key, Sequence},
};

/// One deed for many connections: those that were there when it was asked for.
///
/// ```text
/// keys: 0 ............ cursor ............... end of the slabs
///       done           still to do, but for those `ahead` that were sent something else meanwhile
/// ```
pub(crate) struct Mass {
    pub(super) work: Work,
    pub(super) cursor: Key,
    /// Connections from this sequence number on came later.
    pub(super) before: Sequence,
    pub(super) ahead: HashSet<Key>,
}

pub(super) enum Work {
    Broadcast(Broadcast),
    Finish,
    Shutdown,
    /// Sorted, so that a connection is found among very many.
    Many {
        to: Arc<[ConnId]>,
        next: usize,
        broadcast: Broadcast,
    },
}

/// A payload, and what each kind of connection gets of it: encoded once, shared by all.
pub(super) struct Broadcast {
    pub(super) to: Audience,
    pub(super) payload: Payload<'static>,
    pub(super) encoded: Vec<(u16, Kindred, Option<Bytes>)>,
}

impl Mass {
    pub(super) fn new(work: Work, before: Sequence) -> Self {
        Mass { work, cursor: Key(0), before, ahead: HashSet::new() }
    }

    pub(super) fn finish(before: Sequence) -> Self {
        Mass::new(Work::Finish, before)
    }

    pub(super) fn shutdown(before: Sequence) -> Self {
        Mass::new(Work::Shutdown, before)
    }
}
