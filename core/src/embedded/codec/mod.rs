//! The bytes of every entry of a store. The layout is only in this file; `core/DESIGN.md` describes
//! it.
//!
//! Decoded bytes come from disk and may have any contents: a decoder returns an error and never
//! panics.

pub(crate) mod auth;

use crate::auth::AuthStamp;
use crate::error::{Code, Error, Result, show};
use crate::model::{LeaseId, Revision, Version};
use crate::request::{AlarmKind, AlarmMember};

/// The version of the format that this library writes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Larger values are stored only in `log`, in stores created by this version.
pub(crate) const INLINE_BYTES_MAX: u32 = 1024;
/// The compacted revision before the first compaction: below 0, so that 0 can be compacted once.
pub(crate) const NOT_COMPACTED: Revision = -1;
/// The number of revisions that are left out after a power cut that may have removed lazy commits.
pub(crate) const GAP: Revision = 65_535;

/// A feature that forbids older libraries to write: leases were granted, so a writer must keep the
/// keys attached to them up to date.
pub(crate) const RO_COMPAT_LEASES: u64 = 1;
/// The features that this library supports.
pub(crate) const RO_COMPAT_KNOWN: u64 = RO_COMPAT_LEASES;

/// The names in `meta`.
pub(crate) mod meta {
    pub const FORMAT: &[u8] = b"format";
    pub const COMPAT: &[u8] = b"compat";
    pub const RO_COMPAT: &[u8] = b"ro_compat";
    pub const INCOMPAT: &[u8] = b"incompat";
    pub const STORE_ID: &[u8] = b"store_id";
    pub const DURABILITY: &[u8] = b"durability";
    pub const INLINE_LIMIT: &[u8] = b"inline_limit";
    pub const BASE_REV: &[u8] = b"base_rev";
    pub const COMPACT_REV: &[u8] = b"compact_rev";
    pub const COMPACT_DONE: &[u8] = b"compact_done";
    /// A key of `dead`: up to this key, tombstones that an earlier version left were removed.
    /// Empty: all were.
    pub const DEAD_SWEPT: &[u8] = b"dead_swept";
    pub const LAZY_BOOT: &[u8] = b"lazy_boot";
    /// Followed by the last revision before the gap, 8 bytes; the value is the last one of the gap.
    pub const GAP: &[u8] = b"gap/";
    /// The limits for writers: see [`Bounds`](super::Bounds). Absent: no limits.
    pub const BOUNDS: &[u8] = b"bounds";
}

/// The entries of `meta` in a new store.
pub(crate) fn new_meta(
    store_id: &[u8; 16],
    unsynced: bool,
    max_bytes: u64,
) -> Vec<(&'static [u8], Vec<u8>)> {
    vec![
        (
            meta::BOUNDS,
            Bounds {
                max_bytes,
                ..Bounds::default()
            }
            .encode()
            .to_vec(),
        ),
        (meta::FORMAT, FORMAT_VERSION.to_le_bytes().to_vec()),
        (meta::COMPAT, 0u64.to_le_bytes().to_vec()),
        (meta::RO_COMPAT, 0u64.to_le_bytes().to_vec()),
        (meta::INCOMPAT, 0u64.to_le_bytes().to_vec()),
        (meta::STORE_ID, store_id.to_vec()),
        (meta::DURABILITY, vec![u8::from(!unsynced)]),
        (
            meta::INLINE_LIMIT,
            i64::from(INLINE_BYTES_MAX).to_le_bytes().to_vec(),
        ),
    ]
}

/// The position of an event in the history: the revision, and the number of the event in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub(crate) struct Rev {
    pub main: Revision,
    pub sub: u32,
}

/// The length of a key in `log`.
pub(crate) const LOG_KEY_BYTES: usize = 12;

impl Rev {
    pub fn new(main: Revision, sub: u32) -> Rev {
        Rev { main, sub }
    }

    /// The key in `log`: both numbers big-endian, so that keys are ordered by time.
    pub fn to_key(self) -> [u8; LOG_KEY_BYTES] {
        let mut key = [0; LOG_KEY_BYTES];
        key[..8].copy_from_slice(&(self.main as u64).to_be_bytes());
        key[8..].copy_from_slice(&self.sub.to_be_bytes());
        key
    }

