//! The services Cluster and Maintenance beside real etcds: hashes of the same history, refusals, and
//! what etcdctl prints. Also the calls of the client about members.

use std::path::{Path, PathBuf};
use std::process::Command;

use libkv::*;
use libkv_etcd::Serve;
use libkv_etcd::pb::etcdserverpb as pb;
use libkv_etcd::pb::etcdserverpb::cluster_client::ClusterClient;
use libkv_etcd::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use libkv_test_support::deadline::{deadline, until};
use libkv_test_support::dice::Dice;
use libkv_test_support::etcd::Etcd;
use libkv_test_support::http::Http;
use libkv_test_support::served::Served;
use libkv_test_support::{fetch, seed};
use tonic::transport::Channel;

#[path = "support/mod.rs"]
mod support;
use support::{connect, run};

/// The writes between two compactions, and the compactions.
const STEPS: u64 = 60;
const ROUNDS: u64 = 5;
const KEYS: u64 = 12;

/// A version of etcd, and its program.
struct Release {
    version: &'static str,
    etcd: PathBuf,
}

impl Release {
    fn is_37(&self) -> bool {
        self.version == "3.7"
    }
}

/// The versions of etcd that are available here.
fn releases() -> Vec<Release> {
    let programs = [("3.5", fetch::program()), ("3.7", fetch::program37())];
    let mut found = Vec::new();
    for (version, program) in programs {
        match program {
            Ok(etcd) => found.push(Release { version, etcd }),
            Err(why) => println!("not run: members of etcd {version} ({why})"),
        }
    }
    found
}

/// One random write to each store. They have the same history before and after.
fn write(dbs: &[&Db], dice: &mut Dice, lease: LeaseId) {
    let key = format!("k{}", dice.below(KEYS));
    let other = format!("t{}", dice.below(KEYS));
    let value = dice.bytes(dice.0 as usize % 300);
    let request: Request = match dice.below(20) {
        0..9 => Put::new(key, value).into(),
        9..11 => Put::new(key, value).lease(lease).into(),
        11..15 => Delete::new(key).into(),
        15 => Delete::new(KeyRange::prefix("k1")).into(),
        // sometimes no key exists
        16 => Delete::new(KeyRange::all()).into(),
        _ => Txn::new()
            .and_then(Put::new(key, value))
            .and_then(Delete::new(KeyRange::prefix("t1")))
            .and_then(Put::new(format!("u{other}"), ""))
            .into(),
    };
    for db in dbs {
        let call = |request| db.call_unless(request, &|| false);
        call(request.clone()).expect("written");
    }
}

#[test]
fn hash_kv_of_random_histories_is_that_of_etcd() {
    let _deadline = deadline();
    let mut dice = Dice(seed());
    for release in releases() {
        let etcd = Etcd::start(&release.etcd, &format!("hash-{}", release.version));
        let theirs = libkv_etcd::open(etcd.url(), Options::new()).expect("opened");
        let served = Served::start(&format!("hash-{}", release.version));
        let ours = libkv_etcd::open(served.url(), Options::new()).expect("opened");
        let lease = 77;
        for db in [&theirs, &ours] {
            let grant = LeaseGrant::new(50_000).id(lease);
            db.lease_grant(grant).expect("granted");
        }
        let mut compacted = -1;
        for round in 0..ROUNDS {
            let same = |compacted: Revision| {
                let current = ours.snapshot().expect("read").revision();
                // etcd 3.7 remembers the hash of the compacted revision from before the compaction
                let first = (compacted + 1).max(2);
                for revision in (first..=current).chain([0]) {
                    let hash = |db: &Db| {
                        let hashed = db.hash_kv(revision).expect("readable");
                        (
                            hashed.revision,
                            hashed.hash,
                            hashed.compact_revision,
                            hashed.hash_revision,
                        )
                    };
                    let what = format!(
                        "etcd {}, compacted {compacted}, revision {revision} of {current}",
                        release.version
                    );
                    assert_eq!(hash(&ours), hash(&theirs), "{what}");
                }
                current
            };
            (0..STEPS).for_each(|_| write(&[&theirs, &ours], &mut dice, lease));
            if round == ROUNDS - 1 {
                // the next compaction is to a revision at which no key exists
                let all = || Delete::new(KeyRange::all());
                for db in [&theirs, &ours] {
                    db.put(Put::new("last", "")).expect("written");
                    db.delete(all()).expect("deleted");
                }
            }
            let current = same(compacted);
            compacted = match round == ROUNDS - 1 {
                true => current,
                false => current - dice.below(STEPS / 2) as i64,
            };
            for db in [&theirs, &ours] {
                let compact = Compact::new(compacted).physical(true);
                db.compact(compact).expect("compacted");
            }
            same(compacted);
        }
        // nothing exists, but the compaction kept a pair
        for db in [&theirs, &ours] {
            db.put(Put::new("a", "1")).expect("written");
            let at = db.put(Put::new("a", "2")).expect("written").revision;
            db.compact(Compact::new(at).physical(true))
                .expect("compacted");
            db.delete(Delete::new("a")).expect("deleted");
        }
        let hash = |db: &Db| db.hash_kv(0).expect("readable").hash;
        assert_eq!(hash(&ours), hash(&theirs), "etcd {}", release.version);
    }
}

