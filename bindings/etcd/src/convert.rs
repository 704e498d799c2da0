//! Wire messages to the model and back, for the server and the client; [`Code`] to gRPC's and back.

use bytes::Bytes;
use libkv::engine::{check_key, check_txn_fields};
use libkv::*;
use tonic::Status as Refusal;

use crate::grpc_code::{code_of, code_of_text, is_definite, status_of};
use crate::pb::etcdserverpb as pb;
use crate::pb::mvccpb;

/// The identity of one server, which every response contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Made from the store's id.
    pub cluster_id: u64,
    /// Likewise.
    pub member_id: u64,
}

/// A store has no elections: it is always in its first term.
pub const RAFT_TERM: u64 = 2;

impl Identity {
    /// The header of a response at this revision.
    pub fn header(self, revision: Revision) -> Option<pb::ResponseHeader> {
        let Identity {
            cluster_id,
            member_id,
        } = self;
        Some(pb::ResponseHeader {
            cluster_id,
            member_id,
            revision,
            raft_term: RAFT_TERM,
        })
    }
}

/// The header of a response inside a txn: only the revision.
fn inner(revision: Revision) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        revision,
        ..Default::default()
    })
}

// ---- requests received by the server

fn key_range(key: Bytes, range_end: Bytes) -> KeyRange {
    KeyRange {
        key: key.into(),
        range_end: range_end.into(),
    }
}

pub fn range_in(range: pb::RangeRequest) -> Result<Range> {
    let unknown = |_| {
        let sort = Error::etcd(Code::InvalidArgument, etcd_text::SORT_OPTION_INVALID);
        // etcd reports an empty key first
        check_key(&range.key).err().unwrap_or(sort)
    };
    let sort_order =
        match pb::range_request::SortOrder::try_from(range.sort_order).map_err(unknown)? {
            pb::range_request::SortOrder::None => SortOrder::None,
            pb::range_request::SortOrder::Ascend => SortOrder::Ascend,
            pb::range_request::SortOrder::Descend => SortOrder::Descend,
        };
    let sort_target =
        match pb::range_request::SortTarget::try_from(range.sort_target).map_err(unknown)? {
            pb::range_request::SortTarget::Key => SortTarget::Key,
            pb::range_request::SortTarget::Version => SortTarget::Version,
            pb::range_request::SortTarget::Create => SortTarget::Create,
            pb::range_request::SortTarget::Mod => SortTarget::Mod,
            pb::range_request::SortTarget::Value => SortTarget::Value,
        };
    Ok(Range::new(key_range(range.key, range.range_end))
        .revision(range.revision)
        .limit(range.limit)
        .sort(sort_target, sort_order)
        .keys_only(range.keys_only)
        .count_only(range.count_only)
        .mod_revisions(range.min_mod_revision, range.max_mod_revision)
        .create_revisions(range.min_create_revision, range.max_create_revision)
        .serializable(range.serializable))
}

pub fn put_in(put: pb::PutRequest) -> Put {
    Put::new(put.key, put.value)
        .lease(put.lease)
        .prev_kv(put.prev_kv)
        .ignore_value(put.ignore_value)
        .ignore_lease(put.ignore_lease)
}

pub fn delete_in(delete: pb::DeleteRangeRequest) -> Delete {
    Delete::new(key_range(delete.key, delete.range_end)).prev_kv(delete.prev_kv)
}

pub fn compact_in(compact: pb::CompactionRequest) -> Compact {
    Compact::new(compact.revision).physical(compact.physical)
}

pub fn txn_in(txn: pb::TxnRequest) -> Result<Txn> {
    let mut fault = None;
    let txn = txn_before_fault(txn, &mut fault);
    match fault {
        None => Ok(txn),
        // the first fault in etcd's order counts (contract 5.15); it may be before this one
        Some(fault) => Err(check_txn_fields(&txn).err().unwrap_or(fault)),
    }
}

