//! The quota and the alarms: which requests are refused and which always succeed.

use std::fs;
use std::path::{Path, PathBuf};

use libkv::engine::Completion;
use libkv::*;
use libkv_test_support::deadline::deadline;

/// A folder that is removed at the end of the test.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new(name: &str) -> TempFolder {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("quota-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        TempFolder(path)
    }

    fn open(&self, options: Options) -> Db {
        Db::open(&self.0, options).expect("opened")
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const QUOTA: u64 = 4 << 20;

fn key(number: u64) -> String {
    // not in order, so that pages are split as in real use
    format!("key-{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Puts until the quota refuses a put. Returns the number of puts.
fn fill(db: &Db, value: &[u8]) -> u64 {
    for number in 0.. {
        match db.put(Put::new(key(number), value)) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.code(), Code::Full, "{error}");
                assert!(
                    error
                        .message()
                        .starts_with("mvcc: database space exceeded ("),
                    "{error}"
                );
                return number;
            }
        }
    }
    unreachable!("the quota refuses a put")
}

fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path.join("data.mdb"))
        .expect("the data file")
        .len()
}

/// In each round: fill, delete everything, compact. The same number of puts must fit again, without
/// a larger file.
#[test]
fn quota_leaves_room_for_deletions() {
    let _deadline = deadline();
    let place = TempFolder::new("room");
    for value_bytes in [100, 3_000] {
        let _ = fs::remove_dir_all(&place.0);
        let db = place.open(Options::new().max_bytes(QUOTA).durability(Durability::None));
        let (mut first, mut size) = (0, 0);
        for round in 0..4 {
            let filled = fill(&db, &vec![b'v'; value_bytes]);
            let status = db.status().expect("status");
            assert!(
                status.bytes_in_use < QUOTA + 4_096 && status.bytes_in_use > QUOTA - 16_384,
                "{status:?}"
            );
            assert_eq!((status.max_bytes, status.alarms.len()), (Some(QUOTA), 0));
            // one at a time, because each deletion needs new pages
            for number in 0..filled {
                assert_eq!(
                    db.delete(Delete::new(key(number)))
                        .expect("deletions have room")
                        .deleted,
                    1
                );
            }
            let now = db.status().expect("status").revision;
            db.compact(Compact::new(now).physical(true))
                .expect("a compaction has room");
            if round == 0 {
                (first, size) = (filled, file_bytes(&place.0));
            }
            assert!(
                filled * 100 >= first * 95,
                "round {round}: {filled} fit, {first} in the first round"
            );
        }
        assert!(size <= 2 * QUOTA, "{size} bytes");
        let after = file_bytes(&place.0);
        assert!(
            after <= size + size / 10,
            "{size} bytes after the first round, {after} at the end"
        );
        assert_eq!(db.check().expect("checked").problems, []);
    }
}

/// The file stays below twice the quota even if everything is deleted in one txn.
#[test]
fn quota_leaves_room_for_one_large_deletion() {
    let _deadline = deadline();
    let place = TempFolder::new("large");
    let db = place.open(Options::new().max_bytes(QUOTA).durability(Durability::None));
    let filled = fill(&db, &[b'v'; 100]);
    let deleted = db
        .delete(Delete::new(KeyRange::all()))
        .expect("within the quota")
        .deleted;
    assert_eq!(deleted as u64, filled);
    db.compact(Compact::new(db.status().expect("status").revision).physical(true))
        .expect("within the quota");
    assert!(
        file_bytes(&place.0) <= 2 * QUOTA,
        "{}",
        file_bytes(&place.0)
    );
    db.put(Put::new("again", "v"))
        .expect("there is space again");
}

