//! Records beside the keys: read and written by name, without a revision.

use super::writer::Writer;
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::Result;
use crate::request::{Side, SideResponse};

/// The records of a read. For a put, whether all records that it depends on are unchanged.
pub(crate) fn read(txn: &Txn, request: &Side) -> Result<SideResponse> {
    let mut response = SideResponse {
        revision: super::current_revision(txn)?,
        ..SideResponse::default()
    };
    match request {
        Side::Get { name } => {
            response.records.extend(
                txn.get(Tree::Side, name)?
                    .map(|value| (name.clone(), value.to_vec())),
            );
        }
        Side::Scan {
            prefix,
            after,
            limit,
        } => response.records = scan(txn, prefix, after, *limit)?,
        Side::Put { unchanged, .. } => response.written = is_unchanged(txn, unchanged)?,
    }
    Ok(response)
}

fn scan(txn: &Txn, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut records = Vec::new();
    let from = super::bound(prefix.max(after));
    let mut cursor = txn.cursor(Tree::Side)?;
    let mut entry = cursor.seek(&from)?;
    while let Some((name, value)) = entry.filter(|(name, _)| name.starts_with(prefix)) {
        if name > after {
            records.push((name.to_vec(), value.to_vec()));
        }
        if records.len() == limit && limit > 0 {
            break;
        }
        entry = cursor.next()?;
    }
    Ok(records)
}

fn is_unchanged(txn: &Txn, unchanged: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<bool> {
    for (name, value) in unchanged {
        if txn.get(Tree::Side, name)? != value.as_deref() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Writer<'_> {
    pub(super) fn side(&mut self, request: &Side) -> Result<SideResponse> {
        let response = read(&self.txn, request)?;
        if let Side::Put { records, .. } = request
            && response.written
        {
            self.maintain(|txn| {
                records.iter().try_for_each(|(name, value)| match value {
                    Some(value) => txn.put(Tree::Side, name, value),
                    None => txn.delete(Tree::Side, name).map(drop),
                })
            })?;
        }
        Ok(SideResponse {
            revision: self.current,
            ..response
        })
    }
}
