//! Validation of requests, before they reach a store.
//!
//! The order of the checks is etcd's (contract 4.7, 5.15): sizes and keys of each level, compares
//! first, then the success list, then the failure list; then duplicate keys; then the total size.

use std::collections::{BTreeMap, HashSet};

use crate::auth;
use crate::error::{Code, Error, Result, show};
use crate::etcd_text;
use crate::model::KeyRange;
use crate::options::{LimitsPreset, Options};
use crate::request::*;

/// A [`Side::Put`] must not write names with these prefixes.
const OWN_RECORDS: [&[u8]; 3] = [b"time/", b"alarm/", b"auth/"];

/// The limits of the requests of a handle. Made by [`Limits::from_options`]; fields may be added in
/// a minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one write: keys and values, or the encoded request if `etcd_encoding`.
    pub max_request_bytes: u64,
    /// Operations in each list of a txn.
    pub max_txn_ops: usize,
    /// Smaller TTLs are raised to it.
    pub lease_ttl_min_seconds: i64,
    /// Use the size of the request as etcd encodes it, and etcd's limit for nested txns: a nested
    /// txn has only the operations that its parent has left.
    pub etcd_rules: bool,
}

impl Limits {
    const NONE: Limits = Limits {
        max_request_bytes: u64::MAX,
        max_txn_ops: usize::MAX,
        lease_ttl_min_seconds: 0,
        etcd_rules: false,
    };

    /// The limits of a handle that is opened with these options.
    pub fn from_options(options: &Options) -> Limits {
        let etcd_rules = options.limits == Some(LimitsPreset::Etcd);
        let (bytes, ops, ttl) = match etcd_rules {
            true => (
                ETCD_MAX_REQUEST_BYTES,
                ETCD_MAX_TXN_OPS,
                ETCD_LEASE_TTL_MIN_SECONDS,
            ),
            false => (MAX_REQUEST_BYTES, MAX_TXN_OPS, LEASE_TTL_MIN_SECONDS),
        };
        Limits {
            max_request_bytes: options.max_request_bytes.unwrap_or(bytes),
            max_txn_ops: options.max_txn_ops.unwrap_or(ops),
            lease_ttl_min_seconds: options.lease_ttl_min_seconds.unwrap_or(ttl),
            etcd_rules,
        }
    }

    /// Validates a request, as a handle with these limits does before it runs it.
    ///
    /// # Errors
    ///
    /// `invalid_argument`, `duplicate_key`, `too_many_ops` or `too_large`, each naming what is
    /// meant.
    pub fn check(&self, request: &Request) -> Result<()> {
        validate(request, self)
    }
}

/// Validates a request.
///
/// # Errors
///
/// `invalid_argument`, `duplicate_key`, `too_many_ops`, `too_large`.
pub fn validate(request: &Request, limits: &Limits) -> Result<()> {
    match request {
        Request::Range(range) => check_range(&range.range),
        Request::Put(put) => {
            check_put(put)?;
            check_size(limits, || put_bytes(put), || wire::put(put))
        }
        Request::Delete(delete) => {
            check_range(&delete.range)?;
            check_size(
                limits,
                || range_bytes(&delete.range),
                || wire::delete(delete),
            )
        }
        Request::Txn(txn) => {
            check_txn(txn, limits, limits.max_txn_ops, 0)?;
            check_duplicates(&txn.success)?;
            check_duplicates(&txn.failure)?;
            // etcd does not propose a txn of ranges, so it does not check its size
            if txn.is_read_only() {
                return Ok(());
            }
            check_size(limits, || txn_bytes(txn), || wire::txn(txn))
        }
        Request::Compact(_) | Request::LeaseRevoke(_) | Request::Alarm(_) => Ok(()),
        Request::Auth(request) => auth::check(request),
        Request::Side(side) => check_side(side, limits),
        Request::LeaseGrant(grant) => match grant.ttl_seconds > LEASE_TTL_MAX_SECONDS {
            true => {
                let error = Error::etcd(Code::InvalidArgument, etcd_text::LEASE_TTL_TOO_LARGE);
                Err(error.with_detail(format_args!("{} s", grant.ttl_seconds)))
            }
            false => Ok(()),
        },
    }
}