/// A revocation and an expiry are never refused, a grant is.
#[test]
fn quota_leaves_room_for_the_end_of_leases() {
    let _deadline = deadline();
    let clock = Clock::new(1_000_000_000_000);
    let db = Db::open(
        ":memory:",
        Options::new().max_bytes(QUOTA).clock(clock.clone()),
    )
    .expect("opened");
    for id in [7, 8] {
        db.lease_grant(LeaseGrant::new(10).id(id)).expect("granted");
        db.put(Put::new(format!("on-{id}"), "v").lease(id))
            .expect("put");
    }
    fill(&db, &[b'v'; 500]);
    let grants = (0..)
        .map(|_| db.lease_grant(10))
        .find_map(|granted| granted.err())
        .expect("grants are refused");
    assert_eq!(grants.code(), Code::Full);
    db.lease_keep_alive(7).expect("kept alive");
    db.lease_revoke(7).expect("revoked");
    assert_eq!(db.get("on-7").expect("read"), None);
    clock.advance(11_000);
    assert_eq!(
        (
            db.lease_list().expect("read"),
            db.get("on-8").expect("read")
        ),
        (vec![], None)
    );
}

/// The cost of each request, to the byte: refused if the free space equals the cost, accepted with
/// one byte more.
#[test]
fn quota_counts_a_request_as_etcd_does() {
    let _deadline = deadline();
    let put = |bytes| Op::from(Put::new("key", vec![b'v'; bytes]));
    let txn = |success: Vec<Op>, failure: Vec<Op>| {
        Request::from(Txn::new().and_then_all(success).or_else_all(failure))
    };
    let costs = [
        (Put::new("key", "value").into(), 256 + 3 + 5),
        (LeaseGrant::new(10).into(), 64),
        (
            txn(vec![put(10)], vec![put(20), Put::new("other", "").into()]),
            256 + 23 + 256 + 5,
        ),
        (
            txn(vec![Txn::new().and_then(put(1)).into()], vec![]),
            256 + 4,
        ),
    ];
    for (request, cost) in costs {
        let place = TempFolder::new("cost");
        let used = {
            let db = place.open(Options::new());
            db.put(Put::new("k", "v")).expect("put");
            db.status().expect("status").bytes_in_use
        };
        let response_with_quota =
            |most: u64| response(&place.open(Options::new().max_bytes(most)), request.clone());
        assert_eq!(
            response_with_quota(used + cost),
            Err(Code::Full),
            "{request:?}"
        );
        assert_eq!(response_with_quota(used + cost + 1), Ok(()), "{request:?}");
    }
}

fn response(db: &Db, request: Request) -> std::result::Result<(), Code> {
    let response = db.call_unless(request, &|| false);
    response.map(drop).map_err(|error| error.code())
}

/// Concurrent writes share a commit. The quota includes what the group has written so far.
#[test]
fn quota_is_not_exceeded_by_a_group() {
    let _deadline = deadline();
    let db = Db::open(":memory:", Options::new().max_bytes(QUOTA)).expect("opened");
    let (sender, responses) = std::sync::mpsc::channel();
    let requests = (0..20_000).map(|number| {
        let sender = sender.clone();
        let completion: Completion = Box::new(move |response| {
            let _ = sender.send(response.map(drop).map_err(|e| e.code()));
        });
        (
            Put::new(key(number), [b'v'; 500].as_slice()).into(),
            completion,
        )
    });
    db.submit_all(requests.collect());
    let (done, full): (Vec<_>, Vec<_>) = responses
        .iter()
        .take(20_000)
        .partition(|response| response.is_ok());
    assert!(full.iter().all(|response| *response == Err(Code::Full)));
    assert!(
        done.len() > 1_000 && full.len() > 1_000,
        "{} and {}",
        done.len(),
        full.len()
    );
    let used = db.status().expect("status").bytes_in_use;
    assert!(used <= QUOTA + 16_384, "{used} bytes in use");
}

