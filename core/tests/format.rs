//! Stores of every released format version open: `core/tests/format/` keeps a small one of
//! each, with the responses that it must give. Stores of unknown versions are refused.

use std::fs;
use std::path::{Path, PathBuf};

use libkv::{Code, Db, Options, Put};
use libkv_conformance::driver::Rust;
use libkv_conformance::script;
use libkv_test_support::scratch;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format")
}

#[test]
fn format_of_every_released_version_opens() {
    let mut versions = 0;
    for version in fs::read_dir(kept())
        .expect("core/tests/format")
        .map(|entry| entry.expect("an entry").path())
    {
        let path = folder("old");
        fs::copy(version.join("data.mdb"), path.join("data.mdb")).expect("a copy");
        let mut store = Rust::open(&path, Options::new()).expect("an old store opens");
        let expected = fs::read_to_string(version.join("expected.case")).expect("expected.case");
        let mut step = None;
        for line in expected.lines() {
            if let Some(words) = line.strip_prefix("  ") {
                step = Some(script::parse(words).expect("a step"));
            } else if let Some(response) = line.strip_prefix("= ") {
                assert_eq!(
                    store.run(step.as_ref().expect("a step first")),
                    response,
                    "{}: {line}",
                    version.display()
                );
            }
        }
        assert_eq!(
            store.db().check().expect("check").problems,
            [],
            "{}",
            version.display()
        );
        let revision = store.db().status().expect("status").revision;
        assert_eq!(
            store
                .db()
                .put(Put::new("new", "1"))
                .expect("written")
                .revision,
            revision + 1
        );
        drop(store);
        fs::remove_dir_all(path).expect("removed");
        versions += 1;
    }
    assert!(versions >= 1, "core/tests/format has no store");
}

/// A new folder.
fn folder(name: &str) -> PathBuf {
    let path = scratch(name);
    fs::create_dir_all(&path).expect("a folder");
    path
}

/// A copy of the newest kept store with a number in `meta` overwritten: LMDB 0.9 has no checksums
/// over its pages, so the bytes after the name are the number.
fn altered(name: &str, value: &[u8]) -> PathBuf {
    let path = folder(name);
    let mut bytes = fs::read(kept().join("v1/data.mdb")).expect("the kept store");
    let mut changed = 0;
    for at in 0..bytes.len() - name.len() - value.len() {
        // `ro_compat` and `incompat` end like `compat`: the byte before must not be a letter
        let alone = at == 0 || !(bytes[at - 1].is_ascii_lowercase() || bytes[at - 1] == b'_');
        if alone && bytes[at..].starts_with(name.as_bytes()) {
            bytes[at + name.len()..][..value.len()].copy_from_slice(value);
            changed += 1;
        }
    }
    assert!(changed > 0, "{name} is not in the store");
    fs::write(path.join("data.mdb"), bytes).expect("written");
    path
}

fn refused(path: &Path, options: Options) -> String {
    let before = fs::read(path.join("data.mdb")).expect("the data file");
    let error = Db::open(path, options).expect_err("refused");
    assert_eq!(error.code(), Code::Incompatible, "{error}");
    assert!(
        error.message().contains("data.mdb"),
        "the message names the file: {error}"
    );
    assert_eq!(
        fs::read(path.join("data.mdb")).expect("the data file"),
        before,
        "the file is unchanged"
    );
    error.message().to_string()
}

#[test]
fn format_that_is_newer_is_incompatible() {
    let path = altered("format", &2u32.to_le_bytes());
    assert!(refused(&path, Options::new()).contains("format 2"));
    refused(&path, Options::new().read_only(true));
    fs::remove_dir_all(path).expect("removed");
}

#[test]
fn format_features_that_are_unknown() {
    let bit = (1u64 << 40).to_le_bytes();
    let path = altered("incompat", &bit);
    refused(&path, Options::new().read_only(true));
    fs::remove_dir_all(path).expect("removed");

    let path = altered("ro_compat", &bit);
    refused(&path, Options::new());
    let db = Db::open(&path, Options::new().read_only(true)).expect("reading is allowed");
    assert_eq!(
        db.get("gone").expect("get").expect("the key exists").value,
        "back"
    );
    assert_eq!(
        db.put(Put::new("a", "b"))
            .expect_err("writing is refused")
            .code(),
        Code::ReadOnly
    );
    drop(db);
    fs::remove_dir_all(path).expect("removed");

    let path = altered("compat", &bit);
    let db = Db::open(&path, Options::new()).expect("the unknown feature is ignored");
    db.put(Put::new("a", "b")).expect("writing is allowed");
    drop(db);
    fs::remove_dir_all(path).expect("removed");
}