/// Validates the keys and options in a txn, without limits and duplicates. The txn may be the
/// beginning of a request that has a fault later.
///
/// # Errors
///
/// `invalid_argument` or `too_large` for the first fault in etcd's order; `too_many_ops` if txns are
/// nested too deeply.
pub fn check_txn_fields(txn: &Txn) -> Result<()> {
    check_txn(txn, &Limits::NONE, usize::MAX, 0)
}

/// Validates a watch. An empty key becomes `\0`, as in etcd.
///
/// # Errors
///
/// `invalid_argument` for a range that ends at or before its start.
pub fn validate_watch(mut watch: Watch) -> Result<Watch> {
    if watch.range.key.is_empty() {
        watch.range.key = vec![0];
    }
    let KeyRange { key, range_end } = &watch.range;
    if !range_end.is_empty() && *range_end != [0] && range_end <= key {
        let error = Error::etcd(Code::InvalidArgument, etcd_text::WATCH_RANGE_EMPTY);
        return Err(error.with_detail(format_args!("{} to {}", show(key), show(range_end))));
    }
    Ok(watch)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidArgument, message)
}

/// Refuses the empty key.
///
/// # Errors
///
/// `invalid_argument`, with etcd's text.
pub fn check_key(key: &[u8]) -> Result<()> {
    match key.is_empty() {
        true => Err(Error::etcd(
            Code::InvalidArgument,
            etcd_text::KEY_NOT_PROVIDED,
        )),
        false => Ok(()),
    }
}

pub(crate) fn check_range(range: &KeyRange) -> Result<()> {
    check_key(&range.key)
}

fn check_put(put: &Put) -> Result<()> {
    check_key(&put.key)?;
    let refused = |text: &'static str, option: &str| {
        let detail = format!("put of {} with {option}", show(&put.key));
        Err(Error::etcd(Code::InvalidArgument, text)
            .with_detail(detail)
            .with_key(&*put.key))
    };
    if put.ignore_value && !put.value.is_empty() {
        return refused(etcd_text::VALUE_PROVIDED, "ignore_value");
    }
    if put.ignore_lease && put.lease != 0 {
        return refused(etcd_text::LEASE_PROVIDED, "ignore_lease");
    }
    if put.key.len() > KEY_BYTES_MAX {
        let key = show(&put.key);
        let detail = format!("key {key}: this version stores keys of up to {KEY_BYTES_MAX}");
        // etcd has no limit for keys, so this is not an error of etcd's: the server sends the
        // detail
        return Err(Error::new(Code::TooLarge, etcd_text::REQUEST_TOO_LARGE)
            .with_detail(detail)
            .with_key(&*put.key));
    }
    Ok(())
}

/// `ops_max` is the limit of this level: that of the handle, or with etcd's rule what its parents
/// have not used (contract 5.12).
fn check_txn(txn: &Txn, limits: &Limits, ops_max: usize, depth: usize) -> Result<()> {
    let longest = txn
        .compare
        .len()
        .max(txn.success.len())
        .max(txn.failure.len());
    if longest > ops_max || depth > TXN_DEPTH_MAX {
        let what = match longest > ops_max {
            true => format!("a list of {longest}; {ops_max} are allowed here"),
            false => format!("txns nested deeper than {TXN_DEPTH_MAX}"),
        };
        return Err(Error::etcd(Code::TooManyOps, etcd_text::TOO_MANY_OPS).with_detail(what));
    }
    for compare in &txn.compare {
        check_range(&compare.range)?;
    }
    let ops_max_nested = if limits.etcd_rules {
        ops_max - longest
    } else {
        ops_max
    };
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(range) => check_range(&range.range)?,
            Op::Put(put) => check_put(put)?,
            Op::Delete(delete) => check_range(&delete.range)?,
            Op::Txn(nested) => check_txn(nested, limits, ops_max_nested, depth + 1)?,
        }
    }
    Ok(())
}

