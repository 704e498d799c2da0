//! The current and the compacted revision of a cluster.

use std::sync::Arc;

use bytes::Bytes;
use libkv::{Code, Error, Result, Revision, etcd_text};
use tokio::time::timeout_at;

use super::call::Call;
use super::cluster::{Cluster, after};
use super::watch_rpc;
use crate::convert;
use crate::pb::etcdserverpb as pb;

/// The error of a request below the compacted revision.
pub(crate) fn compacted_error(revision: Revision, compacted: Revision) -> Error {
    Error::etcd(Code::Compacted, etcd_text::COMPACTED)
        .with_detail(format_args!(
            "revision {revision}; compacted up to {compacted}"
        ))
        .with_revision(compacted)
}

/// The current revision of the cluster.
///
/// A user may have no right to read any given key. Then this is the revision of the member that is
/// connected, which includes everything that was written through it.
pub(crate) async fn current_revision(cluster: &Arc<Cluster>) -> Result<Revision> {
    match count(cluster, &[], 0).await {
        Err(error) if error.code() == Code::PermissionDenied => {
            let response: pb::TxnResponse = Call::read(cluster)
                .run("/etcdserverpb.KV/Txn", pb::TxnRequest::default())
                .await?;
            Ok(convert::revision_in(&response.header))
        }
        response => Ok(convert::revision_in(&response?.header)),
    }
}

/// Whether this revision cannot be read any more.
pub(crate) async fn is_compacted(
    cluster: &Arc<Cluster>,
    key: &[u8],
    revision: Revision,
) -> Result<bool> {
    match count(cluster, key, revision).await {
        Err(error) if error.code() == Code::Compacted => Ok(true),
        Err(error) if error.code() == Code::FutureRevision => Ok(false),
        response => response.map(|_| false),
    }
}

/// Counts a key at a revision, the current one if it is 0. An empty key means any key.
async fn count(
    cluster: &Arc<Cluster>,
    key: &[u8],
    revision: Revision,
) -> Result<pb::RangeResponse> {
    let message = pb::RangeRequest {
        key: key_or_any(key),
        revision,
        count_only: true,
        ..Default::default()
    };
    Call::read(cluster)
        .run("/etcdserverpb.KV/Range", message)
        .await
}

fn key_or_any(key: &[u8]) -> Bytes {
    match key.is_empty() {
        true => Bytes::from_static(&[0]),
        false => Bytes::copy_from_slice(key),
    }
}

/// The compacted revision, as far as it can be known: etcd reports it to a watch that begins below
/// it. 0 if revision 1 can be read, so that nothing was compacted yet, or only revision 0.
pub(crate) async fn compacted_revision(cluster: &Arc<Cluster>, key: &[u8]) -> Result<Revision> {
    if !is_compacted(cluster, key, 1).await? {
        return Ok(0);
    }
    let until = after(cluster.request_timeout);
    let late = || Error::new(Code::Timeout, "timed out reading the compacted revision");
    let link = cluster.link(until).await?;
    let token = cluster.token();
    let create = pb::WatchCreateRequest {
        key: key_or_any(key),
        start_revision: 1,
        ..Default::default()
    };
    let watch = async {
        let mut stream = watch_rpc::open(&link, create, &token).await?;
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
