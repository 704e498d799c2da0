//! One opening, attempt by attempt, until it succeeds or fails.
//!
//! The order of an attempt: the registry of this process, the lock "opening", the identity of the
//! files, the bytes of this process, the lock "present", the checks of the target, the data file,
//! the environment.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::create::{create_data, open_lock_file, with_permission};
use super::target::Target;
use crate::embedded::commit::now_ns;
use crate::embedded::guard::Guard;
use crate::embedded::guard::identity::{Identity, KeptState};
use crate::embedded::lease::restore;
use crate::embedded::lmdb::data_file::DataFile;
use crate::embedded::lmdb::{self, Env, EnvOptions};
use crate::embedded::os::{self, failed};
use crate::embedded::store::{
    BUSY_TIMEOUT_MS, DATA, GUARD, LOCK, LOCK_RETRY, Settings, Store, registry,
};
use crate::embedded::store_meta::StoreMeta;
use crate::error::{Code, Error, Result};
use crate::options::Options;
use crate::request::Durability;

/// A refusal that depends on locks and inodes is returned only if it is still valid after this
/// time: a process that ends or spawns another drops its locks one by one.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// The result of an attempt.
enum Attempt {
    Opened(Arc<Store>),
    /// Not possible now: try again until the deadline, then return this error.
    Later(Error),
    /// Refused for a reason that may be temporary: see [`REFUSAL_DELAY`].
    Refused(Error),
}

/// One opening, over all its attempts.
pub(super) struct Opening<'o> {
    target: Target,
    options: &'o Options,
    pub settings: Settings,
    deadline: Option<Instant>,
    /// What an earlier process left in the guard, if this process has initialised it.
    kept_state: Option<KeptState>,
}

