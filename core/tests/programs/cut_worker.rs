//! What `tests/power_cut.rs` runs in processes of its own.
//!
//! - `run BASE DURABILITY SEED` writes a store `BASE/store` and says in `BASE/acks` what it was
//!   acknowledged, a line each: what is in that file before a cut was promised.
//! - `count BASE DURABILITY` writes in a way whose flushes can be counted.
//! - `check LIST` opens the images whose directories LIST names, a line each.
//!
//! Lines of `acks`, in the order of the responses:
//!
//! | line | means |
//! |---|---|
//! | `open` | the store was opened |
//! | `lost REVISION` | it was found at this revision after a cut; lazy writes above are gone |
//! | `ack REVISION KEY LENGTH SEED sync\|lazy` | the key was put, or deleted if LENGTH is `-` |
//! | `compacting REVISION` | a compaction was asked for |
//! | `closed` | the store was closed by its last process |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use libkv::*;

// a program of this package cannot use its dev-dependencies
#[path = "../../../tests/support/src/dice.rs"]
mod dice;
use dice::Dice;

const STEPS: u64 = 120;
const KEYS: u64 = 24;
const GROUP: u64 = 20;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["run", base, durability, seed] => {
            Worker::new(base, durability).run(&mut Dice(seed.parse().expect("a seed is a number")))
        }
        ["count", base, durability] => Worker::new(base, durability).count(),
        ["check", list] => check(Path::new(list)),
        _ => panic!("cut_worker run BASE DURABILITY SEED | count BASE DURABILITY | check LIST"),
    }
}

fn durability(name: &str) -> Durability {
    match name {
        "sync" => Durability::Sync,
        "lazy" => Durability::Lazy,
        "none" => Durability::None,
        _ => panic!("no durability {name}"),
    }
}

fn value(len: usize, seed: u64) -> Vec<u8> {
    Dice(seed).bytes(len)
}

#[derive(Clone)]
struct Acks(Arc<Mutex<File>>);

impl Acks {
    /// In one write, so that it is one record.
    fn say(&self, line: &str) {
        let mut file = self.0.lock().expect("no panic while it is held");
        file.write_all(format!("{line}\n").as_bytes())
            .expect("acks can be written");
    }
}

/// A key and what is written to it: length and seed of a value, or its deletion.
type Written = (String, Option<(usize, u64)>);

struct Worker {
    store: PathBuf,
    durability: Durability,
    acks: Acks,
    db: Db,
}

impl Worker {
    fn new(base: &str, name: &str) -> Worker {
        let base = Path::new(base);
        let acks = File::options()
            .create(true)
            .append(true)
            .open(base.join("acks"))
            .expect("acks can be made");
        let acks = Acks(Arc::new(Mutex::new(acks)));
        let (store, durability) = (base.join("store"), durability(name));
        let was_cut = store.exists();
        let db = open(&store, durability);
        acks.say("open");
        if was_cut {
            acks.say(&format!("lost {}", db.status().expect("a status").revision));
        }
        Worker {
            store,
            durability,
            acks,
            db,
        }
    }

    fn reopen(&mut self) {
        self.db.close();
        self.acks.say("closed");
        self.db = open(&self.store, self.durability);
        self.acks.say("open");
    }

    /// All of a revision at once: a cut has seen the whole response or nothing of it.
    fn acked(&self, revision: Revision, writes: &[Written], asked: Option<Durability>) {
        let durability = asked.unwrap_or(self.durability);
        let lines: Vec<String> = writes
            .iter()
            .map(|(key, written)| ack(revision, key, *written, durability))
            .collect();
        if !lines.is_empty() {
            self.acks.say(&lines.join("\n"));
        }
    }

    fn run(mut self, dice: &mut Dice) {
        for step in 1..=STEPS {
            // now and then one in a store of the other kind
            let other = if self.durability == Durability::Sync {
                Durability::Lazy
            } else {
                Durability::Sync
            };
            let asked = dice.one_in(12).then_some(other);
            let key = format!("k{:02}", dice.below(KEYS));
            match dice.below(10) {
                0 | 1 => self.delete(key, asked),
                2 | 3 => self.txn(dice, asked),
                _ => self.put(dice, key, asked),
            }
            if step % 40 == 0 {
                self.compact();
            }
            if step % 30 == 0 {
                self.reopen();
            }
            if step % 50 == 0 {
                self.group(dice, GROUP);
            }
        }
        self.db.close();
        self.acks.say("closed");
    }

