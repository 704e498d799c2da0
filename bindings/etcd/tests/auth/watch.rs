//! Watches and changes of rights. etcd checks a watch when it is created, and never again; a server
//! of ours ends it before it sends an event that its caller may not read any more.

use libkv::Options;
use libkv_etcd::Serve;
use libkv_etcd::pb::etcdserverpb::watch_client::WatchClient;
use libkv_etcd::pb::etcdserverpb::watch_request::RequestUnion;
use libkv_etcd::pb::etcdserverpb::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use crate::calls::{Client, READ};
use crate::wire::{connect, runtime, serve, soon};

/// A stream with a token, and its first watch.
async fn watch(
    url: &str,
    token: &str,
) -> (
    mpsc::UnboundedSender<WatchRequest>,
    Streaming<WatchResponse>,
) {
    let (requests, receiver) = mpsc::unbounded_channel();
    let create = WatchCreateRequest {
        key: "a".into(),
        ..Default::default()
    };
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    requests.send(create).expect("it is open");
    let mut request = tonic::Request::new(UnboundedReceiverStream::new(receiver));
    request
        .metadata_mut()
        .insert("token", token.parse().expect("a token"));
    let mut client = WatchClient::new(connect(url).await);
    let responses = soon("a stream", client.watch(request))
        .await
        .expect("a stream");
    (requests, responses.into_inner())
}

async fn next(responses: &mut Streaming<WatchResponse>) -> WatchResponse {
    soon("a response", responses.message())
        .await
        .expect("the stream continues")
        .expect("the stream continues")
}

#[test]
fn watch_ends_before_an_event_that_its_caller_may_not_read() {
    runtime().block_on(async {
        let (db, server) = serve(Options::new(), Serve::new("127.0.0.1:0").bcrypt_cost(4));
        let client = Client::new(server.address()).await;
        client.enable_auth().await;
        let root = client.with(client.log_in("root", "root").await.expect("a token"));
        root.add_role("role", &[(READ, "a", "")]).await;
        root.add_user("alice", "x", &["role"]).await;
        let token = client.log_in("alice", "x").await.expect("a token");
        let (_requests, mut responses) = watch(server.address(), &token).await;
        let created = next(&mut responses).await;
        assert!(created.created && !created.canceled, "{created:?}");
        // a change that leaves the right does not end the watch
        root.add_role("other", &[]).await;
        db.put(libkv::Put::new("a", "1")).expect("a put");
        assert_eq!(next(&mut responses).await.events.len(), 1);
        db.user_revoke_role("alice", "role").expect("revoked");
        db.put(libkv::Put::new("a", "2")).expect("a put");
        let ended = next(&mut responses).await;
        assert!(ended.canceled && ended.events.is_empty(), "{ended:?}");
        assert_eq!(
            ended.cancel_reason,
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        );
    });
}

#[test]
fn watch_without_a_user_ends_when_authentication_is_turned_on() {
    runtime().block_on(async {
        let (db, server) = serve(Options::new(), Serve::new("127.0.0.1:0").bcrypt_cost(4));
        let client = Client::new(server.address()).await;
        let (_requests, mut responses) = watch(server.address(), "ignored while it is off").await;
        assert!(next(&mut responses).await.created);
        client.enable_auth().await;
        db.put(libkv::Put::new("a", "1")).expect("a put");
        let ended = next(&mut responses).await;
        assert!(ended.canceled && ended.events.is_empty(), "{ended:?}");
        assert_eq!(
            ended.cancel_reason,
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
        );
    });
}
