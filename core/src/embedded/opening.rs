//! Opening a store: from its address to an environment, or a refusal that says why.
//!
//! It goes in one order: registry, "opening", the files' identity, this process's own byte,
//! "present", the verdicts, the data file, the environment.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::codec::{self, meta};
use super::commit::now_ns;
use super::guard::Guard;
use super::guard::identity::{Identity, Survivors};
use super::lease::restore;
use super::lmdb::data_file::DataFile;
use super::lmdb::page_layout::PAGE_BYTES;
use super::lmdb::{self, Env, EnvOptions};
use super::os::{self, failed};
use super::store::{
    BUSY_TIMEOUT_MS, DATA, GUARD, LOCK, LOOK_AGAIN, Says, Settings, Store, registry,
};
use crate::error::{Code, Error, Result};
use crate::options::{AutoCompaction, Options};
use crate::request::Durability;

/// The data file while it is being made: nobody opens this name.
const DATA_NEW: &str = "data.mdb.new";
/// Each slot takes 64 bytes of disk in LMDB's lock file.
const MAX_READERS_MAX: u32 = 1 << 20;
/// A refusal that rests on locks and inodes is given only if it still holds after so long:
/// processes that end or spawn drop their locks one by one.
const VERDICT: Duration = Duration::from_secs(1);

/// Opens the store at `target`: a path, a `file:` URL or `:memory:`.
pub(crate) fn open(target: &Path, options: &Options) -> Result<Arc<Store>> {
    if let Some(name) = options.cluster_option() {
        // without the network a cluster's address is refused as what it is
        if target.as_os_str() != ":memory:" {
            local_path(target)?;
        }
        return Err(Error::new(
            Code::InvalidArgument,
            format!("option {name} is for a cluster, and this is a store"),
        ));
    }
    if let Some(AutoCompaction::Revisions(0) | AutoCompaction::Seconds(0)) = options.auto_compaction
    {
        return Err(Error::new(
            Code::InvalidArgument,
            "option auto_compaction keeps 0: leave it out to keep all",
        ));
    }
    if options.max_readers == Some(0) {
        return Err(Error::new(
            Code::InvalidArgument,
            "option max_readers is 0: nothing could be read",
        ));
    }
    if let Some(slots) = options.max_readers.filter(|slots| *slots > MAX_READERS_MAX) {
        let message =
            format!("option max_readers is {slots}: at most {MAX_READERS_MAX} can read at a time");
        return Err(Error::new(Code::InvalidArgument, message));
    }
    if let Some(mode) = options.mode.filter(|mode| mode & !0o777 != 0) {
        let message =
            format!("option mode is {mode:o}: it takes the permissions of files, up to 777");
        return Err(Error::new(Code::InvalidArgument, message));
    }
    if target.as_os_str() == ":memory:" {
        return open_memory(options);
    }
    let path = local_path(target)?;
    Opening::new(path, options)?.run()
}

/// The path that a target means. Paths are bytes, and need not be text.
fn local_path(target: &Path) -> Result<PathBuf> {
    let invalid = |message: String| Err(Error::new(Code::InvalidArgument, message));
    let (bytes, shown) = (target.as_os_str().as_bytes(), target.display());
    if bytes.is_empty() {
        return invalid("the path of the store is empty".into());
    }
    if bytes.contains(&0) {
        return invalid(format!("the path {target:?} has a zero byte"));
    }
    match scheme(bytes) {
        Some("etcd" | "etcds" | "http" | "https" | "unix") => {
            let message = format!("{shown} is a cluster's address, which this build cannot open");
            return Err(Error::new(Code::Unsupported, message));
        }
        Some(other) if other != "file" => {
            return invalid(format!(
                "{shown}: {other}:// is neither a store's nor a cluster's address (a directory of this name is ./{shown})"
            ));
        }
        _ => {}
    }
    let Some(rest) = bytes.strip_prefix(b"file:") else {
        return Ok(target.to_owned());
    };
    let path = match rest.strip_prefix(b"//") {
        Some(rest) if rest.starts_with(b"/") => rest,
        Some(rest) if rest.starts_with(b"localhost/") => &rest[b"localhost".len()..],
        Some(_) => {
            return invalid(format!(
                "{shown} names another host: write file:/path or file:///path"
            ));
        }
        None => rest,
    };
    percent_decoded(path).map_or_else(|| invalid(format!("{shown} is no file: URL")), Ok)
}

