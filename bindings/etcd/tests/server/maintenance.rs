//! The service Maintenance.

use libkv::Put;
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_test_support::deadline::deadline;
use tonic::Code;

use crate::support::{Served, refused, run};

#[test]
fn maintenance_status_is_that_of_the_store() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        served.db.put(Put::new("a", "1")).expect("a put");
        let mut maintenance = served.maintenance();
        let status = maintenance
            .status(pb::StatusRequest {})
            .await
            .expect("a status")
            .into_inner();
        let header = status.header.expect("a header");
        assert_eq!(
            (status.version.as_str(), status.leader, header.revision),
            ("3.7.3", header.member_id, 2)
        );
        assert_eq!(
            (status.storage_version.as_str(), status.db_size_quota),
            ("3.7.0", -1)
        );
        assert_eq!(
            status.downgrade_info,
            Some(pb::DowngradeInfo::default()),
            "the field is present"
        );
        assert!(
            status.db_size >= status.db_size_in_use && status.db_size_in_use > 0,
            "{status:?}"
        );
        assert!(
            status.raft_index > 0
                && status.raft_term == 2
                && !status.is_learner
                && status.errors.is_empty()
        );
        let defragmented = maintenance
            .defragment(pb::DefragmentRequest {})
            .await
            .expect("little free space");
        assert_eq!(defragmented.into_inner().header, None, "1.10");

        let own = pb::MoveLeaderRequest {
            target_id: header.member_id,
        };
        assert_eq!(
            maintenance
                .move_leader(own)
                .await
                .expect("the leader")
                .into_inner()
                .header,
            None,
            "1.10"
        );
        let other = maintenance
            .move_leader(pb::MoveLeaderRequest { target_id: 1 })
            .await;
        refused(
            other,
            Code::FailedPrecondition,
            "etcdserver: bad leader transferee",
        );
        let older = pb::DowngradeRequest {
            action: 0,
            version: "3.6.0".into(),
        };
        assert_eq!(
            maintenance
                .downgrade(older)
                .await
                .expect("one minor version below")
                .into_inner()
                .version,
            "3.7"
        );
        let cancel = pb::DowngradeRequest {
            action: 2,
            version: String::new(),
        };
        assert_eq!(
            maintenance
                .downgrade(cancel)
                .await
                .expect("no downgrade is active")
                .into_inner()
                .version,
            "3.7"
        );
        let unknown = pb::DowngradeRequest {
            action: 9,
            version: String::new(),
        };
        refused(
            maintenance.downgrade(unknown).await,
            Code::Unknown,
            "etcdserver: unknown method",
        );

        let negative = maintenance
            .hash_kv(pb::HashKvRequest { revision: -1 })
            .await;
        refused(
            negative,
            Code::InvalidArgument,
            "etcdserver: the revision is -1; 0 is the current one",
        );
        // the parts of a snapshot, then its hash, whose length shows that the file is complete
        let parts = maintenance.snapshot(pb::SnapshotRequest {}).await;
        let mut parts = parts.expect("a stream").into_inner();
        let (mut lengths, mut remaining) = (Vec::new(), Vec::new());
        while let Some(part) = parts.message().await.expect("a part") {
            lengths.push(part.blob.len());
            remaining.push(part.remaining_bytes);
        }
        assert_eq!(lengths.pop(), Some(32));
        assert!(lengths.iter().all(|&len| len <= 32_768 && len % 4_096 == 0));
        assert!(remaining.is_sorted_by(|before, after| before >= after));
        assert_eq!(remaining.last(), Some(&0));
    });
}