/// The txn up to the first operation that the model cannot express, whose error is in `fault` then.
fn txn_before_fault(txn: pb::TxnRequest, fault: &mut Option<Error>) -> Txn {
    let mut ops = |ops: Vec<pb::RequestOp>| -> Vec<Op> {
        ops.into_iter().map_while(|op| op_in(op, fault)).collect()
    };
    Txn::new()
        .when_all(txn.compare.into_iter().map(compare_in))
        .and_then_all(ops(txn.success))
        .or_else_all(ops(txn.failure))
}

fn op_in(op: pb::RequestOp, fault: &mut Option<Error>) -> Option<Op> {
    use pb::request_op::Request;
    if fault.is_some() {
        return None;
    }
    let op = match op.request {
        Some(Request::RequestRange(range)) => range_in(range).map(Op::Range),
        Some(Request::RequestPut(put)) => Ok(Op::Put(put_in(put))),
        Some(Request::RequestDeleteRange(delete)) => Ok(Op::Delete(delete_in(delete))),
        Some(Request::RequestTxn(txn)) => Ok(Op::Txn(txn_before_fault(txn, fault))),
        None => Err(Error::etcd(Code::KeyNotFound, etcd_text::KEY_NOT_FOUND)),
    };
    op.map_err(|error| *fault = Some(error)).ok()
}

/// An operand that is absent or of another kind than the target is read as 0 or empty. A comparison
/// with an unknown operator is always true, and an unknown target compares as equal (contract 5.6,
/// 5.7). No version is negative, so a condition on the version can express both.
fn compare_in(compare: pb::Compare) -> Compare {
    use pb::compare::{CompareResult as Result, CompareTarget as Target, TargetUnion as Given};
    let range = key_range(compare.key, compare.range_end);
    let result = match Result::try_from(compare.result) {
        Ok(Result::Equal) => CompareResult::Equal,
        Ok(Result::Greater) => CompareResult::Greater,
        Ok(Result::Less) => CompareResult::Less,
        Ok(Result::NotEqual) => CompareResult::NotEqual,
        Err(_) => {
            return Compare::version(range, CompareResult::Greater, -1);
        }
    };
    let given = compare.target_union;
    let operand = match Target::try_from(compare.target) {
        Ok(Target::Version) => Operand::Version(if let Some(Given::Version(n)) = given {
            n
        } else {
            0
        }),
        Ok(Target::Create) => {
            Operand::CreateRevision(if let Some(Given::CreateRevision(n)) = given {
                n
            } else {
                0
            })
        }
        Ok(Target::Mod) => Operand::ModRevision(if let Some(Given::ModRevision(n)) = given {
            n
        } else {
            0
        }),
        Ok(Target::Lease) => Operand::Lease(if let Some(Given::Lease(n)) = given {
            n
        } else {
            0
        }),
        Ok(Target::Value) => Operand::Value(match given {
            Some(Given::Value(value)) => value.into(),
            _ => Vec::new(),
        }),
        Err(_) => {
            let result = if result == CompareResult::Equal {
                CompareResult::Greater
            } else {
                CompareResult::Less
            };
            let version = if result == CompareResult::Less { 0 } else { -1 };
            return Compare::version(range, result, version);
        }
    };
    Compare::new(range, result, operand)
}

pub fn watch_in(watch: pb::WatchCreateRequest) -> Watch {
    use pb::watch_create_request::FilterType;
    let filtered = |kind: FilterType| watch.filters.contains(&(kind as i32));
    let (no_put, no_delete) = (filtered(FilterType::Noput), filtered(FilterType::Nodelete));
    Watch::new(key_range(watch.key, watch.range_end))
        .start_revision(watch.start_revision)
        .prev_kv(watch.prev_kv)
        .no_put(no_put)
        .no_delete(no_delete)
        .progress(watch.progress_notify)
}

// ---- responses sent by the server

pub fn kv_out(kv: KeyValue) -> mvccpb::KeyValue {
    let KeyValue {
        key,
        value,
        create_revision,
        mod_revision,
        version,
        lease,
    } = kv;
    mvccpb::KeyValue {
        key,
        create_revision,
        mod_revision,
        version,
        value,
        lease,
    }
}

