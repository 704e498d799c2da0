//! A real etcd 3.5.1, fetched by `tests/fetch_etcd.sh` into the target folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program `etcd`, fetched if it is not there; an error says why it cannot be had.
pub fn program() -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fetch_etcd.sh");
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
