//! A store that is open in this process: one environment, one guard, shared by all handles.
//!
//! Closing goes under "opening", as [opening](super::opening) does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::background::Background;
use super::commit::{Committer, withdraw_lazy};
use super::guard::Guard;
use super::lmdb::Env;
use super::os;
use super::watch::{Hub, HubOwner};
use crate::error::{Code, Error, Result};
use crate::options::{AutoCompaction, Clock, Follower, Options};

pub(super) const DATA: &str = "data.mdb";
pub(super) const LOCK: &str = "lock.mdb";
pub(super) const GUARD: &str = "guard";

pub(super) const BUSY_TIMEOUT_MS: u64 = 5_000;
const MAX_READERS: u32 = 1_024;
const MODE: u32 = 0o600;
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// One environment of this process. It closes when the last handle lets go of it.
pub(crate) struct Store {
    /// All four are there until it is dropped.
    background: Option<Arc<Background>>,
    commit: Option<Committer>,
    env: Option<Arc<Env>>,
    guard: Option<Arc<Guard>>,
    says: Says,
    /// A handle that may write has been opened: one that may not writes nothing at the end either.
    writable: AtomicBool,
    settings: Settings,
    generation: u64,
    /// Where it stands in the registry; none for `:memory:`.
    key: Option<(u64, u64)>,
}

/// What the data file says of the store, once for all.
pub(super) struct Says {
    /// The store's durability is `none`.
    pub unsynced: bool,
    /// Features that this library may not write beside.
    pub ro_compat: u64,
    pub id: [u8; 16],
}

/// The options that belong to the environment.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub max_readers: u32,
    pub mode: u32,
    pub clock: Clock,
    auto_compaction: Option<AutoCompaction>,
    pub allow_network_fs: bool,
    /// Opened without a way to write: a read-only medium.
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

    /// Whether a later open asks for something else than what this environment has.
    pub fn agree(&self, options: &Options, path: &Path) -> Result<()> {
        let differs = |name: &str, asked: String, has: String| -> Result<()> {
            let message = format!(
                "{} is open in this process with {name} {has}; this open asks for {name} {asked}",
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
                    if clock.is_in_hand() {
                        "another manual clock"
                    } else {
                        "the system's"
                    }
                };
                differs("clock", name(clock).into(), name(&self.clock).into())
            }
            _ => Ok(()),
        }
    }
}

impl Store {
    /// Enters it into the registry, open as it is now.
    pub(super) fn register(
        env: Env,
        guard: Arc<Guard>,
        says: Says,
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
        let commit = Committer::new(env.clone(), guard.clone(), says.unsynced, clock.clone());
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
            says,
            writable: AtomicBool::new(false),
            settings,
            generation: os::fork_generation(),
            key: Some(key),
        });
        registry().insert(key, Arc::downgrade(&store));
        let follower: Weak<dyn Follower> = Arc::<Store>::downgrade(&store);
        clock.follow(follower);
        store
    }

    /// The options that it was opened with.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Features that this library may not write beside.
    pub fn ro_compat(&self) -> u64 {
        self.says.ro_compat
    }

    /// Whether the store's durability is `none`.
    pub fn is_unsynced(&self) -> bool {
        self.says.unsynced
    }

    /// A handle that may write was opened.
    pub fn allow_writes(&self) -> Result<()> {
        self.writable.store(true, Ordering::Relaxed);
        self.background().allow_writes()
    }

    /// The writing side.
    pub fn commit(&self) -> &Committer {
        self.commit.as_ref().expect("only dropping takes it")
    }

    /// Watchers, leases, and what is due.
    pub fn background(&self) -> &Arc<Background> {
        self.background.as_ref().expect("only dropping takes it")
    }

    pub fn env(&self) -> &Arc<Env> {
        self.env.as_ref().expect("only dropping takes it")
    }

    pub fn guard(&self) -> &Arc<Guard> {
        self.guard.as_ref().expect("only dropping takes it")
    }

    /// Whether this is on a read-only medium.
    pub fn is_read_only_medium(&self) -> bool {
        self.settings.read_only_medium
    }

    /// 32 hexadecimal digits that tell this store from every other.
    pub fn store_id(&self) -> String {
        self.says
            .id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Whether somebody removed its files.
    pub fn is_removed(&self) -> bool {
        !self.settings.in_memory && self.env().is_removed()
    }

    /// Bytes that the store's files take on the disk.
    pub fn bytes_on_disk(&self) -> u64 {
        let path = self.env().path();
        [DATA, LOCK, GUARD]
            .iter()
            .filter_map(|name| fs::metadata(path.join(name)).ok())
            .map(|meta| meta.blocks() * 512)
            .sum()
    }
}

/// The stores that are open in this process, by device and inode of their guard. An entry whose
/// store is gone is still closing.
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