pub fn event_out(event: Event) -> mvccpb::Event {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event {
        r#type: kind as i32,
        kv: Some(kv_out(event.kv)),
        prev_kv: event.prev_kv.map(kv_out),
    }
}

fn kvs_out(kvs: Vec<KeyValue>) -> Vec<mvccpb::KeyValue> {
    kvs.into_iter().map(kv_out).collect()
}

pub fn range_out(range: RangeResponse, header: Option<pb::ResponseHeader>) -> pb::RangeResponse {
    pb::RangeResponse {
        header,
        kvs: kvs_out(range.kvs),
        more: range.more,
        count: range.count,
    }
}

pub fn put_out(put: PutResponse, header: Option<pb::ResponseHeader>) -> pb::PutResponse {
    pb::PutResponse {
        header,
        prev_kv: put.prev_kv.map(kv_out),
    }
}

pub fn delete_out(
    delete: DeleteResponse,
    header: Option<pb::ResponseHeader>,
) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header,
        deleted: delete.deleted,
        prev_kvs: kvs_out(delete.prev_kvs),
    }
}

pub fn txn_out(txn: TxnResponse, header: Option<pb::ResponseHeader>) -> pb::TxnResponse {
    pb::TxnResponse {
        header,
        succeeded: txn.succeeded,
        responses: txn.responses.into_iter().map(op_out).collect(),
    }
}

fn op_out(op: OpResponse) -> pb::ResponseOp {
    use pb::response_op::Response;
    let response = match op {
        OpResponse::Range(range) => Response::ResponseRange({
            let header = inner(range.revision);
            range_out(range, header)
        }),
        OpResponse::Put(put) => Response::ResponsePut({
            let header = inner(put.revision);
            put_out(put, header)
        }),
        OpResponse::Delete(delete) => Response::ResponseDeleteRange({
            let header = inner(delete.revision);
            delete_out(delete, header)
        }),
        OpResponse::Txn(txn) => Response::ResponseTxn({
            let header = inner(txn.revision);
            txn_out(txn, header)
        }),
    };
    pb::ResponseOp {
        response: Some(response),
    }
}

// ---- requests sent by the client

pub fn range_out_request(range: Range) -> pb::RangeRequest {
    use pb::range_request::{SortOrder as Order, SortTarget as Target};
    let sort_order = match range.sort_order {
        SortOrder::None => Order::None,
        SortOrder::Ascend => Order::Ascend,
        SortOrder::Descend => Order::Descend,
    };
    let sort_target = match range.sort_target {
        SortTarget::Key => Target::Key,
        SortTarget::Version => Target::Version,
        SortTarget::Create => Target::Create,
        SortTarget::Mod => Target::Mod,
        SortTarget::Value => Target::Value,
    };
    pb::RangeRequest {
        key: range.range.key.into(),
        range_end: range.range.range_end.into(),
        limit: range.limit,
        revision: range.revision,
        sort_order: sort_order as i32,
        sort_target: sort_target as i32,
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
        min_mod_revision: range.min_mod_revision,
        max_mod_revision: range.max_mod_revision,
        min_create_revision: range.min_create_revision,
        max_create_revision: range.max_create_revision,
    }
}

pub fn put_out_request(put: Put) -> pb::PutRequest {
    pb::PutRequest {
        key: put.key.into(),
        value: put.value.into(),
        lease: put.lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

pub fn delete_out_request(delete: Delete) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: delete.range.key.into(),
        range_end: delete.range.range_end.into(),
        prev_kv: delete.prev_kv,
    }
}

pub fn txn_out_request(txn: Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compare.into_iter().map(compare_out_request).collect(),
        success: txn.success.into_iter().map(op_out_request).collect(),
        failure: txn.failure.into_iter().map(op_out_request).collect(),
    }
}

