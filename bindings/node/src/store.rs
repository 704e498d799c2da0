//! Opening and closing of stores. JavaScript writes the options, see `lib/open.js`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libkv::{AutoCompaction, Clock, Code, Db, Error, LimitsPreset, Options, Result};

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::job::{JobPromise, handle_on_pool, on_pool};
use crate::state::{State, guarded, with_state};
use crate::wire::Reader;

/// The target and the options of an open call.
pub struct OpenRequest {
    target: Vec<u8>,
    options: Options,
}

impl OpenRequest {
    /// Reads target and options, in the order of `OPEN_OPTIONS` in `lib/options.js`.
    pub fn read(bytes: &[u8], state: &State) -> Result<OpenRequest> {
        let mut reader = Reader::new(bytes);
        let target = reader.bytes()?;
        let unsigned = |reader: &mut Reader| Ok(reader.number()? as u64);
        let mut options = Options::new();
        options.create = reader.option(|reader| Ok(reader.u8()? != 0))?;
        options.read_only = reader.option(|reader| Ok(reader.u8()? != 0))?;
        options.durability = reader.durability()?;
        // the conversion turns infinity into the largest u64
        options.busy_timeout_ms = reader.option(|reader| Ok(reader.float()? as u64))?;
        options.max_bytes = reader.option(unsigned)?;
        options.max_request_bytes = reader.option(unsigned)?;
        options.max_txn_ops = reader.option(|reader| Ok(reader.number()? as usize))?;
        options.limits = reader.option(|_| Ok(LimitsPreset::Etcd))?;
        options.lease_ttl_min_seconds = reader.option(Reader::number)?;
        options.auto_compaction = reader.option(|reader| {
            let seconds = reader.u8()? != 0;
            let kept = reader.number()? as u64;
            Ok(if seconds {
                AutoCompaction::Seconds(kept)
            } else {
                AutoCompaction::Revisions(kept)
            })
        })?;
        options.max_readers = reader.option(|reader| Ok(reader.number()? as u32))?;
        options.mode = reader.option(|reader| Ok(reader.number()? as u32))?;
        options.clock =
            reader.option(|reader| state.handles.get::<Clock>(reader.number()? as u32).cloned())?;
        options.allow_network_fs = reader.option(|reader| Ok(reader.u8()? != 0))?;
        options.tls_ca = reader.option(Reader::path)?;
        options.tls_cert = reader.option(Reader::path)?;
        options.tls_key = reader.option(Reader::path)?;
        options.tls_server_name = reader.option(Reader::text)?;
        options.user = reader.option(Reader::text)?;
        options.password = reader.option(Reader::text)?.map(Into::into);
        options.connect_timeout_ms = reader.option(|reader| Ok(reader.float()? as u64))?;
        options.request_timeout_ms = reader.option(|reader| Ok(reader.float()? as u64))?;
        options.keep_alive_ms = reader.option(|reader| Ok(reader.float()? as u64))?;
        Ok(OpenRequest { target, options })
    }

    /// Opens the store.
    pub fn open(self) -> Result<Db> {
        open(OsStr::from_bytes(&self.target), self.options)
    }

    /// Opens the store in the call; refuses a cluster, which has to be waited for.
    pub fn open_sync(self) -> Result<Db> {
        if is_cluster(&self.target) {
            let message = "openSync waits, and this is a cluster's address: await open instead";
            return Err(Error::new(Code::Unsupported, message));
        }
        self.open()
    }
}

#[cfg(feature = "etcd")]
fn open(target: &OsStr, options: Options) -> Result<Db> {
    libkv_etcd::open(target, options)
}

#[cfg(feature = "etcd")]
fn is_cluster(target: &[u8]) -> bool {
    std::str::from_utf8(target).is_ok_and(libkv_etcd::is_cluster)
}

/// A cluster's address is refused with `unsupported`.
#[cfg(not(feature = "etcd"))]
fn open(target: &OsStr, options: Options) -> Result<Db> {
    Db::open(std::path::Path::new(target), options)
}

#[cfg(not(feature = "etcd"))]
fn is_cluster(_: &[u8]) -> bool {
    false
}

/// Opens a store in the call. The response is its number.
#[napi(catch_unwind)]
pub fn open_store(len: u32, large: Option<Buffer>) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            let bytes = large
                .as_deref()
                .map_or_else(|| state.scratch.request(len), Ok)?;
            let db = OpenRequest::read(bytes, state)?.open_sync()?;
            writer.just(state.handles.add(db).into());
            Ok(())
        })
    })
}

/// Whether a store is a cluster, whose responses have to be waited for.
#[napi(catch_unwind)]
pub fn is_remote(db: u32) -> napi::Result<bool> {
    with_state(|state| state.handles.get::<Db>(db).is_ok_and(Db::is_remote))
}

/// Opens a store on the pool. The response is its number.
#[napi(catch_unwind)]
pub fn open_store_later(len: u32, large: Option<Buffer>) -> napi::Result<JobPromise> {
    with_state(|state| {
        let request = guarded(|| {
            let bytes = large
                .as_deref()
                .map_or_else(|| state.scratch.request(len), Ok)?;
            OpenRequest::read(bytes, state)
        });
        handle_on_pool(move || request?.open())
    })
}

/// Closes a store in the call. Its number stays valid, and its calls return `closed`.
#[napi(catch_unwind)]
pub fn close(db: u32) -> napi::Result<f64> {
    with_state(|state| {
        state.response(|state, writer| {
            state.handles.get::<Db>(db)?.close();
            writer.nothing();
            Ok(())
        })
    })
}

/// Closes a store on the pool, because the last handle waits for requests under way.
#[napi(catch_unwind)]
pub fn close_later(db: u32) -> napi::Result<JobPromise> {
    with_state(|state| {
        let db = guarded(|| Ok(state.handles.get::<Db>(db)?.clone()));
        on_pool(move |writer| {
            db?.close();
            writer.nothing();
            Ok(())
        })
    })
}
