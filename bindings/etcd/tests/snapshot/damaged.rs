//! Snapshots that are damaged.

use std::fs;

use libkv::*;
use libkv_etcd::{Restore, save_snapshot};
use libkv_test_support::scratch;

#[test]
fn snapshot_that_is_cut_or_altered_is_refused_and_leaves_nothing() {
    let dir = scratch("snapshot-damaged");
    fs::create_dir_all(&dir).expect("a directory");
    let db = Db::open(":memory:", Options::new()).expect("a store");
    for number in 0..2_000 {
        db.put(Put::new(format!("k{number:05}"), "a value"))
            .expect("written");
    }
    let file = dir.join("good.db");
    save_snapshot(&db, &file).expect("saved");
    let error = save_snapshot(&db, &file).expect_err("the file exists");
    assert_eq!(error.code(), Code::Exists);
    let good = fs::read(&file).expect("read");
    let store = dir.join("store");
    let refused = |bytes: &[u8], skip: bool, word: &str| {
        let bad = dir.join("bad.db");
        fs::write(&bad, bytes).expect("written");
        let restore = Restore::new(&bad).skip_hash_check(skip);
        let error = restore.run(&store).expect_err("damaged");
        assert_eq!(error.code(), Code::Corrupt, "{error}");
        assert!(error.message().contains(word), "{error}");
        let mut left: Vec<_> = fs::read_dir(&dir)
            .expect("read")
            .flatten()
            .map(|e| e.file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["bad.db", "good.db"]);
    };
    refused(b"", false, "missing hash");
    refused(&good[..good.len() - 32], false, "missing hash");
    refused(&good[512..], false, "expected sha256");
    let mut altered = good.clone();
    altered[20_000] ^= 1;
    refused(&altered, false, "expected sha256");
    refused(&good[..8_192], true, "bbolt file");
    refused(b"hello", true, "not a bbolt file");
    // without its hash the file is readable on request
    fs::write(dir.join("bad.db"), &good[..good.len() - 32]).expect("written");
    let restore = Restore::new(dir.join("bad.db")).skip_hash_check(true);
    assert_eq!(restore.run(&store).expect("restored").events, 2_000);
    let error = restore.run(&store).expect_err("the store exists");
    assert_eq!(error.code(), Code::Exists);
    let error = Restore::new(dir.join("none.db"))
        .run(dir.join("other"))
        .expect_err("no file");
    assert_eq!(error.code(), Code::NotFound);
}
