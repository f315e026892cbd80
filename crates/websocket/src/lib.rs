#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings))))]
#![forbid(unsafe_code)]

mod close;
mod close_payload;
mod frame;
mod head;
mod mask;
mod pass;
mod plain;
mod shift;
mod state;
mod utf8;
mod violation;

pub mod deflate;
pub mod http;

pub use self::{
    close::CloseCode,
    frame::{Header, Opcode, append_frame},
    mask::mask,
    pass::{Event, Left, Pass},
    plain::Plain,
    state::{Role, Rules, State},
    violation::Violation,
};
