//! Users, roles and permissions of a store: `etcd37.md` A1 to A14, as far as no server is needed.

use libkv::engine::HistoryPart;
use libkv::{
    AuthStamp, Code, Db, KeyRange, Options, Password, Permission, PermissionType, Put, UserAdd,
};

fn store() -> Db {
    Db::open(":memory:", Options::new()).expect("a store in memory")
}

fn auth_revision(db: &Db) -> u64 {
    db.auth_status().expect("the status").auth_revision
}

fn refused(result: libkv::Result<i64>) -> (Code, Option<&'static str>) {
    let error = result.expect_err("it is refused");
    (error.code(), error.etcd_text())
}

#[test]
fn each_change_adds_one_to_the_revision_of_users_and_roles() {
    let db = store();
    let before = db.put(Put::new("k", "v")).unwrap().revision;
    assert_eq!(auth_revision(&db), 1);
    db.user_add(UserAdd::new("alice", "secret")).unwrap();
    db.role_add("reader").unwrap();
    db.user_grant_role("alice", "reader").unwrap();
    db.user_grant_role("alice", "reader").unwrap();
    assert_eq!(
        auth_revision(&db),
        4,
        "granting a role again changes nothing"
    );
    let read = |range| Permission::new(PermissionType::Read, range);
    db.role_grant_permission("reader", read(KeyRange::key("a")))
        .unwrap();
    db.role_grant_permission("reader", read(KeyRange::key("a")))
        .unwrap();
    assert_eq!(auth_revision(&db), 6);
    db.role_revoke_permission("reader", "a").unwrap();
    db.user_change_password("alice", "other").unwrap();
    db.role_delete("reader").unwrap();
    assert_eq!(auth_revision(&db), 9);
    assert!(db.user_get("alice").unwrap().is_empty());
    db.user_delete("alice").unwrap();
    assert_eq!(
        db.user_delete("missing").unwrap_err().code(),
        Code::FailedPrecondition
    );
    assert_eq!(auth_revision(&db), 10);
    assert_eq!(db.put(Put::new("k", "v")).unwrap().revision, before + 1);
}

#[test]
fn authentication_needs_root_and_keeps_it() {
    let db = store();
    let precondition = |text| (Code::FailedPrecondition, Some(text));
    assert_eq!(
        refused(db.auth_enable()),
        precondition("root user does not exist")
    );
    db.user_add(UserAdd::new("root", "")).unwrap();
    assert_eq!(
        refused(db.auth_enable()),
        precondition("root user does not have root role")
    );
    db.user_grant_role("root", "root").unwrap();
    let before = auth_revision(&db);
    db.auth_enable().unwrap();
    db.auth_enable().unwrap();
    let status = db.auth_status().unwrap();
    assert!(status.enabled && status.auth_revision == before);
    let management = (Code::InvalidArgument, Some("invalid auth management"));
    assert_eq!(refused(db.user_delete("root")), management);
    assert_eq!(refused(db.role_delete("root")), management);
    assert_eq!(refused(db.user_revoke_role("root", "root")), management);
    db.auth_disable().unwrap();
    db.auth_disable().unwrap();
    assert_eq!(auth_revision(&db), before + 1);
    db.user_revoke_role("root", "root").unwrap();
    db.user_delete("root").unwrap();
}

#[test]
fn refusals_have_the_texts_of_etcd_and_change_nothing() {
    let db = store();
    db.user_add(UserAdd::without_password("cn")).unwrap();
    db.role_add("role").unwrap();
    let before = auth_revision(&db);
    let permission = |key: &str, end: &str| {
        let range = KeyRange {
            key: key.into(),
            range_end: end.into(),
        };
        Permission::new(PermissionType::Write, range)
    };
    let invalid = Code::InvalidArgument;
    let precondition = Code::FailedPrecondition;
    for (result, code, text) in [
        (
            db.user_add(UserAdd::new("", "x")),
            invalid,
            "user name is empty",
        ),
        (
            db.user_add(UserAdd::new("cn", "x")),
            precondition,
            "user name already exists",
        ),
        (
            db.user_change_password("x", "y"),
            precondition,
            "user name not found",
        ),
        (
            db.user_grant_role("x", "role"),
            precondition,
            "user name not found",
        ),
        (
            db.user_grant_role("cn", "x"),
            precondition,
            "role name not found",
        ),
        (
            db.user_revoke_role("cn", "role"),
            precondition,
            "role is not granted to the user",
        ),
        (db.role_add(""), invalid, "role name is empty"),
        (
            db.role_add("role"),
            precondition,
            "role name already exists",
        ),
        (db.role_delete("x"), precondition, "role name not found"),
        (
            db.role_grant_permission("x", permission("b", "a")),
            invalid,
            "invalid auth management",
        ),
        (
            db.role_grant_permission("role", permission("", "")),
            invalid,
            "invalid auth management",
        ),
        (
            db.role_grant_permission("x", permission("a", "")),
            precondition,
            "role name not found",
        ),
        (
            db.role_revoke_permission("role", "a"),
            precondition,
            "permission is not granted to the role",
        ),
    ] {
        assert_eq!(refused(result), (code, Some(text)));
    }
    let long = "x".repeat(401);
    for result in [
        db.user_add(UserAdd::new("long", "x".repeat(73))),
        db.user_add(UserAdd::new(long.clone(), "x")),
        db.role_add(&long),
        db.user_change_password("cn", Password::Hash("x".into())),
    ] {
        assert_eq!(refused(result), (invalid, None));
    }
    assert_eq!(auth_revision(&db), before);
}

