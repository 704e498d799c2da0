//! Real etcd servers, which `tests/fetch_etcd.sh` and `tests/fetch_etcd37.sh` fetch into the target
//! folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program `etcd` 3.5.1, fetched if it is missing, or the reason why it is not available.
pub fn program() -> Result<PathBuf, String> {
    fetched("fetch_etcd.sh")
}

/// The program `etcd` 3.7, built from its Go modules if it is missing, or the reason why it is not
/// available. `etcdctl` and `etcdutl` are in the same folder.
pub fn program37() -> Result<PathBuf, String> {
    fetched("fetch_etcd37.sh")
}

fn fetched(script: &str) -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(script);
    let done = Command::new(&script)
        .env("CARGO_TARGET_DIR", crate::target())
        .stdin(Stdio::null())
        .output();
    let done = done.map_err(|e| format!("{}: {e}", script.display()))?;
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace('\n', " ");
    match done.status.success() {
        true => Ok(lines(&done.stdout).into()),
        false => Err(format!("{}: {}", script.display(), lines(&done.stderr))),
    }
}