/// What stands before `://`, if that can be a scheme. `unix:` needs no slashes.
fn scheme(target: &[u8]) -> Option<&str> {
    if target.starts_with(b"unix:") || target.starts_with(b"unixs:") {
        return Some("unix");
    }
    let end = target.windows(3).position(|window| window == b"://")?;
    let scheme = str::from_utf8(&target[..end]).ok()?;
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(part))
        .then_some(scheme)
}

fn percent_decoded(text: &[u8]) -> Option<PathBuf> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::new();
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high << 4 | low)
                    .ok()
                    .filter(|byte| *byte != 0)?
            }
            byte => byte,
        });
    }
    (!bytes.is_empty()).then(|| PathBuf::from(OsString::from_vec(bytes)))
}

/// A store of its own that leaves nothing behind: a private directory in shared memory, unlinked
/// as soon as it is open.
fn open_memory(options: &Options) -> Result<Arc<Store>> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let refused = match options {
        Options {
            read_only: Some(true),
            ..
        } => Some("read_only"),
        Options {
            create: Some(false),
            ..
        } => Some("create false"),
        _ => None,
    };
    if let Some(refused) = refused {
        return Err(Error::new(
            Code::InvalidArgument,
            format!(":memory: is always a new store: {refused} makes no sense"),
        ));
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!(
        "libkv-{}-{:x}-{number}",
        std::process::id(),
        os::process().image
    );
    let options = Options {
        durability: Some(Durability::None),
        ..options.clone()
    };
    let mut refused = None;
    for parent in [PathBuf::from("/dev/shm"), std::env::temp_dir()] {
        let path = parent.join(&name);
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        if let Err(e) = made {
            refused = Some(failed(&path, e));
            continue;
        }
        let opened = Opening::new(path.clone(), &options).and_then(|mut opening| {
            opening.settings.in_memory = true;
            opening.run()
        });
        let _ = fs::remove_dir_all(&path);
        return opened;
    }
    Err(refused.unwrap_or_else(|| Error::new(Code::Io, "no directory for a store in memory")))
}

/// An error of LMDB's, with the file and the missing right if it is one of permission.
fn of_file(path: &Path, error: Error) -> Error {
    match error.code() {
        Code::PermissionDenied => failed(path, io::Error::from_raw_os_error(libc::EACCES)),
        _ => error,
    }
}

/// What a look at the files and locks of a store says.
enum Look {
    Opened(Arc<Store>),
    /// Not now: try again until the deadline, then give this error.
    Later(Error),
    /// Refused by what may still be changing: to be given if it holds for [`VERDICT`].
    Refused(Error),
}

/// One opening, over all its tries.
struct Opening<'o> {
    path: PathBuf,
    options: &'o Options,
    settings: Settings,
    create: bool,
    read_only: bool,
    deadline: Option<Instant>,
    /// What outlived the last process that had the store open, if this opener has initialised the guard.
    survivors: Option<Survivors>,
}

