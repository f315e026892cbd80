use crate::{ConnId, Tag};

/// A connection that the handler has dialled, and that a test connects or refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dialled {
    /// The connection.
    pub id: ConnId,
    /// Whom it dials, as [`Connect::to`](crate::Connect::to) was told.
    pub url: String,
    /// The number given to [`Connect::tag`](crate::Connect::tag).
    pub tag: Tag,
}
