//! TLS, users and passwords, against a real etcd.

use std::fs;
use std::path::{Path, PathBuf};

use libkv::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{etcd, is_well, scratch};
use libkv_test_support::deadline::{WAIT_LIMIT, deadline, until};
use libkv_test_support::etcd::Etcd;

/// A certificate authority. It writes what it signs to a folder.
struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let dir = scratch(name);
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        fs::write(
            dir.join("ca.pem"),
            params.self_signed(&key).expect("signed").pem(),
        )
        .expect("written");
        Authority {
            dir,
            issuer: Issuer::new(params, key),
        }
    }

    fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Signs a certificate for these names. Returns its file and the file of its key.
    fn sign(&self, file: &str, names: &[&str], expired: bool) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        if expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("signed");
        let (cert_file, key_file) = (
            self.dir.join(format!("{file}.pem")),
            self.dir.join(format!("{file}.key")),
        );
        fs::write(&cert_file, signed.pem()).expect("written");
        fs::write(&key_file, key.serialize_pem()).expect("written");
        (cert_file, key_file)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn with_tls(program: &Path, name: &str, (cert, key): &(PathBuf, PathBuf), more: &[&str]) -> Etcd {
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let flags: Vec<&str> = ["--cert-file", &cert, "--key-file", &key]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    Etcd::start_unready(program, name, 1, "https", &flags)
}

fn open_when_ready(address: &str, options: &Options) -> Db {
    let mut db = None;
    until("etcd responds over TLS", || {
        db = libkv_etcd::open(address, options.clone())
            .ok()
            .filter(|db| db.get("a").is_ok());
        db.is_some()
    });
    db.expect("opened above")
}

fn reason(address: &str, options: Options) -> String {
    let error = libkv_etcd::open(address, options)
        .map(drop)
        .expect_err("it is refused");
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(
        error.message().contains(address.trim_start_matches("etcd")),
        "{error}"
    );
    println!("{error}");
    error.message().to_string()
}

#[test]
fn tls_server_certificate_is_verified() {
    let _deadline = deadline();
    let Some(program) = etcd() else { return };
    let (authority, other) = (Authority::new("ca"), Authority::new("other-ca"));
    let good = authority.sign("good", &["localhost", "127.0.0.1"], false);
    let members = with_tls(&program, "tls", &good, &[]);
    let url = members.member_url(0);
    let trusting = Options::new().tls_ca(authority.ca());
    let db = open_when_ready(&url, &trusting);
    db.put(Put::new("a", "1")).expect("put");
    let watcher = db
        .watch(Watch::new("a").start_revision(1))
        .expect("a watcher");
    assert!(watcher.next(WAIT_LIMIT).expect("an event").is_some());
    // by host name, with the scheme etcd:// (the options decide on TLS), and with another name
    open_when_ready(&format!("https://localhost:{}", members.port(0)), &trusting);
    open_when_ready(&format!("etcd://127.0.0.1:{}", members.port(0)), &trusting);
    open_when_ready(&url, &trusting.clone().tls_server_name("localhost"));
    let wrong = reason(&url, trusting.clone().tls_server_name("elsewhere"));
    assert!(
        wrong.contains("its certificate is not for elsewhere, but for"),
        "{wrong}"
    );
    assert!(
        reason(&url, Options::new().tls_ca(other.ca()))
            .contains("from an authority that is not trusted")
    );
    let plain = reason(
        &format!("http://127.0.0.1:{}", members.port(0)),
        Options::new(),
    );
    assert!(plain.contains("it may require TLS"), "{plain}");
    drop(members);

    let expired = authority.sign("expired", &["127.0.0.1"], true);
    let members = with_tls(&program, "tls-expired", &expired, &[]);
    until("the certificate is found to be expired", || {
        reason(&members.member_url(0), trusting.clone()).contains("its certificate has expired")
    });
    drop(members);

    let members = Etcd::start(&program, "plain");
    let address = format!("https://127.0.0.1:{}", members.port(0));
    let plain = reason(&address, trusting);
    assert!(plain.contains("it may not use TLS"), "{plain}");
}

#[test]
fn tls_client_certificate_is_sent() {
    let _deadline = deadline();
    let Some(program) = etcd() else { return };
    let (authority, other) = (
        Authority::new("client-ca"),
        Authority::new("client-other-ca"),
    );
    let good = authority.sign("good", &["127.0.0.1"], false);
    let ca = authority.ca().display().to_string();
    let members = with_tls(
        &program,
        "tls-client",
        &good,
        &["--client-cert-auth", "--trusted-ca-file", &ca],
    );
    let url = members.member_url(0);
    let trusting = Options::new().tls_ca(authority.ca());
    let with = |(cert, key): (PathBuf, PathBuf)| trusting.clone().tls_cert(cert).tls_key(key);
    open_when_ready(&url, &with(authority.sign("client", &["client"], false)));
    assert!(reason(&url, trusting.clone()).contains("options tls_cert and tls_key"));
    assert!(
        reason(&url, with(other.sign("client", &["client"], false)))
            .contains("refuses this client's certificate")
    );
    // wrong files
    let refused = |options: Options| {
        let error = libkv_etcd::open(&url, options)
            .map(drop)
            .expect_err("it is refused");
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        error.message().to_string()
    };
    assert!(refused(trusting.clone().tls_cert("/c")).contains("tls_cert needs tls_key"));
    assert!(refused(trusting.clone().tls_key("/k")).contains("tls_key needs tls_cert"));
    let (cert, key) = authority.sign("again", &["client"], false);
    assert!(refused(with((cert.clone(), cert.clone()))).contains("it contains no such item"));
    assert!(refused(with((key.clone(), key.clone()))).contains("tls_cert"));
    let (_, another) = authority.sign("another", &["client"], false);
    assert!(refused(with((cert, another))).contains("with tls_cert"));
}

