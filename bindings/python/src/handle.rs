//! The store's handle, as everything made from it shares it.

use std::ops::Deref;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::error::raise;

/// An open store, shared by a `Db` and what was made from it.
///
/// The last to go closes the store, which may have to wait for another process (a write that is still
/// in the queue, the lock under which files are closed): the interpreter is given away meanwhile. So
/// this must be the last field of whatever else holds the store.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

struct Inner(Option<libkv::Db>);

impl Handle {
    pub fn new(db: libkv::Db) -> Handle {
        Handle(Arc::new(Inner(Some(db))))
    }

    /// Refuses if it is closed, or from before a fork.
    pub fn ensure_open(&self) -> PyResult<()> {
        match self.is_closed() {
            // any call says which of the two
            true => self.get([0]).map(drop).map_err(raise),
            false => Ok(()),
        }
    }
}

impl Deref for Handle {
    type Target = libkv::Db;

    fn deref(&self) -> &libkv::Db {
        self.0.0.as_ref().expect("it is taken when dropped")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(db) = self.0.take() {
            let mut db = Some(db);
            // none: the interpreter is gone, and with it whoever might wait
            Python::try_attach(|py| py.detach(|| drop(db.take())));
        }
    }
}
