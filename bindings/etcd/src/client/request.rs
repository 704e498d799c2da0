//! Requests as etcd's calls, answers back, and what etcd's errors do not say: the revision meant.

use std::sync::Arc;

use bytes::Bytes;
use libkv::*;
use tokio::time::timeout_at;

use super::call::{Call, Effect, Ticket};
use super::cluster::{Cluster, after};
use super::link::Token;
use crate::convert;
use crate::pb::etcdserverpb as pb;

/// How deep txns may stand in one another: deeper, their answers could not be read.
const DEPTH_MAX: usize = 45;

/// Some key of a request, as messages name it.
fn show(key: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 64;
    let cut = &key[..key.len().min(SHOWN_BYTES_MAX)];
    format!(
        "\"{}{}\"",
        cut.escape_ascii(),
        if cut.len() < key.len() { "…" } else { "" }
    )
}

/// What a request does; for a write, how to find out whether it was done.
pub(crate) fn effect(request: &Request) -> Effect {
    let find_out = match request {
        Request::Range(_) | Request::Side(_) => return Effect::Reads,
        Request::Txn(txn) if txn.is_read_only() => return Effect::Reads,
        Request::Alarm(alarm) if alarm.action == AlarmAction::Get => return Effect::Reads,
        Request::Put(put) => format!(
            "Read {}: its value, version and mod_revision tell",
            show(&put.key)
        ),
        Request::Delete(delete) => format!("Read the range from {} again", show(&delete.range.key)),
        Request::Txn(_) => "Read a key that it writes: its mod_revision tells".into(),
        Request::Compact(_) => {
            "Compact to the same revision again: `compacted` says that it was done".into()
        }
        Request::LeaseGrant(_) => {
            "lease_list has the lease if it was granted; it ends with its TTL".into()
        }
        Request::LeaseRevoke(revoke) => format!(
            "lease_time_to_live({}) returns -1 if it was revoked",
            revoke.id
        ),
        Request::Alarm(_) => "alarm_list tells".into(),
    };
    Effect::Writes(find_out)
}

/// The key and the revision that a `compacted`, `future_revision` or `key_not_found` is about.
fn asked(request: &Request) -> (Option<Vec<u8>>, Revision) {
    fn of_ops(ops: &[Op]) -> Option<(Vec<u8>, Revision)> {
        ops.iter().find_map(|op| match op {
            Op::Range(range) if range.revision != 0 => {
                Some((range.range.key.clone(), range.revision))
            }
            Op::Txn(txn) => of_ops(&txn.success).or_else(|| of_ops(&txn.failure)),
            _ => None,
        })
    }
    let of_txn = match request {
        Request::Txn(txn) => of_ops(&txn.success).or_else(|| of_ops(&txn.failure)),
        Request::Range(range) => return (Some(range.range.key.clone()), range.revision),
        Request::Put(put) => return (Some(put.key.clone()), 0),
        Request::Compact(compact) => return (None, compact.revision),
        _ => None,
    };
    of_txn.map_or((None, 0), |(key, revision)| (Some(key), revision))
}

fn check_depth(txn: &Txn, depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        let detail = format!("txns nested deeper than {DEPTH_MAX}, on a cluster");
        return Err(Error::etcd(Code::TooManyOps, etcd_text::TOO_MANY_OPS).with_detail(detail));
    }
    txn.success
        .iter()
        .chain(&txn.failure)
        .try_for_each(|op| match op {
            Op::Txn(nested) => check_depth(nested, depth + 1),
            _ => Ok(()),
        })
}

/// Runs a request.
pub(crate) async fn run(
    cluster: Arc<Cluster>,
    request: Request,
    ticket: Arc<Ticket>,
) -> Result<Response> {
    if let Request::Txn(txn) = &request {
        check_depth(txn, 0)?;
    }
    let (key, revision) = asked(&request);
    let effect = effect(&request);
    let call = Call::new(cluster.clone(), effect.clone(), ticket);
    let lease = match &request {
        Request::Put(put) => put.lease,
        Request::LeaseRevoke(revoke) => revoke.id,
        Request::LeaseGrant(grant) => grant.id,
        _ => 0,
    };
    match send(call, request).await {
        // an answer came, whatever it says
        Err(error) if error.code() == Code::Internal && effect.writes() => {
            Err(effect.unknown(error.message()))
        }
        Err(error) => Err(explain(&cluster, error, key, revision, lease).await),
        response => response,
    }
}

