//! Who takes part.

use std::io;
use std::path::PathBuf;

/// A server program with its arguments, under the name it has in the tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What all are measured against.
    Floor,
    /// The floor once more: the spread of the measurement.
    FloorAgain,
    Peer,
    /// The engine, its main reactor handing connections over.
    HandedOver,
    /// The engine, its one sub-reactor listening for itself.
    ReusePort,
}

impl Role {
    /// Whether the goals are set for it.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Role::HandedOver | Role::ReusePort)
    }
}

/// The engine's echo server, as it comes.
pub(crate) const OURS: Contestant =
    Contestant { name: "wheelhouse", program: "wheelhouse_echo", arguments: &[], role: Role::HandedOver };

/// The same where its reactor accepts for itself.
pub(crate) const OURS_REUSE_PORT: Contestant = Contestant {
    name: "wheelhouse, reuse-port",
    arguments: &["--reuse-port"],
    role: Role::ReusePort,
    ..OURS
};

const ALL: [Contestant; 6] = [
    Contestant { name: "floor", program: "floor", arguments: &[], role: Role::Floor },
    OURS,
    OURS_REUSE_PORT,
    Contestant { name: "floor again", program: "floor", arguments: &[], role: Role::FloorAgain },
    Contestant { name: "mio", program: "mio_echo", arguments: &[], role: Role::Peer },
    Contestant { name: "tokio", program: "tokio_echo", arguments: &[], role: Role::Peer },
];

/// Those that have been built and are asked for; the floor always is, both times.
pub(crate) fn present(only: &[String]) -> io::Result<Vec<Contestant>> {
    if let Some(stranger) = only.iter().find(|name| ALL.iter().all(|known| known.name != **name)) {
        let names: Vec<_> = ALL.iter().map(|known| known.name).collect();
        return Err(io::Error::other(format!("no server {stranger:?}; there are {names:?}")));
    }
    let mut present = Vec::new();
    for contestant in ALL {
        let floor = matches!(contestant.role, Role::Floor | Role::FloorAgain);
        if !(floor || only.is_empty() || only.iter().any(|name| name == contestant.name)) {
            continue;
        }
        if path(contestant.program)?.exists() {
            present.push(contestant);
        } else {
            println!("{} is not built: left out\n", contestant.name);
        }
    }
    Ok(present)
}

/// Where a program of this package lies: beside the runner.
pub(crate) fn path(program: &str) -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(program))
}
