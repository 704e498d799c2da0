//! Runs the program `kv` on stores in a temporary folder.

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
    /// Limits every wait for a process.
    _deadline: Deadline,
}

/// The result of a command.
#[derive(Debug)]
pub struct Ran {
    /// The exit status as a shell shows it: 128 plus the signal if it was killed.
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

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `kv` on the store `store`, without the test's own `KV_…` and `ETCD_…` variables.
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

    /// Runs `kv` with these words and this input.
    pub fn fed(&self, line: &str, input: impl AsRef<[u8]>) -> Ran {
        feed(self.command(line.split_whitespace()), input.as_ref())
    }

    /// Starts `kv` without waiting for its end.
    pub fn start(&self, line: &str) -> Running {
        Running::new(self.command(line.split_whitespace()))
    }
}

/// Runs a command with this input.
pub fn feed(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("kv runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || {
        // the command may end before it has read everything
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

/// The status as a shell shows it.
pub fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

impl Ran {
    /// The output of a command that must have succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.text()
    }

    /// Its output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).expect("text")
    }

    /// The standard error of a command that must have ended with this status.
    pub fn refused(&self, status: i32) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        &self.err
    }

    /// The output, as lines of JSON, of a command that must have succeeded.
    pub fn json(self) -> Vec<Value> {
        self.ok()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

/// A running `kv`.
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

    /// The next line of the output, without the line end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("text");
        assert!(
            line.ends_with('\n'),
            "kv ended after {line:?}: {}",
            self.rest_of_err()
        );
        line.trim_end().to_string()
    }

    /// The next line of standard error.
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
        kill_process(Pid::from_child(&self.child), signal).expect("kv runs");
    }

    /// Waits for its end. Returns the status and the rest of the output.
    pub fn end(mut self) -> Ran {
        drop(self.child.stdin.take());
        let mut out = Vec::new();
        self.out.read_to_end(&mut out).expect("the output");
        let err = self.rest_of_err();
        Ran {
            status: code(self.child.wait().expect("kv ends")),
            out,
            err,
        }
    }

    /// Sends a signal and waits for the end.
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
    /// The value for `kv -s`.
    pub address: String,
}

impl Serving {
    /// Serves a store on a free port, with these additional flags.
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
        let mut printed = String::new();
        loop {
            let line = running.err_line();
            if line.is_empty() {
                panic!("the server ended before it was ready: {printed}");
            }
            if let Some((_, rest)) = line.split_once("ready to serve client requests on ") {
                let address = rest
                    .split([',', ' '])
                    .next()
                    .expect("an address")
                    .to_string();
                return Serving { running, address };
            }
            printed += &line;
        }
    }
}
