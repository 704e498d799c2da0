//! Shared by the tests of several crates: deadlines, random numbers, real etcd servers and etcdctl,
//! a server in this process, and a simple HTTP client.
#![allow(
    clippy::missing_errors_doc,
    reason = "an error of a helper ends the test"
)]

#[cfg(feature = "server")]
pub mod certificates;
pub mod deadline;
pub mod dice;
pub mod etcd;
pub mod etcdctl;
pub mod fetch;
pub mod http;
#[cfg(feature = "server")]
pub mod served;

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// The target folder of cargo. Test programs are in `target/PROFILE/deps`.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    program.ancestors().nth(3).expect("a target folder").into()
}

/// The folder for files of tests, `CARGO_TARGET_TMPDIR`.
pub fn tmp() -> PathBuf {
    target().join("tmp")
}

/// A path for the files of one test of this process. Removes what exists there.
pub fn scratch(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let program = program.file_stem().expect("a name").to_string_lossy();
    let path = tmp().join(format!("{program}-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// A number from an environment variable, for a longer run of a test.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of a random test: the variable `SEED`, or a new one for each run. It is printed, so
/// that the run can be repeated.
pub fn seed() -> u64 {
    let other = || {
        UNIX_EPOCH
            .elapsed()
            .map_or(1, |since| since.as_nanos() as u64)
    };
    // shifted, so that it fits in a signed number of a shell or another language
    let seed = setting("SEED").unwrap_or_else(|| other() >> 1);
    println!("SEED={seed}");
    seed
}