/// The responses to one row: a name, the code and the text.
type Rows = Vec<(String, tonic::Code, String)>;

struct Services {
    cluster: ClusterClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
    own: pb::Member,
    rows: Rows,
}

impl Services {
    async fn at(address: &str) -> Services {
        let channel = connect(address).await;
        let mut cluster = ClusterClient::new(channel.clone());
        let list = cluster.member_list(pb::MemberListRequest::default()).await;
        let own = list.expect("a list").into_inner().members.remove(0);
        Services {
            cluster,
            maintenance: MaintenanceClient::new(channel),
            own,
            rows: Vec::new(),
        }
    }

    fn note<T>(&mut self, name: &str, response: std::result::Result<T, tonic::Status>) {
        let (code, text) = match response {
            Ok(_) => (tonic::Code::Ok, String::new()),
            Err(status) => (status.code(), status.message().to_string()),
        };
        self.rows.push((name.to_string(), code, text));
    }

    async fn members(&mut self) {
        let own_url = self.own.peer_ur_ls[0].clone();
        for urls in [
            &[][..],
            &["x"],
            &["http://a"],
            &["http://a:1/x"],
            &["ftp://a:1"],
            &["http://a:x"],
            &["http://a:1", "http://b"],
            &[own_url.as_str()],
            &[" http://b:1", own_url.as_str()],
        ] {
            let request = pb::MemberAddRequest {
                peer_ur_ls: urls.iter().map(ToString::to_string).collect(),
                is_learner: false,
            };
            let response = self.cluster.member_add(request).await;
            self.note(
                &format!("M1 {}", urls.join(" ").replace(&own_url, "OWN")),
                response,
            );
        }
        let request = pb::MemberRemoveRequest { id: 12_345 };
        let response = self.cluster.member_remove(request).await;
        self.note("M2 unknown", response);
        for (name, id) in [("unknown", 12_345), ("own", self.own.id)] {
            let request = pb::MemberUpdateRequest {
                id,
                peer_ur_ls: vec![own_url.clone()],
            };
            let response = self.cluster.member_update(request).await;
            self.note(&format!("M3 {name}"), response);
            let request = pb::MemberPromoteRequest { id };
            let response = self.cluster.member_promote(request).await;
            self.note(&format!("M4 {name}"), response);
            let request = pb::MoveLeaderRequest { target_id: id };
            let response = self.maintenance.move_leader(request).await;
            self.note(&format!("M5 {name}"), response);
        }
        let request = pb::MoveLeaderRequest { target_id: 0 };
        let response = self.maintenance.move_leader(request).await;
        self.note("M5 0", response);
    }

    async fn hashes(&mut self) {
        // etcd 3.5 refuses the compacted revision, which is 3
        for revision in [0, 2, 4, 1_000] {
            let request = pb::HashKvRequest { revision };
            let response = self.maintenance.hash_kv(request).await;
            self.note(&format!("M13 {revision}"), response);
        }
    }

    /// Rows in which 3.5 differs: it may not respond to an id of 0, and its version is another.
    async fn rows_of_37(&mut self) {
        let request = pb::HashKvRequest { revision: 3 };
        let response = self.maintenance.hash_kv(request).await;
        self.note("M14", response);
        let request = pb::MemberRemoveRequest { id: 0 };
        let response = self.cluster.member_remove(request).await;
        self.note("M2 0", response);
        for version in [
            "3.6",
            "3.6.0",
            "3.6.5",
            "3.6.0-rc.1",
            "3.5",
            "3.7",
            "3.7.0",
            "3.8.0",
            "2.6",
            "",
            "x",
            "3",
            "v3.6.0",
        ] {
            let response = self.downgrade(0, version).await;
            self.note(&format!("M6 {version}"), response);
        }
        let response = self.downgrade(2, "").await;
        self.note("M8", response);
        let response = self.downgrade(9, "3.6").await;
        self.note("M9", response);
    }

