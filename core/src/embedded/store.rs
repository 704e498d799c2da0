//! A store that is open in this process: one environment and one guard, shared by all handles.
//!
//! It is closed under the lock "opening", as it was [opened](super::opening).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::background::Background;
use super::commit::{Committer, remove_lazy_boot};
use super::guard::Guard;
use super::lmdb::Env;
use super::mvcc;
use super::os;
use super::store_meta::StoreMeta;
use super::watch::{Hub, HubOwner};
use crate::auth::AuthStamp;
use crate::error::{Code, Error, Result};
use crate::mutex::lock;
use crate::options::{AutoCompaction, Clock, ClockListener, Options};

pub(super) const DATA: &str = "data.mdb";
/// The name of the data file while it is created: no process opens it.
pub(super) const DATA_NEW: &str = "data.mdb.new";
pub(super) const LOCK: &str = "lock.mdb";
pub(super) const GUARD: &str = "guard";

/// How long a call waits for a lock, unless an option sets another time.
pub(super) const BUSY_TIMEOUT_MS: u64 = 5_000;
const MAX_READERS: u32 = 1_024;
const MODE: u32 = 0o600;
/// The interval between attempts to lock "opening".
pub(super) const LOCK_RETRY: Duration = Duration::from_millis(2);

/// One environment of this process. It is closed when its last handle is dropped.
pub(crate) struct Store {
    /// All four are some until the store is dropped.
    background: Option<Arc<Background>>,
    commit: Option<Committer>,
    env: Option<Arc<Env>>,
    guard: Option<Arc<Guard>>,
    meta: StoreMeta,
    /// A handle that may write was opened. If not, nothing is written when the store is closed.
    writable: AtomicBool,
    settings: Settings,
    /// The state of authentication, and the id of the read transaction that found it.
    auth: Mutex<(u64, AuthStamp)>,
    generation: u64,
    /// Its key in the registry; none for `:memory:`.
    key: Option<(u64, u64)>,
}

/// The options that belong to the environment.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub max_readers: u32,
    pub mode: u32,
    pub clock: Clock,
    auto_compaction: Option<AutoCompaction>,
    pub allow_network_fs: bool,
    /// The store is on a read-only medium.
    pub read_only_medium: bool,
    /// `:memory:`, whose files have no names.
    pub in_memory: bool,
}

impl Settings {
    pub fn new(options: &Options) -> Settings {
        Settings {
            max_readers: options.max_readers.unwrap_or(MAX_READERS),
            mode: options.mode.unwrap_or(MODE),
            clock: options.clock.clone().unwrap_or_default(),
            auto_compaction: options.auto_compaction,
            allow_network_fs: options.allow_network_fs.unwrap_or(false),
            read_only_medium: false,
            in_memory: false,
        }
    }

    /// Refuses an open whose options differ from those of this environment.
    pub fn check_same_options(&self, options: &Options, path: &Path) -> Result<()> {
        let differs = |name: &str, requested: String, has: String| -> Result<()> {
            let message = format!(
                "{} is open in this process with {name} {has}; this open has {name} {requested}",
                path.display()
            );
            Err(Error::new(Code::InvalidArgument, message))
        };
        match options {
            Options {
                max_readers: Some(n),
                ..
            } if *n != self.max_readers => {
                differs("max_readers", n.to_string(), self.max_readers.to_string())
            }
            Options {
                mode: Some(mode), ..
            } if *mode != self.mode => {
                differs("mode", format!("{mode:o}"), format!("{:o}", self.mode))
            }
            Options {
                allow_network_fs: Some(allow),
                ..
            } if *allow != self.allow_network_fs => differs(
                "allow_network_fs",
                allow.to_string(),
                self.allow_network_fs.to_string(),
            ),
            Options {
                auto_compaction: Some(rule),
                ..
            } if Some(*rule) != self.auto_compaction => {
                let has = self
                    .auto_compaction
                    .map_or("off".to_string(), |has| has.to_string());
                differs("auto_compaction", rule.to_string(), has)
            }
            Options {
                clock: Some(clock), ..
            } if !clock.same(&self.clock) => {
                let name = |clock: &Clock| {
                    if clock.is_manual() {
                        "another manual clock"
                    } else {
                        "the system clock"
                    }
                };
                differs("clock", name(clock).into(), name(&self.clock).into())
            }
            _ => Ok(()),
        }
    }
}

