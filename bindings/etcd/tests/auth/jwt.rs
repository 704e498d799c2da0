//! Signed tokens: `etcd37.md` A25 to A28.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use libkv::{Code, Options, UserAdd};
use libkv_etcd::Serve;
use libkv_etcd::pb::etcdserverpb::*;
use serde_json::{Value, json};

use crate::calls::{Client, outcome};
use crate::wire::{runtime, serve};

const STALE: &str = "InvalidArgument: etcdserver: revision of auth store is old";
const BAD: &str = "Unauthenticated: etcdserver: invalid auth token";

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("jwt-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a folder");
        Folder(dir)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file");
        path.to_str().expect("text").into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// A token signed with HMAC.
fn sign(header: &Value, claims: &Value, secret: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let body = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).expect("any length");
    mac.update(body.as_bytes());
    format!(
        "{body}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

async fn range(client: &Client, token: impl Into<String>) -> String {
    let range = RangeRequest {
        key: "a".into(),
        ..Default::default()
    };
    let response = client
        .with(token.into())
        .call::<RangeResponse>("etcdserverpb.KV/Range", range)
        .await;
    outcome(&response)
}

#[test]
fn only_tokens_with_all_claims_and_this_signature_are_valid() {
    const SECRET: &[u8] = b"a secret of some length, as HMAC wants it";
    let folder = Folder::new("claims");
    let secret = folder.write("secret", SECRET);
    runtime().block_on(async {
        let how = Serve::new("127.0.0.1:0")
            .bcrypt_cost(4)
            .auth_token(format!("jwt,sign-method=HS256,priv-key={secret},ttl=1h"));
        let (db, server) = serve(Options::new(), how);
        let client = Client::new(server.address()).await;
        client.enable_auth().await;
        let revision = db.auth_status().expect("the status").auth_revision;
        let given = client.log_in("root", "root").await.expect("a token");
        assert_eq!(range(&client, given.clone()).await, "OK");
        assert_eq!(range(&client, format!("Bearer {given}")).await, "OK");
        let header = json!({"alg": "HS256", "typ": "JWT"});
        let claims = |change: Value| {
            let mut claims = json!({"username": "root", "revision": revision, "exp": now() + 60});
            let all = claims.as_object_mut().expect("an object");
            for (name, value) in change.as_object().expect("an object") {
                match value {
                    Value::Null => drop(all.remove(name)),
                    value => drop(all.insert(name.clone(), value.clone())),
                }
            }
            claims
        };
        for (change, expected) in [
            (json!({}), "OK"),
            (json!({"exp": null}), "OK"),
            (json!({"nbf": now() - 5}), "OK"),
            (json!({"exp": now() - 5}), BAD),
            (json!({"exp": "soon"}), BAD),
            (json!({"nbf": now() + 600}), BAD),
            (json!({"nbf": "soon"}), BAD),
            (json!({"username": null}), BAD),
            (json!({"username": 7}), BAD),
            (json!({"revision": null}), BAD),
            (json!({"revision": "1"}), BAD),
            (json!({"revision": -1}), BAD),
            (json!({"revision": revision - 1}), STALE),
            (json!({"revision": revision + 1}), STALE),
            (
                json!({"revision": 0}),
                "InvalidArgument: etcdserver: user name is empty",
            ),
            (
                json!({"username": "missing"}),
                "PermissionDenied: etcdserver: permission denied",
            ),
        ] {
            let token = sign(&header, &claims(change.clone()), SECRET);
            assert_eq!(range(&client, token).await, expected, "{change}");
        }
        let good = claims(json!({}));
        assert_eq!(
            range(&client, sign(&header, &good, b"another secret")).await,
            BAD
        );
        for algorithm in ["none", "HS512", "RS256"] {
            let other = json!({"alg": algorithm, "typ": "JWT"});
            assert_eq!(
                range(&client, sign(&other, &good, SECRET)).await,
                BAD,
                "{algorithm}"
            );
        }
        let unsigned = sign(&json!({"alg": "none"}), &good, SECRET);
        let unsigned = unsigned.rsplit_once('.').expect("three parts").0;
        assert_eq!(range(&client, format!("{unsigned}.")).await, BAD);
        assert_eq!(range(&client, ".".repeat(7_000)).await, BAD);
        // every change of users and roles makes it stale, also for calls of root
        db.user_add(UserAdd::new("alice", "x")).expect("a user");
        assert_eq!(range(&client, given.clone()).await, STALE);
        let grant = LeaseGrantRequest { ttl: 60, id: 0 };
        let stale = client
            .with(given)
            .call::<LeaseGrantResponse>("etcdserverpb.Lease/LeaseGrant", grant)
            .await;
        assert_eq!(outcome(&stale), STALE);
    });
}

#[test]
fn keys_of_each_method_sign_and_verify_after_a_restart() {
    let folder = Folder::new("keys");
    let path = |name: &str| folder.0.join(name).to_str().expect("text").to_string();
    let openssl = |words: &[&str]| {
        let done = Command::new("openssl").args(words).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !openssl(&["version"]) {
        return println!("not run: signed tokens with keys of openssl (there is no openssl)");
    }
    let key = |name: &str, words: &[&str]| {
        let (private, public) = (path(&format!("{name}.pem")), path(&format!("{name}.pub")));
        let made = [&["genpkey", "-out", &private][..], words].concat();
        assert!(openssl(&made), "{made:?}");
        assert!(openssl(&[
            "pkey", "-in", &private, "-pubout", "-out", &public
        ]));
        (private, public)
    };
    let rsa = key(
        "rsa",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    );
    let other = key(
        "other",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    );
    let p256 = key(
        "p256",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    );
    let p384 = key(
        "p384",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    );
    let ed = key("ed", &["-algorithm", "ed25519"]);
    let how = |method: &str, options: String| {
        Serve::new("127.0.0.1:0")
            .bcrypt_cost(4)
            .auth_token(format!("jwt,sign-method={method},{options}"))
    };
    runtime().block_on(async {
        for (method, (private, public)) in [
            ("RS256", &rsa),
            ("RS512", &rsa),
            ("PS256", &rsa),
            ("PS384", &rsa),
            ("ES256", &p256),
            ("ES384", &p384),
            ("EdDSA", &ed),
        ] {
            let both = how(method, format!("priv-key={private},pub-key={public}"));
            let (db, server) = serve(Options::new(), both);
            let client = Client::new(server.address()).await;
            client.enable_auth().await;
            let token = client.log_in("root", "root").await.expect("a token");
            assert_eq!(range(&client, token.clone()).await, "OK", "{method}");
            server.close();
            let verifies = how(method, format!("pub-key={public}"));
            let server = libkv_etcd::serve(&db, verifies).expect("it is served again");
            let client = Client::new(server.address()).await;
            assert_eq!(range(&client, token).await, "OK", "{method}");
            let refused = client.log_in("root", "root").await.expect_err("no key");
            assert_eq!(
                refused.message(),
                "auth: token signing attempted with verify-only key"
            );
        }
        // the public key is not a secret of HMAC
        let public = fs::read(&rsa.1).expect("a key");
        let (db, server) = serve(Options::new(), how("RS256", format!("pub-key={}", rsa.1)));
        let client = Client::new(server.address()).await;
        client.enable_auth().await;
        let revision = db.auth_status().expect("the status").auth_revision;
        let claims = json!({"username": "root", "revision": revision});
        let forged = sign(&json!({"alg": "HS256", "typ": "JWT"}), &claims, &public);
        assert_eq!(range(&client, forged).await, BAD);
    });
    for (method, options) in [
        ("RS256", format!("priv-key={},pub-key={}", rsa.0, other.1)),
        ("RS256", format!("priv-key={},pub-key={}", p256.0, p256.1)),
        (
            "RS256",
            "priv-key=missing.pem,pub-key=missing.pub".to_string(),
        ),
        ("RS256", format!("priv-key={}", rsa.0)),
    ] {
        let db = libkv::Db::open(":memory:", Options::new()).expect("a store");
        let refused = libkv_etcd::serve(&db, how(method, options.clone()));
        let error = refused.expect_err(&options);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
}