impl Follower for Store {
    fn prepare(&self, forward_ms: i64) {
        if self.generation == os::fork_generation() {
            self.background().leases().keep_beyond(forward_ms);
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
            // the parent's: ending its transactions or its map here would reach into the parent
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
            forget(key);
        };
        let Some(worker) = worker else { return end() };
        // what else is queued is answered before the end, by the thread that this is
        let closer = thread::Builder::new()
            .name("libkv-close".into())
            .spawn(move || {
                let _ = worker.join();
                end();
            });
        if closer.is_err() {
            // the locks go with the worker, if not in order
            forget(key);
        }
    }
}

/// Takes a store that is closed out of the registry.
fn forget(key: Option<(u64, u64)>) {
    let Some(key) = key else { return };
    let mut registry = registry();
    // a store that was opened anew in the meantime has an entry that lives
    if registry
        .get(&key)
        .is_some_and(|entry| entry.strong_count() == 0)
    {
        registry.remove(&key);
    }
}

/// Closes under "opening", or without it if it is not to be had in time; then somebody may be opening
/// right now and rely on what stands in the store. `writable`: it may be written to.
fn close(env: Arc<Env>, guard: Arc<Guard>, writable: bool, deadline: Instant) {
    let Ok(mut guard) = Arc::try_unwrap(guard) else {
        return;
    };
    let mut opening = guard.try_opening();
    while matches!(opening, Ok(false)) && Instant::now() < deadline {
        thread::sleep(LOOK_AGAIN);
        opening = guard.try_opening();
    }
    // after a failed sync nothing is written: the note stays, and costs at most a gap
    let may_write = writable && guard.has_page() && !guard.is_poisoned();
    if matches!(opening, Ok(true)) && may_write && !guard.is_shared().unwrap_or(true) {
        let lock = guard.lock_writer(Some(deadline), None);
        if lock.is_ok() {
            // what cannot be withdrawn costs the next opener a gap in its revisions
            let _ = withdraw_lazy(&env, guard.boot_id());
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
    use crate::embedded::opening::open;
    use crate::request::{Durability, Put};

    const CHILD: &str = "LIBKV_TEST_STORE";

    fn options() -> Options {
        Options::new().max_readers(2)
    }

    /// What the other process of the test does: opens the store, drops LMDB's lock when told to,
    /// and stays.
    fn other_process(path: &str) {
        let store = open(Path::new(path), &options()).expect("opened");
        let mut line = String::new();
        for _ in 0..2 {
            println!("ready");
            io::stdin().read_line(&mut line).expect("told");
            drop(fs::File::open(store.env().path().join(LOCK)).expect("opened and closed"));
        }
    }

    fn wait_ready(said: &mut BufReader<ChildStdout>) {
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert_ne!(
                said.read_line(&mut line).expect("said"),
                0,
                "the other process ended"
            );
        }
    }

    fn start(path: &Path) -> Child {
        Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "embedded::store::tests::no_reader_check_while_a_process_has_lost_its_lock",
                "--nocapture",
            ])
            .env(CHILD, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started")
    }

    /// After a failed sync what the disk holds is unknown: closing must not write either.
    #[test]
    fn closing_a_poisoned_store_writes_nothing() {
        let path = std::env::temp_dir().join(format!("libkv-poisoned-{}", std::process::id()));
        for poisoned in [true, false] {
            let store = open(&path, &options()).expect("opened");
            store.allow_writes().expect("allowed");
            let terms = super::super::commit::Terms::own(Durability::Lazy, None);
            // the first lazy write notes the boot in the store, which closing takes back
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

    /// A process whose LMDB lock was lost still reads: to free its slot would hand the pages that
    /// it reads to a writer.
    #[test]
    fn no_reader_check_while_a_process_has_lost_its_lock() {
        if let Ok(path) = std::env::var(CHILD) {
            return other_process(&path);
        }
        let path = std::env::temp_dir().join(format!("libkv-lost-{}", std::process::id()));
        let store = open(&path, &options()).expect("made");
        let _ours = store.env().read().expect("one of two slots");
        let mut other = start(&path);
        let mut said = BufReader::new(other.stdout.take().expect("piped"));
        wait_ready(&mut said);
        let words = |store: &Store| {
            store
                .env()
                .read()
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default()
        };
        assert!(
            words(&store).contains("all 2 slots for readers are taken"),
            "{}",
            words(&store)
        );

        writeln!(other.stdin.as_mut().expect("piped"), "lose it").expect("told");
        wait_ready(&mut said);
        let lost = format!("process {} lost its lock; restart it", other.id());
        assert!(words(&store).contains(&lost), "{}", words(&store));

        other.kill().expect("killed");
        other.wait().expect("gone");
        assert_eq!(words(&store), "", "the slot of the dead is free");
        fs::remove_dir_all(path).expect("removed");
    }
}
