//! Provisional: one process, no guard file yet.
use super::{
    codec,
    commit::Committer,
    guard::Guard,
    lmdb::{self, Env, EnvOptions},
};
use crate::error::Result;
use crate::options::Options;
use crate::request::Durability;
use std::path::Path;
use std::sync::Arc;
pub(crate) struct Store {
    pub env: Arc<Env>,
    pub guard: Arc<Guard>,
    pub commit: Committer,
    pub unsynced: bool,
}
impl Store {
    pub fn bytes_on_disk(&self) -> u64 {
        0
    }
    pub fn store_id(&self) -> String {
        String::new()
    }
}
impl Drop for Store {
    fn drop(&mut self) {
        self.commit.stop();
    }
}
pub(crate) fn open(path: &Path, options: &Options) -> Result<Arc<Store>> {
    let (dir, unsynced) = if path == Path::new(":memory:") {
        static N: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        (
            std::path::PathBuf::from(format!(
                "/dev/shm/libkv-{}-{}",
                std::process::id(),
                N.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            )),
            true,
        )
    } else {
        (path.to_owned(), options.durability == Some(Durability::None))
    };
    std::fs::create_dir_all(&dir).unwrap();
    let f = dir.join("data.mdb");
    if !f.exists() {
        lmdb::lay(&f, 0o600, &[(codec::meta::FORMAT, 1u32.to_le_bytes().to_vec())])?;
    }
    let env = Arc::new(Env::open(
        &dir,
        &EnvOptions {
            read_only: false,
            no_lock: false,
            no_sync: unsynced,
            max_readers: 1024,
            map_bytes: 1 << 40,
            mode: 0o600,
        },
    )?);
    let guard = Arc::new(Guard::stub());
    Ok(Arc::new(Store { commit: Committer::new(env.clone(), guard.clone(), unsynced), env, guard, unsynced }))
}
