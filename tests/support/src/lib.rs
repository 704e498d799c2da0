//! What the tests of several crates share: random numbers, real etcds and their shell client, a
//! server in this process, and HTTP by hand.

#[cfg(feature = "server")]
pub mod certificates;
pub mod dice;
pub mod etcd;
pub mod etcdctl;
pub mod fetch;
pub mod http;
#[cfg(feature = "server")]
pub mod served;

use std::path::PathBuf;

/// The folder that cargo builds in. Test programs are in `target/PROFILE/deps`.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    program.ancestors().nth(3).expect("a target folder").into()
}

/// The folder for files of tests, `CARGO_TARGET_TMPDIR`.
pub fn tmp() -> PathBuf {
    target().join("tmp")
}