/// Runs etcd's own shell client.
fn etcdctl(members: &Etcd, words: &[&str]) {
    let program = etcd().expect("the program etcd").with_file_name("etcdctl");
    let done = std::process::Command::new(program)
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &members.member_url(0)])
        .args(words)
        .output()
        .expect("etcdctl runs");
    assert!(
        done.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn users_and_passwords() {
    let _deadline = deadline();
    let Some(program) = etcd() else { return };
    let mut members = Etcd::start(&program, "auth");
    let options = Options::new().user("root").password("secret");
    // while authentication is off, a user and a password have no effect
    libkv_etcd::open(members.member_url(0), options.clone())
        .expect("a cluster")
        .put(Put::new("a", "0"))
        .expect("put");
    for words in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "reader:secret"],
        &["role", "add", "reading"],
        &[
            "role",
            "grant-permission",
            "reading",
            "readwrite",
            "r/",
            "r0",
        ],
        &["user", "grant-role", "reader", "reading"],
        &["auth", "enable"],
    ] {
        etcdctl(&members, words);
    }
    let url = members.member_url(0);
    let error = |options: Options| {
        libkv_etcd::open(&url, options)
            .map(drop)
            .expect_err("it is refused")
    };
    for options in [
        Options::new().user("root").password("wrong"),
        Options::new().user("unknown").password("secret"),
    ] {
        let error = error(options);
        assert_eq!(error.code(), Code::Unauthenticated, "{error}");
        assert!(
            error.message().contains(&url) && !error.message().contains("wrong"),
            "{error}"
        );
    }
    let anonymous = libkv_etcd::open(&url, Options::new()).expect("connecting needs no user");
    assert_eq!(
        anonymous.get("a").expect_err("without a user").code(),
        Code::Unauthenticated
    );
    let root = libkv_etcd::open(&url, options).expect("a cluster");
    root.put(Put::new("a", "1")).expect("put");
    let reader = libkv_etcd::open(&url, Options::new().user("reader").password("secret"))
        .expect("a cluster");
    reader.put(Put::new("r/1", "1")).expect("put");
    assert_eq!(
        reader
            .put(Put::new("a", "2"))
            .expect_err("not permitted")
            .code(),
        Code::PermissionDenied
    );
    assert_eq!(
        reader
            .watch(Watch::new("a"))
            .expect_err("not permitted")
            .code(),
        Code::PermissionDenied
    );
    assert!(
        reader
            .snapshot()
            .expect("a revision")
            .get("r/1")
            .expect("get")
            .is_some()
    );
    // the history of a key needs a watch of all keys
    reader.put(Put::new("r/2", "1")).expect("put");
    let refused = reader
        .history("r/1", 0)
        .expect_err("not all keys are permitted");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().contains("a watch of all keys"),
        "{refused}"
    );
    let watcher = reader
        .watch(Watch::new(KeyRange::prefix("r/")))
        .expect("a watcher");
    let lease = reader.lease(5).expect("a lease");
    // setting a password, even the same one, invalidates the tokens
    change_password(&members);
    reader.put(Put::new("r/1", "2")).expect("with a new token");
    assert!(reader.watch(Watch::new("r/2")).is_ok());
    // a restart invalidates the tokens: etcd keeps them only in memory
    members.kill(0);
    members.restart(0);
    until("etcd responds again", || is_well_with(&url));
    reader.put(Put::new("r/1", "3")).expect("with a new token");
    for value in ["2", "3"] {
        let batch = watcher
            .next(WAIT_LIMIT)
            .expect("an event")
            .expect("in time");
        assert_eq!(batch.events[0].kv.value, value);
    }
    assert!(!lease.lost());
}

fn is_well_with(url: &str) -> bool {
    let options = Options::new()
        .user("root")
        .password("secret")
        .connect_timeout_ms(1_000);
    libkv_etcd::open(url, options).is_ok_and(|db| db.get("a").is_ok()) || is_well(url)
}

/// Sets the password of the user `reader` to the same value.
fn change_password(members: &Etcd) {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let program = etcd().expect("the program etcd").with_file_name("etcdctl");
    let mut child = Command::new(program)
        .env("ETCDCTL_API", "3")
        .args([
            "--endpoints",
            &members.member_url(0),
            "--user",
            "root:secret",
            "user",
            "passwd",
            "reader",
            "--interactive=false",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("etcdctl runs");
    child
        .stdin
        .take()
        .expect("it is piped")
        .write_all(b"secret\n")
        .expect("written");
    assert!(child.wait().expect("it ends").success());
}
