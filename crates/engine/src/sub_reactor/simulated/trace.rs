//! What happened in a world: as a number, and in words where one world is looked at.

use std::{
    cell::Cell,
    fmt::{self, Write},
};

/// A number that two worlds share when the same happened in both: FNV-1a over what was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace(u64);

thread_local! {
    static TELLS: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread's worlds say what happens in them.
pub(super) fn tell_all() {
    TELLS.set(true);
}

impl Default for Trace {
    fn default() -> Self {
        Trace(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        if TELLS.get() {
            eprintln!("    {what}");
        }
        // Writing to a number cannot fail.
        let _ = self.write_fmt(what);
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
