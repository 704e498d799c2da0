//! Requests and responses as plain bytes in the scratch memory, little-endian.
//!
//! `lib/wire.js` is the other half. JavaScript checks types and ranges
//! before it writes, so a request that is refused here is a defect of this package.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libkv::*;

use crate::numbers::{self, compare_target, kind, range_kind, response};

/// More than the core allows, so that the core refuses and not this file; and few enough that
/// reading does not overflow the stack.
const DEPTH_MAX: usize = TXN_DEPTH_MAX + 2;

/// The largest integer that a JavaScript number holds exactly.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A request with one response.
pub enum Call {
    /// One key, at a revision (0: now).
    Get(Revision, Vec<u8>),
    /// A request of the core.
    Request(Request),
    /// The events of a key, at most this many.
    History(i64, Vec<u8>),
    /// The store's status.
    Status,
    /// The store's check.
    Check,
    /// The revision that a snapshot is of.
    Snapshot(Revision),
    /// Renewal of a lease.
    LeaseKeepAlive(LeaseId),
    /// The remaining TTL of a lease, and whether to list its keys.
    LeaseTimeToLive(LeaseId, bool),
    /// The ids of all leases.
    LeaseList,
    /// The last revision that was written by this time.
    RevisionAt(SystemTime),
    /// The alarms that are active.
    AlarmList,
    /// Activates the alarm of this kind and member.
    AlarmActivate(AlarmKind, u64),
    /// Disarms the alarms of this member (0: all) and kind (none: all).
    AlarmDisarm(u64, Option<AlarmKind>),
    /// The hash of the history up to a revision.
    HashKv(Revision),
    /// The members.
    MemberList,
    /// Adds a member with these peer URLs, perhaps as a learner.
    MemberAdd(Vec<String>, bool),
    /// Removes a member.
    MemberRemove(u64),
    /// Replaces the peer URLs of a member.
    MemberUpdate(u64, Vec<String>),
    /// Gives a learner its vote.
    MemberPromote(u64),
    /// Makes a member the leader.
    MoveLeader(u64),
    /// Writes a snapshot to this file.
    SnapshotSave(PathBuf),
    /// A call about users and roles.
    Auth(Auth),
}

/// A request whose response is read page by page.
pub enum PagedRequest {
    /// The pairs of a range.
    Scan(Range),
    /// The events of a range between two revisions.
    Events(Events),
    /// The keys of a range that differ between two revisions.
    Diff(Revision, Revision, KeyRange),
}

/// Decodes a request.
pub struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

/// The error for bytes that `lib/wire.js` does not write.
pub fn malformed() -> Error {
    Error::new(
        Code::Internal,
        "a request reached the native part malformed",
    )
}

