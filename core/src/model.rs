//! The nouns: revisions, key ranges, key-value pairs and events, in etcd's words.

use bytes::Bytes;

/// A point in the history of the store. The empty store is at 1; each write adds 1.
pub type Revision = i64;

/// The number of puts since the key was created: 1 at creation.
pub type Version = i64;

/// The id of a lease; 0 is none. Any other 64-bit number is valid, including negative ones.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeyRange {
    /// The key, or the first key of the interval. Must not be empty in a request.
    pub key: Vec<u8>,
    /// Empty for one key; `\0` for no end; otherwise the first key after the range.
    pub range_end: Vec<u8>,
}

impl KeyRange {
    /// One key.
    pub fn key(key: impl Into<Vec<u8>>) -> KeyRange {
        KeyRange {
            key: key.into(),
            range_end: Vec::new(),
        }
    }

    /// Every key that begins with `prefix`; with an empty prefix, all keys.
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

    /// The keys x with `start` <= x < `end`; an empty `start` is the first key.
    ///
    /// In etcd's notation an empty `end` means one key, and `\0` means no end. Here both are an
    /// empty interval.
    pub fn between(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> KeyRange {
        let (start, end) = (start.into(), end.into());
        if end.is_empty() || end == [0] {
            return KeyRange {
                key: vec![0, 0],
                range_end: vec![0, 0],
            };
        }
        KeyRange {
            key: first_key(start),
            range_end: end,
        }
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
        KeyRange {
            key: first_key(start.into()),
            range_end: vec![0],
        }
    }

    /// Every key.
    pub fn all() -> KeyRange {
        KeyRange {
            key: vec![0],
            range_end: vec![0],
        }
    }

    /// Whether this is one key rather than an interval.
    pub fn is_single(&self) -> bool {
        self.range_end.is_empty()
    }

    /// Whether `key` is in this range.
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
            /// Converts to the range of that key alone.
            fn from(key: $type) -> KeyRange {
                KeyRange::key(key)
            }
        }
    )* };
}

key_from!(&str, String, &[u8], Vec<u8>);

impl<const N: usize> From<&[u8; N]> for KeyRange {
    /// Converts to the range of that key alone.
    fn from(key: &[u8; N]) -> KeyRange {
        KeyRange::key(key)
    }
}

/// A key with its value and its revisions.
///
/// `key` and `value` are slices of memory that the pairs of one response share. A clone of a pair
/// copies no bytes. One pair that is kept keeps up to 64 KiB, or the size of its value.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty if only keys were requested.
    pub value: Bytes,
    /// The revision of the put that created the key, after its last deletion.
    pub create_revision: Revision,
    /// The revision of the last put.
    pub mod_revision: Revision,
    /// 1 at creation, increased by 1 with each put, 1 again after a deletion.
    pub version: Version,
    /// The lease that the key is attached to, or 0.
    pub lease: LeaseId,
}

/// A borrowed pair; see [`Db::range_each`](crate::Db::range_each).
#[derive(Clone, Copy, Debug)]
pub struct PairRef<'p> {
    /// The key.
    pub key: &'p [u8],
    /// The value; empty if only keys were requested.
    pub value: &'p [u8],
    /// See [`KeyValue`].
    pub create_revision: Revision,
    /// See [`KeyValue`].
    pub mod_revision: Revision,
    /// See [`KeyValue`].
    pub version: Version,
    /// See [`KeyValue`].
    pub lease: LeaseId,
}

impl<'p> From<&'p KeyValue> for PairRef<'p> {
    fn from(kv: &'p KeyValue) -> PairRef<'p> {
        let KeyValue {
            ref key,
            ref value,
            create_revision,
            mod_revision,
            version,
            lease,
        } = *kv;
        PairRef {
            key,
            value,
            create_revision,
            mod_revision,
            version,
            lease,
        }
    }
}

/// Whether an [`Event`] wrote or deleted its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EventKind {
    /// The key was put.
    Put,
    /// The key was deleted.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// For a put the new pair; for a delete only `key` and `mod_revision` (the revision of the
    /// deletion) are set.
    pub kv: KeyValue,
    /// The pair before the revision of this event, if it was requested and is not compacted.
    pub prev_kv: Option<KeyValue>,
}

/// The difference of one key between two revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Difference {
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