impl<'o> Opening<'o> {
    pub fn new(path: PathBuf, options: &'o Options) -> Opening<'o> {
        let read_only = options.read_only.unwrap_or(false);
        let timeout = match options.busy_timeout_ms.unwrap_or(BUSY_TIMEOUT_MS) {
            u64::MAX => None,
            ms => Some(Duration::from_millis(ms)),
        };
        Opening {
            target: Target {
                path,
                create: options.create.unwrap_or(true) && !read_only,
                read_only,
            },
            options,
            settings: Settings::new(options),
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            kept_state: None,
        }
    }

    pub fn run(mut self) -> Result<Arc<Store>> {
        let read_only = self.target.read_only;
        self.try_until_opened().map_err(|error| match error.code() {
            Code::PermissionDenied if read_only => error.context(
                "a read_only handle needs permission to read and to write the files, for its locks",
            ),
            _ => error,
        })
    }

    fn try_until_opened(&mut self) -> Result<Arc<Store>> {
        self.directory()?;
        let mut refused_since = None;
        loop {
            let now = Instant::now();
            match self.attempt()? {
                Attempt::Opened(store) => {
                    if !self.target.read_only {
                        store.allow_writes()?;
                    }
                    return Ok(store);
                }
                Attempt::Later(error) => {
                    if self.deadline.is_some_and(|deadline| now >= deadline) {
                        return Err(error);
                    }
                    refused_since = None;
                }
                Attempt::Refused(error) => {
                    if now.duration_since(*refused_since.get_or_insert(now)) >= REFUSAL_DELAY {
                        return Err(error);
                    }
                }
            }
            thread::sleep(LOCK_RETRY);
        }
    }

    /// Checks the directory and its file system. Creates the directory if it is allowed to.
    fn directory(&self) -> Result<()> {
        match fs::metadata(&self.target.path) {
            Ok(meta) if !meta.is_dir() => {
                let message = format!(
                    "{} is a file; a store is a directory",
                    self.target.path.display()
                );
                return Err(Error::new(Code::NotAStore, message));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.target.create => {
                let mode = self.settings.mode | (self.settings.mode & 0o444) >> 2;
                match fs::DirBuilder::new().mode(mode).create(&self.target.path) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(failed(&self.target.path, e));
                    }
                    _ => {}
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(self.target.not_found()),
            Err(e) => return Err(failed(&self.target.path, e)),
        }
        if !self.settings.allow_network_fs
            && os::is_network_fs(&self.target.path).map_err(|e| failed(&self.target.path, e))?
        {
            let message = format!(
                "{} is on a network file system, where locks may not work",
                self.target.path.display()
            );
            return Err(Error::new(Code::Unsupported, message)
                .with_detail("option allow_network_fs opens it anyway"));
        }
        Ok(())
    }

    fn busy(&self, message: impl std::fmt::Display) -> Error {
        Error::new(
            Code::Busy,
            format!("{} {message}", self.target.path.display()),
        )
    }

    /// One attempt, from the registry to the environment.
    fn attempt(&mut self) -> Result<Attempt> {
        let guard_path = self.target.path.join(GUARD);
        if let Some(attempt) = self.registered(&guard_path)? {
            return Ok(attempt);
        }
        if !guard_path.exists() {
            self.target.check_without_guard()?;
        }
        let mut guard = match Guard::open(&guard_path, self.settings.mode) {
            Ok(guard) => guard,
            Err(e) if e.code() == Code::ReadOnly && self.target.read_only => {
                return self.open_medium(&guard_path);
            }
            Err(e) if e.code() == Code::NotFound => return Ok(Attempt::Later(e)),
            Err(e) => return Err(e),
        };
        if !guard.try_opening()? {
            let holder = guard.map().ok().and_then(|()| guard.opening_holder());
            let holder = holder.map_or(String::new(), |pid| format!(" by process {pid}"));
            return Ok(Attempt::Later(
                self.busy(format!("is being opened or closed{holder}")),
            ));
        }
        // again under "opening": the file may have been replaced, or opened by another thread
        let same = fs::metadata(&guard_path).is_ok_and(|meta| {
            guard
                .file_id()
                .is_ok_and(|id| id == (meta.dev(), meta.ino()))
        });
        if !same {
            return Ok(Attempt::Later(
                self.busy("cannot be opened: its guard file is replaced repeatedly"),
            ));
        }
        if let Some(attempt) = self.registered(&guard_path)? {
            return Ok(attempt);
        }
        let file = DataFile::inspect(&self.target.data())?;
        self.target.check_data_file(&file)?;
        if let DataFile::Absent | DataFile::Empty = file {
            self.target.check_only_own_files()?;
            if guard.is_foreign()? {
                let message = format!(
                    "{} is not the guard file of a store: another file has its name",
                    guard_path.display()
                );
                return Err(Error::new(Code::NotAStore, message));
            }
            if matches!(file, DataFile::Empty) && guard.has_store_id()? {
                let data = self.target.data();
                let message = format!(
                    "{} is empty, but it had a store: restore it from a backup",
                    data.display()
                );
                return Err(Error::new(Code::Corrupt, message));
            }
        }
        match self.join(&mut guard, &file)? {
            None => self.open_data(guard, file).map(Attempt::Opened),
            Some(refused) => {
                guard.unlock_all();
                Ok(refused)
            }
        }
    }

    /// The store, if this process has it open already.
    fn registered(&self, guard_path: &Path) -> Result<Option<Attempt>> {
        let Ok(meta) = fs::metadata(guard_path) else {
            return Ok(None);
        };
        let Some(entry) = registry().get(&(meta.dev(), meta.ino())).cloned() else {
            return Ok(None);
        };
        let Some(store) = entry.upgrade() else {
            return Ok(Some(Attempt::Later(
                self.busy("is being closed by this process"),
            )));
        };
        store
            .settings()
            .check_same_options(self.options, &self.target.path)?;
        if store.ro_compat() != 0 && !self.target.read_only {
            return Err(self.target.unwritable(store.ro_compat()));
        }
        if store.is_read_only_medium() && !self.target.read_only {
            return Err(Error::new(
                Code::ReadOnly,
                format!("{} is on a read-only medium", self.target.path.display()),
            ));
        }
        Ok(Some(Attempt::Opened(store)))
    }

    /// Joins the processes that have the store open. Returns a refusal if that is not possible.
    fn join(&mut self, guard: &mut Guard, file: &DataFile) -> Result<Option<Attempt>> {
        self.kept_state = None;
        guard.map()?;
        guard.record_opening();
        let refused = |error| Ok(Some(Attempt::Refused(error)));
        let identity = self.identity(file);
        if !guard.try_own_bytes()? {
            // in another container this pid belongs to another process
            let elsewhere = guard.refusal(&identity, &[std::process::id()]);
            return refused(elsewhere.unwrap_or_else(|| {
                self.busy("is open through another copy of libkv in this process")
            }));
        }
        let manual_clock = self.settings.clock.is_manual();
        if !guard.try_present(manual_clock)? {
            return refused(match manual_clock {
                true => self.busy("is open in other processes; a manual clock needs exclusive use"),
                false => self.busy("is in exclusive use by a process with a manual clock"),
            });
        }
        if guard.is_read_elsewhere()? {
            return refused(self.busy("is being read as a read-only medium"));
        }
        if !guard.is_shared()? {
            let kept_state = guard.initialise(&identity, manual_clock)?;
            self.kept_state = Some(kept_state);
            if kept_state.poisoned {
                // a sync has failed since the boot: no process may write until one has succeeded
                let sync = fs::File::open(self.target.data()).and_then(|file| file.sync_all());
                if sync.is_ok() {
                    guard.clear_poison();
                }
            }
            return Ok(None);
        }
        let pids = guard.pids()?;
        if let Some(error) = guard.refusal(&identity, &pids) {
            return refused(error);
        }
        let lock_file = open_lock_file(&self.target.path, self.settings.mode, 0)?;
        lmdb::free_own_readers(&lock_file).map_err(|e| failed(&self.target.path.join(LOCK), e))?;
        guard.keep_lock_file(lock_file);
        match guard.lost_lock()? {
            Some(pid) => refused(self.busy(format!(
                "cannot be opened: process {pid} lost its lock; restart it"
            ))),
            None => Ok(None),
        }
    }

    fn identity(&self, file: &DataFile) -> Identity {
        let inode = |name| fs::metadata(self.target.path.join(name)).map_or(0, |meta| meta.ino());
        Identity {
            store_id: StoreMeta::of(file).id,
            data_inode: inode(DATA),
            lock_inode: inode(LOCK),
        }
    }

    /// After joining, still under "opening": opens the data file and the environment.
    fn open_data(&mut self, mut guard: Guard, mut file: DataFile) -> Result<Arc<Store>> {
        if let DataFile::Absent | DataFile::Empty = file {
            let unsynced = self.options.durability == Some(Durability::None);
            let max_bytes = self.options.max_bytes.unwrap_or(0);
            create_data(&self.target.path, self.settings.mode, unsynced, max_bytes)?;
            file = DataFile::inspect(&self.target.data())?;
            self.target.check_data_file(&file)?;
        }
        let meta = StoreMeta::of(&file);
        // the other processes may have ended since this one joined them: then LMDB initialises its
        // lock file again, while the guard is as they left it
        if !guard.is_shared()? {
            guard.keep_lock_file(open_lock_file(
                &self.target.path,
                self.settings.mode,
                64 * (u64::from(self.settings.max_readers) + 2),
            )?);
        }
        let env =
            Env::open(&self.target.path, &self.env_options(meta.unsynced)).map_err(|error| {
                // the lock file is open already, and LMDB names the directory
                with_permission(&self.target.data(), error)
            })?;
        // the first read transaction sets LMDB's own lock of this process
        drop(env.read()?);
        env.reader_check()?;
        let identity = self.identity(&file);
        if let Some(kept_state) = self.kept_state {
            guard.identify(&identity);
            restore::restore_deadlines(
                &env,
                &guard,
                kept_state.deadlines,
                now_ns(&self.settings.clock),
            )?;
        }
        restore::notice_gone_owners(&guard);
        let key = guard.file_id()?;
        guard.end_opening_after(|guard| {
            Store::register(env, guard, meta, self.settings.clone(), key)
        })
    }

    fn env_options(&self, unsynced: bool) -> EnvOptions {
        EnvOptions {
            read_only: false,
            no_lock: false,
            no_sync: unsynced,
            max_readers: self.settings.max_readers,
            map_bytes: lmdb::MAP_BYTES,
            mode: self.settings.mode,
        }
    }

    /// Opens a store on a read-only medium: no locks of LMDB, only "reading".
    fn open_medium(&mut self, guard_path: &Path) -> Result<Attempt> {
        let mut guard = Guard::open_read_only(guard_path)?;
        if !guard.try_reading()? {
            return Ok(Attempt::Later(
                self.busy("cannot be opened for reading now"),
            ));
        }
        if guard.is_shared()? {
            return Ok(Attempt::Refused(self.busy(
                "is on a read-only medium here and open for writing elsewhere",
            )));
        }
        let file = DataFile::inspect(&self.target.data())?;
        self.target.check_data_file(&file)?;
        self.settings.read_only_medium = true;
        let options = EnvOptions {
            read_only: true,
            no_lock: true,
            ..self.env_options(true)
        };
        let env = Env::open(&self.target.path, &options)?;
        let key = guard.file_id()?;
        let (guard, meta) = (Arc::new(guard), StoreMeta::of(&file));
        let store = Store::register(env, guard, meta, self.settings.clone(), key);
        Ok(Attempt::Opened(store))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::commit::{Outcome, Terms};
    use crate::embedded::lease::slot::LeaseSlots;
    use crate::embedded::opening::open;
    use crate::request::{LeaseGrant, Response};

    /// The process that an opening joins may end before the opening has read the leases. Each lease
    /// got its full TTL then.
    #[test]
    fn deadlines_stay_if_the_joined_process_ends_during_the_opening() {
        let path = std::env::temp_dir().join(format!("libkv-opening-{}", std::process::id()));
        let options = Options::new();
        let store = open(&path, &options).expect("created");
        let terms = Terms::own(Durability::Sync, None);
        let grant = LeaseGrant {
            ttl_seconds: 600,
            id: 7,
            end_with_process: false,
        };
        let granted = store.commit().run(grant, terms).expect("granted");
        assert!(matches!(
            granted,
            Outcome::Response(Response::LeaseGrant(_))
        ));
        let before = store.guard().slot(0).expect("its slot");
        drop(store);
        // for the locks, a descriptor of its own is another process
        let mut other = Guard::open(&path.join(GUARD), 0o600).expect("opened");
        assert!(other.try_present(false).expect("no error"));

        let mut opening = Opening::new(path.clone(), &options);
        let mut guard = Guard::open(&path.join(GUARD), 0o600).expect("opened");
        assert!(guard.try_opening().expect("no error"));
        let file = DataFile::inspect(&path.join(DATA)).expect("read");
        assert!(
            opening.join(&mut guard, &file).expect("no error").is_none(),
            "it joins the other process"
        );
        drop(other);
        let store = opening.open_data(guard, file).expect("opened");
        assert_eq!(store.guard().slot(0), Some(before));
        drop(store);
        fs::remove_dir_all(path).expect("removed");
    }
}
