//! Restores a store from a snapshot.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use libkv::engine::{HistoryPart, LogRecord};
use libkv::{AuthData, Code, Db, Durability, Error, Options, Result, Revision};
use sha2::{Digest, Sha256};

use super::format::{self, HASH_BYTES, SECTOR_BYTES, auth, bucket, meta};
use crate::bolt::{Bucket, Database, Source};

/// The limits of a part of the history: records, and bytes approximately.
const PART_RECORDS: usize = 5_000;
const PART_BYTES: usize = 4 << 20;
/// Memory for the computation of the hash.
const HASH_BUFFER_BYTES: usize = 1 << 20;

/// Makes a store from a snapshot of etcd.
///
/// ```no_run
/// let restored = libkv_etcd::Restore::new("backup.db").run("store")?;
/// println!("{} events up to revision {}", restored.events, restored.revision);
/// # Ok::<(), libkv::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Restore {
    snapshot: PathBuf,
    skip_hash_check: bool,
}

/// The contents of a restored store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The current revision.
    pub revision: Revision,
    /// The compacted revision; `None` if nothing was compacted.
    pub compacted_revision: Option<Revision>,
    /// The number of events.
    pub events: u64,
    /// The number of leases.
    pub leases: u64,
    /// The number of users.
    pub users: u64,
    /// The number of roles.
    pub roles: u64,
    /// Whether authentication is on.
    pub auth_enabled: bool,
}

fn io_error(path: &Path, what: &str, error: std::io::Error) -> Error {
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => Code::NotFound,
        std::io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ => Code::Io,
    };
    Error::new(code, format!("{what} {}: {error}", path.display())).with_source(error)
}

impl Restore {
    /// A restore of the snapshot in this file.
    pub fn new(snapshot: impl Into<PathBuf>) -> Restore {
        Restore {
            snapshot: snapshot.into(),
            skip_hash_check: false,
        }
    }

    /// Accepts a file without its SHA-256, such as a copy of `member/snap/db`.
    pub fn skip_hash_check(mut self, skip_hash_check: bool) -> Restore {
        self.skip_hash_check = skip_hash_check;
        self
    }

    /// Creates the store in the directory `store`, which must not exist or must be empty.
    ///
    /// The snapshot is verified before anything is written. The store is filled in a directory next
    /// to `store`, which is renamed when it is complete. So there is never a partial store.
    ///
    /// # Errors
    ///
    /// `not_found`, `permission_denied` (the file), `exists` (the store), `corrupt` (the file is
    /// damaged or not a snapshot), `full`, `io`.
    pub fn run(&self, store: impl AsRef<Path>) -> Result<Restored> {
        let store = store.as_ref();
        ensure_vacant(store)?;
        let snapshot = self.open()?;
        let unfinished = unfinished_path(store)?;
        let restored = fill(&snapshot, &unfinished).and_then(|restored| {
            let moved = fs::rename(&unfinished, store).and_then(|()| sync_parent(store));
            moved.map_err(|error| io_error(store, "renaming the restored store to", error))?;
            Ok(restored)
        });
        if restored.is_err() {
            // the partial store is useless, and the error of the restore is the one to report
            let _ = fs::remove_dir_all(&unfinished);
        }
        restored.map_err(|error| error.context(self.snapshot.display()))
    }

    fn open(&self) -> Result<Database<File>> {
        let opened = self.open_verified();
        opened.map_err(|error| error.context(self.snapshot.display()))
    }

    fn open_verified(&self) -> Result<Database<File>> {
        let path = &self.snapshot;
        let file = File::open(path).map_err(|error| io_error(path, "opening", error))?;
        let metadata = file
            .metadata()
            .map_err(|error| io_error(path, "reading", error))?;
        if !metadata.is_file() {
            return Err(Error::new(
                Code::InvalidArgument,
                "it is not a regular file",
            ));
        }
        let len = metadata.len();
        let has_hash = len % SECTOR_BYTES == HASH_BYTES;
        if has_hash && !self.skip_hash_check {
            verify_hash(&file, len - HASH_BYTES)
                .map_err(|error| io_error(path, "reading", error))??;
        } else if !self.skip_hash_check {
            return Err(Error::new(
                Code::Corrupt,
                "snapshot missing hash: the file is cut, or a copy of member/snap/db \
                 (--skip-hash-check accepts such a copy)",
            ));
        }
        let len = if has_hash { len - HASH_BYTES } else { len };
        let database = Database::open(file, len)?;
        database.verify()?;
        Ok(database)
    }
}

