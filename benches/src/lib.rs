//! What the benchmark programs share.
//!
//! A measurement has three processes: a server pinned to one core (`floor`, `floor_overload`, `mio_echo`, `tokio_echo`,
//! `wheelhouse_echo`, `wheelhouse_overload`, `wheelhouse_turns`; over WebSocket `ws_floor`, `tungstenite_ws`, `fastwebsockets_ws`, and those
//! of `peers/`; over TLS `rustls_echo`), the load pinned to another (`load`), and the runner that starts both by turns and prints the table
//! (`run`). The load uses nothing of the engine: two ends of one engine would hide each
//! other's mistakes.

pub mod crowd;
pub mod engine;
pub mod load;
pub mod machine;
pub mod mio_loop;
pub mod runner;
pub mod secure;
pub mod server;
pub mod tokio_loop;
pub mod turns;
pub mod websocket;
