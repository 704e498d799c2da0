//! Creating the files of a store.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::embedded::codec;
use crate::embedded::lmdb;
use crate::embedded::os::{self, failed};
use crate::embedded::store::{DATA, DATA_NEW, LOCK};
use crate::error::{Code, Error, Result};

/// Creates the data file under another name, flushes it, renames it, and flushes the directories: a
/// power cut leaves no file or a complete one. The caller holds "opening".
pub(super) fn create_data(dir: &Path, mode: u32, unsynced: bool, max_bytes: u64) -> Result<()> {
    let (data, new) = (dir.join(DATA), dir.join(DATA_NEW));
    for leftover in [&new, &data] {
        match fs::remove_file(leftover) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(leftover, e)),
            _ => {}
        }
    }
    let meta = codec::new_meta(&random_id(), unsynced, max_bytes);
    lmdb::create_data_file(&new, mode, unsynced, &meta).map_err(|error| {
        if error.code() == Code::Io && os::is_full(dir) {
            Error::new(Code::Full, "the disk is full")
                .with_detail(error.message())
                .with_source(error)
        } else {
            with_permission(&new, error)
        }
    })?;
    fs::rename(&new, &data).map_err(|e| failed(&data, e))?;
    if !unsynced {
        os::sync_dir(dir).map_err(|e| failed(dir, e))?;
        let path = dir.canonicalize().ok();
        if let Some(parent) = path.as_deref().and_then(Path::parent) {
            // not an error if the parent cannot be read: the store itself is complete
            let _ = os::sync_dir(parent);
        }
    }
    Ok(())
}

/// An error of LMDB about a file. If a permission is missing, the message names it.
pub(super) fn with_permission(path: &Path, error: Error) -> Error {
    match error.code() {
        Code::PermissionDenied => failed(path, io::Error::from_raw_os_error(libc::EACCES)),
        _ => error,
    }
}

/// Opens LMDB's lock file, before LMDB does, and gives it at least this many bytes with their
/// blocks: a full disk is an error here, but a signal once LMDB has mapped the file. LMDB
/// initialises the file; this only lengthens it.
pub(super) fn open_lock_file(dir: &Path, mode: u32, bytes: u64) -> Result<fs::File> {
    let path = dir.join(LOCK);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode)
        .open(&path)
        .map_err(|e| failed(&path, e))?;
    if file.metadata().map_err(|e| failed(&path, e))?.len() < bytes {
        os::allocate(file.as_fd(), bytes).map_err(|e| failed(&path, e))?;
    }
    Ok(file)
}

fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    for half in id.chunks_exact_mut(8) {
        half.copy_from_slice(&os::random().to_le_bytes());
    }
    id
}