/// Revokes a lease without waiting.
pub(crate) fn revoke(cluster: &Arc<Cluster>, id: LeaseId) {
    cluster.runtime.spawn(run(
        cluster.clone(),
        LeaseRevoke { id }.into(),
        Arc::default(),
    ));
}

async fn send(call: Call, request: Request) -> Result<Response> {
    Ok(match request {
        Request::Range(range) => {
            let response = call
                .run("/etcdserverpb.KV/Range", convert::range_out_request(range))
                .await?;
            Response::Range(convert::range_response(response))
        }
        Request::Put(put) => {
            let response = call
                .run("/etcdserverpb.KV/Put", convert::put_out_request(put))
                .await?;
            Response::Put(convert::put_response(response))
        }
        Request::Delete(delete) => {
            let response = call
                .run(
                    "/etcdserverpb.KV/DeleteRange",
                    convert::delete_out_request(delete),
                )
                .await?;
            Response::Delete(convert::delete_response(response))
        }
        Request::Txn(txn) => {
            let wrote = !txn.is_read_only();
            let response = call
                .run("/etcdserverpb.KV/Txn", convert::txn_out_request(txn))
                .await?;
            let committed = |error: Error| match wrote {
                true => Error::new(
                    Code::UnknownOutcome,
                    format!("{}, but the txn was carried out", error.message()),
                ),
                false => error,
            };
            Response::Txn(convert::txn_response(response).map_err(committed)?)
        }
        Request::Compact(Compact { revision, physical }) => {
            let message = pb::CompactionRequest { revision, physical };
            let response: pb::CompactionResponse =
                call.run("/etcdserverpb.KV/Compact", message).await?;
            Response::Compact(CompactResponse {
                revision: convert::revision_in(&response.header),
            })
        }
        Request::LeaseGrant(LeaseGrant {
            ttl_seconds, id, ..
        }) => {
            let message = pb::LeaseGrantRequest {
                ttl: ttl_seconds,
                id,
            };
            let response: pb::LeaseGrantResponse =
                call.run("/etcdserverpb.Lease/LeaseGrant", message).await?;
            let revision = convert::revision_in(&response.header);
            Response::LeaseGrant(LeaseGrantResponse {
                revision,
                id: response.id,
                ttl_seconds: response.ttl,
            })
        }
        Request::LeaseRevoke(LeaseRevoke { id }) => {
            let message = pb::LeaseRevokeRequest { id };
            let response: pb::LeaseRevokeResponse =
                call.run("/etcdserverpb.Lease/LeaseRevoke", message).await?;
            Response::LeaseRevoke(LeaseRevokeResponse {
                revision: convert::revision_in(&response.header),
            })
        }
        Request::Alarm(alarm) => {
            let response = call
                .run("/etcdserverpb.Maintenance/Alarm", alarm_out(alarm))
                .await?;
            Response::Alarm(alarm_in(response))
        }
        Request::Side(_) => {
            return Err(Error::new(
                Code::Unsupported,
                "a cluster keeps no records beside its keys",
            ));
        }
    })
}

fn alarm_out(alarm: Alarm) -> pb::AlarmRequest {
    use pb::alarm_request::AlarmAction as Action;
    let action = match alarm.action {
        AlarmAction::Get => Action::Get,
        AlarmAction::Activate => Action::Activate,
        AlarmAction::Deactivate => Action::Deactivate,
    };
    let kind = match alarm.kind {
        None => pb::AlarmType::None,
        Some(AlarmKind::NoSpace) => pb::AlarmType::Nospace,
        Some(AlarmKind::Corrupt) => pb::AlarmType::Corrupt,
    };
    pb::AlarmRequest {
        action: action as i32,
        member_id: alarm.member,
        alarm: kind as i32,
    }
}

fn alarm_in(response: pb::AlarmResponse) -> AlarmResponse {
    let revision = convert::revision_in(&response.header);
    let known = |alarm: pb::AlarmMember| {
        let kind = match alarm.alarm() {
            pb::AlarmType::None => return None,
            pb::AlarmType::Nospace => AlarmKind::NoSpace,
            pb::AlarmType::Corrupt => AlarmKind::Corrupt,
        };
        Some(AlarmMember {
            member: alarm.member_id,
            kind,
        })
    };
    let mut alarms: Vec<AlarmMember> = response.alarms.into_iter().filter_map(known).collect();
    alarms.sort_by_key(|alarm| (alarm.kind, alarm.member));
    AlarmResponse { revision, alarms }
}