impl<'a> Reader<'a> {
    /// Reads these bytes from the front.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader {
            rest: bytes,
            depth: 0,
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or_else(malformed)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| malformed())
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// An integer of 64 bits.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A JavaScript number.
    pub fn float(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// An integer, written as a JavaScript number.
    pub fn number(&mut self) -> Result<i64> {
        Ok(self.float()? as i64)
    }

    /// Bytes after their length.
    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        let len = self.u32()?;
        Ok(self.take(len as usize)?.to_vec())
    }

    /// Flags, from the lowest bit on.
    pub fn flags<const N: usize>(&mut self) -> Result<[bool; N]> {
        let byte = self.u8()?;
        Ok(std::array::from_fn(|bit| byte & (1 << bit) != 0))
    }

    /// A durability; none for the handle's.
    pub fn durability(&mut self) -> Result<Option<Durability>> {
        match self.u8()? {
            0 => Ok(None),
            number => numbers::durability(number).map(Some).ok_or_else(malformed),
        }
    }

    /// A sort order.
    pub fn sort_order(&mut self) -> Result<SortOrder> {
        numbers::sort_order(self.u8()?).ok_or_else(malformed)
    }

    /// What to sort by.
    pub fn sort_target(&mut self) -> Result<SortTarget> {
        numbers::sort_target(self.u8()?).ok_or_else(malformed)
    }

    /// A set of keys.
    pub fn key_range(&mut self) -> Result<KeyRange> {
        Ok(match self.u8()? {
            range_kind::KEY => KeyRange::key(self.bytes()?),
            range_kind::PREFIX => KeyRange::prefix(self.bytes()?),
            range_kind::BETWEEN => KeyRange::between(self.bytes()?, self.bytes()?),
            range_kind::FROM_KEY => KeyRange::from_key(self.bytes()?),
            range_kind::ALL => KeyRange::all(),
            _ => return Err(malformed()),
        })
    }

    fn range(&mut self) -> Result<Range> {
        let mut range = Range::default();
        self.range_options(&mut range)?;
        range.range = self.key_range()?;
        Ok(range)
    }

    fn put(&mut self) -> Result<Put> {
        let mut put = Put::default();
        self.put_options(&mut put)?;
        put.key = self.bytes()?;
        put.value = self.bytes()?;
        Ok(put)
    }

    fn delete(&mut self) -> Result<Delete> {
        let mut delete = Delete::default();
        self.delete_options(&mut delete)?;
        delete.range = self.key_range()?;
        Ok(delete)
    }

    fn compare(&mut self) -> Result<Compare> {
        let result = numbers::compare_result(self.u8()?).ok_or_else(malformed)?;
        let operand = match self.u8()? {
            compare_target::VERSION => Operand::Version(self.number()?),
            compare_target::CREATE_REVISION => Operand::CreateRevision(self.number()?),
            compare_target::MOD_REVISION => Operand::ModRevision(self.number()?),
            compare_target::VALUE => Operand::Value(self.bytes()?),
            compare_target::LEASE => Operand::Lease(self.i64()?),
            _ => return Err(malformed()),
        };
        Ok(Compare::new(self.key_range()?, result, operand))
    }

    fn txn(&mut self) -> Result<Txn> {
        if self.depth >= DEPTH_MAX {
            let message = format!(
                "too many operations in txn request (more than {TXN_DEPTH_MAX} txns in one another)"
            );
            return Err(Error::new(Code::TooManyOps, message));
        }
        self.depth += 1;
        let mut txn = Txn::new();
        txn.durability = self.durability()?;
        txn.compare = (0..self.u32()?)
            .map(|_| self.compare())
            .collect::<Result<_>>()?;
        txn.success = self.ops()?;
        txn.failure = self.ops()?;
        self.depth -= 1;
        Ok(txn)
    }

    fn ops(&mut self) -> Result<Vec<Op>> {
        let count = self.u32()?;
        (0..count)
            .map(|_| match self.u8()? {
                kind::RANGE => Ok(Op::Range(self.range()?)),
                kind::PUT => Ok(Op::Put(self.put()?)),
                kind::DELETE => Ok(Op::Delete(self.delete()?)),
                kind::TXN => Ok(Op::Txn(self.txn()?)),
                _ => Err(malformed()),
            })
            .collect()
    }

    /// The next write of an outbox: the number of its promise, its store, whether it can be
    /// cancelled, and the write. None at the end.
    pub fn addressed(&mut self) -> Result<Option<(u32, u32, bool, Reader<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (id, len, db, cancellable) = (self.u32()?, self.u32()?, self.u32()?, self.u32()? != 0);
        Ok(Some((
            id,
            db,
            cancellable,
            Reader::new(self.take(len as usize)?),
        )))
    }

    /// A string.
    pub fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| malformed())
    }

    /// A path, which need not be UTF-8.
    pub fn path(&mut self) -> Result<PathBuf> {
        Ok(OsString::from_vec(self.bytes()?).into())
    }

    /// A request with one response.
    pub fn call(&mut self) -> Result<Call> {
        Ok(match self.u8()? {
            kind::GET => Call::Get(self.number()?, self.bytes()?),
            kind::RANGE => Call::Request(self.range()?.into()),
            kind::PUT => Call::Request(self.put()?.into()),
            kind::DELETE => Call::Request(self.delete()?.into()),
            kind::TXN => Call::Request(self.txn()?.into()),
            kind::COMPACT => {
                let [physical] = self.flags()?;
                Call::Request(Compact::new(self.number()?).physical(physical).into())
            }
            kind::HISTORY => Call::History(self.number()?, self.bytes()?),
            kind::STATUS => Call::Status,
            kind::CHECK => Call::Check,
            kind::SNAPSHOT => Call::Snapshot(self.number()?),
            kind::LEASE_GRANT => {
                Call::Request(LeaseGrant::new(self.number()?).id(self.i64()?).into())
            }
            kind::LEASE_REVOKE => Call::Request(LeaseRevoke::new(self.i64()?).into()),
            kind::LEASE_KEEP_ALIVE => Call::LeaseKeepAlive(self.i64()?),
            kind::LEASE_TIME_TO_LIVE => {
                let [keys] = self.flags()?;
                Call::LeaseTimeToLive(self.i64()?, keys)
            }
            kind::LEASE_LIST => Call::LeaseList,
            // times before 1970 are before every store
            kind::REVISION_AT => Call::RevisionAt(
                UNIX_EPOCH + Duration::from_millis(u64::try_from(self.number()?).unwrap_or(0)),
            ),
            kind::ALARM_LIST => Call::AlarmList,
            kind::ALARM_ACTIVATE => {
                let (kind, member) = (self.alarm_kind()?, self.i64()? as u64);
                Call::AlarmActivate(kind.ok_or_else(malformed)?, member)
            }
            kind::ALARM_DISARM => {
                let (kind, member) = (self.alarm_kind()?, self.i64()? as u64);
                Call::AlarmDisarm(member, kind)
            }
            kind::HASH_KV => Call::HashKv(self.number()?),
            kind::MEMBER_LIST => Call::MemberList,
            kind::MEMBER_ADD => {
                let [learner] = self.flags()?;
                Call::MemberAdd(self.texts()?, learner)
            }
            kind::MEMBER_REMOVE => Call::MemberRemove(self.i64()? as u64),
            kind::MEMBER_UPDATE => Call::MemberUpdate(self.i64()? as u64, self.texts()?),
            kind::MEMBER_PROMOTE => Call::MemberPromote(self.i64()? as u64),
            kind::MOVE_LEADER => Call::MoveLeader(self.i64()? as u64),
            kind::SNAPSHOT_SAVE => Call::SnapshotSave(self.path()?),
            kind => Call::Auth(self.auth(kind)?),
        })
    }

    /// Strings, after their number.
    fn texts(&mut self) -> Result<Vec<String>> {
        let count = self.number()?;
        (0..count).map(|_| self.text()).collect()
    }

    /// A kind of alarm, as etcd numbers them; 0 is none.
    fn alarm_kind(&mut self) -> Result<Option<AlarmKind>> {
        match self.u8()? {
            0 => Ok(None),
            number => numbers::alarm_kind(number).map(Some).ok_or_else(malformed),
        }
    }

    /// A request whose response is read page by page.
    pub fn paged_request(&mut self) -> Result<PagedRequest> {
        Ok(match self.u8()? {
            kind::SCAN => PagedRequest::Scan(self.range()?),
            kind::EVENTS => {
                let (after, upto) = (self.number()?, self.number()?);
                PagedRequest::Events(Events::new(self.key_range()?).after(after).upto(upto))
            }
            kind::DIFF => PagedRequest::Diff(self.number()?, self.number()?, self.key_range()?),
            _ => return Err(malformed()),
        })
    }

    /// A watch.
    pub fn watch(&mut self) -> Result<Watch> {
        let mut watch = Watch::default();
        self.watch_options(&mut watch)?;
        watch.range = self.key_range()?;
        Ok(watch)
    }

    /// An option, if it is set.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        Ok(match self.u8()? {
            0 => None,
            _ => Some(read(self)?),
        })
    }
}

