//! Txns. First every compare is evaluated, and every reason for a refusal is checked, against the
//! state before the txn. Then the operations run; each includes the changes of those before it.

use super::pairs::Item;
use super::read;
use super::walk::{Walk, item};
use super::write::kept_item;
use super::writer::Writer;
use super::{At, compacted_error, compacted_revision, future_error};
use crate::embedded::codec::Header;
use crate::embedded::lease::entries;
use crate::embedded::lmdb::Txn as StoreTxn;
use crate::error::{Code, Error, Result};
use crate::model::Revision;
use crate::request::*;

/// Which list of a txn runs, and the same for each nested txn in that list, in order.
struct Plan {
    succeeded: bool,
    nested: Vec<Plan>,
}

impl Plan {
    fn new(store: &StoreTxn, txn: &Txn) -> Result<Plan> {
        let mut succeeded = true;
        for compare in &txn.compare {
            if !holds(store, compare)? {
                succeeded = false;
                break;
            }
        }
        let mut nested = Vec::new();
        for op in if succeeded {
            &txn.success
        } else {
            &txn.failure
        } {
            if let Op::Txn(inner) = op {
                nested.push(Plan::new(store, inner)?);
            }
        }
        Ok(Plan { succeeded, nested })
    }

    /// The list that runs.
    fn ops<'r>(&self, txn: &'r Txn) -> &'r [Op] {
        if self.succeeded {
            &txn.success
        } else {
            &txn.failure
        }
    }

    /// Passes every operation of the lists that run to `visit`, nested ones in order.
    fn for_each<'r>(
        &self,
        txn: &'r Txn,
        visit: &mut impl FnMut(&'r Op) -> Result<()>,
    ) -> Result<()> {
        let mut nested = self.nested.iter();
        for op in self.ops(txn) {
            match op {
                Op::Txn(inner) => nested
                    .next()
                    .map_or(Ok(()), |plan| plan.for_each(inner, visit))?,
                op => visit(op)?,
            }
        }
        Ok(())
    }
}

/// Whether a compare is true for every key of its range. Without a key see contract 5.4.
fn holds(store: &StoreTxn, compare: &Compare) -> Result<bool> {
    if compare.range.is_single() {
        return match item(store, &compare.range.key, At::Now)? {
            Some(item) => holds_for(store, compare, &item),
            None => Ok(holds_without_key(compare)),
        };
    }
    let mut walk = Walk::new(store, &compare.range, At::Now)?;
    let Some(mut item) = walk.next()? else {
        return Ok(holds_without_key(compare));
    };
    loop {
        if !holds_for(store, compare, &item)? {
            return Ok(false);
        }
        match walk.next()? {
            Some(next) => item = next,
            None => return Ok(true),
        }
    }
}

fn holds_without_key(compare: &Compare) -> bool {
    match compare.operand {
        Operand::Value(_) => false,
        _ => holds_number(compare, &Header::default()),
    }
}

fn holds_for<'t>(store: &'t StoreTxn<'_>, compare: &Compare, item: &Item<'t>) -> Result<bool> {
    match &compare.operand {
        Operand::Value(value) => Ok(is(item.value(store)?.cmp(value), compare.result)),
        _ => Ok(holds_number(compare, &item.header)),
    }
}

fn holds_number(compare: &Compare, header: &Header) -> bool {
    let order = match compare.operand {
        Operand::Version(version) => header.version.cmp(&version),
        Operand::CreateRevision(revision) => header.create.cmp(&revision),
        Operand::ModRevision(revision) => header.rev.main.cmp(&revision),
        Operand::Lease(lease) => header.lease.cmp(&lease),
        Operand::Value(_) => return false,
    };
    is(order, compare.result)
}

fn is(order: std::cmp::Ordering, result: CompareResult) -> bool {
    match result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
        CompareResult::NotEqual => order.is_ne(),
    }
}

fn check_put(store: &StoreTxn, put: &Put) -> Result<()> {
    kept_item(store, put)?;
    entries::check(store, put.lease)
}

/// The revision that a range inside a txn reads. Unlike in a plain range (contract 5.10) a negative
/// revision is compared with the compacted one: -1 is valid before the first compaction.
fn range_at(request: &Range, current: Revision, compacted: Revision) -> Result<At> {
    match request.revision {
        0 => Ok(At::Now),
        revision if revision > current => Err(future_error(revision, current)),
        revision if revision < compacted => Err(compacted_error(revision, compacted)),
        revision if revision < 0 || revision == current => Ok(At::Now),
        revision => Ok(At::Past(revision)),
    }
}

/// Checks the operations of the lists that run, in etcd's order: all puts, then all ranges.
fn check(
    store: &StoreTxn,
    txn: &Txn,
    plan: &Plan,
    current: Revision,
    compacted: Revision,
) -> Result<()> {
    plan.for_each(txn, &mut |op| match op {
        Op::Put(put) => check_put(store, put),
        _ => Ok(()),
    })?;
    plan.for_each(txn, &mut |op| match op {
        Op::Range(range) => range_at(range, current, compacted).map(drop),
        _ => Ok(()),
    })
}

/// Runs a txn in one revision, or refuses it before it has written anything.
pub(crate) fn run(writer: &mut Writer, txn: &Txn) -> Result<TxnResponse> {
    let plan = Plan::new(&writer.txn, txn)?;
    check(&writer.txn, txn, &plan, writer.current, writer.compacted)?;
    let mut result = run_list(writer, txn, &plan)?;
    result.revision = writer.revision();
    Ok(result)
}

fn run_list(writer: &mut Writer, txn: &Txn, plan: &Plan) -> Result<TxnResponse> {
    let mut nested = plan.nested.iter();
    let mut responses = Vec::with_capacity(plan.ops(txn).len());
    for op in plan.ops(txn) {
        responses.push(match op {
            Op::Range(range) => {
                let at = range_at(range, writer.current, writer.compacted)?;
                OpResponse::Range(writer.range(range, Some(at))?)
            }
            Op::Put(put) => OpResponse::Put(writer.put(put)?),
            Op::Delete(delete) => OpResponse::Delete(writer.delete(delete)?),
            Op::Txn(inner) => match nested.next() {
                Some(plan) => OpResponse::Txn(run_list(writer, inner, plan)?),
                None => return Err(Error::new(Code::Internal, "a nested txn has no plan")),
            },
        });
    }
    // in etcd the header of a nested txn's response is empty: its revision stays 0
    Ok(TxnResponse {
        succeeded: plan.succeeded,
        revision: 0,
        responses,
    })
}

/// Runs a txn with ranges only, which needs no writer.
pub(crate) fn run_read_only(store: &StoreTxn, txn: &Txn, current: Revision) -> Result<TxnResponse> {
    let compacted = compacted_revision(store)?;
    let plan = Plan::new(store, txn)?;
    check(store, txn, &plan, current, compacted)?;
    let mut responses = Vec::with_capacity(plan.ops(txn).len());
    for op in plan.ops(txn) {
        let Op::Range(range) = op else {
            return Err(Error::new(Code::Internal, "a write in a read-only txn"));
        };
        let response = read::range(store, range, range_at(range, current, compacted)?)?;
        responses.push(OpResponse::Range(RangeResponse {
            revision: current,
            ..response
        }));
    }
    Ok(TxnResponse {
        succeeded: plan.succeeded,
        revision: current,
        responses,
    })
}