impl Store {
    /// Adds an open environment to the registry.
    pub(super) fn register(
        env: Env,
        guard: Arc<Guard>,
        meta: StoreMeta,
        settings: Settings,
        key: (u64, u64),
    ) -> Arc<Store> {
        let present = Arc::downgrade(&guard);
        env.set_lost_lock(Box::new(move || match present.upgrade() {
            Some(guard) => guard.lost_lock(),
            None => Ok(None),
        }));
        let env = Arc::new(env);
        let clock = settings.clock.clone();
        let commit = Committer::new(env.clone(), guard.clone(), meta.unsynced, clock.clone());
        let background = Background::new(
            env.clone(),
            guard.clone(),
            commit.clone(),
            clock.clone(),
            settings.auto_compaction,
        );
        let store = Arc::new(Store {
            background: Some(background),
            commit: Some(commit),
            env: Some(env),
            guard: Some(guard),
            meta,
            writable: AtomicBool::new(false),
            settings,
            auth: Mutex::default(),
            generation: os::fork_generation(),
            key: Some(key),
        });
        registry().insert(key, Arc::downgrade(&store));
        let listener: Weak<dyn ClockListener> = Arc::<Store>::downgrade(&store);
        clock.notify(listener);
        store
    }

    /// The state of authentication. It is read again only after a commit: a server asks for it with
    /// each call.
    pub fn auth_stamp(&self) -> Result<AuthStamp> {
        let newest = self.env().last_txn()?;
        let mut cached = lock(&self.auth);
        if cached.0 != newest || newest == 0 {
            let txn = self.env().read()?;
            // not `newest`: the transaction may be of the commit before
            *cached = (txn.id(), mvcc::bounds(&txn)?.auth);
        }
        Ok(cached.1)
    }

    /// The options with which it was opened.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Features that this library can read but not write.
    pub fn ro_compat(&self) -> u64 {
        self.meta.ro_compat
    }

    /// Whether the store's durability is `none`.
    pub fn is_unsynced(&self) -> bool {
        self.meta.unsynced
    }

    /// Called when a handle that may write is opened.
    pub fn allow_writes(&self) -> Result<()> {
        self.writable.store(true, Ordering::Relaxed);
        self.background().allow_writes()
    }

    /// The writing side.
    pub fn commit(&self) -> &Committer {
        self.commit.as_ref().expect("some until dropped")
    }

    /// Watchers, leases, and the thread for them.
    pub fn background(&self) -> &Arc<Background> {
        self.background.as_ref().expect("some until dropped")
    }

    pub fn env(&self) -> &Arc<Env> {
        self.env.as_ref().expect("some until dropped")
    }

    pub fn guard(&self) -> &Arc<Guard> {
        self.guard.as_ref().expect("some until dropped")
    }

    /// Whether the store is on a read-only medium.
    pub fn is_read_only_medium(&self) -> bool {
        self.settings.read_only_medium
    }

    /// The unique id of the store, as 32 hexadecimal digits.
    pub fn store_id(&self) -> String {
        self.meta
            .id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Whether its files were removed.
    pub fn is_removed(&self) -> bool {
        !self.settings.in_memory && self.env().is_removed()
    }

    /// The bytes that the files of the store use on the disk.
    pub fn bytes_on_disk(&self) -> u64 {
        let path = self.env().path();
        [DATA, LOCK, GUARD]
            .iter()
            .filter_map(|name| fs::metadata(path.join(name)).ok())
            .map(|meta| meta.blocks() * 512)
            .sum()
    }
}

/// The stores that are open in this process, by device and inode of their guard file. An entry
/// without a store belongs to one that is being closed.
pub(super) type Registry = BTreeMap<(u64, u64), Weak<Store>>;

static REGISTRY: os::PerGeneration<Mutex<Registry>> = os::PerGeneration::new();

pub(super) fn registry() -> std::sync::MutexGuard<'static, Registry> {
    REGISTRY
        .get()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl ClockListener for Store {
    fn prepare(&self, forward_ms: i64) {
        if self.generation == os::fork_generation() {
            self.background().leases().renew_beyond(forward_ms);
        }
    }

    fn catch_up(&self) {
        if self.generation == os::fork_generation() {
            self.background().catch_up();
        }
    }
}

impl HubOwner for Store {
    fn env(&self) -> &Env {
        Store::env(self)
    }

    fn hub(&self) -> &Hub {
        self.background().hub()
    }

