//! What the programs of this package share: how they start, how they stop, and what they end with.

mod certificate;
pub mod findings;
pub mod latency;
pub mod page;

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use wheelhouse::{Engine, Handle, Handler};

pub use certificate::{Certificate, listener};

/// Anything that ends a program.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// Says where the engine listens, and runs it until SIGINT or SIGTERM: then its connections have two seconds to end, or
/// until a second signal.
///
/// As many connections as the hard limit of open files allows can come. The handle that comes back still knows what was
/// counted.
///
/// # Errors
/// What the engine or the system refuses.
pub fn serve<H: Handler>(engine: Engine<H>) -> Result<Handle, AnyError> {
    serve_at(engine, &[] as &[&str])
}

/// As [`serve`], and says each address with the scheme that was asked for: the engine knows that a `ws://` listens on
/// `tcp://`, and a person wants to know what to type.
///
/// # Errors
/// What the engine or the system refuses.
pub fn serve_at<H: Handler>(engine: Engine<H>, asked: &[impl AsRef<str>]) -> Result<Handle, AnyError> {
    raise_file_limit()?;
    let handle = engine.handle();
    for (nth, address) in engine.addresses().iter().enumerate() {
        let asked = asked.get(nth).map_or("", AsRef::as_ref);
        say(format_args!("listening on {}", as_asked(asked, &address.to_string())));
    }
    engine.run_until_signal(Duration::from_secs(2))?;
    Ok(handle)
}

/// The address where the engine listens, `tcp://127.0.0.1:9001`, with the scheme of the URL that was asked for.
pub fn as_asked(asked: &str, address: &str) -> String {
    match (asked.split_once("://"), address.strip_prefix("tcp://")) {
        (Some((scheme, _)), Some(rest)) => format!("{scheme}://{rest}"),
        _ => address.to_owned(),
    }
}

/// Whether a listener on this URL speaks WebSocket.
pub fn is_websocket(url: &str) -> bool {
    has_scheme(url, &["ws", "wss"])
}

/// Whether a listener on this URL speaks TLS.
pub fn is_tls(url: &str) -> bool {
    has_scheme(url, &["tls", "wss"])
}

/// Schemes are the same in capitals (RFC 3986, 3.1).
fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known)))
}

/// Reads a URL whose listener speaks WebSocket, from the command line of a program that has no use for another.
///
/// # Errors
/// What is expected instead.
pub fn websocket_url(text: &str) -> Result<String, String> {
    if is_websocket(text) {
        return Ok(text.to_owned());
    }
    Err("expected ws://HOST:PORT or wss://HOST:PORT, for browsers speak WebSocket".to_owned())
}

/// Lets this process open as many files as its hard limit allows, and says how many these are.
///
/// # Errors
/// What the system says.
pub fn raise_file_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// A line on standard output, whether or not anybody reads it.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line on standard error, whether or not anybody reads it: `eprintln` would end the program where nobody can.
pub fn note(line: impl std::fmt::Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Ends a program: what went wrong on standard error, and exit code 2 when it is what was asked for, 1 for everything else.
pub fn end(outcome: Result<(), AnyError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    note(format_args!("error: {error}"));
    if is_bad_usage(&*error) { ExitCode::from(2) } else { ExitCode::FAILURE }
}

fn is_bad_usage(error: &(dyn Error + 'static)) -> bool {
    use wheelhouse::Error::{BadAddress, BadOption, BadTls};
    error.is::<BadUsage>()
        || matches!(error.downcast_ref(), Some(BadOption { .. } | BadAddress { .. } | BadTls { .. }))
}

/// What was asked for cannot be done, whatever the system thinks of it.
#[derive(Debug)]
pub struct BadUsage(pub String);

impl std::fmt::Display for BadUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BadUsage {}

/// Reads a time in seconds, such as `30` or `0.25`, from the command line.
///
/// # Errors
/// What is expected instead.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "expected a time of at least 0 seconds".to_owned())
}

/// Digits in groups of three: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn an_address_is_told_as_it_was_asked_for() {
        for (asked, address, told) in [
            ("ws://127.0.0.1:0", "tcp://127.0.0.1:9001", "ws://127.0.0.1:9001"),
            ("ws://localhost:0", "tcp://[::1]:9001", "ws://[::1]:9001"),
            ("tls://127.0.0.1:0", "tcp://127.0.0.1:9001", "tls://127.0.0.1:9001"),
            ("tcp://*:80", "tcp://[::]:80", "tcp://[::]:80"),
            ("unix:/a", "unix:/a", "unix:/a"),
            ("inherited:0", "tcp://127.0.0.1:80", "tcp://127.0.0.1:80"),
            ("", "tcp://127.0.0.1:80", "tcp://127.0.0.1:80"),
        ] {
            assert_eq!(as_asked(asked, address), told);
        }
    }

    #[test]
    fn what_is_spoken_is_read_off_the_scheme_in_capitals_too() {
        for (url, speaks) in [
            ("ws://a:1", [true, false]),
            ("WSS://a:1", [true, true]),
            ("tls://a:1", [false, true]),
            ("tcp://a:1", [false, false]),
            ("unix:/ws://", [false, false]),
            ("", [false, false]),
        ] {
            assert_eq!([is_websocket(url), is_tls(url)], speaks, "{url}");
            assert_eq!(websocket_url(url).is_ok(), speaks[0], "{url}");
        }
    }

    #[test]
    fn a_time_is_read_in_seconds() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["", "x", "-1", "NaN", "1e300"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
