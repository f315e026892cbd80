//! A browser: it opens a page that the engine serves, whose script talks with the engine and reports how it went.

use crate::{Told, fixture::next, foreigners, peers::Program};

/// The programs that are Chromium, the first one that is there counts; or what `WHEELHOUSE_CHROMIUM` names.
fn chromium() -> String {
    if let Ok(named) = std::env::var("WHEELHOUSE_CHROMIUM") {
        return named;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let is_there = |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).exists());
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there);
    found.expect("no Chromium: run the tests by `make test`, which installs it").to_owned()
}

fn browse(deflates: bool) {
    let (server, events) = foreigners(deflates);
    let profile = tempfile::tempdir().unwrap();
    let browser = Program::start(chromium(), |command| {
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("http://{}/page", server.at()))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
    });
    let mut told = Vec::new();
    // A browser takes its time to start, on a machine that builds beside it.
    let report = (0..20).find_map(|_| match events.recv_timeout(std::time::Duration::from_secs(60)) {
        Ok(Told::Report(report)) => Some(report),
        Ok(other) => {
            told.push(other);
            None
        }
        Err(error) => panic!("{error} after {told:?}"),
    });
    drop(browser);
    let extensions = if deflates { "permessage-deflate" } else { "none" };
    let report = report.unwrap_or_default();
    let (outcome, agreed) = report.split_once(", extensions ").unwrap_or((&report, ""));
    assert_eq!(outcome, "ok, health well", "{told:?}");
    assert!(agreed.starts_with(extensions), "{agreed}");
    for expected in [Told::finished(), Told::closed(3001), Told::refused()] {
        assert!(told.contains(&expected), "{expected:?} is not in {told:?}");
    }
    // It leaves without saying so.
    while !matches!(next(&events), Told::Close { opened: true, .. }) {}
}

#[test]
fn a_browser_opens_a_page_of_the_engines_and_talks_with_it() {
    browse(false);
}

#[test]
fn a_browser_talks_compressed_with_the_engine() {
    browse(true);
}
