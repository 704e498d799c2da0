//! The store's handle, shared by all objects created from it.

use std::ops::Deref;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::error::raise;

/// An open store, shared by a `Db` and the objects created from it.
///
/// Dropping the last one closes the store, which may wait for another process (a write in the
/// queue, the lock for closing files). The interpreter is released meanwhile. So this must be the
/// last field of every struct that has it.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

struct Inner(Option<libkv::Db>);

impl Handle {
    pub fn new(db: libkv::Db) -> Handle {
        Handle(Arc::new(Inner(Some(db))))
    }

    /// Fails if it is closed, or was opened before a fork.
    pub fn ensure_open(&self) -> PyResult<()> {
        match self.is_closed() {
            // any call returns the right one of the two errors
            true => self.get([0]).map(drop).map_err(raise),
            false => Ok(()),
        }
    }
}

impl Deref for Handle {
    type Target = libkv::Db;

    fn deref(&self) -> &libkv::Db {
        self.0.0.as_ref().expect("only drop takes it")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(db) = self.0.take() {
            let mut db = Some(db);
            // if the interpreter has ended, no thread waits for it
            Python::try_attach(|py| py.detach(|| drop(db.take())));
        }
    }
}
