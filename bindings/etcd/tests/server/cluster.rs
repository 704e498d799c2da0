//! The service Cluster: one member, and the addresses that it names.

use std::sync::{Arc, Mutex};

use libkv_etcd::pb::etcdserverpb as pb;
use libkv_etcd::pb::etcdserverpb::cluster_client::ClusterClient;
use libkv_etcd::{Level, Serve, serve};
use libkv_test_support::deadline::deadline;

use crate::support::{Served, connect, run, store};

#[test]
fn cluster_has_one_member() {
    let _deadline = deadline();
    run(async {
        let how = Serve::new("127.0.0.1:0")
            .name("alone")
            .advertise("http://example:2379");
        let served = Served::how(how).await;
        let list = served
            .cluster()
            .member_list(pb::MemberListRequest::default())
            .await
            .expect("a list")
            .into_inner();
        let header = list.header.expect("a header");
        assert_eq!((header.revision, list.members.len()), (0, 1), "1.10");
        let member = &list.members[0];
        assert_eq!(
            (member.id, member.name.as_str()),
            (header.member_id, "alone")
        );
        assert_eq!(member.client_ur_ls, ["http://example:2379"]);
    });
}

#[test]
fn member_has_the_peer_urls_that_were_given() {
    let _deadline = deadline();
    run(async {
        let urls = ["http://10.0.0.1:2380", "http://10.0.0.2:2380"];
        let served = Served::how(Serve::new("127.0.0.1:0").peer_urls(urls)).await;
        let list = served
            .cluster()
            .member_list(pb::MemberListRequest::default())
            .await
            .expect("a list")
            .into_inner();
        assert_eq!(list.members[0].peer_ur_ls, urls);
        assert_eq!(list.members[0].client_ur_ls, [served.server.address()]);
    });
}

#[test]
fn wildcard_address_is_not_advertised() {
    let _deadline = deadline();
    run(async {
        for (address, given) in [
            ("0.0.0.0:0", None),
            ("0.0.0.0:0", Some("http://example:2379")),
        ] {
            let lines = Arc::new(Mutex::new(Vec::new()));
            let into = lines.clone();
            let how = Serve::new(address);
            let how = how.log(move |level, line| {
                into.lock()
                    .expect("no panic")
                    .push((level, line.to_string()))
            });
            let server =
                serve(&store(), given.into_iter().fold(how, Serve::advertise)).expect("a server");
            let port = server
                .address()
                .rsplit(':')
                .next()
                .expect("a port")
                .to_string();
            let mut cluster =
                ClusterClient::new(connect(&format!("http://127.0.0.1:{port}")).await);
            let list = cluster
                .member_list(pb::MemberListRequest::default())
                .await
                .expect("a list")
                .into_inner();
            let [url] = &list.members[0].client_ur_ls[..] else {
                panic!("one URL: {list:?}")
            };
            let warned = lines
                .lock()
                .expect("no panic")
                .iter()
                .any(|(level, line)| *level == Level::Warn && line.contains(url));
            match given {
                Some(given) => assert_eq!((url.as_str(), warned), (given, false)),
                None => {
                    assert!(
                        !url.contains("0.0.0.0") && url.ends_with(&format!(":{port}")),
                        "{url}"
                    );
                    assert!(warned, "{lines:?}");
                    connect(url).await;
                }
            }
        }
    });
}
