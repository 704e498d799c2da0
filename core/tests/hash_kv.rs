//! The hash of the history: the values that real etcd 3.5 and 3.7 have for the same writes.

use libkv::*;

/// Revisions 2 to 10: puts, a deletion, a txn with two puts, a deletion of a range.
fn write(db: &Db) {
    for (key, value) in [("a", "0"), ("a", "1"), ("a", "2"), ("b", "x")] {
        db.put(Put::new(key, value)).expect("written");
    }
    db.delete(Delete::new("b")).expect("deleted");
    let txn = Txn::new()
        .and_then(Put::new("c", ""))
        .and_then(Put::new("d", ""));
    db.txn(txn).expect("written");
    db.put(Put::new("c", "2")).expect("written");
    db.delete(Delete::new(KeyRange::between("", "b")))
        .expect("deleted");
    assert_eq!(db.put(Put::new("e", "2")).expect("written").revision, 10);
}

fn store() -> Db {
    let db = Db::open(":memory:", Options::new()).expect("a store in memory");
    write(&db);
    db
}

#[track_caller]
fn assert_hashes(db: &Db, compacted: Revision, hashes: &[(Revision, u32)]) {
    for &(revision, hash) in hashes {
        let hashed = db.hash_kv(revision).expect("readable");
        assert_eq!(
            (hashed.hash, hashed.hash_revision, hashed.compact_revision),
            (hash, revision, compacted)
        );
        assert_eq!(hashed.revision, 10);
    }
}

#[test]
fn hash_kv_is_that_of_etcd() {
    let db = store();
    let all = [
        (1, 1_084_519_789),
        (2, 1_750_265_556),
        (6, 492_200_366),
        (7, 1_532_580_198),
        (9, 1_635_674_003),
        (10, 2_119_257_312),
    ];
    assert_hashes(&db, -1, &all);
    assert_eq!(
        db.hash_kv(0).expect("readable"),
        db.hash_kv(10).expect("readable")
    );
    let empty = Db::open(":memory:", Options::new()).expect("a store in memory");
    let hashed = empty.hash_kv(0).expect("readable");
    assert_eq!((hashed.hash, hashed.hash_revision), (1_084_519_789, 1));
}

#[test]
fn hash_kv_after_compactions_is_that_of_etcd() {
    let db = store();
    let six = [(7, 383_607_242), (9, 3_872_815_906), (10, 1_558_178_398)];
    let eight = [(9, 1_371_221_027), (10, 223_030_357)];
    for (compacted, hashes) in [(6, &six[..]), (8, &eight[..])] {
        // before and after the sweep
        for physical in [false, true] {
            if physical {
                let newer = Db::open(":memory:", Options::new()).expect("a store in memory");
                write(&newer);
                newer
                    .compact(Compact::new(compacted).physical(true))
                    .expect("compacted");
                assert_hashes(&newer, compacted, hashes);
            } else {
                db.compact(Compact::new(compacted)).expect("compacted");
                assert_hashes(&db, compacted, hashes);
            }
        }
    }
}

/// Where no key exists, etcd hashes every record that its last compaction kept.
#[test]
fn hash_kv_where_no_key_exists_has_what_the_compaction_kept() {
    let write = |db: &Db| {
        db.put(Put::new("a", "1")).expect("written");
        db.put(Put::new("a", "2")).expect("written");
        db.put(Put::new("b", "1")).expect("written");
        db.delete(Delete::new(KeyRange::all())).expect("deleted");
    };
    let hash = |db: &Db, revision| db.hash_kv(revision).expect("readable").hash;
    let swept = Db::open(":memory:", Options::new()).expect("a store in memory");
    write(&swept);
    swept
        .compact(Compact::new(4).physical(true))
        .expect("compacted");
    // revision 3 and 4, then the two deletions of 5
    let kept = [
        record(3, 0, false, &pair("a", 2, 3, 2, "2")),
        record(4, 0, false, &pair("b", 4, 4, 1, "1")),
        record(5, 0, true, &[&[0x0a, 1], &b"a"[..]].concat()),
        record(5, 1, true, &[&[0x0a, 1], &b"b"[..]].concat()),
    ];
    let hashed = kept.iter().fold(crc32c::crc32c(b"key"), |hash, record| {
        crc32c::crc32c_append(hash, record)
    });
    assert_eq!(hash(&swept, 5), hashed);
    let unswept = Db::open(":memory:", Options::new()).expect("a store in memory");
    write(&unswept);
    unswept.compact(Compact::new(4)).expect("compacted");
    assert_eq!(hash(&unswept, 5), hashed);
}

