use std::sync::Arc;

use super::{Frames, Protocol};

/// The framings that the engine knows apart: raw bytes need no call through a table.
#[derive(Clone)]
pub(crate) enum Frame {
    Raw,
    Protocol(Arc<dyn Protocol>),
    Frames(Arc<Frames>),
}