/// The same error with what etcd leaves out.
async fn explain(
    cluster: &Arc<Cluster>,
    error: Error,
    key: Option<Vec<u8>>,
    revision: Revision,
    lease: LeaseId,
) -> Error {
    match error.code() {
        Code::Compacted => {
            match compacted_revision(cluster, key.as_deref().unwrap_or(&[0])).await {
                Ok(compacted) => compacted_error(revision, compacted.max(revision.clamp(0, 1))),
                Err(_) => error,
            }
        }
        Code::FutureRevision => match current_revision(cluster).await {
            Ok(current) => error
                .with_detail(format_args!(
                    "revision {revision}; the current one is {current}"
                ))
                .with_revision(current),
            Err(_) => error,
        },
        Code::LeaseNotFound | Code::LeaseExists if lease != 0 => error
            .with_detail(format_args!("lease {lease}"))
            .with_lease(lease),
        Code::KeyNotFound => match key {
            Some(key) => error.with_key(key),
            None => error,
        },
        _ => error,
    }
}

/// What whoever asks below the compacted revision is answered.
pub(crate) fn compacted_error(revision: Revision, compacted: Revision) -> Error {
    Error::etcd(Code::Compacted, etcd_text::COMPACTED)
        .with_detail(format_args!(
            "revision {revision}; compacted up to {compacted}"
        ))
        .with_revision(compacted)
}

/// The revision that the cluster is at.
///
/// A user may have no right to any given key; then it is that of the member that is spoken to, which has at
/// least everything that was written through it.
pub(crate) async fn current_revision(cluster: &Arc<Cluster>) -> Result<Revision> {
    let key = Bytes::from_static(&[0]);
    let message = pb::RangeRequest {
        key,
        count_only: true,
        ..Default::default()
    };
    let response: Result<pb::RangeResponse> = Call::read(cluster)
        .run("/etcdserverpb.KV/Range", message)
        .await;
    match response {
        Err(error) if error.code() == Code::PermissionDenied => {
            let response: pb::TxnResponse = Call::read(cluster)
                .run("/etcdserverpb.KV/Txn", pb::TxnRequest::default())
                .await?;
            Ok(convert::revision_in(&response.header))
        }
        response => Ok(convert::revision_in(&response?.header)),
    }
}

/// Whether this revision can be read no more.
pub(crate) async fn is_compacted(
    cluster: &Arc<Cluster>,
    key: &[u8],
    revision: Revision,
) -> Result<bool> {
    let key = if key.is_empty() {
        Bytes::from_static(&[0])
    } else {
        Bytes::copy_from_slice(key)
    };
    let message = pb::RangeRequest {
        key,
        revision,
        count_only: true,
        ..Default::default()
    };
    let response: Result<pb::RangeResponse> = Call::read(cluster)
        .run("/etcdserverpb.KV/Range", message)
        .await;
    match response {
        Err(error) if error.code() == Code::Compacted => Ok(true),
        Err(error) if error.code() == Code::FutureRevision => Ok(false),
        response => response.map(|_| false),
    }
}

/// The compacted revision, as far as it can be known: etcd tells it to a watch that begins below it. 0 if
/// revision 1 can be read, so that nothing was compacted yet, or as good as nothing.
pub(crate) async fn compacted_revision(cluster: &Arc<Cluster>, key: &[u8]) -> Result<Revision> {
    if !is_compacted(cluster, key, 1).await? {
        return Ok(0);
    }
    let until = after(cluster.request_timeout);
    let late = || {
        Error::new(
            Code::Timeout,
            "the compacted revision was not to be learnt in time",
        )
    };
    let link = cluster.link(until).await?;
    let token: Token = cluster.token();
    let create = pb::WatchCreateRequest {
        key: Bytes::copy_from_slice(if key.is_empty() { &[0] } else { key }),
        start_revision: 1,
        ..Default::default()
    };
    let watch = async {
        let mut stream = super::watch::open(&link, create, &token).await?;
        while let Some(message) = stream.message().await? {
            if message.compact_revision > 0 {
                return Ok(message.compact_revision);
            }
        }
        Err(tonic::Status::unavailable("the watch ended"))
    };
    timeout_at(until, watch)
        .await
        .map_err(|_| late())?
        .map_err(|status| convert::error_in(&status, None))
}