    pub fn from_key(key: &[u8]) -> Result<Rev> {
        let key: &[u8; LOG_KEY_BYTES] = key
            .try_into()
            .map_err(|_| damaged("log", key, "its key does not have 12 bytes"))?;
        let (main, sub) = key.split_at(8);
        let main = u64::from_be_bytes(main.try_into().expect("8 bytes"));
        let sub = u32::from_be_bytes(sub.try_into().expect("4 bytes"));
        let main = Revision::try_from(main)
            .map_err(|_| damaged("log", key, "its revision does not fit into 63 bits"))?;
        Ok(Rev { main, sub })
    }
}

/// The links of an event in the chain of its key: to the event before it, and to an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Link {
    /// The number of earlier events in the chain.
    pub depth: u64,
    pub prev: Rev,
    pub jump: Rev,
}

/// An event without its key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Header {
    pub rev: Rev,
    /// The key was deleted here: create, version and lease are 0.
    pub tombstone: bool,
    /// The value is stored only in `log`.
    pub in_log: bool,
    pub create: Revision,
    pub version: Version,
    pub lease: LeaseId,
    pub link: Option<Link>,
}

const TOMB: u8 = 1;
const PREV: u8 = 2;
const LEASE: u8 = 4;
const FIRST: u8 = 8;
const INLOG: u8 = 16;

/// The largest length of a header: flags, and ten numbers of up to ten bytes.
pub(crate) const HEADER_BYTES_MAX: usize = 1 + 10 * 10;

/// An encoded header.
pub(crate) struct HeaderBytes {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl std::ops::Deref for HeaderBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl HeaderBytes {
    #[inline]
    const fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes[self.len] = number as u8 | 0x80;
            self.len += 1;
            number >>= 7;
        }
        self.bytes[self.len] = number as u8;
        self.len += 1;
    }
}

impl Header {
    /// The bytes for `live` and `dead`, whose keys do not contain the revision.
    pub fn encode_entry(&self) -> HeaderBytes {
        self.encode(true)
    }

    /// The bytes for `log`.
    pub fn encode_event(&self) -> HeaderBytes {
        self.encode(false)
    }

    const fn encode(&self, with_rev: bool) -> HeaderBytes {
        let first = !self.tombstone && self.create == self.rev.main && self.version == 1;
        let mut out = HeaderBytes {
            bytes: [0; HEADER_BYTES_MAX],
            len: 1,
        };
        let mut flags = 0;
        if with_rev {
            out.number(self.rev.main as u64);
            out.number(self.rev.sub as u64);
        }
        if self.tombstone {
            flags |= TOMB;
        } else if first {
            flags |= FIRST;
        } else {
            out.number(self.rev.main.wrapping_sub(self.create) as u64);
            out.number(self.version as u64);
        }
        if self.lease != 0 {
            flags |= LEASE;
            out.number(self.lease as u64);
        }
        if self.in_log {
            flags |= INLOG;
        }
        if let Some(link) = &self.link {
            flags |= PREV;
            out.number(link.depth);
            out.number(self.rev.main.wrapping_sub(link.prev.main) as u64);
            out.number(link.prev.sub as u64);
            out.number(link.prev.main.wrapping_sub(link.jump.main) as u64);
            out.number(link.jump.sub as u64);
        }
        out.bytes[0] = flags;
        out
    }

    /// The header of an entry of `live` or `dead`, and the rest of the entry.
    #[inline]
    pub fn decode_entry(bytes: &[u8]) -> Option<(Header, &[u8])> {
        Header::decode(bytes, None)
    }