fn op_out_request(op: Op) -> pb::RequestOp {
    use pb::request_op::Request;
    let request = match op {
        Op::Range(range) => Request::RequestRange(range_out_request(range)),
        Op::Put(put) => Request::RequestPut(put_out_request(put)),
        Op::Delete(delete) => Request::RequestDeleteRange(delete_out_request(delete)),
        Op::Txn(txn) => Request::RequestTxn(txn_out_request(txn)),
    };
    pb::RequestOp {
        request: Some(request),
    }
}

fn compare_out_request(compare: Compare) -> pb::Compare {
    use pb::compare::{CompareResult as Result, CompareTarget as Target, TargetUnion as Given};
    let result = match compare.result {
        CompareResult::Equal => Result::Equal,
        CompareResult::Greater => Result::Greater,
        CompareResult::Less => Result::Less,
        CompareResult::NotEqual => Result::NotEqual,
    };
    let (target, given) = match compare.operand {
        Operand::Version(n) => (Target::Version, Given::Version(n)),
        Operand::CreateRevision(n) => (Target::Create, Given::CreateRevision(n)),
        Operand::ModRevision(n) => (Target::Mod, Given::ModRevision(n)),
        Operand::Value(value) => (Target::Value, Given::Value(value.into())),
        Operand::Lease(n) => (Target::Lease, Given::Lease(n)),
    };
    pb::Compare {
        result: result as i32,
        target: target as i32,
        key: compare.range.key.into(),
        range_end: compare.range.range_end.into(),
        target_union: Some(given),
    }
}

pub fn watch_out_request(watch: Watch) -> pb::WatchCreateRequest {
    use pb::watch_create_request::FilterType;
    let filters = [
        (watch.no_put, FilterType::Noput),
        (watch.no_delete, FilterType::Nodelete),
    ];
    pb::WatchCreateRequest {
        key: watch.range.key.into(),
        range_end: watch.range.range_end.into(),
        start_revision: watch.start_revision,
        progress_notify: watch.progress,
        filters: filters
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, filter)| *filter as i32)
            .collect(),
        prev_kv: watch.prev_kv,
        watch_id: 0,
        fragment: false,
    }
}

// ---- responses received by the client

/// The revision of a header; 0 if there is none.
pub fn revision_in(header: &Option<pb::ResponseHeader>) -> Revision {
    header.as_ref().map_or(0, |header| header.revision)
}

pub fn kv_in(kv: mvccpb::KeyValue) -> KeyValue {
    let mvccpb::KeyValue {
        key,
        create_revision,
        mod_revision,
        version,
        value,
        lease,
    } = kv;
    KeyValue {
        key,
        value,
        create_revision,
        mod_revision,
        version,
        lease,
    }
}

pub fn event_in(event: mvccpb::Event) -> Event {
    let kind = match event.r#type() {
        mvccpb::event::EventType::Put => EventKind::Put,
        mvccpb::event::EventType::Delete => EventKind::Delete,
    };
    Event {
        kind,
        kv: event.kv.map(kv_in).unwrap_or_default(),
        prev_kv: event.prev_kv.map(kv_in),
    }
}

fn kvs_in(kvs: Vec<mvccpb::KeyValue>) -> Vec<KeyValue> {
    kvs.into_iter().map(kv_in).collect()
}

pub fn range_response(range: pb::RangeResponse) -> RangeResponse {
    let mut response = RangeResponse::default();
    response.revision = revision_in(&range.header);
    response.kvs = kvs_in(range.kvs);
    response.count = range.count;
    response.more = range.more;
    response
}

pub fn put_response(put: pb::PutResponse) -> PutResponse {
    let mut response = PutResponse::default();
    response.revision = revision_in(&put.header);
    response.prev_kv = put.prev_kv.map(kv_in);
    response
}

pub fn delete_response(delete: pb::DeleteRangeResponse) -> DeleteResponse {
    let mut response = DeleteResponse::default();
    response.revision = revision_in(&delete.header);
    response.deleted = delete.deleted;
    response.prev_kvs = kvs_in(delete.prev_kvs);
    response
}

