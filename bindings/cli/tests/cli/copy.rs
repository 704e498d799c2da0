//! Copy: the state of one revision is written into a store or a server that may have data.

use libkv::{Db, KeyRange, LeaseGrant, Options, Put, Range, Txn};
use serde_json::json;

use crate::support::{Place, Serving};

/// What a test copies from and to: stores, or servers of stores.
const DIRECTIONS: [(bool, bool); 3] = [(false, false), (false, true), (true, false)];

/// The address of a store, or of a server of it.
fn end(place: &Place, store: &str, served: bool) -> (Option<Serving>, String) {
    match served {
        true => {
            let serving = Serving::start(place, &place.path(store), &[]);
            let address = serving.address.clone();
            (Some(serving), address)
        }
        false => (None, store.into()),
    }
}

fn open(place: &Place, store: &str) -> Db {
    Db::open(place.path(store), Options::new()).expect("a store")
}

/// Keys, values and versions.
fn pairs(db: &Db) -> Vec<(String, String, i64)> {
    let all = db
        .range(Range::new(KeyRange::all()))
        .expect("it can be read");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    all.kvs
        .iter()
        .map(|kv| (text(&kv.key), text(&kv.value), kv.version))
        .collect()
}

#[test]
fn copy_writes_what_the_target_does_not_have() {
    for (from, to) in DIRECTIONS {
        let place = Place::new();
        let (source, target) = (open(&place, "source"), open(&place, "target"));
        let many = (0..300).map(|n| Put::new(format!("key{n:03}"), format!("value{n}")));
        source.txn(Txn::new().and_then_all(many)).expect("room");
        let lease = source.lease_grant(LeaseGrant::new(600)).expect("a lease");
        source
            .put(Put::new("leased", "x").lease(lease.id))
            .expect("put");
        for (key, value) in [("key000", "value0"), ("key001", "other"), ("own", "1")] {
            target.put(Put::new(key, value)).expect("put");
        }
        let (_serving, source_name) = end(&place, "source", from);
        let (_served, target_name) = end(&place, "target", to);
        let copy = format!("copy {source_name} {target_name} --json");
        let revision = source.status().expect("status").revision;
        assert_eq!(
            place.kv(&copy).json(),
            [
                json!({"revision": revision, "written": 299, "overwritten": 1, "same": 1,
                "without_lease": 1})
            ],
            "{from} {to}"
        );
        let mut expected = pairs(&source);
        expected[1].2 = 2;
        expected.push(("own".into(), "1".into(), 1));
        assert_eq!(pairs(&target), expected, "{from} {to}");
        let leases = target.lease_list().expect("leases");
        assert!(leases.is_empty(), "keys are copied without leases");
        // a second copy writes nothing
        let before = target.status().expect("status").revision;
        assert_eq!(
            place.kv(copy.trim_end_matches(" --json")).ok(),
            format!("revision {revision}: 0 pairs written, 301 unchanged, 1 without their lease\n")
        );
        assert_eq!(target.status().expect("status").revision, before);
    }
}

#[test]
fn copy_replaces_the_prefix() {
    let place = Place::new();
    for line in ["put a/1 x", "put a/2 y", "put b/1 z"] {
        place.kv(line).ok();
    }
    let keys = |store: &str| place.kv(&format!("-s {store} range --keys-only")).ok();
    place.kv("copy store same --prefix a/").ok();
    assert_eq!(keys("same"), "a/1\na/2\n");
    place
        .kv("copy store other --prefix a/ --dest-prefix c/d/")
        .ok();
    assert_eq!(keys("other"), "c/d/1\nc/d/2\n");
    place
        .kv("copy store none --prefix a/ --no-dest-prefix")
        .ok();
    assert_eq!(keys("none"), "1\n2\n");
    place.kv("copy store all --dest-prefix x/").ok();
    assert_eq!(keys("all"), "x/a/1\nx/a/2\nx/b/1\n");
    place
        .kv("copy store store --prefix b/ --dest-prefix c/")
        .ok();
    assert_eq!(keys("store"), "a/1\na/2\nb/1\nc/1\n");
    let ran = place.kv("copy store bad --prefix a/1 --no-dest-prefix");
    assert!(ran.refused(2).contains("a/1 would be empty"), "{ran:?}");
}

#[test]
fn copy_refuses_wrong_options() {
    let place = Place::new();
    place.kv("put a 1").ok();
    for (line, message) in [
        (
            "copy store b --dest-prefix x --no-dest-prefix",
            "--no-dest-prefix",
        ),
        ("-s store copy store b", "without --store"),
        ("copy store b --dest-user x:y", "are for a cluster"),
        ("copy store b --user x:y", "--user is for clusters"),
        ("copy store", "TARGET"),
    ] {
        let ran = place.kv(line);
        assert!(ran.refused(2).contains(message), "{line}: {ran:?}");
    }
    place.kv("copy missing b").refused(4);
    assert!(!place.path("b").exists());
}

/// A cursor describes the data of the store that has it.
#[test]
fn copy_omits_the_cursors_of_mirrors() {
    let place = Place::new();
    place.kv("put a 1").ok();
    place
        .args(["put", "--escaped", r"\x00kv/mirror/", "x"])
        .ok();
    let printed = place.kv("copy store other").ok();
    assert_eq!(printed, "revision 3: 1 pair written\n");
    assert_eq!(place.kv("-s other range --keys-only").ok(), "a\n");
}
