//! A snapshot made from a store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use libkv::engine::HistoryPart;
use libkv::{AuthData, Code, Db, Error, Result, Revision};
use prost::Message;
use sha2::{Digest, Sha256};

use super::format::{self, LeaseEntry, auth, bucket, meta};
use crate::bolt::Writer;

/// Tells the unnamed files of this process apart.
static UNNAMED: AtomicU64 = AtomicU64::new(0);

/// Who may read the file: its owner, as the files of a store.
const MODE: u32 = 0o600;

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The revision of the snapshot.
    pub revision: Revision,
    /// The number of events.
    pub events: u64,
    /// The number of leases.
    pub leases: u64,
    /// The number of users.
    pub users: u64,
    /// The number of roles.
    pub roles: u64,
    /// The length of the file.
    pub bytes: u64,
}

fn io_error(path: &Path, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::AlreadyExists => Code::Exists,
        io::ErrorKind::NotFound => Code::NotFound,
        io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::Full,
        _ => Code::Io,
    };
    Error::new(code, format!("writing {}: {error}", path.display())).with_source(error)
}

/// Writes a snapshot of a store to a new file, which real etcd can restore: all events that are
/// kept, the leases with the time that they have left, users and roles, and the compacted revision,
/// as of one moment. The file is complete, or not there. Others can write to the store meanwhile.
///
/// # Errors
///
/// `exists` (the file), `unsupported` (a cluster), `full`, `io`, and those of a read.
pub fn save(db: &Db, path: impl AsRef<Path>) -> Result<Saved> {
    let path = path.as_ref();
    if fs::symlink_metadata(path).is_ok() {
        let message = format!("{} exists: choose another name", path.display());
        return Err(Error::new(Code::Exists, message));
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".part-{}", std::process::id()));
    let unfinished = Path::new(&unfinished);
    let saved = write_file(db, unfinished).and_then(|saved| {
        let linked = fs::rename(unfinished, path);
        linked
            .map_err(|error| io_error(path, error))
            .map(|()| saved)
    });
    if saved.is_err() {
        let _ = fs::remove_file(unfinished);
    }
    saved
}

fn write_file(db: &Db, path: &Path) -> Result<Saved> {
    let file = create(path)?;
    let (mut file, saved) = write_database(db, file, path)?;
    let hashed = append_hash(&mut file, saved.bytes).and_then(|()| file.sync_all());
    hashed.map_err(|error| io_error(path, error))?;
    Ok(Saved {
        bytes: saved.bytes + format::HASH_BYTES,
        ..saved
    })
}

/// Writes the bbolt file, and returns it with what it holds.
fn write_database(db: &Db, file: File, path: &Path) -> Result<(File, Saved)> {
    let failed = |error: io::Error| io_error(path, error);
    let mut writer = Writer::new(io::BufWriter::with_capacity(1 << 20, file)).map_err(failed)?;
    let mut saved = Saved::default();
    let mut leases = Vec::new();
    let mut compacted = -1;
    // written before the first record
    let mut data = Some(AuthData::default());
    db.engine().dump(&mut |part| {
        match part {
            HistoryPart::Compacted(revision) => compacted = revision,
            HistoryPart::Lease {
                id,
                ttl_seconds,
                remaining_seconds,
            } => {
                leases.push(LeaseEntry {
                    id,
                    ttl: ttl_seconds,
                    remaining_ttl: remaining_seconds,
                });
            }
            HistoryPart::Auth(found) => {
                (saved.users, saved.roles) = (found.users.len() as u64, found.roles.len() as u64);
                data = Some(found);
            }
            HistoryPart::Records(records) => {
                if let Some(data) = data.take() {
                    write_before_records(&mut writer, data).map_err(failed)?;
                }
                for record in &records {
                    let (key, value) = format::encode_record(record);
                    writer.put(&key, &value).map_err(failed)?;
                    saved.events += 1;
                }
            }
            HistoryPart::Revision(revision) => saved.revision = revision,
        }
        Ok(())
    })?;
    if let Some(data) = data.take() {
        write_before_records(&mut writer, data).map_err(failed)?;
    }
    saved.leases = leases.len() as u64;
    write_rest(&mut writer, &mut leases, compacted).map_err(failed)?;
    let (bytes, out) = writer.finish().map_err(failed)?;
    saved.bytes = bytes;
    let file = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    Ok((file, saved))
}

/// The buckets before the records of `key`, in order of their names.
fn write_before_records<W: Write + Seek>(writer: &mut Writer<W>, data: AuthData) -> io::Result<()> {
    writer.bucket(bucket::ALARM)?;
    writer.bucket(bucket::AUTH)?;
    if data != AuthData::default() {
        writer.put(auth::ENABLED, &[u8::from(data.stamp.enabled)])?;
        writer.put(auth::REVISION, &data.stamp.revision.to_be_bytes())?;
    }
    writer.bucket(bucket::AUTH_ROLES)?;
    for role in data.roles {
        let name = role.name.clone();
        writer.put(name.as_bytes(), &format::encode_role(role))?;
    }
    writer.bucket(bucket::AUTH_USERS)?;
    for user in data.users {
        let name = user.name.clone();
        writer.put(name.as_bytes(), &format::encode_user(user))?;
    }
    writer.bucket(bucket::CLUSTER)?;
    writer.bucket(bucket::KEY)
}

/// The buckets after `key`, in order of their names.
fn write_rest<W: Write + Seek>(
    writer: &mut Writer<W>,
    leases: &mut [LeaseEntry],
    compacted: Revision,
) -> io::Result<()> {
    writer.bucket(bucket::LEASE)?;
    // by the bytes of their keys: negative ids are last
    leases.sort_unstable_by_key(|lease| lease.id.to_be_bytes());
    for lease in leases {
        writer.put(&lease.id.to_be_bytes(), &lease.encode_to_vec())?;
    }
    writer.bucket(bucket::MEMBERS)?;
    writer.bucket(bucket::MEMBERS_REMOVED)?;
    writer.bucket(bucket::META)?;
    let one = 1u64.to_be_bytes();
    writer.put(meta::CONSISTENT_INDEX, &one)?;
    if compacted >= 0 {
        let record = format::record_key(compacted, 0, false);
        writer.put(meta::FINISHED_COMPACTION, &record)?;
        writer.put(meta::SCHEDULED_COMPACTION, &record)?;
    }
    writer.put(meta::TERM, &one)
}

/// A snapshot in a file without a name, in the system's directory for temporary files, with its
/// length without the SHA-256. The file is deleted with the last handle.
pub(crate) fn write_unnamed(db: &Db) -> Result<(File, u64)> {
    let number = UNNAMED.fetch_add(1, Ordering::Relaxed);
    let name = format!("libkv-snapshot-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = create(&path)?;
    fs::remove_file(&path).map_err(|error| io_error(&path, error))?;
    let (mut file, saved) = write_database(db, file, &path)?;
    let rewound = file.seek(SeekFrom::Start(0));
    rewound.map_err(|error| io_error(&path, error))?;
    Ok((file, saved.bytes))
}

fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(MODE);
    options.open(path).map_err(|error| io_error(path, error))
}

/// Appends the SHA-256 of the first `len` bytes.
fn append_hash(file: &mut File, len: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut body = Read::by_ref(file).take(len);
    loop {
        match body.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    file.seek(SeekFrom::Start(len))?;
    file.write_all(&hasher.finalize())
}
