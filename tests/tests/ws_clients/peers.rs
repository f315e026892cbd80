//! Foreign programs, where `tests/setup.sh` put them: run with a limit of time, and ended with what they started.

use std::{
    ffi::OsStr,
    io::Read,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// How long a whole program may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A script of ours for a foreign peer.
pub(crate) fn script(name: &str) -> PathBuf {
    workspace().join("tests/peers").join(name)
}

/// What was installed under `target/peers`, or where `WHEELHOUSE_PEERS` says.
pub(crate) fn installed(path: &str) -> PathBuf {
    let peers = std::env::var_os("WHEELHOUSE_PEERS").map(PathBuf::from);
    let path = peers.unwrap_or_else(|| workspace().join("target/peers")).join(path);
    assert!(
        path.exists(),
        "{} is not there: run the tests by `make test`, or tests/setup.sh once",
        path.display()
    );
    path
}

/// A program that lives no longer than this value.
pub(crate) struct Program {
    pub(crate) child: Child,
}

impl Program {
    pub(crate) fn start(
        program: impl AsRef<OsStr>,
        set_up: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Program {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = set_up(&mut command).spawn().unwrap_or_else(|error| {
            panic!("{}: {error}: run the tests by `make test`, which installs it", program.display())
        });
        Program { child }
    }

    /// Waits until it ends well; what it wrote.
    #[track_caller]
    pub(crate) fn succeed(mut self) -> String {
        let out = reading(self.child.stdout.take());
        let err = reading(self.child.stderr.take());
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > until {
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        drop(self);
        let (out, err) = (out.join().unwrap(), err.join().unwrap());
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{out}\n{err}");
        out
    }
}

fn reading(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
