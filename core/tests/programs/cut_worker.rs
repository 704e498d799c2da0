//! The program that `tests/power_cut.rs` runs.
//!
//! - `run BASE DURABILITY SEED` writes to a store `BASE/store`, and adds a line to `BASE/acks` for
//!   each acknowledgement. A cut must not lose a write of that file.
//! - `count BASE DURABILITY` makes writes whose flushes can be counted.
//! - `check LIST` opens the images of the directories in the file LIST, one per line.
//!
//! Lines of `acks`, in the order of the responses:
//!
//! | line | meaning |
//! |---|---|
//! | `open` | the store was opened |
//! | `lost REVISION` | the store had this revision after a cut; later lazy writes are lost |
//! | `ack REVISION KEY LENGTH SEED sync\|lazy` | the key was put, or deleted if LENGTH is `-` |
//! | `compacting REVISION` | a compaction was requested |
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
struct AckFile(Arc<Mutex<File>>);

impl AckFile {
    /// Appends lines with a single write, so that they are one record.
    fn record(&self, line: &str) {
        let mut file = self.0.lock().expect("not poisoned");
        file.write_all(format!("{line}\n").as_bytes())
            .expect("acks are writable");
    }
}

/// A key, and length and seed of its new value; `None` for a deletion.
type Written = (String, Option<(usize, u64)>);

struct Worker {
    store: PathBuf,
    durability: Durability,
    acks: AckFile,
    db: Db,
}

impl Worker {
    fn new(base: &str, name: &str) -> Worker {
        let base = Path::new(base);
        let acks = File::options()
            .create(true)
            .append(true)
            .open(base.join("acks"))
            .expect("acks are created");
        let acks = AckFile(Arc::new(Mutex::new(acks)));
        let (store, durability) = (base.join("store"), durability(name));
        let was_cut = store.exists();
        let db = open(&store, durability);
        acks.record("open");
        if was_cut {
            acks.record(&format!("lost {}", db.status().expect("a status").revision));
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
        self.acks.record("closed");
        self.db = open(&self.store, self.durability);
        self.acks.record("open");
    }

    /// Records all writes of a revision at once, so that a cut has all of them or none.
    fn acked(&self, revision: Revision, writes: &[Written], requested: Option<Durability>) {
        let durability = requested.unwrap_or(self.durability);
        let lines: Vec<String> = writes
            .iter()
            .map(|(key, written)| ack(revision, key, *written, durability))
            .collect();
        if !lines.is_empty() {
            self.acks.record(&lines.join("\n"));
        }
    }

    fn run(mut self, dice: &mut Dice) {
        for step in 1..=STEPS {
            // sometimes a write of the other durability
            let other = if self.durability == Durability::Sync {
                Durability::Lazy
            } else {
                Durability::Sync
            };
            let requested = dice.one_in(12).then_some(other);
            let key = format!("k{:02}", dice.below(KEYS));
            match dice.below(10) {
                0 | 1 => self.delete(key, requested),
                2 | 3 => self.txn(dice, requested),
                _ => self.put(dice, key, requested),
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
        self.acks.record("closed");
    }

    fn new_value(dice: &mut Dice) -> Option<(usize, u64)> {
        let len = if dice.one_in(4) {
            2_000 + dice.below(7_001)
        } else {
            dice.below(200)
        };
        Some((len as usize, dice.below(1 << 32)))
    }

    fn put(&self, dice: &mut Dice, key: String, requested: Option<Durability>) {
        let written = Self::new_value(dice);
        let mut put = put_of(&key, written);
        put.durability = requested;
        let revision = self.db.put(put).expect("a put").revision;
        self.acked(revision, &[(key, written)], requested);
    }

    fn delete(&self, key: String, requested: Option<Durability>) {
        let mut delete = Delete::new(key.as_str());
        delete.durability = requested;
        let deleted = self.db.delete(delete).expect("a deletion");
        if deleted.deleted > 0 {
            self.acked(deleted.revision, &[(key, None)], requested);
        }
    }

    fn txn(&self, dice: &mut Dice, requested: Option<Durability>) {
        let first = dice.below(KEYS);
        let mut txn = Txn::new();
        txn.durability = requested;
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
        // the deletion of a missing key has no event
        writes.retain(|_| {
            !matches!(
                responses.next(),
                Some(OpResponse::Delete(DeleteResponse { deleted: 0, .. }))
            )
        });
        self.acked(done.revision, &writes, requested);
    }

    fn compact(&self) {
        let at = self.db.status().expect("a status").revision - 10;
        self.acks.record(&format!("compacting {at}"));
        self.db
            .compact(Compact::new(at).physical(true))
            .expect("a compaction");
    }

    /// Submits this number of requests inside a completion. The leader runs completions after its
    /// group, so all of them are queued before the next group begins.
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
            acks.record(&ack(revision_of(response), &opener.0, opener.1, durability));
            acks.record("group");
            for (at, (key, written)) in writes.into_iter().enumerate() {
                let (acks, sender) = (acks.clone(), sender.clone());
                db.submit(put_of(&key, written), move |response| {
                    acks.record(&ack(revision_of(response), &key, written, durability));
                    if at == last {
                        sender.send(()).expect("the worker receives");
                    }
                });
            }
        });
        receiver.recv().expect("the response of the last member");
    }

