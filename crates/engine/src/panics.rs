//! What was thrown by somebody else's code.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What a panic said, where it said something.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match panic.downcast_ref::<String>() {
        Some(message) => message,
        None => panic.downcast_ref::<&str>().copied().unwrap_or("(no message)"),
    }
}

/// Drops what was thrown, which may not throw again.
pub(crate) fn bury<T>(thrown: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(thrown))).map_err(std::mem::forget);
}
