//! `alarm`: what is raised, and its end.

use clap::{Subcommand, ValueEnum};
use libkv::{AlarmKind, AlarmMember};
use serde::Serialize;

use crate::command::Context;
use crate::failure::Result;
use crate::target::Access;

const HELP: &str = "\
NOSPACE is raised when the quota is used up: puts are refused, deletions and compactions are not.
It stays until it is disarmed, also once there is room again. CORRUPT refuses every write.

Examples:
  kv alarm list
  kv compact 1h --physical && kv alarm disarm
  kv alarm disarm nospace";

/// `kv alarm`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = HELP, subcommand_required = true, arg_required_else_help = true)]
pub struct Alarm {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// List the active alarms
    List,
    /// Clear alarms: all, or those of a kind
    Disarm {
        /// Which
        #[arg(ignore_case = true)]
        kind: Option<Kind>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Nospace,
    Corrupt,
}

/// An alarm in JSON.
#[derive(Serialize)]
pub struct AlarmJson {
    /// As text: JavaScript's numbers are exact only up to 2^53.
    member_id: String,
    alarm: &'static str,
}

impl From<&AlarmMember> for AlarmJson {
    fn from(alarm: &AlarmMember) -> AlarmJson {
        AlarmJson {
            member_id: alarm.member.to_string(),
            alarm: alarm.kind.name(),
        }
    }
}

impl Alarm {
    /// Runs the command.
    pub fn run(self, context: &mut Context) -> Result<()> {
        let alarms = match self.what {
            What::List => context.open(Access::Read)?.alarm_list()?,
            What::Disarm { kind } => {
                let kind = kind.map(|kind| match kind {
                    Kind::Nospace => AlarmKind::NoSpace,
                    Kind::Corrupt => AlarmKind::Corrupt,
                });
                context.open(Access::Write)?.alarm_disarm(0, kind)?
            }
        };
        for alarm in &alarms {
            let AlarmMember { member, kind } = alarm;
            match context.out.json {
                true => context.out.json(&AlarmJson::from(alarm))?,
                // as etcdctl, with its space at the end
                false => context
                    .out
                    .line(format!("memberID:{member} alarm:{kind} "))?,
            }
        }
        Ok(())
    }
}
