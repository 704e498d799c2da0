//! The service Maintenance: status, alarms, snapshots, hashes, and refusals of what a store does not
//! have.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use libkv::{Alarm, AlarmAction, AlarmKind, AlarmMember};
use sha2::{Digest, Sha256};
use tonic::{Code, Request, Response, Status};

use super::reply::{ServiceResult, caller};
use super::store::Store;
use crate::convert::{self, RAFT_TERM, refusal};
use crate::pb::etcdserverpb::{self as pb, maintenance_server};
use crate::{problems, snapshot};

/// The etcd version whose behaviour this server has. Clients decide by it which features they use:
/// Kubernetes uses progress requests from 3.5.13 on.
pub(crate) const SERVER_VERSION: &str = "3.7.3";
/// The version of its cluster and of its storage.
pub(crate) const CLUSTER_VERSION: &str = "3.7.0";
/// The minor version of its cluster, for metrics and the responses to Downgrade.
pub(crate) const CLUSTER_MINOR: &str = "3.7";

/// The quota in Status of a store without one.
const QUOTA_OFF: i64 = -1;
/// The size of a part of a snapshot, as etcd sends it.
const SNAPSHOT_PART_BYTES: usize = 32 << 10;
/// Free bytes in the file that do not require a defragmentation: later writes use them.
const FREE_BYTES_KEPT: u64 = 16 << 20;

/// Status, alarms, snapshots and hashes, and refusals of operations that a store does not have.
pub(crate) struct Maintenance(pub Arc<Store>);