    #[inline]
    fn decode(bytes: &[u8], rev: Option<Rev>) -> Option<(Header, &[u8])> {
        let (&flags, rest) = bytes.split_first()?;
        let mut rest = Numbers(rest);
        let rev = match rev {
            Some(rev) => rev,
            None => Rev {
                main: rest.revision()?,
                sub: rest.sub()?,
            },
        };
        let mut header = Header {
            rev,
            tombstone: flags & TOMB != 0,
            in_log: flags & INLOG != 0,
            ..Header::default()
        };
        if flags & FIRST != 0 {
            (header.create, header.version) = (rev.main, 1);
        } else if !header.tombstone {
            header.create = rev.main.checked_sub(rest.revision()?)?;
            header.version = rest.revision()?;
        }
        if flags & LEASE != 0 {
            header.lease = rest.number()? as i64;
        }
        if flags & PREV != 0 {
            let depth = rest.number()?;
            let prev = Rev {
                main: rev.main.checked_sub(rest.revision()?)?,
                sub: rest.sub()?,
            };
            let jump = Rev {
                main: prev.main.checked_sub(rest.revision()?)?,
                sub: rest.sub()?,
            };
            header.link = Some(Link { depth, prev, jump });
        }
        Some((header, rest.0))
    }
}

/// Numbers with 7 bits in each byte, lowest first, and the top bit set on all but the last byte.
struct Numbers<'b>(&'b [u8]);

impl<'b> Numbers<'b> {
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for (at, &byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Some(number);
            }
        }
        None
    }

    #[inline]
    fn revision(&mut self) -> Option<Revision> {
        Revision::try_from(self.number()?).ok()
    }

    #[inline]
    fn sub(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }
}

/// The header and value of an entry of `live`: the value is empty if it is stored only in `log`.
#[inline]
pub(crate) fn live<'t>(key: &[u8], bytes: &'t [u8]) -> Result<(Header, &'t [u8])> {
    match Header::decode_entry(bytes) {
        Some((header, value)) if !header.tombstone => Ok((header, value)),
        _ => Err(damaged("live", key, "its header cannot be decoded")),
    }
}

/// For each set of flags, the number of numbers that follow it in an entry of `live`.
const ENTRY_NUMBERS: [u8; 32] = {
    let mut numbers = [0; 32];
    let mut flags = 0;
    while flags < numbers.len() {
        numbers[flags] = count_numbers(flags as u8);
        flags += 1;
    }
    numbers
};

/// Encodes a header with these flags and only small numbers, of one byte each.
const fn count_numbers(flags: u8) -> u8 {
    let none = Rev { main: 0, sub: 0 };
    let link = Link {
        depth: 0,
        prev: none,
        jump: none,
    };
    let header = Header {
        rev: none,
        tombstone: flags & TOMB != 0,
        in_log: flags & INLOG != 0,
        create: 0,
        version: if flags & FIRST != 0 { 1 } else { 2 },
        lease: if flags & LEASE != 0 { 1 } else { 0 },
        link: if flags & PREV != 0 { Some(link) } else { None },
    };
    (header.encode(true).len - 1) as u8
}

/// The value of an entry of `live`, if it is there, without decoding the header: that would take a
/// third of the time that a get spends in this library.
#[inline]
pub(crate) fn inline_value(bytes: &[u8]) -> Option<&[u8]> {
    let (&flags, rest) = bytes.split_first()?;
    if flags & (TOMB | INLOG) != 0 {
        return None;
    }
    let mut numbers = ENTRY_NUMBERS[usize::from(flags) % ENTRY_NUMBERS.len()];
    let mut at = 0;
    while numbers > 0 {
        numbers -= u8::from(rest.get(at)? & 0x80 == 0);
        at += 1;
    }
    rest.get(at..)
}

/// The header of an entry of `dead`.
pub(crate) fn dead(key: &[u8], bytes: &[u8]) -> Result<Header> {
    match Header::decode_entry(bytes) {
        Some((header, [])) if header.tombstone => Ok(header),
        _ => Err(damaged("dead", key, "its header cannot be decoded")),
    }
}

/// An event of `log`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEvent<'t> {
    pub header: Header,
    pub key: &'t [u8],
    pub value: &'t [u8],
}

const CHECKSUM_BYTES: usize = 4;

/// The length of an event in `log`.
pub(crate) fn event_bytes(header: &HeaderBytes, key: &[u8], value: &[u8]) -> usize {
    header.len() + number_bytes(key.len() as u64) + key.len() + value.len() + CHECKSUM_BYTES
}

