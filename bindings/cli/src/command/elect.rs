//! `elect`: one leader among all candidates.

use std::ffi::OsString;

use libkv::{Code, Db, KeyValue, WaitLimit};

use crate::command::Context;
use crate::command::claim::{Event, Holding, Wanted};
use crate::duration::parse_duration_ms;
use crate::failure::{Failure, Result};
use crate::json::Pair;
use crate::output::Out;
use crate::signal::Interrupt;
use crate::target::Access;

const HELP: &str = "\
Campaigns to be the leader of NAME with VALUE, shows its key and the value once it leads, and leads
until Ctrl-C, when it resigns. With --listen it shows each leader, beginning with the current one.

Examples:
  kv elect web-server \"$(hostname)\"
  kv elect web-server --listen
  kv elect web-server --leader                status 1 if there is no leader";

/// `kv elect`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct Elect {
    /// The election
    name: OsString,
    /// The value that the leader proclaims
    #[arg(required_unless_present_any = ["listen", "leader"])]
    value: Option<OsString>,
    /// Show each leader, until Ctrl-C
    #[arg(short, long, conflicts_with_all = ["value", "leader"])]
    listen: bool,
    /// Show the current leader
    #[arg(long, conflicts_with = "value")]
    leader: bool,
    /// The TTL in seconds: if this process is stopped or cannot reach the cluster, the next candidate leads after it
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    ttl: i64,
    /// Give up after this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    timeout: Option<u64>,
}

impl Elect {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let notation = context.global.notation;
        let name = notation.parse(&self.name)?;
        let Some(value) = &self.value else {
            let db = context.open(Access::Read)?;
            return if self.leader {
                leader(&db, &mut context.out, name)
            } else {
                listen(&db, &mut context.out, name)
            };
        };
        let value = notation.parse(value)?;
        let wanted = Wanted {
            name: &name,
            value: value.clone(),
            ttl_seconds: self.ttl,
            timeout_ms: self.timeout,
            only_if_free: false,
        };
        let Some(mut holding) = Holding::wait(context, wanted)? else {
            return Err(Failure::No);
        };
        show(&mut context.out, &holding.pair(value))?;
        match holding.events.recv() {
            Ok(Event::Signal(signal)) => holding.leave().and(Err(Failure::Signal(signal))),
            // a cluster that does not respond cannot revoke the lease either: no error of its own
            _ => Err(holding.lost()),
        }
    }
}

fn leader(db: &Db, out: &mut Out, name: Vec<u8>) -> Result<()> {
    match db.election(name, 1)?.leader()? {
        Some(kv) => show(out, &kv),
        None => Err(Failure::No),
    }
}

fn listen(db: &Db, out: &mut Out, name: Vec<u8>) -> Result<()> {
    let mut leaders = db.election(name, 1)?.observe()?;
    let canceller = leaders.watcher().canceller();
    let interrupt = Interrupt::new(move |_| canceller.cancel())?;
    loop {
        match leaders.next_unless(WaitLimit::new(None), &|| interrupt.signal() != 0) {
            Ok(Some(kv)) => show(out, &kv)?,
            Ok(None) => {}
            Err(error) if error.code() == Code::Cancelled => return interrupt.check(),
            Err(error) => return Err(error.into()),
        }
        interrupt.check()?;
    }
}

fn show(out: &mut Out, kv: &KeyValue) -> Result<()> {
    match out.json {
        true => out.json(&Pair::from(kv))?,
        false => out.pair_lines(kv)?,
    }
    out.flush()
}
