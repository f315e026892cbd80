//! How the programs that measure end: what they found as a table, as JSON and as a page, and as an exit code; and how they
//! are interrupted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{ExitCode, exit},
    thread,
};

use serde_json::Value;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{AnyError, BadUsage, note};

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
    /// Tells it all: the table on standard output, or on standard error where JSON has that place; JSON where `outlets` has it
    /// go; and the page, drawn if it is wanted.
    ///
    /// The exit code is 0 when it is good, 1 when not, 130 when interrupted; and 1 when something could not be written,
    /// which is told on standard error and keeps nothing else from being written.
    pub fn tell(&self, outlets: Outlets, page: impl FnOnce() -> Result<String, AnyError>) -> ExitCode {
        let (told, kept) = match outlets.json {
            None => (say_all(&self.table), Ok(())),
            Some(Outlet::Output) => {
                let _ = io::stderr().write_all(self.table.as_bytes());
                (say_all(&format!("{}\n", self.json)), Ok(()))
            }
            Some(Outlet::File(file)) => (say_all(&self.table), file.write(&format!("{:#}\n", self.json))),
        };
        let drawn = outlets.report.map_or(Ok(()), |file| file.write_page(page()));
        let lost: Vec<String> = [told, kept, drawn].into_iter().filter_map(Result::err).collect();
        for why in &lost {
            note(format_args!("error: {why}"));
        }
        match (lost.is_empty(), self.is_interrupted, self.is_good) {
            (false, ..) | (true, false, false) => ExitCode::FAILURE,
            (true, true, _) => ExitCode::from(130),
            (true, false, true) => ExitCode::SUCCESS,
        }
    }
}

/// Where findings go besides the terminal.
pub struct Outlets {
    json: Option<Outlet>,
    report: Option<NewFile>,
}

enum Outlet {
    Output,
    File(NewFile),
}

impl Outlets {
    /// What `--json` and `--report` name, opened before anything is measured, so that nobody measures for nothing. For JSON `-` is
    /// standard output. A file keeps what it has until there are findings, and one that is new goes away if there never are.
    ///
    /// # Errors
    /// [`BadUsage`], with the option and the path, for a file that cannot be written, or one that is to hold both.
    pub fn open(json: Option<&Path>, report: Option<&Path>) -> Result<Outlets, AnyError> {
        let json = json.map(|path| match path == Path::new("-") {
            true => Ok(Outlet::Output),
            false => NewFile::open("--json", path).map(Outlet::File),
        });
        let outlets = Outlets {
            json: json.transpose()?,
            report: report.map(|path| NewFile::open("--report", path)).transpose()?,
        };
        match (&outlets.json, &outlets.report) {
            (Some(Outlet::File(json)), Some(report)) if json.is_regular && json.path == report.path => {
                let path = report.path.display();
                Err(BadUsage(format!("--report {path}: that is where the JSON goes")).into())
            }
            _ => Ok(outlets),
        }
    }
}

/// A file that is open, and does not hold yet what it is for.
struct NewFile {
    path: PathBuf,
    file: File,
    /// Neither a device nor a pipe.
    is_regular: bool,
    /// It was not there, and there is nothing worth keeping in it.
    is_empty: bool,
}

impl NewFile {
    fn open(option: &str, path: &Path) -> Result<NewFile, AnyError> {
        let open = || {
            let (file, is_empty) = match OpenOptions::new().write(true).create_new(true).open(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    (OpenOptions::new().write(true).create(true).truncate(false).open(path)?, false)
                }
                file => (file?, true),
            };
            let is_regular = file.metadata()?.is_file();
            Ok(NewFile { path: path.to_owned(), file, is_regular, is_empty })
        };
        open().map_err(|error: io::Error| {
            BadUsage(format!("{option} {}: cannot write there: {error}", path.display())).into()
        })
    }

    /// In place of what it held.
    fn write(mut self, text: &str) -> Result<(), String> {
        let mut write = || {
            if self.is_regular {
                self.file.set_len(0)?;
            }
            self.file.write_all(text.as_bytes())
        };
        write().map_err(|error: io::Error| format!("cannot write {}: {error}", self.path.display()))?;
        self.is_empty = false;
        Ok(())
    }

    fn write_page(self, page: Result<String, AnyError>) -> Result<(), String> {
        let path = self.path.clone();
        let page = page.map_err(|error| format!("cannot draw {}: {error}", path.display()))?;
        self.write(&page)?;
        note(format_args!("report: {}", path.display()));
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.is_empty {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// To the last byte: what is left in a buffer when the process ends would be lost without a word.
fn say_all(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    said.map_err(|error| format!("cannot write the results to standard output: {error}"))
}

/// Calls `end` at the first SIGINT or SIGTERM, on a thread of its own; the second one ends the process.
///
/// # Errors
/// What the system refuses.
pub fn on_interrupt(end: impl Fn() + Send + 'static) -> Result<(), AnyError> {
    let failed = |error| format!("cannot listen for signals: {error}");
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let listen = thread::Builder::new().name("signals".into()).spawn(move || {
        for (earlier, signal) in signals.forever().enumerate() {
            if earlier > 0 {
                exit(128 + signal);
            }
            end();
        }
    });
    listen.map_err(failed)?;
    Ok(())
}
