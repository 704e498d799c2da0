//! A store served to any etcd client, in this process.

use libkv::{Db, Result};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::handles::{Handle, downcast};
use crate::job::{JobPromise, named_handle_on_pool, on_pool};
use crate::state::{guarded, with_state};
use crate::wire::Reader;

/// What the feature `etcd` brings.
#[cfg(feature = "etcd")]
pub mod net {
    use super::*;

    use libkv_etcd::Serve;
    pub use libkv_etcd::Server;

    /// Serves as JavaScript has written it, in the order of `SERVE_OPTIONS` in `lib/server.js`.
    pub fn serving(
        reader: &mut Reader,
    ) -> Result<impl FnOnce(&Db) -> Result<(Server, String)> + Send + use<>> {
        let mut how = Serve::new(reader.text()?);
        if let Some(path) = reader.option(Reader::path)? {
            how = how.cert_file(path);
        }
        if let Some(path) = reader.option(Reader::path)? {
            how = how.key_file(path);
        }
        if let Some(path) = reader.option(Reader::path)? {
            how = how.trusted_ca_file(path);
        }
        if let Some(wanted) = reader.option(|reader| Ok(reader.u8()? != 0))? {
            how = how.client_cert_auth(wanted);
        }
        if let Some(bytes) = reader.option(Reader::number)? {
            how = how.max_request_bytes(bytes as u64);
        }
        if let Some(ops) = reader.option(Reader::number)? {
            how = how.max_txn_ops(ops as usize);
        }
        Ok(move |db: &Db| {
            let server = libkv_etcd::serve(db, how)?;
            let address = server.address().to_string();
            Ok((server, address))
        })
    }
}

/// An addon without a network.
#[cfg(not(feature = "etcd"))]
pub mod net {
    use super::*;

    pub enum Server {}

    impl Server {
        pub fn close(&self) {
            match *self {}
        }
    }

    pub fn serving(
        reader: &mut Reader,
    ) -> Result<impl FnOnce(&Db) -> Result<(Server, String)> + Send + use<>> {
        let message = format!(
            "this libkv was built without the feature etcd: it cannot serve at {}",
            reader.text()?
        );
        Ok(move |_: &Db| Err(libkv::Error::new(libkv::Code::Unsupported, message)))
    }
}

impl Handle for net::Server {
    fn name() -> &'static str {
        "server"
    }

    fn drop_may_wait(&self) -> bool {
        true
    }

    fn has_clients(&self) -> bool {
        true
    }
}

/// Serves a store, on the pool; the answer is the server's number and its address.
#[napi(catch_unwind)]
pub fn serve_later(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<JobPromise> {
    with_state(|state| {
        let asked = guarded(|| {
            Ok((
                state.handles.get::<Db>(db)?.clone(),
                net::serving(&mut state.request(len, &large)?)?,
            ))
        });
        named_handle_on_pool(move || {
            let (db, serve) = asked?;
            let (server, address) = serve(&db)?;
            Ok((server, address))
        })
    })
}

/// Ends a server, on the pool: it waits a little for requests under way. Gives its number back too.
#[napi(catch_unwind)]
pub fn server_close_later(server: u32) -> napi::Result<JobPromise> {
    with_state(|state| {
        let server = state
            .handles
            .remove(server)
            .and_then(downcast::<net::Server>);
        on_pool(move |writer| {
            if let Some(server) = server {
                server.close();
            }
            writer.nothing();
            Ok(())
        })
    })
}