#[tonic::async_trait]
impl maintenance_server::Maintenance for Maintenance {
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> ServiceResult<pb::AlarmResponse> {
        let caller = caller(&request).clone();
        let pb::AlarmRequest {
            action,
            member_id,
            alarm,
        } = request.into_inner();
        let unknown = |_| Status::invalid_argument("etcdserver: unknown alarm or action");
        let action = match pb::alarm_request::AlarmAction::try_from(action).map_err(unknown)? {
            pb::alarm_request::AlarmAction::Get => AlarmAction::Get,
            pb::alarm_request::AlarmAction::Activate => AlarmAction::Activate,
            pb::alarm_request::AlarmAction::Deactivate => AlarmAction::Deactivate,
        };
        let kind = match pb::AlarmType::try_from(alarm).map_err(unknown)? {
            pb::AlarmType::None => None,
            pb::AlarmType::Nospace => Some(AlarmKind::NoSpace),
            pb::AlarmType::Corrupt => Some(AlarmKind::Corrupt),
        };
        let libkv::Response::Alarm(response) = self
            .0
            .call(&caller, Alarm::new(action).member(member_id).kind(kind))
            .await?
        else {
            return Err(convert::wrong_response());
        };
        let header = self.0.identity.header(response.revision);
        let alarms = response.alarms.into_iter().map(alarm_out).collect();
        Ok(Response::new(pb::AlarmResponse { header, alarms }))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> ServiceResult<pb::StatusResponse> {
        let status = self.0.db.status().map_err(refusal)?;
        let member_id = self.0.identity.member_id;
        // there is no raft: the revision replaces its index, because it also grows with each write
        let index = status.revision.unsigned_abs();
        Ok(Response::new(pb::StatusResponse {
            header: self.0.identity.header(status.revision),
            version: SERVER_VERSION.into(),
            // the size on disk excludes pages that the file system has not allocated yet
            db_size: bytes(status.bytes_on_disk.max(status.bytes_in_use)),
            db_size_in_use: bytes(status.bytes_in_use),
            leader: member_id,
            raft_index: index,
            raft_applied_index: index,
            raft_term: RAFT_TERM,
            errors: problems::errors_out(&status),
            is_learner: false,
            storage_version: CLUSTER_VERSION.into(),
            db_size_quota: status.max_bytes.map_or(QUOTA_OFF, bytes),
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }))
    }

    /// Free pages are reused by later writes; the file does not shrink. So this returns OK if
    /// almost nothing can be freed, and otherwise an error with the size.
    async fn defragment(
        &self,
        _: Request<pb::DefragmentRequest>,
    ) -> ServiceResult<pb::DefragmentResponse> {
        let status = self.0.db.status().map_err(refusal)?;
        let free = status.bytes_on_disk.saturating_sub(status.bytes_in_use);
        if free > FREE_BYTES_KEPT {
            return Err(Status::unimplemented(format!(
                "etcdserver: defragment is not supported by libkv yet: {free} free bytes stay in the file, for later writes"
            )));
        }
        Ok(Response::new(pb::DefragmentResponse::default()))
    }

    async fn hash(&self, _: Request<pb::HashRequest>) -> ServiceResult<pb::HashResponse> {
        let hash = self.0.read_all(snapshot::hash).await?;
        let header = self.0.identity.header(self.0.revision()?);
        Ok(Response::new(pb::HashResponse { header, hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> ServiceResult<pb::HashKvResponse> {
        let revision = request.into_inner().revision;
        let hashed = self.0.read_all(move |db| db.hash_kv(revision)).await?;
        Ok(Response::new(pb::HashKvResponse {
            header: self.0.identity.header(hashed.revision),
            hash: hashed.hash,
            compact_revision: hashed.compact_revision,
            hash_revision: hashed.hash_revision,
        }))
    }

    type SnapshotStream = tokio_stream::Iter<SnapshotMessages>;

    async fn snapshot(
        &self,
        _: Request<pb::SnapshotRequest>,
    ) -> ServiceResult<Self::SnapshotStream> {
        let (file, bytes) = self.0.read_all(snapshot::write_unnamed).await?;
        Ok(Response::new(tokio_stream::iter(SnapshotMessages {
            file,
            remaining_bytes: bytes,
            hasher: Some(Sha256::new()),
        })))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> ServiceResult<pb::MoveLeaderResponse> {
        match request.into_inner().target_id == self.0.identity.member_id {
            true => Ok(Response::new(pb::MoveLeaderResponse::default())),
            false => Err(Status::failed_precondition(
                "etcdserver: bad leader transferee",
            )),
        }
    }

    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> ServiceResult<pb::DowngradeResponse> {
        use pb::downgrade_request::DowngradeAction;
        let pb::DowngradeRequest { action, version } = request.into_inner();
        match DowngradeAction::try_from(action) {
            Ok(DowngradeAction::Validate) => {
                check_target(&version)?;
                let header = self.0.identity.header(self.0.revision()?);
                Ok(Response::new(pb::DowngradeResponse {
                    header,
                    version: CLUSTER_MINOR.into(),
                }))
            }
            Ok(DowngradeAction::Enable) => {
                check_target(&version)?;
                Err(Status::failed_precondition(
                    "etcdserver: a libkv store has one version: there is nothing to downgrade",
                ))
            }
            // OK even if no downgrade is in progress
            Ok(DowngradeAction::Cancel) => {
                let header = self.0.identity.header(self.0.revision()?);
                Ok(Response::new(pb::DowngradeResponse {
                    header,
                    version: CLUSTER_MINOR.into(),
                }))
            }
            Err(_) => Err(Status::unknown("etcdserver: unknown method")),
        }
    }
}

/// The messages of a snapshot: the bbolt file in parts of one size, then its SHA-256.
pub(crate) struct SnapshotMessages {
    file: File,
    /// The bytes of the file that are not sent yet.
    remaining_bytes: u64,
    /// Of the sent part; `None` at the end.
    hasher: Option<Sha256>,
}

impl SnapshotMessages {
    fn part(&mut self, len: usize) -> std::io::Result<Vec<u8>> {
        let mut part = vec![0; len];
        self.file.read_exact(&mut part)?;
        self.remaining_bytes -= len as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&part);
        }
        Ok(part)
    }
}

impl Iterator for SnapshotMessages {
    type Item = Result<pb::SnapshotResponse, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let len = self.remaining_bytes.min(SNAPSHOT_PART_BYTES as u64) as usize;
        let blob = match len {
            0 => self.hasher.take()?.finalize().to_vec(),
            len => match self.part(len) {
                Ok(part) => part,
                Err(error) => {
                    (self.hasher, self.remaining_bytes) = (None, 0);
                    let message = format!("etcdserver: reading the snapshot: {error}");
                    return Some(Err(Status::internal(message)));
                }
            },
        };
        Some(Ok(pb::SnapshotResponse {
            remaining_bytes: self.remaining_bytes,
            blob: blob.into(),
            ..pb::SnapshotResponse::default()
        }))
    }
}

fn alarm_out(alarm: AlarmMember) -> pb::AlarmMember {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => pb::AlarmType::Nospace,
        AlarmKind::Corrupt => pb::AlarmType::Corrupt,
    };
    pb::AlarmMember {
        member_id: alarm.member,
        alarm: kind as i32,
    }
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A downgrade goes one minor version below the cluster's. The target is a semantic version whose
/// last number may be missing.
fn check_target(version: &str) -> Result<(), Status> {
    let (numbers, suffix) = version.split_at(version.find(['-', '+']).unwrap_or(version.len()));
    let target: Option<Vec<u64>> = numbers.split('.').map(|part| part.parse().ok()).collect();
    match target.as_deref() {
        Some([3, 6] | [3, 6, _]) if suffix.len() != 1 => Ok(()),
        Some([_, _] | [_, _, _]) if suffix.len() != 1 => Err(Status::new(
            Code::InvalidArgument,
            "etcdserver: invalid downgrade target version",
        )),
        _ => Err(Status::new(
            Code::InvalidArgument,
            "etcdserver: wrong downgrade target version format",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downgrade_target_is_one_minor_version_below() {
        for (version, text) in [
            ("3.6", ""),
            ("3.6.0", ""),
            ("3.6.5", ""),
            ("3.6.0-rc.1", ""),
            ("3.7.0", "etcdserver: invalid downgrade target version"),
            ("3.5", "etcdserver: invalid downgrade target version"),
            ("2.6", "etcdserver: invalid downgrade target version"),
            ("", "etcdserver: wrong downgrade target version format"),
            ("x", "etcdserver: wrong downgrade target version format"),
            ("3", "etcdserver: wrong downgrade target version format"),
            (
                "v3.6.0",
                "etcdserver: wrong downgrade target version format",
            ),
            (
                "3.6.0.0",
                "etcdserver: wrong downgrade target version format",
            ),
            (
                "3.6.0-",
                "etcdserver: wrong downgrade target version format",
            ),
        ] {
            let response = check_target(version)
                .map_or_else(|status| status.message().to_string(), |()| String::new());
            assert_eq!(response, text, "{version:?}");
        }
    }

    #[test]
    fn cluster_version_is_that_of_the_server() {
        assert!(SERVER_VERSION.starts_with(CLUSTER_MINOR));
        assert_eq!(CLUSTER_VERSION, format!("{CLUSTER_MINOR}.0"));
    }
}
