//! The program `kv`, run on stores of a test's own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use libkv_test_support::deadline::{Deadline, deadline};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a store, or with several.
pub struct Place {
    dir: TempDir,
    /// No process of the test is waited for without limit.
    _deadline: Deadline,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// As a shell counts it.
    pub status: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Place {
    pub fn new() -> Place {
        Place {
            dir: TempDir::new().expect("a temporary folder"),
            _deadline: deadline(),
        }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `kv` for the store `store`, without whatever the environment of the test says.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        self.prepared(Command::new(env!("CARGO_BIN_EXE_kv")), arguments)
    }

    /// A script of `sh`, in which `"$0" "$@"` is `kv` with these arguments.
    pub fn shell<A: AsRef<OsStr>>(
        &self,
        script: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_kv")]);
        self.prepared(command, arguments)
    }

    fn prepared<A: AsRef<OsStr>>(
        &self,
        mut command: Command,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("KV_") || text.starts_with("ETCD_") || text == "NO_COLOR" {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("KV_STORE", "store")
            .env("XDG_STATE_HOME", self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `kv` with these words.
    pub fn kv(&self, line: &str) -> Ran {
        self.args(line.split_whitespace())
    }

    /// Runs `kv` with these arguments.
    pub fn args<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        ran(self.command(arguments).output().expect("kv runs"))
    }

    /// Runs `kv` with these words, and this for its input.
    pub fn fed(&self, line: &str, input: impl AsRef<[u8]>) -> Ran {
        feed(self.command(line.split_whitespace()), input.as_ref())
    }

    /// Starts `kv` and does not wait for its end.
    pub fn start(&self, line: &str) -> Running {
        Running::new(self.command(line.split_whitespace()))
    }
}

/// Runs a command with this for its input.
pub fn feed(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("kv runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || {
        // it may end before it has read all
        let _ = stdin.write_all(&input);
    });
    let done = ran(child.wait_with_output().expect("kv ends"));
    feeding.join().expect("no panic");
    done
}

fn ran(output: std::process::Output) -> Ran {
    Ran {
        status: code(output.status),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A status as a shell counts it.
pub fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

impl Ran {
    /// Its output, of a command that must have gone well.
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.text()
    }

    /// Its output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).expect("text")
    }

    /// What it said on standard error, having ended with this status.
    pub fn refused(&self, status: i32) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        &self.err
    }

    /// Its output as JSON lines, of a command that must have gone well.
    pub fn json(self) -> Vec<Value> {
        self.ok()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

/// A `kv` that runs.
pub struct Running {
    pub child: Child,
    pub out: BufReader<ChildStdout>,
    pub err: BufReader<ChildStderr>,
}

impl Running {
    pub fn new(mut command: Command) -> Running {
        let mut child = command.spawn().expect("kv runs");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let err = BufReader::new(child.stderr.take().expect("it is piped"));
        Running { child, out, err }
    }

    /// The next line of its output, without its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("text");
        assert!(
            line.ends_with('\n'),
            "it ended after {line:?}: {}",
            self.rest_of_err()
        );
        line.trim_end().to_string()
    }

    /// The next line of what it says on standard error.
    pub fn err_line(&mut self) -> String {
        let mut line = String::new();
        self.err.read_line(&mut line).expect("text");
        line.trim_end().to_string()
    }

    fn rest_of_err(&mut self) -> String {
        let mut rest = String::new();
        let _ = self.err.read_to_string(&mut rest);
        rest
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end; answers its status and the rest of what it said.
    pub fn end(mut self) -> Ran {
        drop(self.child.stdin.take());
        let mut out = Vec::new();
        self.out.read_to_end(&mut out).expect("it can be read");
        let err = self.rest_of_err();
        Ran {
            status: code(self.child.wait().expect("it ends")),
            out,
            err,
        }
    }

    /// Sends a signal and waits.
    pub fn end_by(self, signal: Signal) -> Ran {
        self.signal(signal);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `kv serve` that is ready.
pub struct Serving {
    pub running: Running,
    /// As `kv -s` takes it.
    pub address: String,
}

impl Serving {
    /// Serves a store at a free port, with these flags more.
    pub fn start(place: &Place, store: &Path, flags: &[&str]) -> Serving {
        let mut command = place.command(["serve"]);
        command.arg(store);
        if !flags.iter().any(|flag| {
            flag.trim_start_matches('-')
                .starts_with("listen-client-urls")
        }) {
            command.args(["--listen-client-urls", "http://127.0.0.1:0"]);
        }
        command.args(flags).stdout(Stdio::piped());
        let mut running = Running::new(command);
        let mut said = String::new();
        loop {
            let line = running.err_line();
            if line.is_empty() {
                panic!("it is not ready: {said}");
            }
            if let Some((_, rest)) = line.split_once("ready to serve client requests on ") {
                let address = rest
                    .split([',', ' '])
                    .next()
                    .expect("an address")
                    .to_string();
                return Serving { running, address };
            }
            said += &line;
        }
    }
}