#[test]
fn permission_with_the_same_range_is_replaced() {
    let db = store();
    db.role_add("role").unwrap();
    let grant = |kind, range| db.role_grant_permission("role", Permission::new(kind, range));
    grant(PermissionType::ReadWrite, KeyRange::prefix("b")).unwrap();
    grant(PermissionType::Write, KeyRange::key("a")).unwrap();
    grant(PermissionType::Read, KeyRange::prefix("b")).unwrap();
    assert_eq!(
        db.role_get("role").unwrap(),
        [
            Permission::new(PermissionType::Write, KeyRange::key("a")),
            Permission::new(PermissionType::Read, KeyRange::prefix("b")),
        ]
    );
    db.role_add("root").unwrap();
    let all = KeyRange {
        key: Vec::new(),
        range_end: vec![0],
    };
    assert_eq!(
        db.role_get("root").unwrap(),
        [Permission::new(PermissionType::ReadWrite, all)]
    );
    assert_eq!(db.role_list().unwrap(), ["role", "root"]);
}

#[test]
fn users_and_roles_survive_closing_and_a_dump() {
    let dir = std::env::temp_dir().join(format!("libkv-auth-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let db = Db::open(&dir, Options::new()).unwrap();
    db.user_add(UserAdd::new("root", "secret")).unwrap();
    db.user_grant_role("root", "root").unwrap();
    db.role_add("role").unwrap();
    db.auth_enable().unwrap();
    db.put(Put::new("k", "v")).unwrap();
    drop(db);
    let db = Db::open(&dir, Options::new()).unwrap();
    let stamp = AuthStamp {
        enabled: true,
        revision: 4,
    };
    assert_eq!(db.engine().auth_stamp().unwrap(), stamp);
    let other = store();
    let engine = db.engine();
    engine
        .dump(&mut |part: HistoryPart| other.engine().load(part))
        .unwrap();
    assert_eq!(
        other.engine().auth_data().unwrap(),
        engine.auth_data().unwrap()
    );
    assert_eq!(other.engine().auth_stamp().unwrap(), stamp);
    assert!(other.check().unwrap().problems.is_empty());
    assert!(db.check().unwrap().problems.is_empty());
    drop(db);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn write_is_refused_after_a_change_of_rights() {
    let db = store();
    db.user_add(UserAdd::new("root", "")).unwrap();
    db.user_grant_role("root", "root").unwrap();
    let write = |stamp| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let completion = Box::new(move |response: libkv::Result<_>| {
            sender.send(response.map(drop)).expect("it is received");
        });
        db.engine()
            .submit_if(stamp, Put::new("k", "v").into(), completion);
        receiver
            .recv_timeout(std::time::Duration::from_secs(60))
            .expect("a result")
    };
    let off = db.engine().auth_stamp().unwrap();
    db.role_add("role").unwrap();
    write(off).expect("changes do not matter while authentication is off");
    db.auth_enable().unwrap();
    assert_eq!(write(off).unwrap_err().code(), Code::FailedPrecondition);
    let on = db.engine().auth_stamp().unwrap();
    write(on).unwrap();
    db.role_delete("role").unwrap();
    let refused = write(on).unwrap_err();
    assert_eq!(refused.etcd_text(), Some("revision of auth store is old"));
    assert_eq!(db.get("k").unwrap().unwrap().version, 2);
}