    async fn downgrade(
        &mut self,
        action: i32,
        version: &str,
    ) -> std::result::Result<String, tonic::Status> {
        let request = pb::DowngradeRequest {
            action,
            version: version.into(),
        };
        let response = self.maintenance.downgrade(request).await;
        response.map(|response| response.into_inner().version)
    }
}

/// The rows of a server with the revisions 1 to 4, compacted to 3.
async fn rows(address: &str, is_37: bool) -> Rows {
    let url = address.to_string();
    let prepare = move || {
        let db = libkv_etcd::open(&url, Options::new()).expect("opened");
        for value in ["1", "2", "3"] {
            db.put(Put::new("a", value)).expect("written");
        }
        let compact = Compact::new(3).physical(true);
        db.compact(compact).expect("compacted");
    };
    tokio::task::spawn_blocking(prepare)
        .await
        .expect("prepared");
    let mut services = Services::at(address).await;
    services.members().await;
    services.hashes().await;
    if is_37 {
        services.rows_of_37().await;
    }
    services.rows
}

#[test]
fn members_and_hashes_are_refused_as_by_etcd() {
    let _deadline = deadline();
    run(async {
        for release in releases() {
            let etcd = Etcd::start(&release.etcd, &format!("rows-{}", release.version));
            let how = Serve::new("127.0.0.1:0").peer_urls(["http://10.0.0.1:2380"]);
            let served = Served::with(
                &format!("rows-{}", release.version),
                Options::new().limits(LimitsPreset::Etcd),
                how,
            );
            let theirs = rows(&etcd.url(), release.is_37()).await;
            let ours = rows(&served.url(), release.is_37()).await;
            assert_eq!(ours, theirs, "etcd {}", release.version);
            assert!(theirs.len() > 18, "{theirs:?}");
        }
    });
}

/// The rows in which a store differs from etcd on purpose.
#[test]
fn one_member_cannot_be_removed_or_joined_and_its_urls_can_be_replaced() {
    let _deadline = deadline();
    run(async {
        let served = support::Served::new().await;
        let mut services = served.cluster();
        let list = services.member_list(pb::MemberListRequest::default()).await;
        let own = list.expect("a list").into_inner().members.remove(0);
        let remove = services.member_remove(pb::MemberRemoveRequest { id: own.id });
        support::refused(
            remove.await,
            tonic::Code::FailedPrecondition,
            "etcdserver: re-configuration failed due to not enough started members",
        );
        let urls = |urls: &[&str]| urls.iter().map(ToString::to_string).collect::<Vec<_>>();
        let add = pb::MemberAddRequest {
            peer_ur_ls: urls(&["http://10.0.0.1:2380"]),
            is_learner: true,
        };
        let status = services
            .member_add(add.clone())
            .await
            .expect_err("one member");
        assert_eq!(status.code(), tonic::Code::Unimplemented);
        let message = status.message();
        assert!(
            message.contains("kv snapshot save") && message.contains("etcdutl snapshot restore"),
            "{message}"
        );
        let update = |new: &[&str]| pb::MemberUpdateRequest {
            id: own.id,
            peer_ur_ls: urls(new),
        };
        let bad = services.member_update(update(&["http://a"])).await;
        support::refused(
            bad,
            tonic::Code::InvalidArgument,
            "etcdserver: given member URLs are invalid",
        );
        let updated = services
            .member_update(update(&["http://10.0.0.2:2380", "http://10.0.0.1:2380"]))
            .await
            .expect("updated")
            .into_inner();
        assert_eq!(updated.header.expect("a header").revision, 0);
        let list = services.member_list(pb::MemberListRequest::default()).await;
        let list = list.expect("a list").into_inner();
        assert_eq!(list.members, updated.members);
        assert_eq!(
            list.members[0].peer_ur_ls,
            ["http://10.0.0.1:2380", "http://10.0.0.2:2380"]
        );
        support::refused(
            services.member_add(add).await,
            tonic::Code::FailedPrecondition,
            "etcdserver: Peer URLs already exists",
        );
        let enable = pb::DowngradeRequest {
            action: 1,
            version: "3.6.0".into(),
        };
        let status = served.maintenance().downgrade(enable).await;
        assert_eq!(
            status.expect_err("one version").code(),
            tonic::Code::FailedPrecondition
        );
    });
}

