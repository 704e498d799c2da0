//! `lock`: one holder at a time, of all processes that use the store.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use signal_hook::consts::SIGINT;

use crate::command::Context;
use crate::command::claim::{Event, Holding, Wanted};
use crate::duration::parse_duration_ms;
use crate::failure::{Failure, Result};
use crate::json::Key;
use crate::output::note;

const HELP: &str = "\
Waits for the lock. With a COMMAND it runs that with KV_LOCK_KEY and KV_LOCK_REV set, releases the
lock when it ends, and ends with its exit status. Without one it shows the lock's key and holds it
until Ctrl-C. The lock is also released when this process ends. KV_LOCK_REV increases from holder to
holder: let the protected resource refuse a lower one than it has seen.

Examples:
  kv lock deploy ./deploy.sh --all            all after COMMAND are its arguments
  kv lock deploy --timeout 10s ./deploy.sh    status 6 if it is not acquired in time
  kv lock deploy --try ./deploy.sh            status 1 if it is held
  kv lock deploy

Exit status: that of COMMAND (126 and 127 as in a shell if it does not start); 3 if the lock was
lost while it ran: it got SIGTERM.";

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
    /// The TTL in seconds: if this process is stopped or cannot reach the cluster, the lock is
    /// released after it
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
struct HeldLock<'a> {
    #[serde(flatten)]
    key: Key<'a>,
    revision: i64,
}

impl Lock {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let name = context.global.notation.parse(&self.name)?;
        let wanted = Wanted {
            name: &name,
            value: Vec::new(),
            ttl_seconds: self.ttl,
            timeout_ms: if self.r#try { Some(0) } else { self.timeout },
            only_if_free: self.r#try,
        };
        let Some(mut holding) = Holding::wait(context, wanted)? else {
            return Err(Failure::No);
        };
        let held = match self.command.split_first() {
            Some((program, arguments)) => run_command(&holding, program, arguments),
            None => {
                let revision = holding.revision();
                match context.out.json {
                    true => context.out.json(&HeldLock {
                        key: Key::from(holding.key()),
                        revision,
                    })?,
                    false => context.out.key_line(holding.key())?,
                }
                context.out.flush()?;
                Err(match holding.events.recv() {
                    Ok(Event::Signal(signal)) => Failure::Signal(signal),
                    _ => holding.lost(),
                })
            }
        };
        let left = holding.leave();
        held.and(left)
    }
}

/// Runs the command and passes its status on.
fn run_command(holding: &Holding, program: &OsStr, arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("KV_LOCK_KEY", OsStr::from_bytes(holding.key()))
        .env("KV_LOCK_REV", holding.revision().to_string());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            note(format!("{}: {error}", program.to_string_lossy()));
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            return Err(Failure::Passed(if missing { 127 } else { 126 }));
        }
    };
    let pid = Pid::from_child(&child);
    wait_for(child, holding);
    let mut lost = false;
    loop {
        match holding.events.recv().expect("the sender is here too") {
            Event::Exit(Ok(status)) if !lost => return pass(status),
            Event::Exit(Ok(_)) => return Err(holding.lost()),
            Event::Exit(Err(error)) => {
                return Err(Failure::Io(program.to_string_lossy().into(), error));
            }
            Event::Loss => {
                note("the lock is lost: the command gets SIGTERM");
                lost = true;
                let _ = kill_process(pid, Signal::TERM);
            }
            // a terminal sends Ctrl-C to the command too; others send a signal to this process
            // alone
            Event::Signal(SIGINT) => {}
            Event::Signal(_) => {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }
}

/// Reports the end of the command, from a thread of its own.
fn wait_for(mut child: Child, holding: &Holding) {
    let sender = holding.sender.clone();
    std::thread::spawn(move || {
        let _ = sender.send(Event::Exit(child.wait()));
    });
}

fn pass(status: ExitStatus) -> Result<()> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failure::Passed(code as u8)),
        (None, signal) => Err(Failure::Passed(128 + signal.unwrap_or(0) as u8)),
    }
}
