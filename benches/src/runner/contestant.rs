//! Who takes part.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

/// A server program with its arguments, under the name it has in the tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    pub(crate) arguments: &'static [&'static str],
    /// What the load has to be told besides what the row says.
    pub(crate) load: &'static [&'static str],
    pub(crate) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What all are measured against.
    Floor,
    /// The floor once more: the spread of the measurement.
    FloorAgain,
    Peer,
    /// The TCP floor, where the row's own is another.
    TcpFloor,
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

/// The floor over TCP.
pub(crate) const FLOOR: Contestant =
    Contestant { name: "floor", program: "floor", arguments: &[], load: &[], role: Role::Floor };

/// The engine's echo server, as it comes.
pub(crate) const OURS: Contestant =
    Contestant { name: "wheelhouse", program: "wheelhouse_echo", role: Role::HandedOver, ..FLOOR };

/// The same where its reactor accepts for itself.
pub(crate) const OURS_REUSE_PORT: Contestant = Contestant {
    name: "wheelhouse, reuse-port",
    arguments: &["--reuse-port"],
    role: Role::ReusePort,
    ..OURS
};

/// Over TCP.
pub(crate) const TCP: &[Contestant] = &[
    FLOOR,
    OURS,
    OURS_REUSE_PORT,
    Contestant { name: "floor again", role: Role::FloorAgain, ..FLOOR },
    Contestant { name: "mio", program: "mio_echo", role: Role::Peer, ..FLOOR },
    Contestant { name: "tokio", program: "tokio_echo", role: Role::Peer, ..FLOOR },
];

const WS_FLOOR: Contestant =
    Contestant { name: "ws floor", program: "ws_floor", load: &["--over=ws"], ..FLOOR };
const OURS_WS: Contestant = Contestant { arguments: &["--ws"], load: WS_FLOOR.load, ..OURS };
const UWS: Contestant = Contestant { name: "uWebSockets", program: "uws_echo", role: Role::Peer, ..WS_FLOOR };
const NODE_WS: Contestant = Contestant { name: "ws (node)", program: "node_ws", ..UWS };

/// Over WebSocket.
pub(crate) const WS: &[Contestant] = &[
    WS_FLOOR,
    OURS_WS,
    Contestant { name: "ws floor again", role: Role::FloorAgain, ..WS_FLOOR },
    Contestant { name: "tcp floor", role: Role::TcpFloor, ..FLOOR },
    UWS,
    Contestant { name: "fastwebsockets", program: "fastwebsockets_ws", ..UWS },
    Contestant { name: "tungstenite", program: "tungstenite_ws", ..UWS },
    NODE_WS,
];

const DEFLATE: &[&str] = &["--over=ws-deflate", "--size=1024"];
const UWS_DEFLATE: Contestant =
    Contestant { arguments: &["--deflate"], load: DEFLATE, role: Role::Floor, ..UWS };

/// The same with permessage-deflate. None of those written in Rust has it, and a bare loop would be zlib alone: they are
/// measured against uWebSockets.
pub(crate) const WS_DEFLATE: &[Contestant] = &[
    UWS_DEFLATE,
    Contestant { name: "wheelhouse, level 1", arguments: &["--ws", "--deflate=1"], load: DEFLATE, ..OURS },
    Contestant { name: "wheelhouse, level 6", arguments: &["--ws", "--deflate=6"], load: DEFLATE, ..OURS },
    Contestant { name: "uWebSockets again", role: Role::FloorAgain, ..UWS_DEFLATE },
    Contestant { role: Role::Peer, program: NODE_WS.program, name: NODE_WS.name, ..UWS_DEFLATE },
];

const TO_ALL: &[&str] = &["--broadcast"];

/// Those that send each message to every connection: the floor by one bare `send` for each.
pub(crate) const BROADCAST: &[Contestant] = &[
    Contestant { arguments: TO_ALL, load: &[], ..WS_FLOOR },
    Contestant { arguments: &["--ws", "--broadcast"], ..OURS },
    Contestant { name: "ws floor again", arguments: TO_ALL, load: &[], role: Role::FloorAgain, ..WS_FLOOR },
    Contestant { arguments: TO_ALL, load: &[], ..UWS },
    Contestant { arguments: TO_ALL, load: &[], ..NODE_WS },
];

/// In waves, as what is sealed is.
const WAVES: &[&str] = &["--waves"];
const SEALED: &[&str] = &["--over=tls"];
const OURS_TLS: Contestant =
    Contestant { name: "wheelhouse, TLS", arguments: &["--tls"], load: SEALED, ..OURS };
const TLS_FLOOR: Contestant =
    Contestant { name: "tls floor", program: "tls_floor", load: SEALED, role: Role::Peer, ..FLOOR };
const RUSTLS: Contestant =
    Contestant { name: "rustls 0.23", program: "rustls_echo", load: SEALED, role: Role::Peer, ..FLOOR };

/// Over TLS, and beside it the same without.
pub(crate) const TLS: &[Contestant] = &[
    Contestant { name: "tcp floor", load: WAVES, role: Role::TcpFloor, ..FLOOR },
    Contestant { name: "wheelhouse, TCP", load: WAVES, role: Role::TcpFloor, ..OURS },
    OURS_TLS,
    TLS_FLOOR,
    RUSTLS,
];

/// WebSocket over TLS, where system calls and allocations are counted.
pub(crate) const WSS: &[Contestant] = &[
    Contestant { name: "tcp floor", load: WAVES, role: Role::TcpFloor, ..FLOOR },
    Contestant { name: "wheelhouse, TLS", arguments: &["--ws", "--tls"], load: &["--over=wss"], ..OURS },
];

const ALL: [&[Contestant]; 6] = [TCP, WS, WS_DEFLATE, BROADCAST, TLS, WSS];

/// Those of a list that have been built and are asked for; what the others are measured against always is.
pub(crate) fn present(list: &[Contestant], only: &[String]) -> io::Result<Vec<Contestant>> {
    let known = || ALL.iter().flat_map(|list| list.iter().map(|contestant| contestant.name));
    if let Some(stranger) = only.iter().find(|name| known().all(|known| known != **name)) {
        let names: BTreeSet<_> = known().collect();
        return Err(io::Error::other(format!("no server {stranger:?}; there are {names:?}")));
    }
    let mut present = Vec::new();
    for contestant in list {
        let floor = matches!(contestant.role, Role::Floor | Role::FloorAgain | Role::TcpFloor);
        if !(floor || only.is_empty() || only.iter().any(|name| name == contestant.name)) {
            continue;
        }
        if path(contestant.program)?.exists() {
            present.push(*contestant);
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