/// The keys that one list of operations writes, for the duplicate check of contract 5.13.
#[derive(Default)]
struct Writes<'a> {
    puts: HashSet<&'a [u8]>,
    deletes: Intervals,
}

/// A union of half-open intervals: `start` → `end`, neither touching nor overlapping.
#[derive(Default)]
struct Intervals(BTreeMap<Vec<u8>, Vec<u8>>);

impl Intervals {
    fn insert(&mut self, mut start: Vec<u8>, mut end: Vec<u8>) {
        if start >= end {
            return;
        }
        // merge every interval that overlaps this one, beginning with the last that starts at or
        // before its end
        while let Some((s, e)) = self.0.range(..=end.clone()).next_back() {
            if *e < start {
                break;
            }
            let s = s.clone();
            let e = self.0.remove(&s).expect("it was just found");
            start = start.min(s);
            end = end.max(e);
        }
        self.0.insert(start, end);
    }

    fn contains(&self, key: &[u8]) -> bool {
        self.0
            .range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key)))
            .next_back()
            .is_some_and(|(_, end)| key < end.as_slice())
    }

    /// As etcd reads a deletion in this check: an end of `\0` is taken literally, so that "from
    /// key" is empty.
    fn insert_delete(&mut self, range: &KeyRange) {
        let end = match range.is_single() {
            true => [range.key.as_slice(), &[0]].concat(),
            false => range.range_end.clone(),
        };
        self.insert(range.key.clone(), end);
    }
}

/// Exactly etcd's algorithm: the deletes of this level; then each nested txn in order (its puts are
/// checked against the keys collected so far, then its deletes are added); then the puts of this
/// level.
fn check_duplicates(ops: &[Op]) -> Result<Writes<'_>> {
    let mut writes = Writes::default();
    for op in ops {
        if let Op::Delete(delete) = op {
            writes.deletes.insert_delete(&delete.range);
        }
    }
    for op in ops {
        let Op::Txn(nested) = op else { continue };
        let success = check_duplicates(&nested.success)?;
        let failure = check_duplicates(&nested.failure)?;
        for key in &success.puts {
            writes.add_put(key)?;
        }
        for key in &failure.puts {
            // only one of the two lists runs, so the same key in both is no duplicate
            if !success.puts.contains(key) {
                writes.add_put(key)?;
            }
        }
        for (start, end) in success.deletes.0.into_iter().chain(failure.deletes.0) {
            writes.deletes.insert(start, end);
        }
    }
    for op in ops {
        if let Op::Put(put) = op {
            writes.add_put(&put.key)?;
        }
    }
    Ok(writes)
}

impl<'a> Writes<'a> {
    fn add_put(&mut self, key: &'a [u8]) -> Result<()> {
        if self.deletes.contains(key) || !self.puts.insert(key) {
            return Err(Error::etcd(Code::DuplicateKey, etcd_text::DUPLICATE_KEY)
                .with_detail(format_args!("key {}", show(key)))
                .with_key(key));
        }
        Ok(())
    }
}

fn check_size(limits: &Limits, plain: impl Fn() -> u64, encoded: impl Fn() -> u64) -> Result<()> {
    let bytes = if limits.etcd_rules {
        wire::ENVELOPE_BYTES + wire::field(encoded())
    } else {
        plain()
    };
    if bytes > limits.max_request_bytes {
        let most = limits.max_request_bytes;
        return Err(Error::etcd(Code::TooLarge, etcd_text::REQUEST_TOO_LARGE)
            .with_detail(format_args!("{bytes} bytes; the limit is {most}")));
    }
    Ok(())
}

/// The size of the keys and values of a write, which `max_request_bytes` limits without the preset.
pub(crate) fn request_bytes(request: &Request) -> u64 {
    match request {
        Request::Range(range) => range_bytes(&range.range),
        Request::Put(put) => put_bytes(put),
        Request::Delete(delete) => range_bytes(&delete.range),
        Request::Txn(txn) => txn_bytes(txn),
        Request::Side(side) => side_bytes(side),
        Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::Alarm(_)
        | Request::Auth(_) => 0,
    }
}

