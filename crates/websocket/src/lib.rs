#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings))))]
#![forbid(unsafe_code)]

mod close;
mod close_payload;
mod frame;
mod head;
mod mask;
mod pass;
mod shift;
mod state;
mod utf8;
mod violation;

pub mod deflate;
pub mod http;

pub use self::{
    close::CloseCode,
    frame::{Header, Opcode},
    mask::mask,
    pass::{Event, Left, Pass},
    state::{Role, Rules, State},
    violation::Violation,
};
