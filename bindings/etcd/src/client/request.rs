//! Requests as etcd's calls, their responses, and the details that etcd's errors lack, such as
//! revisions.

use std::sync::Arc;

use libkv::engine::Limits;
use libkv::*;

use super::auth;
use super::call::{Call, Effect, Ticket};
use super::cluster::Cluster;
use super::revision::{compacted_error, compacted_revision, current_revision};
use crate::convert;
use crate::pb::etcdserverpb as pb;

/// How deep txns may be nested: the response to a deeper one could not be read.
const DEPTH_MAX: usize = 45;

/// A key in a message, shortened if it is long.
fn show(key: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 64;
    let cut = &key[..key.len().min(SHOWN_BYTES_MAX)];
    format!(
        "\"{}{}\"",
        cut.escape_ascii(),
        if cut.len() < key.len() { "…" } else { "" }
    )
}

/// What a request does; for a write, with how to find out whether it was done.
pub(crate) fn effect(request: &Request) -> Effect {
    let find_out = match request {
        Request::Range(_) | Request::Side(_) => return Effect::Reads,
        Request::Txn(txn) if txn.is_read_only() => return Effect::Reads,
        Request::Alarm(alarm) if alarm.action == AlarmAction::Get => return Effect::Reads,
        Request::Put(put) => format!(
            "Read {}: its value, version and mod_revision show it",
            show(&put.key)
        ),
        Request::Delete(delete) => format!("Read the range from {} again", show(&delete.range.key)),
        Request::Txn(_) => "Read a key that it writes: its mod_revision shows it".into(),
        Request::Compact(_) => {
            "Compact to the same revision again: `compacted` means that it was done".into()
        }
        Request::LeaseGrant(_) => {
            "lease_list has the lease if it was granted; it ends with its TTL".into()
        }
        Request::LeaseRevoke(revoke) => format!(
            "lease_time_to_live({}) returns -1 if it was revoked",
            revoke.id
        ),
        Request::Auth(auth) if auth.is_read() => return Effect::Reads,
        Request::Alarm(_) => "alarm_list shows it".into(),
        Request::Auth(_) => "auth_status, user_get and role_get show it".into(),
        // it is not sent
        _ => return Effect::Reads,
    };
    Effect::Writes(find_out)
}

/// The key and the revision that a `compacted`, `future_revision` or `key_not_found` is about.
fn key_and_revision(request: &Request) -> (Option<Vec<u8>>, Revision) {
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
    // etcd's refusal does not name the key
    let duplicate_key = match &request {
        Request::Txn(_) => Limits::from_options(&Options::new()).check(&request).err(),
        _ => None,
    }
    .filter(|error| error.code() == Code::DuplicateKey);
    let (key, revision) = key_and_revision(&request);
    let effect = effect(&request);
    let call = Call::new(cluster.clone(), effect.clone(), ticket);
    let lease = match &request {
        Request::Put(put) => put.lease,
        Request::LeaseRevoke(revoke) => revoke.id,
        Request::LeaseGrant(grant) => grant.id,
        _ => 0,
    };
    match send(call, request).await {
        // any response means that the request was executed
        Err(error) if error.code() == Code::Internal && effect.writes() => {
            Err(effect.unknown(error.message()))
        }
        Err(error) if error.code() == Code::DuplicateKey => Err(duplicate_key.unwrap_or(error)),
        Err(error) => Err(explain(&cluster, error, key, revision, lease).await),
        response => response,
    }
}

/// Revokes a lease without waiting.
pub(crate) fn revoke(cluster: &Arc<Cluster>, id: LeaseId) {
    cluster.runtime.spawn(run(
        cluster.clone(),
        LeaseRevoke::new(id).into(),
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
        Request::Compact(Compact {
            revision, physical, ..
        }) => {
            let message = pb::CompactionRequest { revision, physical };
            let response: pb::CompactionResponse =
                call.run("/etcdserverpb.KV/Compact", message).await?;
            let mut compacted = CompactResponse::default();
            compacted.revision = convert::revision_in(&response.header);
            Response::Compact(compacted)
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
            let mut granted = LeaseGrantResponse::default();
            granted.revision = convert::revision_in(&response.header);
            granted.id = response.id;
            granted.ttl_seconds = response.ttl;
            Response::LeaseGrant(granted)
        }
        Request::LeaseRevoke(LeaseRevoke { id, .. }) => {
            let message = pb::LeaseRevokeRequest { id };
            let response: pb::LeaseRevokeResponse =
                call.run("/etcdserverpb.Lease/LeaseRevoke", message).await?;
            let mut revoked = LeaseRevokeResponse::default();
            revoked.revision = convert::revision_in(&response.header);
            Response::LeaseRevoke(revoked)
        }
        Request::Alarm(alarm) => {
            let response = call
                .run("/etcdserverpb.Maintenance/Alarm", alarm_out(alarm))
                .await?;
            Response::Alarm(alarm_in(response))
        }
        Request::Auth(request) => Response::Auth(auth::send(call, request).await?),
        Request::Side(_) => {
            return Err(Error::new(
                Code::Unsupported,
                "a cluster keeps no records beside its keys",
            ));
        }
        _ => {
            return Err(Error::new(
                Code::Unsupported,
                "a cluster does not have this request",
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
    let mut found = AlarmResponse::default();
    found.revision = convert::revision_in(&response.header);
    found.alarms = alarms;
    found
}

/// The same error with the details that etcd leaves out.
pub(super) async fn explain(
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