pub fn txn_response(txn: pb::TxnResponse) -> Result<TxnResponse> {
    use pb::response_op::Response;
    let responses = txn.responses.into_iter().map(|op| {
        Ok(match op.response {
            Some(Response::ResponseRange(range)) => OpResponse::Range(range_response(range)),
            Some(Response::ResponsePut(put)) => OpResponse::Put(put_response(put)),
            Some(Response::ResponseDeleteRange(delete)) => {
                OpResponse::Delete(delete_response(delete))
            }
            Some(Response::ResponseTxn(nested)) => OpResponse::Txn(txn_response(nested)?),
            None => {
                return Err(Error::new(
                    Code::Internal,
                    "the server omitted a response inside a txn",
                ));
            }
        })
    });
    let mut response = TxnResponse::default();
    response.succeeded = txn.succeeded;
    response.revision = revision_in(&txn.header);
    response.responses = responses.collect::<Result<_>>()?;
    Ok(response)
}

// ---- errors

/// The store returned a response of another kind, which is a defect of libkv.
pub fn wrong_response() -> Refusal {
    Refusal::internal("etcdserver: a response of another kind")
}

/// The prefix of etcd's texts.
const PREFIX: &str = "etcdserver: ";

/// How a refusal goes over the wire: etcd's status, and etcd's text where it has one.
pub fn refusal(error: Error) -> Refusal {
    let status = status_of(error.code(), error.etcd_text());
    // clients compare etcd's text, so it is sent without the detail
    let text = error.etcd_text().unwrap_or(error.message());
    Refusal::new(status, format!("{PREFIX}{text}"))
}

/// The error for a server's refusal. `sent_bytes` is the length of a request that may have written,
/// `None` for one that only reads.
///
/// A write is certainly refused only by a status that etcd itself returns before the write or
/// instead of it. The others also come from proxies, or after the write: from a limit on the size
/// of responses, from a server that stops. Those are `unknown_outcome`.
///
/// One refusal of etcd is `full` although the write may be done: the first write that exceeds the
/// quota after it was proposed is carried out, and refused with the same text as each later write.
pub fn error_in(refusal: &Refusal, sent_bytes: Option<usize>) -> Error {
    use tonic::Code as Wire;
    let text = refusal
        .message()
        .strip_prefix(PREFIX)
        .unwrap_or(refusal.message());
    let status = refusal.code();
    let code = match (code_of_text(status, text), status) {
        (Some(code), _) => code,
        // members that must not be changed now; etcd checks this before it changes anything
        (None, Wire::Unavailable | Wire::Unknown) if is_reconfiguration_refused(text) => {
            Code::FailedPrecondition
        }
        (None, Wire::InvalidArgument) if long_key(text).is_some() => Code::TooLarge,
        (None, Wire::ResourceExhausted) if is_too_large(text, sent_bytes) => Code::TooLarge,
        _ if sent_bytes.is_some() && !is_definite(status) => Code::UnknownOutcome,
        _ => code_of(status),
    };
    match (etcd_text::find(text), long_key(text)) {
        (Some(text), _) => Error::etcd(code, text),
        (_, Some(detail)) => Error::new(code, etcd_text::REQUEST_TOO_LARGE).with_detail(detail),
        _ => Error::new(code, text),
    }
}

/// Whether etcd refuses a change of its members because too few of them are started or healthy.
pub fn is_reconfiguration_refused(text: &str) -> bool {
    let text = text.strip_prefix(PREFIX).unwrap_or(text);
    text == "re-configuration failed due to not enough started members"
        || text == "unhealthy cluster"
}

/// The detail of a refused key that is too long, which only a server of this project refuses.
fn long_key(text: &str) -> Option<&str> {
    let detail = text.strip_prefix(etcd_text::REQUEST_TOO_LARGE)?;
    detail.strip_prefix(" (")?.strip_suffix(')')
}

