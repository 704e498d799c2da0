//! The nouns: revisions, key ranges, key-value pairs and events, in etcd's words.

use bytes::Bytes;

/// A point in the store's history: 1 is the empty store, each write adds 1.
pub type Revision = i64;

/// How often a key has been put since it was created: 1 at creation.
pub type Version = i64;

/// The id of a lease; 0 is none. Any other 64-bit number may be one, negative ones too.
pub type LeaseId = i64;

/// A set of keys in etcd's notation: one key, a half-open interval, or everything from a key on.
///
/// | `key` | `range_end` | meaning |
/// |---|---|---|
/// | k | empty | the key k alone |
/// | k | e | k <= x < e, bytewise |
/// | k | `\0` | every x >= k |
/// | `\0` | `\0` | every key |
///
/// A `range_end` at or below `key` (and not `\0`) is an empty range, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct KeyRange {
    /// The key, or the first key of the interval. Must not be empty in a request.
    pub key: Vec<u8>,
    /// Empty for one key, `\0` for "from there on", else the first key that is outside.
    pub range_end: Vec<u8>,
}

impl KeyRange {
    /// One key.
    pub fn key(key: impl Into<Vec<u8>>) -> KeyRange {
        KeyRange { key: key.into(), range_end: Vec::new() }
    }

    /// Every key that begins with `prefix`; with an empty prefix every key there is.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> KeyRange {
        let key = prefix.into();
        if key.is_empty() {
            return KeyRange::all();
        }
        let range_end = match key.iter().rposition(|&byte| byte != 0xff) {
            Some(last) => {
                let mut end = key[..=last].to_vec();
                end[last] += 1;
                end
            }
            None => vec![0],
        };
        KeyRange { key, range_end }
    }

    /// The keys x with `start` <= x < `end`; an empty `start` is the beginning.
    ///
    /// etcd's notation reads an `end` that is empty as "one key" and `\0` as "no end"; here both
    /// are what they say, an interval with nothing in it.
    pub fn between(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> KeyRange {
        let (start, end) = (start.into(), end.into());
        if end.is_empty() || end == [0] {
            return KeyRange { key: vec![0, 0], range_end: vec![0, 0] };
        }
        KeyRange { key: first_key(start), range_end: end }
    }

    /// Every key x with `start` <= x; an empty `start` selects every key (etcdctl's `--from-key`).
    ///
    /// A bare key converts to the range of that key alone: `KeyRange::from("b")` is
    /// `KeyRange::key("b")`.
    ///
    /// ```
    /// use libkv::KeyRange;
    ///
    /// assert!(KeyRange::from_key("b").contains(b"c"));
    /// assert!(!KeyRange::from("b").contains(b"c"));
    /// ```
    pub fn from_key(start: impl Into<Vec<u8>>) -> KeyRange {
        KeyRange { key: first_key(start.into()), range_end: vec![0] }
    }

    /// Every key.
    pub fn all() -> KeyRange {
        KeyRange { key: vec![0], range_end: vec![0] }
    }

    /// Whether this names one key rather than an interval.
    pub fn is_single(&self) -> bool {
        self.range_end.is_empty()
    }

    /// Whether `key` lies in this range.
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.is_single() {
            return key == self.key;
        }
        key >= self.key.as_slice() && self.end().is_none_or(|end| key < end)
    }

    /// The first key that is outside an interval; none when it has no end. Not for single keys.
    pub(crate) fn end(&self) -> Option<&[u8]> {
        (self.range_end != [0]).then_some(self.range_end.as_slice())
    }
}

/// No key is empty, so the beginning of all keys is `\0`.
fn first_key(start: Vec<u8>) -> Vec<u8> {
    if start.is_empty() { vec![0] } else { start }
}

macro_rules! key_from {
    ($($type:ty),*) => { $(
        impl From<$type> for KeyRange {
            /// A bare key is the range of that key alone.
            fn from(key: $type) -> KeyRange {
                KeyRange::key(key)
            }
        }
    )* };
}

key_from!(&str, String, &[u8], Vec<u8>);

impl<const N: usize> From<&[u8; N]> for KeyRange {
    /// A bare key is the range of that key alone.
    fn from(key: &[u8; N]) -> KeyRange {
        KeyRange::key(key)
    }
}

/// A key with its value and its place in history.
///
/// `key` and `value` are slices of a page shared by the pairs of one answer: cloning a pair copies
/// no bytes, and keeping one pair keeps its page (up to 64 KiB, or the value's own size).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty when only keys were asked for.
    pub value: Bytes,
    /// The revision of the put that created the key, after its last deletion.
    pub create_revision: Revision,
    /// The revision of the last put.
    pub mod_revision: Revision,
    /// 1 at creation, one more with each put, 1 again after a deletion.
    pub version: Version,
    /// The lease that the key hangs on, or 0.
    pub lease: LeaseId,
}

/// Whether an [`Event`] wrote or deleted its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The key was put.
    Put,
    /// The key was deleted.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// For a put the new pair; for a delete only `key` and `mod_revision` (the revision of the
    /// deletion) are set.
    pub kv: KeyValue,
    /// The pair before the revision of this event, where it was asked for and is still kept.
    pub prev_kv: Option<KeyValue>,
}

/// How one key differs between two revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// The pair at the first revision, or none.
    pub before: Option<KeyValue>,
    /// The pair at the second revision, or none.
    pub after: Option<KeyValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_increments_the_last_byte_that_can_grow() {
        assert_eq!(KeyRange::prefix("ab").range_end, b"ac");
        assert_eq!(KeyRange::prefix(vec![1, 0xff]).range_end, [2]);
        assert_eq!(KeyRange::prefix(vec![0xff, 0xff]).range_end, [0]);
        assert_eq!(KeyRange::prefix(""), KeyRange::all());
    }

    #[test]
    fn between_with_an_end_below_every_key_is_empty() {
        for (start, end) in [("a", ""), ("a", "\0"), ("\0", "\0"), ("\0", ""), ("b", "a")] {
            let range = KeyRange::between(start, end);
            for key in [&b"\0"[..], b"\0\0", b"a", b"b", b"\xff"] {
                assert!(!range.contains(key), "{start:?}..{end:?} has {key:?}");
            }
        }
        assert!(KeyRange::between("a", "c").contains(b"b"));
        assert!(KeyRange::between("", "c").contains(b"b"));
    }

    #[test]
    fn contains_follows_the_notation() {
        assert!(KeyRange::all().contains(b"\0"));
        assert!(KeyRange::from_key("b").contains(b"\xff"));
        assert!(!KeyRange::from_key("b").contains(b"a"));
        assert!(KeyRange::key("a").contains(b"a"));
        assert!(!KeyRange::key("a").contains(b"ab"));
    }
}
