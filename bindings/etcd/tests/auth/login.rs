//! Logins, and the life of a token.

use std::time::Duration;

use libkv::{Options, UserAdd};
use libkv_etcd::Serve;
use libkv_etcd::pb::etcdserverpb::*;
use tonic::Code;

use crate::calls::{Client, READ, READWRITE, is, outcome};
use crate::wire::{runtime, serve, soon};

const RANGE: &str = "etcdserverpb.KV/Range";
const WRONG: &str = "etcdserver: authentication failed, invalid user ID or password";
const NO_PASSWORD: &str = "auth: authentication failed, password was given for no password user";
const BAD_TOKEN: &str = "etcdserver: invalid auth token";

fn how() -> Serve {
    Serve::new("127.0.0.1:0").bcrypt_cost(4)
}

async fn read(client: &Client, key: &str) -> Result<Vec<u8>, tonic::Status> {
    let range = RangeRequest {
        key: key.to_string().into(),
        ..Default::default()
    };
    client
        .raw(RANGE, prost::Message::encode_to_vec(&range))
        .await
}

#[test]
fn only_the_right_password_gives_a_token() {
    runtime().block_on(async {
        let (db, server) = serve(Options::new(), how());
        let client = Client::new(server.address()).await;
        let off = client.log_in("root", "root").await.expect_err("it is off");
        is(
            &off,
            Code::FailedPrecondition,
            "etcdserver: authentication is not enabled",
        );
        client.enable_auth().await;
        let root = client.with(client.log_in("root", "root").await.expect("a token"));
        root.add_user("empty", "", &[]).await;
        db.user_add(UserAdd::without_password("cn"))
            .expect("a user");
        let longest = "x".repeat(72);
        root.add_user("long", &longest, &[]).await;
        for (name, password, code, text) in [
            ("root", "wrong", Code::InvalidArgument, WRONG),
            ("root", "", Code::InvalidArgument, WRONG),
            ("missing", "root", Code::InvalidArgument, WRONG),
            ("", "", Code::InvalidArgument, WRONG),
            ("cn", "", Code::Unknown, NO_PASSWORD),
            ("cn", "x", Code::Unknown, NO_PASSWORD),
            ("empty", "x", Code::InvalidArgument, WRONG),
            // etcd accepts it: bcrypt reads 72 bytes
            ("long", &"x".repeat(73), Code::InvalidArgument, WRONG),
            ("long", &"x".repeat(10_000), Code::InvalidArgument, WRONG),
        ] {
            let refused = client.log_in(name, password).await.expect_err(name);
            is(&refused, code, text);
        }
        for (name, password) in [("empty", ""), ("long", longest.as_str())] {
            client.log_in(name, password).await.expect(name);
        }
        let too_long = AuthUserAddRequest {
            name: "longer".into(),
            password: "x".repeat(73),
            ..Default::default()
        };
        let refused = root
            .call::<AuthUserAddResponse>("etcdserverpb.Auth/UserAdd", too_long.clone())
            .await
            .expect_err("too long");
        let text = "bcrypt: password length exceeds 72 bytes";
        is(&refused, Code::InvalidArgument, text);
        // the right is checked first
        let refused = client
            .call::<AuthUserAddResponse>("etcdserverpb.Auth/UserAdd", too_long)
            .await
            .expect_err("no user");
        is(
            &refused,
            Code::InvalidArgument,
            "etcdserver: user name is empty",
        );
    });
}

#[test]
fn token_ends_with_its_time_its_password_and_its_user() {
    runtime().block_on(async {
        let (db, server) = serve(Options::new(), how().auth_token_ttl_seconds(2));
        let client = Client::new(server.address()).await;
        client.enable_auth().await;
        db.role_add("reader").expect("a role");
        let permission = libkv::Permission::new(libkv::PermissionType::Read, "a");
        db.role_grant_permission("reader", permission)
            .expect("granted");
        for user in ["changed", "deleted", "idle"] {
            db.user_add(UserAdd::new(user, "x")).expect("a user");
            db.user_grant_role(user, "reader").expect("granted");
        }
        let token = |user: &'static str| {
            let client = client.clone();
            async move { client.with(client.log_in(user, "x").await.expect("a token")) }
        };
        let (changed, deleted) = (token("changed").await, token("deleted").await);
        for client in [&changed, &deleted] {
            read(client, "a").await.expect("permitted");
        }
        db.user_change_password("changed", "x").expect("changed");
        is(
            &read(&changed, "a").await.unwrap_err(),
            Code::Unauthenticated,
            BAD_TOKEN,
        );
        db.user_delete("deleted").expect("deleted");
        db.user_add(UserAdd::new("deleted", "x")).expect("a user");
        db.user_grant_role("deleted", "reader").expect("granted");
        is(
            &read(&deleted, "a").await.unwrap_err(),
            Code::Unauthenticated,
            BAD_TOKEN,
        );
        // a token that is used lives on, one that is not used ends
        let (used, idle) = (token("idle").await, token("idle").await);
        let until = std::time::Instant::now() + Duration::from_millis(3_500);
        while std::time::Instant::now() < until {
            read(&used, "a").await.expect("it is in use");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        is(
            &read(&idle, "a").await.unwrap_err(),
            Code::Unauthenticated,
            BAD_TOKEN,
        );
        read(&used, "a").await.expect("it is in use");
        // turning authentication off ends all
        db.auth_disable().expect("off");
        read(&used, "a")
            .await
            .expect("no token is needed, and it is not looked at");
        client
            .done("etcdserverpb.Auth/AuthEnable", AuthEnableRequest {})
            .await;
        let root = client.with(client.log_in("root", "root").await.expect("a token"));
        root.done("etcdserverpb.Auth/AuthDisable", AuthDisableRequest {})
            .await;
        client
            .done("etcdserverpb.Auth/AuthEnable", AuthEnableRequest {})
            .await;
        let none = RangeRequest {
            key: "a".into(),
            ..Default::default()
        };
        let refused = root.call::<RangeResponse>(RANGE, none).await;
        assert_eq!(outcome(&refused), format!("Unauthenticated: {BAD_TOKEN}"));
    });
}

