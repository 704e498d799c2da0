//! `lease`: grants, renews and revokes leases.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Subcommand;
use libkv::{Code, Db, Error, LeaseGrant, LeaseId, LeaseKeepAliveResponse, LeaseTimeToLive};
use serde::Serialize;

use crate::command::Context;
use crate::failure::{Failure, Result};
use crate::json::Key;
use crate::notation::{lease_text, parse_lease};
use crate::output::{Out, note};
use crate::signal::Interrupt;
use crate::target::Access;

const HELP: &str = "\
A lease has an id (hexadecimal digits) and a time to live. `kv put --lease ID` attaches a key to
it. When the lease expires or is revoked, its keys are deleted in one revision.

Examples:
  kv lease grant 60
  kv put session alive --lease 390da20fb970430f
  kv lease keep-alive 390da20fb970430f        until Ctrl-C
  kv lease timetolive 390da20fb970430f --keys
  kv lease list
  kv lease revoke 390da20fb970430f

Exit status: 1 if the lease of timetolive or keep-alive does not exist.";

/// `kv lease`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP, subcommand_required = true, arg_required_else_help = true)]
pub struct Lease {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Grant a lease
    Grant {
        /// The time to live in seconds
        #[arg(value_name = "SECONDS", allow_negative_numbers = true)]
        ttl: i64,
        /// The id; the store chooses one if not given
        #[arg(long, value_parser = parse_lease, default_value = "0", hide_default_value = true)]
        id: LeaseId,
    },
    /// Revoke a lease and delete its keys
    Revoke {
        /// The lease
        #[arg(value_parser = parse_lease)]
        id: LeaseId,
    },
    /// Show the remaining time of a lease
    #[command(visible_alias = "ttl")]
    Timetolive {
        /// The lease
        #[arg(value_parser = parse_lease)]
        id: LeaseId,
        /// Also show the attached keys
        #[arg(long)]
        keys: bool,
    },
    /// List the leases, sorted by expiry time
    List,
    /// Renew a lease until Ctrl-C
    #[command(alias = "keepalive")]
    KeepAlive {
        /// The lease
        #[arg(value_parser = parse_lease)]
        id: LeaseId,
        /// Renew once and exit
        #[arg(long)]
        once: bool,
    },
}

#[derive(Serialize)]
struct GrantJson {
    id: String,
    ttl_seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
}

#[derive(Serialize)]
struct RevokeJson {
    id: String,
    revision: i64,
}

#[derive(Serialize)]
struct TimeToLiveJson<'a> {
    id: String,
    /// -1 if the lease does not exist.
    ttl_seconds: i64,
    granted_ttl_seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<Key<'a>>>,
}

#[derive(Serialize)]
struct ListJson {
    leases: Vec<String>,
}

impl Lease {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let access = match self.what {
            What::Grant { .. } => Access::Create,
            What::Timetolive { .. } | What::List => Access::Read,
            _ => Access::Write,
        };
        let db = context.open(access)?;
        let out = &mut context.out;
        match self.what {
            What::Grant { ttl, id } => grant(&db, out, ttl, id),
            What::Revoke { id } => {
                let revision = db.lease_revoke(id)?.revision;
                match out.json {
                    true => out.json(&RevokeJson {
                        id: lease_text(id),
                        revision,
                    }),
                    false => out.line(format!("lease {} revoked", lease_text(id))),
                }
            }
            What::Timetolive { id, keys } => time_to_live(&db, out, id, keys),
            What::List => list(&db, out),
            What::KeepAlive { id, once } => keep_alive(&db, out, id, once),
        }
    }
}

fn grant(db: &Db, out: &mut Out, ttl_seconds: i64, id: LeaseId) -> Result<()> {
    let granted = db.lease_grant(LeaseGrant::new(ttl_seconds).id(id))?;
    let (id, ttl_seconds) = (lease_text(granted.id), granted.ttl_seconds);
    match out.json {
        true => out.json(&GrantJson {
            id,
            ttl_seconds,
            revision: Some(granted.revision),
        }),
        false => out.line(format!("lease {id} granted with TTL({ttl_seconds}s)")),
    }
}

fn time_to_live(db: &Db, out: &mut Out, id: LeaseId, keys: bool) -> Result<()> {
    let left = db.lease_time_to_live(LeaseTimeToLive::new(id).keys(keys))?;
    let (ttl, granted) = (left.ttl_seconds, left.granted_ttl_seconds);
    let gone = ttl < 0;
    if out.json {
        let shown = keys.then(|| left.keys.iter().map(|key| Key::from(&key[..])).collect());
        let id = lease_text(id);
        out.json(&TimeToLiveJson {
            id,
            ttl_seconds: ttl,
            granted_ttl_seconds: granted,
            keys: shown,
        })?;
    } else if gone {
        out.line(format!("lease {} already expired", lease_text(id)))?;
    } else {
        out.bytes(
            format!(
                "lease {} granted with TTL({granted}s), remaining({ttl}s)",
                lease_text(id)
            )
            .as_bytes(),
        )?;
        if keys {
            out.bytes(b", attached keys([")?;
            for (index, key) in left.keys.iter().enumerate() {
                out.bytes(if index > 0 { b" " } else { b"" })?;
                out.key_inline(key)?;
            }
            out.bytes(b"])")?;
        }
        out.line("")?;
    }
    if gone { Err(Failure::No) } else { Ok(()) }
}

