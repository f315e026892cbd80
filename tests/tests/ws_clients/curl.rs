//! curl: plain HTTP on a WebSocket port gets proper answers.

use crate::{Told, fixture::next, foreigners, peers::Program};

/// The head and the body of what curl got.
fn curl(arguments: &[&str], url: &str) -> (Vec<String>, String) {
    let curl = Program::start("curl", |command| {
        command
            .args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "15", "--include"])
            .args(arguments)
            .arg(url)
    });
    let out = curl.succeed();
    let (head, body) = out.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {out}"));
    (head.split("\r\n").map(str::to_owned).collect(), body.to_owned())
}

#[test]
fn curl_gets_pages_and_refusals_whole_and_each_connection_ends() {
    let (server, events) = foreigners(false);
    let at = |path: &str| format!("http://{}{path}", server.at());
    let (head, body) = curl(&[], &at("/health"));
    assert_eq!((&*head[0], &*body), ("HTTP/1.1 200 OK", "well"));
    for line in ["Content-Length: 4", "Content-Type: text/plain", "Connection: close", "X-Engine: wheelhouse"]
    {
        assert!(head.iter().any(|own| own == line), "{line} is not in {head:?}");
    }
    assert_eq!(next(&events), Told::refused());
    let (head, body) = curl(&[], &at("/page"));
    assert!(
        head[0].ends_with("200 OK") && body.starts_with("<!doctype html>") && body.ends_with("</script>\n")
    );
    for (path, first) in [
        ("/nowhere", "HTTP/1.1 404 Not Found"),
        ("/no", "HTTP/1.1 403 Forbidden"),
        ("/talk", "HTTP/1.1 426 Upgrade Required"),
    ] {
        assert_eq!(curl(&[], &at(path)).0[0], first);
    }
}

#[test]
fn a_head_request_of_curls_gets_the_length_and_no_body() {
    let (server, _events) = foreigners(false);
    let (head, body) = curl(&["--head"], &format!("http://{}/health", server.at()));
    assert_eq!((&*head[0], &*body), ("HTTP/1.1 200 OK", ""));
    assert!(head.iter().any(|line| line == "Content-Length: 4"), "{head:?}");
}

#[test]
fn http_1_0_is_answered_and_so_are_posts_whose_body_nobody_reads() {
    let (server, _events) = foreigners(false);
    let url = format!("http://{}/health", server.at());
    assert_eq!(curl(&["--http1.0"], &url).1, "well");
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), vec![b'b'; 4 << 20]).unwrap();
    let body = format!("@{}", body.path().display());
    // No `Expect`: the body comes at once.
    let (head, said) =
        curl(&["--header", "Expect:", "--data-binary", &body], &format!("http://{}/no", server.at()));
    assert_eq!((&*head[0], &*said), ("HTTP/1.1 403 Forbidden", "not you"));
}

#[test]
fn two_urls_in_one_run_of_curl_are_both_answered() {
    let (server, _events) = foreigners(false);
    let url = format!("http://{}/health", server.at());
    let out = Program::start("curl", |command| {
        command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "15", &url, &url])
    })
    .succeed();
    assert_eq!(out, "wellwell");
}
