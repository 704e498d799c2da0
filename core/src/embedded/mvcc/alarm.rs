//! Quota and alarms: what a writer must not do now.
//!
//! An alarm is a record of `side`. Which kinds there are, and the quota, stand together in one record of
//! `meta` as well, which each writer reads once: so a store without either pays for one look.

use super::write::Writer;
use crate::embedded::codec::{self, Bounds, meta};
use crate::embedded::lmdb::page_layout::PAGE_BYTES;
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::{Code, Error, Result};
use crate::request::{Alarm, AlarmAction, AlarmKind, AlarmMember, AlarmResponse, Op, Put, Request};

/// What etcd counts for a put besides key and value.
const PUT_BYTES: u64 = 256;
/// What etcd counts for a lease.
const GRANT_BYTES: u64 = 64;

/// The quota and the kinds of alarms that are active.
pub(crate) fn bounds(txn: &Txn) -> Result<Bounds> {
    txn.get(Tree::Meta, meta::BOUNDS)?
        .map_or(Ok(Bounds::default()), Bounds::decode)
}

/// Every alarm that is active, by kind and member.
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

/// The answer to an [`AlarmAction::Get`].
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

/// Bytes of pages that hold data, which is what the quota counts.
pub(crate) fn bytes_in_use(txn: &Txn) -> Result<u64> {
    let pages: u64 = Tree::ALL
        .into_iter()
        .map(|tree| txn.tree_pages(tree))
        .sum::<Result<u64>>()?;
    Ok(pages * PAGE_BYTES as u64)
}

/// What etcd counts for a request; whatever makes room, or takes next to none, counts nothing.
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

/// Unlike etcd's, puts of a txn inside a txn count: else they would be a way past the quota.
fn ops_cost(ops: &[Op]) -> u64 {
    let costs = ops.iter().map(|op| match op {
        Op::Put(put) => put_cost(put),
        Op::Txn(txn) => ops_cost(&txn.success).max(ops_cost(&txn.failure)),
        Op::Range(_) | Op::Delete(_) => 0,
    });
    costs.sum()
}

/// Whether a request goes on while the data is not to be trusted. Reads do not come here.
fn goes_on_corrupt(request: &Request) -> bool {
    matches!(
        request,
        Request::Alarm(_) | Request::Side(_) | Request::Range(_)
    )
}

fn full(detail: impl std::fmt::Display) -> Error {
    Error::new(
        Code::Full,
        format!("mvcc: database space exceeded ({detail})"),
    )
}

impl Writer<'_> {
    /// Refuses what an active alarm or the quota forbids. `raises`: a request beyond the quota raises
    /// NOSPACE, which stays until it is ended.
    pub(super) fn admit(&mut self, request: &Request, raises: bool) -> Result<()> {
        let bounds = *self.bounds();
        if bounds == Bounds::default() {
            return Ok(());
        }
        if bounds.has(AlarmKind::Corrupt) && !goes_on_corrupt(request) {
            let detail = format!(
                "alarm CORRUPT is active ({}): no writes until it is disarmed",
                self.named(AlarmKind::Corrupt)?
            );
            return Err(Error::new(
                Code::Corrupt,
                format!("corrupt cluster ({detail})"),
            ));
        }
        let cost = cost(request);
        if cost == 0 {
            return Ok(());
        }
        if bounds.has(AlarmKind::NoSpace) {
            let named = self.named(AlarmKind::NoSpace)?;
            return Err(full(format_args!(
                "alarm NOSPACE is active ({named}): make room, then disarm it"
            )));
        }
        let most = bounds.max_bytes;
        let fits = |pages_bytes: u64| most == 0 || pages_bytes.saturating_add(cost) < most;
        // ten trees are a tenth of a small commit to count: most files are not even as large as the quota
        if !self.has_written() && fits(self.txn().pages_at_most()? * PAGE_BYTES as u64) {
            return Ok(());
        }
        let used = bytes_in_use(self.txn())?;
        if fits(used) {
            return Ok(());
        }
        if raises {
            self.set_alarm(
                AlarmMember {
                    member: self.member()?,
                    kind: AlarmKind::NoSpace,
                },
                true,
            )?;
        }
        Err(full(format_args!(
            "{used} bytes are in use and this takes {cost}, but max_bytes is {most}: delete and compact, or raise it"
        )))
    }

    /// Whose alarms of this kind are active, in words.
    fn named(&self, kind: AlarmKind) -> Result<String> {
        let members = active(self.txn())?
            .into_iter()
            .filter(|alarm| alarm.kind == kind);
        let members: Vec<String> = members.map(|alarm| alarm.member.to_string()).collect();
        Ok(format!("of member {}", members.join(", ")))
    }

    /// The number of this store as the member of a cluster of one: the second half of its id.
    fn member(&self) -> Result<u64> {
        let id: Option<[u8; 16]> = self
            .txn()
            .get(Tree::Meta, meta::STORE_ID)?
            .and_then(|id| id.try_into().ok());
        let id = id.ok_or_else(|| codec::damaged("meta", meta::STORE_ID, "it has not 16 bytes"))?;
        Ok(u128::from_be_bytes(id) as u64)
    }

    /// Raises or ends an alarm, or answers those that are active.
    pub(super) fn alarm(&mut self, request: &Alarm) -> Result<AlarmResponse> {
        let revision = self.current();
        let Alarm {
            action,
            member,
            kind,
        } = *request;
        let Some(kind) = kind.filter(|_| action != AlarmAction::Get) else {
            let asked = if action == AlarmAction::Get {
                list(self.txn(), kind)?.alarms
            } else {
                Vec::new()
            };
            return Ok(AlarmResponse {
                revision,
                alarms: asked,
            });
        };
        let alarm = AlarmMember { member, kind };
        let (raised, active) = (
            action == AlarmAction::Activate,
            active(self.txn())?.contains(&alarm),
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

    /// Gives the store this quota; 0 is none.
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