    fn count(self) {
        let mut dice = Dice(1);
        // the first commit checks for a gap and records the boot id
        self.put(&mut dice, "first".into(), None);
        self.acks.record("single");
        for at in 0..40 {
            self.put(&mut dice, format!("k{at:02}"), None);
        }
        self.group(&mut dice, 64);
        self.acks.record("end");
        self.db.close();
        self.acks.record("closed");
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

/// Prints `begin DIR` before each image, to identify the image of a crash. Then prints
/// `ok DIR MISSING` with the number of acknowledged lazy revisions that are missing, or
/// `bad DIR WHY`.
fn check(list: &Path) {
    let list = fs::read_to_string(list).expect("the list");
    for dir in list.lines() {
        println!("begin {dir}");
        match check_image(Path::new(dir)) {
            Ok(missing) => println!("ok {dir} {missing}"),
            Err(why) => println!("bad {dir} {why}"),
        }
    }
}

/// The acknowledgements before a power cut.
#[derive(Default)]
struct Acknowledged {
    opened: bool,
    /// The last revision acknowledged as synced. It and all before it must exist.
    synced: Revision,
    acked: Revision,
    /// The highest acknowledged revision, including those before an earlier cut.
    given: Revision,
    /// The last requested compaction.
    compacting: Revision,
    writes: BTreeMap<Revision, Vec<Written>>,
}

fn acknowledged(acks: &str) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    for line in acks.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["open"] => acknowledged.opened = true,
            ["lost", revision] => {
                acknowledged.acked = revision.parse().expect("a revision");
                acknowledged.writes.split_off(&(acknowledged.acked + 1));
            }
            ["closed"] => acknowledged.synced = acknowledged.acked,
            ["compacting", at] => acknowledged.compacting = at.parse().expect("a revision"),
            ["ack", revision, key, len, seed, mode] => {
                let revision = revision.parse().expect("a revision");
                let written = len
                    .parse()
                    .ok()
                    .map(|len| (len, seed.parse().expect("a seed")));
                acknowledged
                    .writes
                    .entry(revision)
                    .or_default()
                    .push((key.into(), written));
                acknowledged.acked = acknowledged.acked.max(revision);
                acknowledged.given = acknowledged.given.max(revision);
                if mode == "sync" {
                    acknowledged.synced = acknowledged.synced.max(revision);
                }
            }
            ["group"] => {}
            _ => panic!("unknown line of acks: {line}"),
        }
    }
    acknowledged
}

fn check_image(dir: &Path) -> std::result::Result<usize, String> {
    let acks = fs::read_to_string(dir.join("acks")).map_err(|e| e.to_string())?;
    let acknowledged = acknowledged(&acks);
    let options = Options::new()
        .create(!acknowledged.opened)
        .durability(Durability::Lazy);
    let db = Db::open(dir.join("store"), options).map_err(|e| format!("does not open: {e}"))?;
    let returned = |e: Error| format!("returns {e}");
    whole(&db)?;
    let status = db.status().map_err(returned)?;
    let (current, compacted) = (status.revision, status.compacted_revision.unwrap_or(-1));
    if current < acknowledged.synced {
        return Err(format!(
            "is at revision {current}; {} was acknowledged as synced",
            acknowledged.synced
        ));
    }
    if compacted > acknowledged.compacting.max(0) {
        return Err(format!(
            "is compacted to {compacted}; {} was requested",
            acknowledged.compacting
        ));
    }
    let mut now: BTreeMap<&str, Option<(usize, u64)>> = BTreeMap::new();
    let upto = current.min(acknowledged.acked);
    for (&revision, writes) in acknowledged.writes.range(..=upto) {
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
    let put = db.put(Put::new("after", "the cut")).map_err(returned)?;
    if put.revision <= acknowledged.given.max(current) {
        return Err(format!(
            "assigned revision {} again; {} was acknowledged",
            put.revision, acknowledged.given
        ));
    }
    whole(&db)?;
    Ok(acknowledged.writes.range(current + 1..).count())
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