/// `etcdutl snapshot status` computes the same sum without leaving out anything; what is left out has
/// a fixed value here.
#[test]
fn hash_is_that_of_the_snapshot() {
    let _deadline = deadline();
    run(async {
        let served = support::Served::new().await;
        let hash = || async {
            let response = served.maintenance().hash(pb::HashRequest {}).await;
            let response = response.expect("a hash").into_inner();
            (response.hash, response.header.expect("a header").revision)
        };
        let empty = hash().await;
        assert_eq!(empty, hash().await);
        served.db.put(Put::new("a", "1")).expect("written");
        let one = hash().await;
        assert_eq!(one.1, 2);
        assert_ne!(one.0, empty.0);
        let mut crc = 0;
        let mut add = |bytes: &[u8]| crc = crc32c::crc32c_append(crc, bytes);
        for bucket in ["alarm", "auth", "authRoles", "authUsers", "cluster", "key"] {
            add(bucket.as_bytes());
        }
        add(&[0, 0, 0, 0, 0, 0, 0, 2, b'_', 0, 0, 0, 0, 0, 0, 0, 0]);
        add(&[0x0a, 1, b'a', 0x10, 2, 0x18, 2, 0x20, 1, 0x2a, 1, b'1']);
        for bucket in ["lease", "members", "members_removed", "meta"] {
            add(bucket.as_bytes());
        }
        assert_eq!(one.0, crc);
    });
}