impl<'o> Opening<'o> {
    fn new(path: PathBuf, options: &'o Options) -> Result<Opening<'o>> {
        let read_only = options.read_only.unwrap_or(false);
        let timeout = match options.busy_timeout_ms.unwrap_or(BUSY_TIMEOUT_MS) {
            u64::MAX => None,
            ms => Some(Duration::from_millis(ms)),
        };
        Ok(Opening {
            path,
            options,
            settings: Settings::new(options),
            create: options.create.unwrap_or(true) && !read_only,
            read_only,
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            survivors: None,
        })
    }

    fn run(mut self) -> Result<Arc<Store>> {
        let read_only = self.read_only;
        self.try_until_opened().map_err(|error| match error.code() {
            Code::PermissionDenied if read_only => {
                error.context("a read_only handle needs the rights to read and to write, as it takes part in the locks")
            }
            _ => error,
        })
    }

    fn try_until_opened(&mut self) -> Result<Arc<Store>> {
        self.directory()?;
        let mut refused_since = None;
        loop {
            let now = Instant::now();
            match self.look()? {
                Look::Opened(store) => {
                    if !self.read_only {
                        store.allow_writes()?;
                    }
                    return Ok(store);
                }
                Look::Later(error) => {
                    if self.deadline.is_some_and(|deadline| now >= deadline) {
                        return Err(error);
                    }
                    refused_since = None;
                }
                Look::Refused(error) => {
                    if now.duration_since(*refused_since.get_or_insert(now)) >= VERDICT {
                        return Err(error);
                    }
                }
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Sees that there is a directory, on a file system that will do.
    fn directory(&self) -> Result<()> {
        match fs::metadata(&self.path) {
            Ok(meta) if !meta.is_dir() => {
                let message = format!("{} is a file; a store is a directory", self.path.display());
                return Err(Error::new(Code::NotAStore, message));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.create => {
                let mode = self.settings.mode | (self.settings.mode & 0o444) >> 2;
                match fs::DirBuilder::new().mode(mode).create(&self.path) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(failed(&self.path, e));
                    }
                    _ => {}
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(self.not_found()),
            Err(e) => return Err(failed(&self.path, e)),
        }
        if !self.settings.allow_network_fs
            && os::is_network_fs(&self.path).map_err(|e| failed(&self.path, e))?
        {
            let message = format!(
                "{} lies on a network file system, whose locks may not hold",
                self.path.display()
            );
            return Err(Error::new(Code::Unsupported, message)
                .with_detail("option allow_network_fs opens it all the same"));
        }
        Ok(())
    }

    fn not_found(&self) -> Error {
        Error::new(
            Code::NotFound,
            format!("{} has no store", self.path.display()),
        )
    }

    fn busy(&self, message: impl std::fmt::Display) -> Error {
        Error::new(Code::Busy, format!("{} {message}", self.path.display()))
    }

    /// One try, from the registry to the environment.
    fn look(&mut self) -> Result<Look> {
        let guard_path = self.path.join(GUARD);
        if let Some(look) = self.registered(&guard_path)? {
            return Ok(look);
        }
        if !guard_path.exists() {
            self.may_begin()?;
        }
        let mut guard = match Guard::open(&guard_path, self.settings.mode) {
            Ok(guard) => guard,
            Err(e) if e.code() == Code::ReadOnly && self.read_only => {
                return self.open_medium(&guard_path);
            }
            Err(e) if e.code() == Code::NotFound => return Ok(Look::Later(e)),
            Err(e) => return Err(e),
        };
        if !guard.try_opening()? {
            let holder = guard.map().ok().and_then(|()| guard.opening_holder());
            let holder = holder.map_or(String::new(), |pid| format!(" by process {pid}"));
            return Ok(Look::Later(
                self.busy(format!("is being opened or closed{holder}")),
            ));
        }
        // under "opening" once more: it may have been replaced, or opened by another thread
        let same = fs::metadata(&guard_path).is_ok_and(|meta| {
            guard
                .file_id()
                .is_ok_and(|id| id == (meta.dev(), meta.ino()))
        });
        if !same {
            return Ok(Look::Later(
                self.busy("has its guard file replaced again and again"),
            ));
        }
        if let Some(look) = self.registered(&guard_path)? {
            return Ok(look);
        }
        let found = DataFile::inspect(&self.path.join(DATA))?;
        self.judge(&found)?;
        if let DataFile::Absent | DataFile::Empty = found {
            self.only_ours()?;
            if guard.is_foreign()? {
                let message = format!(
                    "{} is not a store's: something else has its name",
                    guard_path.display()
                );
                return Err(Error::new(Code::NotAStore, message));
            }
            if matches!(found, DataFile::Empty) && guard.remembers_store()? {
                let data = self.path.join(DATA);
                let message = format!(
                    "{} has been cut to nothing: bring it back from a backup",
                    data.display()
                );
                return Err(Error::new(Code::Corrupt, message));
            }
        }
        let looked = self.join(&mut guard, &found)?;
        match looked {
            None => self.open_data(guard, found).map(Look::Opened),
            Some(refused) => {
                guard.unlock_all();
                Ok(refused)
            }
        }
    }

    /// The store, if this process has it open already.
    fn registered(&self, guard_path: &Path) -> Result<Option<Look>> {
        let Ok(meta) = fs::metadata(guard_path) else {
            return Ok(None);
        };
        let Some(entry) = registry().get(&(meta.dev(), meta.ino())).cloned() else {
            return Ok(None);
        };
        let Some(store) = entry.upgrade() else {
            return Ok(Some(Look::Later(
                self.busy("is being closed by this process"),
            )));
        };
        store.settings().agree(self.options, &self.path)?;
        if store.ro_compat() != 0 && !self.read_only {
            return Err(self.unwritable(store.ro_compat()));
        }
        if store.is_read_only_medium() && !self.read_only {
            return Err(Error::new(
                Code::ReadOnly,
                format!("{} is on a read-only medium", self.path.display()),
            ));
        }
        Ok(Some(Look::Opened(store)))
    }

    /// Where there is no guard yet: is this a store, or a place where one may be made?
    fn may_begin(&self) -> Result<()> {
        let found = DataFile::inspect(&self.path.join(DATA))?;
        self.judge(&found)?;
        match found {
            DataFile::Store(_) => Ok(()),
            _ => self.only_ours(),
        }
    }

    /// Nothing is written where something of somebody else's stands.
    fn only_ours(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(|e| failed(&self.path, e))? {
            let name = entry.map_err(|e| failed(&self.path, e))?.file_name();
            let ours = [DATA, DATA_NEW, LOCK, GUARD]
                .iter()
                .any(|our| name == **our);
            if !ours {
                let message = format!(
                    "{} is not empty and no store: it has {}",
                    self.path.display(),
                    name.display()
                );
                return Err(Error::new(Code::NotAStore, message));
            }
        }
        Ok(())
    }

    fn not_a_store(&self, found: &DataFile) -> Error {
        let what = match found {
            DataFile::PlainLmdb => "an LMDB file without the trees of a store".to_string(),
            DataFile::Bbolt => {
                "a bbolt file, as etcd keeps: copy its keys through etcd".to_string()
            }
            DataFile::OtherPageSize(bytes) => {
                let message = format!(
                    "{}: its pages have {bytes} bytes; this library's have {}",
                    self.path.join(DATA).display(),
                    PAGE_BYTES
                );
                return Error::new(Code::Incompatible, message);
            }
            _ => "no store".to_string(),
        };
        Error::new(
            Code::NotAStore,
            format!("{} is {what}", self.path.join(DATA).display()),
        )
    }

    /// Whether this library may open, or make, what was found.
    fn judge(&self, found: &DataFile) -> Result<()> {
        match found {
            DataFile::Store(_) => self.judge_meta(found),
            DataFile::Absent | DataFile::Empty if self.create => Ok(()),
            DataFile::Absent | DataFile::Empty => Err(self.not_found()),
            _ => Err(self.not_a_store(found)),
        }
    }

    fn judge_meta(&self, found: &DataFile) -> Result<()> {
        let path = self.path.join(DATA);
        let format = found
            .meta(meta::FORMAT)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes);
        if format != codec::FORMAT_VERSION || bits(found, meta::INCOMPAT) != 0 {
            let message = format!(
                "{} has format {format} with features {:#x}; this library reads format {} without any: it needs a newer one",
                path.display(),
                bits(found, meta::INCOMPAT),
                codec::FORMAT_VERSION
            );
            return Err(Error::new(Code::Incompatible, message));
        }
        match ro_compat(found) {
            0 => Ok(()),
            _ if self.read_only => Ok(()),
            bits => Err(self.unwritable(bits)),
        }
    }

    fn unwritable(&self, bits: u64) -> Error {
        let message = format!(
            "{} has features {bits:#x} that this library can read but not write: open it with read_only, or with a newer library",
            self.path.join(DATA).display()
        );
        Error::new(Code::Incompatible, message)
    }

    /// Takes this process's place among those who have the store open, or says why not.
    fn join(&mut self, guard: &mut Guard, found: &DataFile) -> Result<Option<Look>> {
        self.survivors = None;
        guard.map()?;
        guard.record_opening();
        let refused = |error| Ok(Some(Look::Refused(error)));
        let identity = self.identity(found);
        if !guard.try_own_bytes()? {
            // in another container this number is another process
            let elsewhere = guard.refusal(&identity, &[std::process::id()]);
            return refused(elsewhere.unwrap_or_else(|| {
                self.busy("is open through another copy of libkv in this process")
            }));
        }
        let alone = self.settings.clock.is_in_hand();
        if !guard.try_present(alone)? {
            return refused(match alone {
                true => self.busy("is open in other processes; a manual clock needs exclusive use"),
                false => self.busy("is in exclusive use by a process with a manual clock"),
            });
        }
        if guard.is_read_elsewhere()? {
            return refused(self.busy("is being read as a read-only medium"));
        }
        if !guard.is_shared()? {
            let survivors = guard.initialise(&identity, alone)?;
            self.survivors = Some(survivors);
            if survivors.poisoned {
                // an earlier sync failed under this boot: nobody writes until one has succeeded
                let sync = fs::File::open(self.path.join(DATA)).and_then(|file| file.sync_all());
                if sync.is_ok() {
                    guard.heal();
                }
            }
            return Ok(None);
        }
        let pids = guard.pids()?;
        if let Some(error) = guard.refusal(&identity, &pids) {
            return refused(error);
        }
        let lock_file = self.open_lock_file(0)?;
        lmdb::free_own_readers(&lock_file).map_err(|e| failed(&self.path.join(LOCK), e))?;
        guard.keep_lock_file(lock_file);
        match guard.lost_lock()? {
            Some(pid) => refused(self.busy(format!(
                "cannot be opened: process {pid} lost its lock; restart it"
            ))),
            None => Ok(None),
        }
    }

    fn identity(&self, found: &DataFile) -> Identity {
        let inode = |name| fs::metadata(self.path.join(name)).map_or(0, |meta| meta.ino());
        let store_id = found.meta(meta::STORE_ID).and_then(|id| id.try_into().ok());
        Identity {
            store_id: store_id.unwrap_or_default(),
            data_inode: inode(DATA),
            lock_inode: inode(LOCK),
        }
    }

    /// Under "opening", with this process's place taken: the data file and the environment.
    fn open_data(&mut self, mut guard: Guard, mut found: DataFile) -> Result<Arc<Store>> {
        if let DataFile::Absent | DataFile::Empty = found {
            let data = self.path.join(DATA);
            self.make_data(&data)?;
            found = DataFile::inspect(&data)?;
            self.judge(&found)?;
        }
        let unsynced = is_unsynced(&found);
        // the others may have ended since this opener joined them: LMDB then creates its file again, while
        // the guard is as they left it
        if !guard.is_shared()? {
            guard.keep_lock_file(
                self.open_lock_file(64 * (u64::from(self.settings.max_readers) + 2))?,
            );
        }
        let env = Env::open(&self.path, &self.env_options(unsynced)).map_err(|error| {
            // the lock file is open already, and LMDB names the directory
            of_file(&self.path.join(DATA), error)
        })?;
        // one read transaction sets LMDB's own lock of this process
        drop(env.read()?);
        env.reader_check()?;
        let identity = self.identity(&found);
        if let Some(survivors) = self.survivors {
            guard.identify(&identity);
            restore::restore_deadlines(
                &env,
                &guard,
                survivors.deadlines,
                now_ns(&self.settings.clock),
            )?;
        }
        restore::notice_gone_owners(&guard);
        let key = guard.file_id()?;
        guard.end_opening_after(|guard| self.register(env, guard, &found, key))
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

    fn register(
        &self,
        env: Env,
        guard: Arc<Guard>,
        found: &DataFile,
        key: (u64, u64),
    ) -> Arc<Store> {
        let says = Says {
            unsynced: is_unsynced(found),
            ro_compat: ro_compat(found),
            id: self.identity(found).store_id,
        };
        Store::register(env, guard, says, self.settings.clone(), key)
    }

    /// Makes the data file under another name, flushes it, renames it, flushes the directories:
    /// a cut leaves no file or a whole one. "opening" sees to it that nobody else does so.
    fn make_data(&self, data: &Path) -> Result<()> {
        let new = self.path.join(DATA_NEW);
        for leftover in [&new, data] {
            match fs::remove_file(leftover) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(leftover, e)),
                _ => {}
            }
        }
        let unsynced = self.options.durability == Some(Durability::None);
        let max_bytes = self.options.max_bytes.unwrap_or(0);
        lmdb::create_data_file(
            &new,
            self.settings.mode,
            !unsynced,
            &codec::new_meta(&random_id(), unsynced, max_bytes),
        )
        .map_err(
            |error| match error.code() == Code::Io && os::is_full(&self.path) {
                true => Error::new(Code::Full, "the disk is full")
                    .with_detail(error.message())
                    .with_source(error),
                false => of_file(&new, error),
            },
        )?;
        fs::rename(&new, data).map_err(|e| failed(data, e))?;
        if !unsynced {
            os::sync_dir(&self.path).map_err(|e| failed(&self.path, e))?;
            if let Some(parent) = self
                .path
                .canonicalize()
                .ok()
                .and_then(|path| path.parent().map(Path::to_owned))
            {
                // a parent that we may not read is no reason to fail: the store itself is whole
                let _ = os::sync_dir(&parent);
            }
        }
        Ok(())
    }

    /// Opens LMDB's lock file, before LMDB does, and gives it at least so many bytes with their
    /// blocks: on a full disk that is an error here, and a signal once LMDB has mapped it. LMDB
    /// lays it; this only lengthens it.
    fn open_lock_file(&self, bytes: u64) -> Result<fs::File> {
        use std::os::fd::AsFd;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.path.join(LOCK);
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(self.settings.mode)
            .open(&path)
            .map_err(|e| failed(&path, e))?;
        if file.metadata().map_err(|e| failed(&path, e))?.len() < bytes {
            os::allocate(file.as_fd(), bytes).map_err(|e| failed(&path, e))?;
        }
        Ok(file)
    }

    /// A store on a medium that nobody can write to: no locks of LMDB's, only "reading".
    fn open_medium(&mut self, guard_path: &Path) -> Result<Look> {
        let mut guard = Guard::open_read_only(guard_path)?;
        if !guard.try_reading()? {
            return Ok(Look::Later(self.busy("cannot be opened for reading now")));
        }
        if guard.is_shared()? {
            return Ok(Look::Refused(self.busy(
                "is on a read-only medium here and open for writing elsewhere",
            )));
        }
        let found = DataFile::inspect(&self.path.join(DATA))?;
        self.judge(&found)?;
        self.settings.read_only_medium = true;
        let options = EnvOptions {
            read_only: true,
            no_lock: true,
            ..self.env_options(true)
        };
        let env = Env::open(&self.path, &options)?;
        let key = guard.file_id()?;
        Ok(Look::Opened(self.register(
            env,
            Arc::new(guard),
            &found,
            key,
        )))
    }
}

fn is_unsynced(found: &DataFile) -> bool {
    found.meta(meta::DURABILITY) == Some(&[0])
}

fn bits(found: &DataFile, name: &[u8]) -> u64 {
    found
        .meta(name)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

/// Features that this library can read but not write.
fn ro_compat(found: &DataFile) -> u64 {
    bits(found, meta::RO_COMPAT) & !codec::RO_COMPAT_KNOWN
}

fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    for half in id.chunks_exact_mut(8) {
        half.copy_from_slice(&os::random().to_le_bytes());
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::lease::slot::LeaseSlots;
    use crate::request::{LeaseGrant, Response};

    /// The process that an opener joined may end before the opener has come to the leases. Each lease had its
    /// full TTL then.
    #[test]
    fn deadlines_stay_when_the_joined_process_ends_during_the_opening() {
        let path = std::env::temp_dir().join(format!("libkv-opening-{}", std::process::id()));
        let options = Options::new();
        let store = open(&path, &options).expect("made");
        let terms = super::super::commit::Terms::own(Durability::Sync, None);
        let grant = LeaseGrant {
            ttl_seconds: 600,
            id: 7,
            end_with_process: false,
        };
        let granted = store.commit().run(grant, terms).expect("granted");
        assert!(matches!(
            granted,
            super::super::commit::Outcome::Response(Response::LeaseGrant(_))
        ));
        let before = store.guard().slot(0).expect("its slot");
        drop(store);
        // a descriptor of its own makes another process of it, as far as locks go
        let mut other = Guard::open(&path.join(GUARD), 0o600).expect("opened");
        assert!(other.try_present(false).expect("asked"));

        let mut opening = Opening::new(path.clone(), &options).expect("an opening");
        let mut guard = Guard::open(&path.join(GUARD), 0o600).expect("opened");
        assert!(guard.try_opening().expect("asked"));
        let found = DataFile::inspect(&path.join(DATA)).expect("read");
        assert!(
            opening.join(&mut guard, &found).expect("asked").is_none(),
            "it joins the other"
        );
        drop(other);
        let store = opening.open_data(guard, found).expect("opened");
        assert_eq!(store.guard().slot(0), Some(before));
        drop(store);
        fs::remove_dir_all(path).expect("removed");
    }
}