    fn now_ns(&self) -> u64 {
        self.commit().now_ns()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let (Some(commit), Some(env), Some(guard)) =
            (self.commit.take(), self.env.take(), self.guard.take())
        else {
            return;
        };
        let background = self.background.take();
        if self.generation != os::fork_generation() {
            // they belong to the parent: ending its transactions or its map here would affect it
            std::mem::forget((background, commit, env, guard));
            return;
        }
        if let Some(background) = background {
            background.stop();
        }
        let (worker, key, writable) = (
            commit.stop(),
            self.key,
            self.writable.load(Ordering::Relaxed),
        );
        let end = move || {
            drop(commit);
            close(
                env,
                guard,
                writable,
                Instant::now() + Duration::from_millis(BUSY_TIMEOUT_MS),
            );
            unregister(key);
        };
        let Some(worker) = worker else { return end() };
        // this is the worker itself: it first completes what is queued, so another thread must wait
        let closer = thread::Builder::new()
            .name("libkv-close".into())
            .spawn(move || {
                let _ = worker.join();
                end();
            });
        if closer.is_err() {
            // the locks end with the process
            unregister(key);
        }
    }
}

/// Removes a closed store from the registry.
fn unregister(key: Option<(u64, u64)>) {
    let Some(key) = key else { return };
    let mut registry = registry();
    // a store that was opened again meanwhile has a live entry
    if registry
        .get(&key)
        .is_some_and(|entry| entry.strong_count() == 0)
    {
        registry.remove(&key);
    }
}

/// Closes a store under "opening". If that cannot be locked in time, it closes without it and
/// writes nothing: another process may be opening the store. `writable`: it may be written to.
fn close(env: Arc<Env>, guard: Arc<Guard>, writable: bool, deadline: Instant) {
    let Ok(mut guard) = Arc::try_unwrap(guard) else {
        return;
    };
    let mut opening = guard.try_opening();
    while matches!(opening, Ok(false)) && Instant::now() < deadline {
        thread::sleep(LOCK_RETRY);
        opening = guard.try_opening();
    }
    // after a failed sync nothing is written: the record of the boot stays and costs at most a gap
    let may_write = writable && guard.has_page() && !guard.is_poisoned();
    if matches!(opening, Ok(true)) && may_write && !guard.is_shared().unwrap_or(true) {
        let lock = guard.lock_writer(Some(deadline), None);
        if lock.is_ok() {
            // a record that is not withdrawn costs a gap of revisions at the next opening
            let _ = remove_lazy_boot(&env, guard.boot_id());
        }
    }
    drop(env);
    drop(guard);
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use std::io;

    use super::*;
    use crate::embedded::commit::Terms;
    use crate::embedded::opening::open;
    use crate::request::{Durability, Put};

    const CHILD: &str = "LIBKV_TEST_STORE";

    fn options() -> Options {
        Options::new().max_readers(2)
    }

    /// The other process of the test: opens the store, drops LMDB's lock when it reads a line, and
    /// stays.
    fn other_process(path: &str) {
        let store = open(Path::new(path), &options()).expect("opened");
        let mut line = String::new();
        for _ in 0..2 {
            println!("ready");
            io::stdin().read_line(&mut line).expect("a line");
            drop(fs::File::open(store.env().path().join(LOCK)).expect("opened and closed"));
        }
    }

    fn wait_ready(output: &mut BufReader<ChildStdout>) {
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert_ne!(
                output.read_line(&mut line).expect("read"),
                0,
                "the other process ended"
            );
        }
    }

    fn start(path: &Path) -> Child {
        Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "embedded::store::tests::reader_check_is_refused_while_a_process_has_lost_its_lock",
                "--nocapture",
            ])
            .env(CHILD, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started")
    }

    /// After a failed sync the contents of the disk are unknown: closing must not write either.
    #[test]
    fn poisoned_store_is_closed_without_a_write() {
        let path = std::env::temp_dir().join(format!("libkv-poisoned-{}", std::process::id()));
        for poisoned in [true, false] {
            let store = open(&path, &options()).expect("opened");
            store.allow_writes().expect("allowed");
            let terms = Terms::own(Durability::Lazy, None);
            // the first lazy write records the boot in the store, and closing removes the record
            store.commit().run(Put::new("k", "v"), terms).expect("put");
            let data = || fs::read(path.join(DATA)).expect("read");
            let before = data();
            if poisoned {
                store.guard().poison();
            }
            drop(store);
            assert_eq!(data() == before, poisoned, "poisoned: {poisoned}");
        }
        fs::remove_dir_all(path).expect("removed");
    }

    /// A process that has lost LMDB's lock still reads: if its slot were freed, a writer would
    /// reuse the pages that it reads.
    #[test]
    fn reader_check_is_refused_while_a_process_has_lost_its_lock() {
        if let Ok(path) = std::env::var(CHILD) {
            return other_process(&path);
        }
        let path = std::env::temp_dir().join(format!("libkv-lost-{}", std::process::id()));
        let store = open(&path, &options()).expect("created");
        let _ours = store.env().read().expect("one of two slots");
        let mut other = start(&path);
        let mut output = BufReader::new(other.stdout.take().expect("piped"));
        wait_ready(&mut output);
        let refusal = |store: &Store| {
            store
                .env()
                .read()
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default()
        };
        assert!(
            refusal(&store).contains("all 2 slots for readers are taken"),
            "{}",
            refusal(&store)
        );

        writeln!(other.stdin.as_mut().expect("piped"), "drop the lock").expect("a line");
        wait_ready(&mut output);
        let lost = format!("process {} lost its lock; restart it", other.id());
        assert!(refusal(&store).contains(&lost), "{}", refusal(&store));

        other.kill().expect("killed");
        other.wait().expect("ended");
        assert_eq!(refusal(&store), "", "the slot of the ended process is free");
        fs::remove_dir_all(path).expect("removed");
    }
}
