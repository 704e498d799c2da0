//! `kv auth`, `kv user`, `kv role`: on a store, and on a cluster as a user.

use std::process::Stdio;

use serde_json::json;

use crate::support::{Place, Ran, Serving};

/// Adds root and turns authentication on, without a user: the store is opened directly.
fn enable(place: &Place) {
    for line in [
        "user add root:secret",
        "user grant-role root root",
        "role add reader",
        "role grant-permission reader read config/ --prefix",
        "user add alice:password",
        "user grant-role alice reader",
        "auth enable",
    ] {
        place.kv(line).ok();
    }
}

/// The commands of one tour, on a store or on a cluster.
fn tour(kv: impl Fn(&str) -> Ran) {
    assert_eq!(
        kv("user add alice:secret").ok(),
        "User alice created\n",
        "the store is created, too"
    );
    assert_eq!(
        kv("auth status").ok(),
        "Authentication Status: false\nAuthRevision: 2\n"
    );
    assert_eq!(kv("user add cn --no-password").ok(), "User cn created\n");
    assert_eq!(
        kv("user add bob --new-user-password x").ok(),
        "User bob created\n"
    );
    assert_eq!(kv("role add reader").ok(), "Role reader created\n");
    assert_eq!(kv("role add writer").ok(), "Role writer created\n");
    for line in [
        "role grant-permission reader read config/ --prefix",
        "role grant-permission reader READ a",
        "role grant-permission writer write b d",
        "role grant-permission writer readwrite e --from-key",
    ] {
        let role = line.split(' ').nth(2).expect("a role");
        assert_eq!(kv(line).ok(), format!("Role {role} updated\n"));
    }
    assert_eq!(
        kv("role get reader").ok(),
        "Role reader\nKV Read:\n\ta\n\t[config/, config0) (prefix config/)\nKV Write:\n"
    );
    assert_eq!(
        kv("role get writer").ok(),
        "Role writer\nKV Read:\n\t[e, <open ended>)\nKV Write:\n\t[b, d)\n\t[e, <open ended>)\n"
    );
    assert_eq!(
        kv("user grant-role alice reader").ok(),
        "Role reader is granted to user alice\n"
    );
    kv("user grant-role alice writer").ok();
    assert_eq!(
        kv("user get alice").ok(),
        "User: alice\nRoles: reader writer\n"
    );
    let detail = kv("user get alice --detail").ok();
    assert!(
        detail.starts_with("User: alice\n\nRole reader\nKV Read:\n\ta\n")
            && detail.contains("\nRole writer\n"),
        "{detail}"
    );
    assert_eq!(
        kv("user revoke-role alice reader").ok(),
        "Role reader is revoked from user alice\n"
    );
    assert_eq!(kv("user list").ok(), "alice\nbob\ncn\n");
    assert_eq!(kv("role list").ok(), "reader\nwriter\n");
    assert_eq!(
        kv("role revoke-permission reader config/ --prefix").ok(),
        "Permission is revoked from role reader\n"
    );
    assert_eq!(kv("role delete reader").ok(), "Role reader deleted\n");
    assert_eq!(kv("user delete cn").ok(), "User cn deleted\n");
    refusals(&kv);
}

fn refusals(kv: impl Fn(&str) -> Ran) {
    for (line, status, text) in [
        ("user add alice:x", 3, "user name already exists"),
        ("user get missing", 3, "user name not found"),
        ("user delete missing", 3, "user name not found"),
        ("user grant-role alice none", 3, "role name not found"),
        (
            "user revoke-role alice none",
            3,
            "role is not granted to the user",
        ),
        ("role get none", 3, "role name not found"),
        ("role add writer", 3, "role name already exists"),
        (
            "role grant-permission none read a",
            3,
            "role name not found",
        ),
        (
            "role revoke-permission writer z",
            3,
            "permission is not granted to the role",
        ),
        (
            "role grant-permission writer read b a",
            2,
            "invalid auth management",
        ),
        (
            "role grant-permission writer all a",
            2,
            "invalid value 'all'",
        ),
        ("user add x", 2, "no password for x"),
        ("auth enable", 3, "root user does not exist"),
    ] {
        let ran = kv(line);
        assert!(ran.refused(status).contains(text), "{line}: {ran:?}");
    }
}

#[test]
fn auth_commands_on_a_store() {
    let place = Place::new();
    tour(|line| place.kv(line));
    assert!(
        place
            .kv("user add :x")
            .refused(2)
            .contains("user name is empty")
    );
    assert!(
        Place::new()
            .kv("auth enable")
            .refused(4)
            .contains("not_found")
    );
}