/// Whether the request was too large for its receiver. For a write the text must name its length: a
/// proxy uses the same text for a response that is too large.
fn is_too_large(text: &str, sent_bytes: Option<usize>) -> bool {
    let Some(found) = text.strip_prefix("grpc: received message larger than max (") else {
        return false;
    };
    sent_bytes.is_none_or(|sent| found.split(' ').next() == Some(sent.to_string().as_str()))
}

#[cfg(test)]
mod tests {
    use tonic::Code as Wire;

    use super::*;

    #[test]
    fn refused_write_is_definite_only_where_etcd_did_not_write() {
        let code = |wire, text: &str| error_in(&Refusal::new(wire, text), Some(700)).code();
        for (wire, text, expected) in [
            (
                Wire::InvalidArgument,
                "etcdserver: key is not provided",
                Code::InvalidArgument,
            ),
            (
                Wire::InvalidArgument,
                "etcdserver: request is too large",
                Code::TooLarge,
            ),
            (
                Wire::InvalidArgument,
                "etcdserver: request is too large (key \"k\": …)",
                Code::TooLarge,
            ),
            (
                Wire::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Code::Compacted,
            ),
            (
                Wire::NotFound,
                "etcdserver: requested lease not found",
                Code::LeaseNotFound,
            ),
            (
                Wire::FailedPrecondition,
                "etcdserver: lease already exists",
                Code::LeaseExists,
            ),
            (
                Wire::PermissionDenied,
                "etcdserver: permission denied",
                Code::PermissionDenied,
            ),
            (
                Wire::Unauthenticated,
                "etcdserver: invalid auth token",
                Code::Unauthenticated,
            ),
            (
                Wire::Unimplemented,
                "unknown service etcdserverpb.KV",
                Code::Unsupported,
            ),
            (Wire::DataLoss, "etcdserver: corrupt cluster", Code::Corrupt),
            (
                Wire::ResourceExhausted,
                "etcdserver: too many requests",
                Code::Busy,
            ),
            (
                Wire::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Code::Full,
            ),
            (
                Wire::ResourceExhausted,
                "grpc: received message larger than max (700 vs. 512)",
                Code::TooLarge,
            ),
            // the response was too large for a proxy
            (
                Wire::ResourceExhausted,
                "grpc: received message larger than max (7000 vs. 512)",
                Code::UnknownOutcome,
            ),
            (
                Wire::ResourceExhausted,
                "grpc: trying to send message larger than max (700 vs. 512)",
                Code::UnknownOutcome,
            ),
            (Wire::ResourceExhausted, "", Code::UnknownOutcome),
            (
                Wire::Unavailable,
                "etcdserver: request timed out",
                Code::UnknownOutcome,
            ),
            (
                Wire::Unavailable,
                "upstream connect error or disconnect/reset before headers",
                Code::UnknownOutcome,
            ),
            (
                Wire::DeadlineExceeded,
                "context deadline exceeded",
                Code::UnknownOutcome,
            ),
            (Wire::Cancelled, "context canceled", Code::UnknownOutcome),
            (Wire::Aborted, "", Code::UnknownOutcome),
            (
                Wire::Internal,
                "etcdserver: internal error",
                Code::UnknownOutcome,
            ),
            (
                Wire::Internal,
                "failed to decode Protobuf message: buffer underflow",
                Code::UnknownOutcome,
            ),
            (
                Wire::Internal,
                "stream terminated by RST_STREAM with error code: INTERNAL_ERROR",
                Code::UnknownOutcome,
            ),
            (
                Wire::Unknown,
                "etcdserver: server stopped",
                Code::UnknownOutcome,
            ),
            (Wire::Ok, "", Code::UnknownOutcome),
        ] {
            assert_eq!(code(wire, text), expected, "{wire:?} {text}");
        }
    }

    #[test]
    fn refused_read_is_never_of_unknown_outcome() {
        let all = (0..17).map(Wire::from_i32).filter(|wire| *wire != Wire::Ok);
        for wire in all {
            let code = error_in(&Refusal::new(wire, "etcdserver: request timed out"), None).code();
            assert_ne!(code, Code::UnknownOutcome, "{wire:?}");
        }
    }
}
