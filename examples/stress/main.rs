//! Puts an echo server under load, with the engine on this side too: `stress --help` tells what it can be asked for.
//!
//! Shows an engine without listeners, that dials. `load` is its handler, which keeps a `client` for each connection;
//! `run` is the thread that conducts it by closures posted to the reactors, after a common `plan`. `options` is what
//! is asked for and whether it can be had, `target` whom it goes to, `pattern` what is sent and must come back, `tally` what was counted,
//! `progress`, `summary` and `report` how it is told.
//!
//! The engine carries bytes here, and no more: a WebSocket's `handshake` and `frames` are written by hand, and TLS (`secure`,
//! with the certificates that `trust` believes in) is another version of rustls than the engine's, so that the load and an
//! engine under load do not share their mistakes.

mod client;
mod frames;
mod handshake;
mod load;
mod options;
mod pattern;
mod plan;
mod progress;
mod report;
mod run;
mod secure;
mod summary;
mod tally;
mod target;
mod trust;

use std::process::ExitCode;

use clap::Parser;
use wheelhouse_examples::{
    AnyError, end,
    findings::{Findings, Outlets},
};

use crate::options::Options;

fn main() -> ExitCode {
    match stress(Options::parse()) {
        Ok(code) => code,
        Err(error) => end(Err(error)),
    }
}

fn stress(options: Options) -> Result<ExitCode, AnyError> {
    options.check()?;
    let outlets = Outlets::open(options.json.as_deref(), options.report.as_deref())?;
    let summary = run::run(&options)?;
    let findings = Findings {
        table: summary.table(),
        json: summary.json(),
        is_good: summary.is_good(),
        is_interrupted: summary.interrupted,
    };
    Ok(findings.tell(outlets, || report::page(&summary)))
}
