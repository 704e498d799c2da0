//! The quota and alarms: which writes are refused.
//!
//! An alarm is a record in `side`. The kinds of the active alarms and the quota are also in one
//! record of `meta`, which each writer reads once: that is the only cost without either.

use super::bounds;
use super::writer::Writer;
use crate::embedded::codec::{self, Bounds, meta};
use crate::embedded::lmdb::page_layout::PAGE_BYTES;
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::{Code, Error, Result};
use crate::etcd_text;
use crate::request::{Alarm, AlarmAction, AlarmKind, AlarmMember, AlarmResponse, Op, Put, Request};

/// The bytes that etcd counts for a put besides key and value.
const PUT_BYTES: u64 = 256;
/// The bytes that etcd counts for a lease.
const GRANT_BYTES: u64 = 64;

/// Every active alarm, ordered by kind and member.
pub(crate) fn active(txn: &Txn) -> Result<Vec<AlarmMember>> {
    let mut alarms = Vec::new();
    let mut cursor = txn.cursor(Tree::Side)?;
    let mut entry = cursor.seek(codec::ALARM)?;
    while let Some((name, _)) = entry.filter(|(name, _)| name.starts_with(codec::ALARM)) {
        alarms.push(codec::alarm(name)?);
        entry = cursor.next()?;
    }
    Ok(alarms)
}

/// The response to an [`AlarmAction::Get`].
pub(crate) fn list(txn: &Txn, kind: Option<AlarmKind>) -> Result<AlarmResponse> {
    let alarms = active(txn)?
        .into_iter()
        .filter(|alarm| kind.is_none_or(|kind| kind == alarm.kind))
        .collect();
    Ok(AlarmResponse {
        revision: super::current_revision(txn)?,
        alarms,
    })
}

/// The bytes of all pages with data, which the quota limits.
pub(crate) fn bytes_in_use(txn: &Txn) -> Result<u64> {
    let pages: u64 = Tree::ALL
        .into_iter()
        .map(|tree| txn.tree_pages(tree))
        .sum::<Result<u64>>()?;
    Ok(pages * PAGE_BYTES as u64)
}

/// The bytes that etcd counts for a request. Requests that free space, or need hardly any, cost 0.
fn cost(request: &Request) -> u64 {
    match request {
        Request::Put(put) => put_cost(put),
        Request::LeaseGrant(_) => GRANT_BYTES,
        Request::Txn(txn) => ops_cost(&txn.success).max(ops_cost(&txn.failure)),
        _ => 0,
    }
}

fn put_cost(put: &Put) -> u64 {
    PUT_BYTES + (put.key.len() + put.value.len()) as u64
}

/// Unlike in etcd, puts of nested txns count: otherwise they would not be subject to the quota.
fn ops_cost(ops: &[Op]) -> u64 {
    let costs = ops.iter().map(|op| match op {
        Op::Put(put) => put_cost(put),
        Op::Txn(txn) => ops_cost(&txn.success).max(ops_cost(&txn.failure)),
        Op::Range(_) | Op::Delete(_) => 0,
    });
    costs.sum()
}

/// Whether a request is allowed while alarm CORRUPT is active.
fn is_allowed_if_corrupt(request: &Request) -> bool {
    matches!(
        request,
        Request::Alarm(_) | Request::Auth(_) | Request::Side(_) | Request::Range(_)
    )
}

fn full(detail: impl std::fmt::Display) -> Error {
    Error::etcd(Code::Full, etcd_text::NO_SPACE).with_detail(detail)
}

