//! Members, and the hash of the history, on a store and on our own server.

use crate::support::{Place, Serving};

#[test]
fn hash_kv_is_that_of_etcd() {
    let place = Place::new();
    place.kv("put a 0").ok();
    assert_eq!(place.kv("hash-kv").ok(), "1750265556, 2\n");
    assert_eq!(place.kv("hashkv --rev 1").ok(), "1084519789, 1\n");
    let json = place.kv("hash-kv --json").json().remove(0);
    assert_eq!(
        json,
        serde_json::json!({
            "hash": 1_750_265_556, "hash_revision": 2, "compact_revision": -1, "revision": 2
        })
    );
    place.kv("put a 1").ok();
    place.kv("compact 3").ok();
    assert!(place.kv("hash-kv --rev 2").refused(3).contains("compacted"));
    assert!(place.kv("hash-kv --rev 9").refused(3).contains("future"));
    assert!(place.kv("hash-kv --rev=-1").refused(2).contains("revision"));
}

#[test]
fn store_is_one_member_that_cannot_be_changed() {
    let place = Place::new();
    place.kv("put a 0").ok();
    let json = place.kv("member list --json").json().remove(0);
    let id = json["id"].as_str().expect("an id").to_string();
    assert_eq!(
        place.kv("member list").ok(),
        format!("{id}, started, , , , false\n")
    );
    let status = place.kv("status --json").json().remove(0);
    let store_id = status["store_id"].as_str().expect("an id").to_string();
    assert!(store_id.ends_with(&id));
    assert_eq!(
        place.kv(&format!("move-leader {id}")).ok(),
        format!("Leadership transferred to {id}\n")
    );
    place.kv("move-leader 1").refused(3);
    for line in [
        "member add two --peer-urls http://127.0.0.1:1 --learner".to_string(),
        format!("member remove {id}"),
        format!("member update {id} --peer-urls http://127.0.0.1:1"),
        format!("member promote {id}"),
    ] {
        let ran = place.kv(&line);
        let refusal = ran.refused(10);
        assert!(refusal.contains("kv snapshot save"), "{line}: {refusal}");
    }
    for line in [
        "member add two",
        "member remove",
        "member remove x",
        "member",
    ] {
        place.kv(line).refused(2);
    }
}

#[test]
fn member_of_a_server_is_listed_and_updated() {
    let place = Place::new();
    let flags = ["--name", "alone"];
    let serving = Serving::start(&place, &place.path("store"), &flags);
    let kv = |line: &str| place.kv(&format!("{line} -s {}", serving.address));
    let json = kv("member list --json").json().remove(0);
    assert_eq!(json["name"], "alone");
    let id = json["id"].as_str().expect("an id").to_string();
    let updated = kv(&format!(
        "member update {id} --peer-urls http://127.0.0.1:2,http://127.0.0.1:1"
    ))
    .ok();
    assert!(
        updated.contains(&format!("{id} updated in cluster")),
        "{updated}"
    );
    let urls = &kv("member list --json").json()[0]["peer_urls"];
    assert_eq!(
        *urls,
        serde_json::json!(["http://127.0.0.1:1", "http://127.0.0.1:2"])
    );
    kv(&format!("member update {id} --peer-urls nowhere")).refused(2);
    kv("member promote 1").refused(4);
    kv(&format!("member promote {id}")).refused(3);
    kv(&format!("member remove {id}")).refused(3);
    kv("member add two --peer-urls http://127.0.0.1:3").refused(10);
    assert!(kv(&format!("move-leader {id}")).ok().contains(&id));
}
