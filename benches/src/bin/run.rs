//! The runner behind `make bench`.

use std::io;

use clap::Parser;
use wheelhouse_benches::runner::{self, Options};

fn main() -> io::Result<()> {
    runner::run(&Options::parse())
}
