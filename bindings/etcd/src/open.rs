//! One `open` for every target: a directory, memory, or a cluster.

use std::ffi::OsStr;
use std::path::Path;

use libkv::{Db, Options, Result};

use crate::address::{is_unix, scheme};
use crate::client;

/// Opens the target. A path or `file:` URL is a store in a directory, `:memory:` is a store in
/// memory; `etcd://h1:2379,h2:2379`, `http://…`, `https://…`, `unix:///path` and `unix:path` are
/// clusters.
///
/// A cluster's address names its endpoints, with commas between them. Each may have a scheme of its
/// own, the port 2379 may be left out, and an IPv6 address needs brackets. `etcd://` is without
/// TLS, or with it if an option of TLS is given. The differences from a store are in the [crate's
/// documentation](crate#a-cluster-as-a-store).
///
/// # Errors
///
/// For a store as [`Db::open`]. For a cluster `invalid_argument` (a bad address, an option that
/// only a store has, a TLS file that cannot be read), `unavailable`, naming each endpoint with its
/// reason, and `unauthenticated`.
pub fn open(target: impl AsRef<OsStr>, options: Options) -> Result<Db> {
    let target = target.as_ref();
    match target.to_str().filter(|text| is_cluster(text)) {
        Some(address) => client::connect(address, options),
        None => Db::open(Path::new(target), options),
    }
}

/// Whether this names a cluster rather than a store. `unix:` needs no slashes after it.
pub fn is_cluster(target: &str) -> bool {
    let (scheme, _) = scheme(target);
    ["etcd", "etcds", "http", "https"].contains(&scheme.as_str()) || is_unix(&scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_has_a_scheme() {
        for address in [
            "etcd://a:1",
            "http://a",
            "https://a:2,b:3",
            "HTTP://a",
            "unix:///run/s",
            "unix:s",
            "unixs://s",
        ] {
            assert!(is_cluster(address), "{address}");
        }
        for path in [
            "etcd",
            "etcd:",
            "./etcd://",
            "file:///x",
            ":memory:",
            "",
            "http:/a",
        ] {
            assert!(!is_cluster(path), "{path}");
        }
    }
}
