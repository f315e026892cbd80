#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings))))]
#![forbid(unsafe_code)]

mod block;
mod class;
mod error;
mod pool;
mod ring;

pub use error::PoolExhausted;
pub use pool::Pool;
pub use ring::Ring;