#[test]
fn change_of_rights_by_another_handle_acts_on_the_next_call() {
    runtime().block_on(async {
        let (db, server) = serve(Options::new(), how());
        let client = Client::new(server.address()).await;
        client.enable_auth().await;
        let root = client.with(client.log_in("root", "root").await.expect("a token"));
        root.add_role("role", &[(READ, "a", "c")]).await;
        root.add_user("alice", "x", &["role"]).await;
        let alice = client.with(client.log_in("alice", "x").await.expect("a token"));
        read(&alice, "b").await.expect("permitted");
        let put = PutRequest {
            key: "b".into(),
            ..Default::default()
        };
        let denied = "PermissionDenied: etcdserver: permission denied";
        let refused = alice
            .call::<PutResponse>("etcdserverpb.KV/Put", put.clone())
            .await;
        assert_eq!(outcome(&refused), denied);
        let both = libkv::Permission::new(
            libkv::PermissionType::ReadWrite,
            libkv::KeyRange {
                key: "a".into(),
                range_end: "c".into(),
            },
        );
        db.role_grant_permission("role", both).expect("granted");
        alice.done("etcdserverpb.KV/Put", put.clone()).await;
        db.user_revoke_role("alice", "role").expect("revoked");
        let refused = alice.call::<PutResponse>("etcdserverpb.KV/Put", put).await;
        assert_eq!(outcome(&refused), denied);
        assert_eq!(outcome(&read(&alice, "b").await), denied);
        assert_eq!(READWRITE, libkv::PermissionType::ReadWrite.number());
    });
}

#[test]
fn users_are_there_after_a_restart_and_tokens_are_not() {
    runtime().block_on(async {
        let (db, server) = serve(Options::new(), how());
        let client = Client::new(server.address()).await;
        client.enable_auth().await;
        let token = client.log_in("root", "root").await.expect("a token");
        server.close();
        let server = libkv_etcd::serve(&db, how()).expect("it is served again");
        let client = Client::new(server.address()).await;
        let refused = read(&client, "a").await.unwrap_err();
        is(
            &refused,
            Code::InvalidArgument,
            "etcdserver: user name is empty",
        );
        let refused = read(&client.with(token), "a").await.unwrap_err();
        is(&refused, Code::Unauthenticated, BAD_TOKEN);
        let again = client.log_in("root", "root").await.expect("a token");
        read(&client.with(again), "a").await.expect("permitted");
    });
}

/// The lease belongs to the server, not to a user.
#[test]
fn lease_expires_while_authentication_is_on() {
    runtime().block_on(async {
        let (db, server) = serve(Options::new().lease_ttl_min_seconds(1), how());
        let client = Client::new(server.address()).await;
        let lease = db.lease_grant(1).expect("a lease").id;
        db.put(libkv::Put::new("k", "v").lease(lease))
            .expect("a put");
        client.enable_auth().await;
        let gone = async {
            while db.get("k").expect("readable").is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the end of the lease", gone).await;
    });
}

#[test]
fn passwords_and_tokens_are_in_no_line_of_the_log() {
    runtime().block_on(async {
        let lines = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let log = lines.clone();
        let how = how().log(move |_, line| {
            let mut lines = log.lock().expect("the log");
            lines.push_str(line);
            lines.push('\n');
        });
        let (_db, server) = serve(Options::new(), how);
        let client = Client::new(server.address()).await;
        client.enable_auth().await;
        let root = client.with(client.log_in("root", "root").await.expect("a token"));
        root.add_user("alice", "a-secret-password", &[]).await;
        let token = client
            .log_in("alice", "a-secret-password")
            .await
            .expect("a token");
        let _ = client.log_in("alice", "a-wrong-password").await;
        let _ = read(&client.with(token.clone()), "a").await;
        tokio::task::spawn_blocking(move || server.close())
            .await
            .expect("closed");
        let lines = lines.lock().expect("the log");
        assert!(!lines.is_empty(), "the log has lines");
        for secret in ["a-secret-password", "a-wrong-password", &token, "$2a$"] {
            assert!(!lines.contains(secret), "{lines}");
        }
    });
}