fn number_bytes(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Writes an event for `log` to `out`: header, length of the key, key, value, and a CRC-32C of the
/// event's key in `log` and all of these.
pub(crate) fn write_event(
    rev: Rev,
    header: &HeaderBytes,
    key: &[u8],
    value: &[u8],
    out: &mut [u8],
) {
    let mut lead = HeaderBytes {
        bytes: [0; HEADER_BYTES_MAX],
        len: 0,
    };
    lead.number(key.len() as u64);
    let mut at = 0;
    for part in [&**header, &*lead, key, value] {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    let checksum = checksum(rev, &out[..at]);
    out[at..].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(rev: Rev, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&rev.to_key()), body)
}

/// Decodes an event of `log`. Only [`verify_event`] verifies the checksum.
#[inline]
pub(crate) fn event(rev: Rev, bytes: &[u8]) -> Result<LogEvent<'_>> {
    parse_event(rev, bytes).ok_or_else(|| damaged("log", &rev.to_key(), "it cannot be decoded"))
}

fn parse_event(rev: Rev, bytes: &[u8]) -> Option<LogEvent<'_>> {
    let body = bytes.len().checked_sub(CHECKSUM_BYTES)?;
    let (header, rest) = Header::decode(&bytes[..body], Some(rev))?;
    let mut rest = Numbers(rest);
    let key_bytes = usize::try_from(rest.number()?).ok()?;
    let (key, value) = rest.0.split_at_checked(key_bytes)?;
    Some(LogEvent { header, key, value })
}

/// Whether the checksum of an event is correct.
pub(crate) fn verify_event(rev: Rev, bytes: &[u8]) -> bool {
    let Some(body) = bytes.len().checked_sub(CHECKSUM_BYTES) else {
        return false;
    };
    bytes[body..] == checksum(rev, &bytes[..body]).to_le_bytes()
}

/// The largest number of leases of a store: the guard file has no more slots for their deadlines.
pub(crate) const LEASES_MAX: u64 = 2_097_024;

/// The length of a lease id, as a key of `lease` and before each key in `lkey`.
pub(crate) const LEASE_ID_BYTES: usize = 8;

/// The key of a lease in `lease`.
pub(crate) fn lease_key(id: LeaseId) -> [u8; LEASE_ID_BYTES] {
    id.to_be_bytes()
}

/// The lease id in a key of `lease`, or before a key in `lkey`.
pub(crate) fn lease_id(key: &[u8]) -> Result<LeaseId> {
    let id = key.get(..LEASE_ID_BYTES).and_then(|id| id.try_into().ok());
    id.map(LeaseId::from_be_bytes)
        .ok_or_else(|| damaged("lease", key, "its key does not begin with a lease id"))
}

/// The key in `lkey` for a key attached to a lease.
pub(crate) fn leased_key(id: LeaseId, key: &[u8]) -> Vec<u8> {
    [&lease_key(id), key].concat()
}

/// An entry of `lease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseEntry {
    pub ttl_seconds: i64,
    /// Its slot in the guard file, where its deadline is.
    pub slot: u32,
}

impl LeaseEntry {
    pub fn encode(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.ttl_seconds.to_le_bytes());
        bytes[8..].copy_from_slice(&self.slot.to_le_bytes());
        bytes
    }

    pub fn decode(key: &[u8], bytes: &[u8]) -> Result<LeaseEntry> {
        let bytes: [u8; 12] = bytes
            .try_into()
            .map_err(|_| damaged("lease", key, "it does not have 12 bytes"))?;
        let (ttl, slot) = bytes.split_at(8);
        let entry = LeaseEntry {
            ttl_seconds: i64::from_le_bytes(ttl.try_into().expect("8 bytes")),
            slot: u32::from_le_bytes(slot.try_into().expect("4 bytes")),
        };
        if u64::from(entry.slot) >= LEASES_MAX {
            return Err(damaged(
                "lease",
                key,
                &format!("its slot {} does not exist", entry.slot),
            ));
        }
        Ok(entry)
    }
}

/// The names of the time index in `side`: followed by a minute since 1970, 8 bytes. The value is
/// the last revision before the first commit of that minute.
pub(crate) const TIME: &[u8] = b"time/";