/// The quota is stored. It stays if an open does not set it; an open with another value changes it
/// for all handles.
#[test]
fn quota_is_stored() {
    let _deadline = deadline();
    const CHILD: &str = "LIBKV_TEST_QUOTA";
    if let Ok(path) = std::env::var(CHILD) {
        return drop(Db::open(path, Options::new().max_bytes(1)).expect("opened"));
    }
    let place = TempFolder::new("kept");
    drop(place.open(Options::new().max_bytes(QUOTA)));
    let db = place.open(Options::new());
    assert_eq!(db.status().expect("status").max_bytes, Some(QUOTA));
    db.put(Put::new("k", "v")).expect("put");

    let child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "quota_is_stored"])
        .env(CHILD, &place.0)
        .status();
    assert!(child.expect("started").success());
    assert_eq!(db.status().expect("status").max_bytes, Some(1));
    let error = db
        .put(Put::new("k", "v"))
        .expect_err("another process has changed it");
    assert!(
        error
            .message()
            .contains("but max_bytes is 1: delete keys and compact, or raise max_bytes)"),
        "{error}"
    );

    let reader = place.open(Options::new().read_only(true).max_bytes(1));
    assert_eq!(reader.status().expect("status").max_bytes, Some(1));
    let error = Db::open(&place.0, Options::new().read_only(true).max_bytes(2))
        .expect_err("opened read-only");
    assert_eq!(error.code(), Code::ReadOnly, "{error}");
    assert!(
        error
            .message()
            .starts_with("option max_bytes is kept in the store: "),
        "{error}"
    );

    drop(place.open(Options::new().max_bytes(0)));
    db.put(Put::new("k", "v")).expect("the quota was removed");
}

/// With the limits of etcd the first refusal raises an alarm. The alarm stays active when there is
/// space again, and after a restart. It applies to every handle.
#[test]
fn alarm_stays_until_it_is_disarmed() {
    let _deadline = deadline();
    let place = TempFolder::new("alarm");
    let etcd = || Options::new().limits(LimitsPreset::Etcd);
    let member = {
        let db = place.open(etcd().max_bytes(QUOTA).durability(Durability::None));
        assert_eq!(db.alarm_list().expect("read"), []);
        fill(&db, &[b'v'; 1_000]);
        let id = db.status().expect("status").store_id;
        let member = u64::from_str_radix(&id[16..], 16).expect("hexadecimal");
        assert_eq!(
            db.alarm_list().expect("read"),
            [AlarmMember {
                member,
                kind: AlarmKind::NoSpace
            }]
        );
        assert_eq!(
            db.status().expect("status").alarms,
            [AlarmMember {
                member,
                kind: AlarmKind::NoSpace
            }]
        );
        db.delete(Delete::new(KeyRange::all())).expect("deleted");
        db.compact(Compact::new(db.status().expect("status").revision).physical(true))
            .expect("compacted");
        member
    };
    let db = place.open(Options::new());
    assert!(db.status().expect("status").bytes_in_use < QUOTA / 2);
    let error = db.put(Put::new("k", "v")).expect_err("the alarm is active");
    let text = format!(
        "mvcc: database space exceeded (alarm NOSPACE is active (of member {member}): free space, then disarm it)"
    );
    assert_eq!((error.code(), error.message()), (Code::Full, text.as_str()));
    assert_eq!(db.check().expect("checked").problems, []);
    let ended = db.alarm_disarm(0, None).expect("disarmed");
    assert_eq!(
        ended,
        [AlarmMember {
            member,
            kind: AlarmKind::NoSpace
        }]
    );
    db.put(Put::new("k", "v")).expect("put");
    assert_eq!(db.status().expect("status").alarms, []);

    // a handle without the preset does not raise an alarm
    fill(&db, &[b'v'; 1_000]);
    assert_eq!(db.alarm_list().expect("read"), []);
    // the alarm is committed although every request of the group was refused
    let other = place.open(etcd());
    assert_eq!(
        other
            .put(Put::new("k", vec![b'v'; 10_000]))
            .map_err(|e| e.code()),
        Err(Code::Full)
    );
    assert_eq!(db.alarm_list().expect("read").len(), 1);
}