    fn new_value(dice: &mut Dice) -> Option<(usize, u64)> {
        let len = if dice.one_in(4) {
            2_000 + dice.below(7_001)
        } else {
            dice.below(200)
        };
        Some((len as usize, dice.below(1 << 32)))
    }

    fn put(&self, dice: &mut Dice, key: String, asked: Option<Durability>) {
        let written = Self::new_value(dice);
        let mut put = put_of(&key, written);
        put.durability = asked;
        let revision = self.db.put(put).expect("a put").revision;
        self.acked(revision, &[(key, written)], asked);
    }

    fn delete(&self, key: String, asked: Option<Durability>) {
        let mut delete = Delete::new(key.as_str());
        delete.durability = asked;
        let deleted = self.db.delete(delete).expect("a deletion");
        if deleted.deleted > 0 {
            self.acked(deleted.revision, &[(key, None)], asked);
        }
    }

    fn txn(&self, dice: &mut Dice, asked: Option<Durability>) {
        let first = dice.below(KEYS);
        let mut txn = Txn::new();
        txn.durability = asked;
        let mut writes = Vec::new();
        for at in 0..2 + dice.below(4) {
            let key = format!("k{:02}", (first + at) % KEYS);
            let written = if dice.one_in(4) {
                None
            } else {
                Self::new_value(dice)
            };
            txn = match written {
                Some(_) => txn.and_then(put_of(&key, written)),
                None => txn.and_then(Delete::new(key.as_str())),
            };
            writes.push((key, written));
        }
        let done = self.db.txn(txn).expect("a txn");
        let mut responses = done.responses.iter();
        // the deletion of a key that was not there is no event
        writes.retain(|_| {
            !matches!(
                responses.next(),
                Some(OpResponse::Delete(DeleteResponse { deleted: 0, .. }))
            )
        });
        self.acked(done.revision, &writes, asked);
    }

    fn compact(&self) {
        let at = self.db.status().expect("a status").revision - 10;
        self.acks.say(&format!("compacting {at}"));
        self.db
            .compact(Compact::new(at).physical(true))
            .expect("a compaction");
    }

    /// This number of requests from within a completion: the leader runs completions after its
    /// group, so all of them stand in the queue before the next one begins.
    fn group(&self, dice: &mut Dice, members: u64) {
        let (sender, receiver) = mpsc::channel();
        let (db, acks, durability) = (self.db.clone(), self.acks.clone(), self.durability);
        let writes: Vec<Written> = (0..members)
            .map(|_| {
                (
                    format!("k{:02}", dice.below(KEYS)),
                    Some((100, dice.below(1 << 32))),
                )
            })
            .collect();
        let (last, opener) = (
            writes.len() - 1,
            ("opener".to_string(), Some((10, dice.below(1 << 32)))),
        );
        let opening = put_of(&opener.0, opener.1);
        self.db.submit(opening, move |response| {
            acks.say(&ack(revision_of(response), &opener.0, opener.1, durability));
            acks.say("group");
            for (at, (key, written)) in writes.into_iter().enumerate() {
                let (acks, sender) = (acks.clone(), sender.clone());
                db.submit(put_of(&key, written), move |response| {
                    acks.say(&ack(revision_of(response), &key, written, durability));
                    if at == last {
                        sender.send(()).expect("it is waited for");
                    }
                });
            }
        });
        receiver
            .recv()
            .expect("the last of the group has a response");
    }

    fn count(self) {
        let mut dice = Dice(1);
        // the first commit looks for a gap and announces what comes
        self.put(&mut dice, "first".into(), None);
        self.acks.say("single");
        for at in 0..40 {
            self.put(&mut dice, format!("k{at:02}"), None);
        }
        self.group(&mut dice, 64);
        self.acks.say("end");
        self.db.close();
        self.acks.say("closed");
    }
}

fn open(store: &Path, durability: Durability) -> Db {
    Db::open(store, Options::new().durability(durability)).expect("the store opens")
}

fn put_of(key: &str, written: Option<(usize, u64)>) -> Put {
    let (len, seed) = written.expect("a put has a value");
    Put::new(key, value(len, seed))
}

fn revision_of(response: Result<Response>) -> Revision {
    match response {
        Ok(Response::Put(put)) => put.revision,
        other => panic!("no response to a put: {other:?}"),
    }
}

fn ack(
    revision: Revision,
    key: &str,
    written: Option<(usize, u64)>,
    durability: Durability,
) -> String {
    let value = written.map_or("- 0".to_string(), |(len, seed)| format!("{len} {seed}"));
    let mode = if durability == Durability::Sync {
        "sync"
    } else {
        "lazy"
    };
    format!("ack {revision} {key} {value} {mode}")
}