fn list(db: &Db, out: &mut Out) -> Result<()> {
    let leases: Vec<String> = db.lease_list()?.into_iter().map(lease_text).collect();
    if out.json {
        return out.json(&ListJson { leases });
    }
    out.line(format!("found {} leases", leases.len()))?;
    leases.iter().try_for_each(|lease| out.line(lease))
}

/// The pause before a cluster that is unavailable is tried again.
const OUTAGE_PAUSE: Duration = Duration::from_millis(500);

/// A cluster that is unavailable. The lease survives if the cluster returns before it expires.
#[derive(Default)]
struct Outage {
    noted: bool,
    /// When the lease expires if it is not renewed.
    expires_at: Option<Instant>,
}

impl Outage {
    /// Prints the error, once per outage. Returns it if the lease has expired or waiting cannot
    /// help.
    fn wait_out(&mut self, error: Error) -> Result<()> {
        let temporary = matches!(error.code(), Code::Unavailable | Code::Timeout);
        if !temporary || self.expires_at.is_none_or(|at| at <= Instant::now()) {
            return Err(error.into());
        }
        if !std::mem::replace(&mut self.noted, true) {
            note(format!("{error}; retrying until the lease expires"));
        }
        Ok(())
    }
}

/// A response, or the number of a signal.
type Message = std::result::Result<libkv::Result<LeaseKeepAliveResponse>, i32>;

/// Requests that a signal can interrupt.
struct Requests {
    sender: mpsc::Sender<Message>,
    receiver: mpsc::Receiver<Message>,
    _interrupt: Interrupt,
}

impl Requests {
    fn new() -> Result<Requests> {
        let (sender, receiver) = mpsc::channel();
        let signals = sender.clone();
        let _interrupt = Interrupt::new(move |signal| {
            let _ = signals.send(Err(signal));
        })?;
        Ok(Requests {
            sender,
            receiver,
            _interrupt,
        })
    }

    /// Renews the lease on a separate thread, so that Ctrl-C does not wait for a slow cluster.
    fn keep_alive(&self, db: &Db, id: LeaseId) -> Result<libkv::Result<LeaseKeepAliveResponse>> {
        let (db, sender) = (db.clone(), self.sender.clone());
        let renew = move || drop(sender.send(Ok(db.lease_keep_alive(id))));
        std::thread::Builder::new()
            .spawn(renew)
            .map_err(Failure::io("a thread"))?;
        self.receiver
            .recv()
            .expect("this struct has a sender")
            .map_err(Failure::Signal)
    }

    fn pause(&self, pause: Duration) -> Result<()> {
        match self.receiver.recv_timeout(pause) {
            Ok(Err(signal)) => Err(Failure::Signal(signal)),
            _ => Ok(()),
        }
    }
}

fn keep_alive(db: &Db, out: &mut Out, id: LeaseId, once: bool) -> Result<()> {
    let requests = Requests::new()?;
    let mut outage = Outage::default();
    loop {
        let asked_at = Instant::now();
        let ttl_seconds = match requests.keep_alive(db, id)? {
            Ok(kept) => kept.ttl_seconds,
            Err(error) => {
                outage.wait_out(error)?;
                requests.pause(OUTAGE_PAUSE)?;
                continue;
            }
        };
        if ttl_seconds <= 0 {
            if !out.json {
                out.line(format!("lease {} expired or revoked.", lease_text(id)))?;
            } else {
                out.json(&GrantJson {
                    id: lease_text(id),
                    ttl_seconds: 0,
                    revision: None,
                })?;
            }
            return Err(Failure::No);
        }
        match out.json {
            true => out.json(&GrantJson {
                id: lease_text(id),
                ttl_seconds,
                revision: None,
            })?,
            false => out.line(format!(
                "lease {} keepalived with TTL({ttl_seconds})",
                lease_text(id)
            ))?,
        }
        out.flush()?;
        if once {
            return Ok(());
        }
        let ttl = Duration::from_secs(ttl_seconds as u64);
        outage = Outage {
            noted: false,
            expires_at: asked_at.checked_add(ttl),
        };
        requests.pause(ttl / 3)?;
    }
}
