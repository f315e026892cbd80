//! How the programs that measure end: what they found as a table, as JSON and as a page, and as an exit code; and how they
//! are interrupted.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::{ExitCode, exit},
    thread,
};

use serde_json::Value;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{AnyError, say};

/// What a program that measures found.
pub struct Findings {
    /// For a terminal.
    pub table: String,
    /// All of it.
    pub json: Value,
    /// Whether everything was as it should be.
    pub is_good: bool,
    /// Whether somebody ended it before its time.
    pub is_interrupted: bool,
}

impl Findings {
    /// Tells it all: the table on standard output; JSON to a file, or in one line to standard output where the path is `-`,
    /// and the table then to standard error; the page, drawn if it is wanted, to a file. The exit code is 0 when it is good,
    /// 1 when not, 130 when interrupted.
    ///
    /// # Errors
    /// A file that cannot be written, by name, or what drawing came to.
    pub fn tell(
        &self,
        json: Option<&Path>,
        report: Option<&Path>,
        page: impl FnOnce() -> Result<String, AnyError>,
    ) -> Result<ExitCode, AnyError> {
        match json {
            None => {
                let _ = write!(io::stdout(), "{}", self.table);
            }
            Some(path) => {
                eprint!("{}", self.table);
                match path == Path::new("-") {
                    true => say(&self.json),
                    false => write_file(path, &format!("{:#}\n", self.json))?,
                }
            }
        }
        if let Some(path) = report {
            write_file(path, &page()?)?;
            eprintln!("report: {}", path.display());
        }
        Ok(match (self.is_interrupted, self.is_good) {
            (true, _) => ExitCode::from(130),
            (false, true) => ExitCode::SUCCESS,
            (false, false) => ExitCode::FAILURE,
        })
    }
}

/// Calls `end` at the first SIGINT or SIGTERM, on a thread of its own; the second one ends the process.
///
/// # Errors
/// What the system refuses.
pub fn on_interrupt(end: impl Fn() + Send + 'static) -> Result<(), AnyError> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for (earlier, signal) in signals.forever().enumerate() {
            if earlier > 0 {
                exit(128 + signal);
            }
            end();
        }
    })?;
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), AnyError> {
    Ok(fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?)
}