/// Only the engine writes records with its own prefixes.
fn check_side(side: &Side, limits: &Limits) -> Result<()> {
    let named = |name: &[u8]| match name.len() {
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(invalid(format!(
            "the name of a record has {bytes} bytes: 1 to {KEY_BYTES_MAX} are allowed"
        ))),
    };
    match side {
        Side::Get { name } => named(name),
        Side::Scan { .. } => Ok(()),
        Side::Put { unchanged, records } => {
            unchanged
                .iter()
                .chain(records)
                .try_for_each(|(name, _)| named(name))?;
            let own = |name: &[u8]| OWN_RECORDS.iter().any(|own| name.starts_with(own));
            if let Some((name, _)) = records.iter().find(|(name, _)| own(name)) {
                return Err(invalid(format!(
                    "record {} is the engine's own",
                    show(name)
                )));
            }
            check_size(limits, || side_bytes(side), || side_bytes(side))
        }
    }
}

fn side_bytes(side: &Side) -> u64 {
    let Side::Put { unchanged, records } = side else {
        return 0;
    };
    let bytes = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| {
        name.len() + value.as_ref().map_or(0, Vec::len)
    };
    unchanged.iter().chain(records).map(bytes).sum::<usize>() as u64
}

fn put_bytes(put: &Put) -> u64 {
    (put.key.len() + put.value.len()) as u64
}

fn range_bytes(range: &KeyRange) -> u64 {
    (range.key.len() + range.range_end.len()) as u64
}

fn txn_bytes(txn: &Txn) -> u64 {
    let compares = txn.compare.iter().map(|compare| {
        let operand = if let Operand::Value(value) = &compare.operand {
            value.len()
        } else {
            8
        };
        range_bytes(&compare.range) + operand as u64
    });
    let ops = txn.success.iter().chain(&txn.failure).map(|op| match op {
        Op::Range(range) => range_bytes(&range.range),
        Op::Put(put) => put_bytes(put),
        Op::Delete(delete) => range_bytes(&delete.range),
        Op::Txn(nested) => txn_bytes(nested),
    });
    compares.chain(ops).sum()
}

/// The size of a request in etcd's encoding, for the preset `etcd`. No message is encoded: only its
/// length is needed.
mod wire {
    use super::*;

    /// The size of what etcd 3.5.1 adds to a request before it checks the size: a header with a
    /// request id (field 100: two bytes of tag, one of length, one of tag, nine of id).
    pub const ENVELOPE_BYTES: u64 = 13;

    fn varint(number: u64) -> u64 {
        (64 - (number | 1).leading_zeros() as u64).div_ceil(7)
    }

    /// A field of `bytes` bytes with a tag of one byte and its length.
    pub fn field(bytes: u64) -> u64 {
        1 + varint(bytes) + bytes
    }

    fn bytes(data: &[u8]) -> u64 {
        if data.is_empty() {
            0
        } else {
            field(data.len() as u64)
        }
    }

    fn number(number: i64) -> u64 {
        if number == 0 {
            0
        } else {
            1 + varint(number as u64)
        }
    }

    fn flag(set: bool) -> u64 {
        if set { 2 } else { 0 }
    }

    pub fn put(put: &Put) -> u64 {
        bytes(&put.key)
            + bytes(&put.value)
            + number(put.lease)
            + flag(put.prev_kv)
            + flag(put.ignore_value)
            + flag(put.ignore_lease)
    }

    pub fn delete(delete: &Delete) -> u64 {
        bytes(&delete.range.key) + bytes(&delete.range.range_end) + flag(delete.prev_kv)
    }

    fn range(range: &Range) -> u64 {
        let numbers = [
            range.limit,
            range.revision,
            range.min_mod_revision,
            range.max_mod_revision,
            range.min_create_revision,
            range.max_create_revision,
        ];
        bytes(&range.range.key)
            + bytes(&range.range.range_end)
            + numbers.into_iter().map(number).sum::<u64>()
            + flag(range.sort_order != SortOrder::None)
            + flag(range.sort_target != SortTarget::Key)
            + flag(range.serializable)
            + flag(range.keys_only)
            + flag(range.count_only)
    }