/// The name of a minute in the time index.
pub(crate) fn minute_name(minute: i64) -> Vec<u8> {
    [TIME, &minute.max(0).to_be_bytes()].concat()
}

/// The names of alarms in `side`: followed by the number of the kind, one byte, and the member, 8
/// bytes. The value is empty.
pub(crate) const ALARM: &[u8] = b"alarm/";

/// The name of an alarm.
pub(crate) fn alarm_name(alarm: AlarmMember) -> Vec<u8> {
    [
        ALARM,
        &[alarm_number(alarm.kind)],
        &alarm.member.to_be_bytes(),
    ]
    .concat()
}

/// The alarm with this name.
pub(crate) fn alarm(name: &[u8]) -> Result<AlarmMember> {
    let parts = name.strip_prefix(ALARM).and_then(<[u8]>::split_first);
    let alarm = parts.and_then(|(number, member)| {
        let kind = AlarmKind::ALL
            .into_iter()
            .find(|kind| alarm_number(*kind) == *number)?;
        Some(AlarmMember {
            member: u64::from_be_bytes(member.try_into().ok()?),
            kind,
        })
    });
    alarm.ok_or_else(|| damaged("side", name, "an unknown kind of alarm"))
}

/// The number of a kind in etcd.
fn alarm_number(kind: AlarmKind) -> u8 {
    match kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    }
}

/// The limits for writers, in `meta`, and the state of authentication, which is beside them so that
/// each writer reads it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    /// The quota for pages with data; 0 is none.
    pub max_bytes: u64,
    /// A bit for each kind of alarm in `side`.
    pub alarms: u8,
    /// Stored as twice the revision, plus 1 while authentication is on. Absent in stores whose users
    /// were never changed.
    pub auth: AuthStamp,
}

