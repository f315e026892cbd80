//! Models of what the engine's threads agree on without a lock. The code is the engine's: its files are compiled here with
//! loom's types for std's. What is beside them stands for what loom cannot see into, and says how.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a failure is a panic")]

#[path = "../../../crates/engine/src/asleep.rs"]
mod asleep;
mod channel;
#[path = "../../../crates/engine/src/fd_index.rs"]
mod fd_index;
#[allow(dead_code, unreachable_pub, reason = "the engine uses all of it, the models do not")]
#[path = "../../../crates/engine/src/id.rs"]
mod id;
mod mailbox;
mod once_lock;
#[allow(dead_code, reason = "its size in the engine is not a model's")]
#[path = "../../../crates/engine/src/roll.rs"]
mod roll;
mod sync;
#[path = "../../../crates/engine/src/table.rs"]
mod table;
mod waker;

pub use self::{
    fd_index::FdIndex,
    id::ConnId,
    mailbox::Mailbox,
    sync::{Flaw, leave_out},
};

pub(crate) use self::id::ReactorId;

/// How often threads are pre-empted in one run of a model, at most. All the mistakes that the tests make are found with two.
pub const BOUND: usize = 3;

/// Runs `model` in every way that there is within the bound.
pub fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(BOUND);
    builder.check(model);
}

/// Slots to a chunk in the models' tables: the least with which two threads can share one, and need two.
pub const CHUNK: usize = 2;

/// An fd index of two chunks.
pub fn fd_index() -> FdIndex<CHUNK> {
    FdIndex::with_room_for(2 * CHUNK)
}

/// The `tenant`th connection in the slot `key`.
pub fn conn_id(key: u32, tenant: u32) -> ConnId {
    ConnId::new(ReactorId(0), id::Key(key), id::Sequence(tenant))
}

/// The engine's roll, of two chunks.
pub struct Roll(roll::Roll<CHUNK>);

impl Roll {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "as the engine's")]
    pub fn new() -> Self {
        Roll(roll::Roll::with_room_for(2 * CHUNK))
    }

    /// The connection is there.
    pub fn enter(&self, id: ConnId) {
        self.0.enter(id);
    }

    /// The connection is gone.
    pub fn leave(&self, id: ConnId) {
        self.0.leave(id);
    }

    /// Nobody is in the chunk.
    pub fn free_chunk(&self, chunk: usize) {
        self.0.free_chunk(chunk);
    }

    /// Whether the connection is there.
    pub fn holds(&self, id: ConnId) -> bool {
        self.0.holds(id)
    }
}
