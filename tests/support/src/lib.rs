//! What the tests of several crates share: deadlines, random numbers, real etcds and their shell
//! client, a server in this process, and HTTP by hand.
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

/// The folder that cargo builds in. Test programs are in `target/PROFILE/deps`.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    program.ancestors().nth(3).expect("a target folder").into()
}

/// The folder for files of tests, `CARGO_TARGET_TMPDIR`.
pub fn tmp() -> PathBuf {
    target().join("tmp")
}

/// A path for files of one test of this process. Nothing is there.
pub fn scratch(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let program = program.file_stem().expect("a name").to_string_lossy();
    let path = tmp().join(format!("{program}-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// A number in the environment, for a longer form of a test.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of a random test: `SEED`, or another for each run. It is printed, to repeat the run.
pub fn seed() -> u64 {
    let other = || {
        UNIX_EPOCH
            .elapsed()
            .map_or(1, |since| since.as_nanos() as u64)
    };
    // a shell and other languages read it as a signed number
    let seed = setting("SEED").unwrap_or_else(|| other() >> 1);
    println!("SEED={seed}");
    seed
}
