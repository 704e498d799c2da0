//! The functions that the targets in `tests/fuzz` call.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use libkv::{Code, Db, Options, Problem};
use prost::Message as _;

use crate::convert;
use crate::pb::etcdserverpb as pb;
use crate::server::{compare_rights, read_and_write_back};
use crate::snapshot::Restore;

/// A byte that selects a method, then the JSON of its request. A request that can be read must also
/// be written and read again as the same.
pub fn gateway(data: &[u8]) {
    if let Some((&method, json)) = data.split_first() {
        read_and_write_back(usize::from(method), json);
    }
}

/// A byte that selects a message, then its bytes, which are decoded and converted to a request of
/// the model.
pub fn requests(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    match kind % 6 {
        0 => drop(pb::RangeRequest::decode(bytes).map(convert::range_in)),
        1 => drop(pb::PutRequest::decode(bytes).map(convert::put_in)),
        2 => drop(pb::DeleteRangeRequest::decode(bytes).map(convert::delete_in)),
        3 => drop(pb::TxnRequest::decode(bytes).map(convert::txn_in)),
        4 => drop(pb::CompactionRequest::decode(bytes).map(convert::compact_in)),
        _ => drop(
            pb::WatchRequest::decode(bytes).map(|request| match request.request_union {
                Some(pb::watch_request::RequestUnion::CreateRequest(create)) => {
                    Some(convert::watch_in(create))
                }
                _ => None,
            }),
        ),
    }
}

/// Permissions and ranges, which a user's rights and a simple model compare.
pub fn rights(data: &[u8]) {
    compare_rights(data);
}

/// The bytes of a snapshot, whose SHA-256 is not verified. It is refused and leaves nothing, or
/// it becomes a store without problems. Returns whether it became a store.
///
/// # Panics
///
/// If that does not hold.
pub fn snapshot(data: &[u8]) -> bool {
    let dir = Scratch::new();
    let (file, store) = (dir.0.join("snapshot"), dir.0.join("store"));
    fs::write(&file, data).expect("the snapshot is written");
    let restored = Restore::new(&file).skip_hash_check(true).run(&store);
    match &restored {
        Ok(_) => assert_sound(&store),
        Err(error) => {
            assert_eq!(error.code(), Code::Corrupt, "{error}");
            let left = fs::read_dir(&dir.0).expect("it is read").count();
            assert_eq!(left, 1, "a refused snapshot leaves files");
        }
    }
    restored.is_ok()
}

fn assert_sound(store: &Path) {
    let db = Db::open(store, Options::new()).expect("a restored store");
    let mut problems: Vec<Problem> = db.check().expect("it can be checked").problems;
    problems.retain(|problem| !is_accepted(problem));
    assert_eq!(problems, vec![]);
    db.close();
}

/// A snapshot may have users with roles that do not exist, and keys with leases that do not exist.
/// etcd restores such a snapshot too, and neither has an effect.
fn is_accepted(problem: &Problem) -> bool {
    let names_missing_lease = problem.invariant == "I11"
        && problem.message.starts_with("it is attached to lease ")
        && problem.message.ends_with("which does not exist");
    problem.invariant == "I14" || names_missing_lease
}

/// A new directory in shared memory, where flushes take no time. It is removed with its files.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let shared = Path::new("/dev/shm");
        let parent = match shared.is_dir() {
            true => shared.to_path_buf(),
            false => std::env::temp_dir(),
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("libkv-fuzz-{}-{number}", std::process::id()));
        fs::create_dir(&dir).expect("a directory");
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // it may run in a panic: a second one would end the process
        let _ = fs::remove_dir_all(&self.0);
    }
}