/// Encodes a response.
#[derive(Default)]
pub struct Writer {
    /// The bytes so far.
    pub bytes: Vec<u8>,
    /// A number is larger than JavaScript can hold exactly.
    overflow: bool,
}

impl Writer {
    /// A count or a length.
    pub fn u32(&mut self, n: usize) -> &mut Writer {
        // LMDB stores no value of 4 GiB
        self.bytes.extend_from_slice(&(n as u32).to_le_bytes());
        self
    }

    /// An integer, for a JavaScript number.
    pub fn number(&mut self, n: i64) -> &mut Writer {
        self.overflow |= n.unsigned_abs() > NUMBER_MAX;
        self.bytes.extend_from_slice(&(n as f64).to_le_bytes());
        self
    }

    /// A number that may be absent.
    fn known(&mut self, n: Option<i64>) -> &mut Writer {
        self.flag(n.is_some());
        if let Some(n) = n {
            self.number(n);
        }
        self
    }

    fn i64(&mut self, n: i64) -> &mut Writer {
        self.bytes.extend_from_slice(&n.to_le_bytes());
        self
    }

    /// A boolean.
    pub fn flag(&mut self, flag: bool) -> &mut Writer {
        self.bytes.push(flag as u8);
        self
    }

    /// Bytes after their length.
    pub fn counted(&mut self, bytes: &[u8]) -> &mut Writer {
        self.u32(bytes.len());
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn pair(&mut self, kv: &KeyValue) -> &mut Writer {
        self.u32(kv.key.len()).u32(kv.value.len());
        self.number(kv.create_revision)
            .number(kv.mod_revision)
            .number(kv.version);
        self.bytes.extend_from_slice(&kv.lease.to_le_bytes());
        self.bytes.extend_from_slice(&kv.key);
        self.bytes.extend_from_slice(&kv.value);
        self
    }

    fn pairs(&mut self, kvs: &[KeyValue]) -> &mut Writer {
        self.u32(kvs.len());
        for kv in kvs {
            self.pair(kv);
        }
        self
    }

    fn optional(&mut self, kv: Option<&KeyValue>) -> &mut Writer {
        self.flag(kv.is_some());
        if let Some(kv) = kv {
            self.pair(kv);
        }
        self
    }

    /// The byte of a kind.
    pub fn kind(&mut self, kind: u8) -> &mut Writer {
        self.bytes.push(kind);
        self
    }

    /// A pair, or none.
    pub fn found(&mut self, kv: Option<&KeyValue>) {
        match kv {
            Some(kv) => self.kind(response::PAIR).pair(kv),
            None => self.kind(response::NONE),
        };
    }

    /// A response that is a number.
    pub fn just(&mut self, n: i64) {
        self.kind(response::NUMBER).number(n);
    }

    /// A response without a value.
    pub fn nothing(&mut self) {
        self.kind(response::NONE);
    }

    /// The result of a call without a value.
    pub fn nothing_after(&mut self, done: Result<()>) -> Result<()> {
        done.map(|()| self.nothing())
    }

    /// The response to a request.
    pub fn response(&mut self, response: &Response) {
        match response {
            Response::Range(range) => self.range(range),
            Response::Put(put) => self.put(put),
            Response::Delete(delete) => self.delete(delete),
            Response::Txn(txn) => self.txn(txn),
            Response::Compact(compact) => {
                self.kind(response::COMPACT).number(compact.revision);
            }
            Response::LeaseGrant(granted) => {
                self.kind(response::LEASE_GRANT)
                    .number(granted.revision)
                    .i64(granted.id)
                    .number(granted.ttl_seconds);
            }
            Response::LeaseRevoke(revoked) => {
                self.kind(response::LEASE_REVOKE).number(revoked.revision);
            }
            Response::Alarm(response) => self.alarms(&response.alarms),
            // this package has no other requests
            _ => {}
        }
    }

    /// The response to a range.
    pub fn range(&mut self, range: &RangeResponse) {
        self.kind(response::RANGE)
            .number(range.revision)
            .number(range.count)
            .flag(range.more)
            .pairs(&range.kvs);
    }

    fn put(&mut self, put: &PutResponse) {
        self.kind(response::PUT)
            .number(put.revision)
            .optional(put.prev_kv.as_ref());
    }

    fn delete(&mut self, delete: &DeleteResponse) {
        self.kind(response::DELETE)
            .number(delete.revision)
            .number(delete.deleted)
            .pairs(&delete.prev_kvs);
    }

    fn txn(&mut self, txn: &TxnResponse) {
        self.kind(response::TXN)
            .number(txn.revision)
            .flag(txn.succeeded)
            .u32(txn.responses.len());
        for response in &txn.responses {
            match response {
                OpResponse::Range(range) => self.range(range),
                OpResponse::Put(put) => self.put(put),
                OpResponse::Delete(delete) => self.delete(delete),
                OpResponse::Txn(txn) => self.txn(txn),
            }
        }
    }

    /// A status; the names of its members are in `lib/wire.js`, in this order.
    pub fn status(&mut self, status: &Status) {
        self.kind(response::STATUS);
        let large = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for number in [
            Some(status.revision),
            status.compacted_revision,
            status.keys.map(large),
            Some(large(status.bytes_on_disk)),
            Some(large(status.bytes_in_use)),
            status.readers.map(i64::from),
            Some(large(status.watchers)),
            status.leases.map(large),
            status.format_version.map(i64::from),
            status.writer_pid.map(i64::from),
            status.writer_held_ms.map(large),
            status.oldest_reader.map(large),
            status.max_bytes.map(large),
        ] {
            self.known(number);
        }
        let durability = status.durability.map_or("", Durability::name);
        self.flag(status.lmdb_version.is_some());
        if let Some(version) = &status.lmdb_version {
            self.counted(version.as_bytes());
        }
        self.counted(status.store_id.as_bytes())
            .counted(durability.as_bytes());
        self.flag(status.poisoned)
            .flag(status.removed)
            .alarm_list(&status.alarms);
    }

    /// The report of a check.
    pub fn check(&mut self, report: &CheckReport) {
        let large = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.kind(response::CHECK)
            .number(large(report.keys))
            .number(large(report.events))
            .u32(report.problems.len());
        for problem in &report.problems {
            self.counted(problem.invariant.as_bytes())
                .counted(&problem.key)
                .known(problem.revision)
                .counted(problem.message.as_bytes());
        }
    }

    /// A page of pairs, and whether it is the last.
    pub fn pairs_page(&mut self, kvs: &[KeyValue], last: bool) {
        self.kind(response::PAIRS).flag(last).pairs(kvs);
    }

    /// A page of events, and whether it is the last.
    pub fn events(&mut self, events: &[Event], last: bool) {
        self.kind(response::EVENTS).flag(last).event_list(events);
    }

    fn event_list(&mut self, events: &[Event]) -> &mut Writer {
        self.u32(events.len());
        for event in events {
            self.flag(event.kind == EventKind::Delete)
                .pair(&event.kv)
                .optional(event.prev_kv.as_ref());
        }
        self
    }

    /// Batches of a watcher, and whether there are no more for now.
    pub fn batches(&mut self, batches: &[WatchBatch], last: bool) {
        self.kind(response::BATCHES).flag(last).u32(batches.len());
        for batch in batches {
            self.number(batch.revision).event_list(&batch.events);
        }
    }

    /// The response to a renewal of a lease.
    pub fn lease_keep_alive(&mut self, kept: &LeaseKeepAliveResponse) {
        self.kind(response::LEASE_KEEP_ALIVE)
            .i64(kept.id)
            .number(kept.ttl_seconds);
    }

    /// The remaining TTL of a lease.
    pub fn lease_time_to_live(&mut self, left: &LeaseTimeToLiveResponse) {
        self.kind(response::LEASE_TIME_TO_LIVE)
            .i64(left.id)
            .number(left.ttl_seconds)
            .number(left.granted_ttl_seconds);
        self.u32(left.keys.len());
        for key in &left.keys {
            self.counted(key);
        }
    }

    /// The ids of leases.
    pub fn leases(&mut self, ids: &[LeaseId]) {
        self.kind(response::LEASES).u32(ids.len());
        for id in ids {
            self.i64(*id);
        }
    }

    /// Alarms, each as its number and its member.
    pub fn alarms(&mut self, alarms: &[AlarmMember]) {
        self.kind(response::ALARMS).alarm_list(alarms);
    }

    fn alarm_list(&mut self, alarms: &[AlarmMember]) {
        self.u32(alarms.len());
        for alarm in alarms {
            self.kind(numbers::alarm_kind_number(alarm.kind))
                .i64(alarm.member as i64);
        }
    }

    /// A hash of the history.
    pub fn hash_kv(&mut self, hashed: &HashKvResponse) {
        self.kind(response::HASH_KV)
            .number(hashed.revision)
            .number(hashed.hash.into())
            .number(hashed.compact_revision)
            .number(hashed.hash_revision);
    }

    /// Members, each with its id, its name, its URLs and whether it is a learner.
    pub fn members(&mut self, members: &[Member]) {
        self.kind(response::MEMBERS).u32(members.len());
        for member in members {
            self.i64(member.id as i64).counted(member.name.as_bytes());
            for urls in [&member.peer_urls, &member.client_urls] {
                self.u32(urls.len());
                for url in urls {
                    self.counted(url.as_bytes());
                }
            }
            self.flag(member.is_learner);
        }
    }

    /// A lease that is kept alive: its number among the handles, its id, its TTL.
    pub fn lease(&mut self, handle: u32, id: LeaseId, ttl_seconds: i64) {
        self.kind(response::LEASE)
            .number(handle.into())
            .i64(id)
            .number(ttl_seconds);
    }

    /// A server: its number among the handles, and its address.
    pub fn server(&mut self, handle: u32, address: &str) {
        self.kind(response::SERVER)
            .number(handle.into())
            .counted(address.as_bytes());
    }

    /// The state of a lock or an election.
    pub fn claim(&mut self, is_held: bool, key: &[u8], revision: Option<Revision>) {
        self.kind(response::CLAIM)
            .flag(is_held)
            .known(revision)
            .counted(key);
    }

    /// A page of differences, and whether it is the last.
    pub fn differences(&mut self, differences: &[Difference], last: bool) {
        self.kind(response::DIFF).flag(last).u32(differences.len());
        for difference in differences {
            self.counted(&difference.key)
                .optional(difference.before.as_ref())
                .optional(difference.after.as_ref());
        }
    }

    fn error(&mut self, error: &Error) {
        self.kind(response::ERROR)
            .counted(error.code().name().as_bytes())
            .counted(error.message().as_bytes());
        self.known(error.revision()).flag(error.lease().is_some());
        if let Some(lease) = error.lease() {
            self.i64(lease);
        }
        self.flag(error.key().is_some());
        if let Some(key) = error.key() {
            self.counted(key);
        }
    }

    /// Runs `write`. The response is what it wrote, or its error.
    pub fn write(&mut self, write: impl FnOnce(&mut Writer) -> Result<()>) {
        let from = self.bytes.len();
        let outcome = write(self);
        let outcome = match std::mem::take(&mut self.overflow) {
            true => Err(Error::new(
                Code::Unsupported,
                "the response has a number beyond 2^53",
            )),
            false => outcome,
        };
        if let Err(error) = outcome {
            self.bytes.truncate(from);
            self.error(&error);
            self.overflow = false;
        }
    }

    /// One response of a group: the number of its promise, its length, and the response.
    pub fn addressed(&mut self, id: u32, write: impl FnOnce(&mut Writer) -> Result<()>) {
        self.u32(id as usize).u32(0);
        let from = self.bytes.len();
        self.write(write);
        let len = (self.bytes.len() - from) as u32;
        self.bytes[from - 4..from].copy_from_slice(&len.to_le_bytes());
    }
}
