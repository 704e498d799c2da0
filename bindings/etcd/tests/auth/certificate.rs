//! Users by the common names of their certificates: `etcd37.md` A30.

use std::fs;
use std::path::Path;

use libkv::{Code, Db, KeyRange, Options, Permission, PermissionType, Put, UserAdd};
use libkv_etcd::Serve;
use libkv_test_support::certificates::Certificates;

use crate::wire::serve;

/// A server with TLS, with authentication on, and a user with the name of the client's certificate
/// that may read the key `a`.
fn served(files: &Certificates, client_cert_auth: bool) -> (Db, libkv_etcd::Server) {
    let how = Serve::new("https://127.0.0.1:0")
        .cert_file(&files.server)
        .key_file(&files.server_key)
        .trusted_ca_file(&files.ca)
        .client_cert_auth(client_cert_auth)
        .bcrypt_cost(4);
    let (db, server) = serve(Options::new(), how);
    db.user_add(UserAdd::new("root", "root")).expect("a user");
    db.user_grant_role("root", "root").expect("granted");
    db.role_add("reader").expect("a role");
    let read = Permission::new(PermissionType::Read, KeyRange::key("a"));
    db.role_grant_permission("reader", read).expect("granted");
    db.user_add(UserAdd::without_password("client"))
        .expect("a user");
    db.user_grant_role("client", "reader").expect("granted");
    db.auth_enable().expect("enabled");
    (db, server)
}

#[test]
fn certificate_names_the_user_of_a_call_without_a_token() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("certificate-names-{}", std::process::id()));
    let files = Certificates::new(&dir);
    let options = || {
        Options::new()
            .tls_ca(&files.ca)
            .tls_cert(&files.client)
            .tls_key(&files.client_key)
    };
    let code = |result: libkv::Result<_>| result.map(drop).map_err(|error| error.code());
    let (db, server) = served(&files, true);
    let client = libkv_etcd::open(server.address(), options()).expect("opened");
    assert_eq!(code(client.get("a").map(drop)), Ok(()));
    assert_eq!(code(client.get("b").map(drop)), Err(Code::PermissionDenied));
    let put = client.put(Put::new("a", "1")).map(drop);
    assert_eq!(code(put), Err(Code::PermissionDenied));
    // a token is stronger
    let root = options().user("root").password("root");
    let root = libkv_etcd::open(server.address(), root).expect("opened");
    root.put(Put::new("a", "1")).expect("root may write");
    db.user_delete("client").expect("deleted");
    assert_eq!(code(client.get("a").map(drop)), Err(Code::PermissionDenied));
    // an authority alone demands a certificate, and does not make its name a user
    let (_db, server) = served(&files, false);
    let client = libkv_etcd::open(server.address(), options()).expect("opened");
    assert_eq!(code(client.get("a").map(drop)), Err(Code::Unauthenticated));
    fs::remove_dir_all(&dir).expect("removed");
}
