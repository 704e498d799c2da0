//! `lock`: one at a time, of all processes that use the store.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use signal_hook::consts::SIGINT;

use crate::command::Context;
use crate::command::standing::{News, Standing};
use crate::duration::parse_duration_ms;
use crate::failure::{Failure, Result};
use crate::json::Key;
use crate::output::note;

const HELP: &str = "\
Waits for the lock. With a COMMAND it runs that, with KV_LOCK_KEY and KV_LOCK_REV set, frees the
lock when it ends, and ends with its exit status. Without one it shows the lock's key and holds it
until Ctrl-C. The lock is also freed when this process dies. KV_LOCK_REV only grows from holder to
holder: let what is protected refuse a lower one than it has seen.

Examples:
  kv lock deploy ./deploy.sh --all            what follows COMMAND is its own
  kv lock deploy --timeout 10s ./deploy.sh    status 6 if it was not to be had in time
  kv lock deploy --try ./deploy.sh            status 1 if somebody has it
  kv lock deploy

Exit status: that of COMMAND (126 and 127 as in a shell if it does not start); 3 if the lock was
lost while it ran: it was told to end with SIGTERM.";

/// `kv lock`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Lock {
    /// The lock
    name: OsString,
    /// The command to run while the lock is held
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<OsString>,
    /// The TTL in seconds: if this process is stopped or cannot reach the cluster, the lock is released after it
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    ttl: i64,
    /// Give up after this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    timeout: Option<u64>,
    /// Give up at once if the lock is held
    #[arg(long, conflicts_with = "timeout")]
    r#try: bool,
}

/// A lock that is held, in JSON.
#[derive(Serialize)]
struct Held<'a> {
    #[serde(flatten)]
    key: Key<'a>,
    revision: i64,
}

impl Lock {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let name = context.global.notation.parse(&self.name)?;
        let timeout_ms = if self.r#try { Some(0) } else { self.timeout };
        let Some(mut standing) = Standing::first(context, &name, Vec::new(), self.ttl, timeout_ms)?
        else {
            if self.r#try {
                return Err(Failure::No);
            }
            let message = format!(
                "the lock {} was not acquired in time",
                crate::notation::escape(&name)
            );
            return Err(libkv::Error::new(libkv::Code::Timeout, message).into());
        };
        let held = match self.command.split_first() {
            Some((program, arguments)) => run_command(&standing, program, arguments),
            None => {
                let revision = standing.revision();
                match context.out.json {
                    true => context.out.json(&Held {
                        key: Key::from(standing.key()),
                        revision,
                    })?,
                    false => context.out.key_line(standing.key())?,
                }
                context.out.flush()?;
                Err(match standing.news.recv() {
                    Ok(News::Signal(signal)) => Failure::Signal(signal),
                    _ => standing.lost(),
                })
            }
        };
        let left = standing.leave();
        held.and(left)
    }
}

/// Runs the command and passes its status on.
fn run_command(standing: &Standing, program: &OsStr, arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("KV_LOCK_KEY", OsStr::from_bytes(standing.key()))
        .env("KV_LOCK_REV", standing.revision().to_string());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            note(format!("{}: {error}", program.to_string_lossy()));
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            return Err(Failure::Passed(if missing { 127 } else { 126 }));
        }
    };
    let pid = Pid::from_child(&child);
    wait_for(child, standing);
    let mut lost = false;
    loop {
        match standing.news.recv().expect("the sender is here too") {
            News::Ended(Ok(status)) if !lost => return pass(status),
            News::Ended(Ok(_)) => return Err(standing.lost()),
            News::Ended(Err(error)) => {
                return Err(Failure::Io(program.to_string_lossy().into(), error));
            }
            News::Lost => {
                note("the lock is lost: the command gets SIGTERM");
                lost = true;
                let _ = kill_process(pid, Signal::TERM);
            }
            // a terminal sends Ctrl-C to the command too; others send a signal to this process alone
            News::Signal(SIGINT) => {}
            News::Signal(_) => {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }
}

/// Tells of the end of the command, from a thread of its own.
fn wait_for(mut child: Child, standing: &Standing) {
    let tell = standing.tell.clone();
    std::thread::spawn(move || {
        let _ = tell.send(News::Ended(child.wait()));
    });
}

fn pass(status: ExitStatus) -> Result<()> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failure::Passed(code as u8)),
        (None, signal) => Err(Failure::Passed(128 + signal.unwrap_or(0) as u8)),
    }
}
