//! Provisional: one process, no guard file yet.
pub(crate) fn fork_generation() -> u64 {
    0
}
