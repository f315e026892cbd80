//! Quiet connections in three stretches: twice alone, and once beside what disturbs them.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::Over;
use super::quiet::{self, Quiet, Stretch};

/// After a disturbance the quiet go on for so long before they are measured again: the server tidies up.
pub(super) const REST: Duration = Duration::from_millis(2_000);

/// The quiet connections, and when they are disturbed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The quiet connections.
    pub quiet: quiet::Plan,
    /// The disturbed one comes last, and not between the other two.
    pub is_last: bool,
}

impl Plan {
    /// Runs the stretches. `disturb` has the quiet measured beside what it brings, clears that away, and adds what it saw;
    /// the stretches are put beside that: alone, alone again, disturbed.
    pub(super) fn run(
        &self,
        over: Over,
        disturb: impl FnOnce(&mut Quiet) -> io::Result<(Stretch, Value)>,
    ) -> io::Result<Value> {
        let stretch = self.quiet.stretch;
        let mut quiet = Quiet::gather(&self.quiet, over)?;
        let alone = quiet.stretch(stretch, None)?;
        let mut again = None;
        if self.is_last {
            again = Some(quiet.stretch(stretch, None)?);
        }
        let (disturbed, mut saw) = disturb(&mut quiet)?;
        let again = match again {
            Some(again) => again,
            None => {
                quiet.stretch(REST, None)?;
                quiet.stretch(stretch, None)?
            }
        };
        saw["stretches"] = [alone, again, disturbed].iter().map(Stretch::to_json).collect();
        Ok(saw)
    }
}
