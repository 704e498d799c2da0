//! Alarms of the model. The model has no pages and no quota, only alarms and their effect.

use libkv::*;

use super::{Model, refuse};
use crate::script::{self, Step};

impl Model {
    pub(super) fn has_alarm(&self, kind: AlarmKind) -> bool {
        self.alarms.iter().any(|alarm| alarm.0 == kind)
    }

    /// Refuses every write under a CORRUPT alarm, and a write with a cost under a NOSPACE alarm.
    pub(super) fn check_alarms_for_cost(&mut self, cost: u64) -> Result<()> {
        if self.has_alarm(AlarmKind::Corrupt) {
            self.reach("corrupt");
            return refuse(Code::Corrupt, "corrupt cluster");
        }
        if self.has_alarm(AlarmKind::NoSpace) && cost > 0 {
            self.reach("no space");
            return refuse(Code::Full, "mvcc: database space exceeded");
        }
        Ok(())
    }

    pub(super) fn check_alarms(&mut self, request: &Request) -> Result<()> {
        match request {
            Request::Put(put) => self.check_alarms_for_cost(cost(&put.clone().into())),
            Request::Txn(txn) if !txn.is_read_only() => {
                self.check_alarms_for_cost(cost(&txn.clone().into()))
            }
            Request::Delete(_) | Request::Compact(_) | Request::LeaseRevoke(_) => {
                self.check_alarms_for_cost(0)
            }
            // other checks of these requests come first; they check the alarms themselves
            _ => Ok(()),
        }
    }

    pub(super) fn alarm(&mut self, step: &Step) -> String {
        let changed: Vec<(AlarmKind, u64)> = match step {
            Step::AlarmActivate(kind, member) => {
                self.alarms.insert((*kind, *member));
                vec![(*kind, *member)]
            }
            Step::AlarmDisarm(member, kind) => {
                let meant = |alarm: &(AlarmKind, u64)| {
                    kind.is_none_or(|kind| kind == alarm.0) && (*member == 0 || *member == alarm.1)
                };
                let ended = self.alarms.iter().copied().filter(meant).collect();
                self.alarms.retain(|alarm| !meant(alarm));
                ended
            }
            _ => self.alarms.iter().copied().collect(),
        };
        script::alarms(
            &changed
                .iter()
                .map(|&(kind, member)| AlarmMember { member, kind })
                .collect::<Vec<_>>(),
        )
    }
}

fn cost(op: &Op) -> u64 {
    match op {
        Op::Put(put) => 256 + (put.key.len() + put.value.len()) as u64,
        Op::Txn(txn) => {
            let of = |ops: &[Op]| ops.iter().map(cost).sum::<u64>();
            of(&txn.success).max(of(&txn.failure))
        }
        Op::Range(_) | Op::Delete(_) => 0,
    }
}
