//! A million connections, or as many as the machine allows: `million run --help` tells what it can be asked for.
//!
//! One program in three roles. `serve` is the engine, echoing; `hold` a client made of plain sockets, which shares nothing
//! with it; `run` works out a `plan` from what `machine` says, starts as many of both as that takes (`crew`), and conducts
//! them through their pipes: up to each plateau, silent, with a few that talk (`talk`), one word to all, and down again.
//! `outcome` is what came of it, `progress`, and `report` how it is told.

mod conduct;
mod crew;
mod dial;
#[path = "../stress/handshake.rs"]
mod handshake;
mod hold;
mod machine;
mod options;
mod orders;
mod outcome;
#[path = "../stress/pattern.rs"]
mod pattern;
mod plan;
mod progress;
mod report;
#[path = "../stress/secure.rs"]
#[allow(dead_code, reason = "the load uses all of it")]
mod secure;
mod serve;
mod table;
mod talk;
#[path = "../stress/trust.rs"]
mod trust;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;
use wheelhouse_examples::{
    AnyError, end,
    findings::{Findings, Outlets},
    note,
};

use crate::{
    options::{Command, Options, Run},
    plan::Plan,
};

fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Command::Run(options) => run(&options),
        Command::Serve(options) => serve::serve(&options).map(|()| ExitCode::SUCCESS),
        Command::Hold(options) => hold::hold(&options).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| end(Err(error)))
}

fn run(options: &Run) -> Result<ExitCode, AnyError> {
    options.check()?;
    let machine = machine::machine()?;
    let plan = Plan::new(&machine, &options.wanted());
    note(table::plan(options, &machine, &plan).trim_end());
    if plan.connections == 0 {
        return Err("this machine allows no connection: see what stops it".into());
    }
    if options.plan {
        return Ok(ExitCode::SUCCESS);
    }
    let outlets = Outlets::open(options.json.as_deref(), options.report.as_deref())?;
    let outcome = conduct::conduct(options, &machine, &plan)?;
    let findings = Findings {
        table: table::outcome(&outcome),
        json: outcome.json(),
        is_good: outcome.is_good(),
        is_interrupted: outcome.interrupted,
    };
    Ok(findings.tell(outlets, || report::page(&outcome)))
}
