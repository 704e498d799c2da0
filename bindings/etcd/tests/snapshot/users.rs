//! Users and roles: the same ones are set in every store, and the same logins are tried on each.

use libkv::*;

/// The password of `root`.
pub const ROOT: (&str, &str) = ("root", "the root's");

/// Name, password and roles of each user. One accepts no password.
const USERS: [(&str, Option<&str>, &[&str]); 4] = [
    ("alice", Some("a/lice:s"), &["reader", "writer"]),
    ("cn", None, &["reader"]),
    ("nothing", Some(""), &[]),
    (ROOT.0, Some(ROOT.1), &["root"]),
];

/// A type, a key and a range end.
type Given = (PermissionType, &'static str, &'static str);

/// Name and permissions of each role, both sorted.
const ROLES: [(&str, &[Given]); 3] = [
    ("empty", &[]),
    (
        "reader",
        &[
            (PermissionType::Read, "k1", "k2"),
            (PermissionType::Read, "k5", ""),
        ],
    ),
    (
        "writer",
        &[
            (PermissionType::Write, "new", ""),
            (PermissionType::ReadWrite, "w", "\0"),
        ],
    ),
];

/// What a store returns about its users: the state, the users with their roles, the roles with
/// their permissions.
#[derive(Debug, PartialEq)]
pub struct Users {
    enabled: bool,
    auth_revision: u64,
    users: Vec<(String, Vec<String>)>,
    roles: Vec<(String, Vec<Permission>)>,
}

fn permission(&(kind, key, range_end): &Given) -> Permission {
    let range = KeyRange {
        key: key.into(),
        range_end: range_end.into(),
    };
    Permission::new(kind, range)
}

/// Creates the users and roles and turns authentication on. Returns what each store must return
/// from now on.
pub fn add_users(db: &Db) -> Users {
    // each change of users, roles and permissions raises the revision by 1; turning it on does not
    let mut changes = 0;
    let mut done = |result: Result<Revision>| {
        result.expect("changed");
        changes += 1;
    };
    for (role, permissions) in ROLES {
        done(db.role_add(role));
        for each in permissions {
            done(db.role_grant_permission(role, permission(each)));
        }
    }
    for (name, password, roles) in USERS {
        done(db.user_add(match password {
            Some(password) => UserAdd::new(name, password),
            None => UserAdd::without_password(name),
        }));
        for role in roles {
            done(db.user_grant_role(name, role));
        }
    }
    db.auth_enable().expect("turned on");
    let text = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Users {
        enabled: true,
        auth_revision: 1 + changes,
        users: USERS
            .map(|(name, _, roles)| (name.into(), text(roles)))
            .into(),
        roles: ROLES
            .map(|(name, permissions)| {
                let permissions = permissions.iter().map(permission).collect();
                (name.to_string(), permissions)
            })
            .into(),
    }
}

/// What a store or a cluster returns about its users.
pub fn users(db: &Db) -> Users {
    let status = db.auth_status().expect("read");
    let names = db.user_list().expect("listed").into_iter();
    let roles = db.role_list().expect("listed").into_iter();
    Users {
        enabled: status.enabled,
        auth_revision: status.auth_revision,
        users: names
            .map(|name| {
                let roles = db.user_get(&name).expect("read");
                (name, roles)
            })
            .collect(),
        roles: roles
            .map(|name| {
                let permissions = db.role_get(&name).expect("read");
                (name, permissions)
            })
            .collect(),
    }
}

fn log_in(url: &str, name: &str, password: &str) -> Result<Db> {
    libkv_etcd::open(url, Options::new().user(name).password(password))
}

/// A handle with all rights.
pub fn as_root(url: &str) -> Db {
    log_in(url, ROOT.0, ROOT.1).expect("the password of root")
}

/// The passwords of all users are accepted, others are not, and the rights are those of the roles.
/// It writes nothing, so the history stays as it is.
pub fn assert_logins(url: &str) {
    for (name, password, _) in USERS {
        let right = password.unwrap_or_default();
        let accepted = log_in(url, name, right).map(drop);
        assert_eq!(accepted.is_ok(), password.is_some(), "{name}: {accepted:?}");
        let refused = log_in(url, name, "another").map(drop);
        assert!(refused.is_err(), "{name} with another password");
    }
    let is_permitted = |result: Result<()>, what: &str| match result {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.code(), Code::PermissionDenied, "{what}: {error}");
            false
        }
    };
    let alice = log_in(url, "alice", "a/lice:s").expect("the password of alice");
    let nothing = log_in(url, "nothing", "").expect("the password of the user without roles");
    // a deletion of keys that do not exist has no revision
    for (key, end, reads, writes) in [
        ("k1", "k2", true, false),
        ("k11", "", true, false),
        ("k1", "k3", false, false),
        ("k5", "", true, false),
        ("k5", "k51", false, false),
        ("new", "", false, true),
        ("w", "", true, true),
        ("w", "\0", true, true),
        ("x", "y", true, true),
        ("v", "\0", false, false),
        ("\0", "\0", false, false),
    ] {
        let range = KeyRange {
            key: key.into(),
            range_end: end.into(),
        };
        let read = |db: &Db| db.range(Range::new(range.clone())).map(drop);
        let delete = |db: &Db| db.delete(Delete::new(range.clone())).map(drop);
        let what = format!("{key:?} to {end:?}");
        assert_eq!(is_permitted(read(&alice), &what), reads, "{what}");
        assert_eq!(is_permitted(delete(&alice), &what), writes, "{what}");
        assert!(!is_permitted(read(&nothing), &what), "{what}");
    }
    assert!(!is_permitted(alice.user_list().map(drop), "the list"));
}