impl Bounds {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.max_bytes.to_le_bytes().to_vec();
        bytes.push(self.alarms);
        if self.auth != AuthStamp::default() {
            let AuthStamp { enabled, revision } = self.auth;
            bytes.extend((revision << 1 | u64::from(enabled)).to_le_bytes());
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Bounds> {
        let wrong_length = || damaged("meta", meta::BOUNDS, "it has neither 9 nor 17 bytes");
        let (max_bytes, rest) = bytes.split_first_chunk().ok_or_else(wrong_length)?;
        let (&alarms, stamp) = rest.split_first().ok_or_else(wrong_length)?;
        let auth = match stamp.try_into().map(u64::from_le_bytes) {
            Ok(stamp) => AuthStamp {
                enabled: stamp & 1 == 1,
                revision: stamp >> 1,
            },
            Err(_) if stamp.is_empty() => AuthStamp::default(),
            Err(_) => return Err(wrong_length()),
        };
        Ok(Bounds {
            max_bytes: u64::from_le_bytes(*max_bytes),
            alarms,
            auth,
        })
    }

    /// Whether no request is refused because of them.
    pub fn are_open(&self) -> bool {
        self.max_bytes == 0 && self.alarms == 0
    }

    /// Whether an alarm of this kind is active.
    pub fn has(&self, kind: AlarmKind) -> bool {
        self.alarms & alarm_bits(&[kind]) != 0
    }
}

/// A bit for each of these kinds.
pub(crate) fn alarm_bits(kinds: &[AlarmKind]) -> u8 {
    kinds
        .iter()
        .fold(0, |bits, kind| bits | 1 << (alarm_number(*kind) - 1))
}

/// The error for a damaged entry.
pub(crate) fn damaged(tree: &str, key: &[u8], what: &str) -> Error {
    Error::new(
        Code::Corrupt,
        format!(
            "damaged entry {} in tree {tree}: {what}; run check",
            show(key)
        ),
    )
}

/// Decodes a number in `meta`.
pub(crate) fn number(name: &[u8], bytes: &[u8]) -> Result<i64> {
    match bytes.try_into() {
        Ok(bytes) => Ok(i64::from_le_bytes(bytes)),
        Err(_) => Err(damaged("meta", name, "it does not have 8 bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> Vec<Header> {
        let link = Link {
            depth: 900,
            prev: Rev::new(70, 3),
            jump: Rev::new(4, 4_000_000_000),
        };
        let big = Rev::new(i64::MAX, u32::MAX);
        vec![
            Header {
                rev: Rev::new(2, 0),
                create: 2,
                version: 1,
                ..Header::default()
            },
            Header {
                rev: Rev::new(90, 7),
                create: 2,
                version: 5,
                lease: -1,
                link: Some(link),
                ..Header::default()
            },
            Header {
                rev: Rev::new(90, 7),
                tombstone: true,
                link: Some(link),
                ..Header::default()
            },
            Header {
                rev: big,
                create: 1,
                version: i64::MAX,
                lease: i64::MIN,
                in_log: true,
                link: Some(Link {
                    depth: u64::MAX,
                    prev: Rev::new(1, u32::MAX),
                    jump: Rev::new(0, u32::MAX),
                }),
                ..Header::default()
            },
        ]
    }

    #[test]
    fn headers_are_decoded_as_encoded() {
        for header in headers() {
            let bytes = header.encode_entry();
            assert_eq!(Header::decode_entry(&bytes), Some((header, &[][..])));
            let inline = (!header.tombstone && !header.in_log).then_some(&b"value"[..]);
            assert_eq!(inline_value(&[&bytes[..], b"value"].concat()), inline);
            for cut in 0..bytes.len() {
                assert_eq!(
                    Header::decode_entry(&bytes[..cut]),
                    None,
                    "cut to {cut} bytes"
                );
            }
        }
    }

    #[test]
    fn events_are_decoded_as_encoded_and_the_checksum_covers_every_bit() {
        for header in headers() {
            let encoded = header.encode_event();
            let mut bytes = vec![0; event_bytes(&encoded, b"key", b"value")];
            write_event(header.rev, &encoded, b"key", b"value", &mut bytes);
            let back = event(header.rev, &bytes).unwrap();
            assert_eq!(
                (back.header, back.key, back.value),
                (header, &b"key"[..], &b"value"[..])
            );
            assert!(verify_event(header.rev, &bytes));
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(!verify_event(header.rev, &bytes), "bit {bit}");
                let _ = event(header.rev, &bytes);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn header_of_a_key_written_once_has_the_documented_length() {
        let header = Header {
            rev: Rev::new(1_000_000, 0),
            create: 1_000_000,
            version: 1,
            ..Header::default()
        };
        assert_eq!(header.encode_entry().len(), 5);
        assert_eq!(header.encode_event().len(), 1);
    }

    #[test]
    fn alarms_and_bounds_are_decoded_as_encoded() {
        for kind in AlarmKind::ALL {
            for member in [0, 1, u64::MAX] {
                let name = alarm_name(AlarmMember { member, kind });
                assert_eq!(alarm(&name).unwrap(), AlarmMember { member, kind });
                assert!(alarm(&name[1..]).is_err() && alarm(&name[..14]).is_err());
            }
            let mut bounds = Bounds {
                max_bytes: u64::MAX - 1,
                alarms: alarm_bits(&[kind]),
                ..Bounds::default()
            };
            assert_eq!(Bounds::decode(&bounds.encode()).unwrap(), bounds);
            bounds.auth = AuthStamp {
                enabled: true,
                revision: 7,
            };
            assert_eq!(Bounds::decode(&bounds.encode()).unwrap(), bounds);
            assert_eq!(
                AlarmKind::ALL.map(|other| bounds.has(other)),
                AlarmKind::ALL.map(|other| other == kind)
            );
        }
        for wrong in [0, 8, 10, 16, 18] {
            assert!(Bounds::decode(&vec![0; wrong]).is_err());
        }
        assert!(alarm(b"alarm/\x03\0\0\0\0\0\0\0\0").is_err());
    }

    #[test]
    fn log_keys_are_ordered_by_time() {
        let revs = [
            Rev::new(1, 9),
            Rev::new(2, 0),
            Rev::new(2, 1),
            Rev::new(256, 0),
            Rev::new(i64::MAX, 1),
        ];
        for pair in revs.windows(2) {
            assert!(pair[0].to_key() < pair[1].to_key());
            assert_eq!(Rev::from_key(&pair[0].to_key()).unwrap(), pair[0]);
        }
        assert!(Rev::from_key(b"short").is_err());
    }
}