impl Writer<'_> {
    /// Refuses a request that an active alarm or the quota forbids. `raises_alarm`: a request
    /// beyond the quota raises NOSPACE, which stays active until it is disarmed.
    pub(super) fn check_alarms_and_quota(
        &mut self,
        request: &Request,
        raises_alarm: bool,
    ) -> Result<()> {
        let bounds = self.bounds;
        if bounds.are_open() {
            return Ok(());
        }
        if bounds.has(AlarmKind::Corrupt) && !is_allowed_if_corrupt(request) {
            let detail = format!(
                "alarm CORRUPT is active ({}): no writes until it is disarmed",
                self.named(AlarmKind::Corrupt)?
            );
            return Err(Error::etcd(Code::Corrupt, etcd_text::CORRUPT).with_detail(detail));
        }
        let cost = cost(request);
        if cost == 0 {
            return Ok(());
        }
        if bounds.has(AlarmKind::NoSpace) {
            let named = self.named(AlarmKind::NoSpace)?;
            return Err(full(format_args!(
                "alarm NOSPACE is active ({named}): free space, then disarm it"
            )));
        }
        let most = bounds.max_bytes;
        let fits = |pages_bytes: u64| most == 0 || pages_bytes.saturating_add(cost) < most;
        // counting the pages of ten trees takes a tenth of a small commit, and most files are
        // smaller than the quota
        if !self.wrote && fits(self.txn.pages_at_most()? * PAGE_BYTES as u64) {
            return Ok(());
        }
        let used = bytes_in_use(&self.txn)?;
        if fits(used) {
            return Ok(());
        }
        if raises_alarm {
            self.set_alarm(
                AlarmMember {
                    member: self.member()?,
                    kind: AlarmKind::NoSpace,
                },
                true,
            )?;
        }
        Err(full(format_args!(
            "{used} bytes are in use and the request needs {cost}, but max_bytes is {most}: \
             delete keys and compact, or raise max_bytes"
        )))
    }

    /// The members with an active alarm of this kind, as text.
    fn named(&self, kind: AlarmKind) -> Result<String> {
        let members = active(&self.txn)?
            .into_iter()
            .filter(|alarm| alarm.kind == kind);
        let members: Vec<String> = members.map(|alarm| alarm.member.to_string()).collect();
        Ok(format!("of member {}", members.join(", ")))
    }

    /// The member id of this store, a cluster with one member: the second half of the store id.
    fn member(&self) -> Result<u64> {
        let id: Option<[u8; 16]> = self
            .txn
            .get(Tree::Meta, meta::STORE_ID)?
            .and_then(|id| id.try_into().ok());
        let id = id.ok_or_else(|| codec::damaged("meta", meta::STORE_ID, "it has not 16 bytes"))?;
        Ok(u128::from_be_bytes(id) as u64)
    }

    /// Raises or disarms an alarm, or returns the active ones.
    pub(super) fn alarm(&mut self, request: &Alarm) -> Result<AlarmResponse> {
        let revision = self.current;
        let Alarm {
            action,
            member,
            kind,
        } = *request;
        let Some(kind) = kind.filter(|_| action != AlarmAction::Get) else {
            let listed = if action == AlarmAction::Get {
                list(&self.txn, kind)?.alarms
            } else {
                Vec::new()
            };
            return Ok(AlarmResponse {
                revision,
                alarms: listed,
            });
        };
        let alarm = AlarmMember { member, kind };
        let (raised, active) = (
            action == AlarmAction::Activate,
            active(&self.txn)?.contains(&alarm),
        );
        if raised != active {
            self.set_alarm(alarm, raised)?;
        }
        Ok(AlarmResponse {
            revision,
            alarms: if raised || active {
                vec![alarm]
            } else {
                Vec::new()
            },
        })
    }

    fn set_alarm(&mut self, alarm: AlarmMember, raised: bool) -> Result<()> {
        self.maintain(|txn| {
            let name = codec::alarm_name(alarm);
            match raised {
                true => txn.put(Tree::Side, &name, &[])?,
                false => drop(txn.delete(Tree::Side, &name)?),
            }
            let kinds: Vec<AlarmKind> = active(txn)?.into_iter().map(|alarm| alarm.kind).collect();
            let bounds = Bounds {
                alarms: codec::alarm_bits(&kinds),
                ..bounds(txn)?
            };
            txn.put(Tree::Meta, meta::BOUNDS, &bounds.encode())
        })?;
        self.read_bounds()
    }

    /// Sets the quota; 0 is none.
    pub fn set_max_bytes(&mut self, max_bytes: u64) -> Result<()> {
        self.maintain(|txn| {
            let bounds = Bounds {
                max_bytes,
                ..bounds(txn)?
            };
            txn.put(Tree::Meta, meta::BOUNDS, &bounds.encode())
        })?;
        self.read_bounds()
    }
}
