//! The engine in this process.

mod codec;
mod lmdb;

use std::path::Path;

use crate::db::Db;
use crate::error::{Code, Error, Result};
use crate::options::Options;

impl Db {
    /// Opens the store in the directory `path`; makes it if there is none.
    pub fn open(path: impl AsRef<Path>, _options: Options) -> Result<Db> {
        Err(Error::new(Code::Unsupported, format!("{} cannot be opened yet", path.as_ref().display())))
    }
}
