//! What `stress` and `million` do with what they found where it cannot be written.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
    process::{Command, Stdio},
};

use common::{Ended, Running, Server, example, run};
use serde_json::Value;

const FULL: &str = "/dev/full";

/// Programs that measure for a moment: `stress` a server that is there, and `million` its own.
struct Programs {
    server: Server,
}

impl Programs {
    fn new() -> Programs {
        Programs { server: Server::start("echo", &[]) }
    }

    fn all(&self) -> [(&'static str, Command); 2] {
        let mut stress = example("stress");
        stress.args(["--to", self.server.url(), "--connections=2", "--seconds=0.1", "--reactors=1"]);
        let mut million = example("million");
        million.args(["run", "--connections=20", "--at=20", "--hold=0.1", "--reactors=1", "--within=28"]);
        [("stress", stress), ("million", million)]
    }
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open(FULL).unwrap().into()
}

/// A pipe that nobody reads any more.
fn closed() -> Stdio {
    io::pipe().unwrap().1.into()
}

fn run_as_it_is(command: &mut Command) -> Ended {
    Running::start_as_it_is(command).end()
}

fn is_page(path: &Path) -> bool {
    fs::read_to_string(path).unwrap_or_default().ends_with("</html>\n")
}

fn is_json(path: &Path) -> bool {
    serde_json::from_slice::<Value>(&fs::read(path).unwrap_or_default()).is_ok_and(|json| json["ok"] == true)
}

#[test]
fn a_full_or_closed_standard_error_loses_neither_the_run_nor_what_it_found() {
    let programs = Programs::new();
    for err in [full as fn() -> Stdio, closed] {
        for (name, mut command) in programs.all() {
            let directory = tempfile::tempdir().unwrap();
            let page = directory.path().join("page.html");
            command.arg("--json").arg("--report").arg(&page);
            let ended = run_as_it_is(command.stdout(Stdio::piped()).stderr(err()));
            assert_eq!(ended.code, Some(0), "{name}: {}", ended.out);
            let results: Value = serde_json::from_str(&ended.out).unwrap();
            assert_eq!(results["ok"], true, "{name}: {results:#}");
            assert!(is_page(&page), "{name}");
        }
    }
}

#[test]
fn results_that_nobody_takes_are_a_failure_that_is_told_and_the_page_is_written() {
    let programs = Programs::new();
    for (out, why) in [(full as fn() -> Stdio, "No space left on device"), (closed, "Broken pipe")] {
        for json in [&[][..], &["--json"]] {
            for (name, mut command) in programs.all() {
                let directory = tempfile::tempdir().unwrap();
                let page = directory.path().join("page.html");
                command.args(json).arg("--report").arg(&page).stdout(out()).stderr(Stdio::piped());
                let ended = run_as_it_is(&mut command);
                assert_eq!(ended.code, Some(1), "{name} {json:?}: {}", ended.err);
                let told = format!("error: cannot write the results to standard output: {why}");
                assert!(ended.err.contains(&told), "{name} {json:?}: {}", ended.err);
                assert!(is_page(&page), "{name} {json:?}");
            }
        }
    }
}

#[test]
fn a_file_that_cannot_be_written_takes_no_other_with_it() {
    let programs = Programs::new();
    let others = [("--json", "--report", is_page as fn(&Path) -> bool), ("--report", "--json", is_json)];
    for (full, other, is_whole) in others {
        for (name, mut command) in programs.all() {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("written");
            let ended = run(command.args([full, FULL, other]).arg(&file));
            assert_eq!(ended.code, Some(1), "{name}: {}", ended.err);
            let told = "error: cannot write /dev/full: No space left on device";
            assert!(ended.err.contains(told), "{name}: {}", ended.err);
            assert!(is_whole(&file), "{name}, {other}");
        }
    }
}

#[test]
fn where_nothing_can_be_written_is_told_before_anything_is_measured() {
    let programs = Programs::new();
    let directory = tempfile::tempdir().unwrap();
    let (path, old, new) =
        (directory.path(), directory.path().join("old.json"), directory.path().join("new.json"));
    fs::write(&old, "of the day before").unwrap();
    let nowhere = path.join("nowhere").join("results.json");
    for (json, report, told) in [
        (&nowhere, &new, format!("error: --json {}: cannot write there: No such file", nowhere.display())),
        (&new, &path.to_owned(), format!("error: --report {}: cannot write there: Is a dir", path.display())),
        (&old, &path.to_owned(), format!("error: --report {}: cannot write there: Is a dir", path.display())),
        (&new, &new, format!("error: --report {}: that is where the JSON goes", new.display())),
    ] {
        for (name, mut command) in programs.all() {
            let ended = run(command.arg("--json").arg(json).arg("--report").arg(report));
            assert_eq!(ended.code, Some(2), "{name}: {}", ended.err);
            assert!(ended.err.contains(&told), "{name}: {}", ended.err);
            assert!(!ended.err.contains("starting"), "{name}: {}", ended.err);
            assert!(!new.exists(), "{name} leaves an empty file");
        }
    }
    assert_eq!(fs::read_to_string(&old).unwrap(), "of the day before");

    let (name, mut command) = programs.all().into_iter().next().unwrap();
    assert_eq!(run(command.arg("--json").arg(&old)).code, Some(0), "{name}");
    assert!(is_json(&old), "{name}: what was there before is gone");
}
