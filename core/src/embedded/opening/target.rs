//! The directory of a store, and the checks whether a store may be opened or created there.

use std::fs;
use std::path::PathBuf;

use crate::embedded::codec::{self, meta};
use crate::embedded::lmdb::data_file::DataFile;
use crate::embedded::lmdb::page_layout::PAGE_BYTES;
use crate::embedded::os::failed;
use crate::embedded::store::{DATA, DATA_NEW, GUARD, LOCK};
use crate::embedded::store_meta::{self, StoreMeta};
use crate::error::{Code, Error, Result};

/// The directory that is to be opened as a store.
pub(super) struct Target {
    pub path: PathBuf,
    /// A store may be created there.
    pub create: bool,
    pub read_only: bool,
}

impl Target {
    /// The path of the data file.
    pub fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// Refuses a directory without a guard file that is not a store and must not become one.
    pub fn check_without_guard(&self) -> Result<()> {
        let file = DataFile::inspect(&self.data())?;
        self.check_data_file(&file)?;
        match file {
            DataFile::Store(_) => Ok(()),
            _ => self.check_only_own_files(),
        }
    }

    /// Refuses a directory with files of others: a store is not created beside them.
    pub fn check_only_own_files(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(|e| failed(&self.path, e))? {
            let name = entry.map_err(|e| failed(&self.path, e))?.file_name();
            if ![DATA, DATA_NEW, LOCK, GUARD]
                .iter()
                .any(|own| name == **own)
            {
                let message = format!(
                    "{} is not a store and not empty: it contains {}",
                    self.path.display(),
                    name.display()
                );
                return Err(Error::new(Code::NotAStore, message));
            }
        }
        Ok(())
    }

    fn not_a_store(&self, file: &DataFile) -> Error {
        let path = self.data();
        let path = path.display();
        let what = match file {
            DataFile::PlainLmdb => "an LMDB file without the trees of a store",
            DataFile::Bbolt => "a bbolt file, the format of etcd: copy its keys through etcd",
            DataFile::OtherPageSize(bytes) => {
                let message = format!(
                    "{path}: its pages have {bytes} bytes; this library needs {PAGE_BYTES}"
                );
                return Error::new(Code::Incompatible, message);
            }
            _ => "not a store",
        };
        Error::new(Code::NotAStore, format!("{path} is {what}"))
    }

    /// Refuses a data file that this library must not open, or replace by a new one.
    pub fn check_data_file(&self, file: &DataFile) -> Result<()> {
        match file {
            DataFile::Store(_) => self.check_meta(file),
            DataFile::Absent | DataFile::Empty if self.create => Ok(()),
            DataFile::Absent | DataFile::Empty => Err(self.not_found()),
            _ => Err(self.not_a_store(file)),
        }
    }

    fn check_meta(&self, file: &DataFile) -> Result<()> {
        let path = self.data();
        let format = file
            .meta(meta::FORMAT)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes);
        if format != codec::FORMAT_VERSION || store_meta::bits(file, meta::INCOMPAT) != 0 {
            let message = format!(
                "{} has format {format} with features {:#x}; \
                 this library reads format {} without features: use a newer library",
                path.display(),
                store_meta::bits(file, meta::INCOMPAT),
                codec::FORMAT_VERSION
            );
            return Err(Error::new(Code::Incompatible, message));
        }
        match StoreMeta::of(file).ro_compat {
            0 => Ok(()),
            _ if self.read_only => Ok(()),
            bits => Err(self.unwritable(bits)),
        }
    }

    /// The error for a store that this library can read but not write.
    pub fn unwritable(&self, bits: u64) -> Error {
        let message = format!(
            "{} has features {bits:#x} that this library can read but not write: \
             open it with read_only, or use a newer library",
            self.data().display()
        );
        Error::new(Code::Incompatible, message)
    }

    /// The error for a directory without a store.
    pub fn not_found(&self) -> Error {
        Error::new(
            Code::NotFound,
            format!("{} has no store", self.path.display()),
        )
    }
}
