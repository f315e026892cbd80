#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings))))]
#![forbid(unsafe_code)]

mod entries;
mod fired;
mod key;
mod level;
mod link;
mod lists;
mod progress;
mod tick;
mod wheel;

pub use fired::Fired;
pub use key::TimerKey;
pub use progress::Progress;
pub use tick::Tick;
pub use wheel::Wheel;