/// Compares the SHA-256 of the first `len` bytes with the hash after them.
fn verify_hash(file: &File, len: u64) -> std::io::Result<Result<()>> {
    let mut reader = file;
    reader.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    let mut body = reader.take(len);
    loop {
        match body.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let mut expected = [0; HASH_BYTES as usize];
    body.into_inner().read_exact(&mut expected)?;
    let found = hasher.finalize();
    if found.as_slice() == expected {
        return Ok(Ok(()));
    }
    let message = format!(
        "expected sha256 {}, got {}: the file was altered or cut",
        hex(&expected),
        hex(&found)
    );
    Ok(Err(Error::new(Code::Corrupt, message)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses a directory that is not empty.
fn ensure_vacant(store: &Path) -> Result<()> {
    let exists = |what: &str| {
        let message = format!("{} {what}: choose a new directory", store.display());
        Err(Error::new(Code::Exists, message))
    };
    match fs::read_dir(store) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => exists("is not empty"),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => exists("is a file"),
        Err(error) => Err(io_error(store, "reading", error)),
    }
}

/// The path of the unfinished store: a directory next to the store's.
fn unfinished_path(store: &Path) -> Result<PathBuf> {
    let Some(name) = store.file_name() else {
        let message = format!("{} is not the name of a directory", store.display());
        return Err(Error::new(Code::InvalidArgument, message));
    };
    let mut unfinished = name.to_owned();
    unfinished.push(format!(".restore-{}", std::process::id()));
    Ok(store.with_file_name(unfinished))
}

fn sync_parent(store: &Path) -> std::io::Result<()> {
    let parent = store
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes a store at `path` and loads the history into it.
fn fill<S: Source>(snapshot: &Database<S>, path: &Path) -> Result<Restored> {
    // closing flushes once, instead of each commit: an unfinished store is removed
    let db = Db::open(path, Options::new().durability(Durability::Lazy))?;
    let restored = load(snapshot, &db);
    db.close();
    let restored = restored?;
    let data = path.join("data.mdb");
    let flushed = File::open(&data).and_then(|file| file.sync_all());
    flushed.map_err(|error| io_error(&data, "flushing", error))?;
    Ok(restored)
}

fn load<S: Source>(snapshot: &Database<S>, db: &Db) -> Result<Restored> {
    let engine = db.engine();
    let mut buckets = snapshot.buckets()?;
    let mut take = |name: &str| {
        let at = buckets
            .iter()
            .position(|(other, _)| other == name.as_bytes());
        at.map(|at| buckets.swap_remove(at).1)
    };
    let (key, meta, lease) = (take(bucket::KEY), take(bucket::META), take(bucket::LEASE));
    let auth_buckets = AuthBuckets {
        state: take(bucket::AUTH),
        users: take(bucket::AUTH_USERS),
        roles: take(bucket::AUTH_ROLES),
    };
    if key.is_none() && meta.is_none() {
        return Err(Error::new(
            Code::Corrupt,
            "it is a bbolt file, but not a snapshot of etcd: the buckets `key` and `meta` are missing",
        ));
    }
    let compacted = compacted_revision(snapshot, meta.as_ref())?;
    engine.load(HistoryPart::Compacted(compacted.unwrap_or(-1)))?;
    let mut restored = Restored {
        compacted_revision: compacted,
        leases: load_leases(snapshot, lease.as_ref(), db)?,
        ..Restored::default()
    };
    let data = auth_buckets.read(snapshot)?;
    restored.users = data.users.len() as u64;
    restored.roles = data.roles.len() as u64;
    restored.auth_enabled = data.stamp.enabled;
    engine.load(HistoryPart::Auth(data))?;
    let mut parts = PartWriter {
        db,
        records: Vec::new(),
        bytes: 0,
    };
    let mut last = compacted.unwrap_or(0).max(1);
    if let Some(bucket) = &key {
        let mut entries = snapshot.entries(bucket)?;
        while let Some((key, value)) = entries.next()? {
            let (revision, record) = format::parse_record(key, value)?;
            last = last.max(revision);
            if let Some(record) = record {
                restored.events += 1;
                parts.push(record, value.len())?;
            }
        }
    }
    parts.write()?;
    engine.load(HistoryPart::Revision(last))?;
    restored.revision = last;
    Ok(restored)
}

/// Collects records into parts.
struct PartWriter<'d> {
    db: &'d Db,
    records: Vec<LogRecord>,
    bytes: usize,
}

impl PartWriter<'_> {
    fn push(&mut self, record: LogRecord, bytes: usize) -> Result<()> {
        self.records.push(record);
        self.bytes += bytes;
        match self.records.len() == PART_RECORDS || self.bytes >= PART_BYTES {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn write(&mut self) -> Result<()> {
        self.bytes = 0;
        let records = std::mem::take(&mut self.records);
        self.db.engine().load(HistoryPart::Records(records))
    }
}

/// The revision of the last compaction that was started, even if it did not finish. Records that
/// it removes are not restored.
fn compacted_revision<S: Source>(
    snapshot: &Database<S>,
    meta: Option<&Bucket>,
) -> Result<Option<Revision>> {
    let Some(bucket) = meta else {
        return Ok(None);
    };
    let mut compacted = None;
    let mut entries = snapshot.entries(bucket)?;
    while let Some((name, value)) = entries.next()? {
        if [meta::SCHEDULED_COMPACTION, meta::FINISHED_COMPACTION].contains(&name) {
            compacted = compacted.max(Some(format::parse_compaction(value)?));
        }
    }
    Ok(compacted)
}

fn load_leases<S: Source>(snapshot: &Database<S>, bucket: Option<&Bucket>, db: &Db) -> Result<u64> {
    let Some(bucket) = bucket else {
        return Ok(0);
    };
    let mut entries = snapshot.entries(bucket)?;
    let mut leases = 0;
    while let Some((key, value)) = entries.next()? {
        let lease = format::parse_lease(key, value)?;
        // etcd stores the remaining time only if it checkpoints leases
        let remaining_seconds = match lease.remaining_ttl {
            ..=0 => lease.ttl,
            seconds => seconds.min(lease.ttl),
        };
        db.engine().load(HistoryPart::Lease {
            id: lease.id,
            ttl_seconds: lease.ttl,
            remaining_seconds,
        })?;
        leases += 1;
    }
    Ok(leases)
}

/// The buckets of users and roles.
struct AuthBuckets {
    state: Option<Bucket>,
    users: Option<Bucket>,
    roles: Option<Bucket>,
}

impl AuthBuckets {
    fn read<S: Source>(&self, snapshot: &Database<S>) -> Result<AuthData> {
        let mut data = AuthData::default();
        each(snapshot, self.state.as_ref(), |name, value| {
            match name {
                auth::ENABLED => data.stamp.enabled = value == [1],
                auth::REVISION => data.stamp.revision = format::parse_auth_revision(value)?,
                _ => {}
            }
            Ok(())
        })?;
        each(snapshot, self.users.as_ref(), |name, value| {
            data.users.push(format::parse_user(name, value)?);
            Ok(())
        })?;
        each(snapshot, self.roles.as_ref(), |name, value| {
            data.roles.push(format::parse_role(name, value)?);
            Ok(())
        })?;
        Ok(data)
    }
}

/// Passes each entry of a bucket, if there is one, to `take`.
fn each<S: Source>(
    snapshot: &Database<S>,
    bucket: Option<&Bucket>,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let Some(bucket) = bucket else {
        return Ok(());
    };
    let mut entries = snapshot.entries(bucket)?;
    while let Some((name, value)) = entries.next()? {
        take(name, value)?;
    }
    Ok(())
}
