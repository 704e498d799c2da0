//! The service Auth: authentication is off.

use libkv::{Options, Put};
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_etcd::pb::etcdserverpb::auth_client::AuthClient;
use libkv_etcd::serve;
use libkv_test_support::deadline::deadline;
use tonic::Code;

use crate::revision;
use crate::support::{Served, refused, run, store};

#[test]
fn authentication_is_off() {
    let _deadline = deadline();
    run(async {
        let served = Served::new().await;
        served.db.put(Put::new("a", "1")).expect("a put");
        let mut auth = AuthClient::new(served.channel.clone());
        let status = auth
            .auth_status(pb::AuthStatusRequest {})
            .await
            .expect("a status")
            .into_inner();
        assert_eq!(
            (
                status.enabled,
                status.auth_revision,
                revision(&status.header)
            ),
            (false, 1, 2)
        );
        let disabled = auth
            .auth_disable(pb::AuthDisableRequest {})
            .await
            .expect("authentication is off")
            .into_inner();
        assert_eq!(revision(&disabled.header), 2);
        let login = pb::AuthenticateRequest {
            name: "root".into(),
            password: "secret".into(),
        };
        let text = "etcdserver: authentication is not enabled";
        refused(
            auth.authenticate(login).await,
            Code::FailedPrecondition,
            text,
        );
        refused(
            auth.auth_enable(pb::AuthEnableRequest {}).await,
            Code::FailedPrecondition,
            "etcdserver: root user does not exist",
        );
    });
}

/// A program with a user and a password in its configuration works on a server without users.
#[test]
fn client_with_a_password_works_where_authentication_is_off() {
    let _deadline = deadline();
    let server = serve(&store(), "127.0.0.1:0").expect("a server");
    let options = Options::new().user("root").password("secret");
    let db = libkv_etcd::open(server.address(), options).expect("opened");
    db.put(Put::new("a", "1")).expect("a put");
    assert_eq!(
        db.get("a").expect("a get").expect("the key exists").value,
        &b"1"[..]
    );
}
