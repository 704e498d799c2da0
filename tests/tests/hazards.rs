//! What other programs, other processes and other people do to a store's files: each answers its
//! code in words, and leaves the store as it was.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use libkv::{AutoCompaction, Clock, Code, Db, Durability, Error, Options, Put};

fn scratch(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hazard-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    path
}

fn worker(mode: &str, store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.arg(mode).arg(store);
    command
}

/// What a process of its own gets: `ok`, or code and message.
fn attempt(mode: &str, store: &Path) -> String {
    said(worker(mode, store))
}

fn said(mut command: Command) -> String {
    let done = command.stdin(Stdio::null()).output().expect("it starts");
    String::from_utf8_lossy(&done.stdout).trim().to_string()
}

/// A process that has the store open until it is dropped.
struct Holder {
    child: Child,
    _input: ChildStdin,
}

impl Holder {
    fn start(mode: &str, store: &Path) -> Holder {
        let mut child = worker(mode, store).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("it says so");
        assert_eq!(ready.trim(), "ready");
        let input = child.stdin.take().expect("piped");
        Holder { child, _input: input }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn made(name: &str) -> PathBuf {
    let store = scratch(name);
    let db = Db::open(&store, Options::new()).expect("a new store");
    db.put(Put::new("a", "1")).expect("put");
    store
}

fn refused(path: &Path, options: Options, code: Code, words: &str) -> Error {
    let error = Db::open(path, options).expect_err(words);
    assert_eq!(error.code(), code, "{error}");
    assert!(error.message().contains(words), "{words:?} is not in: {error}");
    error
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().display().to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn a_killed_or_closed_holder_leaves_a_store_that_opens() {
    let store = made("left");
    drop(Holder::start("stay", &store));
    assert_eq!(attempt("try", &store), "ok");
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn a_file_that_was_replaced_under_an_open_store_is_busy() {
    for name in ["data.mdb", "lock.mdb"] {
        let store = made("replaced");
        let holder = Holder::start("stay", &store);
        fs::copy(store.join(name), store.join("copy")).expect("copied");
        fs::rename(store.join("copy"), store.join(name)).expect("renamed over it");
        let answer = attempt("try", &store);
        assert!(answer.starts_with("busy ") && answer.contains("was replaced"), "{name}: {answer}");
        assert!(answer.contains(&holder.child.id().to_string()), "the holder is named: {answer}");
        drop(holder);
        assert_eq!(attempt("try", &store), "ok", "once it is closed the store opens");
        fs::remove_dir_all(store).expect("removed");
    }
}

#[test]
fn a_process_that_lost_its_lock_is_named() {
    let store = made("lost");
    let holder = Holder::start("lose-lock", &store);
    let answer = attempt("try", &store);
    let words = format!("process {} lost its lock; restart it", holder.child.id());
    assert!(answer.starts_with("busy ") && answer.contains(&words), "{answer}");
    drop(holder);
    assert_eq!(attempt("try", &store), "ok");
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn another_container_is_busy() {
    let store = made("container");
    let holder = Holder::start("stay", &store);
    let mut inside = Command::new("unshare");
    inside
        .args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"])
        .arg(env!("CARGO_BIN_EXE_worker"))
        .arg("try")
        .arg(&store);
    let answer = said(inside);
    drop(holder);
    if answer.is_empty() {
        println!("not run: another container on one store (unshare is not allowed here)");
    } else {
        assert!(answer.starts_with("busy ") && answer.contains("open in another container; use kv serve"), "{answer}");
    }
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn a_read_only_medium_is_read_and_not_written() {
    let store = made("medium");
    let inside = |mode: &str| {
        let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && exec \"$2\" \"$3\" \"$1\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(&store).arg(env!("CARGO_BIN_EXE_worker")).arg(mode);
        said(command)
    };
    let answer = inside("try-reading");
    if answer.is_empty() {
        println!("not run: a store on a read-only medium (mounting is not allowed here)");
    } else {
        // it was opened and read: what is refused is the put after it
        assert!(answer.starts_with("read_only ") && !answer.contains("Read-only file system"), "{answer}");
        assert!(inside("try").starts_with("read_only "), "without read_only it says so: {}", inside("try"));
    }
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn a_spawned_child_has_none_of_the_stores_files() {
    let store = made("spawned");
    let db = Db::open(&store, Options::new()).expect("open");
    let done = Command::new("ls").args(["-l", "/proc/self/fd"]).output().expect("ls");
    let listed = String::from_utf8_lossy(&done.stdout);
    assert!(listed.contains("0 ->") && !listed.contains("hazard-spawned"), "{listed}");
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn a_clock_in_hand_holds_the_store_alone() {
    let store = made("clock");
    let holder = Holder::start("stay", &store);
    refused(
        &store,
        Options::new().clock(Clock::new(0)).busy_timeout_ms(10),
        Code::Busy,
        "a clock in hand needs it alone",
    );
    drop(holder);
    let clock = Clock::new(5);
    let db = Db::open(&store, Options::new().clock(clock.clone())).expect("alone");
    assert!(attempt("try", &store).starts_with("busy "), "others wait");
    // in one process handles share the environment, and so the clock
    let again = Db::open(&store, Options::new().clock(clock)).expect("the same clock");
    refused(&store, Options::new().clock(Clock::new(5)), Code::InvalidArgument, "clock");
    drop((db, again));
    assert_eq!(attempt("try", &store), "ok");
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn options_of_the_environment_must_agree() {
    let store = made("agree");
    let db = Db::open(&store, Options::new().max_readers(200)).expect("open");
    Db::open(&store, Options::new().max_readers(200)).expect("the same");
    let error = refused(&store, Options::new().max_readers(100), Code::InvalidArgument, "max_readers");
    assert!(error.message().contains("200") && error.message().contains("100"), "both are named: {error}");
    refused(&store, Options::new().mode(0o640), Code::InvalidArgument, "mode");
    refused(&store, Options::new().allow_network_fs(true), Code::InvalidArgument, "allow_network_fs");
    refused(&store, Options::new().durability(Durability::None), Code::InvalidArgument, "durability none");
    refused(&store, Options::new().max_bytes(1 << 30), Code::Unsupported, "max_bytes");
    refused(
        &store,
        Options::new().auto_compaction(AutoCompaction::Revisions(5)),
        Code::InvalidArgument,
        "auto_compaction",
    );
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn foreign_files_and_folders_are_left_alone() {
    let path = scratch("foreign");
    let none = Options::new;
    refused(&path, none().create(false), Code::NotFound, "has no store");
    refused(&path, none().read_only(true), Code::NotFound, "has no store");
    assert!(!path.exists(), "nothing was made");
    refused(&path.join("below"), none(), Code::NotFound, "below");
    fs::create_dir(&path).expect("a folder");
    fs::write(path.join("notes.txt"), "mine").expect("written");
    refused(&path, none(), Code::NotAStore, "notes.txt");
    refused(&path.join("notes.txt"), none(), Code::NotAStore, "is a file");
    assert_eq!(names(&path), ["notes.txt"]);
    fs::remove_file(path.join("notes.txt")).expect("removed");

    let data = path.join("data.mdb");
    let mut bbolt = vec![0; 8192];
    bbolt[16..20].copy_from_slice(&0xED0C_DAEDu32.to_le_bytes());
    for (bytes, words) in
        [(bbolt, "bbolt"), (b"hello".to_vec(), "no store"), (vec![0xff; 9000], "no store"), (vec![0; 4096], "no store")]
    {
        fs::write(&data, &bytes).expect("written");
        refused(&path, none(), Code::NotAStore, words);
        assert_eq!(names(&path), ["data.mdb"], "nothing was added");
        assert_eq!(fs::read(&data).expect("read"), bytes, "and nothing changed");
    }
    fs::remove_dir_all(path).expect("removed");
}

#[test]
fn a_plain_lmdb_environment_and_another_page_size_are_named() {
    let store = made("plain");
    let data = store.join("data.mdb");
    let whole = fs::read(&data).expect("a store");
    let other = scratch("plain-other");
    fs::create_dir(&other).expect("a folder");
    // a store whose tree of its own facts has another name is what any LMDB file looks like to us
    let plain = replaced(&whole, b"meta", b"beta");
    fs::write(other.join("data.mdb"), &plain).expect("written");
    refused(&other, Options::new(), Code::NotAStore, "LMDB file without the trees of a store");
    assert_eq!(names(&other), ["data.mdb"]);
    // the page size stands in the first tree's record of both meta pages
    let mut large = whole;
    for page in [0, 4096] {
        large[page + 40..page + 44].copy_from_slice(&16_384u32.to_le_bytes());
    }
    fs::write(other.join("data.mdb"), &large).expect("written");
    refused(&other, Options::new(), Code::Incompatible, "16384");
    fs::remove_dir_all(other).expect("removed");
    fs::remove_dir_all(store).expect("removed");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for at in 0..out.len() - from.len() {
        if out[at..].starts_with(from) {
            out[at..at + from.len()].copy_from_slice(to);
        }
    }
    out
}

#[test]
fn no_permission_names_the_file() {
    // where everybody may go, with a copy of the worker that everybody may run
    let folder = std::env::temp_dir().join(format!("libkv-permission-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("a folder");
    let (store, program) = (folder.join("store"), folder.join("worker"));
    fs::copy(env!("CARGO_BIN_EXE_worker"), &program).expect("copied");
    drop(Db::open(&store, Options::new()).expect("a new store"));
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).arg("try").arg(&store);
    let answer = said(nobody);
    if answer.is_empty() {
        println!("not run: no permission (needs root and setpriv)");
    } else {
        assert!(answer.starts_with("permission_denied ") && answer.contains("libkv-permission"), "{answer}");
    }
    fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn addresses_and_urls() {
    refused(Path::new("etcd://127.0.0.1:2379"), Options::new(), Code::Unsupported, "etcd://127.0.0.1:2379");
    refused(Path::new("https://example.org"), Options::new(), Code::Unsupported, "cluster");
    refused(Path::new("file://elsewhere/tmp"), Options::new(), Code::InvalidArgument, "another host");
    refused(Path::new(""), Options::new(), Code::InvalidArgument, "empty");
    let store = made("a url");
    let url = format!("file://{}", store.display()).replace(' ', "%20");
    let db = Db::open(&url, Options::new().create(false)).expect("a URL is a path");
    assert_eq!(db.get("a").expect("get").expect("it is there").value, "1");
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn handles_of_one_process_share_a_store_and_close_in_any_order() {
    let store = made("handles");
    let (a, b) = (Db::open(&store, Options::new()).expect("one"), Db::open(&store, Options::new()).expect("two"));
    let mut scan = a.scan(libkv::Range::new("a")).expect("a scan");
    let snapshot = a.snapshot().expect("a snapshot");
    a.close();
    a.close();
    assert!(a.is_closed() && !b.is_closed());
    assert_eq!(scan.next().expect("an answer").expect_err("closed").code(), Code::Closed);
    assert_eq!(snapshot.get("a").expect_err("closed").code(), Code::Closed);
    assert_eq!(a.put(Put::new("a", "2")).expect_err("closed").code(), Code::Closed);
    assert_eq!(b.get("a").expect("get").expect("it is there").value, "1");
    drop((a, b));
    assert_eq!(attempt("try", &store), "ok");
    fs::remove_dir_all(store).expect("removed");
}