/// The requests that CORRUPT refuses. Leases do not expire either, as in etcd.
#[test]
fn corrupt_store_refuses_writes() {
    let _deadline = deadline();
    let clock = Clock::new(1_000_000_000_000);
    let db = Db::open(":memory:", Options::new().clock(clock.clone())).expect("opened");
    db.lease_grant(LeaseGrant::new(10).id(7)).expect("granted");
    db.put(Put::new("k", "v").lease(7)).expect("put");
    db.alarm_activate(AlarmKind::Corrupt, 5).expect("raised");
    db.alarm_activate(AlarmKind::NoSpace, 6).expect("raised");
    for request in [
        Put::new("k", "v").into(),
        Delete::new("k").into(),
        Txn::new().and_then(Delete::new("k")).into(),
        Compact::new(2).into(),
        LeaseGrant::new(10).into(),
        LeaseRevoke::new(7).into(),
    ] {
        let name = format!("{request:?}");
        assert_eq!(response(&db, request), Err(Code::Corrupt), "{name}");
    }
    let error = db.put(Put::new("k", "v")).expect_err("refused");
    assert!(
        error
            .message()
            .starts_with("corrupt cluster (alarm CORRUPT is active (of member 5): "),
        "{error}"
    );
    clock.advance(11_000);
    assert_eq!(db.get("k").expect("read").map(|kv| kv.lease), Some(7));
    db.txn(Txn::new().and_then(Range::new("k")))
        .expect("a txn of reads");
    assert_eq!(db.alarm_disarm(5, None).expect("disarmed").len(), 1);
    assert_eq!(
        response(&db, Put::new("k", "v").into()),
        Err(Code::Full),
        "the other alarm is still active"
    );
    clock.advance(1_000);
    assert_eq!(
        db.get("k").expect("read"),
        None,
        "the lease expires after the alarm"
    );
}

/// Side records: a request writes all or none, without a revision and without an event.
#[test]
fn side_records_are_separate_from_keys() {
    let _deadline = deadline();
    let db = Db::open(":memory:", Options::new()).expect("opened");
    let put = |unchanged: &[(&str, Option<&str>)], records: &[(&str, Option<&str>)]| {
        let owned = |pairs: &[(&str, Option<&str>)]| {
            pairs
                .iter()
                .map(|(name, value)| {
                    (
                        name.as_bytes().to_vec(),
                        value.map(|v| v.as_bytes().to_vec()),
                    )
                })
                .collect()
        };
        db.side(Side::Put {
            unchanged: owned(unchanged),
            records: owned(records),
        })
    };
    let scan = |prefix: &str, after: &str, limit| {
        let request = Side::Scan {
            prefix: prefix.into(),
            after: after.into(),
            limit,
        };
        let records = db.side(request).expect("read").records;
        records
            .iter()
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect::<Vec<_>>()
    };
    assert!(
        put(
            &[("a/1", None)],
            &[("a/1", Some("x")), ("a/2", Some("")), ("b", Some("y"))]
        )
        .expect("put")
        .written
    );
    assert!(
        !put(&[("b", Some("y")), ("a/1", Some("other"))], &[("b", None)])
            .expect("put")
            .written
    );
    assert!(
        put(
            &[("b", Some("y")), ("a/1", Some("x"))],
            &[("b", None), ("a/3", Some("z"))]
        )
        .expect("put")
        .written
    );
    assert_eq!(scan("a/", "", 0), ["a/1", "a/2", "a/3"]);
    assert_eq!(scan("a/", "a/1", 1), ["a/2"]);
    assert_eq!(scan("", "a/3", 0), [""; 0]);
    let got = db.side(Side::Get { name: "a/3".into() }).expect("read");
    assert_eq!(
        (got.revision, got.records),
        (1, vec![(b"a/3".to_vec(), b"z".to_vec())])
    );
    for name in ["", "time/x", "alarm/x", &"n".repeat(481)] {
        assert_eq!(
            put(&[], &[(name, Some("v"))]).map_err(|e| e.code()),
            Err(Code::InvalidArgument),
            "{name}"
        );
    }
    assert_eq!(db.check().expect("checked").problems, []);
}
