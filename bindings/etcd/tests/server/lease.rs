//! The service Lease.

use bytes::Bytes;
use libkv::{Db, LeaseGrant, Options, Put};
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_etcd::{Serve, serve};
use libkv_test_support::deadline::deadline;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::revision;
use crate::support::{Served, refused, run};

#[test]
fn leases_are_granted_kept_and_revoked() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        let mut lease = served.lease();
        let granted = lease
            .lease_grant(pb::LeaseGrantRequest { ttl: 100, id: 7 })
            .await
            .expect("7.1")
            .into_inner();
        assert_eq!(
            (granted.id, granted.ttl, revision(&granted.header)),
            (7, 100, 1)
        );
        let own = lease
            .lease_grant(pb::LeaseGrantRequest { ttl: 0, id: 0 })
            .await
            .expect("7.1, 7.2")
            .into_inner();
        assert!(own.id > 0 && own.ttl == 2, "{own:?}");
        let exists = lease
            .lease_grant(pb::LeaseGrantRequest { ttl: 100, id: 7 })
            .await;
        refused(
            exists,
            Code::FailedPrecondition,
            "etcdserver: lease already exists",
        );
        let large = lease
            .lease_grant(pb::LeaseGrantRequest {
                ttl: 9_000_000_001,
                id: 0,
            })
            .await;
        refused(large, Code::OutOfRange, "etcdserver: too large lease TTL");

        served.db.put(Put::new("k", "v").lease(7)).expect("a put");
        let left = lease
            .lease_time_to_live(pb::LeaseTimeToLiveRequest { id: 7, keys: true })
            .await
            .expect("7.5");
        let left = left.into_inner();
        assert_eq!(
            (left.granted_ttl, left.keys, revision(&left.header)),
            (100, vec![Bytes::from("k")], 2)
        );
        assert!((98..=100).contains(&left.ttl), "{}", left.ttl);
        let none = lease
            .lease_time_to_live(pb::LeaseTimeToLiveRequest { id: 8, keys: true })
            .await
            .expect("7.5");
        let none = none.into_inner();
        assert_eq!((none.id, none.ttl, none.granted_ttl), (8, -1, 0));
        let list = lease
            .lease_leases(pb::LeaseLeasesRequest {})
            .await
            .expect("7.6")
            .into_inner();
        assert_eq!(
            list.leases.iter().map(|lease| lease.id).collect::<Vec<_>>(),
            [own.id, 7]
        );

        let (requests, receiver) = tokio::sync::mpsc::channel(8);
        for id in [7, 8, 7, 0] {
            requests
                .send(pb::LeaseKeepAliveRequest { id })
                .await
                .expect("open");
        }
        let mut kept = lease
            .lease_keep_alive(ReceiverStream::new(receiver))
            .await
            .expect("7.4")
            .into_inner();
        for (id, ttl) in [(7, 100), (8, 0), (7, 100), (0, 0)] {
            let response = kept.message().await.expect("open").expect("a response");
            assert_eq!(
                (response.id, response.ttl, revision(&response.header)),
                (id, ttl, 2)
            );
        }
        drop(requests);
        assert!(
            kept.message()
                .await
                .expect("an end without an error")
                .is_none(),
            "7.4: half-close"
        );

        let revoked = lease
            .lease_revoke(pb::LeaseRevokeRequest { id: 7 })
            .await
            .expect("7.3")
            .into_inner();
        assert_eq!(
            (
                revision(&revoked.header),
                served.db.get("k").expect("a get")
            ),
            (3, None)
        );
        let gone = lease.lease_revoke(pb::LeaseRevokeRequest { id: 7 }).await;
        refused(
            gone,
            Code::NotFound,
            "etcdserver: requested lease not found",
        );
    });
}

/// A client that reads on from the header's revision must not miss a key: the header's revision
/// must not be newer than the keys of the response.
#[test]
fn lease_header_is_not_newer_than_the_keys() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        served
            .db
            .lease_grant(LeaseGrant::new(100).id(7))
            .expect("a grant");
        // many keys, so that reading them takes a moment
        for txn in 0..100 {
            let puts = (0..100).map(|number| Put::new(format!("{txn}/{number}"), "").lease(7));
            let txn = puts.fold(libkv::Txn::new(), libkv::Txn::and_then);
            served.db.txn(txn).expect("a txn");
        }
        let db = served.db.clone();
        let writer = std::thread::spawn(move || {
            for number in 0..2_000 {
                db.put(Put::new(format!("{number}"), "").lease(7))
                    .expect("a put");
            }
        });
        let mut lease = served.lease();
        while !writer.is_finished() {
            let left = lease
                .lease_time_to_live(pb::LeaseTimeToLiveRequest { id: 7, keys: true })
                .await
                .expect("7.5");
            let left = left.into_inner();
            let (keys, at) = (left.keys.len() as i64, revision(&left.header));
            assert!(keys - 10_000 >= at - 101, "{keys} keys at revision {at}");
        }
        writer.join().expect("no panic");
    });
}

#[test]
fn leases_restart_at_open_with_that_option() {
    let _deadline = deadline();
    let clock = libkv::Clock::new(1_000);
    let db = Db::open(":memory:", Options::new().clock(clock.clone())).expect("a store");
    db.lease_grant(LeaseGrant::new(100).id(1)).expect("a grant");
    clock.advance(60_000);
    let left = || db.lease_time_to_live(1).expect("a lease").ttl_seconds;
    assert_eq!(left(), 40);
    serve(&db, "127.0.0.1:0").expect("a server").close();
    assert_eq!(
        left(),
        40,
        "by default a server does not restart the leases"
    );
    serve(&db, Serve::new("127.0.0.1:0").refresh_leases(true))
        .expect("a server")
        .close();
    assert_eq!(left(), 100);
}
