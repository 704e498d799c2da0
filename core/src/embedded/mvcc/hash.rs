//! The hash of the history, which etcd computes for the rpc HashKV: equal on every store, and on
//! every member of a cluster, that has the same events and the same compacted revision.
//!
//! It is a CRC-32C over the word `key` and the records that etcd would store, in order: the record's
//! key (revision, `_`, number in the revision, `t` for a deletion), then the pair as protobuf.

use super::walk::{Walk, item};
use super::{At, readable, revisions};
use crate::embedded::codec::{self, LogEvent, Rev};
use crate::embedded::lmdb::{Tree, Txn};
use crate::error::Result;
use crate::member::HashKvResponse;
use crate::model::{KeyRange, Revision};

/// etcd's bucket of the records.
const BUCKET: &[u8] = b"key";
/// The length of a record's key; that of a deletion has one more.
const RECORD_KEY_BYTES: usize = 17;

/// Hashes the records up to `revision` (0: the current one).
///
/// # Errors
///
/// `future_revision`, `compacted`.
pub(crate) fn hash_kv(txn: &Txn, revision: Revision) -> Result<HashKvResponse> {
    let (current, compacted) = revisions(txn)?;
    readable(txn, revision, current)?;
    let upto = if revision == 0 { current } else { revision };
    // of the records up to the compacted revision, those that are the newest of a key here count
    let kept_at = if exists_any(txn, upto)? {
        upto
    } else {
        compacted
    };
    let mut hash = crc32c::crc32c(BUCKET);
    let mut cursor = txn.cursor(Tree::Log)?;
    let mut entry = cursor.seek(&[])?;
    while let Some((key, record)) = entry {
        let rev = Rev::from_key(key)?;
        if rev.main > upto {
            break;
        }
        let event = codec::event(rev, record)?;
        if rev.main > compacted || is_visible(txn, &event, kept_at)? {
            hash = append_record(hash, &event);
        }
        entry = cursor.next()?;
    }
    Ok(HashKvResponse {
        revision: current,
        hash,
        compact_revision: compacted,
        hash_revision: upto,
    })
}

/// Whether a key exists at `revision`. If none does, etcd hashes whatever its last compaction kept.
fn exists_any(txn: &Txn, revision: Revision) -> Result<bool> {
    let all = KeyRange::all();
    let mut walk = Walk::new(txn, &all, At::Past(revision))?;
    Ok(walk.next()?.is_some())
}

/// Whether a read at `revision` returns this event.
fn is_visible(txn: &Txn, event: &LogEvent, revision: Revision) -> Result<bool> {
    if event.header.tombstone {
        return Ok(false);
    }
    let found = item(txn, event.key, At::Past(revision))?;
    Ok(found.is_some_and(|item| item.header.rev == event.header.rev))
}

fn append_record(hash: u32, event: &LogEvent) -> u32 {
    let LogEvent { header, key, value } = event;
    let hash = crc32c::crc32c_append(hash, &record_key(header.rev, header.tombstone));
    let mut fields = Fields::new();
    fields.bytes(1, key);
    let hash = crc32c::crc32c_append(hash, fields.written());
    let mut hash = crc32c::crc32c_append(hash, key);
    if header.tombstone {
        return hash;
    }
    let mut fields = Fields::new();
    fields.number(2, header.create);
    fields.number(3, header.rev.main);
    fields.number(4, header.version);
    fields.bytes(5, value);
    hash = crc32c::crc32c_append(hash, fields.written());
    hash = crc32c::crc32c_append(hash, value);
    let mut fields = Fields::new();
    fields.number(6, header.lease);
    crc32c::crc32c_append(hash, fields.written())
}

/// The key of a record.
fn record_key(rev: Rev, is_tombstone: bool) -> Vec<u8> {
    let mut key = Vec::with_capacity(RECORD_KEY_BYTES + 1);
    key.extend(rev.main.to_be_bytes());
    key.push(b'_');
    key.extend(i64::from(rev.sub).to_be_bytes());
    if is_tombstone {
        key.push(b't');
    }
    key
}

/// Fields of a protobuf message. Those that are zero or empty are left out.
struct Fields {
    bytes: [u8; Fields::BYTES_MAX],
    len: usize,
}

impl Fields {
    /// Three numbers and a length, each with its field.
    const BYTES_MAX: usize = 4 * 11;

    fn new() -> Fields {
        Fields {
            bytes: [0; Fields::BYTES_MAX],
            len: 0,
        }
    }

    fn number(&mut self, field: u8, number: i64) {
        if number != 0 {
            self.push(field << 3);
            self.varint(number as u64);
        }
    }

    /// The field and the length of bytes; they follow.
    fn bytes(&mut self, field: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.push(field << 3 | 2);
            self.varint(bytes.len() as u64);
        }
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.push(number as u8);
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