#[test]
fn gateway_has_hashkv() {
    let _deadline = deadline();
    let served = Served::start("hashkv");
    served.db.put(Put::new("a", "0")).expect("written");
    let ask = |body: &[u8]| {
        let mut http = Http::to(&served.url());
        let response = http.call("POST", "/v3/maintenance/hashkv", body);
        (response.status, response.text())
    };
    let (status, text) = ask(br#"{"revision":"2"}"#);
    let hashed = r#""hash":1750265556,"compact_revision":"-1","hash_revision":"2"}"#;
    assert!(status == 200 && text.ends_with(hashed), "{text}");
    let (status, text) = ask(br#"{"revision":"3"}"#);
    assert!(status == 400 && text.contains("future revision"), "{text}");
}

/// Moves the leader, again if a busy machine delays the response: to the leader itself the call has
/// no effect.
fn move_leader(db: &Db, id: u64) {
    for _ in 0..5 {
        match db.move_leader(id) {
            Ok(()) => return,
            Err(error) if error.code() == Code::UnknownOutcome => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no response to five calls");
}

#[test]
fn client_changes_the_members_of_a_cluster() {
    let _deadline = deadline();
    for release in releases() {
        let etcd = Etcd::start_with(&release.etcd, &format!("three-{}", release.version), 3, &[]);
        let db = libkv_etcd::open(etcd.url(), Options::new()).expect("opened");
        let members = db.member_list().expect("listed");
        assert_eq!(members.len(), 3);
        assert!(members.iter().all(|member| !member.is_learner
            && member.name.starts_with('m')
            && member.client_urls.len() == 1
            && member.peer_urls.len() == 1));
        let code = |response: Result<()>| response.expect_err("refused").code();

        let learner = ["http://127.0.0.1:1"];
        // members that have just started are not healthy yet
        until("the learner is added", || {
            match db.member_add(learner, true) {
                Ok(added) => {
                    assert!(
                        added.is_learner && added.peer_urls == learner && added.name.is_empty()
                    );
                    true
                }
                Err(error) => {
                    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
                    false
                }
            }
        });
        let added = db.member_list().expect("listed");
        let added = added
            .iter()
            .find(|member| member.is_learner)
            .expect("added");
        assert_eq!(
            code(db.member_add(learner, true).map(drop)),
            Code::FailedPrecondition
        );
        assert_eq!(
            code(db.member_add(["nowhere"], true).map(drop)),
            Code::InvalidArgument
        );
        assert_eq!(code(db.member_promote(added.id)), Code::FailedPrecondition);
        assert_eq!(
            code(db.member_promote(members[0].id)),
            Code::FailedPrecondition
        );
        let moved = ["http://127.0.0.1:2"];
        db.member_update(added.id, moved).expect("updated");
        let list = db.member_list().expect("listed");
        let updated = list.iter().find(|member| member.id == added.id);
        assert_eq!(updated.expect("it is listed").peer_urls, moved);
        db.member_remove(added.id).expect("removed");
        assert_eq!(db.member_list().expect("listed").len(), 3);
        for response in [
            db.member_remove(added.id),
            db.member_promote(12_345),
            db.member_update(12_345, moved),
        ] {
            assert_eq!(code(response), Code::NotFound);
        }

        // the request finds the leader, wherever it is; each member leads once
        for member in &members {
            move_leader(&db, member.id);
            db.put(Put::new("a", member.name.clone())).expect("written");
        }
        assert_eq!(code(db.move_leader(12_345)), Code::FailedPrecondition);
        let revision = db.put(Put::new("a", "")).expect("written").revision;
        let hashed = db.hash_kv(revision).expect("hashed");
        assert_eq!(hashed.hash_revision, revision);
        let error = db.hash_kv(revision + 1).expect_err("not written");
        assert_eq!(
            (error.code(), error.revision()),
            (Code::FutureRevision, Some(revision))
        );
        assert_eq!(code(db.hash_kv(-1).map(drop)), Code::InvalidArgument);
    }
}

/// What etcdctl prints; `{OWN}` is the member's id.
const COMMANDS: [&str; 24] = [
    "put a 1",
    "put a 2",
    "put b 1",
    "endpoint hashkv",
    "endpoint hashkv --rev 2",
    "endpoint hashkv --rev 3 -w json",
    "endpoint hashkv -w fields",
    "endpoint hashkv -w table",
    "endpoint hashkv --rev 100",
    "compaction --physical 3",
    "endpoint hashkv -w json",
    "endpoint hashkv --rev 2 -w json",
    "member list",
    "member add two --peer-urls nowhere",
    "member add two --peer-urls PEER",
    "member add two",
    "member remove 1234",
    "member remove zzz",
    "member update 1234 --peer-urls PEER",
    "member update {OWN} --peer-urls PEER",
    "member update {OWN} --peer-urls PEER -w json",
    "member promote 1234",
    "member promote {OWN}",
    "move-leader 1234",
];

/// The output of each command, without ids and addresses.
fn transcript(etcdctl: &Path, url: &str) -> Vec<String> {
    let db = libkv_etcd::open(url, Options::new()).expect("opened");
    let own = db.member_list().expect("listed").remove(0);
    let id = format!("{:x}", own.id);
    let commands = COMMANDS.iter().map(ToString::to_string);
    let last = "move-leader {OWN}".to_string();
    commands
        .chain([last])
        .map(|command| {
            let words = command
                .replace("{OWN}", &id)
                .replace("PEER", &own.peer_urls[0]);
            let done = Command::new(etcdctl)
                .env("ETCDCTL_API", "3")
                .args(["--endpoints", url])
                .args(words.split(' '))
                .output()
                .expect("etcdctl starts");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let error = text(&done.stderr);
            let printed: Vec<&str> = error
                .lines()
                .filter(|line| !line.starts_with('{'))
                .collect();
            let out = format!(
                "{command}\n{}{}\nstatus {:?}",
                text(&done.stdout),
                printed.join("\n"),
                done.status.code()
            );
            masked(&out, url, &own)
        })
        .collect()
}

fn masked(text: &str, url: &str, own: &Member) -> String {
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    let text = text
        .replace(url, "URL")
        .replace(address, "ADDRESS")
        .replace(&own.peer_urls[0], "PEER");
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        let is_id = word.len() >= 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
        out += if is_id { "ID" } else { &word };
        word.clear();
        // the width of a table is that of its addresses
        if !matches!(c, ' ' | '-' | '+') {
            out.push(c);
        }
    }
    out
}

#[test]
fn etcdctl_prints_of_members_and_hashes_what_it_prints_of_etcd() {
    let _deadline = deadline();
    for release in releases() {
        let etcdctl = release.etcd.with_file_name("etcdctl");
        let name = format!("members-{}", release.version);
        let etcd = Etcd::start(&release.etcd, &name);
        let how = Serve::new("127.0.0.1:0")
            .name("m0")
            .peer_urls(["http://10.0.0.1:2380"]);
        let served = Served::with(&name, Options::new().limits(LimitsPreset::Etcd), how);
        let theirs = transcript(&etcdctl, &etcd.url());
        let ours = transcript(&etcdctl, &served.url());
        let term = |text: &str| {
            let at = text.find("raft_term\":").map_or(text.len(), |at| at + 11);
            let rest = text[at..].trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{}{rest}", &text[..at])
        };
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(term(ours), term(theirs), "etcdctl {}", release.version);
        }
        let succeeded = theirs.iter().filter(|text| text.contains("Some(0)"));
        assert!(succeeded.count() > 12);
    }
}
