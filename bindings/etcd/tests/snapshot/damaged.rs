//! Snapshots that are damaged.

use std::fs;

use libkv::*;
use libkv_etcd::{Restore, fuzz, save_snapshot};
use libkv_test_support::deadline::deadline;
use libkv_test_support::dice::Dice;
use libkv_test_support::{scratch, seed, setting};

use crate::users::add_users;
use crate::write_history;

const PAGE_BYTES: usize = 4096;

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

/// The snapshots that are damaged: of an empty store, of a few events, and of a history with all
/// that a snapshot can have, which has a tree of several levels.
fn snapshots(dice: &mut Dice) -> Vec<Vec<u8>> {
    let dir = scratch("snapshot-originals");
    fs::create_dir_all(&dir).expect("a directory");
    let mut number = 0;
    let mut saved = |db: &Db| {
        let file = dir.join(number.to_string());
        number += 1;
        save_snapshot(db, &file).expect("saved");
        fs::read(&file).expect("read")
    };
    let db = Db::open(":memory:", Options::new()).expect("a store");
    let mut files = vec![saved(&db)];
    let lease = db.lease_grant(1_000).expect("granted").id;
    for key in ["a", "b", "a"] {
        db.put(Put::new(key, "x").lease(lease)).expect("written");
    }
    db.delete(Delete::new("b")).expect("deleted");
    add_users(&db);
    files.push(saved(&db));
    db.compact(Compact::new(4)).expect("compacted");
    files.push(saved(&db));
    write_history(&db, dice);
    files.push(saved(&db));
    files
}

/// Damages a file at one place.
fn damage(file: &mut Vec<u8>, dice: &mut Dice) {
    let pages = file.len() / PAGE_BYTES;
    if pages == 0 {
        return;
    }
    let page = |dice: &mut Dice| dice.below(pages as u64) as usize * PAGE_BYTES;
    match dice.below(8) {
        0 => file.truncate(dice.below(file.len() as u64 + 1) as usize),
        1 => {
            // two pages change places, with their numbers or without
            let (one, other) = (page(dice), page(dice));
            let kept = dice.below(2) as usize * 8;
            for at in kept..PAGE_BYTES {
                file.swap(one + at, other + at);
            }
        }
        2 => {
            let (from, to) = (page(dice), page(dice));
            let kept = dice.below(2) as usize * 8;
            file.copy_within(from + kept..from + PAGE_BYTES, to + kept);
        }
        _ => {
            // most bytes are padding: take one that is used
            let used = |at: &usize| file[*at] != 0;
            let start = dice.below(file.len() as u64) as usize;
            let Some(at) = (start..file.len()).chain(0..start).find(used) else {
                return;
            };
            match dice.below(3) {
                0 => file[at] ^= 1 << dice.below(8),
                1 => file[at] = dice.below(4) as u8,
                _ => file[at] = dice.roll() as u8,
            }
        }
    }
}

#[test]
fn snapshot_with_random_damage_is_refused_or_sound() {
    let _deadline = deadline();
    let mut dice = Dice(seed());
    let files = snapshots(&mut dice);
    for file in &files {
        assert!(fuzz::snapshot(file), "a file without damage");
    }
    let rounds = setting("KV_FUZZ_ROUNDS").unwrap_or(2_000);
    let mut restored = 0;
    for _ in 0..rounds {
        let mut file = files[dice.below(files.len() as u64) as usize].clone();
        for _ in 0..=dice.below(2) {
            damage(&mut file, &mut dice);
        }
        restored += u64::from(fuzz::snapshot(&file));
    }
    println!("{restored} of {rounds} damaged files were restored");
    assert!(
        restored > rounds / 50 && restored < rounds * 9 / 10,
        "{restored}"
    );
}
