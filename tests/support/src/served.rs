//! A libkv server in this process, for etcd clients.

use std::fs;
use std::path::PathBuf;

use libkv::{Db, LimitsPreset, Options};
use libkv_etcd::{Serve, Server};

/// A server with an empty store in a directory. Dropping it ends the server and removes the store.
pub struct Served {
    /// The store of the server.
    pub db: Db,
    /// The server.
    pub server: Server,
    dir: PathBuf,
}

impl Served {
    /// Starts a server on a free port, with etcd's limits.
    pub fn start(name: &str) -> Served {
        Served::with(
            name,
            Options::new().limits(LimitsPreset::Etcd),
            Serve::new("127.0.0.1:0"),
        )
    }

    /// Starts a server with these options.
    pub fn with(name: &str, options: Options, how: Serve) -> Served {
        let dir = crate::tmp().join(format!("served-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let db = Db::open(&dir, options).expect("a new store");
        let server = libkv_etcd::serve(&db, how).expect("the server starts");
        Served { db, server, dir }
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        self.server.address().to_string()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.close();
        self.db.close();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