    fn compare(compare: &Compare) -> u64 {
        // a member of a oneof is sent even when it is zero; range_end has a tag of two bytes
        let operand = match &compare.operand {
            Operand::Value(value) => field(value.len() as u64),
            Operand::Version(n)
            | Operand::CreateRevision(n)
            | Operand::ModRevision(n)
            | Operand::Lease(n) => 1 + varint(*n as u64),
        };
        let end = bytes(&compare.range.range_end);
        flag(compare.result != CompareResult::Equal)
            + flag(!matches!(compare.operand, Operand::Version(_)))
            + bytes(&compare.range.key)
            + operand
            + if end == 0 { 0 } else { end + 1 }
    }

    fn op(op: &Op) -> u64 {
        field(match op {
            Op::Range(request) => range(request),
            Op::Put(request) => put(request),
            Op::Delete(request) => delete(request),
            Op::Txn(request) => txn(request),
        })
    }

    pub fn txn(txn: &Txn) -> u64 {
        let compares = txn.compare.iter().map(|c| field(compare(c)));
        let ops = txn.success.iter().chain(&txn.failure).map(|o| field(op(o)));
        compares.chain(ops).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(etcd: bool) -> Limits {
        Limits::from_options(&match etcd {
            true => Options::new().limits(LimitsPreset::Etcd),
            false => Options::new(),
        })
    }

    fn code(request: impl Into<Request>, etcd: bool) -> Option<Code> {
        validate(&request.into(), &limits(etcd))
            .err()
            .map(|error| error.code())
    }

    #[test]
    fn sizes_are_held_from_both_sides() {
        let most = MAX_REQUEST_BYTES as usize;
        assert_eq!(code(Put::new("k", vec![0; most - 1]), false), None);
        assert_eq!(
            code(Put::new("k", vec![0; most]), false),
            Some(Code::TooLarge)
        );
        // header 13, put 1 + 3, key 3, value 1 + 3
        let most = ETCD_MAX_REQUEST_BYTES as usize - 13 - 4 - 3 - 4;
        assert_eq!(
            code(Put::new("k", vec![0; most + 1]), true),
            Some(Code::TooLarge)
        );
        assert_eq!(code(Put::new("k", vec![0; most]), true), None);
    }

    #[test]
    fn keys_are_held_from_both_sides() {
        assert_eq!(code(Put::new(vec![1; KEY_BYTES_MAX], ""), false), None);
        assert_eq!(
            code(Put::new(vec![1; KEY_BYTES_MAX + 1], ""), false),
            Some(Code::TooLarge)
        );
        assert_eq!(code(Put::new("", "v"), false), Some(Code::InvalidArgument));
    }

    fn nested(levels: usize) -> Txn {
        (0..levels).fold(Txn::new(), |inner, _| Txn::new().and_then(inner))
    }

    #[test]
    fn nesting_uses_up_etcds_budget_but_not_ours() {
        assert_eq!(code(nested(ETCD_MAX_TXN_OPS), true), None);
        assert_eq!(
            code(nested(ETCD_MAX_TXN_OPS + 1), true),
            Some(Code::TooManyOps)
        );
        assert_eq!(code(nested(TXN_DEPTH_MAX), false), None);
        assert_eq!(
            code(nested(TXN_DEPTH_MAX + 1), false),
            Some(Code::TooManyOps)
        );
    }

    #[test]
    fn intervals_merge() {
        let mut intervals = Intervals::default();
        for (start, end) in [("b", "d"), ("f", "h"), ("c", "g"), ("x", "a"), ("m", "n")] {
            intervals.insert(start.into(), end.into());
        }
        assert_eq!(intervals.0.len(), 2);
        for (key, inside) in [
            ("a", false),
            ("b", true),
            ("g", true),
            ("h", false),
            ("m", true),
            ("x", false),
        ] {
            assert_eq!(intervals.contains(key.as_bytes()), inside, "{key}");
        }
    }
}