fn record(main: i64, sub: i64, is_tombstone: bool, value: &[u8]) -> Vec<u8> {
    let tail: &[u8] = if is_tombstone { b"t" } else { b"" };
    [
        &main.to_be_bytes()[..],
        b"_",
        &sub.to_be_bytes(),
        tail,
        value,
    ]
    .concat()
}

/// A pair as protobuf, with numbers below 128.
fn pair(key: &str, create: u8, modified: u8, version: u8, value: &str) -> Vec<u8> {
    let mut out = vec![0x0a, key.len() as u8];
    out.extend(key.bytes());
    out.extend([0x10, create, 0x18, modified, 0x20, version]);
    out.extend([0x2a, value.len() as u8]);
    out.extend(value.bytes());
    out
}

#[test]
fn hash_kv_covers_leases_and_large_numbers() {
    let db = Db::open(":memory:", Options::new()).expect("a store in memory");
    let lease = db
        .lease_grant(LeaseGrant::new(1_000).id(-5))
        .expect("granted");
    let value = vec![b'x'; 3_000];
    db.put(Put::new("k", value.clone()).lease(lease.id))
        .expect("written");
    let mut kv = vec![0x0a, 1, b'k', 0x10, 2, 0x18, 2, 0x20, 1, 0x2a, 0xb8, 0x17];
    kv.extend(&value);
    kv.push(0x30);
    kv.extend([0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    let hash = crc32c::crc32c_append(crc32c::crc32c(b"key"), &record(2, 0, false, &kv));
    assert_eq!(db.hash_kv(0).expect("readable").hash, hash);
}

#[test]
fn hash_kv_refuses_revisions_that_cannot_be_read() {
    let db = store();
    db.compact(Compact::new(6)).expect("compacted");
    for (revision, code) in [
        (-1, Code::InvalidArgument),
        (5, Code::Compacted),
        (11, Code::FutureRevision),
    ] {
        assert_eq!(db.hash_kv(revision).expect_err("refused").code(), code);
    }
    assert_eq!(db.hash_kv(6).expect("readable").hash_revision, 6);
}

#[test]
fn store_is_a_cluster_of_one_member() {
    let db = store();
    let members = db.member_list().expect("listed");
    let [member] = &members[..] else {
        panic!("{members:?}");
    };
    let store_id = db.status().expect("read").store_id;
    assert_eq!(format!("{:016x}", member.id), store_id[16..]);
    assert_eq!(member.name, "");
    db.move_leader(member.id).expect("it is the leader");
    let refused = |response: Result<()>, code| {
        let error = response.expect_err("refused");
        assert_eq!(error.code(), code, "{error}");
        error.message().to_string()
    };
    let message = refused(db.move_leader(member.id + 1), Code::FailedPrecondition);
    assert_eq!(message, "bad leader transferee");
    for response in [
        db.member_add(["http://127.0.0.1:1"], true).map(drop),
        db.member_remove(member.id),
        db.member_update(member.id, ["http://127.0.0.1:1"]),
        db.member_promote(member.id),
    ] {
        let message = refused(response, Code::Unsupported);
        assert!(
            message.contains("kv snapshot save") && message.contains("etcdutl snapshot restore")
        );
    }
    db.close();
    refused(db.member_list().map(drop), Code::Closed);
    refused(db.hash_kv(0).map(drop), Code::Closed);
}