#[test]
fn auth_commands_on_a_cluster() {
    let place = Place::new();
    let serving = Serving::start(&place, &place.path("served"), &["--bcrypt-cost", "4"]);
    tour(|line| place.kv(&format!("{line} -s {}", serving.address)));
}

#[test]
fn auth_commands_in_json() {
    let place = Place::new();
    let revision = place.kv("put k v --json").json()[0]["revision"].clone();
    let json = |line: &str| place.kv(&format!("{line} --json")).json();
    assert_eq!(json("user add alice:x"), [json!({"revision": revision})]);
    json("role add role");
    json("role grant-permission role read a b");
    json(r"role grant-permission role write --escaped \xff");
    json("role grant-permission role readwrite --from-key c");
    json("user grant-role alice role");
    let permissions = json!([
        {"type": "read", "key": "a", "range_end": "b"},
        {"type": "readwrite", "key": "c", "range_end": "\0"},
        {"type": "write", "key_base64": "/w=="},
    ]);
    assert_eq!(
        json("role get role"),
        [json!({"name": "role", "permissions": permissions})]
    );
    assert_eq!(
        json("user get alice"),
        [json!({"name": "alice", "roles": [{"name": "role"}]})]
    );
    assert_eq!(
        json("user get alice --detail"),
        [json!({"name": "alice", "roles": [{"name": "role", "permissions": permissions}]})]
    );
    assert_eq!(json("user list"), [json!(["alice"])]);
    assert_eq!(json("role list"), [json!(["role"])]);
    assert_eq!(
        json("auth status"),
        [json!({"enabled": false, "auth_revision": 7, "revision": revision})]
    );
}

#[test]
fn passwords_come_from_standard_input() {
    let place = Place::new();
    place
        .fed("user add root --interactive=false", "secret\n")
        .ok();
    place.kv("user grant-role root root").ok();
    assert_eq!(
        place
            .fed("user passwd root --interactive=false", "new secret\r\n")
            .ok(),
        "Password updated\n"
    );
    assert!(
        place
            .fed("user passwd root --interactive=false", "")
            .refused(2)
            .contains("no line with the password")
    );
    assert!(
        place
            .kv("user passwd root")
            .refused(2)
            .contains("--interactive=false")
    );
    place.kv("auth enable").ok();
    let serving = Serving::start(&place, &place.path("store"), &[]);
    let log_in = |password: &str| {
        let mut command = place.command(["-s", &serving.address, "--user", "root", "user", "list"]);
        command.env("KV_PASSWORD", password).stdin(Stdio::null());
        command.output().expect("kv runs")
    };
    assert_eq!(log_in("new secret").stdout, b"root\n");
    assert_eq!(log_in("secret").status.code(), Some(5));
}

#[test]
fn users_of_a_server_have_their_rights() {
    let place = Place::new();
    enable(&place);
    let serving = Serving::start(&place, &place.path("store"), &[]);
    let address = &serving.address;
    let user = |user: &str, line: &str| place.kv(&format!("-s {address} --user {user} {line}"));
    user("root:secret", "put config/a 1").ok();
    assert_eq!(user("alice:password", "get config/a").ok(), "config/a\n1\n");
    for line in ["put config/a 2", "get other", "user list", "auth disable"] {
        let ran = user("alice:password", line);
        assert!(
            ran.refused(5).contains("permission denied"),
            "{line}: {ran:?}"
        );
    }
    assert_eq!(
        user("alice:password", "user get alice").ok(),
        "User: alice\nRoles: reader\n"
    );
    assert!(
        user("alice:wrong", "get config/a")
            .err
            .contains("invalid user ID or password")
    );
    let anonymous = place.kv(&format!("-s {address} get config/a"));
    assert!(
        anonymous.err.contains("user name is empty"),
        "{anonymous:?}"
    );
    // the owner of the store needs no user
    assert_eq!(place.kv("get config/a").ok(), "config/a\n1\n");
    assert_eq!(
        user("root:secret", "auth disable").ok(),
        "Authentication Disabled\n"
    );
    place.kv(&format!("-s {address} get config/a")).ok();
}

#[test]
fn names_cannot_control_a_terminal() {
    let place = Place::new();
    let options = libkv::Options::new();
    let db = libkv::Db::open(place.path("store"), options).expect("a store");
    db.role_add("\x1b[2J\nrole").expect("any name is allowed");
    assert_eq!(place.kv("role list").ok(), "\\x1b[2J\\nrole\n");
    assert!(
        place
            .args(["role", "get", "\x1b[2J\nrole"])
            .ok()
            .starts_with("Role \\x1b[2J\\nrole\n")
    );
    assert_eq!(
        place.kv("role list --json").json(),
        [json!(["\x1b[2J\nrole"])]
    );
}
