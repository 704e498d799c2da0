//! An etcd server over a store of this process.

use libkv::{Db, Result};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::handles::{Handle, downcast};
use crate::job::{JobPromise, handle_with_text_on_pool, on_pool};
use crate::state::{guarded, with_state};
use crate::wire::Reader;

/// The server, with the feature `etcd`.
#[cfg(feature = "etcd")]
pub mod net {
    use super::*;

    use libkv_etcd::Serve;
    pub use libkv_etcd::Server;

    /// Reads the address and the options, in the order of `SERVE_OPTIONS` in `lib/server.js`.
    pub fn serve_request(
        reader: &mut Reader,
    ) -> Result<impl FnOnce(&Db) -> Result<(Server, String)> + Send + use<>> {
        let mut options = Serve::new(reader.text()?);
        if let Some(path) = reader.option(Reader::path)? {
            options = options.cert_file(path);
        }
        if let Some(path) = reader.option(Reader::path)? {
            options = options.key_file(path);
        }
        if let Some(path) = reader.option(Reader::path)? {
            options = options.trusted_ca_file(path);
        }
        if let Some(required) = reader.option(|reader| Ok(reader.u8()? != 0))? {
            options = options.client_cert_auth(required);
        }
        if let Some(bytes) = reader.option(Reader::number)? {
            options = options.max_request_bytes(bytes as u64);
        }
        if let Some(ops) = reader.option(Reader::number)? {
            options = options.max_txn_ops(ops as usize);
        }
        if let Some(tokens) = reader.option(Reader::text)? {
            options = options.auth_token(tokens);
        }
        if let Some(seconds) = reader.option(Reader::number)? {
            options = options.auth_token_ttl_seconds(seconds as u64);
        }
        if let Some(cost) = reader.option(Reader::number)? {
            options = options.bcrypt_cost(cost as u32);
        }
        Ok(move |db: &Db| {
            let server = libkv_etcd::serve(db, options)?;
            let address = server.address().to_string();
            Ok((server, address))
        })
    }
}

/// Without the feature `etcd` the addon has no network code.
#[cfg(not(feature = "etcd"))]
pub mod net {
    use super::*;

    pub enum Server {}

    impl Server {
        pub fn close(&self) {
            match *self {}
        }
    }

    pub fn serve_request(
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

/// Starts a server, on the pool. The response is its number and its address.
#[napi(catch_unwind)]
pub fn serve_later(db: u32, len: u32, large: Option<Buffer>) -> napi::Result<JobPromise> {
    with_state(|state| {
        let arguments = guarded(|| {
            Ok((
                state.handles.get::<Db>(db)?.clone(),
                net::serve_request(&mut state.request(len, &large)?)?,
            ))
        });
        handle_with_text_on_pool(move || {
            let (db, serve) = arguments?;
            let (server, address) = serve(&db)?;
            Ok((server, address))
        })
    })
}

/// Closes a server, on the pool, because it waits a little for requests under way. Frees the number
/// too.
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
