//! Interference of other programs with the files of a store: each case returns a clear error and
//! leaves the store unchanged.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use libkv::{AutoCompaction, Clock, Code, Db, Durability, Error, Options, Put};
use libkv_test_support::deadline::deadline;
use libkv_test_support::scratch;

fn worker(mode: &str, store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.arg(mode).arg(store);
    command
}

/// The result of an attempt in another process: `ok`, or code and message.
fn attempt(mode: &str, store: &Path) -> String {
    output_of(worker(mode, store))
}

fn output_of(mut command: Command) -> String {
    let done = command.stdin(Stdio::null()).output().expect("started");
    String::from_utf8_lossy(&done.stdout).trim().to_string()
}

/// A process that has the store open until it is dropped.
struct Holder {
    child: Child,
    _input: ChildStdin,
}

impl Holder {
    fn start(mode: &str, store: &Path) -> Holder {
        let mut child = worker(mode, store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut ready)
            .expect("a line of the process");
        assert_eq!(ready.trim(), "ready");
        let input = child.stdin.take().expect("piped");
        Holder {
            child,
            _input: input,
        }
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
    assert!(
        error.message().contains(words),
        "{words:?} is not in: {error}"
    );
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
fn open_after_a_holder_was_killed_or_closed() {
    let _deadline = deadline();
    let store = made("left");
    drop(Holder::start("stay", &store));
    assert_eq!(attempt("try", &store), "ok");
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn open_is_busy_after_a_file_was_replaced_under_an_open_store() {
    let _deadline = deadline();
    for name in ["data.mdb", "lock.mdb"] {
        let store = made("replaced");
        let holder = Holder::start("stay", &store);
        fs::copy(store.join(name), store.join("copy")).expect("copied");
        fs::rename(store.join("copy"), store.join(name)).expect("renamed over it");
        let response = attempt("try", &store);
        assert!(
            response.starts_with("busy ") && response.contains("was replaced"),
            "{name}: {response}"
        );
        assert!(
            response.contains(&holder.child.id().to_string()),
            "the message has the process of the holder: {response}"
        );
        drop(holder);
        assert_eq!(
            attempt("try", &store),
            "ok",
            "the store opens after the holder has closed it"
        );
        fs::remove_dir_all(store).expect("removed");
    }
}

#[test]
fn open_names_the_process_that_lost_its_lock() {
    let _deadline = deadline();
    let store = made("lost");
    let holder = Holder::start("lose-lock", &store);
    let response = attempt("try", &store);
    let words = format!("process {} lost its lock; restart it", holder.child.id());
    assert!(
        response.starts_with("busy ") && response.contains(&words),
        "{response}"
    );
    drop(holder);
    assert_eq!(attempt("try", &store), "ok");
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn open_is_busy_in_another_container() {
    let _deadline = deadline();
    let store = made("container");
    let holder = Holder::start("stay", &store);
    let mut inside = Command::new("unshare");
    inside
        .args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--mount-proc",
        ])
        .arg(env!("CARGO_BIN_EXE_worker"))
        .arg("try")
        .arg(&store);
    let response = output_of(inside);
    drop(holder);
    if response.is_empty() {
        println!("not run: another container on one store (unshare is not allowed here)");
    } else {
        assert!(
            response.starts_with("busy ")
                && response.contains("open in another container; use kv serve"),
            "{response}"
        );
    }
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn read_only_medium_is_read_and_not_written() {
    let _deadline = deadline();
    let store = made("medium");
    let inside = |mode: &str| {
        let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && exec \"$2\" \"$3\" \"$1\"";
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command
            .arg(&store)
            .arg(env!("CARGO_BIN_EXE_worker"))
            .arg(mode);
        output_of(command)
    };
    let response = inside("try-reading");
    if response.is_empty() {
        println!("not run: a store on a read-only medium (mounting is not allowed here)");
    } else {
        // opening and reading succeed; only the put is refused
        assert!(
            response.starts_with("read_only ") && !response.contains("Read-only file system"),
            "{response}"
        );
        assert!(
            inside("try").starts_with("read_only "),
            "without read_only the message is clear: {}",
            inside("try")
        );
    }
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn spawned_child_inherits_no_file_of_the_store() {
    let _deadline = deadline();
    let store = made("spawned");
    let db = Db::open(&store, Options::new()).expect("open");
    let done = Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .output()
        .expect("ls");
    let listed = String::from_utf8_lossy(&done.stdout);
    assert!(
        listed.contains("0 ->") && !listed.contains("hazard-spawned"),
        "{listed}"
    );
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn manual_clock_excludes_other_processes() {
    let _deadline = deadline();
    let store = made("clock");
    let holder = Holder::start("stay", &store);
    refused(
        &store,
        Options::new().clock(Clock::new(0)).busy_timeout_ms(10),
        Code::Busy,
        "a manual clock needs exclusive use",
    );
    drop(holder);
    let clock = Clock::new(5);
    let db = Db::open(&store, Options::new().clock(clock.clone())).expect("alone");
    assert!(
        attempt("try", &store).starts_with("busy "),
        "another process waits"
    );
    // the handles of a process share the environment, and so the clock
    let again = Db::open(&store, Options::new().clock(clock)).expect("the same clock");
    refused(
        &store,
        Options::new().clock(Clock::new(5)),
        Code::InvalidArgument,
        "clock",
    );
    drop((db, again));
    assert_eq!(attempt("try", &store), "ok");
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn environment_options_must_agree() {
    let _deadline = deadline();
    let store = made("agree");
    let db = Db::open(&store, Options::new().max_readers(200)).expect("open");
    Db::open(&store, Options::new().max_readers(200)).expect("the same");
    let error = refused(
        &store,
        Options::new().max_readers(100),
        Code::InvalidArgument,
        "max_readers",
    );
    assert!(
        error.message().contains("200") && error.message().contains("100"),
        "the message has both values: {error}"
    );
    refused(
        &store,
        Options::new().mode(0o640),
        Code::InvalidArgument,
        "mode",
    );
    refused(
        &store,
        Options::new().allow_network_fs(true),
        Code::InvalidArgument,
        "allow_network_fs",
    );
    refused(
        &store,
        Options::new().durability(Durability::None),
        Code::InvalidArgument,
        "durability none",
    );
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
fn foreign_files_and_folders_are_not_changed() {
    let _deadline = deadline();
    let path = scratch("foreign");
    let none = Options::new;
    refused(&path, none().create(false), Code::NotFound, "has no store");
    refused(
        &path,
        none().read_only(true),
        Code::NotFound,
        "has no store",
    );
    assert!(!path.exists(), "nothing was created");
    refused(&path.join("below"), none(), Code::NotFound, "below");
    fs::create_dir(&path).expect("a folder");
    fs::write(path.join("notes.txt"), "mine").expect("written");
    refused(&path, none(), Code::NotAStore, "notes.txt");
    refused(
        &path.join("notes.txt"),
        none(),
        Code::NotAStore,
        "is a file",
    );
    assert_eq!(names(&path), ["notes.txt"]);
    fs::remove_file(path.join("notes.txt")).expect("removed");

    let data = path.join("data.mdb");
    let mut bbolt = vec![0; 8192];
    bbolt[16..20].copy_from_slice(&0xED0C_DAEDu32.to_le_bytes());
    for (bytes, words) in [
        (bbolt, "bbolt"),
        (b"hello".to_vec(), "is not a store"),
        (vec![0xff; 9000], "is not a store"),
        (vec![0; 4096], "is not a store"),
    ] {
        fs::write(&data, &bytes).expect("written");
        refused(&path, none(), Code::NotAStore, words);
        assert_eq!(names(&path), ["data.mdb"], "nothing was added");
        assert_eq!(
            fs::read(&data).expect("read"),
            bytes,
            "the file is unchanged"
        );
    }
    fs::remove_dir_all(path).expect("removed");
}

#[test]
fn plain_lmdb_environment_and_other_page_size_are_named() {
    let _deadline = deadline();
    let store = made("plain");
    let data = store.join("data.mdb");
    let whole = fs::read(&data).expect("a store");
    let other = scratch("plain-other");
    fs::create_dir(&other).expect("a folder");
    // a store whose tree `meta` has another name looks like any LMDB file
    let plain = replaced(&whole, b"meta", b"beta");
    fs::write(other.join("data.mdb"), &plain).expect("written");
    refused(
        &other,
        Options::new(),
        Code::NotAStore,
        "LMDB file without the trees of a store",
    );
    assert_eq!(names(&other), ["data.mdb"]);
    // the page size is stored in the first tree's record of both meta pages
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

/// Each error of permission names the file, or the directory, and the right that is missing.
#[test]
fn permission_error_names_the_file_and_the_right() {
    let _deadline = deadline();
    use std::os::unix::fs::PermissionsExt;
    // a folder for all users, with a copy of the worker that all users may run
    let folder = std::env::temp_dir().join(format!("libkv-permission-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("a folder");
    let (store, program) = (folder.join("store"), folder.join("worker"));
    fs::copy(env!("CARGO_BIN_EXE_worker"), &program).expect("copied");
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed")
    };
    set(&folder, 0o755);
    let attempt = |mode: &str| {
        let mut other_user = Command::new("setpriv");
        other_user
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .arg(mode)
            .arg(&store);
        output_of(other_user)
    };
    // the file whose permissions are not 666 (the directory: 777), and the expected error
    let cases = [
        ("guard", 0o000, "store/guard", "no permission to read it"),
        ("guard", 0o444, "store/guard", "no permission to write it"),
        (
            "lock.mdb",
            0o222,
            "store/lock.mdb",
            "no permission to read it",
        ),
        (
            "lock.mdb",
            0o444,
            "store/lock.mdb",
            "no permission to write it",
        ),
        (
            "data.mdb",
            0o222,
            "store/data.mdb",
            "no permission to read it",
        ),
        (
            "data.mdb",
            0o444,
            "store/data.mdb",
            "no permission to write it",
        ),
        ("", 0o666, "store/data.mdb", "no permission to search STORE"),
        (
            "",
            0o555,
            "store/guard",
            "no permission to write the directory STORE",
        ),
    ];
    for (name, mode, file, right) in cases {
        for how in ["try", "try-reading"] {
            drop(Db::open(&store, Options::new()).expect("a new store"));
            set(&store, 0o777);
            for file in names(&store) {
                set(&store.join(file), 0o666);
            }
            if mode == 0o555 {
                fs::remove_file(store.join("guard")).expect("removed");
            }
            set(&store.join(name), mode);
            let response = attempt(how);
            if response.is_empty() {
                println!("not run: no permission (needs root and setpriv)");
                fs::remove_dir_all(folder).expect("removed");
                return;
            }
            let right = right.replace("STORE", &store.display().to_string());
            let named = response.starts_with("permission_denied ")
                && response.contains(file)
                && response.ends_with(&right);
            assert!(named, "{name} {mode:o} {how}: {response}");
            assert_eq!(
                response.contains("read_only"),
                how == "try-reading",
                "{name} {mode:o} {how}: {response}"
            );
            fs::remove_dir_all(&store).expect("removed");
        }
    }
    // a store that may not be created
    set(&folder, 0o755);
    let response = attempt("try");
    let right = format!("no permission to write the directory {}", folder.display());
    assert!(
        response.starts_with("permission_denied ") && response.ends_with(&right),
        "{response}"
    );
    fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn address_and_url_forms() {
    let _deadline = deadline();
    refused(
        Path::new("etcd://127.0.0.1:2379"),
        Options::new(),
        Code::Unsupported,
        "etcd://127.0.0.1:2379",
    );
    refused(
        Path::new("https://example.org"),
        Options::new(),
        Code::Unsupported,
        "cluster",
    );
    refused(
        Path::new("file://elsewhere/tmp"),
        Options::new(),
        Code::InvalidArgument,
        "another host",
    );
    refused(
        Path::new(""),
        Options::new(),
        Code::InvalidArgument,
        "empty",
    );
    let store = made("a url");
    let url = format!("file://{}", store.display()).replace(' ', "%20");
    let db = Db::open(&url, Options::new().create(false)).expect("a URL is a path");
    assert_eq!(
        db.get("a").expect("get").expect("the key exists").value,
        "1"
    );
    drop(db);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn handles_of_one_process_share_a_store() {
    let _deadline = deadline();
    let store = made("handles");
    let (a, b) = (
        Db::open(&store, Options::new()).expect("one"),
        Db::open(&store, Options::new()).expect("two"),
    );
    let mut scan = a.scan(libkv::Range::new("a")).expect("a scan");
    let snapshot = a.snapshot().expect("a snapshot");
    a.close();
    a.close();
    assert!(a.is_closed() && !b.is_closed());
    assert_eq!(
        scan.next().expect("an item").expect_err("closed").code(),
        Code::Closed
    );
    assert_eq!(snapshot.get("a").expect_err("closed").code(), Code::Closed);
    assert_eq!(
        a.put(Put::new("a", "2")).expect_err("closed").code(),
        Code::Closed
    );
    assert_eq!(b.get("a").expect("get").expect("the key exists").value, "1");
    drop((a, b));
    assert_eq!(attempt("try", &store), "ok");
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn foreign_file_with_a_name_of_ours_is_not_changed() {
    let _deadline = deadline();
    let path = scratch("named");
    fs::create_dir(&path).expect("a folder");
    let guard = path.join("guard");
    // beside another file, and alone but with foreign content
    for (other, bytes) in [
        (Some("notes.txt"), b"" as &[u8]),
        (Some("notes.txt"), b"mine"),
        (None, b"mine"),
    ] {
        fs::write(&guard, bytes).expect("written");
        if let Some(other) = other {
            fs::write(path.join(other), "mine").expect("written");
        }
        let before = names(&path);
        refused(
            &path,
            Options::new(),
            Code::NotAStore,
            other.unwrap_or("guard"),
        );
        assert_eq!(names(&path), before, "nothing was added");
        assert_eq!(
            fs::read(&guard).expect("read"),
            bytes,
            "the file is unchanged"
        );
        let _ = fs::remove_file(path.join("notes.txt"));
    }
    fs::remove_dir_all(path).expect("removed");
}

/// A former version took a store with an empty data file for a new one. It opened as an empty
/// store, and the first write made the loss permanent.
#[test]
fn emptied_data_file_is_damage_and_not_a_new_store() {
    let _deadline = deadline();
    let store = made("emptied");
    let data = store.join("data.mdb");
    fs::File::options()
        .write(true)
        .open(&data)
        .and_then(|file| file.set_len(0))
        .expect("cut");
    let error = Db::open(&store, Options::new()).expect_err("damaged");
    assert_eq!(error.code(), Code::Corrupt, "{error}");
    assert!(error.message().contains("data.mdb"), "{error}");
    assert_eq!(fs::metadata(&data).expect("the key exists").len(), 0);
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn pipe_in_place_of_the_data_file_is_refused_at_once() {
    let _deadline = deadline();
    let path = scratch("pipe");
    fs::create_dir(&path).expect("a folder");
    assert!(
        Command::new("mkfifo")
            .arg(path.join("data.mdb"))
            .status()
            .expect("mkfifo")
            .success()
    );
    let mut opening = worker("try", &path)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("started");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while opening.try_wait().expect("wait").is_none() {
        if std::time::Instant::now() > until {
            opening.kill().expect("killed");
            panic!("the process waits for a writer of the pipe");
        }
        std::thread::yield_now();
    }
    let mut response = String::new();
    BufReader::new(opening.stdout.take().expect("piped"))
        .read_line(&mut response)
        .expect("read");
    assert!(response.starts_with("not_a_store "), "{response}");
    fs::remove_dir_all(path).expect("removed");
}

/// A data file whose tree `meta` has a cycle: every entry of a branch page points to that page.
fn circular(whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let page_of = |bytes: &[u8], number: usize| bytes[number * 4096..(number + 1) * 4096].to_vec();
    let number = (2..bytes.len() / 4096)
        .rev()
        .find(|&number| {
            let page = page_of(&bytes, number);
            page[10] == 2 && page.windows(9).any(|window| window == b"ro_compat")
        })
        .expect("the page of meta");
    let mut page = vec![0; 4096];
    page[..8].copy_from_slice(&(number as u64).to_le_bytes());
    page[10] = 1;
    let entries = 200;
    for entry in 0..entries {
        let at = 4096 - (entry + 1) * 16;
        page[16 + entry * 2..18 + entry * 2].copy_from_slice(&(at as u16).to_le_bytes());
        page[at..at + 2].copy_from_slice(&(number as u16).to_le_bytes());
    }
    page[12..14].copy_from_slice(&(16 + 2 * entries as u16).to_le_bytes());
    page[14..16].copy_from_slice(&(4096 - 16 * entries as u16).to_le_bytes());
    bytes[number * 4096..(number + 1) * 4096].copy_from_slice(&page);
    bytes
}

#[test]
fn damaged_file_with_a_page_cycle_is_refused() {
    let _deadline = deadline();
    let store = made("circles");
    let bytes = circular(&fs::read(store.join("data.mdb")).expect("a store"));
    let other = scratch("circles-other");
    fs::create_dir(&other).expect("a folder");
    fs::write(other.join("data.mdb"), bytes).expect("written");
    refused(
        &other,
        Options::new(),
        Code::NotAStore,
        "LMDB file without the trees of a store",
    );
    fs::remove_dir_all(other).expect("removed");
    fs::remove_dir_all(store).expect("removed");
}

/// Sets an unknown bit of `ro_compat` in the data of `store`: it may be read but not written.
fn with_unknown_features(store: &Path) {
    let data = store.join("data.mdb");
    let mut bytes = fs::read(&data).expect("a store");
    let name = b"ro_compat";
    let places: Vec<usize> = (0..bytes.len() - name.len())
        .filter(|&at| bytes[at..].starts_with(name))
        .map(|at| at + name.len())
        .collect();
    assert!(!places.is_empty());
    for at in places {
        assert_eq!(bytes[at..at + 8], [0; 8], "the value follows its name");
        bytes[at] = 4;
    }
    fs::write(data, bytes).expect("written");
}

#[test]
fn unknown_features_are_read_and_not_written() {
    let _deadline = deadline();
    let store = made("features");
    // a killed writer leaves the record of lazy commits, which the last process to close removes
    drop(Holder::start("stay-lazy", &store));
    with_unknown_features(&store);
    refused(
        &store,
        Options::new(),
        Code::Incompatible,
        "can read but not write",
    );
    let before = fs::read(store.join("data.mdb")).expect("read");
    let reading = Db::open(&store, Options::new().read_only(true)).expect("opened for reading");
    assert_eq!(
        reading
            .get("a")
            .expect("get")
            .expect("the key exists")
            .value,
        "1"
    );
    refused(
        &store,
        Options::new(),
        Code::Incompatible,
        "can read but not write",
    );
    drop(reading);
    assert!(
        fs::read(store.join("data.mdb")).expect("read") == before,
        "the data file is unchanged after reading"
    );
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn containers_with_the_same_pid_are_distinguished() {
    let _deadline = deadline();
    let store = made("containers");
    let inside = |mode: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ]);
        command
            .arg(env!("CARGO_BIN_EXE_worker"))
            .arg(mode)
            .arg(&store);
        command
    };
    let mut holder = inside("stay")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut ready = String::new();
    BufReader::new(holder.stdout.take().expect("piped"))
        .read_line(&mut ready)
        .expect("a line of the process");
    if ready.trim() == "ready" {
        let response = output_of(inside("try"));
        assert!(
            response.starts_with("busy ")
                && response.contains("open in another container; use kv serve"),
            "{response}"
        );
    } else {
        println!("not run: two containers on one store (unshare is not allowed here)");
    }
    holder.kill().expect("killed");
    holder.wait().expect("gone");
    fs::remove_dir_all(store).expect("removed");
}

#[test]
fn invalid_urls_and_paths_that_are_not_utf8() {
    let _deadline = deadline();
    use std::os::unix::ffi::OsStrExt;
    for url in [
        "file:",
        "file:///tmp/%",
        "file:///tmp/%4",
        "file:///tmp/%+f",
        "file:///tmp/%zz",
        "file:///tmp/%00",
    ] {
        refused(
            Path::new(url),
            Options::new().create(false),
            Code::InvalidArgument,
            url,
        );
    }
    let zero = std::ffi::OsStr::from_bytes(b"/tmp/\xff\0");
    refused(
        Path::new(zero),
        Options::new().create(false),
        Code::InvalidArgument,
        "zero byte",
    );
    // a typing error in the address of a cluster must not create a directory of that name
    refused(
        Path::new("htp://host:2379"),
        Options::new(),
        Code::InvalidArgument,
        "htp:// is not the address of",
    );
    for cluster in ["etcd://host", "unix:///run/etcd.sock", "unix:etcd.sock"] {
        refused(
            Path::new(cluster),
            Options::new(),
            Code::Unsupported,
            "a cluster's address",
        );
    }
    // a path may have bytes that are not text, in a URL too
    let mut path = scratch("bytes").into_os_string();
    path.push(std::ffi::OsStr::from_bytes(b"-\xff"));
    let path = PathBuf::from(path);
    let _ = fs::remove_dir_all(&path);
    drop(Db::open(&path, Options::new()).expect("a new store"));
    let url = format!("file://localhost{}%FF", scratch("bytes").display())
        .replace("bytes-", "bytes-")
        .replace("%FF", "-%FF");
    drop(Db::open(&url, Options::new().create(false)).expect("the same store"));
    let mut raw = std::ffi::OsString::from("file:");
    raw.push(&path);
    drop(Db::open(&raw, Options::new().create(false)).expect("the same store"));
    fs::remove_dir_all(path).expect("removed");
}

#[test]
fn full_disk_refuses_writes_and_loses_nothing() {
    let _deadline = deadline();
    let place = scratch("full");
    fs::create_dir(&place).expect("a folder");
    let (mut at_open, mut at_a_put) = (0, 0);
    for kb in (4..240).step_by(4).chain([1_000]) {
        let script = "mount -t tmpfs -o size=\"$1\"k none \"$2\" && exec \"$3\" fill \"$2\"/store";
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            &kb.to_string(),
        ]);
        command.arg(&place).arg(env!("CARGO_BIN_EXE_worker"));
        let response = output_of(command);
        let lines: Vec<&str> = response.lines().collect();
        match lines[..] {
            [] => {
                println!("not run: a full disk (mounting is not allowed here)");
                break;
            }
            [opened, again] => {
                assert!(
                    opened.starts_with("full ") && again.starts_with("full "),
                    "{kb} kB: {response}"
                );
                at_open += 1;
            }
            [before, refused, after] => {
                let count = before.split(' ').next().expect("a number");
                assert_eq!(
                    before,
                    format!("{count} acknowledged, {count} there"),
                    "{kb} kB"
                );
                assert_eq!(
                    after,
                    format!("{count} after opening again, 0 problems"),
                    "{kb} kB"
                );
                assert!(refused.starts_with("full "), "{kb} kB: {response}");
                at_a_put += 1;
            }
            _ => panic!("{kb} kB: {response}"),
        }
    }
    assert_eq!(
        at_open == 0,
        at_a_put == 0,
        "{at_open} full at open, {at_a_put} at a put"
    );
    fs::remove_dir_all(place).expect("removed");
}