/// Says `begin DIR` before each image, so that a signal has an address, then `ok DIR MISSING` with
/// the number of acknowledged lazy revisions that are gone, or `bad DIR WHY`.
fn check(list: &Path) {
    let list = fs::read_to_string(list).expect("the list can be read");
    for dir in list.lines() {
        println!("begin {dir}");
        match check_image(Path::new(dir)) {
            Ok(missing) => println!("ok {dir} {missing}"),
            Err(why) => println!("bad {dir} {why}"),
        }
    }
}

/// What had been promised when the power went.
#[derive(Default)]
struct Promised {
    opened: bool,
    /// Of what cannot be gone: the last revision acknowledged as synced, and all before it.
    synced: Revision,
    acked: Revision,
    /// The highest acknowledged ever, before an earlier cut too.
    given: Revision,
    /// The last compaction asked for.
    compacting: Revision,
    writes: BTreeMap<Revision, Vec<Written>>,
}

fn promised(acks: &str) -> Promised {
    let mut promised = Promised::default();
    for line in acks.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["open"] => promised.opened = true,
            ["lost", revision] => {
                promised.acked = revision.parse().expect("a revision");
                promised.writes.split_off(&(promised.acked + 1));
            }
            ["closed"] => promised.synced = promised.acked,
            ["compacting", at] => promised.compacting = at.parse().expect("a revision"),
            ["ack", revision, key, len, seed, mode] => {
                let revision = revision.parse().expect("a revision");
                let written = len
                    .parse()
                    .ok()
                    .map(|len| (len, seed.parse().expect("a seed")));
                promised
                    .writes
                    .entry(revision)
                    .or_default()
                    .push((key.into(), written));
                promised.acked = promised.acked.max(revision);
                promised.given = promised.given.max(revision);
                if mode == "sync" {
                    promised.synced = promised.synced.max(revision);
                }
            }
            ["group"] => {}
            _ => panic!("no line of acks: {line}"),
        }
    }
    promised
}

fn check_image(dir: &Path) -> std::result::Result<usize, String> {
    let acks = fs::read_to_string(dir.join("acks")).map_err(|e| e.to_string())?;
    let promised = promised(&acks);
    let options = Options::new()
        .create(!promised.opened)
        .durability(Durability::Lazy);
    let db = Db::open(dir.join("store"), options).map_err(|e| format!("does not open: {e}"))?;
    let said = |e: Error| format!("returns {e}");
    whole(&db)?;
    let status = db.status().map_err(said)?;
    let (current, compacted) = (status.revision, status.compacted_revision.unwrap_or(-1));
    if current < promised.synced {
        return Err(format!(
            "is at revision {current}; {} was acknowledged as synced",
            promised.synced
        ));
    }
    if compacted > promised.compacting.max(0) {
        return Err(format!(
            "is compacted to {compacted}, asked for was {}",
            promised.compacting
        ));
    }
    let mut now: BTreeMap<&str, Option<(usize, u64)>> = BTreeMap::new();
    let upto = current.min(promised.acked);
    for (&revision, writes) in promised.writes.range(..=upto) {
        for (key, written) in writes {
            now.insert(key, *written);
            if revision >= compacted {
                same(&db, key, revision, *written)?;
            }
        }
    }
    for (key, written) in now {
        if upto >= compacted.max(1) {
            same(&db, key, upto, written)?;
        }
    }
    let put = db.put(Put::new("after", "the cut")).map_err(said)?;
    if put.revision <= promised.given.max(current) {
        return Err(format!(
            "gave revision {} again; {} was acknowledged",
            put.revision, promised.given
        ));
    }
    whole(&db)?;
    Ok(promised.writes.range(current + 1..).count())
}

fn whole(db: &Db) -> std::result::Result<(), String> {
    let report = db.check().map_err(|e| format!("cannot be checked: {e}"))?;
    match report.problems.is_empty() {
        true => Ok(()),
        false => Err(format!("has problems: {:?}", report.problems)),
    }
}

fn same(
    db: &Db,
    key: &str,
    revision: Revision,
    written: Option<(usize, u64)>,
) -> std::result::Result<(), String> {
    let found = db
        .get_at(key, revision)
        .map_err(|e| format!("returns {e} for {key} at {revision}"))?;
    let should = written.map(|(len, seed)| value(len, seed));
    match found.as_ref().map(|kv| &kv.value[..]) == should.as_deref() {
        true => Ok(()),
        false => Err(format!(
            "has other bytes in {key} at {revision}: {:?} instead of {:?}",
            found.map(|kv| (kv.mod_revision, kv.value.len())),
            written
        )),
    }
}
